"""What discounts take off the lines of an account, and what credited items give back of it (domain.md 2.3).

Discounts follow one another by charge number. A percentage is taken of the whole line when the discount is stacked, of
what the discounts before it have left otherwise. A fixed amount is a budget for each of the discount's own periods,
used up along the lines by segment number, start of service, charge number; what is not used is lost. Only the days that
discount and line have in common count, and a line never falls below zero: one that is not above zero, and a discount
itself, are not discounted.

What a discount takes off a line is one line, which `reduces` the other and is rounded once. A billed item whose days
are credited keeps what the discount would take off the rest of it; the difference is given back, so that item, credits
and discounts never drift a cent. The same holds for days from which on a percentage has ended or changed since; a fixed
amount stays, in proportion to the item. Arithmetic and derivations are in discount_working.py.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from billing.core.charge_models import UnpriceableError
from billing.core.derivation import VERSION, number_text
from billing.core.discount_working import (
    ZERO,
    Given,
    Taken,
    Working,
    budget_use,
    discount_amount_of,
    given_of,
    percentage_of,
    proportion_of,
    share_of,
)
from billing.core.money import EXACT, round_amount
from billing.core.types import (
    ChargeModel,
    ChargeType,
    Currency,
    DiscountLevel,
    Line,
    LineKind,
    Period,
    Problem,
    Segment,
)

__all__ = [
    "Budget",
    "Discount",
    "DiscountFlawError",
    "DiscountedItem",
    "Given",
    "budget_use",
    "discount_amount_of",
    "discount_lines",
    "given_of",
]

DESCRIPTION_LIMIT: Final = 200
"""An invoice line has room for this many characters; two long names may need more."""

_TYPE_OF: Final = {kind: ChargeType(kind.value) for kind in LineKind if kind.value in {*ChargeType}}


class Budget(NamedTuple):
    """What a fixed discount may take off in one of its own billing periods.

    `amount` is an amount of the currency, already prorated as any charge's; `used` is what billed items have used of it (`budget_use`), and
    `derivation` is how `amount` came about, empty if that is not known.
    """

    period: Period
    amount: Decimal
    used: Decimal = ZERO
    segment_id: int = 0
    segment_number: int = 1
    derivation: str = ""


class Discount(NamedTuple):
    """A discount charge: the `price` of its `segments` is a percentage; a fixed amount comes as `budgets`.

    `subscription_id` and `rate_plan_id` say whose lines it reduces where `level` asks for them. Budgets are needed for
    all periods that the lines reach into; those of one discount do not overlap.
    """

    charge_id: int
    number: str
    name: str
    subscription_id: int
    rate_plan_id: int
    model: ChargeModel
    level: DiscountLevel
    applies_to: frozenset[ChargeType]
    stacked: bool = False
    segments: tuple[Segment, ...] = ()
    budgets: tuple[Budget, ...] = ()


class DiscountedItem(NamedTuple):
    """A billed item that discounts have reduced: `first` is the amount it was written with.

    `period` are the days it covers now and `amount` what is billed for them, less the credits of earlier runs only.
    """

    item_id: int
    charge_id: int
    charge_number: str
    description: str
    subscription_id: int
    rate_plan_id: int
    invoice_separately: bool
    first: Decimal
    period: Period
    amount: Decimal
    given: tuple[Given, ...]


class DiscountFlawError(UnpriceableError):
    """A discount that cannot be applied; `problem` says why the account cannot be billed."""

    def __init__(self, discount: Discount, code: str, flaw: str, hint: str) -> None:
        super().__init__(code, flaw, hint)
        message = f"Discount {discount.number} ({discount.name}) {flaw}."
        self.problem = Problem(code, discount.number, message, f"{hint} for the discount.")


def discount_lines(
    lines: Sequence[Line],
    discounts: Iterable[Discount],
    *,
    currency: Currency,
    target_date: date,
    billed: Iterable[DiscountedItem] = (),
) -> list[Line]:
    """Return the lines by which `discounts` reduce `lines`, and give back what credited or changed items no longer earn.

    `billed` holds the discounted items that lines of kind CREDIT name, and those of whose days some come after the end or
    change of a percentage, by the target date; `discounts` must hold every discount they name (`KeyError`), ended ones too. The order
    in which the arguments come plays no part. Where an item has not been credited but its discount has changed, the
    line reduces the item itself, and `credits_item` is the item's id. Raises `DiscountFlawError` when a percentage is
    missing or not within 0 and 100.
    """
    ordered = sorted(discounts, key=lambda discount: (discount.number, discount.charge_id))
    for discount in ordered:
        _check(discount)
    found: list[tuple[tuple[Any, ...], Line]] = []
    freed: dict[tuple[int, date], Decimal] = defaultdict(Decimal)
    credits_of: dict[int | None, list[Line]] = defaultdict(list)
    for line in lines:
        if line.kind is LineKind.CREDIT:
            credits_of[line.credits_item].append(line)
    by_id = {discount.charge_id: (place, discount) for place, discount in enumerate(ordered)}
    for item in billed:
        # Given back first, because what is given back of a budget may be used by a new line.
        for place, line in _given_back(item, credits_of[item.item_id], by_id, currency, target_date, freed):
            found.append((_place(line, item.charge_number, place), line))
    walk = sorted((line for line in lines if line.kind in _TYPE_OF and line.amount > 0), key=_documented_order)
    for position, place, taken in _takings(walk, ordered, freed, currency):
        reduced, discount = walk[position], ordered[place]
        line = _line(discount, reduced, taken.amount.copy_negate(), taken, currency)
        found.append((_place(line, reduced.charge_number, place), line))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _check(discount: Discount) -> None:
    """Raise `DiscountFlawError` for a percentage that no line can be reduced by."""
    if discount.model is not ChargeModel.DISCOUNT_PERCENTAGE:
        return
    for segment in discount.segments:
        if segment.price is None:
            raise DiscountFlawError(discount, "missing_price", "has no percentage", "Enter a percentage")
        if not 0 <= segment.price <= 100:
            flaw = f"takes off {number_text(segment.price)} %"
            hint = "Enter a percentage between 0 and 100"
            raise DiscountFlawError(discount, "impossible_percentage", flaw, hint)


def _documented_order(line: Line) -> tuple[Any, ...]:
    """Return what fixed discounts walk by (domain.md 2.3); what follows the charge number only settles ties."""
    order = (line.segment_number, line.period.start, line.charge_number)
    return (*order, line.charge_id, line.period.end, line.amount, line.derivation)


def _place(line: Line, charge_number: str, discount_place: int) -> tuple[Any, ...]:
    """Return where a discount line stands: by the line it reduces, what is given back first, then by discount."""
    new = line.reduces is not None and line.reduces[2] is not LineKind.CREDIT and line.credits_item is None
    return (line.subscription_id, charge_number, line.period, new, line.credits_item or 0, discount_place)


def _line(discount: Discount, reduced: Line, amount: Decimal, taken: Taken, currency: Currency) -> Line:
    """Return the line of a discount; it goes wherever the reduced line goes."""
    description = f"{discount.name} on {reduced.description}"
    if len(description) > DESCRIPTION_LIMIT:
        description = description[: DESCRIPTION_LIMIT - 1] + "…"
    values = {"v": VERSION, "s": taken.segment_number, "m": discount.model.value, **taken.working, "r": currency.digits}
    return Line(
        discount.charge_id,
        reduced.subscription_id,
        taken.segment_id,
        LineKind.DISCOUNT,
        description,
        reduced.period,
        None,
        None,
        round_amount(amount, currency),
        json.dumps(values, separators=(",", ":")),
        reduced.invoice_separately,
        discount.number,
        reduced.rate_plan_id,
        taken.segment_number,
        # A credit is found by its charge, days and kind; an item of an earlier run only by its id.
        None if reduced.kind is LineKind.CREDIT else reduced.credits_item,
        (reduced.charge_id, reduced.period, reduced.kind),
    )


def _takings(
    walk: Sequence[Line], ordered: Sequence[Discount], freed: Mapping[tuple[int, date], Decimal], currency: Currency
) -> Iterable[tuple[int, int, Taken]]:
    """Yield what each discount takes off each line: position in the walk, place of the discount, taking."""
    left = [line.amount for line in walk]
    scopes: dict[tuple[DiscountLevel, int], list[int]] = defaultdict(list)
    for position, line in enumerate(walk):
        scopes[DiscountLevel.RATE_PLAN, line.rate_plan_id].append(position)
        scopes[DiscountLevel.SUBSCRIPTION, line.subscription_id].append(position)
        scopes[DiscountLevel.ACCOUNT, 0].append(position)
    for place, discount in enumerate(ordered):
        scope = [
            position
            for position in scopes.get((discount.level, _scope_id(discount)), ())
            if left[position] > 0 and _TYPE_OF[walk[position].kind] in discount.applies_to
        ]
        if discount.model is ChargeModel.DISCOUNT_PERCENTAGE:
            takings = {}
            for position in scope:
                line, rest = walk[position], left[position]
                base = line.amount if discount.stacked else rest
                taken = percentage_of(base, line.period, discount.segments, left=rest, currency=currency)
                if taken is not None:
                    takings[position] = taken
        else:
            takings = _fixed(discount, walk, scope, left, freed, currency)
        for position, taken in takings.items():
            left[position] = EXACT.subtract(left[position], taken.amount)
            yield position, place, taken


def _scope_id(discount: Discount) -> int:
    if discount.level is DiscountLevel.ACCOUNT:
        return 0
    return discount.rate_plan_id if discount.level is DiscountLevel.RATE_PLAN else discount.subscription_id


def _fixed(
    discount: Discount,
    walk: Sequence[Line],
    scope: Sequence[int],
    left: Sequence[Decimal],
    freed: Mapping[tuple[int, date], Decimal],
    currency: Currency,
) -> dict[int, Taken]:
    """Return what each budget, oldest first, takes off the lines that have days in its period, until it is used up."""
    found: dict[int, Taken] = {}
    for budget in sorted(discount.budgets):
        used = max(ZERO, EXACT.subtract(budget.used, freed.get((discount.charge_id, budget.period.start), ZERO)))
        for position in scope:
            before = found.get(position)
            rest = EXACT.subtract(left[position], before.amount) if before else left[position]
            most = min(rest, share_of(left[position], walk[position].period, budget.period, currency))
            taken = min(EXACT.subtract(budget.amount, used), most)
            if taken <= 0:
                continue
            step: list[Any] = [budget.period.start.isoformat(), *map(number_text, (budget.amount, used, most))]
            if budget.derivation:
                step.append(json.loads(budget.derivation))
            if before is None:
                found[position] = Taken(taken, budget.segment_id, budget.segment_number, {"w": [step]})
            else:
                before.working["w"].append(step)
                found[position] = before._replace(amount=EXACT.add(before.amount, taken))
            used = EXACT.add(used, taken)
    return found


def _given_back(
    item: DiscountedItem,
    credited: Sequence[Line],
    by_id: Mapping[int, tuple[int, Discount]],
    currency: Currency,
    target_date: date,
    freed: dict[tuple[int, date], Decimal],
) -> Iterable[tuple[int, Line]]:
    """Yield the lines that give back what an item no longer earns, with the places of their discounts; fill `freed`."""
    given = sorted(item.given, key=lambda each: by_id[each.discount_id][0])
    reduced = sorted(credited, key=lambda line: line.period, reverse=True)
    if not reduced:
        if not any(_changes_before_end_of(item.period, by_id[each.discount_id][1], target_date) for each in given):
            return
        reduced = [_item_line(item)]
    amount, end = item.amount, item.period.end
    for line in reduced:
        if line.kind is LineKind.CREDIT:
            amount, end = EXACT.add(amount, line.amount), min(end, line.period.start)
        left, kept_days = amount, Period(item.period.start, end)
        for index, each in enumerate(given):
            place, discount = by_id[each.discount_id]
            kept = None
            if left > 0 and kept_days.start < kept_days.end:
                if discount.model is ChargeModel.DISCOUNT_PERCENTAGE:
                    base = amount if discount.stacked else left
                    kept = percentage_of(base, kept_days, discount.segments, left=left, currency=currency)
                else:
                    # Once given back, a fixed amount does not grow again.
                    limit = min(left, each.current)
                    kept = proportion_of(each.first, amount, item.first, left=limit, currency=currency)
            kept_amount = kept.amount if kept else ZERO
            left = EXACT.subtract(left, kept_amount)
            back = EXACT.subtract(each.current, kept_amount)
            if not back:
                continue
            given[index], released = _release(each, kept_amount, back)
            for start, part in released:
                freed[discount.charge_id, start] += part
            yield place, _line(discount, line, back, _working_back(discount, each, kept, kept_days, released), currency)


def _changes_before_end_of(period: Period, discount: Discount, target_date: date) -> bool:
    """Return whether a percentage ends or changes before the last of the days is over, by the target date.

    It may have changed before their first day: when what had been billed for months is changed from an earlier day on.
    """
    if discount.model is not ChargeModel.DISCOUNT_PERCENTAGE:
        return False
    ends = (segment.end for segment in discount.segments if segment.end is not None)
    return any(end < period.end and end <= target_date for end in ends)


def _item_line(item: DiscountedItem) -> Line:
    """Return the item as the line that a change of its discount refers to."""
    return Line(
        item.charge_id,
        item.subscription_id,
        0,
        LineKind.RECURRING,
        f"{item.description} – Change",
        item.period,
        None,
        None,
        item.amount,
        "",
        item.invoice_separately,
        item.charge_number,
        item.rate_plan_id,
        credits_item=item.item_id,
    )


def _release(given: Given, kept: Decimal, back: Decimal) -> tuple[Given, list[tuple[date, Decimal]]]:
    """Return what a discount takes off an item from now on, and the budgets that `back` frees, newest first."""
    budgets, released = [], []
    for start, used in sorted(given.budgets, reverse=True):
        part = min(used, back)
        back = EXACT.subtract(back, part)
        if part > 0:
            released.append((start, part))
        budgets.append((start, EXACT.subtract(used, part)))
    return given._replace(current=kept, budgets=tuple(sorted(budgets))), released


def _working_back(
    discount: Discount, given: Given, kept: Taken | None, days: Period, released: Sequence[tuple[date, Decimal]]
) -> Taken:
    """Return the derivation members of what is given back, with the segment that had taken it off."""
    working: Working = {"g": number_text(given.current)}
    if kept is not None:
        working["k"] = kept.working
    if released:
        working["w"] = [[start.isoformat(), number_text(part)] for start, part in released]
    # Without a segment in the days that are kept, the one that was in force when they began.
    segments = sorted(discount.segments, key=lambda segment: segment.number)
    known = [segment for segment in segments if segment.start <= days.start] or segments
    segment_id, number = (known[-1].segment_id, known[-1].number) if known else (0, 1)
    if kept is not None and kept.segment_id:
        segment_id, number = kept.segment_id, kept.segment_number
    return Taken(ZERO, segment_id, number, working)
