"""How a line was calculated, in words: turns a derivation into the steps an operator can check by hand (D15)."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from accounts.wording import day, money, number, unit_price
from billing.core.derivation import VERSION, amount_of
from billing.core.discounts import discount_amount_of
from billing.core.money import no_more_than
from billing.core.types import ChargeModel, Currency, PriceFormat
from invoicing.models import InvoiceItem
from invoicing.steps import Step, amount_step, exact_text, rounding_step
from invoicing.usage_explanation import billed_before, counting_steps, overage_steps

SPANS = {
    1: "a month",
    3: "a quarter",
    6: "a half-year",
    12: "a year",
    24: "two years",
    36: "three years",
    60: "five years",
}
DISCOUNTS = (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE)
SKIPPED = [0]  # the share of a partial period that the billing rules leave out


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
    if "credit" in d:
        steps = _credit(d, currency)
    else:
        steps = _discount(d, currency) if d.get("m") in DISCOUNTS else _charge(d, currency)
    steps.append(rounding_step(d["r"], item.amount, steps[-1].value, currency))
    return steps


def proration_note(item: InvoiceItem) -> str:
    """Return the short note that stands beside a prorated line, “17 of 30 days”, or nothing."""
    d: dict[str, Any] = item.derivation
    if "day" in d:
        return _days_words(d["day"])
    return _share_words(d["part"]) if "part" in d and d["part"] != SKIPPED else ""


def _charge(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps from the price to the exact amount of a line that bills days or usage."""
    if "again" in d:
        return _again(d, currency)
    steps = counting_steps(d) if "rec" in d else []
    steps += overage_steps(d, currency) if d["m"] == ChargeModel.OVERAGE else _rate(d, currency)
    if "f" in d and d["f"][0] != d["f"][1]:
        steps.append(_full_period(d, steps[-1].value, currency))
    if d.get("part") == SKIPPED:
        steps.append(amount_step("Partial period", "not billed: the billing rules skip it", Fraction(0), currency))
    elif "part" in d:
        steps.append(_proration(d, steps[-1].value, currency))
    elif "day" in d:
        days, whole = d["day"]
        working = f"{exact_text(steps[-1].value, currency)} × {days} ÷ {whole}: {_days_words(d['day'])}"
        steps.append(amount_step("Proration", working, steps[-1].value * Fraction(days, whole), currency))
    return steps + billed_before(d, steps[-1].value, currency)


