"""Canceling drafts and runs: the days become due again, never with a hole, and a stopped run writes nothing more."""

import pytest
from django.core.exceptions import ValidationError

from invoicing import posting, services
from invoicing.bill_run import run as engine
from invoicing.bill_run.due import stalled_runs
from invoicing.bill_run.verify import audit
from invoicing.models import BillRunStatus, Coverage, Invoice, InvoiceStatus
from invoicing.posting import CancelError, begin_cancel_run, cancel_drafts, cancel_run, post_drafts
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import billed, crowd, in_threads, outcomes

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme():
    account = make.acme()
    make.subscribe(account, make.team_plan(), "2026-01-01")
    return account


def test_a_canceled_draft_is_billed_again_by_the_next_run(acme):
    bill("2026-02-01")
    before = billed()
    draft = Invoice.objects.get()
    services.cancel_invoice(draft)
    draft.refresh_from_db()
    assert draft.status == InvoiceStatus.CANCELED
    assert draft.canceled_at is not None
    assert not Coverage.objects.exists()
    assert bill("2026-02-01").invoice_count == 1
    assert billed() == before
    assert audit() == []


def test_a_draft_whose_later_days_are_billed_must_stay(acme):
    bill("2026-01-01")
    bill("2026-02-01")
    january, february = Invoice.objects.order_by("pk")
    with pytest.raises(CancelError, match=february.reference):
        services.cancel_invoice(january)
    assert Invoice.objects.filter(status="Draft").count() == 2
    services.cancel_invoice(february)
    services.cancel_invoice(january)
    assert not Coverage.objects.exists()


def test_drafts_that_follow_each_other_can_be_canceled_together(acme):
    """Regenerating several months: all at once in any order, or one by one from the newest."""
    bill("2026-01-01")
    bill("2026-02-01")
    before = billed()
    assert cancel_drafts([invoice.pk for invoice in Invoice.objects.order_by("pk")]) == 2
    bill("2026-02-01")
    assert billed() == before


def test_a_draft_before_a_posted_invoice_cannot_be_canceled(acme):
    bill("2026-01-01")
    bill("2026-02-01")
    january, february = Invoice.objects.order_by("pk")
    post_drafts(invoice_ids=[february.pk], user_id=None)
    february.refresh_from_db()
    with pytest.raises(CancelError, match=f"{february.number}.*posted invoices need an adjustment"):
        cancel_drafts([january.pk])


def test_canceling_twice_or_canceling_what_is_posted_changes_nothing(acme):
    bill("2026-01-01")
    draft = Invoice.objects.get()
    services.cancel_invoice(draft)
    with pytest.raises(ValidationError, match="no longer a draft"):
        services.cancel_invoice(draft)
    bill("2026-01-01")
    posted = Invoice.objects.get(status="Draft")
    post_drafts(invoice_ids=[posted.pk], user_id=None)
    with pytest.raises(ValidationError, match="no longer a draft"):
        services.cancel_invoice(posted)
    assert audit() == []


def test_a_canceled_draft_takes_no_number(acme):
    bill("2026-01-01")
    services.cancel_invoice(Invoice.objects.get())
    run = bill("2026-01-01")
    posting.post_run(run.pk, user_id=None)
    assert list(Invoice.objects.filter(status="Posted").values_list("number", flat=True)) == ["INV00000001"]


