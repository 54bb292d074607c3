"""Crashes PostgreSQL again and again during a run: what was committed stays, the rest is billed afterwards."""

import os
import time

from django.db import connections

from invoicing.bill_run.verify import audit
from invoicing.models import BillRun, BillRunStatus
from invoicing.tasks import ring_run
from tests.benchmarks import load, servers
from tests.chaos import world

ACCOUNTS = 3_000 if world.SHORT else 50_000
CRASHES = 2 if world.SHORT else 5
CHUNK_ACCOUNTS = "50" if world.SHORT else "500"
FINISH_SECONDS = 60.0 if world.SHORT else 300.0


def main() -> None:
    """Bill once in peace and once with crashes, and compare."""
    os.environ |= {
        "CHAOS_CHUNK_SECONDS": "0.5",
        "BILL_RUN_SWEEP_SECONDS": "5",
        "BILL_RUN_CHUNK_ACCOUNTS": CHUNK_ACCOUNTS,
    }
    with world.World(workers=2) as installation:
        with servers.superuser() as admin:
            load.fill(admin, accounts=ACCOUNTS)
        expected = world.undisturbed()
        installation.keep_alive()
        installation.wait_for_workers()
        run = world.new_run()
        ring_run(run.pk)
        started = last_fault = time.monotonic()
        for _ in world.endured(installation, run.pk, ["postgres"] * CRASHES, patience=15, deadline=FINISH_SECONDS):
            last_fault = time.monotonic()
        finished = time.monotonic()
        connections.close_all()
        found = world.bills()
        violations = audit()
        run = BillRun.objects.get(pk=run.pk)
        world.report(
            "crash",
            {
                "accounts": ACCOUNTS,
                "faults": installation.faults,
                "status": run.status,
                "violations": [violation._asdict() for violation in violations],
                "lines": found.lines,
                "equal_to_undisturbed": found == expected,
                "seconds": round(finished - started, 1),
                "seconds_after_last_fault": round(finished - last_fault, 1),
            },
            passed=run.status == BillRunStatus.COMPLETED and not violations and found == expected,
        )
