"""Rating usage: `times_row_update` is how much quicker pending slices are made Processed than a status on each of their records.

The UPDATE sets status and line of as many rows, both indexed, in one statement. `times_row_release` compares giving
everything back with setting the rows back, and `times_row_update_priced` all of rating with the UPDATE: slices loaded,
priced by the core, rated periods written and slices marked, chunk by chunk as in a bill run.
"""

import time
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from accounts.models import Account
from billing.queries import current_rules
from invoicing.bill_run import run as bill_run
from tests.benchmarks import metered
from tests.benchmarks.measure import emit, median, say, scaled
from tests.benchmarks.servers import superuser
from usage.models import RatedUsage, UsageSlice
from usage.rating import unrate, write_rated

ROWS = scaled(1_000_000, least=20_000)
ACCOUNTS = scaled(10_000, least=200)
ROUNDS = 3
MONTHS = 2
TARGET = metered.START.replace(month=1 + MONTHS)

# As an import leaves it: records first, then slices, one for each account and month.
_RECORDS = """
INSERT INTO usage_usagerecord (slice_id, line, quantity, start_date, description)
SELECT 1 + (n %% %(slices)s), n, (n %% 9973) / 100.0, '2026-01-01'::date + 31 * ((n %% %(slices)s) / %(accounts)s)::int + (n %% 28)::int, ''
FROM generate_series(0, %(rows)s - 1) n
"""
_SLICES = """
INSERT INTO usage_usageslice (id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records)
SELECT r.slice_id, (SELECT max(id) FROM usage_usageimport), x.account_id, x.charge_id, min(r.start_date), max(r.start_date), sum(r.quantity), count(*)
FROM usage_usagerecord r
JOIN (
    SELECT row_number() OVER (ORDER BY s.id) - 1 AS place, s.account_id, c.id AS charge_id
    FROM billing_subscription s JOIN billing_rateplancharge c ON c.subscription_id = s.id
) x ON x.place = (r.slice_id - 1) %% %(accounts)s
GROUP BY r.slice_id, x.account_id, x.charge_id
"""
_ROWS = """
CREATE TABLE bench_rows AS SELECT id, slice_id, quantity, 'Pending'::varchar(9) AS status, NULL::bigint AS item_id FROM usage_usagerecord;
ALTER TABLE bench_rows ADD PRIMARY KEY (id);
CREATE INDEX bench_status ON bench_rows (status);
CREATE INDEX bench_item ON bench_rows (item_id);
"""


def fill(admin: psycopg.Connection) -> None:
    """Add accounts and a million records of theirs, all pending."""
    metered.fill(admin, accounts=ACCOUNTS)
    admin.execute(
        "INSERT INTO usage_usageimport (source, status, file_name, size, sha256, leave_bad_rows_out, rows, good_rows, bad_rows, bytes_done, quantities, error, attempts) VALUES ('Api', 'Imported', '', 0, '', false, 0, 0, 0, 0, '{}', '', 0)"
    )
    values = {"rows": ROWS, "accounts": ACCOUNTS, "slices": ACCOUNTS * MONTHS}
    admin.execute(_RECORDS, values)
    admin.execute(_SLICES, values)
    admin.execute("SELECT setval('usage_usageslice_id_seq', (SELECT max(id) FROM usage_usageslice))")
    admin.execute(_ROWS)
    admin.execute("VACUUM (ANALYZE)")


def rate() -> tuple[float, float]:
    """Price and mark all pending usage; return the seconds of it all, and those of marking."""
    terms = bill_run.Terms(1, TARGET, TARGET, frozenset(), current_rules())
    ids = list(Account.objects.order_by("pk").values_list("pk", flat=True))
    marking = 0.0

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal marking
        begun = time.perf_counter()
        result = execute(sql, params, many, context)
        if "SET rated_id" in sql:
            marking += time.perf_counter() - begun
        return result

    started = time.perf_counter()
    with connection.execute_wrapper(watch):
        for first in range(0, len(ids), settings.BILL_RUN_CHUNK_ACCOUNTS):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")  # as a run does
                loaded = bill_run.load(ids[first : first + settings.BILL_RUN_CHUNK_ACCOUNTS], terms)
                priced = bill_run.price_accounts(loaded, terms)
                write_rated(priced.rated, loaded[0].usage, run_id=1)
    return time.perf_counter() - started, marking


def main() -> None:
    """Rate, give back, and compare with updates of as many rows."""
    with superuser() as admin:
        say(f"usage_rating: {ACCOUNTS:,} accounts, {ROWS:,} records")
        fill(admin)
        rated: list[float] = []
        marked: list[float] = []
        released, updated, restored = [], [], []
        for number in range(1, ROUNDS + 1):
            say(f"usage_rating: round {number} of {ROUNDS}")
            for kept, seconds in zip((rated, marked), rate(), strict=True):
                kept.append(seconds)
            if UsageSlice.objects.filter(rated=None).exists():
                raise RuntimeError("Some usage was not rated.")
            ids = list(RatedUsage.objects.filter(is_live=True).values_list("pk", flat=True))
            started = time.perf_counter()
            with transaction.atomic():
                unrate(ids)
            released.append(time.perf_counter() - started)
            updated.append(_timed(admin, "UPDATE bench_rows SET status = 'Processed', item_id = slice_id"))
            restored.append(_timed(admin, "UPDATE bench_rows SET status = 'Pending', item_id = NULL"))
            admin.execute("VACUUM (ANALYZE) bench_rows, usage_usageslice, usage_ratedusage")
            say(
                f"  rated {rated[-1]:.2f} s, of which marked {marked[-1]:.2f} s, row update {updated[-1]:.1f} s, given back {released[-1]:.2f} s, rows back {restored[-1]:.1f} s"
            )
    emit(
        "usage_rating",
        {
            "times_row_update": median(theirs / mine for theirs, mine in zip(updated, marked, strict=True)),
            "times_row_update_priced": median(theirs / mine for theirs, mine in zip(updated, rated, strict=True)),
            "times_row_release": median(theirs / mine for theirs, mine in zip(restored, released, strict=True)),
            "rows_per_s": ROWS / median(rated),
            "rows": ROWS,
            "rated_periods": ACCOUNTS * MONTHS,
            "seconds": median(rated),
            "marking_seconds": median(marked),
            "row_update_seconds": median(updated),
        },
        {"times_row_update": (">=", 40), "times_row_release": (">=", 50)},
    )


def _timed(admin: psycopg.Connection, statement: str) -> float:
    started = time.perf_counter()
    admin.execute(statement)
    return time.perf_counter() - started
