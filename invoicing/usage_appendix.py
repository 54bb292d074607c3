"""The usage detail in an invoice's PDF: each line's records, or their sums by day where there are many, as plain values.

Posted invoices are drawn from Processed usage, which never changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.models import Count, Sum

from accounts.wording import day, number, service_period
from invoicing.models import InvoiceItem
from invoicing.usage_detail import Extent, extents
from usage.models import UsageRecord

# Beyond so many records a line's usage is added up by day.
RECORDS_LISTED = 500
# Lines that are told in detail and rows printed at most, on about forty pages.
LINES_TOLD = 200
ROWS_PRINTED = 2_000
DRAFT_ROWS = 200

_rated = itemgetter(0)


class _Plan(NamedTuple):
    """Which lines (by what was rated) are listed record by record, which by day, and of which only the sum is told."""

    listed: list[int]
    by_day: list[int]


def usage_values(
    titled: Sequence[tuple[str, InvoiceItem]], *, units: Mapping[str, str], limit: int = ROWS_PRINTED
) -> list[dict[str, Any]]:
    """Return the usage of an invoice's lines, each with the title of its group, in the reader's locale.

    `units` are those of the charges, by their id as text. At most `limit` rows are returned in all.
    """
    metered = [(title, item) for title, item in titled if item.rated_usage_id is not None][:LINES_TOLD]
    if not metered:
        return []
    sizes = extents(item.rated_usage_id for _, item in metered if item.rated_usage_id is not None)
    plan = _plan(sizes, limit)
    rows = _records(plan.listed) | _days(plan.by_day)
    found = []
    for title, item in metered:
        rated = item.rated_usage_id or 0
        if rated in sizes:
            unit = units[str(item.charge_id)]
            found.append(
                {
                    "title": title,
                    "description": item.description,
                    "period": service_period(item.period.lower, item.period.upper),
                    "records": number(sizes[rated].records),
                    "is_one": sizes[rated].records == 1,
                    "unit": unit,
                    "by_day": rated in plan.by_day,
                    "left_out": rated not in rows,
                    "rows": rows.get(rated, []),
                }
            )
    return found


def rows_printed(rated_ids: Iterable[int]) -> int:
    """Return how many rows of usage detail are printed for a posted invoice."""
    sizes = extents(rated_ids)
    return min(sum(_rows(size) for size in sizes.values()), ROWS_PRINTED)


def _rows(size: Extent) -> int:
    return size.records if size.records <= RECORDS_LISTED else min(size.records, size.days)


def _plan(sizes: Mapping[int, Extent], limit: int) -> _Plan:
    """Return how each line is told, so that all of them together stay within `limit` rows."""
    plan, left = _Plan([], []), limit
    for rated in sorted(sizes):
        size = sizes[rated]
        if size.records <= min(RECORDS_LISTED, left):
            plan.listed.append(rated)
            left -= size.records
        elif min(size.records, size.days) <= left:
            plan.by_day.append(rated)
            left -= min(size.records, size.days)
    return plan


def _records(rated_ids: Sequence[int]) -> dict[int, list[dict[str, str]]]:
    if not rated_ids:
        return {}
    found = UsageRecord.objects.filter(slice__rated__in=rated_ids).order_by("slice__rated", "start_date", "id")
    values = found.values_list("slice__rated", "start_date", "quantity", "description")
    return {
        rated: [{"day": day(start), "what": words, "quantity": number(quantity)} for _, start, quantity, words in rows]
        for rated, rows in groupby(values, _rated)
    }


def _days(rated_ids: Sequence[int]) -> dict[int, list[dict[str, str]]]:
    if not rated_ids:
        return {}
    found = UsageRecord.objects.filter(slice__rated__in=rated_ids).values("slice__rated", "start_date")
    sums = found.annotate(all=Count("pk"), sum=Sum("quantity")).order_by("slice__rated", "start_date")
    values = sums.values_list("slice__rated", "start_date", "sum", "all")
    return {
        rated: [
            {"day": day(start), "what": number(count), "quantity": number(total)} for _, start, total, count in rows
        ]
        for rated, rows in groupby(values, _rated)
    }
