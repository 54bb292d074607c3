"""Bill runs in the operator site: list, object page, data fixes, and their places in sidebar and palette."""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import display, register
from django.db.models import F, Func, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin import KeptAsWritten, batch_choices
from accounts.clock import business_today, business_zone
from accounts.csv_export import ROWS_PER_FETCH, csv_download
from accounts.list_filters import Chip
from accounts.operator_admin import OperatorAdmin, site
from accounts.templatetags.ui import icon
from accounts.wording import NOTHING
from invoicing.bill_run.due import next_slot
from invoicing.dashboard import TO_REVIEW, WITH_ERRORS
from invoicing.models import BillRun, BillRunAccount, BillRunChunk, BillRunSchedule, BillRunStatus
from invoicing.run_figures import ACTIVE, displayed_runs, scope_in_words, totals_of
from invoicing.views import bill_runs as views
from invoicing.views import new_bill_run
from invoicing.views.bill_run_page import money_of, page_context, took
from invoicing.views.dashboard import dashboard, usage_waiting, work_waiting
from invoicing.views.usage import may_see_usage


@register(BillRun, site=site)
class BillRunAdmin(OperatorAdmin):
    """Bill runs: asked for on their own page; as a record only the name may be changed by hand."""

    object_page = True
    object_template = "invoicing/billrun/object.html"
    object_tabs = (
        ("", "Summary"),
        ("invoices", "Invoices"),
        ("errors", "Errors"),
        ("settings", "Settings"),
        ("timeline", "History"),  # “history” is Django's page of changes by hand
    )
    list_display = (
        "marked_number",
        "status",
        "accounts_in_words",
        "target_date",
        "shown_accounts",
        "shown_invoices",
        "shown_totals",
        "shown_duration",
        "created_by",
    )
    ordering = ("-id",)
    search_fields = ("number__startswith", "name__istartswith")
    search_placeholder = "Number or name"
    tabs = (
        ("All", {}),
        ("Processing", {"status__in": ",".join(ACTIVE)}),
        ("To review", TO_REVIEW),
        ("Posted", {"status__exact": "Posted"}),
        ("Errors", WITH_ERRORS),
        ("Canceled", {"status__exact": "Canceled"}),
    )
    chip_filters = (
        Chip("batches__id__exact", "Batch", choices=batch_choices),
        Chip("target_date", "Target date", kind="date"),
        Chip("has_errors__exact", "With errors", choices=(("1", "Yes"), ("0", "No"))),
    )
    add_label = "New bill run"
    add_url_name = "admin:invoicing_billrun_new"
    empty_text = "No bill runs yet. A bill run gathers what is due and makes draft invoices of it."
    readonly_fields = tuple(f.name for f in BillRun._meta.fields if f.name not in ("id", "name"))
    exclude = ("batches", "accounts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillRun]:
        """Return the runs with everything a line names."""
        return displayed_runs()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> BillRun | None:
        """Return the run with everything its page names."""
        return (
            displayed_runs().select_related("posted_by").filter(pk=object_id).first() if object_id.isdigit() else None
        )

    @display(description="Number", ordering="id")
    def marked_number(self, run: BillRun) -> SafeString | str:
        """Return the number, with a mark when accounts failed or the audit found something."""
        if not run.has_errors:
            return run.number
        return format_html('{} {}<span class="visually-hidden">with errors</span>', run.number, icon("alert"))

    @display(description="Accounts to bill")
    def accounts_in_words(self, run: BillRun) -> str:
        """Return the scope, below the run's name if it has one."""
        words = scope_in_words(run)
        return format_html('{}<span class="small">{}</span>', words, run.name) if run.name else words

    @display(description="Accounts", ordering="accounts_total")
    def shown_accounts(self, run: BillRun) -> int:
        """Return the number of accounts in scope."""
        return run.accounts_total

    @display(description="Invoices", ordering="invoice_count")
    def shown_invoices(self, run: BillRun) -> int | str:
        """Return the number of invoices; a working run has none yet."""
        return NOTHING if run.finished_at is None else run.invoice_count

    @display(description="Total")
    def shown_totals(self, run: BillRun) -> SafeString | str:
        """Return the totals, a currency a line."""
        return format_html_join("", "<div>{}</div>", ((text,) for text in money_of(run))) or NOTHING

    @display(description="Duration")
    def shown_duration(self, run: BillRun) -> str:
        """Return how long the run worked."""
        return took(run)

    shown_accounts.numeric = shown_invoices.numeric = shown_totals.numeric = shown_duration.numeric = True  # type: ignore[attr-defined]

    def object_context(self, request: HttpRequest, obj: BillRun, tab: str) -> dict[str, Any]:
        """Return what one tab of the object page needs."""
        return page_context(request, obj, tab)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where runs are asked for."""
        return HttpResponseRedirect(reverse("admin:invoicing_billrun_new"))

    def has_delete_permission(self, request: HttpRequest, obj: BillRun | None = None) -> bool:
        """Allow deletion of canceled runs alone; those that made invoices are kept by them."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.status == BillRunStatus.CANCELED)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the list as CSV with a column per currency, so that amounts stay plain numbers."""
        runs = self.get_changelist_instance(request).queryset
        currencies = sorted(
            runs.order_by()
            .annotate(code=Func(F("totals"), function="jsonb_object_keys"))
            .values_list("code", flat=True)
            .distinct()
        )
        header = ["number", "name", "status", "with_errors", "scope", "target_date", "invoice_date", "accounts", "accounts_billed",
                  "accounts_failed", "invoices", *(f"total_{code}" for code in currencies), "started_at", "finished_at", "posted_at", "created_by"]  # fmt: skip

        def rows() -> Iterator[list[Any]]:
            for run in runs.iterator(chunk_size=ROWS_PER_FETCH):
                totals = totals_of(run)
                yield [
                    run.number, run.name, run.status, run.has_errors, scope_in_words(run), run.target_date, run.invoice_date,
                    run.accounts_total, run.accounts_billed, run.accounts_failed, run.invoice_count,
                    *(totals.get(code) for code in currencies), run.started_at, run.finished_at, run.posted_at, run.created_by,
                ]  # fmt: skip

        return csv_download(header=header, rows=rows(), file_stem="bill-runs", day=business_today())


@register(BillRunChunk, site=site)
class BillRunChunkAdmin(KeptAsWritten):
    """The parts in which workers billed a run."""

    list_display = (
        "id",
        "run",
        "state",
        "accounts",
        "billed",
        "failed",
        "invoices",
        "attempts",
        "claimed_at",
        "finished_at",
    )
    list_select_related = ("run",)
    ordering = ("-id",)
    chip_filters = (Chip("run__number__exact", "Bill run", kind="text"), "state")


@register(BillRunAccount, site=site)
class BillRunAccountAdmin(KeptAsWritten):
    """What runs did for each account: the answer to “why was this account not billed?”."""

    list_display = ("account", "run", "outcome", "invoices", "items", "message", "hint")
    list_select_related = ("account", "run")
    ordering = ("-id",)
    search_fields = ("account__number__startswith", "account__name__startswith")
    search_placeholder = "Account number or name"
    chip_filters = (Chip("run__number__exact", "Bill run", kind="text"), "outcome")
    export_fields = (
        ("run", "run__number"),
        ("account", "account__number"),
        ("account_name", "account__name"),
        "outcome",
        "invoices",
        "items",
        "code",
        "message",
        "hint",
    )


@register(BillRunSchedule, site=site)
class BillRunScheduleAdmin(OperatorAdmin):
    """Bill runs that repeat; saving one plans its next slot."""

    data_fix = False
    list_display = (
        "name",
        "frequency",
        "hour",
        "starts_on",
        "ends_on",
        "active",
        "next_slot",
        "auto_post",
        "auto_email",
    )
    readonly_fields = ("next_slot",)
    empty_text = "No scheduled runs yet."

    def save_model(self, request: HttpRequest, obj: BillRunSchedule, form: Any, change: bool) -> None:
        """Save the schedule with the first slot that still lies ahead."""
        obj.next_slot = next_slot(obj, after=timezone.now(), zone=business_zone()) if obj.active else None
        super().save_model(request, obj, form, change)


_RUN = "invoicing/billrun/<int:pk>"

site.register_index(dashboard)
site.register_page("usage-waiting/", usage_waiting, "invoicing_usage_waiting", permission=may_see_usage)
site.register_page(
    "invoicing/billrun/new/", new_bill_run.new_bill_run, "invoicing_billrun_new", permission="invoicing.add_billrun"
)
site.register_page(
    "invoicing/billrun/new/preview/",
    new_bill_run.preview,
    "invoicing_billrun_preview",
    permission="invoicing.add_billrun",
)
site.register_page(
    "invoicing/billrun/new/accounts/",
    new_bill_run.account_choices,
    "invoicing_billrun_accounts",
    permission="invoicing.add_billrun",
)
site.register_page(
    f"{_RUN}/progress/", views.progress, "invoicing_billrun_progress", permission="invoicing.view_billrun"
)
site.register_page(f"{_RUN}/post/", views.post, "invoicing_billrun_post", permission="invoicing.post_billrun")
site.register_page(f"{_RUN}/cancel/", views.cancel, "invoicing_billrun_cancel", permission="invoicing.cancel_billrun")
site.register_page(f"{_RUN}/retry/", views.retry, "invoicing_billrun_retry", permission="invoicing.add_billrun")
site.register_page(f"{_RUN}/email/", views.email, "invoicing_billrun_email", permission="invoicing.email_invoice")
site.register_page(
    f"{_RUN}/outcomes/",
    views.outcomes,  # type: ignore[arg-type]  # streams, like every CSV
    "invoicing_billrun_outcomes",
    permission="invoicing.view_billrunaccount",
)

site.add_navigation("", "Dashboard", "admin:index", "dashboard", order=0)
site.add_navigation(
    "Billing",
    "Bill runs",
    "admin:invoicing_billrun_changelist",
    "run",
    "invoicing.view_billrun",
    work_waiting,
    order=10,
)
site.add_command("New bill run", "admin:invoicing_billrun_new", "invoicing.add_billrun")
site.add_search("Bill runs", views.find_bill_runs, "invoicing.view_billrun")
