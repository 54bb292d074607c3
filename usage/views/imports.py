"""Importing usage in the browser: upload, check, import, undo; what is wrong in a file, and where."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.clock import business_today
from accounts.csv_export import csv_response
from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import number
from usage import services
from usage.files import template_csv
from usage.forms import UploadForm
from usage.models import UsageImport, UsageImportStatus, UsageSlice
from usage.services import confirm_import, discard_import, undo_import

ERRORS_SHOWN = 100
BUSY = {
    UsageImportStatus.UPLOADED: "Waiting for a worker",
    UsageImportStatus.CHECKING: "Checking every row",
    UsageImportStatus.IMPORTING: "Importing",
    UsageImportStatus.UNDOING: "Removing its usage",
}
ERROR_COLUMNS = (
    ("line", "line"),
    ("column", "column"),
    ("value", "value"),
    ("code", "code"),
    ("message", "message"),
)


class Step(NamedTuple):
    """A step on the way from a file to usage: done, current or still to come."""

    label: str
    is_current: bool
    is_done: bool


def steps(status: str) -> list[Step]:
    """Return the three steps as they stand for an import of this status; "" is the page that asks for a file."""
    at = {
        "": 0,
        UsageImportStatus.UPLOADED: 1,
        UsageImportStatus.CHECKING: 1,
        UsageImportStatus.CHECKED: 1,
        UsageImportStatus.IMPORTING: 2,
    }.get(status, 3)
    labels = ("1 Upload", "2 Check", "3 Import")
    return [Step(label, place == at, place < at) for place, label in enumerate(labels)]


@require_http_methods(["GET", "POST"])
@once
def upload(request: HttpRequest) -> HttpResponse:
    """Ask for a file; keep it and have it checked."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        sent = form.cleaned_data["file"]
        try:
            found = services.upload_file(chunks=sent.chunks(), file_name=sent.name, user_id=_user_id(request))
        except ValidationError as error:
            form.add_error("file", error.message_dict["file"])
        else:
            LogEntry.objects.log_actions(_user_id(request), [found], ADDITION, "Uploaded")
            return HttpResponseRedirect(found.get_absolute_url())
    context = {"title": "Import usage", "form": form, "request_key": new_request_key(), "steps": steps("")}
    response = site.render(request, "usage/usageimport/new.html", context)
    response.status_code = 422 if form.errors else 200
    return response


