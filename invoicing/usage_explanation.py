"""How a usage line was calculated, in words: what was counted and how, what was included, what was billed already."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from accounts.wording import number, unit_price
from billing.core.derivation import amount_of
from billing.core.overage import PartKind
from billing.core.smoothing import OverageCalculation
from billing.core.types import Currency, RatingGroup
from invoicing.steps import Step, amount_step, exact_text, rounding_step

GROUPS = {
    RatingGroup.START_DATE: ("start day", "start days"),
    RatingGroup.RECORD: ("usage record", "usage records"),
    RatingGroup.UPLOAD: ("upload", "uploads"),
}


def counting_steps(d: dict[str, Any]) -> list[Step]:
    """Return what was counted: number of records, rating group, rounding as the unit says, and the window or block."""
    used = Decimal(d["w"][-1][0]) if "w" in d else Decimal(d["q"])
    words = [f"{number(d['rec'])} usage {'record' if d['rec'] == 1 else 'records'}"]
    if "by" in d:
        words.append(_group_words(*d["by"]))
    steps = []
    if "raw" in d:
        raw = Decimal(d["raw"])
        steps.append(_quantity("Usage", ", ".join(words), raw))
        way = "up" if used > raw else "down"
        steps.append(_quantity("Rounded usage", f"{number(raw)} rounded {way}, as the unit of measure says", used))
    else:
        steps.append(_quantity("Usage", ", ".join(words), used))
    if "w" in d and "at" in d:
        steps.append(_block(d))
    elif "w" in d:
        steps.append(_window(d))
    return steps


def _group_words(group: str, groups: int) -> str:
    one, many = GROUPS[RatingGroup(group)]
    return f"each {one} rated by itself: {number(groups)} {one if groups == 1 else many}"


def _window(d: dict[str, Any]) -> Step:
    """Return how full a rolling window is, and what its periods used."""
    periods = d["sm"][1]
    used = _sum(pair[0] for pair in d["w"])
    terms = " + ".join(number(Decimal(pair[0])) for pair in d["w"])
    if len(d["w"]) < periods:
        state = f"not full yet, {number(len(d['w']))} of {number(periods)} periods"
    else:
        state = f"full with {number(periods)} {'period' if periods == 1 else 'periods'}"
    return _quantity("Smoothing window", f"{state}: {terms}", used)


def _block(d: dict[str, Any]) -> Step:
    """Return where in its block of periods a period stands, and what the block has used so far."""
    (before, _), (used, _) = d["w"]
    words = f"period {number(d['at'])} of a block of {number(d['sm'][1])}: "
    words += f"{number(Decimal(before))} used before + {number(Decimal(used))}"
    return _quantity("Smoothing block", words, Decimal(d["q"]))


def overage_steps(d: dict[str, Any], currency: str) -> list[Step]:
    """Return a step for the units of each kind, included or charged, and their sum."""
    lots = iter(d.get("lots", []))
    steps = []
    for kind, (units, price) in zip(d["k"], d["t"], strict=True):
        part = PartKind(kind)
        name, words = _part_words(d, part, Decimal(units), next(lots) if part is PartKind.LOT else None)
        if part not in (PartKind.OVERAGE, PartKind.GIVEN_BACK, PartKind.UNUSED):
            steps.append(amount_step(name, words, Fraction(0), currency))
            continue
        working = f"{number(Decimal(units))} × {unit_price(Decimal(price), currency)}: {words}"
        steps.append(amount_step(name, working, Fraction(units) * Fraction(price), currency))
    if len(steps) != 1:
        words = "sum" if steps else "nothing was used"
        steps.append(amount_step("All together", words, sum((step.value for step in steps), Fraction(0)), currency))
    return steps


def _part_words(d: dict[str, Any], part: PartKind, units: Decimal, lot: Sequence[Any] | None) -> tuple[str, str]:
    """Return the name of units of one kind and why they have the price they have."""
    amount = number(units)
    if part is PartKind.INCLUDED:
        return "Included", f"{amount} of {_included_words(d, units)}"
    if part is PartKind.OVERAGE:
        return "Overage", _overage_words(d)
    if part is PartKind.LOT and lot is not None:
        left = "for the last time" if lot[1] == 1 else f"for {number(lot[1])} more periods, this one included"
        return "Rolled over", f"{amount} of {number(Decimal(lot[0]))} left over by an earlier period, usable {left}"
    return {
        PartKind.WAITING: ("Waiting", f"{amount}: nothing is charged before the window is full"),
        PartKind.BILLED: ("Charged before", f"{amount}: overage that earlier periods of the block were charged"),
        PartKind.UNCOUNTED: ("Not counted", f"{amount}: a partial first period is not smoothed"),
        PartKind.GIVEN_BACK: ("Given back", "charged before and, with more units included, no longer due"),
        PartKind.UNUSED: ("Unused", "included units that the block left unused, credited"),
    }[part]


def _included_words(d: dict[str, Any], units: Decimal) -> str:
    """Return how many units are included and what becomes of those that are left."""
    if "at" in d:
        (_, before), (_, included) = d["w"]
        to_come = d["sm"][1] - d["at"] + 1
        total = Decimal(before) + Decimal(included) * to_come
        return f"{number(total)} units that the block of {number(d['sm'][1])} periods includes"
    if "w" in d:
        total = _sum(pair[1] for pair in d["w"])
        moves = "" if PartKind.OVERAGE in d["k"] else "; the window moves on by one period"
        return f"{number(total)} units that its {number(len(d['w']))} periods include{moves}"
    included = Decimal(d["inc"])
    words = f"{number(included)} included units"
    if "sm" in d and "first" not in d and included > units:
        words += f"; {number(included - units)} roll over for {_periods(d['sm'][1])}"
    return words


def _overage_words(d: dict[str, Any]) -> str:
    if d.get("sm", [""])[0] == OverageCalculation.END_OF_SMOOTHING_PERIOD and "w" in d:
        return "above what is included, so the window starts anew"
    if "at" in d:
        return "above what the block includes and not charged before"
    return "above the included units"


def _periods(count: int) -> str:
    return "the next period" if count == 1 else f"the next {number(count)} periods"


def billed_before(d: dict[str, Any], exact: Fraction, currency: str) -> list[Step]:
    """Return what takes off what was billed for the same days before, or nothing where nothing was priced before."""
    if "less" not in d:
        return []
    less = Decimal(d["less"])
    whole = amount_of(d, Currency(currency, d["r"])) + less
    steps = [] if "again" in d else [rounding_step(d["r"], whole, exact, currency)._replace(name="All usage so far")]
    words = f"{exact_text(Fraction(whole), currency)} − {exact_text(Fraction(less), currency)} billed for it before"
    steps.append(amount_step("Billed already", words, Fraction(whole - less), currency))
    return steps


def _quantity(name: str, working: str, value: Decimal) -> Step:
    return Step(name, working, number(value), Fraction(value))


def _sum(texts: Any) -> Decimal:
    return sum((Decimal(text) for text in texts), Decimal(0))
