"""Prices in words: tiers, and what a catalogue charge costs in one currency."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import template

from accounts.wording import number, unit_price
from billing.core.types import ChargeModel, ListPriceBase, PriceFormat

register = template.Library()

BASES = {
    ListPriceBase.PER_BILLING_PERIOD: "",
    ListPriceBase.PER_MONTH: "a month",
    ListPriceBase.PER_YEAR: "a year",
}
PERIODS = {"Month": "a month", "Quarter": "a quarter", "SemiAnnual": "a half-year", "Annual": "a year"}


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
def price_lines(charge: Any, currency: str) -> list[str]:
    """Return what a catalogue charge costs in a currency, one line a tier; nothing when it is not sold in it."""
    row = next((price for price in charge.prices.all() if price.currency == currency), None)
    if row is None:
        return []
    if row.price is None:
        return tier_lines(row.tiers.all(), currency)
    each = f" per {charge.unit or 'unit'}" if charge.charge_model == ChargeModel.PER_UNIT else ""
    return [" ".join(filter(None, [f"{unit_price(row.price, currency)}{each}", price_base(charge)]))]


@register.filter
def price_base(charge: Any) -> str:
    """Return what a charge's price is for: “a month”; nothing for one-time charges."""
    if not charge.billing_period:
        return ""
    return BASES[ListPriceBase(charge.list_price_base)] or PERIODS[charge.billing_period]
