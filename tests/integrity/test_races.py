"""Two connections at once: what each of two transactions may do alone must not come true together (reliability.md 2b)."""

import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests.integrity import world
from tests.integrity.guards import refused_by
from tests.integrity.world import post

pytestmark = pytest.mark.django_db(transaction=True)
COVER_MARCH = (
    "INSERT INTO invoicing_coverage (charge_id, kind, period) VALUES (1001, 'Period', '[2026-03-01,2026-04-01)')"
)
CANCEL_FEBRUARY = """
    UPDATE invoicing_invoice SET status = 'Canceled', canceled_at = now() WHERE id = 1002;
    DELETE FROM invoicing_coverage WHERE item_id IN (1002, 1004);
"""
ADD_LINE = """
    INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, amount, derivation)
    VALUES (1900, 1002, 1003, 'Recurring', 'Late', '[2026-01-01,2026-02-01)', 7, '{}')
"""


@pytest.fixture
def committed_world(app_connection) -> None:
    with app_connection.transaction():
        world.build(app_connection)


@contextmanager
def _application() -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.DATABASE_URL, dbname=str(settings.DATABASES["default"]["NAME"])) as connection:
        connection.execute("SET lock_timeout = '20s'")
        connection.commit()
        yield connection
        connection.rollback()


def _both(first_does: str, second_does: str) -> tuple[str | None, str | None]:
    """Let the first transaction act, start the second while the first is open, then commit both.

    Returns which guard refused the first and the second, None for each that was committed.
    """
    results: list[str | None] = [None, None]

    def second() -> None:
        with _application() as connection:
            results[1] = _refusal(lambda: _commit(connection, second_does))

    with _application() as connection:
        connection.execute(first_does)
        other = threading.Thread(target=second)
        other.start()
        # Either it waits for the first transaction, or it is through already.
        other.join(timeout=0.5)
        results[0] = _refusal(connection.commit)
        other.join(timeout=30)
        assert not other.is_alive()
    return results[0], results[1]


def _commit(connection: psycopg.Connection, statement: str) -> None:
    connection.execute(statement)
    connection.commit()


def _value(connection: psycopg.Connection, query: str, values: list[Any] | None = None) -> Any:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _rewritten(owner: psycopg.Connection, trigger: str, without: str) -> Iterator[None]:
    """Let a trigger's function do without a part of it, for a negative control."""
    definition = _value(
        owner, "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname ~ %s", [f"^pgtrigger_{trigger}_"]
    )
    weaker = re.sub(without, "", definition, flags=re.DOTALL)
    assert weaker != definition
    owner.execute(weaker)
    try:
        yield
    finally:
        owner.execute(definition)


def _refusal(act: Callable[[], object]) -> str | None:
    try:
        act()
    except psycopg.IntegrityError as error:
        return refused_by(error)
    return None


def _rows(connection: psycopg.Connection, query: str) -> list[tuple]:
    return connection.execute(query).fetchall()


@pytest.mark.usefixtures("committed_world")
class TestPosting:
    def test_a_line_added_while_its_invoice_is_being_posted_is_refused(self, app_connection):
        assert _both(post(1002, 2), ADD_LINE) == (None, "i3_items_not_added")
        assert _rows(app_connection, "SELECT sum(amount) FROM invoicing_invoiceitem WHERE invoice_id = 1002") == [
            (150,)
        ]

    def test_an_invoice_posted_while_a_line_is_being_added_is_refused(self, app_connection):
        assert _both(ADD_LINE, post(1002, 2)) == (None, "i4_i10_posting")
        assert _rows(app_connection, "SELECT status FROM invoicing_invoice WHERE id = 1002") == [("Draft",)]

    def test_without_the_lock_in_the_guard_the_line_would_slip_in(self, app_connection, owner_connection):
        """Negative control: the trigger as it would be without its FOR SHARE."""
        with _rewritten(owner_connection, "i3_items_not_added", r"PERFORM 1 FROM invoicing_invoice.*?FOR SHARE;"):
            assert _both(post(1002, 2), ADD_LINE) == (None, None)
        assert _rows(app_connection, "SELECT sum(amount) FROM invoicing_invoiceitem WHERE invoice_id = 1002") == [
            (157,)
        ]

    def test_of_two_posters_of_one_draft_one_wins(self, app_connection):
        # The second waits for the counter row and then finds the invoice posted.
        assert _both(post(1002, 2), post(1002, 2)) == (None, "i3_invoice_frozen")
        assert _rows(app_connection, "SELECT number FROM invoicing_invoice WHERE status = 'Posted' ORDER BY 1") == [
            ("W0001",),
            ("W0002",),
        ]

    def test_posting_and_canceling_one_draft_exclude_each_other(self, app_connection):
        assert _both(CANCEL_FEBRUARY, post(1002, 2)) == (None, "i11_invoice_legal_states")
        assert _rows(app_connection, "SELECT next_number FROM accounts_numbersequence WHERE id = 1001") == [(2,)]

    def test_numbers_have_no_gap_though_posters_roll_back(self, app_connection):
        """Eight posters, forty drafts, a quarter of the transactions rolled back."""
        _many_drafts(app_connection, 40)
        ids = list(range(2001, 2041))
        _in_parallel(8, lambda _: _post_some(ids))
        numbers = [
            row[0]
            for row in _rows(
                app_connection,
                "SELECT number FROM invoicing_invoice WHERE number_sequence_id = 1001 AND number IS NOT NULL ORDER BY sequence_value",
            )
        ]
        assert numbers == [f"W{value:04d}" for value in range(1, 42)]
        assert _rows(app_connection, "SELECT next_number FROM accounts_numbersequence WHERE id = 1001") == [(42,)]


