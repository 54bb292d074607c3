"""`manage.py check --deploy`: what Django cannot know about a safe installation of Tallyrun."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004

from config.database_roles import roles_are_separate


def check_deployment(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn of demo settings, of an application that owns its tables, and of an open broker."""
    found: list[CheckMessage] = []
    if settings.DEMO or settings.TEST:
        found.append(
            Warning(
                "The demo (or test) mode is on: no HTTPS, servers without passwords.",
                hint="Set DATABASE_URL and do not set TALLYRUN_DEMO or TALLYRUN_TEST.",
                id="tallyrun.W001",
            )
        )
    if not roles_are_separate():
        found.append(
            Warning(
                "The application owns its tables, so its guards could be switched off over its own connection.",
                hint="Give MIGRATE_DATABASE_URL the owner and DATABASE_URL another user; `migrate` grants what it needs.",
                id="tallyrun.W002",
            )
        )
    broker = urlsplit(settings.CELERY_BROKER_URL)
    if not broker.scheme.endswith("+socket") and not broker.password:
        found.append(
            Warning(
                "The broker asks for no password.",
                hint="Set a password on the Redis or Valkey server and put it into BROKER_URL.",
                id="tallyrun.W003",
            )
        )
    return found
