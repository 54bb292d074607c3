"""How much of a period a run of days is, exactly: full billing months first, then days, or days throughout.

    billing months   12-15        01-15        02-15        03-15        04-15
                       |------------|------------|------------|------------|
    covered                   [5 of 31 .. 1 full month .. 10 of 28)

Billing months run from billing day to billing day. With actual days a month has as many days as lie between the two,
and the shares of two adjoining runs add up to the share of both. The two 30-day rules take every month for 30 days; the
strict one also counts the last day of a month as the 30th, so that the 31st adds nothing and February's end adds up to
three (domain.md 3.2).

Thirty days are not what a month has. So days are counted from the first day of the period that is billed, never to more
than the thirty, and are thirty at the end of a month that is billed from its first day on. A part of a period counts
what it adds to the days before it:

    Assume30Days          01-01      01-16      02-01         02-01      02-15      03-01
    counted up to here      0          15         30            0          14         30
    parts                   |= 15/30 ==|= 15/30 ==|             |= 14/30 ==|= 16/30 ==|

No other rule does all of this: the parts add up to the period however often it is cut; the days before a cancellation
cost what a period costs that ends there; and neither price, nor anything else that comes after a part, moves the price
of the part, which may have been billed long ago. Nothing is below zero, so no more is kept than was billed.
"""

from datetime import date
from math import prod
from typing import Final, NamedTuple

from billing.core.periods import Cycle, MonthCycle, date_in_month, grid_on, month_number, natural_period
from billing.core.types import DaysInMonth, Period, ProrationUnit, Rules

DAYS_IN_MONTH: Final = 30
"""What both 30-day rules take a month for."""


class Share(NamedTuple):
    """Months covered: whole billing months and up to two part months, each as (days covered, days in that month)."""

    full_months: int
    part_months: tuple[tuple[int, int], ...]

    @property
    def fraction(self) -> tuple[int, int]:
        """The months covered as numerator and denominator."""
        denominator = prod(of_days for _, of_days in self.part_months)
        numerator = self.full_months * denominator
        return numerator + sum(days * denominator // of_days for days, of_days in self.part_months), denominator


class Portion(NamedTuple):
    """The part of a period's price that some of its days cost, as a fraction, with its members of the derivation."""

    numerator: int
    denominator: int
    working: str


NOTHING: Final = Portion(0, 1, ',"part":[0]')
"""The portion of days that the rules leave unbilled."""


def portion_of(part: Period, whole: Period | None, cycle: Cycle, rules: Rules, *, begun: date | None = None) -> Portion:
    """Return what `part` of one period costs: of `whole` where those days bear the full price, else of a full period.

    `begun` is the first day of the period that is billed, the part's own where it is not given. Periods of one month are
    the same in both proration units; weeks and days know only days.
    """
    grid = grid_on(cycle, part.start)
    rule = rules.days_in_month
    if begun is None:
        begun = part.start if whole is None else whole.start
    if not isinstance(grid, MonthCycle):
        return _of_days((part.end - part.start).days, grid.days if whole is None else (whole.end - whole.start).days)
    if rules.proration_unit is ProrationUnit.DAY and grid.months > 1:
        natural = natural_period(grid, part.start)
        days, of_days = _days_added(*part, *natural, grid.months, begun, rule)
        if whole is not None:
            of_days, _ = _days_added(*whole, *natural, grid.months, begun, rule)
        return _of_days(days, of_days)
    share = months_covered(part, billing_day=grid.day, days_in_month=rule, begun=begun)
    numerator, denominator = share.fraction
    if whole is None:
        return Portion(numerator, denominator * grid.months, f',"part":{share_text(share)}')
    of = months_covered(whole, billing_day=grid.day, days_in_month=rule, begun=begun)
    of_numerator, of_denominator = of.fraction
    working = f',"part":{share_text(share)},"of":{share_text(of)}'
    return Portion(numerator * of_denominator, denominator * of_numerator, working)


def months_covered(
    period: Period, *, billing_day: int, days_in_month: DaysInMonth = DaysInMonth.ACTUAL, begun: date | None = None
) -> Share:
    """Return the billing months the period covers, with the month grid on `billing_day` (31 is the month's end).

    `begun` is the day from which days are counted where the period is a part of what is billed, else its own first.
    """
    if begun is None:
        begun = period.start
    start, end = period
    first, first_opening, first_closing = _month_around(start, billing_day)
    last, last_opening, last_closing = _month_around(end, billing_day)
    if first == last:
        return Share(0, (_days_added(start, end, first_opening, first_closing, 1, begun, days_in_month),))
    part_months = []
    full_months = last - first
    if first_opening < start:
        full_months -= 1
        part_months.append(_days_added(start, first_closing, first_opening, first_closing, 1, begun, days_in_month))
    if last_opening < end:
        part_months.append(_days_added(last_opening, end, last_opening, last_closing, 1, begun, days_in_month))
    return Share(full_months, tuple(part_months))


def _days_added(
    start: date, end: date, opening: date, closing: date, months: int, begun: date, rule: DaysInMonth
) -> tuple[int, int]:
    """Return the days that `[start, end)` adds to those before it, and all days of `[opening, closing)`, its `months`.

    The days before it are those of `[opening, closing)` from `begun` on.
    """
    if rule is DaysInMonth.ACTUAL:
        return (end - start).days, (closing - opening).days
    of_days = DAYS_IN_MONTH * months
    since = max(begun, opening)
    whole = end == closing and since == opening
    until = of_days if whole else min(of_days, days_covered(Period(since, end), rule))
    return until - min(of_days, days_covered(Period(since, start), rule)), of_days


def days_covered(period: Period, days_in_month: DaysInMonth) -> int:
    """Return the days of the period, counted as the rule says: the strict one counts a month's last day as the 30th."""
    if days_in_month is not DaysInMonth.ASSUME_30_STRICT:
        return (period.end - period.start).days
    # From a month's first day on, the next first day is 30 days later; before it, days count as the calendar does.
    months = month_number(period.end) - month_number(period.start)
    return DAYS_IN_MONTH * months + period.end.day - period.start.day


def share_text(share: Share) -> str:
    """Return a share of months as a JSON list: full months, then days and days of the month for each part month."""
    return "[" + ",".join(map(str, (share.full_months, *(n for part in share.part_months for n in part)))) + "]"


def _of_days(days: int, of_days: int) -> Portion:
    return Portion(days, of_days, f',"day":[{days},{of_days}]')


def _month_around(day: date, billing_day: int) -> tuple[int, date, date]:
    """Return the number of the billing month the day lies in, its first day and the first day after it."""
    number = month_number(day)
    opening = date_in_month(number, billing_day)
    if opening > day:
        number -= 1
        opening = date_in_month(number, billing_day)
    return number, opening, date_in_month(number + 1, billing_day)
