"""How a charge of the catalogue is billed and what it costs, in a few words."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django import template

from accounts.wording import number, unit_price
from billing.core.smoothing import OverageCalculation, SmoothingModel
from billing.core.types import (
    BillingPeriod,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PriceFormat,
    RatingGroup,
    UsageRating,
)
from billing.models.terms import DISCOUNTS
from billing.services.charge_terms import credits_unused, includes_units

register = template.Library()

COUNTED_BY_UNIT = (ChargeModel.PER_UNIT, ChargeModel.OVERAGE)

PERIODS = {
    BillingPeriod.MONTH: "a month",
    BillingPeriod.QUARTER: "a quarter",
    BillingPeriod.SEMI_ANNUAL: "a half-year",
    BillingPeriod.ANNUAL: "a year",
    BillingPeriod.EIGHTEEN_MONTHS: "for 18 months",
    BillingPeriod.TWO_YEARS: "for 2 years",
    BillingPeriod.THREE_YEARS: "for 3 years",
    BillingPeriod.FIVE_YEARS: "for 5 years",
    BillingPeriod.WEEK: "a week",
    BillingPeriod.SUBSCRIPTION_TERM: "a term",
}
LENGTHS = {
    BillingPeriod.SPECIFIC_MONTHS: "month",
    BillingPeriod.SPECIFIC_WEEKS: "week",
    BillingPeriod.SPECIFIC_DAYS: "day",
}
BASES = {ListPriceBase.PER_MONTH: "a month", ListPriceBase.PER_YEAR: "a year", ListPriceBase.PER_WEEK: "a week"}
TIMINGS = {"InAdvance": "in advance", "InArrears": "in arrears"}
GROUPS = {
    RatingGroup.START_DATE: "each day counted by itself",
    RatingGroup.RECORD: "each record counted by itself",
    RatingGroup.UPLOAD: "each upload counted by itself",
}


@register.simple_tag
def tier_lines(tiers: Iterable[Any], currency: str, charge: Any = None) -> list[str]:
    """Return tiers as people read them: “up to 10: $5.00 each”, “above 10: $40.00 flat”, “overage above 10: …”."""
    lines, begin = [], Decimal(0)
    has_overage = charge is not None and charge.charge_model == ChargeModel.TIERED_WITH_OVERAGE
    for tier in tiers:
        how = "flat" if tier.price_format == PriceFormat.FLAT_FEE else "each"
        reach = f"above {number(begin)}" if tier.up_to is None else f"up to {number(tier.up_to)}"
        if tier.up_to is None and not begin:
            reach = "all"
        elif tier.up_to is None and has_overage:
            reach = f"overage {reach}"
        lines.append(f"{reach}: {unit_price(tier.price, currency)} {how}")
        begin = tier.up_to if tier.up_to is not None else begin
    return lines


@register.simple_tag
def price_lines(charge: Any, currency: str) -> Sequence[str]:
    """Return what a catalogue charge costs in a currency, one line a tier; nothing when it is not sold in it."""
    row = next((price for price in charge.prices.all() if price.currency == currency), None)
    return [] if row is None else charge_prices(charge, row)


@register.filter
def priced_for(charge: Any) -> str:
    """Return what a charge's price is for: “a month”, “for 5 weeks”; nothing for one-time charges and units of usage."""
    is_counted = charge.charge_type == ChargeType.USAGE and charge.charge_model != ChargeModel.FLAT_FEE
    if not charge.billing_period or is_counted:
        return ""
    if charge.list_price_base == ListPriceBase.PER_SPECIFIC_MONTHS:
        return f"for {_count(charge.price_base_months, 'month')}"
    return BASES.get(charge.list_price_base) or _period(charge)


@register.filter
def billed_each(charge: Any) -> str:
    """Return how a charge is billed: “a month, in advance”; “once” for one-time charges."""
    if not charge.billing_period:
        return "once"
    return f"{_period(charge).removeprefix('for ')}, {_timing(charge)}"


def _timing(charge: Any) -> str:
    if charge.charge_type != ChargeType.USAGE:
        return TIMINGS[charge.billing_timing]
    return "on demand" if charge.usage_rating == UsageRating.ON_DEMAND else TIMINGS["InArrears"]


