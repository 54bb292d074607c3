"""Where billing periods begin and end: boundaries counted from an anchor, so that month ends never drift.

    anchor         the first billing day on or after the origin (charge, subscription, term start or term end)
    boundary k     the anchor plus k × months, its day min(billing day, days in that month), or plus k × days
    first period   from the start to the first boundary after it, then boundary to boundary

Months are counted as one running number (year × 12 + month − 1): a boundary is one look-up, never derived from the
boundary before it, and the one after any day is found by division, however long ago the anchor lies (domain.md 3.1,
D10). Weeks and days are counted by the running number of the day in the same way.

A charge that follows its subscription's terms has a grid for each term: it holds from its anchor to the next one's,
and the first reaches back as far as needed.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from functools import cache, lru_cache
from typing import NamedTuple

from billing.core.types import BillingPeriod, ChargeTerms, Period

MONTHS_IN = {
    BillingPeriod.MONTH: 1,
    BillingPeriod.QUARTER: 3,
    BillingPeriod.SEMI_ANNUAL: 6,
    BillingPeriod.ANNUAL: 12,
    BillingPeriod.EIGHTEEN_MONTHS: 18,
    BillingPeriod.TWO_YEARS: 24,
    BillingPeriod.THREE_YEARS: 36,
    BillingPeriod.FIVE_YEARS: 60,
}

DAYS_IN_WEEK = 7


class MonthCycle(NamedTuple):
    """Boundaries on `day` (31: month end) of each month whose number leaves `phase` when divided by `months`."""

    phase: int
    day: int
    months: int


class DayCycle(NamedTuple):
    """Boundaries on each day whose ordinal leaves `phase` when divided by `days`: weeks and runs of days."""

    phase: int
    days: int


Grid = MonthCycle | DayCycle


class TermCycle(NamedTuple):
    """A grid for each term with the day from which it holds, a boundary of it; the first also holds before its day."""

    pieces: tuple[tuple[date, Grid], ...]


Cycle = Grid | TermCycle


class Tile(NamedTuple):
    """One period of a cycle; `full` when it runs from one boundary to the very next."""

    period: Period
    full: bool


def months_in(terms: ChargeTerms) -> int:
    """Return the months of one billing period, 0 when it is not made of months (or its length is missing)."""
    if terms.billing_period is BillingPeriod.SPECIFIC_MONTHS:
        return terms.period_length
    return 0 if terms.billing_period is None else MONTHS_IN.get(terms.billing_period, 0)


def days_in(terms: ChargeTerms) -> int:
    """Return the days of one billing period, 0 when it is not made of weeks or days (or its length is missing)."""
    if terms.billing_period is BillingPeriod.WEEK:
        return DAYS_IN_WEEK
    if terms.billing_period is BillingPeriod.SPECIFIC_WEEKS:
        return DAYS_IN_WEEK * terms.period_length
    return terms.period_length if terms.billing_period is BillingPeriod.SPECIFIC_DAYS else 0


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


def cycle_from(origin: date, day: int, months: int) -> MonthCycle:
    """Return the cycle whose anchor is the first billing `day` on or after `origin`, with periods of `months`.

    Of the anchor's month only the phase is kept: the boundaries before and after it are the same for every anchor that
    lies on one of them, and so is everything worked out from them.
    """
    number = origin.year * 12 + origin.month - 1
    if date_in_month(number, day) < origin:
        number += 1
    return _month_cycle(number % months, day, months)


# There are few cycles and many charges.
_month_cycle = cache(MonthCycle)


def weekly_cycle(origin: date, weekday: int, days: int) -> DayCycle:
    """Return the cycle of `days` (a multiple of 7) whose anchor is the first `weekday` (1 Monday) from `origin` on."""
    ordinal = origin.toordinal()
    return DayCycle((ordinal + (weekday - ordinal) % DAYS_IN_WEEK) % days, days)


def daily_cycle(origin: date, days: int) -> DayCycle:
    """Return the cycle of `days` whose anchor is `origin` itself."""
    return DayCycle(origin.toordinal() % days, days)


def span_grid(start: date, end: date) -> Grid:
    """Return the grid that has `[start, end)` as one of its periods: of months where they fit, else of days."""
    months = month_number(end) - month_number(start)
    billing_day = max(start.day, end.day)
    number = month_number(start)
    if months and date_in_month(number, billing_day) == start and date_in_month(number + months, billing_day) == end:
        return cycle_from(start, billing_day, months)
    return daily_cycle(start, (end - start).days)


def grid_on(cycle: Cycle, day: date) -> Grid:
    """Return the grid that holds on `day`."""
    if not isinstance(cycle, TermCycle):
        return cycle
    found = cycle.pieces[0][1]
    for since, grid in cycle.pieces:
        if since > day:
            break
        found = grid
    return found


# Most charges of a run are billed through the same few days.
@lru_cache(maxsize=4096)
def natural_period(cycle: Cycle, day: date) -> Period:
    """Return the full period `day` lies in, from boundary to boundary of the grid that holds on it."""
    grid = grid_on(cycle, day)
    if isinstance(grid, MonthCycle):
        number = month_after(grid, day)
        return Period(date_in_month(number - grid.months, grid.day), date_in_month(number, grid.day))
    ordinal = day.toordinal()
    start = ordinal - (ordinal - grid.phase) % grid.days
    return Period(date.fromordinal(start), date.fromordinal(start + grid.days))


def month_after(cycle: MonthCycle, day: date) -> int:
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
    if not isinstance(cycle, MonthCycle):
        yield from _other_tiles(cycle, start, end)
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


def _other_tiles(cycle: DayCycle | TermCycle, start: date, end: date | None) -> Iterator[Tile]:
    changes = [since for since, _ in cycle.pieces[1:]] if isinstance(cycle, TermCycle) else []
    while end is None or start < end:
        natural = natural_period(cycle, start)
        stop = min([natural.end, *([end] if end else []), *(change for change in changes if change > start)])
        period = Period(start, stop)
        yield Tile(period, period == natural)
        start = stop
