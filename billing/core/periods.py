"""Where billing periods begin and end: boundaries counted from an anchor, so that month ends never drift.

    anchor         the first billing day on or after the origin (charge or subscription start)
    boundary k     the anchor plus k × months, its day min(billing day, days in that month)
    first period   from the start to the first boundary after it, then boundary to boundary

Months are counted as one running number (year × 12 + month − 1): a boundary is one look-up, never derived from the
boundary before it, and the one after any day is found by division, however long ago the anchor lies (domain.md 3.1,
D10).
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from functools import cache, lru_cache
from typing import NamedTuple

from billing.core.types import BillingPeriod, Period

MONTHS_IN = {
    BillingPeriod.MONTH: 1,
    BillingPeriod.QUARTER: 3,
    BillingPeriod.SEMI_ANNUAL: 6,
    BillingPeriod.ANNUAL: 12,
}


class Cycle(NamedTuple):
    """Boundaries on `day` (31: month end) of each month whose number leaves `phase` when divided by `months`."""

    phase: int
    day: int
    months: int


class Tile(NamedTuple):
    """One period of a cycle; `full` when it runs from one boundary to the very next."""

    period: Period
    full: bool


def month_number(day: date) -> int:
    """Return the running number of the month `day` lies in."""
    return day.year * 12 + day.month - 1


@lru_cache(maxsize=32768)
def date_in_month(number: int, day: int) -> date:
    """Return `day` of the month with that running number, or the month's last day when it is shorter."""
    year, month = divmod(number, 12)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1]))


def add_months(start: date, months: int) -> date:
    """Return the same day `months` later (or earlier, if negative), clamped to the end of the month."""
    return date_in_month(month_number(start) + months, start.day)


def cycle_from(origin: date, day: int, months: int) -> Cycle:
    """Return the cycle whose anchor is the first billing `day` on or after `origin`, with periods of `months`.

    Of the anchor's month only the phase is kept: the boundaries before and after it are the same for every anchor that
    lies on one of them, and so is everything worked out from them.
    """
    number = origin.year * 12 + origin.month - 1
    if date_in_month(number, day) < origin:
        number += 1
    return _cycle(number % months, day, months)


# There are few cycles and many charges.
_cycle = cache(Cycle)


def month_after(cycle: Cycle, day: date) -> int:
    """Return the month number of the first boundary after `day`; later ones follow every `cycle.months`."""
    phase, billing_day, months = cycle
    number = day.year * 12 + day.month - 1
    # The latest boundary month that is not after the day's own month.
    number -= (number - phase) % months
    return number if date_in_month(number, billing_day) > day else number + months


def tiles(cycle: Cycle, start: date, end: date | None) -> Iterator[Tile]:
    """Yield the periods that tile `[start, end)`, for ever when `end` is None; first and last may be partial."""
    if end is not None and start >= end:
        return
    number = month_after(cycle, start)
    full = date_in_month(number - cycle.months, cycle.day) == start
    while True:
        boundary = date_in_month(number, cycle.day)
        if end is not None and boundary >= end:
            yield Tile(Period(start, end), full and boundary == end)
            return
        yield Tile(Period(start, boundary), full)
        start, full = boundary, True
        number += cycle.months
