"""A second, slow answer to “what does this charge owe?”: it walks from day to day and counts in fractions.

It is written from domain.md 2 and 3 and shares nothing with `billing/core` but the types that go in:

    days of service    walked one by one; a gap ends a stretch, a boundary ends a tile
    boundaries         every n-th billing day (or day) counted from the anchor, in a calendar that is walked as well
    price of days      what the tile would cost if it ended with them, less what it would cost if it ended before them
    credit             what is billed for an item less what its remaining days cost today
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from billing.core.types import (
    Account,
    Alignment,
    Billed,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    DaysInMonth,
    LineKind,
    ListPriceBase,
    PartialMonths,
    PriceFormat,
    ProrationUnit,
    RecurringStyle,
    Rules,
    Segment,
    Term,
    Tier,
)
from tests.billing.core.calendars import MONTHS, ONE_DAY, WEEKLY, Grid, grid_of, term_grid


class Owed(NamedTuple):
    """One line that is due: days `[start, end)`, the exact amount after rounding, the item a credit gives back."""

    kind: LineKind
    segment_number: int
    start: date
    end: date
    amount: Fraction
    item: int | None = None


class Tile(NamedTuple):
    """The days of one billing period that are served, each with the segment that prices it."""

    grid: Grid
    natural: tuple[date, date]
    served: list[tuple[date, Segment]]
    first: bool

    @property
    def days(self) -> list[date]:
        """All days served."""
        return [day for day, _ in self.served]

    @property
    def full(self) -> bool:
        """Whether no day of the natural period is missing."""
        return self.days[0] == self.natural[0] and self.days[-1] + ONE_DAY == self.natural[1]


def half_up(value: Fraction, digits: int) -> Fraction:
    """Round as taught at school: add half a unit to the size of the number and cut."""
    units = (abs(value) * 10**digits + Fraction(1, 2)).__floor__()
    return Fraction(units, 10**digits) * (-1 if value < 0 else 1)


# --- Boundaries -------------------------------------------------------------------------------------------------------


def grids(account: Account, charge: Charge) -> list[Grid]:
    """Return the grids of a charge's life in order; only terms bring more than one."""
    terms, trigger = charge.terms, charge.trigger_date
    assert terms.billing_period is not None
    assert trigger is not None
    if terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM:
        return [term_grid(term.start, term.end) for term in charge.subscription_terms if term.end is not None]
    weekly = terms.billing_period in WEEKLY
    number: Callable[[date], int] = date.isoweekday if weekly else (lambda day: day.day)
    aligned_to_terms = terms.alignment in (Alignment.TERM_START, Alignment.TERM_END)
    found = []
    for term in charge.subscription_terms if aligned_to_terms else [term_of(charge)]:
        days = {
            BillingDayType.ACCOUNT: account.bill_cycle_day,
            BillingDayType.CHARGE_TRIGGER_DAY: number(trigger),
            BillingDayType.SUBSCRIPTION_START_DAY: number(charge.subscription_start),
            BillingDayType.SPECIFIC_DAY_OF_MONTH: terms.billing_day,
            BillingDayType.SPECIFIC_DAY_OF_WEEK: terms.billing_day,
            BillingDayType.TERM_START_DAY: number(term.start) if term else 0,
            BillingDayType.TERM_END_DAY: number(term.end) if term and term.end else 0,
        }
        origin: date | None = trigger
        if terms.alignment is not Alignment.CHARGE:
            origin = charge.subscription_start
            if aligned_to_terms:
                assert term is not None
                origin = term.start if terms.alignment is Alignment.TERM_START else term.end
        assert origin is not None
        found.append(grid_of(terms.billing_period, terms.period_length, days[terms.billing_day_type], origin))
    return found


