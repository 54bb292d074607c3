"""What an account will be billed next, and when: the run's own steps with target dates that reach further and further."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from billing.core.pricing import price
from billing.core.types import BillingTiming, Charge, Line, LineKind
from billing.queries import current_rules
from invoicing.bill_run.discounting import discounted
from invoicing.bill_run.load import load_accounts

LOOK_AHEAD = (0, 1, 3, 6, 12)  # months


class NextInvoice(NamedTuple):
    """The day on which something is due (never before today), what is due then, and why it cannot be billed.

    `day` is None when nothing falls due within a year; then there are no lines. `total` is net, in `currency`.
    """

    day: date | None
    lines: list[Line]
    total: Decimal
    currency: str
    problem: str = ""


def next_invoice(account_id: int, *, today: date) -> NextInvoice:
    """Return what the account's next bill run would bill if it ran on the first day that has something due."""
    rules = current_rules()
    for months in LOOK_AHEAD:
        target = today + relativedelta(months=months)
        loaded = load_accounts([account_id], target_date=target, rules=rules)
        if not loaded:
            break
        account, _, charges, discounts = loaded[0]
        lines, problems = price(account, charges, rules=rules, target_date=target)
        lines, problems = (
            discounted(account, charges, lines, discounts, rules=rules, target_date=target)
            if lines
            else (lines, problems)
        )
        if problems:
            return NextInvoice(today, [], Decimal(0), account.currency.code, problems[0].message)
        if lines:
            timing = {charge.charge_id: charge for charge in charges}
            due = [(max(_due_on(line, timing[line.charge_id]), today), line) for line in lines]
            first = min(day for day, _ in due)
            found = [line for day, line in due if day == first]
            return NextInvoice(first, found, sum((line.amount for line in found), Decimal(0)), account.currency.code)
    return NextInvoice(None, [], Decimal(0), "")


def _due_on(line: Line, charge: Charge) -> date:
    """Return the first target date that bills the line."""
    arrears = line.kind is LineKind.RECURRING and charge.terms.billing_timing is BillingTiming.IN_ARREARS
    return line.period.end if arrears else line.period.start