def _again(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps of late usage that weighs on several periods: each is priced again, and what they cost is taken off."""
    if not d["again"]:
        return [amount_step("Late usage", "nothing: the fee is the same whatever is used", Fraction(0), currency)]
    steps, total = [], Fraction(0)
    for position, period in enumerate(d["again"], start=1):
        name = f"Period {position} again"
        found = _charge(period, currency)
        steps += [step._replace(name=f"{name}: {step.name}") for step in found]
        amount = amount_of(period, Currency(currency, period["r"]))
        rounded = rounding_step(period["r"], amount, found[-1].value, currency)
        steps.append(rounded._replace(name=f"{name}: amount"))
        total += Fraction(amount)
    steps.append(amount_step("All periods", "sum of their amounts, with the late usage", total, currency))
    return steps + billed_before(d, total, currency)


def _credit(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps of a credit: what the days that stay cost now, less what was billed for all of them."""
    credit = d["credit"]
    billed, kept = Decimal(credit["billed"]), Decimal(0)
    steps = [amount_step("Billed so far", "by the line that this one credits", Fraction(billed), currency)]
    for days in credit.get("kept", []):
        for step in _charge(days, currency):
            steps.append(step._replace(name=f"Kept days: {step.name}"))
        amount = amount_of(days, Currency(currency, days["r"]))
        steps.append(rounding_step(days["r"], amount, steps[-1].value, currency)._replace(name="Kept days: amount"))
        kept += amount
    remains = Fraction(no_more_than(billed, kept))
    if remains != kept:
        words = f"{exact_text(Fraction(kept), currency)} today, but no more than was billed"
        steps.append(amount_step("Kept days: limit", words, remains, currency))
    before = Fraction(billed)
    words = (
        f"{exact_text(remains, currency)} − {exact_text(before, currency)}"
        if remains
        else "everything billed is given back"
    )
    steps.append(amount_step("Credit", words, remains - before, currency))
    return steps


def _discount(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps of a discount: what it takes off the line, or what it gives back of what it had taken off."""
    if "g" not in d:
        steps = _taken_off(d, currency)
        return [*steps, amount_step("Taken off", "as a negative amount", -steps[-1].value, currency)]
    before = Fraction(d["g"])
    steps = [amount_step("Taken off so far", "of the billed line that this one is about", before, currency)]
    kept = Fraction(0)
    if "k" in d:
        for step in _taken_off(d["k"], currency):
            steps.append(step._replace(name=f"Still taken off: {step.name}"))
        amount = Decimal(d["g"]) - discount_amount_of(d, Currency(currency, d["r"]))
        kept = Fraction(amount)
        steps.append(rounding_step(d["r"], amount, steps[-1].value, currency)._replace(name="Still taken off"))
    working = f"{exact_text(before, currency)} − {exact_text(kept, currency)}" if kept else "all of it"
    if d["m"] == ChargeModel.DISCOUNT_FIXED and d.get("w"):
        freed = ", ".join(f"{exact_text(Fraction(part), currency)} from {_day(start)} on" for start, part in d["w"])
        working += f"; may be used again: {freed}"
    return [*steps, amount_step("Given back", working, before - kept, currency)]


def _taken_off(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps that give what a discount takes off, above zero and not yet rounded."""
    steps: list[Step] = []
    if "f" in d:
        first, kept, whole = map(Fraction, d["f"])
        words = f"{exact_text(first, currency)} × {exact_text(kept, currency)} ÷ {exact_text(whole, currency)}: in proportion to the line"
        parts = [amount_step("Share", words, first * kept / whole, currency)]
    elif "b" in d:
        parts = _percentages(d, currency)
    else:
        steps += _budgets(d, currency)
        parts = _fixed_amounts(d, currency)
    steps += parts
    total = sum((part.value for part in parts), Fraction(0))
    if len(parts) > 1:
        steps.append(amount_step("All together", "sum", total, currency))
    if "l" in d:
        steps.append(amount_step("Limit", "no more than is left of the line", Fraction(d["l"]), currency))
    return steps


def _percentages(d: dict[str, Any], currency: str) -> list[Step]:
    """Return a step for each percentage that was in force on days of the line."""
    base = Fraction(d["b"])
    steps = []
    for segment, percentage, days in d["w"]:
        share = "" if days == d["n"] else f" × {days} ÷ {d['n']}: {_days_words([days, d['n']])}"
        words = f"{number(Decimal(percentage))} % of {exact_text(base, currency)}{share}"
        name = "Percentage" if len(d["w"]) == 1 else f"Percentage of segment {segment}"
        steps.append(amount_step(name, words, base * Fraction(percentage) / 100 * Fraction(days, d["n"]), currency))
    return steps


def _fixed_amounts(d: dict[str, Any], currency: str) -> list[Step]:
    """Return a step for each period of the discount whose amount is used up on the line."""
    steps = []
    for start, budget, used, most, *_ in d["w"]:
        left = f"{exact_text(Fraction(budget), currency)} from {_day(start)} on"
        if Fraction(used):
            left += f", of which {exact_text(Fraction(used), currency)} is used"
        words = f"{left}; at most {exact_text(Fraction(most), currency)} of this line"
        value = min(Fraction(budget) - Fraction(used), Fraction(most))
        steps.append(amount_step("Fixed amount", words, value, currency))
    return steps


def _budgets(d: dict[str, Any], currency: str) -> list[Step]:
    """Return how the fixed amounts came about that are not simply the price of a full period."""
    steps = []
    for _, budget, _, _, *priced in d["w"]:
        for days in priced:
            parts = _charge(days, currency)
            if len(parts) > 1 or parts[-1].value != Fraction(budget):
                steps += [part._replace(name=f"Budget: {part.name}") for part in parts]
                rounded = rounding_step(days["r"], Decimal(budget), parts[-1].value, currency)
                steps.append(rounded._replace(name="Budget: amount"))
    return steps


def _rate(d: dict[str, Any], currency: str) -> list[Step]:
    """Return the steps that price the whole quantity for the span the list price is for."""
    model = ChargeModel(d["m"])
    per = f", for {_price_span(d)}" if "f" in d and "rec" not in d else ""
    source = f"price of segment {d['s']}{per}"
    if model is ChargeModel.FLAT_FEE:
        return [amount_step("Flat fee", source, Fraction(d["p"]), currency)]
    if model is ChargeModel.PER_UNIT:
        working = f"{number(Decimal(d['q']))} × {unit_price(Decimal(d['p']), currency)} ({source})"
        return [amount_step("Per unit", working, Fraction(d["p"]) * Fraction(d["q"]), currency)]
    steps = [
        amount_step(_tier_name(d, model, position), _tier_words(tier, model, currency), _tier_amount(tier), currency)
        for position, tier in enumerate(d["t"], start=d.get("n", 1))
    ]
    total = sum((step.value for step in steps), Fraction(0))
    if len(steps) != 1:
        steps.append(amount_step("All tiers", f"sum{per} ({number(Decimal(d['q']))} in all)", total, currency))
    return steps


def _tier_name(d: dict[str, Any], model: ChargeModel, position: int) -> str:
    """Return which tier a step is about; usage in groups may fall into any tiers of a volume price."""
    if model is ChargeModel.VOLUME:
        return "Volume" if len(d["t"]) > 1 else f"Volume, tier {position}"
    end = d.get("end")
    if end is not None and position == len(d["t"]) and Decimal(d["q"]) > Decimal(end):
        return f"Overage above {number(Decimal(end))}"
    return f"Tiered, tier {position}"


def _tier_words(tier: list[Any], model: ChargeModel, currency: str) -> str:
    units, price = number(Decimal(tier[0])), unit_price(Decimal(tier[1]), currency)
    if _is_flat(tier):
        times = _times(tier)
        return (
            f"{price} flat, for {units}" if times == 1 else f"{price} × {times}: flat, for each group; {units} in all"
        )
    return f"all {units} × {price}" if model is ChargeModel.VOLUME else f"{units} × {price}"


def _tier_amount(tier: list[Any]) -> Fraction:
    return Fraction(tier[1]) * _times(tier) if _is_flat(tier) else Fraction(tier[0]) * Fraction(tier[1])


def _times(tier: list[Any]) -> int:
    """Return how often a flat tier is charged: once, or for each group of usage that reaches it."""
    return int(tier[3]) if len(tier) > 3 else 1


def _is_flat(tier: list[Any]) -> bool:
    return len(tier) > 2 and tier[2] == PriceFormat.FLAT_FEE


def _full_period(d: dict[str, Any], before: Fraction, currency: str) -> Step:
    length, base = d["f"]
    span, divisor = _span(length, d.get("u", "")), base
    factor = f"× {length}"
    if "term" in d:
        span, divisor = f"a term of {_share_words(d['term'])}", _price_months(d)
        factor = f"× ({_share_sum(d['term'])})" if len(d["term"]) > 1 else f"× {_share_sum(d['term'])}"
    if divisor != 1:
        factor = f"÷ {divisor}" if factor == "× 1" else f"{factor} ÷ {divisor}"
    working = f"{exact_text(before, currency)} {factor}: billed is {span}, the price is for {_price_span(d)}"
    return amount_step("Billing period", working, before * Fraction(length, base), currency)


def _price_span(d: dict[str, Any]) -> str:
    """Return the length of time the list price is for, in words."""
    return _span(_price_months(d) if "term" in d else d["f"][1], d.get("u", ""))


def _price_months(d: dict[str, Any]) -> int:
    """Return the months the list price is for where the term of the subscription is not made of whole months."""
    length, base = d["f"]
    return int(_months(d["term"]) * base / length)


def _proration(d: dict[str, Any], before: Fraction, currency: str) -> Step:
    whole = d.get("of", [d["f"][0]])
    part = (
        f"({_share_sum(d['part'])})"
        if len(d["part"]) > 1 and (d["part"][0] or len(d["part"]) > 3)
        else _share_sum(d["part"])
    )
    divided = "" if whole == [1] else f" ÷ {_share_sum(whole)}" if len(whole) == 1 else f" ÷ ({_share_sum(whole)})"
    words = f"{_share_words(d['part'])} of {_share_words(whole)}"
    working = f"{exact_text(before, currency)} × {part}{divided}: {words}"
    return amount_step("Proration", working, before * _months(d["part"]) / _months(whole), currency)


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


def _days_words(days: list[int]) -> str:
    """[17, 92] reads “17 of 92 days”."""
    return f"{days[0]} of {days[1]} days"


def _day(iso: str) -> str:
    return day(date.fromisoformat(iso))


def _span(length: int, unit: str) -> str:
    """Return a length of time in words; the unit is that of a derivation: months unless it says weeks or days."""
    if not unit:
        return SPANS.get(length, f"{length} months")
    name = {"w": "week", "d": "day"}[unit]
    return f"a {name}" if length == 1 else f"{length} {name}s"
