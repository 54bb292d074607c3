"""What an account will be billed next, and when: the run's own steps with target dates that reach further and further."""

from collections.abc import Sequence
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
        account, _, charges, discounts, usage = loaded[0]
        lines, problems, _ = price(account, charges, rules=rules, target_date=target, usage=usage)
        if not problems:
            lines, problems, _ = discounted(account, charges, lines, discounts, rules=rules, target_date=target)
        if problems:
            return NextInvoice(today, [], Decimal(0), account.currency.code, problems[0].message)
        if lines:
            due = _due_days(lines, charges, today)
            first = min(due)
            found = [line for day, line in zip(due, lines, strict=True) if day == first]
            return NextInvoice(first, found, sum((line.amount for line in found), Decimal(0)), account.currency.code)
    return NextInvoice(None, [], Decimal(0), "")


def _due_days(lines: Sequence[Line], charges: Sequence[Charge], today: date) -> list[date]:
    """Return for each line the first target date, from today on, that bills it."""
    by_id = {charge.charge_id: charge for charge in charges}
    days = {(line.charge_id, line.period, line.kind): _due_on(line, by_id[line.charge_id]) for line in lines}
    found = []
    for line in lines:
        day = days[line.charge_id, line.period, line.kind]
        if line.reduces is not None:
            # A discount comes with the line that it reduces; what is billed already is changed on the day of the change.
            day = days[line.reduces] if line.credits_item is None else _changes_on(line, by_id[line.charge_id], today)
        found.append(max(day, today))
    return found


def _due_on(line: Line, charge: Charge) -> date:
    """Return the first target date that bills a line that reduces no other."""
    if line.kind is LineKind.USAGE:
        return line.period.end
    arrears = line.kind is LineKind.RECURRING and charge.terms.billing_timing is BillingTiming.IN_ARREARS
    return line.period.end if arrears else line.period.start


def _changes_on(line: Line, discount: Charge, today: date) -> date:
    """Return the first day from today on on which the discount changes for the days of the line, else today."""
    ends = (segment.end for segment in discount.segments if segment.end is not None)
    return min((end for end in ends if today <= end < line.period.end), default=today)
