"""How a charge of the catalogue is billed and what it costs, in a few words."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django import template

from accounts.wording import number, unit_price
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, ListPriceBase, PriceFormat
from billing.models.terms import DISCOUNTS

register = template.Library()

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


@register.simple_tag
def tier_lines(tiers: Iterable[Any], currency: str) -> list[str]:
    """Return tiers as people read them: “up to 10: $5.00 each”, “above 10: $40.00 flat”."""
    lines, begin = [], Decimal(0)
    for tier in tiers:
        how = "flat" if tier.price_format == PriceFormat.FLAT_FEE else "each"
        reach = f"above {number(begin)}" if tier.up_to is None else f"up to {number(tier.up_to)}"
        if tier.up_to is None and not begin:
            reach = "all"
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
    """Return what a charge's price is for: “a month”, “for 5 weeks”; nothing for one-time charges."""
    if not charge.billing_period or charge.charge_type == ChargeType.USAGE:
        return ""
    if charge.list_price_base == ListPriceBase.PER_SPECIFIC_MONTHS:
        return f"for {_count(charge.price_base_months, 'month')}"
    return BASES.get(charge.list_price_base) or _period(charge)


@register.filter
def billed_each(charge: Any) -> str:
    """Return how a charge is billed: “a month, in advance”; “once” for one-time charges."""
    if not charge.billing_period:
        return "once"
    timing = TIMINGS["InArrears" if charge.charge_type == ChargeType.USAGE else charge.billing_timing]
    return f"{_period(charge).removeprefix('for ')}, {timing}"


@register.simple_tag
def charge_prices(charge: Any, row: Any) -> Sequence[str]:
    """Return what a catalogue charge costs in the currency of one of its prices, one line a tier."""
    return segment_lines(charge, row.price, row.tiers.all(), row.currency)


def segment_lines(charge: Any, price: Decimal | None, tiers: Iterable[Any], currency: str) -> Sequence[str]:
    """Return what a charge costs at one price or in tiers, one line a tier."""
    if price is None:
        return tier_lines(tiers, currency)
    words = price_words(charge, price, currency)
    if charge.charge_model == ChargeModel.DISCOUNT_PERCENTAGE:
        return [words]
    if charge.charge_model in (ChargeModel.PER_UNIT, ChargeModel.OVERAGE):
        words = f"{words} per {charge.unit or 'unit'}"
    return [" ".join(filter(None, [words, priced_for(charge)]))]


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
