"""The days of a due period that one segment prices, and what they cost.

    period    |====================|====================|
    segments  ---- 1 ---|------ 2 ------|------- 3 ------
    parts     |=========|==========|====|===============|

All parts of a period are cut from the whole of it, whatever of it is covered already; covered days are left out
afterwards. So a part costs the same whether the days before it are billed now or were billed long ago, and all parts
add up to what the period costs in one (`proration` says why that holds for months of thirty days as well).
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from billing.core.charge_models import Factor, Rate, price_factor, rate_of
from billing.core.derivation import VERSION
from billing.core.money import EXACT, round_amount, round_quotient, scale_price
from billing.core.periods import (
    Cycle,
    Grid,
    MonthCycle,
    Tile,
    days_in,
    months_in,
    natural_period,
)
from billing.core.proration import NOTHING, Portion, months_covered, portion_of, share_text
from billing.core.types import BillingPeriod, Charge, Currency, PartialMonths, Period, Rules, Segment


class Part(NamedTuple):
    """Days of one period that one segment prices; `portion` is None where they bear the price of a full period."""

    segment: Segment
    period: Period
    portion: Portion | None


class Tariff(NamedTuple):
    """What a full billing period of one segment costs, before proration and rounding: rate × factor.

    `term` is the length of a subscription term that is not made of whole months, as a list of the derivation; else "".
    """

    rate: Rate
    factor: Factor
    unit_price: Decimal | None
    term: str = ""


def parts_of(
    tile: Tile, segments: Sequence[Segment], cycle: Cycle, rules: Rules, treatment: PartialMonths, since: date
) -> Iterator[Part]:
    """Yield one part of the period for each segment that has days in it, from `since` on.

    `treatment` says what becomes of a partial period; its full price is shared by the parts where it is billed in full.
    """
    period, full = tile
    whole = period if treatment is PartialMonths.BILL_FULL and not full else None
    for segment in segments:
        start = max(segment.start, period.start, since)
        end = period.end if segment.end is None else min(segment.end, period.end)
        if start >= end:
            continue
        part = Period(start, end)
        if treatment is PartialMonths.SKIP and not full:
            yield Part(segment, part, NOTHING)
        elif part == period and (full or whole):
            yield Part(segment, part, None)
        else:
            yield Part(segment, part, portion_of(part, whole, cycle, rules, begun=period.start))


def treatment_of(tile: Tile, charge: Charge, cycle: Cycle, rules: Rules, service_start: date) -> PartialMonths:
    """Return what the rules make of a partial period: months and weeks have a rule for the charge's first one."""
    start = tile.period.start
    if not tile.full and start == service_start:
        terms = charge.terms
        if months_in(terms) == 1:
            first = rules.partial_months
        elif (
            terms.billing_period is not BillingPeriod.SPECIFIC_DAYS and days_in(terms) and not rules.bill_partial_weeks
        ):
            first = PartialMonths.SKIP
        else:
            first = PartialMonths.PRORATE
        # A first period that begins on a boundary is only cut at its end: that is always billed.
        if first is not PartialMonths.PRORATE and natural_period(cycle, start).start != start:
            return first
    return PartialMonths.PRORATE if rules.prorate_partial_periods else PartialMonths.BILL_FULL


def tariff_of(charge: Charge, segment: Segment, grid: Grid, day: date) -> Tariff:
    """Return what the segment costs for the full period `day` lies in; raise `UnpriceableError` when it cannot."""
    terms = charge.terms
    rate = rate_of(terms.charge_model, segment)
    months = None
    if terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM and not isinstance(grid, MonthCycle):
        term = natural_period(grid, day)
        months = months_covered(term, billing_day=term.start.day)
    factor = price_factor(terms, grid, months and months.fraction)
    unit_price = rate.unit_price
    if unit_price is not None and factor.length != factor.base:
        unit_price = scale_price(unit_price, factor.length, factor.base)
    # A price for the whole term is the same whatever the term's months are.
    return Tariff(rate, factor, unit_price, share_text(months) if months and not factor.unit else "")


def amount_of_part(part: Part, tariff: Tariff, currency: Currency) -> tuple[Decimal, str]:
    """Return the rounded amount of a part and its derivation."""
    rate, (dividend, divisor, unit), _, term = tariff
    working = f'"f":[{dividend},{divisor}]' + (f',"u":"{unit}"' if unit else "") + (f',"term":{term}' if term else "")
    segment, _, portion = part
    if portion is not None:
        numerator, denominator, covered = portion
        dividend, divisor, working = dividend * numerator, divisor * denominator, working + covered
    if dividend == divisor:
        amount = round_amount(rate.amount, currency)
    else:
        amount = round_quotient(EXACT.multiply(rate.amount, dividend), divisor, currency)
    derivation = f'{{"v":{VERSION},"s":{segment.number},{rate.working},{working},"r":{currency.digits}}}'
    return amount, derivation


def is_prorated(part: Part, tariff: Tariff) -> bool:
    """Return whether the customer is to be told of a proration: a price of nothing is nothing in part as well."""
    return part.portion is not None and part.portion is not NOTHING and bool(tariff.rate.amount)
