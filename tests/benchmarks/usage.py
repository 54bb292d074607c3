"""Usage: `ratio` is the speed of checking and writing a file against a bare COPY of the very records and slices it becomes.

The COPY fills the same tables with their indexes, keys and guards, as the same role, in one transaction; rounds
alternate. `check_rows_per_s` is checking alone. `peak_mb` is the memory of a process that checks a file of a million
rows, all of it, Django included; `peak_mb_keys` that of one that looks for duplicates among a million keys.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import psycopg
from django.conf import settings
from django.db import connection, transaction

from tests.benchmarks import load
from tests.benchmarks.measure import emit, median, say, scaled
from tests.benchmarks.servers import superuser
from usage.cells import COLUMNS
from usage.files import open_usage_file
from usage.intake import RECORD_COLUMNS, SLICE_COLUMNS, Intake
from usage.models import UsageImport

ACCOUNTS = scaled(10_000, least=500)
ROWS = scaled(200_000, least=10_000)
MANY_ROWS = scaled(1_000_000, least=10_000)
ROUNDS = 3
FIRST_DAY, DAYS = date(2026, 6, 1), 61
TARGETS = {"ratio": (">=", 0.60), "peak_mb": ("<=", 100.0), "peak_mb_keys": ("<=", 100.0)}

_UNIT = "INSERT INTO billing_unitofmeasure (name, decimals, rounding) VALUES ('GB', 3, 'Up') ON CONFLICT DO NOTHING"
_CHARGES = """
WITH charge AS (
    INSERT INTO billing_rateplancharge (number, subscription_id, rate_plan_id, name, charge_type, charge_model, billing_timing,
        billing_period, list_price_base, billing_day_type, alignment, trigger_event, trigger_date, unit, custom_fields)
    SELECT 'L-U' || s.id, s.id, p.id, 'Traffic', 'Usage', 'PerUnit', 'InArrears', 'Month', 'PerBillingPeriod',
        'DefaultFromCustomer', 'AlignToCharge', 'ContractEffective', '2020-01-01', 'GB', '{}'
    FROM billing_subscription s JOIN billing_rateplan p ON p.subscription_id = s.id
    RETURNING id
)
INSERT INTO billing_chargesegment (charge_id, number, effective_start, price, mrr) SELECT id, 1, '2020-01-01', 2, 0 FROM charge
"""
_TABLES = {"usage_usagerecord": RECORD_COLUMNS, "usage_usageslice": SLICE_COLUMNS}


def fill(admin: psycopg.Connection) -> None:
    """Add accounts that each have a charge for gigabytes."""
    load.fill(admin, accounts=ACCOUNTS)
    admin.execute(_UNIT)
    admin.execute(_CHARGES)
    admin.execute("VACUUM (ANALYZE)")


def write_file(path: Path, rows: int, numbers: Sequence[str], *, keys: bool = False) -> None:
    """Write usage of all accounts on all days, in no order."""
    chance = random.Random(1)
    days = [(FIRST_DAY + timedelta(days=position)).isoformat() for position in range(DAYS)]
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\r\n")
        for line in range(rows):
            quantity = f"{chance.randrange(100_000)}.{chance.randrange(1000):03}"
            key = f"K-{line:012}" if keys else ""
            file.write(
                f"{chance.choice(numbers)},GB,{quantity},{chance.choice(days)},,,,Traffic of the node {line % 997:03},{key}\r\n"
            )


def take(path: Path, *, write: bool) -> float:
    """Check a file, or check and write it in one transaction; return the seconds."""
    number = UsageImport.objects.create(source="File", file_name=path.name).pk
    began = time.perf_counter()
    with transaction.atomic(), path.open("rb") as stream, open_usage_file(stream, name=path.name) as file:
        intake = Intake(number, columns=file.columns, write=write)
        intake.take(file.rows)
    seconds = time.perf_counter() - began
    if intake.bad or not intake.good:
        raise RuntimeError(f"{intake.bad:,} rows are bad.")
    return seconds


def taken(admin: psycopg.Connection) -> dict[str, bytes]:
    """Return the records and slices that were written, as COPY text."""
    found = {}
    for table, columns in _TABLES.items():
        with (
            admin.cursor() as cursor,
            cursor.copy(f"COPY (SELECT {columns} FROM {table} ORDER BY id) TO STDOUT") as copy,
        ):
            found[table] = b"".join(copy)
    return found


def put(app: psycopg.Connection, blocks: dict[str, bytes]) -> float:
    """Write records and slices back in one transaction; return the seconds."""
    began = time.perf_counter()
    with app.transaction(), app.cursor() as cursor:
        for table, columns in _TABLES.items():
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                copy.write(blocks[table])
    return time.perf_counter() - began


def forget(admin: psycopg.Connection) -> None:
    """Remove all usage."""
    admin.execute("TRUNCATE usage_usagerecord, usage_usageslice CASCADE")


def in_a_process(path: Path, what: str) -> dict[str, float]:
    """Let a process of its own read a file; return what it says."""
    command = [sys.executable, "-m", "tests.benchmarks.child", "tests.benchmarks.usage_reader", str(path), what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Fill, measure in alternating rounds, print."""
    folder = Path(settings.VAR_DIR)
    with superuser() as admin, psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as app:
        say(f"usage: filling {ACCOUNTS:,} accounts")
        fill(admin)
        with connection.cursor() as cursor:
            cursor.execute("SELECT number FROM accounts_account WHERE number LIKE 'L%' ORDER BY id")
            numbers = [number for (number,) in cursor.fetchall()]
        path, many, keys = folder / "usage.csv", folder / "many.csv", folder / "keys.csv"
        write_file(path, ROWS, numbers)
        checks, writes, copies = [], [], []
        for number in range(1, ROUNDS + 1):
            say(f"usage: round {number} of {ROUNDS}")
            checks.append(take(path, write=False))
            forget(admin)
            writes.append(take(path, write=True))
            blocks = taken(admin)
            forget(admin)
            copies.append(put(app, blocks))
        write_file(many, MANY_ROWS, numbers)
        write_file(keys, MANY_ROWS, numbers, keys=True)
        checked, compared = in_a_process(many, "check"), in_a_process(keys, "duplicates")
        for found in (path, many, keys):
            found.unlink()
    emit(
        "usage",
        {
            "unit": "of a bare COPY of the same records and slices",
            "ratio": median(theirs / mine for theirs, mine in zip(copies, writes, strict=True)),
            "rows_per_s": ROWS / median(writes),
            "check_rows_per_s": ROWS / median(checks),
            "copy_rows_per_s": ROWS / median(copies),
            "peak_mb": checked["peak_mib"],
            "idle_mb": checked["idle_mib"],
            "check_seconds": checked["seconds"],
            "peak_mb_keys": compared["peak_mib"],
            "keys_seconds": compared["seconds"],
            "rows": ROWS,
            "many_rows": MANY_ROWS,
        },
        TARGETS,
    )
