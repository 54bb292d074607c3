"""Forms of the data-fix side: a required reason, a check that nobody else changed the record, the database's refusal."""

import json
from hashlib import sha256
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.models import LogEntry
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

REASON_FIELD = "fix_reason"
SEEN_FIELD = "fix_seen"
VALUE_LENGTH = 200
SECRETS = ("password", "token", "secret", "key_hash")


def state_digest(instance: Model) -> str:
    """Return a short digest of a record's stored values, to notice that it changed meanwhile."""
    values = [(field.attname, getattr(instance, field.attname)) for field in instance._meta.concrete_fields]
    return sha256(json.dumps(values, cls=DjangoJSONEncoder, default=str).encode()).hexdigest()[:16]


class GuardedForm(forms.ModelForm):
    """A form that shows, as its own error, what a database guard refused on the first attempt to save."""

    guard_refusal: ClassVar[str] = ""

    def clean(self) -> dict[str, Any] | None:
        """Add the guard's refusal to the form's errors."""
        cleaned = super().clean()
        if self.guard_refusal:
            self.add_error(None, self.guard_refusal)
        return cleaned


class DataFixForm(GuardedForm):
    """The form of a data fix: it asks for a reason and refuses to overwrite what somebody else changed meanwhile."""

    own_fields: ClassVar[tuple[str, str]] = (REASON_FIELD, SEEN_FIELD)

    fix_reason = forms.CharField(
        label="Reason",
        max_length=500,
        strip=True,
        help_text="Why the record itself has to be changed. It is kept in the record's history.",
        error_messages={"required": "Write down why this record is changed by hand."},
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )
    fix_seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored_state = state_digest(self.instance)
        self.initial[SEEN_FIELD] = self._stored_state

    def clean(self) -> dict[str, Any] | None:
        """Refuse a form that was opened on an older state of the record."""
        cleaned = super().clean()
        seen = self.cleaned_data.get(SEEN_FIELD)
        if seen and seen != self._stored_state:
            self.add_error(
                None, "Somebody changed this record after you opened it. Open it again and repeat your change."
            )
        return cleaned


def change_values(form: forms.ModelForm) -> dict[str, list[str]]:
    """Return the changed fields' values before and after as short texts; secrets are left out."""
    return {
        name: [_text(form.initial.get(name)), _text(form.cleaned_data.get(name))]
        for name in form.changed_data
        if name in form.cleaned_data and not any(word in name for word in SECRETS)
    }


def _text(value: Any) -> str:
    shown = value.pk if isinstance(value, Model) else value
    return "" if shown is None else str(shown)[:VALUE_LENGTH]


def fix_details(entry: LogEntry) -> dict[str, Any]:
    """Return a log entry's reason and changed values: {"reason": …, "values": {field: [before, after]}}."""
    try:
        parts = json.loads(entry.change_message or "[]")
    except json.JSONDecodeError:
        return {}
    return next((part for part in parts if isinstance(part, dict) and "reason" in part), {})
