"""The words of tests about usage: what is sold by use, what is consumed of it, and what runs make of that."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection, transaction

from accounts.models import Account
from billing.core.smoothing import Smoothing, SmoothingModel
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, PriceFormat, Tier
from billing.models import RatePlanCharge, UnitOfMeasure
from invoicing.models import InvoiceItem
from tests import factories as make
from tests.factories import day
from usage.models import RatedUsage, UsageImport, UsageRecord, UsageSlice

_names = count(1)


def metered(name: str = "Traffic", model: ChargeModel = ChargeModel.PER_UNIT, price: Any = "1", **changes: Any) -> Any:
    """Return a charge for what is used each month, in GB with three decimals; `price` may be tiers."""
    UnitOfMeasure.objects.get_or_create(name="GB", defaults={"decimals": 3})
    value = Decimal(price) if isinstance(price, str) else tuple(price)
    return {
        "name": name,
        "charge_type": ChargeType.USAGE,
        "charge_model": model,
        "billing_period": BillingPeriod.MONTH,
        "unit": "GB",
        "prices": dict.fromkeys(make.USD_EUR_JPY, value),
        **changes,
    }


def sold(*charges: Any, account: Account | None = None, start: str = "2026-01-01") -> RatePlanCharge:
    """Let Acme buy what is charged by use; return the first charge."""
    plan = make.plan(f"Plan {next(_names)}", *(charges or (metered(),)))
    subscription = make.subscribe(account or make.acme(), plan, start)
    return subscription.charges.order_by("pk")[0]


def smoothed(model: SmoothingModel, periods: int, **changes: Any) -> RatePlanCharge:
    """Let a customer buy 500 units a month, 0.10 a unit above them, smoothed over some months."""
    terms = metered(model=ChargeModel.OVERAGE, price="0.10", smoothing=Smoothing(model, periods, **changes))
    return sold({**terms, "default_quantity": Decimal(500)})


def steps(text: str) -> tuple[Tier, ...]:
    """Return tiers written as `10: 2, 20: 3, rest: 5`."""
    found = []
    for part in text.split(","):
        end, price = part.split(":")
        found.append(
            Tier(None if end.strip() == "rest" else Decimal(end.strip()), Decimal(price.strip()), PriceFormat.PER_UNIT)
        )
    return tuple(found)


def consume(
    charge: RatePlanCharge,
    *rows: tuple[str, str],
    upload: UsageImport | None = None,
    by_day: bool = False,
    account: Account | None = None,
) -> list[UsageSlice]:
    """Write an upload's records, each (day, quantity), and then their slices: one for each month, or for each day.

    The charge's own account has used it unless another `account` is given.
    """
    of = upload or UsageImport.objects.create(source="Api", status="Imported", rows=len(rows), good_rows=len(rows))
    groups: dict[object, list[tuple[date, Decimal]]] = defaultdict(list)
    for text, quantity in rows:
        groups[text if by_day else text[:7]].append((day(text), Decimal(quantity)))
    return [write_slice(charge, found, of, account) for found in groups.values()]


def write_slice(
    charge: RatePlanCharge, records: Sequence[tuple[date, Decimal]], of: UsageImport, account: Account | None = None
) -> UsageSlice:
    """Write one slice with its records, which come first."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nextval('usage_usageslice_id_seq')")
        pk = cursor.fetchone()[0]
        UsageRecord.objects.bulk_create(
            UsageRecord(slice_id=pk, line=line, quantity=quantity, start_date=on)
            for line, (on, quantity) in enumerate(records, start=2)
        )
        return UsageSlice.objects.create(
            pk=pk,
            usage_import=of,
            account=account or charge.subscription.account,
            charge=charge,
            first_day=min(on for on, _ in records),
            last_day=max(on for on, _ in records),
            quantity=sum((quantity for _, quantity in records), Decimal(0)),
            records=len(records),
        )


def usage_lines() -> list[tuple[str, str, str, str, str]]:
    """Return every usage line that stands: description, first day, end, quantity and amount."""
    found = InvoiceItem.objects.filter(kind="Usage", invoice__status__in=["Draft", "Posted"]).order_by("id")
    return [
        (
            i.description,
            str(i.period.lower),
            str(i.period.upper),
            f"{(i.quantity or Decimal(0)).normalize():f}",
            f"{i.amount:.2f}",
        )
        for i in found
    ]


def rated() -> list[tuple[str, str, str, str]]:
    """Return all live rated usage: kind, first day, end and amount."""
    found = RatedUsage.objects.filter(is_live=True).order_by("charge_id", "id")
    return [(r.kind, str(r.period.lower), str(r.period.upper), f"{r.amount:.2f}") for r in found]


def pending() -> list[str]:
    """Return the first days of the slices that are Pending."""
    found = UsageSlice.objects.filter(rated__isnull=True).order_by("first_day", "id")
    return [str(each.first_day) for each in found]
