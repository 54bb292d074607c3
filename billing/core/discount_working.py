"""What a discount takes off one line, the derivation that says so, and the amount re-computed from that alone (D15).

The derivation of a discount line is JSON like that of any other line (derivation.py): `v`, `m` and `r` as there, `s` the
number of the first segment that played a part, and

    b     the amount the percentage is taken of                               percentage
    w     percentages, [[segment, percentage, days], …]                       percentage
    n     days of the line                                                    percentage
          amount = −b × Σ percentage × days ÷ (100 × n)
    w     budgets, [[start of the budget's period, budget, used before, most  fixed amount
          that may come off the line], …]; a fifth member, if known, is the
          derivation of the budget
          amount = −Σ min(budget − used before, most)
    l     what was left of the line, absent unless it is the smaller

and when something is given back, because the days of the reduced item are credited or the discount has changed,

    g     what the discount had taken off the item so far
    k     how it comes to what it still takes off, absent when that is nothing: b, w, n, l as above, or for a fixed
          amount {"f":[taken off at first, amount kept, amount at first],"l":…}, which is f[0] × f[1] ÷ f[2]
    w     budgets that may be used again, [[start of the budget's period, amount], …]      fixed amount
          amount = g − what k gives
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from billing.core.derivation import VERSION, amount_of, number_text
from billing.core.money import EXACT, round_quotient
from billing.core.types import ChargeModel, Currency, Period, Segment

ZERO: Final = Decimal(0)
Working = dict[str, Any]
"""Members of a derivation, as `json` takes them."""


class Taken(NamedTuple):
    """What a discount takes off one line, above zero, with the derivation members that give it."""

    amount: Decimal
    segment_id: int
    segment_number: int
    working: Working


class Given(NamedTuple):
    """What a discount took off a billed item at `first` and takes off as `current`, after all that has been given back.

    `budgets` are the starts of the budgets' periods with what the item uses of each at present (fixed amounts only).
    """

    discount_id: int
    first: Decimal
    current: Decimal
    budgets: tuple[tuple[date, Decimal], ...] = ()


def percentage_of(
    base: Decimal, period: Period, segments: Iterable[Segment], *, left: Decimal, currency: Currency
) -> Taken | None:
    """Return what percentages take off `base` for the days they share with `period`, at most `left`; None if nothing.

    However many segments play a part, the sum is rounded once.
    """
    weight, steps, first = ZERO, [], None
    for segment in sorted(segments, key=lambda segment: segment.start):
        days = (min(period.end, segment.end or period.end) - max(period.start, segment.start)).days
        if days > 0 and segment.price:
            first = first or segment
            weight = EXACT.add(weight, EXACT.multiply(segment.price, days))
            steps.append([segment.number, number_text(segment.price), days])
    if first is None:
        return None
    length = (period.end - period.start).days
    taken = round_quotient(EXACT.multiply(base, weight), 100 * length, currency)
    working: Working = {"b": number_text(base), "w": steps, "n": length}
    return _at_most(left, Taken(taken, first.segment_id, first.number, working))


def proportion_of(first: Decimal, kept: Decimal, whole: Decimal, *, left: Decimal, currency: Currency) -> Taken | None:
    """Return what a fixed amount, `first` of `whole`, still takes off `kept`, at most `left`; None if nothing."""
    numerator, denominator = whole.as_integer_ratio()
    dividend = EXACT.multiply(EXACT.multiply(first, kept), denominator)
    working: Working = {"f": [number_text(each) for each in (first, kept, whole)]}
    return _at_most(left, Taken(round_quotient(dividend, numerator, currency), 0, 0, working))


def _at_most(left: Decimal, taken: Taken) -> Taken | None:
    if taken.amount > left:
        taken = taken._replace(amount=left, working={**taken.working, "l": number_text(left)})
    return taken if taken.amount > 0 else None


def share_of(amount: Decimal, period: Period, days: Period, currency: Currency) -> Decimal:
    """Return the part of an amount for `period` that belongs to `days`; the parts of adjoining days add up to it.

    That is why a part is the difference of two rounded amounts, both counted from the start of the period.
    """
    length = (period.end - period.start).days
    until_start, until_end = (
        min(length, max(0, (day - period.start).days)) for day in (days.start, max(days.start, days.end))
    )
    before, through = (
        round_quotient(EXACT.multiply(amount, count), length, currency) for count in (until_start, until_end)
    )
    return EXACT.subtract(through, before)


def discount_amount_of(derivation: str | Mapping[str, Any], currency: Currency) -> Decimal:
    """Return the amount a discount's derivation (JSON text or its values) adds up to, from nothing but itself.

    Raises `ValueError` for a derivation that cannot be true.
    """
    values = json.loads(derivation) if isinstance(derivation, str) else derivation
    if values["v"] != VERSION:
        raise ValueError(f"Derivations of version {values['v']} are not known.")
    if values["r"] != currency.digits:
        raise ValueError(f"Rounded to {values['r']} digits, but {currency.code} has {currency.digits}.")
    model = ChargeModel(values["m"])
    if "g" not in values:
        return _taken(values, model, currency).copy_negate()
    back = EXACT.subtract(Decimal(values["g"]), _taken(values["k"], model, currency) if "k" in values else ZERO)
    if model is ChargeModel.DISCOUNT_FIXED and sum(Fraction(part) for _, part in values.get("w", [])) != back:
        raise ValueError("The budgets that may be used again do not add up to what is given back.")
    return back


def _taken(values: Mapping[str, Any], model: ChargeModel, currency: Currency) -> Decimal:
    """Return what the members of a derivation say is taken off, above zero."""
    if "f" in values:
        first, kept, whole = map(Fraction, values["f"])
        amount = first * kept / whole
    elif model is ChargeModel.DISCOUNT_PERCENTAGE:
        weight = sum((Fraction(percentage) * days for _, percentage, days in values["w"]), Fraction(0))
        amount = Fraction(values["b"]) * weight / (100 * values["n"])
    elif model is ChargeModel.DISCOUNT_FIXED:
        amount = sum((Fraction(_step_amount(step, currency)) for step in values["w"]), Fraction(0))
    else:
        raise ValueError(f"{model} is not a discount.")
    rounded = round_quotient(Decimal(amount.numerator), amount.denominator, currency)
    return min(rounded, Decimal(values["l"])) if "l" in values else rounded


def _step_amount(step: Sequence[Any], currency: Currency) -> Decimal:
    """Return what one budget takes off the line."""
    _, budget, used, most, *priced = step
    if priced and amount_of(priced[0], currency) != Decimal(budget):
        raise ValueError("The budget is not what its derivation adds up to.")
    return min(EXACT.subtract(Decimal(budget), Decimal(used)), Decimal(most))


def budget_use(derivations: Iterable[str | Mapping[str, Any]], currency: Currency) -> dict[date, Decimal]:
    """Return what the lines of one fixed discount use of its budgets, by the start of the budget's period.

    `derivations` are those of any lines of the discount, in any order; what has been given back is taken away again.
    """
    used: dict[date, Decimal] = defaultdict(Decimal)
    for derivation in derivations:
        values = json.loads(derivation) if isinstance(derivation, str) else derivation
        for start, *step in values.get("w", []):
            part = Decimal(step[0]).copy_negate() if "g" in values else _step_amount([start, *step], currency)
            used[date.fromisoformat(start)] = EXACT.add(used[date.fromisoformat(start)], part)
    return dict(used)


def given_of(discount_id: int, derivations: Iterable[str | Mapping[str, Any]], currency: Currency) -> Given:
    """Return what a discount has taken off an item, from the derivations of all its lines that reduce the item.

    They are those of the line written with the item and of those that gave back since, in any order.
    """
    values = [json.loads(each) if isinstance(each, str) else each for each in derivations]
    first = current = ZERO
    for each in values:
        amount = discount_amount_of(each, currency)
        current = EXACT.subtract(current, amount)
        if "g" not in each:
            first = EXACT.subtract(first, amount)
    fixed = [each for each in values if each["m"] == ChargeModel.DISCOUNT_FIXED]
    return Given(discount_id, first, current, tuple(sorted(budget_use(fixed, currency).items())))
