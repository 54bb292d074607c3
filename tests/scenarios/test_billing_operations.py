"""Billing operations: ad hoc runs over a batch, posting and its lock, one customer's next period, and the dashboard.

Three customers buy five seats and an onboarding workshop: Acme (USD, billed on the 1st, Net 30) and Globex (EUR, on the
15th, due at once) in Batch1, Sakura (JPY, at the month's end, due at once) in Batch2. Today is 15 July 2026.
"""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from accounts.models import Account
from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import UnitOfMeasure
from invoicing import services
from invoicing.bill_run import run as engine
from invoicing.dashboard import dashboard_figures
from invoicing.models import BillRun, BillRunScope, BillRunStatus, Invoice, InvoiceStatus
from tests.factories import acme, batch, bill, day, globex, plan, sakura, subscribe, team_plan, user
from tests.scenarios import invoice_rows, rows
from usage.models import UsageRecord
from usage.queries import records_by_status
from usage.services import import_file

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def world(fixed_today: date) -> dict[str, Account]:
    team = team_plan()
    customers = {"acme": acme(), "globex": globex(), "sakura": sakura(batch=batch(2))}
    for customer, start in (("acme", "2026-05-01"), ("globex", "2026-05-15"), ("sakura", "2026-05-31")):
        subscribe(customers[customer], team, start)
    return customers


def ad_hoc(today: date, **changes: Any) -> BillRun:
    """Create a run as the page does, then do in this process what a worker would."""
    request = services.RunRequest(scope=BillRunScope.ALL, target_date=today, invoice_date=today)
    run = services.create_run(request._replace(**changes), today=today, user_id=None)
    while engine.advance(run.pk, seconds=60):
        pass
    run.refresh_from_db()
    return run


def post(run: BillRun) -> None:
    """Post a run as the dialog does: with the figures that the operator saw."""
    services.post_run(run, expected=services.posting_figures(run).check, user_id=user("approver").pk)
    engine.advance(run.pk, seconds=60)
    run.refresh_from_db()


def test_ad_hoc_run_over_a_batch_bills_that_batch_alone(fixed_today):
    """Everything that is due by the end of May is billed for Batch1; Sakura, in Batch2, waits.

    invoice  account           date        due         for         period                    amount
    Draft    Acme Corporation  2026-05-31  2026-06-30  Seats       2026-05-01 to 2026-05-31  50.00 USD
    Draft    Acme Corporation  2026-05-31  2026-06-30  Onboarding  2026-05-01                100.00 USD
    Draft    Globex GmbH       2026-05-31  2026-05-31  Seats       2026-05-15 to 2026-06-14  60.00 EUR
    Draft    Globex GmbH       2026-05-31  2026-05-31  Onboarding  2026-05-15                90.00 EUR
    """
    end_of_may = {"target_date": day("2026-05-31"), "invoice_date": day("2026-05-31")}
    run = ad_hoc(fixed_today, scope=BillRunScope.BATCHES, batches=(batch(1),), **end_of_may)
    assert run.status == BillRunStatus.COMPLETED
    assert (run.accounts_total, run.invoice_count, run.totals) == (2, 2, {"EUR": "150.00", "USD": "150.00"})
    story = test_ad_hoc_run_over_a_batch_bills_that_batch_alone
    assert invoice_rows(Invoice.objects.order_by("id")) == rows(story)


