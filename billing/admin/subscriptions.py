"""Pages of subscriptions with their plans, charges and price segments."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import register
from django.db.models import DateField, Func, Max, OuterRef, Subquery
from django.http import HttpRequest

from accounts.operator_admin import OperatorAdmin, site
from billing.models import ChargeSegment, ChargeSegmentTier, RatePlan, RatePlanCharge, Subscription


@register(Subscription, site=site)
class SubscriptionAdmin(OperatorAdmin):
    """Subscriptions: contracts that are billed."""

    object_page = True
    object_template = "billing/subscription.html"
    list_display = ("number", "account", "name", "status", "term_type", "contract_effective", "term_end")
    list_select_related = ("account",)
    search_fields = ("number__startswith",)
    chip_filters = ("status", "term_type")
    export_fields = (
        "number",
        ("account", "account__number"),
        "name",
        "status",
        "term_type",
        "contract_effective",
        "term_end",
    )
    readonly_fields = ("created_at",)
    empty_text = "No subscriptions yet. They are made by orders."

    def object_context(self, request: HttpRequest, obj: Subscription, tab: str) -> dict[str, Any]:
        """Return the charges with their segments and the day each is billed through."""
        billed = RatePlanCharge.objects.filter(pk=OuterRef("pk")).order_by().annotate(day=Max(Func("coverage__period", function="upper")))
        charges = obj.charges.select_related("rate_plan").prefetch_related("segments__tiers").order_by("number")
        billed_through = Subquery(billed.values("day")[:1], output_field=DateField())
        return {"subscription": obj, "charges": charges.annotate(billed_through=billed_through)[:100]}


@register(RatePlan, site=site)
class RatePlanAdmin(OperatorAdmin):
    """Rate plans of subscriptions."""

    list_display = ("name", "subscription")
    list_select_related = ("subscription",)
    search_fields = ("subscription__number__startswith",)


@register(RatePlanCharge, site=site)
class RatePlanChargeAdmin(OperatorAdmin):
    """Charges of subscriptions."""

    list_display = ("number", "name", "subscription", "charge_type", "charge_model", "billing_period", "trigger_date")
    list_select_related = ("subscription",)
    search_fields = ("number__startswith", "subscription__number__startswith")
    chip_filters = ("charge_type", "charge_model")


@register(ChargeSegment, site=site)
class ChargeSegmentAdmin(OperatorAdmin):
    """Price and quantity of charges over time."""

    list_display = ("charge", "number", "effective_start", "effective_end", "quantity", "price", "mrr")
    list_select_related = ("charge",)
    search_fields = ("charge__number__startswith",)
    money_fields = ("mrr",)
    currency_path = "charge__subscription__account__currency"


@register(ChargeSegmentTier, site=site)
class ChargeSegmentTierAdmin(OperatorAdmin):
    """Tiers of segments."""

    list_display = ("segment", "number", "up_to", "price", "price_format")
    list_select_related = ("segment__charge",)


def find_subscriptions(query: str, _user: Any) -> Iterable[tuple[str, str]]:
    """Yield the subscriptions whose number begins with the query, for the palette."""
    for subscription in (
        Subscription.objects.filter(number__startswith=query.upper()).select_related("account").order_by("number")[:8]
    ):
        yield f"{subscription.number} {subscription.account.name}", subscription.get_absolute_url()


site.add_search("Subscriptions", find_subscriptions, "billing.view_subscription")
site.add_navigation(
    "Customers",
    "Subscriptions",
    "admin:billing_subscription_changelist",
    "subscription",
    "billing.view_subscription",
    order=30,
)
