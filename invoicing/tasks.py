"""Celery's entries: shells around steps. The broker only rings; what must happen is a row in PostgreSQL (D5)."""

import structlog
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from accounts.clock import business_zone
from accounts.idempotency import forget_old_requests
from invoicing.bill_run import run as bill_run
from invoicing.bill_run.due import stalled_runs
from invoicing.bill_run.verify import audit
from invoicing.delivery import mark_lost, send_due
from invoicing.documents import stored_document
from invoicing.models import Invoice

log = structlog.get_logger(__name__)

# A task ends well before any time limit and rings again, so that a lost worker never holds a message for long.
WORK_SECONDS = 60.0
MAILS_A_TASK = 200


@shared_task
def work(run_id: int) -> None:
    """Bill chunks of a run, then take its next step: finish, post, cancel or e-mail."""
    if bill_run.advance(run_id, seconds=WORK_SECONDS):
        ring_run(run_id, workers=1)
    ring_mail()


@shared_task
def send_mail() -> None:
    """Send queued e-mails."""
    if send_due(limit=MAILS_A_TASK) == MAILS_A_TASK:
        ring_mail()


@shared_task(queue="pdf")
def draw_pdf(invoice_id: int) -> None:
    """Draw and store the PDF of a posted invoice that is too long to be drawn while somebody waits."""
    stored_document(Invoice.objects.get(pk=invoice_id))


@shared_task
def audit_all() -> None:
    """Check every invariant over the whole database (nightly); what is found is logged as an error for each check."""
    for violation in audit():
        log.error("audit.violation", **violation._asdict())


@shared_task
def sweep() -> None:
    """Ring for everything that should be going on and is not; start what is due (every 30 s)."""
    started = bill_run.start_due_schedules(now=timezone.now(), zone=business_zone())
    for run_id in {*started, *stalled_runs(seconds=settings.BILL_RUN_SWEEP_SECONDS)}:
        ring_run(run_id)
    mark_lost()
    forget_old_requests()
    ring_mail()


def ring_run(run_id: int, *, workers: int | None = None) -> None:
    """Wake workers for a run once the current transaction has committed."""
    for _ in range(workers or settings.BILL_RUN_WORKERS):
        transaction.on_commit(lambda: _ring(work, run_id))


def ring_mail() -> None:
    """Wake the mail worker once the current transaction has committed."""
    transaction.on_commit(lambda: _ring(send_mail))


def ring_pdf(invoice_id: int) -> None:
    """Have the PDF of a posted invoice drawn in the background."""
    transaction.on_commit(lambda: _ring(draw_pdf, invoice_id))


def _ring(task, *arguments: int) -> None:  # type: ignore[no-untyped-def]
    try:
        task.delay(*arguments)
    except (BrokerError, OSError) as error:
        # Nothing is lost: the sweeper rings for every row that waits.
        log.warning("broker.unreachable", task=task.name, error=str(error))
