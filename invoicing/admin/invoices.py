"""Pages of invoices: the list, the invoice with its PDF and explanations, deliveries and documents."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import display, register
from django.contrib.admin.models import LogEntry
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin import KeptAsWritten, batch_choices
from accounts.clock import business_today
from accounts.list_filters import Chip
from accounts.models import Account
from accounts.operator_admin import site
from accounts.templatetags.ui import icon
from invoicing.documents import DRAFT_LINES, drawing_weight, invoice_lines
from invoicing.explained import explained
from invoicing.explanation import proration_note
from invoicing.models import (
    Coverage,
    DeliveryState,
    Invoice,
    InvoiceDelivery,
    InvoiceDocument,
    InvoicedTotal,
    InvoiceItem,
    InvoiceStatus,
)
from invoicing.usage_detail import extents
from invoicing.views import accounts as account_views
from invoicing.views import invoices as views
from invoicing.views import order_preview as order_preview_views
from invoicing.views import subscriptions as subscription_views
from invoicing.views import usage as usage_views
from invoicing.views import usage_so_far as usage_so_far_views

LINES_A_PAGE = 25
SEARCHED_ACCOUNTS = 1_000


@register(Invoice, site=site)
class InvoiceAdmin(KeptAsWritten):
    """Invoices: drafts to review, posted ones to look up; neither is edited by hand."""

    object_page = True
    object_template = "invoicing/invoice/object.html"
    object_tabs = (("", "Lines"), ("emails", "E-mails"), ("timeline", "History"))
    list_display = ("shown_number", "account", "status", "invoice_date", "due_date", "total", "balance", "mailed")
    list_select_related = ("account",)
    search_fields = ("number__startswith", "account__name__startswith", "account__number__startswith")
    search_placeholder = "Invoice, account or name begins with"
    tabs = (
        ("All", {}),
        ("Draft", {"status__exact": "Draft"}),
        ("Posted", {"status__exact": "Posted"}),
        ("Past due", {"status__exact": "Posted", "due_date__lt": business_today, "balance__gt": "0"}),
        ("Generating", {"status__exact": "Generating"}),
        ("Canceled", {"status__exact": "Canceled"}),
    )
    chip_filters = (
        Chip("account__batch__id__exact", "Batch", choices=batch_choices),
        Chip("bill_run__number__exact", "Bill run", kind="text"),
        Chip("currency__exact", "Currency", kind="text"),
        Chip("invoice_date", "Invoice date", kind="date"),
        Chip("total", "Total", kind="amount"),
    )
    money_fields = ("total", "balance")
    export_fields = (
        ("number", "number"),
        ("reference", "reference"),
        ("account", "account__number"),
        ("account_name", "account__name"),
        "status",
        "invoice_date",
        "due_date",
        "currency",
        "net",
        "tax",
        "total",
        "balance",
        ("bill_run", "bill_run__number"),
    )
    empty_text = "No invoices yet. A bill run makes them."
    empty_action = ("New bill run", "admin:invoicing_billrun_new", "invoicing.add_billrun")

    @display(description="Number", ordering="id")
    def shown_number(self, invoice: Invoice) -> str:
        """Return the number, or the draft's reference until there is one."""
        return str(invoice)

    @display(description="E-mailed")
    def mailed(self, invoice: Any) -> str:
        """Return a mark when the invoice was sent."""
        return format_html('{}<span class="visually-hidden">sent</span>', icon("mail")) if invoice.is_sent else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        """Return the invoices, each with whether it was e-mailed."""
        sent = InvoiceDelivery.objects.filter(invoice=OuterRef("pk"), state=DeliveryState.SENT)
        return Invoice.objects.annotate(is_sent=Exists(sent)).order_by("-id")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search by number, draft reference, or account; accounts first, since a condition over two tables reads all."""
        term = search_term.strip()
        if not term:
            return queryset, False
        named = Account.objects.filter(Q(number__startswith=term) | Q(name__startswith=term)).order_by()
        wanted = Q(number__startswith=term) | Q(
            account__in=list(named.values_list("pk", flat=True)[:SEARCHED_ACCOUNTS])
        )
        if term.upper().startswith("DRAFT-") and term[6:].isdigit():
            wanted |= Q(pk=int(term[6:]))
        return queryset.filter(wanted), False

    def object_context(self, request: HttpRequest, obj: Invoice, tab: str) -> dict[str, Any]:
        """Return the lines with their calculation, or what another tab shows."""
        context: dict[str, Any] = {"invoice": obj, "line_count": obj.items.count(), **_permissions(request, obj)}
        context["has_pdf"] = obj.status != InvoiceStatus.GENERATING
        is_long = obj.status == InvoiceStatus.POSTED and drawing_weight(obj, context["line_count"]) > DRAFT_LINES
        # A stored one is there at once, whatever its length.
        context["pdf_waits"] = is_long and not InvoiceDocument.objects.filter(invoice=obj).exists()
        if tab == "emails":
            context["deliveries"] = obj.deliveries.select_related("requested_by").order_by("-id")[:50]
        elif tab == "timeline":
            logged = LogEntry.objects.filter(content_type__app_label="invoicing", content_type__model="invoice")
            context["entries"] = logged.filter(object_id=str(obj.pk)).select_related("user")[:50]
        else:
            context |= _lines(obj, context["line_count"], after=request.GET.get("after", ""))
        return context

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Invoice | None:
        """Return the invoice with everything its page names."""
        related = ("account", "bill_run", "bill_to", "payment_term", "posted_by", "subscription")
        return Invoice.objects.select_related(*related).filter(pk=object_id).first() if object_id.isdigit() else None


def _permissions(request: HttpRequest, invoice: Invoice) -> dict[str, bool]:
    draft, posted = invoice.status == InvoiceStatus.DRAFT, invoice.status == InvoiceStatus.POSTED
    return {
        "may_post": draft and request.user.has_perm("invoicing.post_invoice"),
        "may_cancel": draft and request.user.has_perm("invoicing.cancel_invoice"),
        "may_email": posted and request.user.has_perm("invoicing.email_invoice"),
    }


def _lines(invoice: Invoice, count: int, *, after: str) -> dict[str, Any]:
    """Return one page of lines, each with the steps of its calculation, and where the pages before and after begin."""
    start = min(int(after[:9]), max(0, count - 1)) if after.isdigit() else 0
    found = list(invoice_lines(invoice)[start : start + LINES_A_PAGE])
    # A posted invoice tells the same as its PDF, which speaks from what was frozen.
    versions = (invoice.snapshot or {}).get("price_versions")
    explanations = explained(found, currency=invoice.currency, versions=versions)
    rated = {item.rated_usage_id for item in found if item.rated_usage_id is not None}
    usage = extents(rated) if rated else {}
    lines = [
        (item, each, proration_note(item), usage.get(item.rated_usage_id or 0))
        for item, each in zip(found, explanations, strict=True)
    ]
    following = start + len(lines)
    return {
        "lines": lines,
        "first_line": start + 1,
        "last_line": following,
        "next_after": following if following < count else None,
        "previous_after": max(0, start - LINES_A_PAGE) if start else None,
    }


@register(InvoiceItem, site=site)
class InvoiceItemAdmin(KeptAsWritten):
    """Invoice lines as records."""

    noun, nouns = "invoice line", "invoice lines"
    list_display = ("id", "invoice", "kind", "description", "period", "amount")
    list_select_related = ("invoice",)
    search_fields = ("invoice__number__startswith",)
    money_fields = ("amount",)
    currency_path = "invoice__currency"

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: InvoiceItem | None = None,
    ) -> Any:
        """Show how the amount came about in words, beside the values that they are made from."""
        if obj is not None:
            invoice = obj.invoice
            versions = (invoice.snapshot or {}).get("price_versions")
            (context["explanation"],) = explained([obj], currency=invoice.currency, versions=versions)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> InvoiceItem | None:
        """Return the line with everything that naming and explaining it needs."""
        related = ("invoice", "charge", "credits", "reduces")
        return (
            InvoiceItem.objects.select_related(*related).filter(pk=object_id).first() if object_id.isdigit() else None
        )


@register(Coverage, site=site)
class CoverageAdmin(KeptAsWritten):
    """Which days of charges are billed."""

    list_display = ("charge", "period", "kind", "item")
    list_select_related = ("charge", "item")
    search_fields = ("charge__number__startswith",)


@register(InvoicedTotal, site=site)
class InvoicedTotalAdmin(KeptAsWritten):
    """What each posting added to the invoiced total of a month."""

    list_display = ("month", "currency", "invoices", "total")
    search_fields = ("currency",)
    money_fields = ("total",)


@register(InvoiceDocument, site=site)
class InvoiceDocumentAdmin(KeptAsWritten):
    """Stored PDFs with their hash."""

    list_display = ("invoice", "sha256", "pages", "created_at")
    list_select_related = ("invoice",)
    exclude = ("content",)
    export_fields = (("invoice", "invoice__number"), "sha256", "pages", "created_at")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the bytes where they are."""
        return super().get_queryset(request).defer("content")