def term_of(charge: Charge) -> Term | None:
    """Return the term in which a charge begins that is aligned to itself, else the subscription's first."""
    by_day = charge.trigger_date if charge.terms.alignment is Alignment.CHARGE else charge.subscription_start
    assert by_day is not None
    of_subscription = charge.subscription_terms
    return next((term for term in reversed(of_subscription) if term.start <= by_day), next(iter(of_subscription), None))


# --- Days of service -------------------------------------------------------------------------------------------------


def tiles(account: Account, charge: Charge, rules: Rules, target: date) -> list[Tile]:
    """Walk the days of service; a day that is not served, or a boundary, ends the tile."""
    found: list[Tile] = []
    all_grids = grids(account, charge)
    starts = [each.holds_from for each in all_grids]
    past_term_end = charge.term_end is not None and may_pass_term_end(charge, rules, target)
    until = charge.term_end if not past_term_end else None
    previous: date | None = None
    at = -1
    for day, segment in days_of_service(charge, target, until):
        now = max(bisect_right(starts, day) - 1, 0)
        adjoins = previous is not None and previous + ONE_DAY == day
        if not adjoins or day in all_grids[now].edge_set or now != at:
            if past_term_end and charge.term_end is not None and day >= charge.term_end:
                break
            edges = all_grids[now].edges
            after = bisect_right(edges, day)
            found.append(Tile(all_grids[now], (edges[after - 1], edges[after]), [], not found))
        found[-1].served.append((day, segment))
        previous, at = day, now
    return found


def days_of_service(charge: Charge, target: date, until: date | None) -> Iterator[tuple[date, Segment]]:
    """Yield the days that have a price, far enough beyond the target to see the end of every period that is due."""
    reach = max([target, charge.billed_through or target]) + timedelta(days=longest_period(charge))
    for segment in sorted(charge.segments, key=lambda segment: (segment.start, segment.number)):
        end = min(each for each in (segment.end, until, reach) if each is not None)
        day = segment.start
        while day < end:
            yield day, segment
            day += ONE_DAY


def longest_period(charge: Charge) -> int:
    """Return more days than any period of the charge has."""
    period, length = charge.terms.billing_period, charge.terms.period_length
    assert period is not None
    if period is BillingPeriod.SUBSCRIPTION_TERM:
        return max((term.end - term.start).days for term in charge.subscription_terms if term.end) + 1
    in_days = {BillingPeriod.WEEK: 7, BillingPeriod.SPECIFIC_WEEKS: 7 * length, BillingPeriod.SPECIFIC_DAYS: length}
    return in_days.get(period, 31 * MONTHS.get(period, length)) + 1


def may_pass_term_end(charge: Charge, rules: Rules, target: date) -> bool:
    """Return whether the last period of the running term may be billed whole (domain.md 3.3)."""
    if charge.term_end is None or target >= charge.term_end:
        return False
    return not rules.bill_to_term_end_when_auto_renew if charge.auto_renew else rules.bill_past_term_end


# --- Prices ----------------------------------------------------------------------------------------------------------


def rate(model: ChargeModel, segment: Segment) -> Fraction:
    """Return what the whole quantity costs per list price base."""
    if model is ChargeModel.FLAT_FEE:
        assert segment.price is not None
        return Fraction(segment.price)
    assert segment.quantity is not None
    quantity = Fraction(segment.quantity)
    if model is ChargeModel.PER_UNIT:
        assert segment.price is not None
        return Fraction(segment.price) * quantity
    total, below = Fraction(0), Fraction(0)
    for tier in segment.tiers:
        top = quantity if tier.up_to is None else min(quantity, Fraction(tier.up_to))
        if model is ChargeModel.TIERED and top > below:
            total += tier_price(tier, top - below)
        if tier.up_to is None or quantity <= tier.up_to:
            return total if model is ChargeModel.TIERED else tier_price(tier, quantity)
        below = top
    raise AssertionError("The quantity lies above the last tier.")


def tier_price(tier: Tier, units: Fraction) -> Fraction:
    """Return the price of units that lie in one tier."""
    return Fraction(tier.price) * (1 if tier.price_format is PriceFormat.FLAT_FEE else units)


