"""The background workers' application: `celery -A config.celery worker`."""

import ctypes
import os
import signal
import sys
from typing import Any

from celery import Celery, signals
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("tallyrun")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Carries the request's id into the log lines of the tasks it started.
app.steps["worker"].add(DjangoStructLogInitStep)

PR_SET_PDEATHSIG = 1


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave logging as the settings made it: a receiver's presence stops Celery from setting up its own."""


@signals.worker_process_init.connect
def die_with_the_worker(**_: Any) -> None:
    """Make a pool process end when its worker is killed, so that its database locks are free at once."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
