"""Two probes without login: /healthz says that the process answers, /readyz that work gets done."""

import structlog
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError
from redis import RedisError

from config import celery

logger = structlog.get_logger(__name__)

# What Celery's layers and the client library under them raise when there is no connection.
BROKER_ERRORS = (OperationalError, RedisError, OSError)

# A run whose chunks neither began nor ended lately makes no progress, whatever its workers' processes look like.
STALLED_RUNS = """
    SELECT count(*) FROM (
        SELECT greatest(run.created_at, run.started_at, max(chunk.claimed_at), max(chunk.finished_at)) AS last_sign
        FROM invoicing_billrun run LEFT JOIN invoicing_billrunchunk chunk ON chunk.run_id = run.id
        WHERE run.status IN ('Pending', 'Processing') GROUP BY run.id
    ) AS active WHERE last_sign < now() - make_interval(secs => %s)
"""


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process can answer at all; touches neither database nor broker."""
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database, broker and bill runs are well, else 503 with the names of those that are not."""
    reasons = [*_database_reasons(), *_broker_reasons()]
    return JsonResponse({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


def _database_reasons() -> list[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('invoicing_billrunchunk') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return ["the database has no tables yet: run migrate"]
            cursor.execute(STALLED_RUNS, [settings.BILL_RUN_STALLED_SECONDS])
            stalled = cursor.fetchone()[0]
    except DatabaseError:
        logger.exception("readiness_database_failed")
        return ["the database does not answer"]
    return [f"{stalled} bill run(s) make no progress"] if stalled else []


def _broker_reasons() -> list[str]:
    try:
        with celery.app.connection_for_write(connect_timeout=2) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)
            broker.default_channel.client.ping()
    except BROKER_ERRORS:
        logger.warning("readiness_broker_failed")
        return ["the broker does not answer"]
    return []