def full_price(charge: Charge, segment: Segment, grid: Grid) -> Fraction:
    """Return what the segment costs for one full billing period (domain.md 2.2)."""
    terms = charge.terms
    factors = {
        ListPriceBase.PER_BILLING_PERIOD: Fraction(1),
        ListPriceBase.PER_MONTH: Fraction(grid.months),
        ListPriceBase.PER_YEAR: Fraction(grid.months, 12),
        ListPriceBase.PER_WEEK: Fraction(grid.days, 7),
        ListPriceBase.PER_SPECIFIC_MONTHS: Fraction(grid.months, terms.price_base_months or 1),
    }
    return rate(terms.charge_model, segment) * factors[terms.list_price_base]


def share(days: Sequence[date], tile: Tile, rules: Rules) -> Fraction:
    """Return how much of the tile's natural period a run of its days is: what it adds to the days of the tile before it."""
    before = [day for day in tile.days if day < days[0]]
    return share_of_beginning([*before, *days], tile, rules) - share_of_beginning(before, tile, rules)


def share_of_beginning(days: Sequence[date], tile: Tile, rules: Rules) -> Fraction:
    """Return what a tile costs that ends after these days, which are its first (domain.md 3.2): never more than all."""
    grid = tile.grid
    if not days:
        return Fraction(0)
    if days[0] == tile.natural[0] and days[-1] + ONE_DAY == tile.natural[1]:
        return Fraction(1)
    if grid.days:
        return Fraction(len(days), grid.days)
    if rules.proration_unit is ProrationUnit.DAY and grid.months > 1:
        if rules.days_in_month is DaysInMonth.ACTUAL:
            return Fraction(len(days), (tile.natural[1] - tile.natural[0]).days)
        strict = rules.days_in_month is DaysInMonth.ASSUME_30_STRICT
        return min(Fraction(1), Fraction(days_of_30(days) if strict else len(days), 30 * grid.months))
    total = Fraction(0)
    for closing, inside in groupby(days, key=lambda day: bisect_right(grid.billing_days, day)):
        run = list(inside)
        month = (grid.billing_days[closing] - grid.billing_days[closing - 1]).days
        if len(run) == month:
            total += 1
        elif rules.days_in_month is DaysInMonth.ACTUAL:
            total += Fraction(len(run), month)
        elif rules.days_in_month is DaysInMonth.ASSUME_30:
            total += min(Fraction(1), Fraction(len(run), 30))
        else:
            total += min(Fraction(1), Fraction(days_of_30(run), 30))
    return total / grid.months


def days_of_30(days: Sequence[date]) -> int:
    """Count days as if every month had thirty: the last of a month is its thirtieth, so a 31st adds nothing.

    The end of February adds what is missing to thirty; so the days of any month add up to thirty however it is cut.
    """
    last_of_month = [day for day in days if (day + ONE_DAY).day == 1]
    return len(days) + sum(30 - day.day for day in last_of_month)


def cost(charge: Charge, tile: Tile, days: Sequence[date], segment: Segment, rules: Rules) -> Fraction:
    """Return what some of the tile's days cost, unrounded."""
    price = full_price(charge, segment, tile.grid)
    if tile.full:
        return price if len(days) == len(tile.served) else price * share(days, tile, rules)
    prorate = rules.prorate_partial_periods
    if tile.first and tile.days[0] != tile.natural[0]:
        if tile.grid.months == 1 and charge.terms.billing_period is not BillingPeriod.SUBSCRIPTION_TERM:
            if rules.partial_months is PartialMonths.SKIP:
                return Fraction(0)
            prorate = prorate and rules.partial_months is PartialMonths.PRORATE
        if charge.terms.billing_period in WEEKLY and not rules.bill_partial_weeks:
            return Fraction(0)
    if prorate:
        return price * share(days, tile, rules)
    # Charged in full, however short it is.
    if len(days) == len(tile.served):
        return price
    return price * share(days, tile, rules) / share(tile.days, tile, rules)