@register.filter
def usage_words(charge: Any) -> list[str]:
    """Return how usage is counted and smoothed, where that is out of the ordinary; nothing for other charges."""
    if charge.charge_type != ChargeType.USAGE:
        return []
    words = [GROUPS[charge.rating_group]] if charge.rating_group in GROUPS else []
    count = _count(charge.smoothing_periods, "period")
    if charge.smoothing_model == SmoothingModel.ROLLING_WINDOW:
        at_once = charge.overage_calculation == OverageCalculation.PER_BILLING_PERIOD
        words.append(f"smoothed over {count} (rolling window{', billed as it occurs' if at_once else ''})")
    elif charge.smoothing_model == SmoothingModel.ROLLOVER:
        words.append(f"unused units stay for {count} more (rollover)")
    return words


@register.filter
def has_usual_quantity(charge: Any) -> bool:
    """Tell whether a catalogue charge has a quantity that is told beside its name, not in its price."""
    return charge.default_quantity is not None and not includes_units(charge)


@register.simple_tag
def charge_prices(charge: Any, row: Any) -> Sequence[str]:
    """Return what a catalogue charge costs in the currency of one of its prices, one line a tier."""
    return segment_lines(
        charge, row.price, row.tiers.all(), row.currency, included=charge.default_quantity, credit_rate=row.credit_rate
    )


@register.simple_tag
def segment_prices(charge: Any, segment: Any, currency: str) -> Sequence[str]:
    """Return what a subscription's charge costs during one of its segments, one line a tier."""
    return segment_lines(
        charge,
        segment.price,
        segment.tiers.all(),
        currency,
        included=segment.quantity,
        credit_rate=segment.credit_rate,
    )


def segment_lines(
    charge: Any,
    price: Decimal | None,
    tiers: Iterable[Any],
    currency: str,
    *,
    included: Decimal | None = None,
    credit_rate: Decimal | None = None,
) -> Sequence[str]:
    """Return what a charge costs at one price or in tiers, one line a tier.

    Of overage `included` are the units that are free, and `credit_rate` is what an unused one is credited with.
    """
    if price is None:
        return tier_lines(tiers, currency, charge)
    if includes_units(charge):
        return _overage_lines(charge, price, currency, included, credit_rate)
    words = price_words(charge, price, currency)
    if charge.charge_model == ChargeModel.DISCOUNT_PERCENTAGE:
        return [words]
    if charge.charge_model in COUNTED_BY_UNIT:
        words = f"{words} per {charge.unit or 'unit'}"
    return [" ".join(filter(None, [words, priced_for(charge)]))]


def _overage_lines(
    charge: Any, price: Decimal, currency: str, included: Decimal | None, credit_rate: Decimal | None
) -> Sequence[str]:
    """Return “first 500 GB included, then $0.10 per GB”, and what unused units are credited with."""
    unit = charge.unit or "unit"
    words = f"{unit_price(price, currency)} per {unit}"
    lines = [f"first {number(included)} {unit} included, then {words}" if included else words]
    if credits_unused(charge):
        credited = "no credit rate yet" if credit_rate is None else f"{unit_price(credit_rate, currency)} credited each"
        lines.append(f"unused {unit}: {credited}")
    return lines


def price_words(charge: Any, price: Decimal, currency: str) -> str:
    """Return a price by itself: “$5.00”; “10 % off” or “$10.00 off” where the charge is a discount."""
    model = None if charge is None else charge.charge_model
    if model == ChargeModel.DISCOUNT_PERCENTAGE:
        return f"{number(price)}\N{NO-BREAK SPACE}% off"
    return f"{unit_price(price, currency)} off" if model in DISCOUNTS else unit_price(price, currency)


def _period(charge: Any) -> str:
    unit = LENGTHS.get(charge.billing_period)
    return f"for {_count(charge.period_length, unit)}" if unit else PERIODS[charge.billing_period]


def _count(amount: int, unit: str) -> str:
    return f"{amount} {unit}" if amount == 1 else f"{amount} {unit}s"
