"""The product's Celery application with slower chunks, so that faults hit them while they are half written."""

import importlib
import os
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import django

from config.celery import app

django.setup()


def _slowly(step: Callable[..., Any]) -> Callable[..., Any]:
    pause = float(os.environ.get("CHAOS_CHUNK_SECONDS", "0")) / 2

    def slow_step(*args: Any, **kwargs: Any) -> Any:
        time.sleep(pause)
        result = step(*args, **kwargs)
        time.sleep(pause)
        return result

    return slow_step


# Its models can be imported only now. The pause lies inside the chunk's transaction, after the accounts are locked.
bill_run = importlib.import_module("invoicing.bill_run.run")
mock.patch.object(bill_run, "write_drafts", _slowly(bill_run.write_drafts)).start()

__all__ = ["app"]
