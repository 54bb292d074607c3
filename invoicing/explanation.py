"""How a line was calculated, in words: turns a derivation into the steps an operator can check by hand (D15)."""

from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from accounts.wording import money, number, unit_price
from billing.core.derivation import VERSION
from billing.core.types import ChargeModel, PriceFormat
from invoicing.models import InvoiceItem

SPANS = {1: "a month", 3: "a quarter", 6: "a half-year", 12: "a year"}
# Results between the steps are exact; of those without an end this many digits are shown, and the dots say so.
SHOWN_DIGITS = 6


class Step(NamedTuple):
    """One step of a calculation: what it is, the arithmetic, what comes out, and the exact value of that."""

    name: str
    working: str
    result: str
    value: Fraction


def explain(item: InvoiceItem, *, currency: str) -> list[Step]:
    """Return the steps from price to amount; each begins with what the one before gave, and only the last rounds."""
    d: dict[str, Any] = item.derivation
    if d.get("v") != VERSION:
        return [
            Step(
                "Amount",
                "This line was calculated by another version.",
                money(item.amount, currency),
                Fraction(item.amount),
            )
        ]
    steps = _rate(d, currency)
    if "f" in d and d["f"][0] != d["f"][1]:
        steps.append(_full_period(d, steps[-1].value, currency))
    if "part" in d:
        steps.append(_proration(d, steps[-1].value, currency))
    steps.append(_rounding(d["r"], item.amount, steps[-1].value, currency))
    return steps


def proration_note(item: InvoiceItem) -> str:
    """Return the short note that stands beside a prorated line, “17 of 30 days”, or nothing."""
    return _share_words(item.derivation["part"]) if "part" in item.derivation else ""


def _rate(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps that price the whole quantity for the span the list price is for."""
    model = ChargeModel(d["m"])
    per = f", for {_span(d['f'][1])}" if "f" in d else ""
    source = f"price of segment {d['s']}{per}"
    if model is ChargeModel.FLAT_FEE:
        return [_step("Flat fee", source, Fraction(d["p"]), currency)]
    if model is ChargeModel.PER_UNIT:
        working = f"{number(Decimal(d['q']))} × {unit_price(Decimal(d['p']), currency)} ({source})"
        return [_step("Per unit", working, Fraction(d["p"]) * Fraction(d["q"]), currency)]
    name = "Volume" if model is ChargeModel.VOLUME else "Tiered"
    steps = [
        _step(f"{name}, tier {position}", _tier_words(tier, model, currency), _tier_amount(tier), currency)
        for position, tier in enumerate(d["t"], start=d.get("n", 1))
    ]
    total = sum((step.value for step in steps), Fraction(0))
    if len(steps) != 1:
        steps.append(_step("All tiers", f"sum{per} ({number(Decimal(d['q']))} in all)", total, currency))
    return steps


def _tier_words(tier: list[str], model: ChargeModel, currency: str) -> str:
    units, price = number(Decimal(tier[0])), unit_price(Decimal(tier[1]), currency)
    if _is_flat(tier):
        return f"{price} flat, for {units}"
    return f"all {units} × {price}" if model is ChargeModel.VOLUME else f"{units} × {price}"


def _tier_amount(tier: list[str]) -> Fraction:
    return Fraction(tier[1]) if _is_flat(tier) else Fraction(tier[0]) * Fraction(tier[1])


def _is_flat(tier: list[str]) -> bool:
    return len(tier) > 2 and tier[2] == PriceFormat.FLAT_FEE


def _full_period(d: dict[str, Any], before: Fraction, currency: str) -> Step:
    months, base = d["f"]
    factor = f"× {months}" if base == 1 else f"÷ {base}" if months == 1 else f"× {months} ÷ {base}"
    working = f"{_exact(before, currency)} {factor}: billed is {_span(months)}, the price is for {_span(base)}"
    return _step("Billing period", working, before * Fraction(months, base), currency)


def _proration(d: dict[str, Any], before: Fraction, currency: str) -> Step:
    whole = d.get("of", [d["f"][0]])
    part = (
        f"({_share_sum(d['part'])})"
        if len(d["part"]) > 1 and (d["part"][0] or len(d["part"]) > 3)
        else _share_sum(d["part"])
    )
    divided = "" if whole == [1] else f" ÷ {_share_sum(whole)}" if len(whole) == 1 else f" ÷ ({_share_sum(whole)})"
    words = f"{_share_words(d['part'])} of {_share_words(whole)}"
    working = f"{_exact(before, currency)} × {part}{divided}: {words}"
    return _step("Proration", working, before * _months(d["part"]) / _months(whole), currency)


def _rounding(digits: int, amount: Decimal, before: Fraction, currency: str) -> Step:
    if Fraction(amount) == before:
        working = "nothing to round"
    else:
        places = f"{digits} {'digit' if digits == 1 else 'digits'}" if digits else "whole numbers"
        working = f"{_exact(before, currency)} rounded half up to {places}, once, at the end"
    return Step("Amount", working, money(amount, currency), Fraction(amount))


def _step(name: str, working: str, value: Fraction, currency: str) -> Step:
    return Step(name, working, _exact(value, currency), value)


def _exact(value: Fraction, currency: str) -> str:
    """Return a value with all its digits, or with the first few and dots where they do not end."""
    scaled = value * 10**SHOWN_DIGITS
    shown = Decimal(int(scaled)).scaleb(-SHOWN_DIGITS)
    return unit_price(shown, currency) + ("" if scaled.denominator == 1 else "…")


def _months(share: list[int]) -> Fraction:
    full, *rest = share
    return full + sum((Fraction(*pair) for pair in zip(rest[::2], rest[1::2], strict=True)), Fraction(0))


def _share_sum(share: list[int]) -> str:
    """[2, 12, 31] reads “2 + 12/31”: months and parts of them."""
    full, *rest = share
    parts = [f"{days}/{of_days}" for days, of_days in zip(rest[::2], rest[1::2], strict=True)]
    return " + ".join([*([str(full)] if full or not parts else []), *parts])


def _share_words(share: list[int]) -> str:
    """[2, 12, 31] reads “2 months + 12 of 31 days”."""
    full, *rest = share
    words = [f"{full} {'month' if full == 1 else 'months'}"] if full or not rest else []
    words += [f"{days} of {of_days} days" for days, of_days in zip(rest[::2], rest[1::2], strict=True)]
    return " + ".join(words)


def _span(months: int) -> str:
    return SPANS.get(months, f"{months} months")
