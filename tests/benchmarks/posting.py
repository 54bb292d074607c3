"""Posting: `ratio` is the speed of posting a run's drafts, numbers and snapshots included, against one plain UPDATE of the same rows.

The UPDATE finds the finished values ready in a table and writes them in one statement under the same guards.
"""

import os
import time

import psycopg

from invoicing.bill_run import run as bill_run
from invoicing.models import BillRun, BillRunStatus, Invoice, InvoiceStatus
from invoicing.posting import post_run
from tests.benchmarks import load
from tests.benchmarks.measure import emit, median, say, scaled
from tests.benchmarks.servers import superuser

ACCOUNTS = scaled(100_000, least=2_000)
ROUNDS = 3

_COLUMNS = ("status", "posted_at", "posted_by_id", "sequence_value", "number", "template_version_id", "snapshot")
_ASSIGNMENTS = ", ".join(f"{column} = p.{column}" for column in _COLUMNS)
_PLAIN = f"UPDATE invoicing_invoice v SET {_ASSIGNMENTS} FROM posted p WHERE v.id = p.id"


def main() -> None:
    """Bill, then post in alternating rounds, putting the drafts back in between."""
    with superuser() as admin, psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as app:
        say(f"posting: billing {ACCOUNTS:,} accounts")
        load.fill(admin, accounts=ACCOUNTS)
        run = bill_run.create(target_date=load.TARGET_DATE, invoice_date=load.INVOICE_DATE)
        while bill_run.advance(run.pk, seconds=60):
            pass
        admin.execute("CREATE TABLE drafts AS TABLE invoicing_invoice")
        admin.execute("VACUUM (ANALYZE)")
        ours, plain = [], []
        for number in range(1, ROUNDS + 1):
            say(f"posting: round {number} of {ROUNDS}")
            _back_to_drafts(admin, run)
            ours.append(_seconds_of_posting(run))
            admin.execute("CREATE TABLE posted AS TABLE invoicing_invoice")
            admin.execute("ALTER TABLE posted ADD PRIMARY KEY (id); ANALYZE posted; GRANT SELECT ON posted TO PUBLIC")
            _back_to_drafts(admin, run)
            plain.append(_seconds_of_update(app))
            admin.execute("DROP TABLE posted")
    emit(
        "posting",
        {
            "unit": "of one plain UPDATE",
            "ratio": median(theirs / mine for theirs, mine in zip(plain, ours, strict=True)),
            "invoices_per_s": ACCOUNTS / median(ours),
            "invoices": ACCOUNTS,
        },
        {},
    )


def _back_to_drafts(admin: psycopg.Connection, run: BillRun) -> None:
    admin.execute("TRUNCATE invoicing_invoicedelivery, invoicing_invoicedocument")
    admin.execute("DELETE FROM invoicing_invoice; INSERT INTO invoicing_invoice OVERRIDING SYSTEM VALUE TABLE drafts")
    admin.execute("VACUUM (FULL, ANALYZE) invoicing_invoice")
    admin.execute("UPDATE accounts_numbersequence SET next_number = first_number WHERE purpose = 'Invoice'")
    admin.execute("UPDATE invoicing_billrun SET status = 'Completed', posted_at = NULL WHERE id = %s", [run.pk])


def _seconds_of_posting(run: BillRun) -> float:
    started = time.perf_counter()
    posted = post_run(run.pk, user_id=None)
    seconds = time.perf_counter() - started
    if posted != ACCOUNTS or not BillRun.objects.filter(pk=run.pk, status=BillRunStatus.POSTED).exists():
        raise RuntimeError(f"Only {posted} of {ACCOUNTS} drafts were posted.")
    return seconds


def _seconds_of_update(app: psycopg.Connection) -> float:
    started = time.perf_counter()
    with app.transaction():
        app.execute(
            "UPDATE accounts_numbersequence q SET next_number = next_number + (SELECT count(*) FROM posted p WHERE p.number_sequence_id = q.id)"
            " WHERE q.purpose = 'Invoice'"
        )
        app.execute(_PLAIN)
    seconds = time.perf_counter() - started
    if Invoice.objects.filter(status=InvoiceStatus.POSTED).count() != ACCOUNTS:
        raise RuntimeError("The plain UPDATE did not post every draft.")
    return seconds
