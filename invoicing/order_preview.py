"""What an order would cause: placed and billed as a bill run would, then undone.

    with the order     |== lines a run would bill ==|      caused = with − without
    without it         |== lines a run would bill ==|      dropped = without − with

Nothing of it stays, so the same verbs and the same steps serve here that serve when it is meant (D16).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction

from accounts.models import Account
from billing.core.types import Line
from billing.models import OrderAction
from billing.queries import current_rules
from billing.services.orders import Action, CreatedBy, NewSubscription, place_order
from billing.services.renewals import renew_due
from invoicing.bill_run.run import Terms, load, price_accounts
from invoicing.bill_run.write import DraftInvoice
from invoicing.models import AccountOutcome

LOCK_WAIT = "2s"


class PreviewedInvoice(NamedTuple):
    """A draft that the order would have a part in: its account, the lines caused by the order, and the rest in figures.

    `total` is that of the whole draft, net, in `currency`; `others` counts the lines that are due without the order.
    """

    account: Account
    currency: str
    lines: list[Line]
    others: int
    total: Decimal


class PreviewedAction(NamedTuple):
    """What one action would do: its row as it would be written, and the number of the subscription if it has one."""

    row: OrderAction
    number: str


class OrderPreview(NamedTuple):
    """What an order would cause, if a bill run with this target date followed it.

    `dropped` are lines that such a run would bill without the order only; `problems` say why accounts could not be
    billed. `delta_mrr` is in the account's currency.
    """

    target_date: date
    actions: list[PreviewedAction]
    delta_mrr: Decimal
    invoices: list[PreviewedInvoice]
    dropped: list[Line]
    problems: list[str]

    @property
    def total(self) -> Decimal:
        """Return what the order adds to the next invoices, net; below zero if it gives more back."""
        caused = sum((line.amount for invoice in self.invoices for line in invoice.lines), Decimal(0))
        return caused - sum((line.amount for line in self.dropped), Decimal(0))


def preview_order(
    *, account: Account, order_date: date, actions: Sequence[Action], today: date, target_date: date | None = None
) -> OrderPreview:
    """Return what the order would cause by `target_date`; without one, by the last day on which an action takes effect.

    Raises OrderRefusedError exactly as placing the order would, and OperationalError when an account of it is being
    billed at this moment.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            # A page must not wait for a bill run, nor keep one waiting.
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
        order = place_order(account=account, order_date=order_date, actions=actions)
        rows = list(order.actions.select_related("subscription__invoice_owner").order_by("position"))
        owners = {row.subscription.invoice_owner_id: row.subscription.invoice_owner for row in rows if row.subscription}
        target = target_date or max([today, *(row.effective_date for row in rows)])
        drafts, problems = _billed(list(owners), target)
        transaction.set_rollback(True)
    with transaction.atomic():
        without, _ = _billed(list(owners), target)
        transaction.set_rollback(True)
    caused, dropped = _difference(drafts, without)
    return OrderPreview(
        target,
        [PreviewedAction(row, _number(row, actions[row.position - 1])) for row in rows],
        sum((row.delta_mrr for row in rows), Decimal(0)),
        [invoice for draft in drafts if (invoice := _invoice(draft, owners, caused)).lines],
        dropped,
        problems,
    )


def _number(row: OrderAction, action: Action) -> str:
    """Return the number of a subscription that exists; a new one gets its number when the order is meant."""
    is_new = isinstance(action, NewSubscription) or isinstance(action.subscription, CreatedBy)
    return "" if is_new or row.subscription is None else row.subscription.number


def _billed(account_ids: list[int], target: date) -> tuple[list[DraftInvoice], list[str]]:
    """Return the drafts of a run with this target date, renewals included, and why accounts could not be billed."""
    renew_due(target, account_ids)
    terms = Terms(0, target, target, frozenset(), current_rules())
    drafts, outcomes, _ = price_accounts(load(account_ids, terms), terms)
    return drafts, [outcome.message for outcome in outcomes if outcome.outcome == AccountOutcome.FAILED]


def _what(line: Line) -> tuple[Any, ...]:
    """Return what makes two lines the same to a customer: charge, days, kind and amount."""
    return line.charge_id, line.kind, line.period, line.amount, line.credits_item, line.reduces


def _difference(drafts: list[DraftInvoice], without: list[DraftInvoice]) -> tuple[Counter[Any], list[Line]]:
    """Return how many of each line only the run with the order bills, and the lines that only the one without it does."""
    with_order = Counter(_what(line) for draft, _ in drafts for line in draft.lines)
    before = Counter(_what(line) for draft, _ in without for line in draft.lines)
    gone = before - with_order
    dropped = []
    for draft, _ in without:
        for line in draft.lines:
            if gone[_what(line)] > 0:
                gone[_what(line)] -= 1
                dropped.append(line)
    return with_order - before, dropped


def _invoice(draft: DraftInvoice, owners: dict[int, Account], caused: Counter[Any]) -> PreviewedInvoice:
    lines = []
    for line in draft.draft.lines:
        if caused[_what(line)] > 0:
            caused[_what(line)] -= 1
            lines.append(line)
    key, found = draft.draft
    total = sum((line.amount for line in found), Decimal(0))
    return PreviewedInvoice(owners[key.account_id], key.currency, lines, len(found) - len(lines), total)
