"""Posting: in sets, once, with numbers without a gap; what cannot be posted says why and takes no number (I3, I4, I10)."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.models import Account, Contact, InvoiceTemplate, NumberPurpose, NumberSequence
from invoicing import posting, services
from invoicing.bill_run import run as engine
from invoicing.bill_run.due import stalled_runs
from invoicing.bill_run.verify import audit
from invoicing.delivery import queue_run
from invoicing.models import BillRun, BillRunStatus, Invoice, InvoiceDelivery
from invoicing.posting import PostingError, post_drafts, post_run
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import crowd, customer, in_threads

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    account = make.acme()
    make.subscribe(account, make.team_plan(), "2026-01-01")
    return account


def _numbers() -> list[str]:
    found = Invoice.objects.filter(number__isnull=False).order_by("sequence_value")
    return [str(invoice.number) for invoice in found]


def _expected(count: int) -> list[str]:
    return [f"INV{value:08d}" for value in range(1, count + 1)]


def test_posting_gives_numbers_in_the_order_of_the_drafts(acme):
    crowd(acme, 4)
    run = bill("2026-01-01")
    assert _numbers() == []
    assert post_run(run.pk, user_id=None) == 5
    assert _numbers() == _expected(5)
    assert list(Invoice.objects.order_by("number").values_list("pk", flat=True)) == list(
        Invoice.objects.order_by("pk").values_list("pk", flat=True)
    )
    assert audit() == []


def test_a_posted_invoice_keeps_who_it_was_for(acme):
    run = bill("2026-01-01")
    post_run(run.pk, user_id=None)
    acme.bill_to.name, acme.bill_to.city = "Somebody Else", "Elsewhere"
    acme.bill_to.save()
    InvoiceTemplate.objects.update(legal_name="Another Seller")
    invoice = Invoice.objects.get()
    assert invoice.snapshot is not None
    assert invoice.template_version is not None
    assert invoice.snapshot["bill_to"]["name"] == "Ada Miller"
    assert invoice.snapshot["payment_term"] == "Net 30"
    assert invoice.template_version.content["legal_name"] == "Your Company Ltd"


def test_posting_again_posts_nothing(acme):
    run = bill("2026-01-01")
    assert post_run(run.pk, user_id=None) == 1
    assert post_run(run.pk, user_id=None) == 0
    assert post_drafts(invoice_ids=[Invoice.objects.get().pk], user_id=None) == 0
    assert _numbers() == _expected(1)


def test_each_sequence_counts_by_itself(acme):
    other = NumberSequence.objects.create(
        name="France", purpose=NumberPurpose.INVOICE, prefix="FR/", digits=3, first_number=50, next_number=50
    )
    ids = crowd(acme, 3)
    Account.objects.filter(pk__in=ids[:2]).update(number_sequence=other)
    post_run(bill("2026-01-01").pk, user_id=None)
    assert sorted(_numbers()) == ["FR/050", "FR/051", *_expected(2)]
    post_run(bill("2026-02-01").pk, user_id=None)
    assert sorted(_numbers()) == ["FR/050", "FR/051", "FR/052", "FR/053", *_expected(4)]
    assert audit() == []


def _without_sequence() -> str:
    NumberSequence.objects.filter(purpose=NumberPurpose.INVOICE).delete()
    return "no number sequence"


def _without_template() -> str:
    InvoiceTemplate.objects.update(is_default=False)
    return "lack their bill-to contact, payment term, invoice template or number sequence"


@pytest.mark.parametrize("spoil", [_without_sequence, _without_template])
def test_what_cannot_be_posted_says_why_and_the_run_can_be_posted_later(acme, spoil):
    says = spoil()
    run = bill("2026-01-01")
    with pytest.raises(PostingError, match=says):
        post_run(run.pk, user_id=None)
    run.refresh_from_db()
    assert (run.status, run.has_errors) == (BillRunStatus.COMPLETED, True)
    assert says in run.error
    assert _numbers() == []


def test_one_draft_that_cannot_be_posted_holds_back_its_batch_and_no_number(acme):
    crowd(acme, 3)
    run = bill("2026-01-01")
    Invoice.objects.filter(pk=Invoice.objects.order_by("pk")[2].pk).update(template=None)
    with pytest.raises(PostingError, match="1 of 4 drafts"):
        post_run(run.pk, user_id=None)
    run.refresh_from_db()
    assert run.status == BillRunStatus.COMPLETED
    assert _numbers() == []
    assert NumberSequence.objects.filter(purpose=NumberPurpose.INVOICE).get().next_number == 1
    assert audit() == []


def test_a_draft_whose_contact_is_gone_is_named(acme):
    spare = Contact.objects.create(account=acme, name="Spare", country="US")
    Account.objects.filter(pk=acme.pk).update(bill_to=spare)
    run = bill("2026-01-01")
    Account.objects.filter(pk=acme.pk).update(bill_to=None)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_contact WHERE id = %s", [spare.pk])
    with pytest.raises(PostingError, match=Invoice.objects.get().reference):
        post_run(run.pk, user_id=None)


def test_a_draft_that_a_guard_refuses_is_explained_and_holds_back_its_batch(acme):
    run = bill("2026-01-01")
    Invoice.objects.update(net=1, total=1, balance=1)
    with pytest.raises(PostingError, match=r"items of invoice DRAFT-\d+ do not add up.*Nothing was changed"):
        post_run(run.pk, user_id=None)
    run.refresh_from_db()
    assert (run.status, _numbers()) == (BillRunStatus.COMPLETED, [])


def test_a_crash_between_batches_is_taken_up_without_a_gap(acme, monkeypatch):
    crowd(acme, 4)
    run = bill("2026-01-01")
    monkeypatch.setattr(posting, "BATCH", 2)
    honest, calls = posting.post_drafts, []

    def dying(**kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise SystemExit
        return honest(**kwargs)

    monkeypatch.setattr(posting, "post_drafts", dying)
    with pytest.raises(SystemExit):
        post_run(run.pk, user_id=None)
    run.refresh_from_db()
    assert (run.status, _numbers()) == (BillRunStatus.POST_IN_PROGRESS, _expected(2))
    assert run.pk in stalled_runs(seconds=30)
    engine.advance(run.pk, seconds=60)
    run.refresh_from_db()
    assert (run.status, _numbers()) == (BillRunStatus.POSTED, _expected(5))
    assert audit() == []


def test_a_run_in_any_other_state_is_not_posted(acme):
    run = engine.create(scope="All", target_date=day("2026-01-01"), invoice_date=day("2026-01-01"))
    assert post_run(run.pk, user_id=None) == 0
    engine.start(run)
    assert post_run(run.pk, user_id=None) == 0
    run.refresh_from_db()
    assert run.status == BillRunStatus.PROCESSING


class TestOperator:
    """What the button on the page does."""

    @pytest.fixture
    def approver(self) -> User:
        return make.user("approver")

    def test_the_figures_seen_must_be_those_posted(self, acme, approver):
        run = bill("2026-01-01")
        seen = services.posting_figures(run)
        assert (seen.invoices, seen.totals) == (1, {"USD": Decimal("150.00")})
        services.cancel_invoice(Invoice.objects.get())
        with pytest.raises(ValidationError, match="changed since you opened"):
            services.post_run(run, expected=seen.check, user_id=approver.pk)
        assert not Invoice.objects.filter(status="Posted").exists()

    def test_a_run_whose_last_draft_is_canceled_is_canceled(self, acme):
        run = bill("2026-01-01")
        services.cancel_invoice(Invoice.objects.get())
        run.refresh_from_db()
        assert run.status == BillRunStatus.CANCELED

    def test_a_run_whose_last_draft_is_posted_is_posted(self, acme, approver):
        run = bill("2026-01-01")
        services.post_invoice(Invoice.objects.get(), user_id=approver.pk)
        run.refresh_from_db()
        assert run.status == BillRunStatus.POSTED

    def test_a_run_is_posted_in_the_background_under_the_operators_name(self, acme, approver):
        run = bill("2026-01-01")
        services.post_run(run, expected=services.posting_figures(run).check, user_id=approver.pk)
        engine.advance(run.pk, seconds=60)
        run.refresh_from_db()
        assert (run.status, run.posted_by) == (BillRunStatus.POSTED, approver)
        assert Invoice.objects.get().posted_by == approver

    def test_a_run_without_drafts_is_not_posted(self, acme, approver):
        run = bill("2025-01-01")
        with pytest.raises(ValidationError, match="no drafts to post"):
            services.post_run(run, expected=services.posting_figures(run).check, user_id=approver.pk)

    def test_an_invoice_is_posted_once(self, acme, approver):
        bill("2026-01-01")
        invoice = Invoice.objects.get()
        services.post_invoice(invoice, user_id=approver.pk)
        with pytest.raises(ValidationError, match="no longer a draft"):
            services.post_invoice(invoice, user_id=approver.pk)


class TestByItself:
    def test_a_run_that_posts_by_itself_is_posted_when_it_is_done(self, acme):
        run = bill("2026-01-01", auto_post=True)
        assert (run.status, _numbers()) == (BillRunStatus.POSTED, _expected(1))
        assert not InvoiceDelivery.objects.exists()

    def test_a_run_that_also_mails_queues_one_mail_for_each_invoice(self, acme):
        crowd(acme, 2)
        run = bill("2026-01-01", auto_post=True, auto_email=True)
        assert sorted(InvoiceDelivery.objects.values_list("invoice__number", "state")) == [
            (number, "Queued") for number in _expected(3)
        ]
        engine.advance(run.pk, seconds=60)
        assert InvoiceDelivery.objects.count() == 3

    @pytest.mark.parametrize(("wanted", "mails"), [(True, 2), (False, 1)])
    def test_totals_of_zero_are_mailed_only_if_wanted(self, acme, wanted, mails):
        free = customer()
        make.subscribe(free, make.plan("Free", make.monthly(price="0")), "2026-01-01")
        bill("2026-01-01", auto_post=True, auto_email=True, email_zero_totals=wanted)
        assert Invoice.objects.filter(status="Posted").count() == 2
        assert InvoiceDelivery.objects.count() == mails

    def test_accounts_that_want_no_mail_or_have_no_address_get_none(self, acme):
        silent, unknown = crowd(acme, 2)
        Account.objects.filter(pk=silent).update(email_invoices=False)
        Contact.objects.filter(account=unknown).update(email="")
        bill("2026-01-01", auto_post=True, auto_email=True)
        assert list(InvoiceDelivery.objects.values_list("invoice__account", flat=True)) == [acme.pk]

    def test_a_crash_between_posting_and_mailing_leaves_neither_undone(self, acme, monkeypatch):
        """The run is Posted and its mails are queued in one transaction."""
        monkeypatch.setattr(engine, "queue_run", lambda *args, **kwargs: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            bill("2026-01-01", auto_post=True, auto_email=True)
        run = BillRun.objects.get()
        assert run.status == BillRunStatus.POST_IN_PROGRESS
        assert run.pk in stalled_runs(seconds=30)
        monkeypatch.setattr(engine, "queue_run", queue_run)
        engine.advance(run.pk, seconds=60)
        run.refresh_from_db()
        assert (run.status, InvoiceDelivery.objects.count()) == (BillRunStatus.POSTED, 1)

    def test_a_failed_mail_is_not_queued_again_by_a_second_ring(self, acme):
        run = bill("2026-01-01", auto_post=True, auto_email=True)
        InvoiceDelivery.objects.update(state="Failed", error="550 no such mailbox")
        engine.advance(run.pk, seconds=60)
        assert InvoiceDelivery.objects.count() == 1
        assert services.email_run(run, user_id=make.user("approver").pk) == 1

    def test_a_run_that_cannot_be_posted_stays_completed_with_the_reason_and_is_left_alone(self, acme):
        _without_template()
        with pytest.raises(PostingError):
            bill("2026-01-01", auto_post=True)
        run = BillRun.objects.get()
        assert (run.status, "invoice template" in run.error) == (BillRunStatus.COMPLETED, True)
        assert stalled_runs(seconds=0) == []


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_twenty_posters_of_a_run_post_it_once(self, acme, monkeypatch):
        crowd(acme, 29)
        run = bill("2026-01-01")
        monkeypatch.setattr(posting, "BATCH", 7)
        posted = in_threads(20, lambda _: post_run(run.pk, user_id=None))
        assert sum(posted) == 30
        assert _numbers() == _expected(30)
        run.refresh_from_db()
        assert run.status == BillRunStatus.POSTED
        assert audit() == []

    def test_of_fifty_clicks_on_one_draft_one_wins(self, acme):
        bill("2026-01-01")
        draft = Invoice.objects.get()
        assert sorted(in_threads(50, lambda _: post_drafts(invoice_ids=[draft.pk], user_id=None))) == [0] * 49 + [1]
        assert _numbers() == _expected(1)

    def test_overlapping_selections_are_posted_without_gap_or_deadlock(self, acme):
        """Invoices are locked in the order of their ids before the counter row, so nobody waits in a circle."""
        crowd(acme, 29)
        bill("2026-01-01")
        ids = list(Invoice.objects.order_by("pk").values_list("pk", flat=True))
        posted = in_threads(
            6,
            lambda number: post_drafts(
                invoice_ids=(ids[number * 3 :] if number % 2 else ids[: 30 - number * 3])[::-1], user_id=None
            ),
        )
        assert sum(posted) == 30, posted
        assert _numbers() == _expected(30)
        assert audit() == []
