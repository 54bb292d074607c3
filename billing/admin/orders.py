"""Pages of orders."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import register
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from accounts.admin import ChoosesAccounts
from accounts.list_filters import Chip
from accounts.operator_admin import OperatorAdmin, site
from billing.models import Order, OrderAction, OrderStatus
from billing.order_words import told
from billing.views import orders as views

ACTIONS_SHOWN = 50


@register(Order, site=site)
class OrderAdmin(OperatorAdmin):
    """Orders: what customers agreed to; taken on a page of their own."""

    object_page = True
    object_template = "billing/order.html"
    list_display = ("number", "account", "order_date", "status", "description")
    list_select_related = ("account",)
    search_fields = ("number__startswith", "account__number__startswith", "account__name__startswith")
    search_placeholder = "Order number, account number or name begins with"
    chip_filters = ("status", Chip("order_date", "Order date", kind="date"))
    export_fields = ("number", ("account", "account__number"), "order_date", "status", "description")
    readonly_fields = ("number", "account", "status", "created_at", "created_by")
    fields = ("number", "account", "status", "order_date", "description", "created_at", "created_by")
    add_label = "New order"
    add_url_name = "admin:billing_order_new"
    empty_text = "No orders yet. An order creates the subscriptions of a customer."

    def object_context(self, request: HttpRequest, obj: Order, tab: str) -> dict[str, Any]:
        """Return the actions, what each changed in words, and the subscriptions they are about."""
        actions = obj.actions.select_related("subscription").order_by("position")[:ACTIONS_SHOWN]
        return {
            "order": obj,
            "actions": told(actions, obj.account.currency),
            "action_count": obj.actions.count(),
            # A completed run waits for a person; a completed order is done.
            "tone": "green" if obj.status == OrderStatus.COMPLETED else "",
        }

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Order | None:
        """Return the order with the account and the person its page names."""
        found = Order.objects.select_related("account", "created_by")
        return found.filter(pk=object_id).first() if object_id.isdigit() else None

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where orders are taken."""
        return HttpResponseRedirect(reverse(self.add_url_name))

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Keep completed orders: their subscriptions are billed, and bookings are counted from them."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.status != OrderStatus.COMPLETED)


class MadeByOrders(ChoosesAccounts):
    """Records that orders make: repaired here with a reason, never added or deleted by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: these records come about by orders."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what was billed refers to these records."""
        return False


@register(OrderAction, site=site)
class OrderActionAdmin(MadeByOrders):
    """Steps of orders."""

    list_display = ("order", "position", "kind", "subscription", "effective_date", "delta_mrr")
    list_select_related = ("order__account", "subscription")
    search_fields = ("order__number__startswith",)
    search_placeholder = "Order number begins with"
    money_fields = ("delta_mrr",)
    currency_path = "order__account__currency"
    readonly_fields = ("order", "position", "kind", "subscription")
    export_fields = (
        ("order", "order__number"),
        "position",
        "kind",
        ("subscription", "subscription__number"),
        "effective_date",
        "delta_mrr",
    )


def find_orders(query: str, _user: Any) -> Iterable[tuple[str, str]]:
    """Yield the orders whose number begins with the query, for the palette."""
    for order in (
        Order.objects.filter(number__startswith=query.upper()).select_related("account").order_by("number")[:8]
    ):
        yield f"{order.number} {order.account.name}", order.get_absolute_url()


site.register_page("billing/order/new/", views.new_order, "billing_order_new", permission="billing.add_order")
site.add_command("New order", "admin:billing_order_new", "billing.add_order")
site.add_search("Orders", find_orders, "billing.view_order")
site.add_navigation("Customers", "Orders", "admin:billing_order_changelist", "order", "billing.view_order", order=20)
