"""Claiming chunks: one worker at a time, nothing half written after a crash at any step, and nobody's help needed (I7)."""

import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection

from billing.core.pricing import price
from billing.queries import current_rules
from invoicing.bill_run import run as engine
from invoicing.bill_run.claim import CHUNK_LOCK, claimed_chunk, finishing, halve
from invoicing.bill_run.load import load_accounts
from invoicing.bill_run.verify import audit
from invoicing.bill_run.write import write_outcomes
from invoicing.models import BillRun, BillRunStatus, ChunkState, Invoice
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import billed, crowd, in_threads, nothing_written, outcomes

pytestmark = pytest.mark.django_db
STEPS = ("lock_accounts", "load_accounts", "price", "group", "write_drafts", "write_outcomes", "finish_chunk")


@pytest.fixture
def six_accounts(settings) -> list[int]:
    settings.BILL_RUN_CHUNK_ACCOUNTS = 3
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    return [acme.pk, *crowd(acme, 5)]


def _run(**changes) -> BillRun:
    run = engine.create(scope="All", target_date=day("2026-02-01"), invoice_date=day("2026-02-01"), **changes)
    engine.start(run)
    run.refresh_from_db()
    return run


def _fail_once(monkeypatch, step: str, error: BaseException) -> list[int]:
    """Let a step of the engine do its work and then break, the first time it is called; return the calls so far."""
    calls: list[int] = []
    honest = getattr(engine, step)

    def breaking(*args, **kwargs):
        result = honest(*args, **kwargs)
        calls.append(1)
        if len(calls) == 1:
            raise error
        return result

    monkeypatch.setattr(engine, step, breaking)
    return calls


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_at_any_step_leaves_nothing_behind(six_accounts, monkeypatch, step):
    """SystemExit is what a worker sees when it is told to stop at once: nothing catches it."""
    run = _run()
    calls = _fail_once(monkeypatch, step, SystemExit())
    with pytest.raises(SystemExit):
        engine.advance(run.pk, seconds=60)
    assert nothing_written()
    assert calls
    assert outcomes(run) == {"Pending": 6}
    assert sorted(run.chunks.values_list("state", "attempts")) == [("Pending", 0), ("Pending", 1)]
    engine.advance(run.pk, seconds=60)
    run.refresh_from_db()
    assert (run.status, run.invoice_count, outcomes(run)) == (BillRunStatus.COMPLETED, 6, {"Billed": 6})
    assert len(billed()) == 6 * 3
    assert audit() == []


@pytest.mark.parametrize("step", STEPS)
def test_a_deadlock_or_lock_timeout_at_any_step_is_tried_again(six_accounts, monkeypatch, step):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    calls = _fail_once(monkeypatch, step, OperationalError("deadlock detected"))
    run = bill("2026-02-01")
    assert len(calls) > 1
    assert (run.status, run.has_errors, outcomes(run)) == (BillRunStatus.COMPLETED, False, {"Billed": 6})
    assert sorted(run.chunks.values_list("state", "attempts")) == [("Done", 1), ("Done", 2)]


@pytest.mark.parametrize("step", STEPS)
def test_any_other_error_at_any_step_halves_the_chunk_and_bills_everybody(six_accounts, monkeypatch, step):
    _fail_once(monkeypatch, step, RuntimeError("once only"))
    run = bill("2026-02-01")
    assert outcomes(run) == {"Billed": 6}
    assert sorted(run.chunks.values_list("state", "accounts")) == [("Done", 1), ("Done", 2), ("Done", 3), ("Halved", 3)]
    assert run.has_errors is False
    assert len(billed()) == 6 * 3


def test_a_chunk_that_ends_its_worker_again_and_again_is_narrowed_down_to_one_account(
    six_accounts, monkeypatch, settings
):
    """Nothing can be caught from a killed worker: the attempts counted before the work tell."""
    poisoned = six_accounts[4]

    def deadly(account, charges, **kwargs):
        if account.account_id == poisoned:
            raise SystemExit
        return price(account, charges, **kwargs)

    monkeypatch.setattr(engine, "price", deadly)
    run = _run()
    deaths = 0
    while BillRun.objects.get(pk=run.pk).status != BillRunStatus.COMPLETED:
        try:
            engine.advance(run.pk, seconds=60)
        except SystemExit:
            deaths += 1
        assert deaths < 20
    assert deaths == settings.BILL_RUN_ATTEMPTS * 3  # in the chunk of three, in its half, alone
    failed = run.account_outcomes.get(outcome="Failed")
    assert failed.account_id == poisoned
    assert "ended its worker several times" in failed.message
    assert outcomes(run) == {"Billed": 5, "Failed": 1}


def test_a_run_that_was_left_pending_is_started_by_whoever_comes(six_accounts):
    run = engine.create(scope="All", target_date=day("2026-02-01"), invoice_date=day("2026-02-01"))
    engine.advance(run.pk, seconds=60)
    assert outcomes(run) == {"Billed": 6}


def test_starting_twice_makes_one_work_list(six_accounts):
    run = _run()
    engine.start(run)
    assert run.account_outcomes.count() == 6
    assert run.chunks.count() == 2


def test_a_worker_whose_time_is_up_says_that_there_is_more(six_accounts):
    run = _run()
    assert engine.advance(run.pk, seconds=0) is True
    assert outcomes(run) == {"Pending": 6}
    assert engine.advance(run.pk, seconds=60) is False


def test_calling_a_finished_run_again_changes_nothing(six_accounts):
    run = bill("2026-02-01")
    before = (run.status, run.finished_at, billed())
    assert engine.advance(run.pk, seconds=60) is False
    run.refresh_from_db()
    assert (run.status, run.finished_at, billed()) == before


