"""Bill run: `ratio` is the speed of the whole run, click to Completed, against PostgreSQL's limit, a bare COPY of its very rows.

1.0 would mean that finding, pricing, claiming, explaining and auditing cost nothing. The COPY writes the same invoices,
items, coverage and outcome rows into the same tables, indexes, keys and guards, as the same role, in the same
chunks; rounds alternate. `times_naive` compares with an ORM loop over the same accounts (a sample), `growth` is the time
for ten times the accounts, `peak_mb` the memory of a worker above its idle state. `ratio_cpu` compares processor time
instead of time passed, which other work on the machine disturbs less.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.conf import settings

from accounts.models import Account, BillingBatch
from invoicing.bill_run import run as bill_run
from invoicing.models import BillRun, BillRunScope, BillRunStatus
from tests.benchmarks import load, naive, rows
from tests.benchmarks.measure import emit, median, processor_seconds, say, scaled
from tests.benchmarks.servers import superuser

ACCOUNTS = scaled(100_000, least=2_000)
NAIVE_ACCOUNTS = scaled(1_000, least=50)
ROUNDS = 3
TARGETS = {
    "ratio": (">=", 0.60),
    "ratio_two_workers": (">=", 1.2),
    "times_naive": (">=", 100.0),
    "growth": ("<=", 10.5),
    "peak_mb": ("<=", 60.0),
}


@contextlib.contextmanager
def workers(count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start worker processes and wait until they are ready."""
    command = [sys.executable, "-m", "tests.benchmarks.child", "tests.benchmarks.worker"]
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(count)
        ]
        for worker in found:
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError("A worker did not start.")
        yield found
        for worker in found:
            assert worker.stdin is not None
            worker.stdin.close()


def new_run(**fields: Any) -> BillRun:
    """Create a run over the synthetic accounts."""
    return bill_run.create(target_date=load.TARGET_DATE, invoice_date=load.INVOICE_DATE, **fields)


def timed_run(found: list[subprocess.Popen[str]], run: BillRun) -> tuple[float, list[dict[str, float]]]:
    """Let the workers take the run to its end; return the seconds and each worker's figures."""
    started = time.perf_counter()
    for worker in found:
        assert worker.stdin is not None
        worker.stdin.write(f"{run.pk}\n")
        worker.stdin.flush()
    figures = [json.loads(worker.stdout.readline()) for worker in found if worker.stdout is not None]
    seconds = time.perf_counter() - started
    run.refresh_from_db()
    if run.status != BillRunStatus.COMPLETED or run.accounts_failed or run.invoice_count == 0:
        raise RuntimeError(f"The run ended as {run.status}: {run.error}")
    return seconds, figures


def main() -> None:
    """Fill, measure in alternating rounds, print."""
    with superuser() as admin, psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as app:
        say(f"bill_run: filling {ACCOUNTS:,} accounts")
        load.fill(admin, accounts=ACCOUNTS)
        one, two, copies, peaks, small, cpu_ratios = [], [], [], [], [], []
        figures: dict[str, object] = {}
        for number in range(1, ROUNDS + 1):
            say(f"bill_run: round {number} of {ROUNDS}")
            load.forget_bills(admin)
            run = new_run()
            with workers(1) as found:
                seconds, reports = timed_run(found, run)
            one.append(seconds)
            cpu = sum(report["cpu_seconds"] for report in reports)
            peaks.append(max(report["peak_mib"] - report["idle_mib"] for report in reports))
            chunks = rows.take(admin, run.pk)
            figures = size_figures(admin, run) | phase_figures(admin, run)
            load.forget_bills(admin)
            busy = processor_seconds(app.info.backend_pid)
            copies.append(rows.put(app, chunks))
            cpu_ratios.append((processor_seconds(app.info.backend_pid) - busy) / cpu)
            load.forget_bills(admin)
            with workers(2) as found:
                two.append(timed_run(found, new_run())[0])
            load.forget_bills(admin)
            batch = BillingBatch.objects.get(code=load.TENTH)
            with workers(1) as found:
                small.append(timed_run(found, new_run(scope=BillRunScope.BATCHES, batches=[batch]))[0])
            say(
                f"  run {one[-1]:.1f} s, copy {copies[-1]:.1f} s, two workers {two[-1]:.1f} s, a tenth {small[-1]:.1f} s"
            )
        naive_seconds = naive_round(admin)
    per_second = ACCOUNTS / median(one)
    emit(
        "bill_run",
        {
            "unit": "of bare COPY",
            "ratio": median(copy / run for copy, run in zip(copies, one, strict=True)),
            "ratio_two_workers": median(copy / run for copy, run in zip(copies, two, strict=True)),
            "ratio_cpu": median(cpu_ratios),
            "times_naive": per_second * naive_seconds / NAIVE_ACCOUNTS,
            "times_naive_two_workers": ACCOUNTS / median(two) * naive_seconds / NAIVE_ACCOUNTS,
            "growth": median(one) / median(small),
            "peak_mb": max(peaks),
            "invoices_per_s": per_second,
            "seconds": median(one),
            "copy_seconds": median(copies),
            "accounts": ACCOUNTS,
            **figures,
        },
        TARGETS,
    )


def naive_round(admin: psycopg.Connection) -> float:
    """Return the seconds that the ORM loop takes for its sample."""
    load.forget_bills(admin)
    account_ids = list(Account.objects.order_by("pk").values_list("pk", flat=True)[:NAIVE_ACCOUNTS])
    run = new_run()
    started = time.perf_counter()
    if naive.bill(run, account_ids) != NAIVE_ACCOUNTS:
        raise RuntimeError("The naive loop did not bill every account.")
    return time.perf_counter() - started


def phase_figures(admin: psycopg.Connection, run: BillRun) -> dict[str, object]:
    """Return the seconds before the first and after the last chunk: what a COPY does not do at all."""
    row = admin.execute(
        "SELECT extract(epoch FROM min(c.claimed_at) - r.started_at), extract(epoch FROM r.finished_at - max(c.finished_at))"
        " FROM invoicing_billrun r JOIN invoicing_billrunchunk c ON c.run_id = r.id WHERE r.id = %s GROUP BY r.id",
        [run.pk],
    ).fetchone()
    assert row is not None
    return {"work_list_seconds": float(row[0]), "audit_seconds": float(row[1])}


def size_figures(admin: psycopg.Connection, run: BillRun) -> dict[str, object]:
    """Return how many lines the run wrote and how many bytes of explanation each carries."""
    row = admin.execute(
        "SELECT count(*), avg(octet_length(i.derivation::text)), avg(pg_column_size(i.derivation))"
        " FROM invoicing_invoiceitem i JOIN invoicing_invoice v ON v.id = i.invoice_id WHERE v.bill_run_id = %s",
        [run.pk],
    ).fetchone()
    assert row is not None
    return {
        "lines": row[0],
        "derivation_bytes": float(row[1]),
        "derivation_stored_bytes": float(row[2]),
        "chunk_accounts": settings.BILL_RUN_CHUNK_ACCOUNTS,
    }
