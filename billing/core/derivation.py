"""The compact record of how a line's amount came about, and the re-computation of the amount from it alone (D15).

A derivation is JSON without free text; numbers with digits after the point are strings, all others integers:

    v     version of this format, 1
    s     number of the segment whose price was used
    m     charge model
    p     price per list price base                                       flat fee and per unit
    q     quantity                                                        all but flat fee
    t     tiers reached, [[units, price], …]; a third member "FlatFee"    tiered and volume
          marks a price that is charged once, whatever the units, and a
          fourth one how often usage counted in groups makes it be charged
    n     number of the first tier in t; absent when 1                    volume
    f     [months per billing period, months per list price base]         recurring
    u     unit of f where it is not months: "w" weeks, "d" days           recurring
    term  months of a subscription term of odd length whose price is for  recurring
          months, same form as part; f[0] ÷ f[1] is it ÷ the price's
    part  months covered, [full, days, of days, …], absent when the       recurring
          period is charged in full; [0] when the rules skip it
    of    months of the period the part belongs to, same form, absent     recurring
          when it is a full billing period
    day   [days covered, days of the period], instead of part and of      recurring
          where proration counts days throughout
    r     decimal digits the amount was rounded to, half-up

    less  what is billed for these days already, taken off after rounding  usage

Days covered are counted as the rules say: in months of thirty days, those that the line adds to the days before it.

    amount = rate × f[0] ÷ f[1] × part ÷ of      rate = p | p × q | Σ t      rounded once, at the end
           = rate × f[0] ÷ f[1] × day[0] ÷ day[1]

Usage has the members of `usage_rates` and `overage` as well; late usage of a smoothed charge instead of all but v, s, r
and less the derivations of the periods that are priced again:

    again  [derivation, …]                                  amount = Σ again − less

A credit has instead of all but v, s and r one member:

    credit  {item, billed, kept}: the item whose days are given back, what is billed for them at present, and the
            derivations of the days it keeps (absent when it keeps none)

    amount = Σ kept − billed      Σ kept neither below 0 nor above billed (the other way round where billed is below 0)
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from billing.core.money import EXACT, no_more_than, round_quotient
from billing.core.types import ChargeModel, Currency, PriceFormat

VERSION = 1


# Prices and quantities come from price lists, so few values make up most lines.
@lru_cache(maxsize=8192)
def number_text(value: Decimal) -> str:
    """Return the shortest plain notation of a decimal: no exponent, no zeros at the end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount_of(derivation: str | Mapping[str, Any], currency: Currency) -> Decimal:
    """Return the amount a derivation (JSON text or its values) adds up to, computed afresh from nothing but itself."""
    values = json.loads(derivation) if isinstance(derivation, str) else derivation
    if values["v"] != VERSION:
        raise ValueError(f"Derivations of version {values['v']} are not known.")
    if values["r"] != currency.digits:
        raise ValueError(f"Rounded to {values['r']} digits, but {currency.code} has {currency.digits}.")
    if "credit" in values:
        billed = Decimal(values["credit"]["billed"])
        kept = Decimal(0)
        for days in values["credit"].get("kept", []):
            kept = EXACT.add(kept, amount_of(days, currency))
        amount = Fraction(no_more_than(billed, kept)) - Fraction(billed)
    elif "again" in values:
        amount = sum((Fraction(amount_of(period, currency)) for period in values["again"]), Fraction(0))
    else:
        amount = _rate(values)
    if "f" in values:
        months, base = values["f"]
        amount *= Fraction(months, base)
        if "part" in values:
            amount *= _months(values["part"]) / _months(values.get("of", [months]))
        elif "day" in values:
            amount *= Fraction(*values["day"])
    rounded = round_quotient(Decimal(amount.numerator), amount.denominator, currency)
    return EXACT.subtract(rounded, Decimal(values["less"])) if "less" in values else rounded


def _rate(values: Mapping[str, Any]) -> Fraction:
    """Return the price of the whole quantity per list price base."""
    model = ChargeModel(values["m"])
    if model is ChargeModel.FLAT_FEE:
        return Fraction(values["p"])
    if model is ChargeModel.PER_UNIT:
        return Fraction(values["p"]) * Fraction(values["q"])
    if sum(Fraction(step[0]) for step in values["t"]) != Fraction(values["q"]):
        raise ValueError("The units of the tiers do not add up to the quantity.")
    return sum((_step_amount(*step) for step in values["t"]), Fraction(0))


def _step_amount(units: str, price: str, price_format: str = PriceFormat.PER_UNIT, times: int = 1) -> Fraction:
    return Fraction(price) * times if price_format == PriceFormat.FLAT_FEE else Fraction(units) * Fraction(price)


def _months(share: list[int]) -> Fraction:
    full_months, *rest = share
    return full_months + sum((Fraction(*pair) for pair in zip(rest[::2], rest[1::2], strict=True)), Fraction(0))
