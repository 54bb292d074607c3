"""What the demo company's customers have used: a file a month, this month's so far, and one that waits with three bad rows."""

import csv
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from dateutil.relativedelta import relativedelta

from billing.core.types import ChargeType
from billing.models import RatePlanCharge
from config.seed_data.usage_products import API_CALL, GIGABYTE, MAIL
from usage.cells import COLUMNS
from usage.importing import advance
from usage.models import UsageImport, UsageSource
from usage.services import import_file, upload_file

Row = tuple[str, str, str, str, str, str, str, str, str]

MOST_DAYS = 12  # a month's records of a charge
FLAWS = ({"ACCOUNT_ID": "A99999999"}, {"QTY": "twelve"}, {"STARTDATE": "31.01.2026"})


def add_month(month: date, *, today: date, user_id: int | None) -> str:
    """Import the usage of a month, up to yesterday; return what was done. A month that is imported stays as it is."""
    name = f"usage-{month:%Y-%m}.csv"
    until = min(month + relativedelta(months=1), today)
    rows = list(_rows(month, until))
    if not rows or UsageImport.objects.filter(file_name=name).exists():
        return f"{name}: nothing to import"
    found = import_file(
        chunks=[_csv(rows)], file_name=name, leave_bad_rows_out=False, dry_run=False, source=UsageSource.FILE
    )
    UsageImport.objects.filter(pk=found.pk).update(created_by=user_id)
    return f"{name}: {found.good_rows} usage records ({found.status})"


def add_waiting_file(*, today: date, user_id: int | None) -> str:
    """Upload a file with three bad rows for somebody to decide on; return what was done."""
    name = "usage-corrections.csv"
    rows = [list(row) for row in _rows(today.replace(day=1), today)][:40]
    if len(rows) < len(FLAWS) or UsageImport.objects.filter(file_name=name).exists():
        return f"{name}: nothing to upload"
    for row, flaw in zip(rows[3::5], FLAWS, strict=False):
        for column, value in flaw.items():
            row[COLUMNS.index(column)] = value
    found = upload_file(chunks=[_csv(rows)], file_name=name, user_id=user_id)
    advance(found.pk)
    found.refresh_from_db()
    return f"{name}: {found.good_rows} good and {found.bad_rows} bad rows ({found.status})"


def _rows(month: date, until: date) -> Iterator[Row]:
    """Yield the usage of `[month, until)`, the same each time: some days of every usage charge that runs then."""
    charges = (
        RatePlanCharge.objects.filter(charge_type=ChargeType.USAGE, trigger_date__lt=until)
        .select_related("subscription__account")
        .prefetch_related("segments")
        .order_by("pk")
    )
    for charge in charges:
        chance = random.Random(f"{charge.number} {month}")  # noqa: S311 - nobody is to guess it
        for day in sorted({month + timedelta(days=chance.randrange(31)) for _ in range(MOST_DAYS)}):
            if day < until and _runs(charge, day):
                account = charge.subscription.account.number
                text = DESCRIPTIONS[charge.unit]
                yield account, charge.unit, _quantity(charge.unit, chance), str(day), "", "", charge.number, text, ""


DESCRIPTIONS = {API_CALL: "Requests of the day", GIGABYTE: "Stored on average", MAIL: "Newsletter"}


def _quantity(unit: str, chance: random.Random) -> str:
    if unit == GIGABYTE:
        return f"{chance.randint(2_000, 9_000) / 100:.2f}"
    return str(chance.randint(200, 30_000) if unit == API_CALL else chance.choice([4_000, 12_000, 26_000, 60_000]))


def _runs(charge: RatePlanCharge, day: date) -> bool:
    return any(
        segment.effective_start <= day and (segment.effective_end is None or day < segment.effective_end)
        for segment in charge.segments.all()
    )


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()