class TestPosting:
    """Posting a bill run turns every draft into a posted invoice, which is then locked."""

    @pytest.fixture
    def run(self) -> BillRun:
        run = bill("2026-06-30")
        post(run)
        return run

    def test_all_drafts_become_posted_with_numbers_in_a_row(self, run):
        """Sakura has two periods due: months end on the 31st or the last day before it.

        invoice      account              date        due         for         period                    amount
        INV00000001  Acme Corporation     2026-06-30  2026-07-30  Seats       2026-05-01 to 2026-05-31  50.00 USD
        INV00000001  Acme Corporation     2026-06-30  2026-07-30  Seats       2026-06-01 to 2026-06-30  50.00 USD
        INV00000001  Acme Corporation     2026-06-30  2026-07-30  Onboarding  2026-05-01                100.00 USD
        INV00000002  Globex GmbH          2026-06-30  2026-06-30  Seats       2026-05-15 to 2026-06-14  60.00 EUR
        INV00000002  Globex GmbH          2026-06-30  2026-06-30  Seats       2026-06-15 to 2026-07-14  60.00 EUR
        INV00000002  Globex GmbH          2026-06-30  2026-06-30  Onboarding  2026-05-15                90.00 EUR
        INV00000003  Sakura Trading K.K.  2026-06-30  2026-06-30  Seats       2026-05-31 to 2026-06-29  7,500 JPY
        INV00000003  Sakura Trading K.K.  2026-06-30  2026-06-30  Seats       2026-06-30 to 2026-07-30  7,500 JPY
        INV00000003  Sakura Trading K.K.  2026-06-30  2026-06-30  Onboarding  2026-05-31                15,000 JPY
        """
        assert run.status == BillRunStatus.POSTED
        assert not run.invoices.exclude(status=InvoiceStatus.POSTED).exists()
        story = TestPosting.test_all_drafts_become_posted_with_numbers_in_a_row
        assert invoice_rows(run.invoices.order_by("id")) == rows(story)

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE invoicing_invoice SET total = 1, net = 1",
            "UPDATE invoicing_invoice SET due_date = due_date + 30",
            "UPDATE invoicing_invoice SET status = 'Draft'",
            "DELETE FROM invoicing_invoice",
            "UPDATE invoicing_invoiceitem SET amount = 0",
            "DELETE FROM invoicing_coverage",
        ],
    )
    def test_posted_invoice_cannot_be_changed_even_in_the_database(self, run, change):
        before = list(run.invoices.order_by("id").values())
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
        assert list(run.invoices.order_by("id").values()) == before

    def test_figures_that_changed_since_the_dialog_was_opened_stop_the_posting(self):
        run = bill("2026-06-30")
        seen = services.posting_figures(run).check
        services.cancel_invoice(run.invoices.earliest("id"))
        with pytest.raises(ValidationError, match="The drafts changed since you opened this dialog"):
            services.post_run(run, expected=seen, user_id=user("approver").pk)
        assert not run.invoices.filter(status=InvoiceStatus.POSTED).exists()

    def test_run_may_post_by_itself(self):
        run = bill("2026-06-30", auto_post=True)
        assert run.status == BillRunStatus.POSTED
        assert run.invoices.filter(status=InvoiceStatus.POSTED).count() == 3

    def test_second_run_bills_nothing(self, run):
        again = bill("2026-06-30")
        assert (again.status, again.invoice_count) == (BillRunStatus.COMPLETED, 0)
        outcomes = set(again.account_outcomes.values_list("outcome", "message"))
        assert outcomes == {("NothingDue", "Nothing is due by 2026-06-30.")}


def test_customers_next_billing_period_is_invoiced_and_posted(world, fixed_today):
    """Acme was billed through June; its next period is July.

    invoice      account           date        due         for    period                    amount
    INV00000004  Acme Corporation  2026-07-15  2026-08-14  Seats  2026-07-01 to 2026-07-31  50.00 USD
    """
    bill("2026-06-30", auto_post=True)
    run = ad_hoc(fixed_today, scope=BillRunScope.ACCOUNTS, accounts=(world["acme"],))
    invoice = run.invoices.get()
    services.post_invoice(invoice, user_id=user("approver").pk)
    invoice.refresh_from_db()
    assert invoice_rows([invoice]) == rows(test_customers_next_billing_period_is_invoiced_and_posted)
    assert (invoice.status, invoice.total, invoice.balance) == (InvoiceStatus.POSTED, 50, 50)


