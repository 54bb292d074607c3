"""Several chunks in one worker's hands: each billed once, in threads of their own, and no error or connection lost."""

import threading

import pytest
from django.db import connection

from invoicing.bill_run.load import load_accounts
from invoicing.bill_run.streams import in_streams
from invoicing.models import ChunkState
from tests import factories as make
from tests.factories import bill
from tests.invoicing.facts import customer

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_has_as_many_chunks_in_hand_as_it_has_streams(settings, monkeypatch):
    settings.BILL_RUN_CHUNK_ACCOUNTS = 1
    settings.BILL_RUN_STREAMS = 3
    plan = make.team_plan()
    for _ in range(6):
        make.subscribe(customer(), plan, "2026-01-01")
    # Nobody goes on before three have begun; one after the other, the first would wait in vain.
    together = threading.Barrier(3, timeout=20)

    def load(*arguments, **options):
        together.wait()
        return load_accounts(*arguments, **options)

    monkeypatch.setattr("invoicing.bill_run.run.load_accounts", load)
    run = bill("2026-01-01")
    assert (run.status, run.accounts_billed, run.invoice_count) == ("Completed", 6, 6)
    assert run.chunks.filter(state=ChunkState.DONE, attempts=1).count() == 6


def test_each_stream_works_on_its_own_connection_and_closes_it():
    seen = {}

    def stream() -> bool:
        connection.ensure_connection()
        seen[threading.get_ident()] = connection.connection
        return len(seen) > 1

    assert in_streams(2, stream) is True
    mine = seen.pop(threading.get_ident())
    (other,) = seen.values()
    assert other is not mine
    assert (mine.closed, other.closed) == (False, True)


def test_what_a_stream_raises_is_raised_after_all_have_ended():
    caller, ended = threading.get_ident(), []

    def stream() -> bool:
        if threading.get_ident() != caller:
            raise LookupError("lost")
        ended.append("the other")
        return False

    with pytest.raises(LookupError, match="lost"):
        in_streams(2, stream)
    assert ended == ["the other"]
