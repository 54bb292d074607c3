"""The installation under attack: PostgreSQL, broker, Celery workers and beat, with a supervisor that starts again what died."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg
import redis

from config import local_services
from invoicing.bill_run import run as bill_run
from invoicing.models import BillRun, BillRunStatus
from tests.benchmarks import load, servers

SHORT = os.environ.get("CHAOS_SHORT") == "1"

# What must be the same whatever happened: every line with its charge, days and amount, and every account's outcome.
_LINES = """
SELECT count(*), coalesce(md5(string_agg(format('%s %s %s', i.charge_id, i.period, i.amount), ',' ORDER BY i.charge_id, i.period)), '')
FROM invoicing_invoiceitem i JOIN invoicing_invoice v ON v.id = i.invoice_id WHERE v.status IN ('Draft', 'Posted')
"""
_TOTALS = (
    "SELECT currency, count(*), sum(total)::text FROM invoicing_invoice WHERE status IN ('Draft', 'Posted') GROUP BY 1"
)
OVERLAPS = """
SELECT count(*) FROM invoicing_coverage a JOIN invoicing_coverage b ON a.charge_id = b.charge_id AND a.id < b.id AND a.period && b.period
"""


class Bills(NamedTuple):
    """What the database says was billed, comparable between runs."""

    lines: int
    fingerprint: str
    totals: dict[str, tuple[int, str]]


class Supervised:
    """A process that is started again whenever it ends, as any process supervisor would."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command, self.log = command, log
        self.process: subprocess.Popen[bytes] | None = None

    def keep_alive(self) -> None:
        """Start it if it does not run."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as output:
                command = [*local_services.die_with_parent("KILL"), *self.command]
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=local_services.BASE_DIR
                )

    def kill(self) -> None:
        """Kill it without warning, its children with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class World:
    """The servers and processes of one attack."""

    def __init__(self, *, workers: int, beat: bool = True, seed: int = 1) -> None:
        self.folder = Path(os.environ["VAR_DIR"])
        self.random = random.Random(seed)
        self.postgres = contextlib.ExitStack()
        self.broker = contextlib.ExitStack()
        self.postgres_pid = self.broker_pid = 0
        logs = self.folder / "log"
        celery = [sys.executable, "-m", "celery", "-A", "tests.chaos.slow_worker", "-q"]
        worker = [*celery, "worker", "-Q", "billing", "--pool", "prefork", "-c", "2", "-l", "WARNING"]
        worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.workers = [
            Supervised([*worker, "-n", f"w{number}@chaos"], logs / f"worker-{number}.log") for number in range(workers)
        ]
        self.others = [Supervised([*celery, "beat", "--pidfile=", "-l", "WARNING"], logs / "beat.log")] if beat else []
        self.faults: dict[str, int] = {}

    def __enter__(self) -> "World":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = contextlib.ExitStack()
        self.lock.enter_context(local_services.exclusive(self.folder))
        self.start_postgres()
        self.start_broker()
        servers.fresh_database(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, *self.others]:
            process.kill()
        self.broker.close()
        self.postgres.close()
        self.lock.close()

    def start_postgres(self) -> None:
        """Start the database server; every commit waits for the disk."""
        self.postgres_pid = self.postgres.enter_context(
            local_services.postgres(self.folder, flags=servers.STEADY_FLAGS)
        )

    def start_broker(self) -> None:
        """Start an empty broker."""
        self.broker_pid = self.broker.enter_context(local_services.valkey(self.folder))

    def keep_alive(self) -> None:
        """Do what a process supervisor does."""
        for process in [*self.workers, *self.others]:
            process.keep_alive()

    def wait_for_workers(self, *, seconds: float = 60) -> None:
        """Return when every worker has its pool processes."""
        deadline = time.monotonic() + seconds
        while any(len(self._pool(worker)) < 2 for worker in self.workers):
            if time.monotonic() > deadline:
                raise RuntimeError("The workers did not start; see the logs.")
            self.keep_alive()
            time.sleep(0.1)

    def _pool(self, worker: Supervised) -> list[psutil.Process]:
        if worker.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(worker.process.pid).children()
        return []

    # --- Faults -------------------------------------------------------------------------------------------------------

    def kill_child(self) -> None:
        """Kill -9 one pool process of some worker."""
        pools = [child for worker in self.workers for child in self._pool(worker)]
        if pools:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.random.choice(pools).kill()

    def kill_worker(self) -> None:
        """Kill -9 a whole worker; its pool processes follow."""
        self.random.choice(self.workers).kill()

    def kill_broker(self) -> None:
        """Kill -9 the broker with all its messages; it is back after a moment."""
        os.kill(self.broker_pid, signal.SIGKILL)
        self.broker.close()
        time.sleep(1)
        self.start_broker()

    def flush_broker(self) -> None:
        """Throw every message away."""
        redis.Redis(unix_socket_path=str(local_services.socket_folder(self.folder) / "broker.sock")).flushall()

    def crash_postgres(self) -> None:
        """Stop PostgreSQL at once, as a crash would; it recovers on its next start."""
        os.kill(self.postgres_pid, signal.SIGQUIT)
        self.postgres.close()
        time.sleep(0.5)
        self.start_postgres()

    def inflict(self, fault: str) -> None:
        """Cause a fault by its name and count it."""
        actions: dict[str, Callable[[], None]] = {
            "child": self.kill_child,
            "worker": self.kill_worker,
            "broker": self.kill_broker,
            "flush": self.flush_broker,
            "postgres": self.crash_postgres,
        }
        actions[fault]()
        self.faults[fault] = self.faults.get(fault, 0) + 1


