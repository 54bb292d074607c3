"""Importing usage: `ratio` is the speed of checking and writing a file, against a bare COPY of the very same records.

The COPY writes the same columns into the same table with the same keys, foreign key and triggers, and the finished slices
after them. `times_bulk_create` compares with reading the file by csv.DictReader and writing it by bulk_create.
"""

import csv
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from tests.benchmarks import metered
from tests.benchmarks.measure import emit, median, say, scaled
from tests.benchmarks.servers import superuser
from usage.intake import RECORD_COLUMNS, SLICE_COLUMNS
from usage.models import UsageImport, UsageRecord, UsageSlice
from usage.services import confirm_import, upload_file

ROWS = scaled(1_000_000, least=20_000)
ACCOUNTS = scaled(10_000, least=200)
NAIVE_ROWS = min(ROWS, 20_000)
ROUNDS = 3
DAYS = 59  # January and February
BAD_EVERY = 243  # about 4,100 bad rows in a million, of four kinds


def write_file(path: Path) -> int:
    """Write the usage file, and return how many of its rows are bad."""
    chance = random.Random(4)
    bad = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("ACCOUNT_ID,UOM,QTY,STARTDATE,ENDDATE,SUBSCRIPTION_ID,CHARGE_ID,DESCRIPTION\n")
        for row in range(ROWS):
            account = metered.number_of(chance.randint(1, ACCOUNTS))
            day = metered.START + timedelta(days=chance.randrange(DAYS))
            quantity, text = f"{chance.randint(1, 99_999) / 100:.2f}", day.isoformat()
            if row % BAD_EVERY == 1:
                bad += 1
                kind = bad % 4
                account = "M9999999" if kind == 0 else account
                quantity = "abc" if kind == 1 else quantity
                text = "2026-02-30" if kind == 2 else text
            unit = "TB" if row % BAD_EVERY == 1 and bad % 4 == 3 else metered.UNIT
            file.write(f"{account},{unit},{quantity},{text},,,,Traffic of the day\n")
    return bad


def main() -> None:
    """Import and copy the same rows in alternating rounds."""
    path = Path(settings.VAR_DIR) / "usage-bench.csv"
    with superuser() as admin, psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as app:
        say(f"usage_import: {ACCOUNTS:,} accounts, {ROWS:,} rows")
        metered.fill(admin, accounts=ACCOUNTS)
        bad = write_file(path)
        ours, checks, copies, naive = [], [], [], []
        peak = 0.0
        for number in range(1, ROUNDS + 1):
            say(f"usage_import: round {number} of {ROUNDS}")
            check, wrote = _import(path, bad)
            peak = max(peak, check["peak_mib"], wrote["peak_mib"])
            ours.append(wrote["seconds"])
            checks.append(check["seconds"])
            records, slices = _texts(app)
            _forget(admin)
            copies.append(_copy(app, records, slices))
            _forget(admin)
            naive.append(_naive(path) * (ROWS / NAIVE_ROWS))
            _forget(admin)
            say(
                f"  import {ours[-1]:.1f} s, check before it {checks[-1]:.1f} s, copy {copies[-1]:.1f} s, naive {naive[-1]:.1f} s"
            )
    path.unlink()
    emit(
        "usage_import",
        {
            "unit": "of bare COPY",
            "ratio": median(theirs / mine for theirs, mine in zip(copies, ours, strict=True)),
            "ratio_with_check": median(
                theirs / (mine + check) for theirs, mine, check in zip(copies, ours, checks, strict=True)
            ),
            "rows_per_s": ROWS / median(ours),
            "peak_mb": peak,
            "times_bulk_create": median(theirs / mine for theirs, mine in zip(naive, ours, strict=True)),
            "rows": ROWS,
            "bad_rows": bad,
            "check_seconds": median(checks),
            "seconds": median(ours),
            "copy_seconds": median(copies),
        },
        {"ratio": (">=", 0.6), "times_bulk_create": (">=", 3), "peak_mb": ("<=", 300)},
    )


