"""Takes the next step of a usage import in a process of its own, and reports its time and memory."""

import json
import sys
import time

from django.db import connection

from tests.benchmarks.measure import memory_kib
from tests.benchmarks.worker import forget_peak
from usage.importing import advance


def main(import_id: str) -> None:
    """Take the step, and print one JSON object."""
    connection.ensure_connection()
    forget_peak()
    started = time.perf_counter()
    advance(int(import_id))
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mib": memory_kib("VmHWM") / 1024}))
