"""Turns a database guard's refusal into a sentence for the person who made the change."""

from functools import lru_cache

from django.apps import apps
from django.db import DatabaseError, DataError, IntegrityError, InternalError

# Errors with which guards refuse; anything else (a lost connection, a deadlock) stays an error page.
REFUSALS: tuple[type[DatabaseError], ...] = (IntegrityError, InternalError, DataError)

_SENTENCES = {
    "foreign_key": "Other records still refer to this one.",
    "unique": "Another record already has this value.",
    "not_null": "A required value is missing.",
    "exclusion": "It overlaps a record that already exists.",
    "check": "The values do not fit together.",
    "range": "A number or date is outside the range that can be stored.",
}
_KIND_BY_SQLSTATE = {"23503": "foreign_key", "23001": "foreign_key", "23505": "unique", "23502": "not_null"}
_KIND_BY_SQLSTATE |= {"23P01": "exclusion", "23514": "check", "22003": "range", "22008": "range", "22001": "range"}


@lru_cache(maxsize=1)
def _constraint_messages() -> dict[str, str]:
    """Return the message of every model constraint that was given one, by constraint name."""
    return {
        constraint.name: str(constraint.violation_error_message)
        for model in apps.get_models()
        for constraint in model._meta.constraints
        if constraint.violation_error_message
        and constraint.violation_error_message != constraint.default_violation_error_message
    }


def explain_refusal(error: DatabaseError) -> str:
    """Return what the database refused and why, in words, ending with what was not changed."""
    cause = error.__cause__
    diagnostics = getattr(cause, "diag", None)
    constraint = getattr(diagnostics, "constraint_name", None) or ""
    message = getattr(diagnostics, "message_primary", None) or ""
    kind = _KIND_BY_SQLSTATE.get(getattr(cause, "sqlstate", None) or "", "check")
    if constraint:
        reason = _constraint_messages().get(constraint, _SENTENCES[kind])
        reason = f"{reason.rstrip('.')} (rule {constraint})."
    elif kind != "check" or not message:
        reason = _SENTENCES[kind]
    else:
        # Triggers speak in whole sentences of their own.
        reason = f"{message.removeprefix('pgtrigger: ').rstrip('.')}."
    hint = getattr(diagnostics, "message_hint", None)
    return f"{reason} {hint + ' ' if hint else ''}Nothing was changed."