def test_halving_keeps_every_account_once(six_accounts):
    run = _run()
    with claimed_chunk(run.pk) as claim:
        assert claim is not None
        halve(claim, error="for the test")
    halves = run.chunks.exclude(state=ChunkState.HALVED).order_by("accounts", "id")
    assert [(chunk.accounts, chunk.account_rows.count()) for chunk in halves] == [(1, 1), (2, 2), (3, 3)]
    assert run.account_outcomes.count() == 6


@pytest.mark.django_db(transaction=True)
class TestTwoWorkers:
    def _other(self) -> psycopg.Connection:
        return psycopg.connect(django_settings.DATABASE_URL, dbname=connection.settings_dict["NAME"], autocommit=True)

    def test_two_workers_never_hold_the_same_chunk(self, six_accounts):
        run = _run()

        def claim(number: int) -> int | None:
            with claimed_chunk(run.pk) as claim:
                # Both hold theirs at the same time.
                time.sleep(0.3)
                return claim and claim.chunk_id

        taken = in_threads(3, claim)
        chunks = set(run.chunks.values_list("pk", flat=True))
        assert sorted(filter(None, taken)) == sorted(chunks)
        assert taken.count(None) == 1

    def test_a_dead_workers_chunk_is_free_at_once(self, six_accounts):
        run = _run()
        first = run.chunks.earliest("pk")
        with self._other() as worker:
            worker.execute("SELECT pg_advisory_lock(%s, %s)", [CHUNK_LOCK, first.pk])
            run.chunks.exclude(pk=first.pk).delete()
            with claimed_chunk(run.pk) as claim:
                assert claim is None
        # Its connection is gone, and its claim with it.
        with claimed_chunk(run.pk) as claim:
            assert claim is not None
            assert (claim.chunk_id, claim.attempts) == (first.pk, 1)

    def test_a_claim_is_given_back_at_the_end(self, six_accounts):
        run = _run()
        with claimed_chunk(run.pk), finishing(run.pk) as won:
            assert won
        with self._other() as raw:
            # The view shows the locks of every database of the server, and other databases are at work beside us.
            assert raw.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid IN (7411, 7412)"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone() == (0,)

    def test_attempts_are_committed_before_the_work_begins(self, six_accounts, app_connection):
        run = _run()
        with claimed_chunk(run.pk) as claim:
            assert claim is not None
            row = app_connection.execute(
                "SELECT attempts, claimed_at IS NOT NULL FROM invoicing_billrunchunk WHERE id = %s", [claim.chunk_id]
            )
            assert row.fetchone() == (1, True)

    def test_only_one_worker_finishes_a_run(self, six_accounts, monkeypatch):
        run = _run()
        audits: list[int] = []

        def slow_audit(run_id):
            audits.append(run_id)
            time.sleep(0.3)
            return audit(run_id)

        monkeypatch.setattr(engine, "audit", slow_audit)
        in_threads(4, lambda _: engine.advance(run.pk, seconds=60))
        run.refresh_from_db()
        assert run.status == BillRunStatus.COMPLETED
        assert audits == [run.pk]

    def test_the_last_chunk_finishes_the_run_although_another_worker_just_looked_whether_it_could(
        self, six_accounts, monkeypatch, settings
    ):
        """Two workers meet at the end: the one looks, sees a chunk open and leaves, while the other closes that chunk."""
        settings.BILL_RUN_STREAMS = 1
        run, begun, looked = _run(), threading.Event(), threading.Event()

        def load_last(*args, **kwargs):
            if threading.get_ident() != mine:
                begun.set()
                assert looked.wait(timeout=20)
            return load_accounts(*args, **kwargs)

        @contextmanager
        def leaving_slowly(run_id):
            with finishing(run_id) as won:
                yield won
                if threading.get_ident() == mine:
                    looked.set()
                    other.join(timeout=20)

        monkeypatch.setattr(engine, "load_accounts", load_last)
        monkeypatch.setattr(engine, "finishing", leaving_slowly)
        other = threading.Thread(target=lambda: in_threads(1, lambda _: engine.advance(run.pk, seconds=60)))
        mine = threading.get_ident()
        other.start()
        assert begun.wait(timeout=20)
        assert engine.advance(run.pk, seconds=60) is False
        looked.set()
        other.join(timeout=20)
        run.refresh_from_db()
        assert (run.status, outcomes(run)) == (BillRunStatus.COMPLETED, {"Billed": 6})

    def test_a_worker_waits_for_the_accounts_that_another_run_holds_and_then_sees_its_lines(self, six_accounts):
        """Lock first, compute in a later statement (F-0.4): what was due before the wait is not due after it."""
        first, second = _run(), _run()
        terms = [
            engine.Terms(run.pk, run.target_date, run.invoice_date, frozenset(), current_rules())
            for run in (first, second)
        ]
        chunks = [run.chunks.earliest("pk").pk for run in (first, second)]
        results = in_threads(2, lambda number: engine.bill_chunk(chunks[number], terms[number]))
        assert results == [None, None]
        assert Invoice.objects.count() == 3
        assert len(billed()) == 3 * 3

    def test_a_broken_connection_in_the_middle_is_replaced(self, six_accounts, monkeypatch, superuser_connection):
        """The server ends our session while a chunk is being written: the chunk is billed by the next attempt."""
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        broken: list[int] = []

        def cut(*args):
            if not broken:
                broken.append(connection.connection.info.backend_pid)
                superuser_connection.execute("SELECT pg_terminate_backend(%s)", broken)
            write_outcomes(*args)

        monkeypatch.setattr(engine, "write_outcomes", cut)
        run = bill("2026-02-01")
        assert broken
        assert (run.status, outcomes(run)) == (BillRunStatus.COMPLETED, {"Billed": 6})
        assert len(billed()) == 6 * 3
