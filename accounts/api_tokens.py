"""API tokens: what a program signs in with, which scopes it was given, and how often it has asked this minute."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import connection, models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.guards import refusal

SECRET_BYTES = 32
# Says whose secret it is, so that people and scanners recognize one that strayed into a log or a repository.
MARK = "tally_"
PREFIX_LENGTH = len(MARK) + 8
WINDOW = timedelta(minutes=1)
SINGLE_LINE = RegexValidator(r"^[^\x00-\x1f\x7f]*\Z", "Line breaks and control characters are not allowed here.")


class Scope(models.TextChoices):
    ACCOUNTS_READ = "accounts:read", "Read accounts"
    SUBSCRIPTIONS_READ = "subscriptions:read", "Read subscriptions and their charges"
    INVOICES_READ = "invoices:read", "Read invoices and their lines"
    BILL_RUNS_READ = "bill_runs:read", "Read bill runs"
    USAGE_READ = "usage:read", "Read usage"
    USAGE_WRITE = "usage:write", "Send usage"


class ApiToken(models.Model):
    """Lets one program use the API within its scopes; the token itself is known to its owner alone.

    `last_used_at` is the start of the latest minute in which it was used, and `requests` counts that minute's
    requests: one statement finds the token, counts and notes its use.
    """

    name = models.CharField(
        max_length=80, validators=[SINGLE_LINE], help_text="Which program uses it, for example Metering gateway."
    )
    prefix = models.CharField(max_length=20, db_index=True, help_text="The token begins with it.")
    key_hash = models.CharField(max_length=64)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is revoked.")
    last_used_at = models.DateTimeField(null=True, blank=True)
    requests = models.PositiveIntegerField(default=0, db_default=0)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "API token"
        constraints = [
            models.UniqueConstraint(fields=["key_hash"], name="token_hash_once"),
            models.CheckConstraint(name="token_hash_is_sha256", condition=Q(key_hash__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(
                name="token_scopes_known",
                condition=Q(scopes__contained_by=Scope.values) & Q(scopes__len__gte=1),
                violation_error_message="A token needs at least one of the known scopes.",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="token_stays_as_issued",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at"
                    " OR (OLD.key_hash, OLD.prefix, OLD.scopes) IS DISTINCT FROM (NEW.key_hash, NEW.prefix, NEW.scopes)"
                    " OR NEW.expires_at IS DISTINCT FROM OLD.expires_at"
                ),
                func=refusal(
                    "Token % stays as it was issued: it can be revoked once, not changed or revived; issue a new one",
                    "OLD.prefix",
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def get_absolute_url(self) -> str:
        return reverse("admin:accounts_apitoken_object", args=[self.pk])

    @property
    def state(self) -> str:
        """Return Active, Expired or Revoked."""
        if self.revoked_at is not None:
            return "Revoked"
        return "Expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "Active"


class Caller(NamedTuple):
    """Who makes a request to the API: a valid token, with its requests of this minute including this one."""

    token_id: int
    name: str
    scopes: frozenset[str]
    requests: int
    minute_ends: datetime


def new_secret() -> str:
    """Return a token: 32 random bytes in letters, after a mark that says what it is."""
    return MARK + secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> str:
    """Return the SHA-256 by which a token is stored and found; 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


# One statement, so that requests that come at once are all counted; the trigger lets these two columns change.
_COUNTED = """
UPDATE accounts_apitoken SET
    requests = CASE WHEN last_used_at > %(window_start)s THEN least(requests, 2000000000) + 1 ELSE 1 END,
    last_used_at = CASE WHEN last_used_at > %(window_start)s THEN last_used_at ELSE %(now)s END
WHERE key_hash = %(key_hash)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %(now)s)
RETURNING id, name, scopes, requests, last_used_at
"""


def caller_of(secret: str) -> Caller | None:
    """Count a request by this token and return who makes it; None if the token is unknown, expired or revoked."""
    now = timezone.now()
    values: dict[str, Any] = {"key_hash": hash_of(secret), "now": now, "window_start": now - WINDOW}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, values)
        row = cursor.fetchone()
    if row is None:
        return None
    token_id, name, scopes, requests, window_start = row
    return Caller(token_id, name, frozenset(scopes), requests, window_start + WINDOW)
