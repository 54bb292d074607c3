"""Pages of orders."""

from typing import Any

from django.contrib.admin import register
from django.http import HttpRequest

from accounts.operator_admin import OperatorAdmin, site
from billing.models import Order, OrderAction


@register(Order, site=site)
class OrderAdmin(OperatorAdmin):
    """Orders: what customers agreed to."""

    object_page = True
    object_template = "billing/order.html"
    list_display = ("number", "account", "order_date", "status", "description")
    list_select_related = ("account",)
    search_fields = ("number__startswith",)
    chip_filters = ("status",)
    export_fields = ("number", ("account", "account__number"), "order_date", "status", "description")
    readonly_fields = ("created_at", "created_by")
    empty_text = "No orders yet. An order creates the subscriptions of a customer."

    def object_context(self, request: HttpRequest, obj: Order, tab: str) -> dict[str, Any]:
        """Return the actions with the subscriptions they made."""
        return {"order": obj, "actions": obj.actions.select_related("subscription").order_by("position")[:100]}


@register(OrderAction, site=site)
class OrderActionAdmin(OperatorAdmin):
    """Steps of orders."""

    list_display = ("order", "position", "kind", "subscription", "effective_date", "delta_mrr")
    list_select_related = ("order__account", "subscription")
    search_fields = ("order__number__startswith",)
    money_fields = ("delta_mrr",)
    currency_path = "order__account__currency"


site.add_navigation("Customers", "Orders", "admin:billing_order_changelist", "order", "billing.view_order", order=20)
