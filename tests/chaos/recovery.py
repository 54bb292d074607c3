"""Kills pool children and whole workers 20 times, the broker twice, and all messages once during a run: it finishes by itself."""

import os
import time

from invoicing.bill_run.verify import audit
from invoicing.models import BillRun, BillRunStatus
from invoicing.tasks import ring_run
from tests.benchmarks import load, servers
from tests.chaos import world

ACCOUNTS = 2_500 if world.SHORT else 200_000
CHUNK_ACCOUNTS = "50" if world.SHORT else "2000"
CHUNK_SECONDS = "0.6" if world.SHORT else "1.0"
SWEEP_SECONDS = "3" if world.SHORT else "15"
PATIENCE = 4.0 if world.SHORT else 10.0
FINISH_SECONDS = 45.0 if world.SHORT else 600.0

KILLS = ["child", "worker", "child", "child", "worker"]
FAULTS = (
    ["child", "broker", "worker", "child", "flush", "child"]
    if world.SHORT
    else [*KILLS, *KILLS, "broker", "child", "flush", *KILLS, "broker", "worker", *KILLS[:3]]
)


def main() -> None:
    """Bill once in peace and once under attack, and compare."""
    os.environ |= {"CHAOS_CHUNK_SECONDS": CHUNK_SECONDS, "BILL_RUN_SWEEP_SECONDS": SWEEP_SECONDS}
    os.environ["BILL_RUN_CHUNK_ACCOUNTS"] = CHUNK_ACCOUNTS
    with world.World(workers=2) as installation:
        with servers.superuser() as admin:
            load.fill(admin, accounts=ACCOUNTS)
        expected = world.undisturbed()
        installation.keep_alive()
        installation.wait_for_workers()
        run = world.new_run()
        ring_run(run.pk)
        started = last_fault = time.monotonic()
        for _ in world.endured(installation, run.pk, FAULTS, patience=PATIENCE, deadline=FINISH_SECONDS):
            last_fault = time.monotonic()
        finished = time.monotonic()
        found = world.bills()
        violations = audit()
        run = BillRun.objects.get(pk=run.pk)
        ((attempts, chunks, halved),) = world.query(
            "SELECT sum(attempts), count(*) FILTER (WHERE state = 'Done'), count(*) FILTER (WHERE state = 'Halved')"
            " FROM invoicing_billrunchunk WHERE run_id = %s",
            run.pk,
        )
        passed = run.status == BillRunStatus.COMPLETED and not violations and found == expected
        world.report(
            "recovery",
            {
                "accounts": ACCOUNTS,
                "kills": installation.faults.get("child", 0) + installation.faults.get("worker", 0),
                "faults": installation.faults,
                "status": run.status,
                "violations": [violation._asdict() for violation in violations],
                "lines": found.lines,
                "totals": found.totals,
                "equal_to_undisturbed": found == expected,
                "accounts_failed": run.accounts_failed,
                "chunks_interrupted": attempts - chunks,
                "chunks_halved": halved,
                "seconds": round(finished - started, 1),
                "seconds_after_last_fault": round(finished - last_fault, 1),
            },
            passed=passed,
        )
