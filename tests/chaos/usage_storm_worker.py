"""A worker of the usage storm: does one thing after the other at random, and prints how often each was done.

With `CHAOS_WITHOUT_LOCKS` neither accounts nor slices are locked, and marking does not ask what was priced.
"""

import os
import random
import sys
import time
from contextlib import suppress
from datetime import date
from typing import Any
from unittest import mock

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection

from invoicing.bill_run import run as bill_run
from invoicing.models import Invoice
from invoicing.posting import CancelError, cancel_drafts
from tests.benchmarks import metered
from tests.chaos.usage_storm import ACCOUNTS
from usage import loading, rating
from usage.importing import advance
from usage.models import UsageImport
from usage.services import import_file, undo_import

ROWS = 40
MONTHS = 4
_MARK = """
UPDATE usage_usageslice s SET rated_id = m.rated_id FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[], %s::int[]) AS m(slice_id, rated_id, quantity, records)
WHERE s.id = m.slice_id
"""


def main(number: str, seconds: str) -> None:
    """Storm for so many seconds."""
    if os.environ.get("CHAOS_WITHOUT_LOCKS") == "1":
        mock.patch.object(bill_run, "lock_accounts", return_value=None).start()
        mock.patch.object(loading, "_LOCK_PENDING", "SELECT 1").start()
        mock.patch.object(rating, "_MARK", _MARK).start()
    chance, done = random.Random(int(number)), dict.fromkeys(("imports", "runs", "cancels", "undone", "refused"), 0)
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        name, act = chance.choice(
            [("imports", _import), ("runs", _run), ("runs", _run), ("cancels", _cancel), ("undone", _undo)]
        )
        try:
            done[name] += act(chance)
        except (ValidationError, CancelError, DatabaseError):
            done["refused"] += 1
            with suppress(DatabaseError):
                connection.close()
    sys.stdout.write(" ".join(f"{name}={amount}" for name, amount in done.items()))


def _import(chance: random.Random) -> int:
    lines = ["ACCOUNT_ID,UOM,QTY,STARTDATE"]
    for _ in range(ROWS):
        day = date(2026, chance.randint(1, MONTHS), chance.randint(1, 28))
        lines.append(f"{metered.number_of(chance.randint(1, ACCOUNTS))},GB,{chance.randint(1, 500)},{day}")
    found = import_file(
        chunks=["\n".join(lines).encode()], file_name="storm.csv", leave_bad_rows_out=False, dry_run=False
    )
    return found.status == "Imported"


def _run(chance: random.Random) -> int:
    day = date(2026, chance.randint(2, MONTHS + 1), 1)
    run = bill_run.create(target_date=day, invoice_date=day, scope="All")
    bill_run.advance(run.pk, seconds=20)
    return 1


def _cancel(chance: random.Random) -> int:
    drafts = list(Invoice.objects.filter(status="Draft").order_by("-pk").values_list("pk", flat=True)[:60])
    return cancel_drafts(chance.sample(drafts, min(len(drafts), chance.randint(1, 20)))) if drafts else 0


def _undo(chance: random.Random) -> int:
    imports: list[Any] = list(UsageImport.objects.filter(status="Imported").order_by("-pk")[:10])
    if not imports:
        return 0
    found = chance.choice(imports)
    undo_import(found)
    advance(found.pk)
    found.refresh_from_db()
    return found.status == "Undone"