# --- What happened -----------------------------------------------------------------------------------------------------


def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return rows from the database, on a new connection as the superuser, waiting for a server that restarts."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(os.environ["TEST_SUPERUSER_DATABASE_URL"]) as connection:
                return connection.execute(statement, values or None).fetchall()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def bills() -> Bills:
    """Return what is billed now."""
    lines, fingerprint = query(_LINES)[0]
    return Bills(lines, fingerprint, {currency: (count, total) for currency, count, total in query(_TOTALS)})


def new_run() -> BillRun:
    """Create a run over all synthetic accounts."""
    return bill_run.create(target_date=load.TARGET_DATE, invoice_date=load.INVOICE_DATE)


def undisturbed() -> Bills:
    """Bill everything in this process without any fault, note what was billed, and forget it."""
    run = new_run()
    while bill_run.advance(run.pk, seconds=60):
        pass
    run.refresh_from_db()
    if run.status != BillRunStatus.COMPLETED or run.accounts_failed:
        raise RuntimeError(f"The undisturbed run ended as {run.status}: {run.error}")
    billed = bills()
    with servers.superuser() as admin:
        load.forget_bills(admin)
    return billed


def progress(run_id: int) -> tuple[str, int, int]:
    """Return the run's status, its finished and its open chunks."""
    ((status, done, waiting),) = query(
        "SELECT r.status, count(*) FILTER (WHERE c.state = 'Done'), count(*) FILTER (WHERE c.state = 'Pending')"
        " FROM invoicing_billrun r LEFT JOIN invoicing_billrunchunk c ON c.run_id = r.id WHERE r.id = %s GROUP BY 1",
        run_id,
    )
    return status, done, waiting


def endured(world: World, run_id: int, faults: list[str], *, patience: float, deadline: float) -> Iterator[str]:
    """Spread the faults over the run, supervise it to its end, and yield each fault's name after it happened.

    A fault comes when its share of the chunks is done, or after `patience` seconds without. Raises RuntimeError when
    the run ends before the last fault, or does not end `deadline` seconds after it.
    """
    for number, fault in enumerate(faults, 1):
        latest = time.monotonic() + patience
        while time.monotonic() < latest:
            world.keep_alive()
            status, done, waiting = progress(run_id)
            if status not in (BillRunStatus.PENDING, BillRunStatus.PROCESSING):
                raise RuntimeError(f"The run ended as {status} after {number - 1} of {len(faults)} faults: too fast.")
            if done + waiting and done / (done + waiting) >= number / (len(faults) + 2):
                break
            time.sleep(0.05)
        world.inflict(fault)
        yield fault
    latest = time.monotonic() + deadline
    while progress(run_id)[0] in (BillRunStatus.PENDING, BillRunStatus.PROCESSING):
        if time.monotonic() > latest:
            raise RuntimeError(f"The run did not finish in {deadline:.0f} s after the last fault: {progress(run_id)}")
        world.keep_alive()
        time.sleep(0.1)


def report(attack: str, fields: dict[str, object], *, passed: bool) -> None:
    """Print one JSON object; end the process with an error if the attack did harm."""
    sys.stdout.write(json.dumps({"attack": attack, "passed": passed, **fields}) + "\n")
    sys.stdout.flush()
    if not passed:
        sys.exit(1)
