"""Celery's entries for usage: shells around steps; what must happen is a row in PostgreSQL (D5)."""

import structlog
from celery import shared_task
from django.db import transaction
from kombu.exceptions import OperationalError as BrokerError

from usage.importing import advance, forget_files, waiting_imports

log = structlog.get_logger(__name__)


@shared_task(queue="usage")
def work_on_import(import_id: int) -> None:
    """Take an import's next step: check it, import it, or undo it."""
    advance(import_id)


@shared_task(queue="usage")
def sweep_imports() -> None:
    """Ring for every import that should be going on and is not (every 30 s)."""
    for import_id in waiting_imports():
        ring_import(import_id)
    forget_files()


def ring_import(import_id: int) -> None:
    """Wake a worker for an import once the current transaction has committed."""
    transaction.on_commit(lambda: _ring(import_id))


def _ring(import_id: int) -> None:
    try:
        work_on_import.delay(import_id)
    except (BrokerError, OSError) as error:
        # Nothing is lost: the sweeper rings for every row that waits.
        log.warning("broker.unreachable", task=work_on_import.name, error=str(error))
