"""The usage records behind an invoice line: page by page, added up by rating group, and all of them for a download."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, Q, QuerySet, Sum

from billing.core.types import RatingGroup
from invoicing.models import InvoiceItem
from usage.models import UsageRecord, UsageSlice

RECORDS_A_PAGE = 50
SUBTOTALS_SHOWN = 50
EARLIER_SHOWN = 10
ROWS_PER_FETCH = 2_000
CSV_COLUMNS = (
    ("start_date", "start_date"),
    ("end_date", "end_date"),
    ("quantity", "quantity"),
    ("unit", "slice__charge__unit"),
    ("description", "description"),
    ("account", "slice__account__number"),
    ("import", "slice__usage_import_id"),
    ("file", "slice__usage_import__file_name"),
    ("line", "line"),
    ("unique_key", "unique_key"),
)


class Counted(NamedTuple):
    """What a line bills: records, their exact sum, and how many slices of it other accounts than the billed one used."""

    records: int
    quantity: Decimal
    of_others: int


class Extent(NamedTuple):
    """How many usage records a line has, and on how many days at most."""

    records: int
    days: int


class Subtotal(NamedTuple):
    """Usage that was rated together: its start day or its upload (id and name)."""

    day: date | None
    upload: tuple[int, str] | None
    records: int
    quantity: Decimal


class RecordPage(NamedTuple):
    """Records in the order of their start days; `next_key` leads on."""

    rows: Sequence[Any]
    next_key: str | None
    is_first: bool


def usage_items() -> QuerySet[InvoiceItem]:
    """Return usage lines with what the page of their records names."""
    named = ("invoice__account", "charge__subscription", "charge__rate_plan", "rated_usage")
    return InvoiceItem.objects.select_related(*named).filter(rated_usage__isnull=False)


def extents(rated_ids: Iterable[int]) -> dict[int, Extent]:
    """Return how much usage was rated with each of these; what was given back has none."""
    found = UsageSlice.objects.filter(rated__in=list(rated_ids)).order_by()
    sums = found.values("rated_id").annotate(all=Sum("records"), first=Min("first_day"), last=Max("last_day"))
    return {row["rated_id"]: Extent(row["all"], (row["last"] - row["first"]).days + 1) for row in sums}


def counted(item: InvoiceItem) -> Counted:
    """Return what a line bills."""
    owner = item.invoice.account_id
    sums = UsageSlice.objects.filter(rated=item.rated_usage_id).aggregate(
        all=Sum("records", default=0),
        quantity=Sum("quantity", default=Decimal(0)),
        of_others=Count("pk", filter=~Q(account=owner)),
    )
    return Counted(sums["all"], sums["quantity"], sums["of_others"])


def records_of(item: InvoiceItem) -> QuerySet[UsageRecord]:
    """Return the records that a line bills, in the order of their start days."""
    return UsageRecord.objects.filter(slice__rated=item.rated_usage_id).order_by("start_date", "id")


def record_page(item: InvoiceItem, *, after: str) -> RecordPage:
    """Return the records that follow the key `after`: a start day and an id, “2026-01-31.17”."""
    found: QuerySet[Any] = records_of(item).select_related("slice__account", "slice__usage_import")
    key = _key(after)
    if key is not None:
        day, pk = key
        found = found.filter(Q(start_date__gt=day) | Q(start_date=day, pk__gt=pk))
    rows = list(found[: RECORDS_A_PAGE + 1])
    more = len(rows) > RECORDS_A_PAGE
    last = rows[RECORDS_A_PAGE - 1] if more else None
    return RecordPage(
        rows[:RECORDS_A_PAGE], f"{last.start_date.isoformat()}.{last.pk}" if last is not None else None, key is None
    )


def _key(text: str) -> tuple[date, int] | None:
    day, _, pk = text.partition(".")
    try:
        return (date.fromisoformat(day), int(pk)) if pk.isdecimal() and len(pk) < 19 else None
    except ValueError:
        return None


def csv_rows(item: InvoiceItem) -> Iterator[Sequence[Any]]:
    """Yield all records of a line, read through a server-side cursor."""
    return iter(
        records_of(item).values_list(*(lookup for _, lookup in CSV_COLUMNS)).iterator(chunk_size=ROWS_PER_FETCH)
    )


def subtotals(item: InvoiceItem) -> list[Subtotal]:
    """Return the sums of the first groups that a line was rated in, one more than are shown; none where it makes no odds."""
    found: QuerySet[Any, Any] = UsageSlice.objects.filter(rated=item.rated_usage_id)
    sums = {"count": Sum("records"), "sum": Sum("quantity")}
    if item.charge.rating_group == RatingGroup.START_DATE:
        days = found.values("first_day").annotate(**sums).order_by("first_day")[: SUBTOTALS_SHOWN + 1]
        return [Subtotal(row["first_day"], None, row["count"], row["sum"]) for row in days]
    if item.charge.rating_group == RatingGroup.UPLOAD:
        names = ("usage_import_id", "usage_import__file_name", "usage_import__source")
        uploads = found.values(*names).annotate(**sums).order_by("usage_import_id")[: SUBTOTALS_SHOWN + 1]
        return [
            Subtotal(
                None,
                (row[names[0]], row[names[1]] or f"{row[names[2]]} {row[names[0]]}"),
                row["count"],
                row["sum"],
            )
            for row in uploads
        ]
    return []


def earlier_lines(item: InvoiceItem) -> list[InvoiceItem]:
    """Return the latest lines that billed usage counted together with this line's, where counting began before it."""
    rated = item.rated_usage
    assert rated is not None  # only usage lines come here
    if rated.kind != "Late" and rated.counted_from >= item.period.lower:
        return []
    found = InvoiceItem.objects.filter(
        charge=item.charge_id, rated_usage__counted_from=rated.counted_from, rated_usage__lt=rated.pk
    ).filter(rated_usage__is_live=True)
    return list(found.select_related("invoice").order_by("-rated_usage")[:EARLIER_SHOWN])
