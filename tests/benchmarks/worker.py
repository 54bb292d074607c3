"""A worker in a process of its own: says when it is ready, works on the runs it is told, reports its time and memory.

Talks over standard input and output, one line each: `ready`, then for every run number given one JSON object.
"""

import json
import sys
import time
from pathlib import Path

from django.db import connection

from invoicing import tasks
from invoicing.bill_run import run as bill_run
from tests.benchmarks.measure import memory_kib, processor_seconds


def forget_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _busy() -> float:
    """Return the processor time of this process and of the server process that serves it."""
    connection.ensure_connection()
    return time.process_time() + processor_seconds(connection.connection.info.backend_pid)


def main() -> None:
    """Serve until standard input ends."""
    assert tasks  # a Celery worker has it loaded, too
    connection.ensure_connection()
    idle = memory_kib("VmRSS")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        forget_peak()
        started, busy = time.perf_counter(), _busy()
        while bill_run.advance(int(line), seconds=tasks.WORK_SECONDS):
            pass
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": _busy() - busy,
            "idle_mib": idle / 1024,
            "peak_mib": memory_kib("VmHWM") / 1024,
        }
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