def _import(path: Path, bad: int) -> tuple[dict[str, float], dict[str, float]]:
    """Upload, check and import the file; return time and memory of checking and of importing."""
    with path.open("rb") as file:
        found = upload_file(chunks=iter(lambda: file.read(1024 * 1024), b""), file_name=path.name, user_id=None)
    checked = _step(found)
    found.refresh_from_db()
    confirm_import(found, leave_bad_rows_out=True)
    imported = _step(found)
    found.refresh_from_db()
    if (found.status, found.good_rows, found.bad_rows) != ("Imported", ROWS - bad, bad):
        raise RuntimeError(f"{found.status}: {found.good_rows} good, {found.bad_rows} bad. {found.error}")
    return checked, imported


def _step(found: UsageImport) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.child", "tests.benchmarks.usage_worker", str(found.pk)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _texts(app: psycopg.Connection) -> tuple[bytes, bytes]:
    """Return what was imported as COPY takes it."""
    texts = []
    for table, columns in (("usage_usagerecord", RECORD_COLUMNS), ("usage_usageslice", SLICE_COLUMNS)):
        with app.cursor() as cursor, cursor.copy(f"COPY (SELECT {columns} FROM {table} ORDER BY id) TO STDOUT") as copy:
            texts.append(b"".join(bytes(block) for block in copy))
    return texts[0], texts[1]


def _copy(app: psycopg.Connection, records: bytes, slices: bytes) -> float:
    UsageImport.objects.filter(pk__gt=0).update(error="")
    started = time.perf_counter()
    with app.transaction(), app.cursor() as cursor:
        for table, columns, text in (
            ("usage_usagerecord", RECORD_COLUMNS, records),
            ("usage_usageslice", SLICE_COLUMNS, slices),
        ):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for block in _blocks(text):
                    copy.write(block)
    return time.perf_counter() - started


def _blocks(text: bytes) -> Iterator[bytes]:
    stream = io.BytesIO(text)
    while block := stream.read(256 * 1024):
        yield block


def _naive(path: Path) -> float:
    """Read the first rows by csv.DictReader and write them by bulk_create, slices in memory; return the seconds."""
    found = UsageImport.objects.create(source="File", status="Imported")
    charges = {
        account: (account_id, charge_id)
        for account, account_id, charge_id in metered.query(
            "SELECT a.number, a.id, c.id FROM accounts_account a JOIN billing_subscription s ON s.account_id = a.id"
            " JOIN billing_rateplancharge c ON c.subscription_id = s.id"
        )
    }
    started = time.perf_counter()
    with transaction.atomic(), path.open(encoding="utf-8") as file:
        slices: dict[tuple[Any, int], UsageSlice] = {}
        waiting: list[UsageRecord] = []
        for line, row in zip(range(NAIVE_ROWS), csv.DictReader(file), strict=False):
            _take(found, charges, line, row, slices, waiting)
            if len(waiting) == 5_000:
                UsageRecord.objects.bulk_create(waiting)
                waiting.clear()
        UsageRecord.objects.bulk_create(waiting)
        UsageSlice.objects.bulk_create(slices.values())
    return time.perf_counter() - started


def _take(
    found: UsageImport,
    charges: dict[Any, tuple[Any, Any]],
    line: int,
    row: dict[str, str],
    slices: dict[tuple[Any, int], UsageSlice],
    waiting: list[UsageRecord],
) -> None:
    record = UsageRecord(line=line, description=row["DESCRIPTION"])
    try:
        record.quantity = UsageRecord._meta.get_field("quantity").to_python(row["QTY"])
        record.start_date = date.fromisoformat(row["STARTDATE"])
        account_id, charge_id = charges[row["ACCOUNT_ID"]]
    except Exception:
        return
    key = charge_id, record.start_date.month
    known = slices.get(key)
    if known is None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nextval('usage_usageslice_id_seq')")
            pk = cursor.fetchone()[0]
        known = slices[key] = UsageSlice(
            pk=pk, usage_import=found, account_id=account_id, charge_id=charge_id, quantity=0, records=0,
            first_day=record.start_date, last_day=record.start_date,
        )  # fmt: skip
    record.slice_id = known.pk
    known.quantity += record.quantity
    known.records += 1
    known.first_day, known.last_day = min(known.first_day, record.start_date), max(known.last_day, record.start_date)
    waiting.append(record)


def _forget(admin: psycopg.Connection) -> None:
    admin.execute("TRUNCATE usage_usagerecord, usage_usageslice")
    admin.execute("UPDATE usage_usageimport SET sha256 = ''")
    admin.execute("VACUUM (ANALYZE) usage_usagerecord, usage_usageslice")
