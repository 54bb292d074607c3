"""What a bill run left behind, in values that two runs can be compared by."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from django.db import connection
from django.db.models.functions import Now

from accounts.models import Account
from invoicing.models import BillRun, Coverage, Invoice, InvoiceItem
from tests.factories import AccountFactory


def customer(**changes: Any) -> Account:
    """Return one more account of which nothing matters but what is given."""
    return cast("Account", AccountFactory(**changes))


class Fact(NamedTuple):
    """A charge's days on one line, with the amount and how it came about."""

    charge: str
    starts: str
    ends: str
    amount: str
    derivation: str


def billed() -> set[Fact]:
    """Return every line that stands, on drafts and posted invoices; a line that is there twice is an error."""
    items = InvoiceItem.objects.filter(invoice__status__in=["Draft", "Posted"]).values_list(
        "charge__number", "period", "amount", "derivation"
    )
    facts = [
        Fact(charge, str(period.lower), str(period.upper), f"{amount:f}", repr(derivation))
        for charge, period, amount, derivation in items
    ]
    assert len(facts) == len(set(facts))
    return set(facts)


def outcome(run: BillRun, account: Account) -> tuple[str, str, str, str]:
    """Return outcome, code, message and hint of one account in a run."""
    return run.account_outcomes.values_list("outcome", "code", "message", "hint").get(account=account)


def outcomes(run: BillRun) -> dict[str, int]:
    """Return how many accounts of the run had which outcome."""
    found: dict[str, int] = {}
    for word in run.account_outcomes.values_list("outcome", flat=True):
        found[word] = found.get(word, 0) + 1
    return found


def nothing_written() -> bool:
    """Tell whether no invoice, line or covered day exists."""
    return not any(model.objects.exists() for model in (Invoice, InvoiceItem, Coverage))


def forget_drafts() -> None:
    """Cancel every draft and give back all its days, so that the same can be billed again."""
    Invoice.objects.filter(status="Draft").update(status="Canceled", canceled_at=Now())
    Coverage.objects.all().delete()


_COPIES = """
INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(r) || jsonb_build_object({changes}))).*
FROM {table} r, generate_series(1, %(count)s) n WHERE {of}
"""
# Each copy's ids are the original's plus its number times a million.
_TABLES = (
    ("accounts_account", "r.id = %(account)s", {"number": "'CROWD-' || n", "bill_to_id": "NULL", "sold_to_id": "NULL"}),
    ("accounts_contact", "r.account_id = %(account)s", {"account_id": "+"}),
    (
        "billing_subscription",
        "r.account_id = %(account)s",
        {"account_id": "+", "invoice_owner_id": "+", "number": "r.number || '-' || n"},
    ),
    ("billing_rateplan", "r.subscription_id IN ({subscriptions})", {"subscription_id": "+"}),
    (
        "billing_rateplancharge",
        "r.subscription_id IN ({subscriptions})",
        {"subscription_id": "+", "rate_plan_id": "+", "number": "r.number || '-' || n"},
    ),
    ("billing_chargesegment", "r.charge_id IN ({charges})", {"charge_id": "+"}),
)
_OWN = {
    "subscriptions": "SELECT id FROM billing_subscription WHERE account_id = %(account)s",
    "charges": "SELECT c.id FROM billing_rateplancharge c JOIN billing_subscription s ON s.id = c.subscription_id WHERE s.account_id = %(account)s",
}
_STEP = 1_000_000


def crowd(like: Account, count: int) -> list[int]:
    """Copy an account with its contacts and subscriptions `count` times; return the ids of the copies."""
    values = {"account": like.pk, "count": count}
    with connection.cursor() as cursor:
        for table, of, changes in _TABLES:
            moved = {"id": "+", **changes}
            text = ", ".join(
                f"'{column}', {f'r.{column} + n * {_STEP}' if change == '+' else change}"
                for column, change in moved.items()
            )
            cursor.execute(_COPIES.format(table=table, changes=text, of=of.format(**_OWN)), values)
        cursor.execute(
            f"UPDATE accounts_account a SET bill_to_id = o.bill_to_id + (a.id - o.id) FROM accounts_account o"
            f" WHERE o.id = %(account)s AND a.id > {_STEP} AND (a.id - o.id) %% {_STEP} = 0",
            values,
        )
    return [like.pk + number * _STEP for number in range(1, count + 1)]


def in_threads(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Call `act(0)`, `act(1)`, … at the same time, each with a database connection of its own; return what came back."""
    start = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            start.wait(timeout=10)
            results[number] = act(number)
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return results