@pytest.mark.usefixtures("committed_world")
class TestCoverage:
    def test_of_two_transactions_that_bill_the_same_days_one_is_refused(self, app_connection):
        assert _both(COVER_MARCH, COVER_MARCH)[1] in {"i1_no_overlap", "i1_covered_through"}
        assert _rows(app_connection, "SELECT count(*) FROM invoicing_coverage WHERE charge_id = 1001") == [(3,)]

    def test_days_billed_while_those_before_are_being_released_are_refused(self, app_connection):
        assert _both(CANCEL_FEBRUARY, COVER_MARCH) == (None, "i2_no_hole")

    def test_days_released_while_those_after_are_being_billed_are_refused(self, app_connection):
        assert _both(COVER_MARCH, CANCEL_FEBRUARY) == (None, "i1_coverage_released_only")

    @pytest.mark.parametrize("pair", [(CANCEL_FEBRUARY, COVER_MARCH), (COVER_MARCH, CANCEL_FEBRUARY)])
    def test_without_the_lock_in_the_guards_a_month_would_be_lost(self, app_connection, owner_connection, pair):
        """Negative control: February released and March billed at the same moment, so February is never billed again."""
        with (
            _rewritten(owner_connection, "i2_no_hole", r"PERFORM pg_advisory\w+\(\d+\);"),
            _rewritten(owner_connection, "i1_coverage_released_only", r"PERFORM pg_advisory\w+\(\d+\);"),
        ):
            assert _both(*pair) == (None, None)
        months = _rows(
            app_connection, "SELECT lower(period)::text FROM invoicing_coverage WHERE charge_id = 1001 ORDER BY 1"
        )
        assert months == [("2026-01-01",), ("2026-03-01",)]


@pytest.mark.usefixtures("committed_world")
def test_two_accounts_cannot_become_each_others_parent_at_once(app_connection):
    app_connection.execute("UPDATE accounts_account SET parent_id = NULL WHERE id = 1002")
    moves = [f"UPDATE accounts_account SET parent_id = {2003 - row} WHERE id = {row}" for row in (1001, 1002)]
    assert _both(*moves) == (None, "account_parent_acyclic")


@pytest.mark.usefixtures("committed_world")
def test_of_two_sweepers_one_starts_the_run_of_a_slot(app_connection):
    start = "INSERT INTO invoicing_billrun SELECT (jsonb_populate_record(NULL::invoicing_billrun, to_jsonb(r) || jsonb_build_object('id', {id}, 'number', '{id}', 'schedule_id', 1001, 'slot', '2026-01-03 02:00Z'))).* FROM invoicing_billrun r WHERE id = 1002"
    assert _both(start.format(id=1901), start.format(id=1902)) == (None, "i16_one_run_per_slot")


def _many_drafts(connection: psycopg.Connection, count: int) -> None:
    """Write drafts 2001, 2002, … with one covered line each."""
    for statement in (
        "INSERT INTO billing_rateplancharge SELECT (jsonb_populate_record(NULL::billing_rateplancharge, to_jsonb(c) || jsonb_build_object('id', n, 'number', 'C-' || n))).* FROM billing_rateplancharge c, {rows} WHERE c.id = 1003",
        "INSERT INTO invoicing_invoice SELECT (jsonb_populate_record(NULL::invoicing_invoice, to_jsonb(v) || jsonb_build_object('id', n, 'reference', 'DRAFT-' || n, 'net', 7, 'total', 7, 'balance', 7))).* FROM invoicing_invoice v, {rows} WHERE v.id = 1004",
        "INSERT INTO invoicing_invoiceitem SELECT (jsonb_populate_record(NULL::invoicing_invoiceitem, to_jsonb(i) || jsonb_build_object('id', n, 'invoice_id', n, 'charge_id', n))).* FROM invoicing_invoiceitem i, {rows} WHERE i.id = 1003",
        "INSERT INTO invoicing_coverage (charge_id, item_id, kind, period) SELECT n, n, 'Period', '[2026-01-01,2026-02-01)' FROM {rows}",
    ):
        connection.execute(statement.format(rows=f"generate_series(2001, {2000 + count}) n"))


def _post_some(ids: list[int]) -> None:
    """Post the drafts one by one as the application does: lock the draft, take a number, post; sometimes give up."""
    chance = random.Random()
    with _application() as connection:
        for invoice_id in chance.sample(ids, len(ids)):
            posted = False
            while not posted:
                try:
                    posted = _post_one(connection, invoice_id, give_up=chance.random() < 0.25)
                except psycopg.errors.DeadlockDetected:
                    connection.rollback()


def _post_one(connection: psycopg.Connection, invoice_id: int, *, give_up: bool) -> bool:
    draft = connection.execute(
        "SELECT FROM invoicing_invoice WHERE id = %s AND status = 'Draft' FOR UPDATE", [invoice_id]
    )
    if draft.fetchone() is None:
        connection.rollback()
        return True
    following = _value(
        connection,
        "UPDATE accounts_numbersequence SET next_number = next_number + 1 WHERE id = 1001 RETURNING next_number",
    )
    connection.execute(post(invoice_id, following - 1))
    if give_up:
        connection.rollback()
        return False
    connection.commit()
    return True


def _in_parallel(count: int, act: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            act(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
