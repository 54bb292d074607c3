"""Four overlapping runs over the same accounts with four workers: every day is billed once, by one of them.

The same storm without account locks and exclusion must bill days twice: otherwise it would prove nothing.
"""

import os
import subprocess
import sys
import time

from config import local_services
from invoicing.bill_run.verify import audit
from invoicing.models import BillRun
from tests.benchmarks import load, servers
from tests.chaos import world

ACCOUNTS = 1_000 if world.SHORT else 3_000
RUNS = WORKERS = 4
CHUNK_ACCOUNTS = "100" if world.SHORT else "250"

# Both of them, for each alone still refuses what the other lets pass; the plain index keeps the run as fast as it was.
_WITHOUT_EXCLUSION = (
    "ALTER TABLE invoicing_coverage DROP CONSTRAINT i1_no_overlap",
    "DROP INDEX i1_covered_through",
    "CREATE INDEX chaos_covered_through ON invoicing_coverage (charge_id, upper(period))",
)


def storm(*, locks: bool) -> dict[str, object]:
    """Let the runs overlap and return what they did."""
    runs = [world.new_run() for _ in range(RUNS)]
    command = [sys.executable, "-m", "tests.benchmarks.child", "tests.chaos.storm_worker"]
    environment = {**os.environ, "CHAOS_WITHOUT_LOCKS": str(int(not locks))}
    workers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=local_services.BASE_DIR,
        )
        for _ in range(WORKERS)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    started = time.monotonic()
    for number, worker in enumerate(workers):
        # Each begins with another run, so that all four meet the same accounts at the same time.
        order = [runs[(number + step) % RUNS].pk for step in range(RUNS)]
        assert worker.stdin is not None
        worker.stdin.write(" ".join(map(str, order)) + "\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=120)
    statuses = sorted(BillRun.objects.filter(pk__in=[run.pk for run in runs]).values_list("status", flat=True))
    ((billed_by,),) = world.query("SELECT count(DISTINCT bill_run_id) FROM invoicing_invoice")
    return {
        "overlaps": world.query(world.OVERLAPS)[0][0],
        "bills": world.bills(),
        "statuses": statuses,
        "runs_that_billed": billed_by,
        "violations": sorted(violation.check for violation in audit()),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    """Storm with all guards, with the exclusion alone, and with none."""
    os.environ["BILL_RUN_CHUNK_ACCOUNTS"] = CHUNK_ACCOUNTS
    with world.World(workers=0, beat=False) as installation:
        with servers.superuser() as admin:
            load.fill(admin, accounts=ACCOUNTS)
            expected = world.undisturbed()
            guarded = storm(locks=True)
            load.forget_bills(admin)
            unlocked = storm(locks=False)
            load.forget_bills(admin)
            _drop_exclusion()
            unguarded = storm(locks=False)
        del installation
        everything_once = guarded["bills"] == expected and guarded["overlaps"] == 0 and not guarded["violations"]
        exclusion_holds = unlocked["bills"] == expected and unlocked["overlaps"] == 0
        control_fails = bool(unguarded["overlaps"]) and "i1_overlap" in str(unguarded["violations"])
        for found in (guarded, unlocked, unguarded):
            found["lines"] = found.pop("bills").lines  # type: ignore[attr-defined]
        world.report(
            "storm",
            {
                "accounts": ACCOUNTS,
                "runs": RUNS,
                "workers": WORKERS,
                "expected_lines": expected.lines,
                "guarded": guarded,
                "without_locks": unlocked,
                "without_locks_and_exclusion": unguarded,
            },
            passed=everything_once and exclusion_holds and control_fails,
        )


def _drop_exclusion() -> None:
    """Remove the guards against overlaps, which only the owner of the tables can do."""
    with servers.owner() as owner:
        for statement in _WITHOUT_EXCLUSION:
            owner.execute(statement)
