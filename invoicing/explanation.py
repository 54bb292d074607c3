"""How a line was calculated, in words: turns a derivation into the steps an operator can check by hand (D15)."""

from decimal import Decimal
from typing import Any, NamedTuple

from babel.numbers import format_decimal

from invoicing.models import InvoiceItem

_MONTHS = {1: "month", 3: "quarter", 6: "half-year", 12: "year"}
_MODELS = {"FlatFee": "Flat fee", "PerUnit": "Per unit", "Tiered": "Tiered", "Volume": "Volume"}


class Step(NamedTuple):
    """One step of a calculation: what it is, the arithmetic, and what comes out."""

    name: str
    working: str
    result: str


def explain(item: InvoiceItem, *, currency: str) -> list[Step]:
    """Return the steps from price to amount, the same for screen and paper; numbers are exact until the last step."""
    d: dict[str, Any] = item.derivation
    steps = [*_rate(d, currency)]
    if "f" in d:
        steps += _full_period(d)
    if "part" in d:
        steps.append(_proration(d))
    steps.append(
        Step(
            "Rounding",
            f"half up to {d['r']} {'digit' if d['r'] == 1 else 'digits'}, once, at the end",
            f"{_number(f'{item.amount:f}', d['r'])} {currency}",
        )
    )
    return steps


def _rate(d: dict[str, Any], currency: str) -> list[Step]:
    model = _MODELS.get(d["m"], d["m"])
    segment = f"price of segment {d['s']}"
    if "t" in d:
        first = d.get("n", 1)
        return [
            Step(f"{model}, tier {number}", _tier_words(tier), f"{_number(_tier_amount(tier))} {currency}")
            for number, tier in enumerate(d["t"], start=first)
        ]
    if "q" in d:
        total = Decimal(str(d["p"])) * Decimal(str(d["q"]))
        return [
            Step(
                model,
                f"{_number(d['p'])} {currency} × {_number(d['q'])} ({segment})",
                f"{_number(f'{total:f}')} {currency}",
            )
        ]
    return [Step(model, segment, f"{_number(d['p'])} {currency}")]


def _tier_words(tier: list[Any]) -> str:
    units, unit_price, *flat = tier
    return (
        f"{_number(unit_price)} once for {_number(units)} units"
        if flat
        else f"{_number(units)} units × {_number(unit_price)}"
    )


def _tier_amount(tier: list[Any]) -> str:
    units, unit_price, *flat = tier
    return f"{Decimal(str(unit_price)) * (1 if flat else Decimal(str(units))):f}"


def _full_period(d: dict[str, Any]) -> list[Step]:
    period, base = d["f"]
    if period == base:
        return []
    return [
        Step(
            "Full billing period",
            f"the price is per {_span(base)}, the billing period is a {_span(period)}",
            f"× {period} ÷ {base}",
        )
    ]


def _proration(d: dict[str, Any]) -> Step:
    of = _share_words(d["of"]) if "of" in d else f"{d['f'][0]} {_plural(d['f'][0], 'month')}"
    return Step("Proration", "months first, then actual days of the month", f"{_share_words(d['part'])} of {of}")


def _share_words(share: list[int]) -> str:
    """[2, 12, 31] reads “2 months + 12/31 of a month”."""
    months, *days = share
    words = [f"{months} {_plural(months, 'month')}"] if months else []
    words += [f"{days[i]}/{days[i + 1]} of a month" for i in range(0, len(days), 2)]
    return " + ".join(words) or "no time"


def _span(months: int) -> str:
    return _MONTHS.get(months, f"{months} months")


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _number(value: Any, digits: int | None = None) -> str:
    pattern = "#,##0." + ("0" * digits if digits else "########") if digits != 0 else "#,##0"
    return format_decimal(Decimal(str(value)), format=pattern, locale="en", decimal_quantization=False)


def proration_note(item: InvoiceItem) -> str:
    """Return the short note that stands beside a prorated line, or nothing."""
    return _share_words(item.derivation["part"]) if "part" in item.derivation else ""
