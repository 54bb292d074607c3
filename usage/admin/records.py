"""Usage records in the operator site: pending, processed and late ones, with what each belongs to."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import SimpleListFilter, display, register
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import KeptAsWritten
from accounts.list_filters import Chip
from accounts.models import Account
from accounts.operator_admin import site
from accounts.templatetags.ui import badge
from accounts.wording import number
from billing.models import RatePlanCharge
from usage.models import RatedUsage, UsageRecord, UsageSlice
from usage.queries import records_by_status
from usage.views import records as views

STATUSES = (("pending", "Pending process"), ("processed", "Processed"), ("late", "Late"))


class StatusFilter(SimpleListFilter):
    """Pending, processed or late: a record's status is its slice's."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        """Return the words of the address with those of the page."""
        return STATUSES

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        """Return the records of that status."""
        return records_by_status(queryset, self.value() or "")


@register(UsageRecord, site=site)
class UsageRecordAdmin(KeptAsWritten):
    """Usage: changed and removed on its own pages while it is pending."""

    object_page = True
    object_template = "usage/usagerecord/object.html"
    noun, nouns = "usage record", "usage records"
    list_display: tuple[Any, ...] = (
        "start_date",
        "shown_account",
        "shown_charge",
        "shown_quantity",
        "shown_status",
        "description",
        "shown_import",
    )
    list_select_related = ("slice__account", "slice__charge", "slice__usage_import")
    list_filter = (StatusFilter,)
    ordering = ("-id",)
    search_fields = ("unique_key",)
    search_placeholder = "Account, charge or unique key"
    tabs = (
        ("All", {}),
        ("Pending", {"status": "pending"}),
        ("Processed", {"status": "processed"}),
        ("Late", {"status": "late"}),
    )
    chip_filters = (
        Chip("start_date", "Start date", kind="date"),
        Chip("slice__account__number", "Account", kind="text"),
        Chip("slice__charge__number", "Charge", kind="text"),
        Chip("slice__charge__unit", "Unit", kind="text"),
        Chip("slice__usage_import", "Import", kind="text"),
    )
    export_fields: Sequence[Any] = (
        ("account", "slice__account__number"),
        ("uom", "slice__charge__unit"),
        ("qty", "quantity"),
        ("startdate", "start_date"),
        ("enddate", "end_date"),
        ("subscription", "slice__charge__subscription__number"),
        ("charge", "slice__charge__number"),
        "description",
        "unique_key",
        ("rated", "slice__rated"),
        ("import", "slice__usage_import"),
        "line",
    )
    empty_text = "No usage yet. Import a file, or send records to the API."

    def list_links(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Offer to import usage to those who may."""
        may = request.user.has_perm("usage.import_usage")
        return [("Import usage", reverse("admin:usage_usageimport_new"))] if may else []

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord], search_term: str
    ) -> tuple[QuerySet[UsageRecord], bool]:
        """Find by account, charge or unique key; whose they are is looked up first, by index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        accounts = list(Account.objects.filter(number=term).values_list("pk", flat=True))
        charges = list(RatePlanCharge.objects.filter(number=term).values_list("pk", flat=True))
        if accounts or charges:
            slices = UsageSlice.objects.filter(Q(account__in=accounts) | Q(charge__in=charges))
            return queryset.filter(slice__in=slices), False
        return queryset.filter(unique_key=term), False

    @display(description="Account")
    def shown_account(self, record: UsageRecord) -> SafeString:
        """Return the account that used it."""
        account = record.slice.account
        return format_html('{}<span class="small">{}</span>', account.name, account.number)

    @display(description="Charge")
    def shown_charge(self, record: UsageRecord) -> SafeString:
        """Return the charge that bills it."""
        charge = record.slice.charge
        return format_html('{}<span class="small">{}</span>', charge.name, charge.number)

    @display(description="Quantity", ordering="quantity")
    def shown_quantity(self, record: UsageRecord) -> str:
        """Return the quantity with its unit."""
        return f"{number(record.quantity)} {record.slice.charge.unit}"

    shown_quantity.numeric = True  # type: ignore[attr-defined]

    @display(description="Status")
    def shown_status(self, record: UsageRecord) -> SafeString:
        """Return Pending Process or Processed."""
        return status_badge(record)

    @display(description="Import")
    def shown_import(self, record: UsageRecord) -> str:
        """Return the file, or call of the API, that it came with."""
        return str(record.slice.usage_import)

    def object_context(self, request: HttpRequest, obj: UsageRecord, tab: str) -> dict[str, Any]:
        """Return the record with what it belongs to, and what may be done with it."""
        may = request.user.has_perm
        is_pending = obj.slice.rated_id is None
        return {
            "record": obj,
            "status": status_badge(obj),
            "is_pending": is_pending,
            "change_url": reverse("admin:usage_usagerecord_edit", args=[obj.pk])
            if is_pending and may("usage.change_usagerecord")
            else "",
            "delete_url": reverse("admin:usage_usagerecord_remove", args=[obj.pk])
            if is_pending and may("usage.delete_usagerecord")
            else "",
        }

    def displayed(self) -> QuerySet[UsageRecord]:
        """Return the records with everything that the page of one names."""
        return UsageRecord.objects.select_related(
            "slice__account", "slice__charge__subscription", "slice__usage_import", "slice__rated"
        )

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> UsageRecord | None:
        """Return the record with everything its page names."""
        return self.displayed().filter(pk=object_id).first() if object_id.isdigit() else None


def status_badge(record: UsageRecord) -> SafeString:
    """Return the seed's words for a record's status as a badge."""
    if record.slice.rated_id is None:
        return badge("Pending", label="Pending process")
    return badge("Processed")


@register(UsageSlice, site=site)
class UsageSliceAdmin(KeptAsWritten):
    """What is counted together: the records of one import, account, charge and period."""

    list_display = ("id", "usage_import", "account", "charge", "first_day", "last_day", "quantity", "records", "rated")
    list_select_related = ("usage_import", "account", "charge", "rated")
    ordering = ("-id",)
    chip_filters = (Chip("charge__number", "Charge", kind="text"), Chip("account__number", "Account", kind="text"))


@register(RatedUsage, site=site)
class RatedUsageAdmin(KeptAsWritten):
    """What has been rated, period after period, given back or not."""

    list_display = ("id", "charge", "kind", "period", "quantity", "amount", "is_live", "run", "created_at")
    list_select_related = ("charge",)
    ordering = ("-id",)
    chip_filters = (Chip("charge__number", "Charge", kind="text"), "kind", "is_live")


_RECORD = "usage/usagerecord/<int:pk>"
site.register_page(f"{_RECORD}/edit/", views.change, "usage_usagerecord_edit", permission="usage.change_usagerecord")
site.register_page(
    f"{_RECORD}/remove/", views.delete, "usage_usagerecord_remove", permission="usage.delete_usagerecord"
)
site.add_navigation(
    "Billing", "Usage", "admin:usage_usagerecord_changelist", "usage", "usage.view_usagerecord", order=60
)
site.add_navigation(
    "Billing", "Usage imports", "admin:usage_usageimport_changelist", "download", "usage.view_usageimport", order=61
)