@require_GET
def template(request: HttpRequest) -> HttpResponse:
    """Download a file with the header and example rows."""
    response = HttpResponse(template_csv(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="usage-template.csv"'
    return response


def page_context(request: HttpRequest, found: UsageImport) -> dict[str, Any]:
    """Return what the page of one import shows."""
    errors = found.errors.all()[: ERRORS_SHOWN + 1]
    shown = list(errors) if found.bad_rows else []
    processed, pending = _records(found)
    return {
        "usage_import": found,
        "steps": steps(found.status),
        "quantities": [(unit, Decimal(total)) for unit, total in found.quantities.items()],
        "errors": shown[:ERRORS_SHOWN],
        "has_more_errors": len(shown) > ERRORS_SHOWN,
        "processed": processed,
        "pending": pending,
        "may_import": request.user.has_perm("usage.import_usage"),
        **_busy(found),
    }


def _busy(found: UsageImport) -> dict[str, Any]:
    words = BUSY.get(UsageImportStatus(found.status), "")
    percent = min(99, found.bytes_done * 100 // found.size) if found.size else 0
    is_measured = found.status == UsageImportStatus.CHECKING
    return {"busy": words, "percent": percent if is_measured else None}


def _records(found: UsageImport) -> tuple[int, int]:
    """Return how many records of an import are Processed, and how many are Pending."""
    sums = UsageSlice.objects.filter(usage_import=found).aggregate(
        processed=Sum("records", filter=Q(rated__isnull=False), default=0),
        pending=Sum("records", filter=Q(rated__isnull=True), default=0),
    )
    return sums["processed"], sums["pending"]


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer the page's question how far an import is; once its step has ended, have the page show the result."""
    found = get_object_or_404(UsageImport, pk=pk)
    if not is_fragment_request(request):
        return HttpResponseRedirect(found.get_absolute_url())
    is_over = found.status != request.GET.get("status", "") and not _busy(found)["busy"]
    context = {"usage_import": found, "is_over": is_over, **_busy(found)}
    return site.render(request, "usage/usageimport/_live.html", context)


@require_GET
def errors(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream every bad cell of an import as CSV."""
    found = get_object_or_404(UsageImport, pk=pk)
    return csv_response(
        queryset=found.errors.all(), columns=ERROR_COLUMNS, file_stem=f"usage-import-{pk}-errors", day=business_today()
    )


@require_http_methods(["GET", "POST"])
@once
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Import the good rows of a checked file, after asking when bad ones are left out."""
    found = get_object_or_404(UsageImport, pk=pk)
    if request.method == "POST":
        return _done(
            request, found, "Asked to import", lambda: confirm_import(found, leave_bad_rows_out=bool(found.bad_rows))
        )
    facts = [("Rows to import", number(found.good_rows)), *_left_out(found)]
    text = "The rows become usage records, waiting to be billed. Until they are, the import can be undone."
    context = {
        "heading": "Import this file?",
        "text": text,
        "facts": facts,
        "verb": import_verb(found),
        "keep": "Not now",
    }
    return _dialog(request, found, context)


def _left_out(found: UsageImport) -> Iterator[tuple[str, str]]:
    if found.bad_rows:
        yield "Bad rows, left out", number(found.bad_rows)


def import_verb(found: UsageImport) -> str:
    """Return the words of the button: “Import 1,198 rows, leave out 3”."""
    rows = f"{number(found.good_rows)} {'row' if found.good_rows == 1 else 'rows'}"
    return f"Import {rows}, leave out {number(found.bad_rows)}" if found.bad_rows else f"Import {rows}"


@require_http_methods(["GET", "POST"])
@once
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Drop an uploaded file, after asking; nothing was imported of it."""
    found = get_object_or_404(UsageImport, pk=pk)
    if request.method == "POST":
        return _done(request, found, "Discarded", lambda: discard_import(found))
    text = "Nothing was imported of it. Correct the file and upload it again."
    context = {"heading": "Discard this upload?", "text": text, "verb": "Discard it", "keep": "Keep it", "danger": True}
    return _dialog(request, found, context)


@require_http_methods(["GET", "POST"])
@once
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove all usage of an import, after asking, while none of it is Processed."""
    found = get_object_or_404(UsageImport, pk=pk)
    if request.method == "POST":
        return _done(request, found, "Asked to undo the import", lambda: undo_import(found))
    processed, pending = _records(found)
    if processed:
        messages.error(request, f"{number(processed)} of its records are Processed, so the import stays.")
        return HttpResponseRedirect(found.get_absolute_url())
    context = {
        "heading": "Undo this import?",
        "text": "Its usage records are removed, as if the file had never been uploaded. None of them has been billed.",
        "facts": [("Records to remove", number(pending))],
        "verb": f"Remove {number(pending)} {'record' if pending == 1 else 'records'}",
        "keep": "Keep them",
        "danger": True,
    }
    return _dialog(request, found, context)


def _dialog(request: HttpRequest, found: UsageImport, context: dict[str, Any]) -> HttpResponse:
    shared = {
        "title": context["heading"],
        "action": request.path,
        "back_url": found.get_absolute_url(),
        "hidden": [(FIELD, new_request_key())],
    }
    return site.render_dialog(request, "components/confirm.html", {**shared, **context})


def _done(request: HttpRequest, found: UsageImport, logged: str, act: Any) -> HttpResponse:
    """Do what was asked and return to the import, with the reason if it was refused."""
    try:
        act()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        LogEntry.objects.log_actions(_user_id(request), [found], CHANGE, logged)
    return HttpResponseRedirect(reverse("admin:usage_usageimport_object", args=[found.pk]))


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