def test_usage_is_uploaded_for_a_usage_charge_and_billed(world, fixed_today):
    """Exercise 3: a product with a usage charge, a subscription to it, usage of June uploaded and billed in July.

    invoice  account           date        due         for          period                    amount
    Draft    Acme Corporation  2026-07-15  2026-08-14  Seats        2026-05-01 to 2026-05-31  50.00 USD
    Draft    Acme Corporation  2026-07-15  2026-08-14  Seats        2026-06-01 to 2026-06-30  50.00 USD
    Draft    Acme Corporation  2026-07-15  2026-08-14  Seats        2026-07-01 to 2026-07-31  50.00 USD
    Draft    Acme Corporation  2026-07-15  2026-08-14  Onboarding   2026-05-01                100.00 USD
    Draft    Acme Corporation  2026-07-15  2026-08-14  Data volume  2026-06-01 to 2026-06-30  78.13 USD
    """
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    volume = {
        "name": "Data volume",
        "charge_type": ChargeType.USAGE,
        "charge_model": ChargeModel.PER_UNIT,
        "billing_period": BillingPeriod.MONTH,
        "unit": "GB",
        "prices": {"USD": Decimal("0.25")},
    }
    subscribe(world["acme"], plan("Data", volume), "2026-06-01")
    text = "ACCOUNT_ID,UOM,QTY,STARTDATE\n{0},GB,300,2026-06-10\n{0},GB,12.5,2026-06-30\n{0},GB,9,2026-07-01\n"
    content = text.format(world["acme"].number).encode()
    loaded = import_file(chunks=[content], file_name="june.csv", leave_bad_rows_out=False, dry_run=False)
    assert (loaded.status, loaded.good_rows) == ("Imported", 3)
    run = ad_hoc(fixed_today, scope=BillRunScope.ACCOUNTS, accounts=(world["acme"],))
    assert invoice_rows(run.invoices.all()) == rows(test_usage_is_uploaded_for_a_usage_charge_and_billed)
    pending = records_by_status(UsageRecord.objects.all(), "pending")
    assert [record.start_date for record in pending] == [day("2026-07-01")]


def test_dashboard_shows_three_months_and_the_recent_runs(fixed_today):
    """Posted invoices by month of the invoice date, per currency; orders were placed in May; the last run is a draft.

    currency  month    invoiced  drafts  invoices  bookings
    USD       2026-05  150.00    0       1         50
    USD       2026-06  50.00     0       1         0
    USD       2026-07  50.00     0       1         0
    EUR       2026-05  150.00    0       1         60
    EUR       2026-06  60.00     0       1         0
    EUR       2026-07  0         60.00   0         0
    JPY       2026-05  0         0       0         7500
    JPY       2026-06  30000     0       1         0
    JPY       2026-07  0         0       0         0
    """
    acme_alone = [Account.objects.get(name="Acme Corporation")]
    runs = [
        bill("2026-05-31", batches=[batch(1)], auto_post=True),
        bill("2026-06-30", auto_post=True),
        bill("2026-07-15", accounts=acme_alone, auto_post=True),
        bill("2026-07-15", batches=[batch(1)]),
    ]
    figures = dashboard_figures(fixed_today)
    found = {
        (
            of.currency,
            f"{month.month:%Y-%m}",
            f"{month.invoiced}",
            f"{month.drafts}",
            f"{month.invoices}",
            f"{month.bookings}",
        )
        for of in figures.currencies
        for month in of.months
    }
    assert found == set(rows(test_dashboard_shows_three_months_and_the_recent_runs))
    assert (figures.invoices, figures.accounts) == (6, 3)
    assert sum((of.invoiced for of in figures.currencies if of.currency == "USD"), Decimal(0)) == 250
    assert [run.number for run in figures.recent_runs] == [run.number for run in reversed(runs)]
    assert [waiting.count for waiting in figures.attention if "review" in waiting.one] == [1]
