"""Applying discounts to an account: the lines by which they reduce new ones, and change what billed items were reduced by."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from decimal import Decimal

from billing.core.discounts import (
    Budget,
    Discount,
    DiscountedItem,
    DiscountFlawError,
    budget_use,
    discount_lines,
    given_of,
)
from billing.core.pricing import invoice_problems, price
from billing.core.types import (
    Account,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    Line,
    PartialMonths,
    Pricing,
    RecurringStyle,
    Rules,
)
from invoicing.bill_run.discount_loading import BilledItem, Discounts

_MANY_PERIODS = 10_000  # a budget may have begun long ago; unlike a bill, old ones cost nobody anything


def discounted(
    account: Account,
    charges: Sequence[Charge],
    lines: list[Line],
    known: Discounts,
    *,
    rules: Rules,
    target_date: date,
    excluded: AbstractSet[ChargeType] = frozenset(),
) -> Pricing:
    """Return the account's lines with those by which its discounts reduce them, or why they cannot be applied.

    Without any new line there may be lines that change what billed items are reduced by; items whose charges are of an
    `excluded` type wait.
    """
    found = [charge for charge in charges if charge.charge_id in known.terms]
    items = [
        _discounted_item(item, known, account)
        for item in known.items.get(account.account_id, ())
        if item.item_id in known.taken and ChargeType(item.kind.value) not in excluded
    ]
    if not found or not (lines or items):
        return Pricing(lines, [])
    until = max((line.period.end for line in lines), default=None)
    try:
        discounts = [_discount(account, charge, known, rules, until) for charge in found]
        reductions = discount_lines(lines, discounts, currency=account.currency, target_date=target_date, billed=items)
    except DiscountFlawError as flaw:
        return Pricing([], [flaw.problem])
    # Whoever priced the lines has made sure that the account can have an invoice at all.
    problems = [] if lines or not reductions else invoice_problems(account)
    return Pricing([], problems) if problems else Pricing(lines + reductions, [])


def _discount(account: Account, charge: Charge, known: Discounts, rules: Rules, until: date | None) -> Discount:
    terms = known.terms[charge.charge_id]
    budgets: tuple[Budget, ...] = ()
    if charge.terms.charge_model is ChargeModel.DISCOUNT_FIXED and until is not None:
        used = budget_use(known.lines.get(charge.charge_id, ()), account.currency)
        budgets = _budgets(account, charge, used, rules, until)
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


def _discounted_item(item: BilledItem, known: Discounts, account: Account) -> DiscountedItem:
    """Return a billed item with what each discount has taken off it."""
    return DiscountedItem(
        item.item_id,
        item.charge_id,
        item.charge_number,
        item.charge_name,
        item.subscription_id,
        item.rate_plan_id,
        item.invoice_separately,
        item.first,
        item.period,
        item.amount,
        tuple(
            given_of(discount_id, derivations, account.currency)
            for discount_id, derivations in known.taken[item.item_id].items()
        ),
    )
