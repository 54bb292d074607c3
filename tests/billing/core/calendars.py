"""Billing calendars for the oracle, found by walking every day from 2010 to 2049: which days are boundaries, and whose.

billing days     that day of every month, or the last of a month too short for it; that weekday of every week
boundaries       every n-th of them, counted to both sides from the anchor
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

from billing.core.types import BillingPeriod

ONE_DAY = timedelta(days=1)
FIRST, LAST = date(2010, 1, 1), date(2050, 1, 1)

MONTHS = {
    BillingPeriod.MONTH: 1,
    BillingPeriod.QUARTER: 3,
    BillingPeriod.SEMI_ANNUAL: 6,
    BillingPeriod.ANNUAL: 12,
    BillingPeriod.EIGHTEEN_MONTHS: 18,
    BillingPeriod.TWO_YEARS: 24,
    BillingPeriod.THREE_YEARS: 36,
    BillingPeriod.FIVE_YEARS: 60,
}
WEEKLY = (BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS)


class Grid(NamedTuple):
    """The boundaries of one anchor, which hold from `holds_from` until the next grid does.

    `months` is the length of a period in months and `billing_days` the month grid; a period of `days` has neither.
    """

    holds_from: date
    edges: tuple[date, ...]
    edge_set: frozenset[date]
    months: int
    days: int
    billing_days: tuple[date, ...]


@cache
def all_days() -> tuple[date, ...]:
    """Return every day of the years the examples live in."""
    return tuple(FIRST + timedelta(days=n) for n in range((LAST - FIRST).days))


def is_billing_day(day: date, billing_day: int) -> bool:
    """Return whether a month's billing day has come: the day itself, or the last of a month too short for it."""
    return day.day == billing_day or (day.day < billing_day and (day + ONE_DAY).day == 1)


@cache
def billing_days(billing_day: int) -> tuple[date, ...]:
    """Return that day of every month."""
    return tuple(day for day in all_days() if is_billing_day(day, billing_day))


@cache
def weekdays(weekday: int) -> tuple[date, ...]:
    """Return every Monday (1) … Sunday (7)."""
    return tuple(day for day in all_days() if day.isoweekday() == weekday)


def every(step: int, days: Sequence[date], origin: date) -> tuple[date, ...]:
    """Return every `step`-th of the days, counted to both sides from the first one on or after the origin."""
    anchor = next(n for n, day in enumerate(days) if day >= origin)
    return tuple(days[anchor % step :: step])


@cache
def grid_of(period: BillingPeriod, length: int, billing_day: int, origin: date) -> Grid:
    """Return the boundaries anchored on the first billing day on or after the origin."""
    if period is BillingPeriod.SPECIFIC_DAYS:
        return grid(origin, every(length, all_days(), origin), days=length)
    if period in WEEKLY:
        weeks = 1 if period is BillingPeriod.WEEK else length
        days = weekdays(billing_day)
        anchor = next(day for day in days if day >= origin)
        return grid(anchor, every(weeks, days, origin), days=7 * weeks)
    months = length if period is BillingPeriod.SPECIFIC_MONTHS else MONTHS[period]
    days = billing_days(billing_day)
    anchor = next(day for day in days if day >= origin)
    return grid(anchor, every(months, days, origin), months=months, month_grid=days)


def grid(
    anchor: date, edges: tuple[date, ...], *, months: int = 0, days: int = 0, month_grid: tuple[date, ...] = ()
) -> Grid:
    """Return the grid with the given boundaries."""
    return Grid(anchor, edges, frozenset(edges), months, days, month_grid)


@cache
def term_grid(start: date, end: date) -> Grid:
    """Return the grid of a single period, the term; its months run from the day the term starts on.

    A term that began at the end of a short month may belong to a later day of the month, on which it ends.
    """
    day = max(start.day, end.day)
    days = billing_days(day if is_billing_day(start, day) and is_billing_day(end, day) else start.day)
    return grid(start, (start, end), months=sum(1 for day in days if start < day <= end), month_grid=days)
