"""Usage records with the invoices that bill them: what usage itself cannot know."""

from typing import Any

from django.contrib.admin import display, register
from django.db.models import CharField, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.operator_admin import site
from accounts.wording import NOTHING
from invoicing.models import InvoiceItem
from usage.admin.records import UsageRecordAdmin
from usage.models import UsageRecord

site.unregister(UsageRecord)


@register(UsageRecord, site=site)
class BilledUsageRecordAdmin(UsageRecordAdmin):
    """Usage, and on which invoice it is."""

    list_display = (*UsageRecordAdmin.list_display, "shown_invoice")
    export_fields = (*UsageRecordAdmin.export_fields, ("invoice", "billed_by"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageRecord]:
        """Return the records with the invoice that bills each; `billed_by` is its number, or its reference while a draft."""
        return with_invoices(super().get_queryset(request))

    @display(description="Invoice")
    def shown_invoice(self, record: Any) -> SafeString | str:
        """Return a link to the invoice."""
        return invoice_link(record) or NOTHING

    def object_context(self, request: HttpRequest, obj: UsageRecord, tab: str) -> dict[str, Any]:
        """Return the record with its invoice."""
        return {**super().object_context(request, obj, tab), "invoice": invoice_link(obj)}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> UsageRecord | None:
        """Return the record with everything its page names."""
        return with_invoices(self.displayed()).filter(pk=object_id).first() if object_id.isdigit() else None


def with_invoices(records: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
    """Add to each record `invoice_id` and `billed_by` of the invoice that bills it; both None while it is pending."""
    items = InvoiceItem.objects.filter(rated_usage=OuterRef("slice__rated")).order_by()
    number = Coalesce(F("invoice__number"), F("invoice__reference"), output_field=CharField())
    return records.annotate(
        invoice_id=Subquery(items.values("invoice")[:1]),
        billed_by=Subquery(items.annotate(text=number).values("text")[:1]),
    )


def invoice_link(record: Any) -> SafeString | str:
    """Return a link to the invoice of a record that `with_invoices` has read; empty while it is pending."""
    if record.invoice_id is None:
        return ""
    url = reverse("admin:invoicing_invoice_object", args=[record.invoice_id])
    return format_html('<a href="{}">{}</a>', url, record.billed_by)