# --- What is due -----------------------------------------------------------------------------------------------------


def owed(
    account: Account, charge: Charge, rules: Rules, target: date, cuts: Collection[date] = frozenset()
) -> list[Owed]:
    """Return every credit and every line of one charge that is due by the target date, credits first.

    `cuts` are days on which a term ended when the days before it were billed, and was then renewed: there a line ends
    although nothing changes.
    """
    if charge.trigger_date is None:
        return []
    if charge.terms.charge_type is ChargeType.ONE_TIME:
        return one_time(account, charge, rules, target)
    walked = tiles(account, charge, rules, target)
    given_back = []
    for billed in charge.billed:
        given_back += credit(account, charge, billed, walked, rules, target)
    frontier = min([each.start for each in given_back], default=charge.billed_through)
    in_advance = billed_in_advance(charge, rules)
    lines = []
    for tile in walked:
        left = [(day, segment) for day, segment in tile.served if frontier is None or day >= frontier]
        if not left or (left[0][0] if in_advance else tile.days[-1] + ONE_DAY) > target:
            continue
        of_line = [(segment, sum(cut <= day for cut in cuts)) for day, segment in left]
        for (segment, _), run in groupby(zip(left, of_line, strict=True), key=itemgetter(1)):
            days = [day for (day, _), _ in run]
            amount = half_up(cost(charge, tile, days, segment, rules), account.currency.digits)
            lines.append(Owed(LineKind.RECURRING, segment.number, days[0], days[-1] + ONE_DAY, amount))
    return sorted(given_back, key=lambda each: (each.start, each.end)) + lines


def billed_in_advance(charge: Charge, rules: Rules) -> bool:
    """Return whether the start of a period makes it due, rather than its end."""
    if rules.recurring_style is RecurringStyle.RATE_PLAN:
        return charge.terms.billing_timing is BillingTiming.IN_ADVANCE
    return rules.recurring_style is RecurringStyle.IN_ADVANCE


def credit(
    account: Account, charge: Charge, billed: Billed, walked: Sequence[Tile], rules: Rules, target: date
) -> list[Owed]:
    """Return the credit for the days that an item covers and its segment no longer has, if they ended by the target."""
    segment = next(each for each in charge.segments if each.number == billed.segment_number)
    end = min((each for each in (segment.end, charge.term_end) if each is not None), default=date.max)
    if end > target or end >= billed.period.end:
        return []
    kept = Fraction(0)
    for tile in walked:
        days = [day for day, each in tile.served if each == segment and billed.period.start <= day < billed.period.end]
        if days:
            kept += half_up(cost(charge, tile, days, segment, rules), account.currency.digits)
    start = max(end, billed.period.start)
    # What was billed is the most that can be kept, and prices are never below zero here.
    amount = min(kept - Fraction(billed.amount), Fraction(0))
    return [Owed(LineKind.CREDIT, segment.number, start, billed.period.end, amount, billed.item_id)]


def one_time(account: Account, charge: Charge, rules: Rules, target: date) -> list[Owed]:
    """Return the line of a one-time charge on its trigger day, or its credit when the charge ended by that day."""
    trigger = charge.trigger_date
    assert trigger is not None
    served = [each for each in charge.segments if each.end is None or each.end > trigger]
    if charge.billed_through is None:
        if not served or trigger > target:
            return []
        first = min(served, key=lambda each: (each.start, each.number))
        amount = half_up(rate(charge.terms.charge_model, first), account.currency.digits)
        return [Owed(LineKind.ONE_TIME, first.number, trigger, trigger + ONE_DAY, amount)]
    if served or not rules.credit_one_time:
        return []
    return [
        Owed(LineKind.CREDIT, each.segment_number, *each.period, -Fraction(each.amount), each.item_id)
        for each in charge.billed
    ]
