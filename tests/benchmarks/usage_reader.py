"""Reads a usage file in a process of its own and says how long it took and what memory it needed at most."""

import json
import sys
import time
from pathlib import Path

from tests.benchmarks.measure import memory_kib
from usage.duplicates import find_duplicates
from usage.files import open_usage_file
from usage.intake import Intake
from usage.models import UsageImport


def main(path: str, what: str) -> None:
    """Check the rows of a file, or look for duplicates among its keys; print the figures."""
    number = UsageImport.objects.create(source="File", file_name=path[-255:]).pk
    idle, began = memory_kib("VmRSS") / 1024, time.perf_counter()
    with Path(path).open("rb") as stream, open_usage_file(stream, name=path) as file:
        if what == "check":
            intake = Intake(number, columns=file.columns, write=False)
            intake.take(file.rows)
            rows = intake.rows
        else:
            rows = sum(1 for _ in find_duplicates(file.rows, columns=file.columns))
    figures = {
        "rows": rows,
        "seconds": time.perf_counter() - began,
        "peak_mib": memory_kib("VmHWM") / 1024,
        "idle_mib": idle,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