class TestRun:
    def test_a_completed_run_gives_everything_back(self, acme, monkeypatch):
        crowd(acme, 6)
        monkeypatch.setattr(posting, "BATCH", 2)
        run = bill("2026-02-01")
        before = billed()
        assert begin_cancel_run(run.pk) is True
        assert engine.advance(run.pk, seconds=60) is False
        run.refresh_from_db()
        assert (run.status, billed()) == (BillRunStatus.CANCELED, set())
        bill("2026-02-01")
        assert billed() == before
        assert audit() == []

    def test_a_pending_run_is_canceled_before_it_begins(self, acme):
        run = engine.create(scope="All", target_date=day("2026-02-01"), invoice_date=day("2026-02-01"))
        assert begin_cancel_run(run.pk) is True
        engine.advance(run.pk, seconds=60)
        run.refresh_from_db()
        assert (run.status, run.account_outcomes.count()) == (BillRunStatus.CANCELED, 0)

    def test_a_run_that_is_stopped_writes_no_further_chunk(self, acme, settings, monkeypatch):
        """The operator stops it while the third of five chunks is about to be written."""
        crowd(acme, 4)
        settings.BILL_RUN_CHUNK_ACCOUNTS = 1
        run = engine.create(scope="All", target_date=day("2026-02-01"), invoice_date=day("2026-02-01"))
        honest, chunks = engine.bill_chunk, []

        def stopping(chunk_id, terms):
            chunks.append(chunk_id)
            if len(chunks) == 3:
                assert begin_cancel_run(run.pk)
            honest(chunk_id, terms)

        monkeypatch.setattr(engine, "bill_chunk", stopping)
        engine.advance(run.pk, seconds=60)
        run.refresh_from_db()
        assert (run.status, len(chunks)) == (BillRunStatus.CANCEL_IN_PROGRESS, 3)
        assert outcomes(run) == {"Billed": 2, "Pending": 3}
        assert run.pk in stalled_runs(seconds=30)
        engine.advance(run.pk, seconds=60)
        run.refresh_from_db()
        assert (run.status, billed()) == (BillRunStatus.CANCELED, set())
        assert set(run.invoices.values_list("status", flat=True)) == {"Canceled"}
        monkeypatch.undo()
        settings.BILL_RUN_CHUNK_ACCOUNTS = 1000
        assert bill("2026-02-01").invoice_count == 5
        assert audit() == []

    def test_a_crash_while_canceling_is_taken_up_again(self, acme, monkeypatch):
        crowd(acme, 5)
        monkeypatch.setattr(posting, "BATCH", 2)
        run = bill("2026-02-01")
        begin_cancel_run(run.pk)
        honest, calls = posting.cancel_drafts, []

        def dying(ids):
            calls.append(ids)
            if len(calls) == 2:
                raise SystemExit
            return honest(ids)

        monkeypatch.setattr(posting, "cancel_drafts", dying)
        with pytest.raises(SystemExit):
            engine.advance(run.pk, seconds=60)
        assert Invoice.objects.filter(status="Draft").count() == 4
        assert cancel_run(run.pk) == 4
        run.refresh_from_db()
        assert run.status == BillRunStatus.CANCELED
        assert audit() == []

    def test_a_run_before_a_later_one_must_stay(self, acme):
        first, second = bill("2026-01-01"), bill("2026-02-01")
        with pytest.raises(CancelError, match="Later days of the same charges"):
            begin_cancel_run(first.pk)
        first.refresh_from_db()
        assert first.status == BillRunStatus.COMPLETED
        services.cancel_run(second)
        engine.advance(second.pk, seconds=60)
        services.cancel_run(first)
        engine.advance(first.pk, seconds=60)
        assert billed() == set()

    def test_a_later_draft_that_comes_in_between_is_named_and_waited_for(self, acme):
        first = bill("2026-01-01")
        begin_cancel_run(first.pk)
        second = bill("2026-02-01")
        engine.advance(first.pk, seconds=60)
        first.refresh_from_db()
        assert first.status == BillRunStatus.CANCEL_IN_PROGRESS
        assert Invoice.objects.get(bill_run=second).reference in first.error
        cancel_drafts([Invoice.objects.get(bill_run=second).pk])
        assert first.pk in stalled_runs(seconds=30)
        engine.advance(first.pk, seconds=60)
        first.refresh_from_db()
        assert (first.status, first.error) == (BillRunStatus.CANCELED, "")

    def test_a_run_with_posted_invoices_cannot_be_canceled(self, acme):
        run = bill("2026-01-01")
        post_drafts(invoice_ids=[Invoice.objects.get().pk], user_id=None)
        with pytest.raises(CancelError, match="has posted invoices"):
            services.cancel_run(run)

    @pytest.mark.parametrize("status", ["Posted", "Canceled"])
    def test_a_run_that_is_over_cannot_be_canceled(self, acme, status):
        run = bill("2026-01-01")
        if status == "Posted":
            posting.post_run(run.pk, user_id=None)
        else:
            begin_cancel_run(run.pk)
            cancel_run(run.pk)
        with pytest.raises((ValidationError, CancelError)):
            services.cancel_run(run)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_canceling_while_a_run_bills_the_next_month_leaves_no_hole(self, acme):
        """Whoever comes first, January and February are either both billed or both due."""
        crowd(acme, 5)
        for _ in range(3):
            bill("2026-01-01")
            drafts = list(Invoice.objects.filter(status="Draft").values_list("pk", flat=True))
            run = engine.create(scope="All", target_date=day("2026-02-01"), invoice_date=day("2026-02-01"))
            engine.start(run)

            def one_of_two(number, run=run, drafts=drafts):
                if number == 0:
                    return engine.advance(run.pk, seconds=60)
                try:
                    return cancel_drafts(drafts)
                except CancelError:
                    return "refused"

            assert in_threads(2, one_of_two)[0] is False
            assert audit() == []
            assert outcomes(run).keys() <= {"Billed"}
            cancel_drafts(list(Invoice.objects.filter(status="Draft").values_list("pk", flat=True)))

    def test_ten_cancelers_of_one_draft_cancel_it_once(self, acme):
        bill("2026-01-01")
        draft = Invoice.objects.get()
        assert sorted(in_threads(10, lambda _: cancel_drafts([draft.pk]))) == [0] * 9 + [1]

    def test_posting_and_canceling_one_draft_at_once_does_one_of_both(self, acme):
        for _ in range(5):
            bill("2026-01-01")
            draft = Invoice.objects.filter(status="Draft").get()

            def one_of_two(number, pk=draft.pk):
                return cancel_drafts([pk]) if number else post_drafts(invoice_ids=[pk], user_id=None)

            done = in_threads(2, one_of_two)
            draft.refresh_from_db()
            if draft.status == "Posted":
                assert done == [1, 0]
                break
            assert (done, draft.status) == ([0, 1], "Canceled")
        assert audit() == []
