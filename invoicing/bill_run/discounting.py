"""Discounts of a chunk: what they are and what they have taken off so far, and the lines by which they reduce new ones."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from billing.core.discounts import (
    Budget,
    Discount,
    DiscountedItem,
    DiscountFlawError,
    budget_use,
    discount_lines,
    given_of,
)
from billing.core.pricing import price
from billing.core.types import (
    Account,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    Line,
    LineKind,
    PartialMonths,
    Pricing,
    RecurringStyle,
    Rules,
)

MODELS = (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE)
_MANY_PERIODS = 10_000  # a budget may have begun long ago; unlike a bill, old ones cost nobody anything

_TERMS = """
SELECT id, discount_level, discount_applies_to, discount_stacked FROM billing_rateplancharge WHERE id = ANY(%s)
"""
# What a discount takes off a credit belongs to the item that is credited.
_TAKEN = """
SELECT d.charge_id, coalesce(r.credits_id, r.id), coalesce(i.amount, r.amount), d.derivation
FROM invoicing_invoiceitem d JOIN invoicing_invoice w ON w.id = d.invoice_id AND w.status <> 'Canceled'
JOIN invoicing_invoiceitem r ON r.id = d.reduces_id LEFT JOIN invoicing_invoiceitem i ON i.id = r.credits_id
WHERE d.charge_id = ANY(%s) AND d.kind = 'Discount' ORDER BY d.id
"""


class DiscountTerms(NamedTuple):
    """Which lines a discount reduces, and what of."""

    level: DiscountLevel
    applies_to: frozenset[ChargeType]
    stacked: bool


class Taken(NamedTuple):
    """One line of a discount that stands: the item it is about, with the amount that was written, and how it came about."""

    item_id: int
    item_amount: Decimal
    derivation: Mapping[str, Any]


class Discounts(NamedTuple):
    """The discounts of a chunk's accounts, by charge."""

    terms: dict[int, DiscountTerms]
    taken: dict[int, list[Taken]]


def load_discounts(cursor: Any, charge_ids: Iterable[int]) -> Discounts:
    """Return the terms of discount charges and what their lines have taken off; two queries, none without discounts."""
    wanted = list(charge_ids)
    if not wanted:
        return Discounts({}, {})
    cursor.execute(_TERMS, [wanted])
    terms = {
        charge_id: DiscountTerms(DiscountLevel(level), frozenset(map(ChargeType, types)), stacked)
        for charge_id, level, types, stacked in cursor.fetchall()
    }
    cursor.execute(_TAKEN, [wanted])
    taken: dict[int, list[Taken]] = {}
    for charge_id, *values in cursor.fetchall():
        taken.setdefault(charge_id, []).append(Taken(*values))
    return Discounts(terms, taken)


def discounted(
    account: Account, charges: Sequence[Charge], lines: list[Line], known: Discounts, *, rules: Rules, target_date: date
) -> Pricing:
    """Return the account's lines with those by which its discounts reduce them, or why they cannot be applied."""
    found = [charge for charge in charges if charge.charge_id in known.terms]
    if not found or not lines:
        return Pricing(lines, [])
    until = max(line.period.end for line in lines)
    try:
        discounts = [_discount(account, charge, known, rules, until) for charge in found]
        items = _credited_items(account, charges, lines, known)
        reductions = discount_lines(lines, discounts, currency=account.currency, target_date=target_date, billed=items)
    except DiscountFlawError as flaw:
        return Pricing([], [flaw.problem])
    return Pricing(lines + reductions, [])


def _discount(account: Account, charge: Charge, known: Discounts, rules: Rules, until: date) -> Discount:
    terms = known.terms[charge.charge_id]
    budgets: tuple[Budget, ...] = ()
    if charge.terms.charge_model is ChargeModel.DISCOUNT_FIXED:
        derivations = [taken.derivation for taken in known.taken.get(charge.charge_id, ())]
        budgets = _budgets(account, charge, budget_use(derivations, account.currency), rules, until)
    return Discount(
        charge.charge_id,
        charge.number,
        charge.name,
        charge.subscription_id,
        charge.rate_plan_id,
        charge.terms.charge_model,
        terms.level,
        terms.applies_to,
        terms.stacked,
        charge.segments,
        budgets,
    )


def _budgets(
    account: Account, charge: Charge, used: Mapping[date, Decimal], rules: Rules, until: date
) -> tuple[Budget, ...]:
    """Return what a fixed discount grants in each of its periods up to `until`: a flat fee that is always prorated."""
    as_fee = charge._replace(
        terms=charge.terms._replace(charge_model=ChargeModel.FLAT_FEE, billing_timing=BillingTiming.IN_ADVANCE),
        billed_through=None,
        billed=(),
    )
    prorated = rules._replace(
        prorate_partial_periods=True,
        partial_months=PartialMonths.PRORATE,
        bill_partial_weeks=True,
        recurring_style=RecurringStyle.RATE_PLAN,
    )
    priced = price(
        account, [as_fee], rules=prorated, target_date=until - timedelta(days=1), max_lines_per_charge=_MANY_PERIODS
    )
    return tuple(
        Budget(
            line.period,
            line.amount,
            used.get(line.period.start, Decimal(0)),
            line.segment_id,
            line.segment_number,
            line.derivation,
        )
        for line in priced.lines
    )


def _credited_items(
    account: Account, charges: Sequence[Charge], lines: Sequence[Line], known: Discounts
) -> list[DiscountedItem]:
    """Return the credited items that discounts have reduced, with what each discount has taken off."""
    credited = {line.credits_item for line in lines if line.kind is LineKind.CREDIT}
    by_item: dict[int, dict[int, list[Taken]]] = {}
    for charge in charges:
        for taken in known.taken.get(charge.charge_id, ()):
            if taken.item_id in credited:
                by_item.setdefault(taken.item_id, {}).setdefault(charge.charge_id, []).append(taken)
    items = []
    for charge in charges:
        for billed in charge.billed:
            of_discounts = by_item.get(billed.item_id)
            if of_discounts is None:
                continue
            given = tuple(
                given_of(discount_id, [each.derivation for each in found], account.currency)
                for discount_id, found in of_discounts.items()
            )
            first = next(iter(of_discounts.values()))[0].item_amount
            items.append(
                DiscountedItem(
                    billed.item_id,
                    charge.charge_id,
                    charge.number,
                    charge.name,
                    charge.subscription_id,
                    charge.rate_plan_id,
                    charge.invoice_separately,
                    first,
                    billed.period,
                    billed.amount,
                    given,
                )
            )
    return items
