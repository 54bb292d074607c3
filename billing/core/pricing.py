"""Price everything an account owes by a target date: the one algorithm of run, preview, dry run and explanation.

The walk, for each charge: which days are given back (credits) → which periods are due (timing) → one part per segment
(parts) → what a segment costs (charge_models) → how much of it the part covers (proration) → one rounding (money) →
the line with its derivation.

If anything is wrong the account gets problems and no lines at all: a partial bill is worse than a late one (I15).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from decimal import DecimalException
from typing import Final, assert_never

from billing.core.charge_models import UnpriceableError, rate_of
from billing.core.credits import one_time_credits
from billing.core.cycles import AccountFlawError
from billing.core.derivation import VERSION
from billing.core.money import MoneyError, round_amount
from billing.core.overage import OverageError
from billing.core.recurring import recurring_lines
from billing.core.timing import one_time_due
from billing.core.types import (
    Account,
    Charge,
    ChargeModel,
    ChargeType,
    Line,
    LineKind,
    Pricing,
    Problem,
    Rated,
    Rules,
)
from billing.core.units import QuantityError
from billing.core.usage import Usage
from billing.core.usage_rating import usage_lines

_NO_USAGE: Final[Mapping[int, Usage]] = {}

MAX_LINES_PER_CHARGE: Final = 40
"""Safety bound of one run (I14): more than three years of overdue months are a mistake, not a bill."""


def price(
    account: Account,
    charges: Sequence[Charge],
    *,
    rules: Rules,
    target_date: date,
    excluded: AbstractSet[ChargeType] = frozenset(),
    max_lines_per_charge: int = MAX_LINES_PER_CHARGE,
    usage: Mapping[int, Usage] = _NO_USAGE,
) -> Pricing:
    """Return every line of `charges` that is due by `target_date` and not yet covered, or the problems that forbid it.

    Lines follow the order of `charges`, each charge's credits before its new lines and both oldest first. Usage charges
    are priced where `usage` has them by their ids. Discounts are not priced here.
    """
    lines: list[Line] = []
    problems: list[Problem] = []
    rated: list[Rated] = []
    for charge in charges:
        charge_type, model = charge.terms.charge_type, charge.terms.charge_model
        if model is ChargeModel.DISCOUNT_FIXED or model is ChargeModel.DISCOUNT_PERCENTAGE or charge_type in excluded:
            continue
        try:
            if charge_type is ChargeType.RECURRING:
                lines += recurring_lines(account, charge, rules, target_date, max_lines_per_charge)
            elif charge_type is ChargeType.ONE_TIME:
                lines += _one_time_lines(account, charge, rules, target_date)
            elif charge_type is ChargeType.USAGE:
                if charge.charge_id in usage:
                    found, periods = usage_lines(
                        account, charge, usage[charge.charge_id], rules, target_date, max_lines_per_charge
                    )
                    lines += found
                    rated += periods
            else:
                assert_never(charge_type)
        except (UnpriceableError, OverageError, QuantityError, MoneyError, DecimalException) as flaw:
            problem = _problem(account, charge, flaw)
            # Every charge meets the same flaw of its account; the operator needs to read it once.
            if problem not in problems:
                problems.append(problem)
    # An account that owes nothing is not asked for what only an invoice needs.
    if lines or problems:
        problems += invoice_problems(account)
    return Pricing([], problems) if problems else Pricing(lines, problems, rated)


def _one_time_lines(account: Account, charge: Charge, rules: Rules, target_date: date) -> list[Line]:
    """Return the one line of a one-time charge that is due, its credits, or nothing."""
    if charge.billed:
        return one_time_credits(account, charge, rules, target_date)
    due = one_time_due(charge, target_date=target_date)
    if due is None:
        return []
    segment, period = due
    rate = rate_of(charge.terms.charge_model, segment)
    amount = round_amount(rate.amount, account.currency)
    derivation = f'{{"v":{VERSION},"s":{segment.number},{rate.working},"r":{account.currency.digits}}}'
    return [
        Line(
            charge.charge_id,
            charge.subscription_id,
            segment.segment_id,
            LineKind.ONE_TIME,
            charge.name,
            period,
            rate.quantity,
            rate.unit_price,
            amount,
            derivation,
            charge.invoice_separately,
            charge.number,
            charge.rate_plan_id,
            segment.number,
        )
    ]


def _problem(account: Account, charge: Charge, flaw: Exception) -> Problem:
    """Return what is wrong with a charge, or with its account, in an operator's words."""
    if isinstance(flaw, AccountFlawError):
        return Problem(flaw.code, account.number, f"Account {account.number} {flaw.message}.", f"{flaw.hint}.")
    named = f"Charge {charge.number} ({charge.name})"
    if isinstance(flaw, UnpriceableError | OverageError):
        return Problem(flaw.code, charge.number, f"{named} {flaw.message}.", f"{flaw.hint}.")
    if isinstance(flaw, QuantityError):
        return Problem("unfit_unit", charge.number, f"{named} cannot be rated. {flaw}", "Correct its unit of measure.")
    if isinstance(flaw, MoneyError):
        message = f"{named} cannot be billed. {flaw}"
        return Problem("amount_too_large", charge.number, message, "Check its price and quantity.")
    message = f"{named} has a price or quantity with too many digits."
    return Problem("too_many_digits", charge.number, message, "Shorten its price or quantity.")


def invoice_problems(account: Account) -> list[Problem]:
    """Return what the account lacks for any invoice at all."""
    lacks = []
    if account.bill_to_id is None:
        lacks.append(("missing_bill_to", "no bill-to contact", "Choose a bill-to contact"))
    if account.payment_term_id is None:
        lacks.append(("missing_payment_term", "no payment term", "Choose a payment term"))
    if not account.currency.code:
        lacks.append(("missing_currency", "no currency", "Choose a currency"))
    return [
        Problem(code, account.number, f"Account {account.number} has {what}.", f"{hint} for the account.")
        for code, what, hint in lacks
    ]
