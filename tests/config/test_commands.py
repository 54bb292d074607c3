"""The commands `bill_run` and `audit`: what they print, what they write, and what they refuse in words."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from accounts.models import Account, NumberSequence
from billing.models import BillingRules
from config.management.commands import bill_run
from invoicing.bill_run import run as engine
from invoicing.models import BillRun, Invoice, InvoiceDelivery, InvoiceStatus
from tests.factories import acme, batch, bill, globex, sakura, subscribe, team_plan

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]


def run_command(name, *arguments):
    """Run a command and return what it printed."""
    output = StringIO()
    call_command(name, *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def customers():
    """Acme (USD) and Globex (EUR) in Batch1, Sakura (JPY) in Batch2, each with seats and an onboarding since June."""
    plan = team_plan()
    found = {"acme": acme(), "globex": globex(), "sakura": sakura(batch=batch(2, "Japan"))}
    for customer in found.values():
        subscribe(customer, plan, "2026-06-30")
    return found


class TestBillRun:
    def test_drafts_are_made_for_everybody_and_told(self, customers):
        printed = run_command("bill_run", "--target-date", "2026-07-15")
        assert "BR-00000001 is Completed: 3 invoices, 180.00 EUR, 22500 JPY, 151.67 USD" in printed
        assert "Accounts: 3 (3 billed). E-mails queued: 0." in printed
        assert Invoice.objects.filter(status=InvoiceStatus.DRAFT).count() == 3

    def test_json_holds_counts_totals_and_outcomes(self, customers):
        Account.objects.filter(pk=customers["globex"].pk).update(bill_to=None)
        report = json.loads(run_command("bill_run", "--target-date", "2026-07-15", "--batch", "Batch1", "--json"))
        assert report.pop("seconds") >= 0
        assert report == {
            "run": "BR-00000001",
            "status": "Completed",
            "target_date": "2026-07-15",
            "invoice_date": "2026-07-15",
            "accounts": 2,
            "outcomes": {"Billed": 1, "Failed": 1},
            "invoices": 1,
            "totals": {"USD": "151.67"},
            "failures": [
                {
                    "account": customers["globex"].number,
                    "code": "missing_bill_to",
                    "message": f"Account {customers['globex'].number} has no bill-to contact.",
                    "hint": "Choose a bill-to contact for the account.",
                }
            ],
            "mails": 0,
            "violations": [],
        }

    def test_batch_is_found_by_its_alias(self, customers):
        run_command("bill_run", "--target-date", "2026-07-15", "--batch", "Japan")
        assert set(Invoice.objects.values_list("account__name", flat=True)) == {"Sakura Trading K.K."}

    def test_chosen_accounts_alone_are_billed(self, customers):
        numbers = [customers["acme"].number, customers["sakura"].number]
        run_command("bill_run", "--target-date", "2026-07-15", "--account", numbers[0], "--account", numbers[1])
        assert sorted(Invoice.objects.values_list("account__number", flat=True)) == numbers

    def test_invoices_are_posted_and_mails_queued_on_request(self, customers):
        Account.objects.filter(pk=customers["acme"].pk).update(email_invoices=False)
        dates = ("--target-date", "2026-07-15", "--invoice-date", "2026-07-01")
        printed = run_command("bill_run", *dates, "--post", "--email")
        assert "is Posted" in printed
        assert "E-mails queued: 2." in printed
        assert Invoice.objects.filter(status=InvoiceStatus.POSTED, invoice_date="2026-07-01").count() == 3
        assert InvoiceDelivery.objects.count() == 2

    def test_dry_run_tells_what_would_be_billed_and_writes_nothing(self, customers):
        Account.objects.filter(pk=customers["acme"].pk).update(bill_to=None)
        printed = run_command("bill_run", "--target-date", "2026-07-15", "--dry-run")
        assert "Would make 2 invoices: 180.00 EUR, 22500 JPY." in printed
        assert "that could not be billed: 1." in printed
        assert "has no bill-to contact." in printed
        assert "Nothing was written." in printed
        report = json.loads(run_command("bill_run", "--target-date", "2026-07-15", "--dry-run", "--json"))
        assert (report["invoices"], report["totals"]) == (2, {"EUR": "180.00", "JPY": "22500"})
        assert not BillRun.objects.exists()
        assert not Invoice.objects.exists()

    def test_dry_run_mentions_drafts_that_wait(self, customers):
        bill("2026-07-15")
        printed = run_command("bill_run", "--target-date", "2026-07-15", "--dry-run")
        assert "Would make 0 invoices: nothing." in printed
        assert "Drafts of earlier runs that wait to be posted: 3." in printed

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--target-date", "2026-02-30"], "--target-date: “2026-02-30” is not a date. Write it like 2026-01-31."),
            (["--target-date", "2062-07-15"], "--target-date: The target date lies more than 36 months ahead"),
            (["--target-date", "2026-07-15", "--invoice-date", "soon"], "--invoice-date: “soon” is not a date."),
            (
                ["--target-date", "2026-07-15", "--batch", "Moon"],
                "--batch: there is no batch “Moon”. There are “Batch1",
            ),
            (["--target-date", "2026-07-15", "--account", "X1"], "--account: there is no account X1."),
            (["--target-date", "2026-07-15", "--email"], "--email: Only posted invoices are e-mailed"),
            (
                ["--target-date", "2026-07-15", "--batch", "Japan", "--account", "X1"],
                "not allowed with argument --batch",
            ),
            ([], "the following arguments are required: --target-date"),
        ],
    )
    def test_bad_option_is_named_and_nothing_is_written(self, customers, arguments, words):
        with pytest.raises(CommandError) as refused:
            run_command("bill_run", *arguments)
        assert words in str(refused.value)
        assert not BillRun.objects.exists()

    def test_inactive_account_is_refused(self, customers):
        Account.objects.filter(pk=customers["acme"].pk).update(status="Canceled")
        with pytest.raises(CommandError, match="--account: Only active accounts can be billed"):
            run_command("bill_run", "--target-date", "2026-07-15", "--account", customers["acme"].number)

    def test_posting_without_review_needs_the_billing_rule(self, customers):
        BillingRules.objects.update(allow_auto_post=False)
        with pytest.raises(CommandError, match="--post: The billing rules do not allow posting without review"):
            run_command("bill_run", "--target-date", "2026-07-15", "--post")
        assert not BillRun.objects.exists()


class TestBillRunInBackground:
    OPTIONS = ("--target-date", "2026-07-15", "--post", "--background")

    def test_workers_are_watched_until_the_run_is_over(self, customers, monkeypatch):
        def let_workers_work(seconds):
            engine.advance(BillRun.objects.get().pk, seconds=60)

        monkeypatch.setattr("time.sleep", let_workers_work)
        assert "BR-00000001 is Posted: 3 invoices" in run_command("bill_run", *self.OPTIONS)

    def test_nobody_who_works_is_told_in_the_end(self, customers, monkeypatch):
        monkeypatch.setattr(bill_run, "PATIENCE_SECONDS", -1)
        monkeypatch.setattr(bill_run, "WAIT_SECONDS", 0)
        with pytest.raises(CommandError, match="no worker has moved it"):
            run_command("bill_run", *self.OPTIONS)


class TestAudit:
    def test_nothing_wrong_is_told_in_both_forms(self, customers):
        run = bill("2026-07-15", auto_post=True)
        assert "0 violated." in run_command("audit")
        report = json.loads(run_command("audit", "--json", "--run", run.number))
        assert (report["run"], report["violations"]) == (run.number, [])

    def test_violation_is_printed_and_ends_with_code_one(self, customers):
        bill("2026-07-15", auto_post=True)
        NumberSequence.objects.filter(purpose="Invoice").update(next_number=F("next_number") + 1)
        output = StringIO()
        with pytest.raises(CommandError, match=r"1 of \d+ checks found something wrong") as ended:
            call_command("audit", "--json", stdout=output)
        assert ended.value.returncode == 1
        assert json.loads(output.getvalue())["violations"] == [{"check": "i10_gap", "count": 1, "example": "DEFAULT"}]
        with pytest.raises(CommandError):
            call_command("audit", stdout=output)
        assert "i10_gap: 1, for example DEFAULT" in output.getvalue()

    def test_unknown_run_is_refused(self):
        with pytest.raises(CommandError, match="--run: there is no bill run BR-1"):
            run_command("audit", "--run", "BR-1")
