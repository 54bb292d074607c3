"""What every measurement shares: its size, medians over rounds, and the one line it prints."""

import json
import os
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

# 1 is the full size; 0.1 gives a quick look.
SCALE = float(os.environ.get("BENCH_SCALE", "1"))


def scaled(size: int, *, least: int = 1) -> int:
    """Return `size` shrunk by BENCH_SCALE."""
    return max(least, round(size * SCALE))


def median(values: Iterable[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process on this machine has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(field: str) -> int:
    """Return a figure of this process from the kernel, in KiB: VmRSS is now, VmHWM the highest since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise LookupError(field)


def emit(bench: str, fields: dict[str, object], targets: dict[str, tuple[str, float]]) -> None:
    """Print one JSON object: the figures, the target of each that has one, and whether all are met.

    A target is `(">=" or "<=", bound)`. A missed target is a finding, not an error.
    """
    missed = [
        name
        for name, (relation, bound) in targets.items()
        if (fields[name] < bound if relation == ">=" else fields[name] > bound)  # type: ignore[operator]
    ]
    line = {"bench": bench, **{name: _short(value) for name, value in fields.items()}}
    line |= {"target": {name: f"{relation} {bound:g}" for name, (relation, bound) in targets.items()}}
    line |= {"met": not missed, "missed": missed, "scale": SCALE}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell a person at the terminal how far it is; the figures alone go to standard output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
