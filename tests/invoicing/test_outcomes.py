"""One outcome per account and run: who was billed, who was not, and why; one account's trouble is its own (I13, I15)."""

from decimal import Decimal

import pytest
from django.db import connection

from accounts.models import Account
from billing.core.pricing import price as honest
from billing.models import ChargeSegment, ProductRatePlan
from invoicing.bill_run import run as engine
from invoicing.bill_run.verify import audit
from invoicing.models import BillRunStatus, Invoice
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import crowd, customer, nothing_written, outcome, outcomes

pytestmark = pytest.mark.django_db


def _customer(**changes) -> Account:
    account = customer(**changes)
    make.subscribe(
        account,
        make.team_plan() if not ProductRatePlan.objects.exists() else ProductRatePlan.objects.get(),
        "2026-01-01",
    )
    return account


def test_a_billed_account_says_how_much():
    account = _customer()
    assert outcome(bill("2026-02-01"), account) == ("Billed", "", "Billed 3 items on 1 invoice.", "")


def test_an_account_without_anything_to_bill_says_so():
    account = customer()
    word, code, message, _ = outcome(bill("2026-02-01"), account)
    assert (word, code, message) == ("NothingDue", "nothing_due", "Nothing is due by 2026-02-01.")


def _no_bill_to(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(bill_to=None)


def _no_payment_term(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(payment_term=None)


def _no_price(account: Account) -> None:
    ChargeSegment.objects.filter(charge__subscription__account=account, charge__charge_type="Recurring").update(
        price=None
    )


def _no_segment(account: Account) -> None:
    ChargeSegment.objects.filter(charge__subscription__account=account).delete()


def _no_cycle_day(account: Account) -> None:
    account.subscriptions.get().charges.filter(charge_type="Recurring").update(billing_day_type="DefaultFromCustomer")
    other = customer(bill_cycle_day=0)
    account.subscriptions.update(invoice_owner=other, account=other)


def _no_tiers(account: Account) -> None:
    charge = account.subscriptions.get().charges.get(charge_type="Recurring")
    type(charge).objects.filter(pk=charge.pk).update(charge_model="Tiered")


def _far_past(account: Account) -> None:
    charge = account.subscriptions.get().charges.get(charge_type="Recurring")
    type(charge).objects.filter(pk=charge.pk).update(trigger_date="2015-01-01")
    charge.segments.update(effective_start="2015-01-01")


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (_no_bill_to, "missing_bill_to", "no bill-to contact"),
        (_no_payment_term, "missing_payment_term", "no payment term"),
        (_no_price, "missing_price", "price"),
        (_no_segment, "missing_price", "has no price"),
        (_no_cycle_day, "unknown_bill_cycle_day", "no bill cycle day"),
        (_no_tiers, "missing_tiers", "tier"),
        (_far_past, "too_many_periods", "more than 40 lines"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_missing_is_named_with_a_hint_and_stops_nobody_else(spoil, code, says):
    healthy, poor = _customer(), _customer()
    spoil(poor)
    run = bill("2026-02-01")
    found = run.account_outcomes.get(outcome="Failed")
    assert (found.code, says in found.message, found.hint != "") == (code, True, True), found.message
    assert outcome(run, healthy)[0] == "Billed"
    assert (run.status, run.has_errors, run.accounts_failed) == (BillRunStatus.COMPLETED, True, 1)
    assert not Invoice.objects.filter(account=found.account_id).exists()
    assert audit() == []


def test_a_failed_account_is_billed_once_its_flaw_is_gone_and_it_is_retried():
    healthy, poor = _customer(), _customer()
    term = poor.payment_term
    _no_payment_term(poor)
    run = bill("2026-02-01")
    Account.objects.filter(pk=poor.pk).update(payment_term=term)
    assert engine.retry_failed(run) == 1
    engine.advance(run.pk, seconds=60)
    run.refresh_from_db()
    assert (run.status, run.has_errors, run.accounts_billed, run.invoice_count) == (
        BillRunStatus.COMPLETED,
        False,
        2,
        2,
    )
    assert outcomes(run) == {"Billed": 2}
    assert Invoice.objects.filter(account=healthy).count() == 1


def test_seven_poisoned_accounts_of_a_thousand_are_parked_and_993_billed(monkeypatch, settings):
    """F17: pricing itself breaks for seven accounts; halving finds them and spares the others."""
    settings.BILL_RUN_CHUNK_ACCOUNTS = 500
    first = _customer()
    ids = [first.pk, *crowd(first, 999)]
    poisoned = {ids[place] for place in (0, 1, 250, 499, 500, 777, 999)}

    def price(account, charges, **kwargs):
        if account.account_id in poisoned:
            raise RuntimeError("the tier table is upside down\nwith a second line")
        return honest(account, charges, **kwargs)

    monkeypatch.setattr(engine, "price", price)
    run = bill("2026-01-01")
    assert outcomes(run) == {"Billed": 993, "Failed": 7}
    assert set(run.account_outcomes.filter(outcome="Failed").values_list("account", flat=True)) == poisoned
    assert (run.accounts_billed, run.accounts_failed, run.invoice_count) == (993, 7, 993)
    parked = run.account_outcomes.filter(outcome="Failed").earliest("pk")
    assert parked.message == "This account could not be billed: RuntimeError: the tier table is upside down"
    assert "reference" in parked.hint
    assert run.totals == {"USD": f"{993 * Decimal('150.00')}"}
    assert audit() == []


def test_what_the_database_refuses_for_one_account_parks_that_account(monkeypatch):
    """A line that a guard refuses: the whole chunk falls, and the halves without it pass."""
    accounts = [_customer() for _ in range(4)]

    def price(account, charges, **kwargs):
        lines, problems, rated = honest(account, charges, **kwargs)
        if account.account_id == accounts[2].pk:
            lines = [line._replace(amount=Decimal("NaN")) for line in lines]
        return lines, problems, rated

    monkeypatch.setattr(engine, "price", price)
    run = bill("2026-01-01")
    assert outcomes(run) == {"Billed": 3, "Failed": 1}
    assert outcome(run, accounts[2])[1] == "unexpected_error"
    assert audit() == []


def test_hostile_texts_arrive_as_they_were_written():
    """COPY has escapes of its own; names use them all."""
    account = _customer()
    name = "a\\b\\N\\.;'\"{}%s \u202etxt 💶\x7f"
    account.subscriptions.get().charges.update(name=name)
    run = bill("2026-01-01")
    assert outcome(run, account)[0] == "Billed"
    assert {item.description for item in Invoice.objects.get().items.all()} == {name}


@pytest.mark.parametrize("name", ["tab\there", "line\nbreak", "carriage\rreturn"])
def test_control_characters_in_names_do_not_break_a_run(name):
    account = _customer()
    account.subscriptions.get().charges.update(name=name)
    assert outcome(bill("2026-01-01"), account)[0] == "Billed"
    assert {item.description for item in Invoice.objects.get().items.all()} == {name}


def test_a_text_too_long_for_its_column_parks_the_account(monkeypatch):
    account, other = _customer(), _customer()

    def price(given, charges, **kwargs):
        lines, problems, rated = honest(given, charges, **kwargs)
        return (
            ([line._replace(description="x" * 201) for line in lines] if given.account_id == account.pk else lines),
            problems,
            rated,
        )

    monkeypatch.setattr(engine, "price", price)
    run = bill("2026-01-01")
    assert outcome(run, account)[0] == "Failed"
    assert outcome(run, other)[0] == "Billed"


def test_a_fault_in_our_own_sql_stops_the_run_instead_of_parking_everybody(monkeypatch):
    [_customer() for _ in range(3)]

    def broken(*args, **kwargs):
        from_table = "no_such_table"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT FROM {from_table}")

    monkeypatch.setattr(engine, "load_accounts", broken)
    run = bill("2026-01-01")
    assert (run.status, run.has_errors) == (BillRunStatus.ERROR, True)
    assert "no_such_table" in run.error
    assert nothing_written()
    monkeypatch.undo()
    assert bill("2026-01-01").invoice_count == 3


def test_a_zero_price_is_billed_as_a_line_of_zero():
    account = customer()
    make.subscribe(account, make.plan("Free", make.monthly(price="0")), "2026-01-01")
    run = bill("2026-01-01")
    assert outcome(run, account)[0] == "Billed"
    assert Invoice.objects.get().total == 0


def test_subscriptions_that_are_invoiced_separately_have_invoices_of_their_own():
    account = customer()
    plan = make.plan("Plain", make.monthly())
    for separately in (False, True, True, False):
        make.subscribe(account, plan, "2026-01-01", invoice_separately=separately)
    run = bill("2026-01-01")
    assert outcome(run, account)[2] == "Billed 4 items on 3 invoices."
    assert sorted(Invoice.objects.values_list("total", flat=True)) == [10, 10, 20]


def test_the_days_a_run_looks_at_are_those_of_its_target(settings):
    account = _customer()
    settings.BUSINESS_DATE = day("2030-01-01")
    assert outcome(bill("2025-12-31"), account)[0] == "NothingDue"
