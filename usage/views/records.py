"""Changing and removing a pending record; one that is Processed says so, and stays."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from usage.forms import RecordForm
from usage.models import UsageRecord
from usage.services import change_record, delete_record

PROCESSED = "This usage is Processed: it is on an invoice and cannot be changed."


@require_http_methods(["GET", "POST"])
@once
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a pending record's values, or save new ones."""
    record = _record(pk)
    if record.slice.rated_id is not None:
        return _refused(request, record, PROCESSED)
    form = RecordForm(request.POST) if request.method == "POST" else RecordForm.of(record)
    if form.is_bound and form.is_valid():
        try:
            changed = change_record(pk, form.change())
        except ValidationError as error:
            _show(form, error)
        else:
            LogEntry.objects.log_actions(_user_id(request), [changed], CHANGE, _what(record, changed))
            messages.success(request, "The record was changed.")
            return HttpResponseRedirect(_page(pk))
    context = {"title": "Change usage", "record": record, "form": form, "request_key": new_request_key()}
    response = site.render(request, "usage/usagerecord/change.html", context)
    response.status_code = 422 if form.errors else 200
    return response


def _show(form: RecordForm, error: ValidationError) -> None:
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for field, texts in error.message_dict.items():
        form.add_error(field if field in form.fields else None, texts)


def _what(before: UsageRecord, after: UsageRecord) -> str:
    """Return what was changed, for the history: “Quantity 12 → 13”."""
    names = {"quantity": "Quantity", "start_date": "Start date", "end_date": "End date", "description": "Description"}
    changes = [
        f"{label} {getattr(before, name) or '–'} → {getattr(after, name) or '–'}"
        for name, label in names.items()
        if getattr(before, name) != getattr(after, name)
    ]
    return ", ".join(changes) or "Nothing"


@require_http_methods(["GET", "POST"])
@once
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a pending record, after asking."""
    record = _record(pk)
    if record.slice.rated_id is not None:
        return _refused(request, record, f"{PROCESSED} Nothing was removed.")
    if request.method == "POST":
        try:
            delete_record(pk)
        except ValidationError as error:
            return _refused(request, record, " ".join(error.messages))
        LogEntry.objects.log_actions(_user_id(request), [record], DELETION, "Removed")
        messages.success(request, "The record was removed.")
        return HttpResponseRedirect(reverse("admin:usage_usagerecord_changelist"))
    context: dict[str, Any] = {
        "title": "Remove this usage?",
        "heading": "Remove this usage?",
        "text": "It has not been billed, and never will be once it is removed.",
        "verb": "Remove it",
        "keep": "Keep it",
        "danger": True,
        "action": request.path,
        "back_url": _page(pk),
        "hidden": [(FIELD, new_request_key())],
    }
    return site.render_dialog(request, "components/confirm.html", context)


def _record(pk: int) -> UsageRecord:
    return get_object_or_404(UsageRecord.objects.select_related("slice__account", "slice__charge"), pk=pk)


def _refused(request: HttpRequest, record: UsageRecord, text: str) -> HttpResponse:
    messages.error(request, text)
    return HttpResponseRedirect(_page(record.pk))


def _page(pk: int) -> str:
    return reverse("admin:usage_usagerecord_object", args=[pk])


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
