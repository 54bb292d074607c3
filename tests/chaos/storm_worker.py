"""A worker of the storm: takes every run it is told as far as it goes, with or without the account locks.

Talks over standard input and output: `ready`, then one line of run numbers in, `done` out.
"""

import os
import sys
import time
from typing import Any
from unittest import mock

from invoicing.bill_run import run as bill_run
from invoicing.bill_run import write
from invoicing.models import BillRun, BillRunStatus

MOST_SECONDS = 60.0


def _unlocked(chunk_id: int) -> None:
    """Stand in for the account locks."""


def _late(step: Any) -> Any:
    def late_step(*args: Any, **kwargs: Any) -> Any:
        # Between knowing what is due and writing it, where runs could get in each other's way.
        time.sleep(0.05)
        return step(*args, **kwargs)

    return late_step


def main() -> None:
    """Work on the given runs until all of them have ended."""
    if os.environ.get("CHAOS_WITHOUT_LOCKS") == "1":
        mock.patch.object(bill_run, "lock_accounts", _unlocked).start()
    mock.patch.object(bill_run, "write_drafts", _late(write.write_drafts)).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    run_ids = [int(word) for word in sys.stdin.readline().split()]
    deadline = time.monotonic() + MOST_SECONDS
    open_states = [BillRunStatus.PENDING, BillRunStatus.PROCESSING]
    while BillRun.objects.filter(pk__in=run_ids, status__in=open_states).exists() and time.monotonic() < deadline:
        for run_id in run_ids:
            # A short while each, so that all runs are under way at the same time.
            bill_run.advance(run_id, seconds=0.01)
    sys.stdout.write("done\n")
    sys.stdout.flush()
