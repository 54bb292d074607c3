"""Usage imports in the operator site: their history, the page of one, and the way to a new one."""

from typing import Any

from django.contrib.admin import display, register
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from accounts.admin import KeptAsWritten
from accounts.list_filters import Chip
from accounts.operator_admin import site
from usage.models import UsageImport, UsageImportError
from usage.views import imports as views


@register(UsageImport, site=site)
class UsageImportAdmin(KeptAsWritten):
    """Uploads of usage; each leads to its page, where it is imported, discarded or undone."""

    object_page = True
    object_template = "usage/usageimport/object.html"
    list_display = (
        "shown_name",
        "status",
        "source",
        "rows",
        "good_rows",
        "bad_rows",
        "first_day",
        "last_day",
        "created_by",
        "created_at",
    )
    list_select_related = ("created_by",)
    ordering = ("-id",)
    search_fields = ("file_name__istartswith",)
    search_placeholder = "File name"
    tabs = (
        ("All", {}),
        ("To import", {"status__exact": "Checked"}),
        ("Imported", {"status__exact": "Imported"}),
        ("Failed", {"status__exact": "Failed"}),
        ("Undone", {"status__exact": "Undone"}),
    )
    chip_filters = ("source", Chip("created_at", "Uploaded", kind="date"))
    export_fields = (
        "id", "file_name", "source", "status", "size", "sha256", "rows", "good_rows", "bad_rows", "first_day", "last_day",
        ("created_by", "created_by__username"), "created_at", "finished_at", "error",
    )  # fmt: skip
    add_label = "Import usage"
    add_url_name = "admin:usage_usageimport_new"
    empty_text = "No usage has been imported yet. Upload a CSV file or an Excel workbook, or send records to the API."
    noun, nouns = "usage import", "usage imports"

    @display(description="File", ordering="id")
    def shown_name(self, found: UsageImport) -> str:
        """Return the file's name; calls of the API have none."""
        return str(found)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let those import who may; the page that asks for a file is not the admin's form."""
        return request.user.has_perm("usage.import_usage")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where files are uploaded."""
        return HttpResponseRedirect(reverse("admin:usage_usageimport_new"))

    def object_context(self, request: HttpRequest, obj: UsageImport, tab: str) -> dict[str, Any]:
        """Return what the page of an import shows."""
        return {**views.page_context(request, obj), "import_verb": views.import_verb(obj)}


@register(UsageImportError, site=site)
class UsageImportErrorAdmin(KeptAsWritten):
    """What was wrong in uploaded files."""

    list_display = ("usage_import", "line", "column", "value", "message")
    list_select_related = ("usage_import",)
    ordering = ("-id",)
    chip_filters = (Chip("usage_import__id__exact", "Import", kind="text"),)


_IMPORT = "usage/usageimport/<int:pk>"
_MAY = "usage.import_usage"
site.register_page("usage/usageimport/new/", views.upload, "usage_usageimport_new", permission=_MAY)
site.register_page("usage/usageimport/template/", views.template, "usage_usageimport_template", permission=_MAY)
site.register_page(
    f"{_IMPORT}/progress/", views.progress, "usage_usageimport_progress", permission="usage.view_usageimport"
)
site.register_page(
    f"{_IMPORT}/errors/",
    views.errors,  # type: ignore[arg-type]  # streams, like every CSV
    "usage_usageimport_errors",
    permission="usage.view_usageimport",
)
site.register_page(f"{_IMPORT}/import/", views.confirm, "usage_usageimport_confirm", permission=_MAY)
site.register_page(f"{_IMPORT}/discard/", views.discard, "usage_usageimport_discard", permission=_MAY)
site.register_page(f"{_IMPORT}/undo/", views.undo, "usage_usageimport_undo", permission=_MAY)
site.add_command("Import usage", "admin:usage_usageimport_new", _MAY)
