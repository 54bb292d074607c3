"""Claiming a chunk so that one worker at a time bills it, and a dead worker's claim frees itself (D7, I7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import connection, transaction

# First half of every advisory lock key of bill runs; the second half is the chunk's or the run's id.
CHUNK_LOCK = 7411
FINISH_LOCK = 7412


class Claim(NamedTuple):
    """A chunk in this worker's hands; `attempts` counts this one."""

    chunk_id: int
    accounts: int
    attempts: int


_FREE_CHUNK = """
SELECT c.id FROM invoicing_billrunchunk c JOIN invoicing_billrun r ON r.id = c.run_id
WHERE c.run_id = %s AND c.state = 'Pending' AND r.status = 'Processing'
  AND NOT EXISTS (
      SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = c.id::int
      AND l.objsubid = 2 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  )
ORDER BY c.attempts, c.id LIMIT 1 FOR UPDATE OF c SKIP LOCKED
"""


@contextmanager
def claimed_chunk(run_id: int) -> Iterator[Claim | None]:
    """Yield a free chunk of the run with its attempt already counted and committed, or None when there is none.

    The session advisory lock outlives the counting transaction and is given up at the end, or by PostgreSQL
    when this worker's connection drops.
    """
    claim = _claim(run_id)
    try:
        yield claim
    finally:
        if claim is not None:
            _unlock(CHUNK_LOCK, claim.chunk_id)


def _claim(run_id: int) -> Claim | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FREE_CHUNK, [run_id, CHUNK_LOCK])
        free = cursor.fetchone()
        if free is None or not _try_lock(CHUNK_LOCK, free[0]):
            return None
        cursor.execute(
            "UPDATE invoicing_billrunchunk SET attempts = attempts + 1, claimed_at = now() WHERE id = %s RETURNING id, accounts, attempts",
            [free[0]],
        )
        return Claim(*cursor.fetchone())


@contextmanager
def finishing(run_id: int) -> Iterator[bool]:
    """Yield True to the one worker that may finish the run, False to the others."""
    won = _try_lock(FINISH_LOCK, run_id)
    try:
        yield won
    finally:
        if won:
            _unlock(FINISH_LOCK, run_id)


def _try_lock(kind: int, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s::int)", [kind, key])
        return bool(cursor.fetchone()[0])


def _unlock(kind: int, key: int) -> None:
    # A connection that broke has already given its locks back.
    if connection.connection is None or connection.connection.closed:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s::int)", [kind, key])


_HALVE = """
WITH numbered AS (
    SELECT id, row_number() OVER (ORDER BY account_id) > %(half)s AS upper_half FROM invoicing_billrunaccount WHERE chunk_id = %(chunk)s
), parts AS (
    SELECT upper_half, count(*) AS accounts, nextval('invoicing_billrunchunk_id_seq') AS id FROM numbered GROUP BY upper_half
), made AS (
    INSERT INTO invoicing_billrunchunk (id, run_id, state, accounts, attempts, invoices, failed, billed, totals, error)
    SELECT parts.id, c.run_id, 'Pending', parts.accounts, 0, 0, 0, 0, '{}', '' FROM parts, invoicing_billrunchunk c WHERE c.id = %(chunk)s RETURNING id
), moved AS (
    UPDATE invoicing_billrunaccount SET chunk_id = parts.id FROM numbered JOIN parts USING (upper_half), (SELECT count(*) FROM made) all_made
    WHERE invoicing_billrunaccount.id = numbered.id
)
UPDATE invoicing_billrunchunk SET state = 'Halved', finished_at = now(), error = %(error)s WHERE id = %(chunk)s
"""


def halve(claim: Claim, *, error: str) -> None:
    """Replace a failing chunk by its two halves, so that in the end only the failing account stands alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_HALVE, {"chunk": claim.chunk_id, "half": claim.accounts // 2, "error": error})


def park(claim: Claim, *, code: str, message: str, hint: str) -> None:
    """Give up on a chunk of one account: record why, so that the others go on (I13)."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE invoicing_billrunaccount SET outcome = 'Failed', code = %s, message = %s, hint = %s WHERE chunk_id = %s",
            [code, message, hint, claim.chunk_id],
        )
        cursor.execute(
            "UPDATE invoicing_billrunchunk SET state = 'Done', finished_at = now(), failed = accounts, error = %s WHERE id = %s",
            [message, claim.chunk_id],
        )
