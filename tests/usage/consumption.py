"""Usage as an import leaves it: records first, then the slice that says what they add up to."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from django.db import connection, transaction

from accounts.models import Account
from billing.models import RatePlanCharge
from usage.models import UsageImport, UsageRecord, UsageSlice


def consume(
    charge: RatePlanCharge, *used: tuple[str, str], by_day: bool = False, account: Account | None = None
) -> UsageImport:
    """Let usage, written as (start day, quantity), be imported for a charge in one upload; return the upload."""
    upload = UsageImport.objects.create(source="Api", status="Imported", rows=len(used), good_rows=len(used))
    lines = [(line, date.fromisoformat(day), Decimal(quantity)) for line, (day, quantity) in enumerate(used, start=1)]
    groups = (
        [[row for row in lines if row[1] == day] for day in sorted({row[1] for row in lines})] if by_day else [lines]
    )
    with transaction.atomic():
        for rows in groups:
            _write(upload, charge, account or charge.subscription.invoice_owner, rows)
    return upload


def _write(
    upload: UsageImport, charge: RatePlanCharge, account: Account, rows: Iterable[tuple[int, date, Decimal]]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('usage_usageslice_id_seq')")
        slice_id = cursor.fetchone()[0]
    found = [
        UsageRecord(slice_id=slice_id, line=line, start_date=day, quantity=quantity) for line, day, quantity in rows
    ]
    UsageRecord.objects.bulk_create(found)
    days = [record.start_date for record in found]
    UsageSlice.objects.create(
        id=slice_id,
        usage_import=upload,
        account=account,
        charge=charge,
        first_day=min(days),
        last_day=max(days),
        quantity=sum((record.quantity for record in found), Decimal(0)),
        records=len(found),
    )
