"""Log lines: one JSON object each in production, plain text in the demo, always with the request's or task's id."""

import re
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, Processor, WrappedLogger

# Without the values of local variables, which may be somebody's password, token or address.
TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
EMAIL_ADDRESS = re.compile(r"([\w.+-])[\w.+-]*@([\w-]+(?:\.[\w-]+)+)")


def mask_email_addresses(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Shorten every mail address in the event to its first letter and its domain."""
    for key, value in event.items():
        if isinstance(value, str) and "@" in value:
            event[key] = EMAIL_ADDRESS.sub(r"\1…@\2", value)
    return event


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def configure_structlog() -> None:
    """Send structlog's events through the standard library, where one formatter serves ours and third parties' lines."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logging_config(*, log_format: str, level: str, quiet_requests: bool) -> dict[str, Any]:
    """Return Django's LOGGING: everything to stderr, as `json` or `console`; `quiet_requests` leaves out ordinary requests."""
    is_json = log_format == "json"
    last: list[Processor] = (
        [TRACEBACKS, mask_email_addresses, structlog.processors.JSONRenderer()]
        if is_json
        else [structlog.processors.format_exc_info, mask_email_addresses, structlog.dev.ConsoleRenderer(colors=False)]
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_shared_processors(), structlog.stdlib.ExtraAdder()],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    }
    quiet = {"level": "WARNING" if quiet_requests else level}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django brings handlers of its own; the root's is enough.
            "django": {"handlers": [], "propagate": True, "level": level},
            "django.server": {"handlers": [], "propagate": True, "level": "WARNING"},
            "django_structlog": quiet,
            "celery": quiet,
            "axes": {"level": "WARNING"},
            "fontTools": {"level": "WARNING"},
            "weasyprint": {"level": "ERROR"},
        },
    }
