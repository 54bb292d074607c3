"""Two connections at once about the same usage: nothing is counted twice, lost, or billed at sums it does not have (I5)."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from invoicing.bill_run import run as engine
from invoicing.bill_run.verify import audit
from invoicing.bill_run.write import write_drafts
from invoicing.models import InvoiceItem
from tests.factories import bill
from tests.integrity import world
from tests.integrity.test_races import _application, _both, _rewritten, _rows
from tests.integrity.usage_attacks import GIVE_BACK, RATE_MARCH, rate
from tests.integrity.world import post
from tests.usage.consumption import consume, pending, sold, usage_lines
from usage.rating import write_rated

pytestmark = pytest.mark.django_db(transaction=True)

RATE = rate(1004, "[2026-03-01,2026-04-01)")
RATE_TOO = rate(1004, "[2026-03-01,2026-04-01)", row=1901)
RELEASE_FEBRUARY = "UPDATE usage_ratedusage SET is_live = false WHERE id = 1002"
EDIT_MARCH = "UPDATE usage_usagerecord SET quantity = 25 WHERE id = 1002"


@pytest.fixture
def committed_world(app_connection) -> None:
    with app_connection.transaction():
        world.build(app_connection)


@pytest.mark.usefixtures("committed_world")
class TestGuards:
    def test_of_two_transactions_that_rate_the_same_days_one_is_refused(self, app_connection):
        assert _both(RATE, RATE_TOO)[1] in {"i5_rated_once", "i5_rated_through"}
        assert _rows(app_connection, "SELECT count(*) FROM usage_ratedusage WHERE period @> '2026-03-01'::date") == [
            (1,)
        ]

    def test_days_rated_while_those_before_are_given_back_are_refused(self):
        assert _both(RELEASE_FEBRUARY, RATE) == (None, "i5_rated_no_hole")

    def test_days_given_back_while_those_after_are_rated_are_refused(self):
        assert _both(RATE, RELEASE_FEBRUARY) == (None, "i5_rated_from_the_end")

    @pytest.mark.parametrize("pair", [(RELEASE_FEBRUARY, RATE), (RATE, RELEASE_FEBRUARY)])
    def test_without_the_lock_in_the_guards_a_month_would_never_be_rated(self, app_connection, owner_connection, pair):
        """Negative control."""
        with (
            _rewritten(owner_connection, "i5_rated_no_hole", r"PERFORM pg_advisory\w+\(\d+\);"),
            _rewritten(owner_connection, "i5_rated_from_the_end", r"PERFORM pg_advisory\w+\(\d+\);"),
        ):
            assert _both(*pair) == (None, None)
        months = "SELECT lower(period)::text FROM usage_ratedusage WHERE is_live AND charge_id = 1004 ORDER BY 1"
        assert _rows(app_connection, months) == [("2026-01-01",), ("2026-03-01",)]

    def test_a_record_edited_while_its_slice_is_rated_stays_as_it_was(self, app_connection):
        assert _both(RATE_MARCH, EDIT_MARCH) == (None, "i5_records_not_changed")
        assert _rows(app_connection, "SELECT quantity FROM usage_usagerecord WHERE id = 1002") == [(20,)]

    def test_posting_and_giving_back_exclude_each_other(self, app_connection):
        assert _both(post(1005, 2), GIVE_BACK)[1] in {"i11_invoice_legal_states", "i3_invoice_frozen"}
        assert _both(post(1002, 3), "SELECT 1") == (None, None)
        assert _rows(app_connection, "SELECT status FROM invoicing_invoice WHERE id = 1005") == [("Posted",)]

    def test_usage_given_back_while_its_draft_is_being_posted_is_not_posted(self, app_connection):
        assert _both(GIVE_BACK, post(1005, 2))[0] is None
        assert _rows(app_connection, "SELECT status FROM invoicing_invoice WHERE id = 1005") == [("Canceled",)]
        assert _rows(app_connection, "SELECT count(*) FROM usage_usageslice WHERE rated_id IS NOT NULL") == [(0,)]

    def test_a_record_that_is_added_while_its_slice_is_written_is_refused_or_found(self, app_connection):
        """A slice is sealed when it is written; a record for it from elsewhere finds it or has nothing to hang on."""
        add = "INSERT INTO usage_usagerecord (id, slice_id, line, quantity, start_date, description) VALUES ({}, 1900, 2, 1, '2026-03-09', '');"
        write = "INSERT INTO usage_usageslice (id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records) VALUES (1900, 1001, 1001, 1004, '2026-03-09', '2026-03-09', 1, 1)"
        app_connection.execute("BEGIN; " + add.format(1901) + write + "; COMMIT")
        with pytest.raises(psycopg.errors.CheckViolation):
            app_connection.execute(add.format(1902))
        app_connection.rollback()


def _meanwhile(act: Callable[[], Any]) -> threading.Thread:
    """Do something in a thread with a database connection of its own."""

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_run_bills_a_record_as_it_was_corrected_while_the_run_began():
    """The correction is not committed yet when the run comes: it waits, and bills what the record says then."""
    consume(sold(), ("2026-01-05", "10"))
    with _application() as other:
        other.execute("UPDATE usage_usagerecord SET quantity = 25")
        thread = _meanwhile(lambda: bill("2026-02-01"))
        thread.join(timeout=1.5)
        assert thread.is_alive(), "the run did not wait"
        other.commit()
    thread.join(timeout=30)
    assert usage_lines() == [("Traffic", "2026-01-01", "2026-02-01", "25", "25.00")]
    assert audit() == []


def test_a_record_cannot_be_corrected_while_a_run_is_rating_it(monkeypatch):
    consume(sold(), ("2026-01-05", "10"))
    refused: list[str] = []
    threads: list[threading.Thread] = []

    def correct() -> None:
        with _application() as other:
            try:
                other.execute("UPDATE usage_usagerecord SET quantity = 25")
            except psycopg.errors.CheckViolation as error:
                refused.append(str(error.diag.message_primary))

    def write(*args: Any, **values: Any) -> Any:
        threads.append(_meanwhile(correct))
        threads[0].join(timeout=0.7)
        return write_drafts(*args, **values)

    monkeypatch.setattr(engine, "write_drafts", write)
    bill("2026-02-01")
    threads[0].join(timeout=30)
    assert refused == ["This usage is Processed: it is on an invoice and cannot be changed"]
    assert usage_lines()[0][3:] == ("10", "10.00")
    assert audit() == []


def test_usage_that_comes_while_a_run_is_rating_is_billed_later(monkeypatch):
    charge = sold()
    consume(charge, ("2026-01-05", "10"))

    def write(*args: Any, **values: Any) -> Any:
        thread = _meanwhile(lambda: consume(charge, ("2026-01-06", "3")))
        thread.join(timeout=10)
        return write_rated(*args, **values)

    monkeypatch.setattr(engine, "write_rated", write)
    bill("2026-02-01")
    monkeypatch.undo()
    assert pending() == ["2026-01-06"]
    bill("2026-02-01")
    assert [f"{item.amount:.2f}" for item in InvoiceItem.objects.order_by("id")] == ["10.00", "3.00"]
    assert audit() == []