@register(InvoiceDelivery, site=site)
class InvoiceDeliveryAdmin(KeptAsWritten):
    """E-mails: queued, sent, failed or unknown."""

    list_display = ("invoice", "recipients", "state", "attempts", "requested_at", "sent_at", "error")
    list_select_related = ("invoice",)
    search_fields = ("invoice__number__startswith",)
    tabs = (
        ("All", {}),
        ("Queued", {"state__exact": "Queued"}),
        ("Sent", {"state__exact": "Sent"}),
        ("Not sent", {"state__in": "Failed,Unknown"}),
    )


def find_invoices(query: str, _user: Any) -> Iterable[tuple[str, str]]:
    """Yield the invoices whose number begins with the query, for the palette."""
    wanted = Q(number__startswith=query.upper())
    if query.upper().startswith("DRAFT-") and query[6:].isdigit():
        wanted |= Q(pk=int(query[6:]))
    for invoice in Invoice.objects.filter(wanted).select_related("account").order_by("number")[:8]:
        yield f"{invoice} {invoice.account.name}", reverse("admin:invoicing_invoice_object", args=[invoice.pk])


site.register_page(
    "accounts/account/<int:pk>/next-invoice/",
    account_views.account_next_invoice,
    "invoicing_account_next",
    permission="invoicing.view_invoice",
)
site.register_page(
    "accounts/account/<int:pk>/usage-so-far/",
    usage_so_far_views.account_usage,
    "invoicing_account_usage",
    permission=usage_views.may_see_usage,
)
site.register_page(
    "billing/subscription/<int:pk>/usage-so-far/",
    usage_so_far_views.subscription_usage,
    "invoicing_subscription_usage",
    permission=usage_views.may_see_usage,
)
site.register_page(
    "billing/order/new/preview/",
    order_preview_views.order_preview,
    "invoicing_order_preview",
    permission="billing.add_order",
)
site.register_page(
    "billing/subscription/<int:pk>/next-charges/",
    subscription_views.subscription_next_charges,
    "invoicing_subscription_next",
    permission="invoicing.view_invoice",
)
site.register_page(
    "invoicing/invoice/<int:pk>/pdf",
    views.invoice_pdf,
    "invoicing_invoice_pdf",
    permission="invoicing.view_invoice",
    cacheable=True,
)
site.register_page(
    "invoicing/invoice/<int:pk>/post/",
    views.post_invoice,
    "invoicing_invoice_post",
    permission="invoicing.post_invoice",
)
site.register_page(
    "invoicing/invoice/<int:pk>/cancel/",
    views.cancel_invoice,
    "invoicing_invoice_cancel",
    permission="invoicing.cancel_invoice",
)
site.register_page(
    "invoicing/invoice/<int:pk>/email/",
    views.email_invoice,
    "invoicing_invoice_email",
    permission="invoicing.email_invoice",
)
site.register_page(
    "invoicing/invoiceitem/<int:pk>/usage/",
    usage_views.line_usage,
    "invoicing_line_usage",
    permission=usage_views.may_see_usage,
)
site.register_page(
    "invoicing/invoiceitem/<int:pk>/usage.csv",
    usage_views.line_usage_csv,
    "invoicing_line_usage_csv",
    permission=usage_views.may_see_usage,
)
site.add_search("Invoices", find_invoices, "invoicing.view_invoice")
site.add_navigation(
    "Billing", "Invoices", "admin:invoicing_invoice_changelist", "invoice", "invoicing.view_invoice", order=30
)
site.add_navigation(
    "Billing",
    "E-mails",
    "admin:invoicing_invoicedelivery_changelist",
    "mail",
    "invoicing.view_invoicedelivery",
    order=40,
)
