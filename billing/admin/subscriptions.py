"""Pages of subscriptions with their plans, charges and price segments."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.contrib.admin import register
from django.db.models import Count, Window
from django.http import HttpRequest
from django.urls import reverse

from accounts.clock import business_today
from accounts.list_filters import Chip
from accounts.operator_admin import OperatorAdmin, site
from billing.admin.orders import MadeByOrders
from billing.core.types import ChargeType
from billing.forms.orders import FORMS
from billing.forms.segments import SegmentForm
from billing.models import (
    ChargeSegment,
    ChargeSegmentTier,
    OrderAction,
    OrderActionType,
    RatePlan,
    RatePlanCharge,
    Subscription,
    SubscriptionStatus,
    SubscriptionTerm,
    TermType,
)
from billing.order_words import told
from billing.subscription_figures import billed_through, figures_of
from billing.subscription_timeline import drawing_of, segment_rows

CHARGES_SHOWN = 25
ACTIONS_SHOWN = 12


@register(Subscription, site=site)
class SubscriptionAdmin(MadeByOrders):
    """Subscriptions: contracts that are billed."""

    object_page = True
    object_template = "billing/subscription.html"
    list_display = ("number", "account", "name", "status", "term_type", "contract_effective", "term_end")
    list_select_related = ("account",)
    search_fields = ("number__startswith", "account__number__startswith", "account__name__startswith")
    search_placeholder = "Subscription number, account number or name begins with"
    chip_filters = ("status", "term_type", Chip("term_end", "Term ends", kind="date"))
    export_fields = (
        "number",
        ("account", "account__number"),
        ("invoice_owner", "invoice_owner__number"),
        "name",
        "status",
        "term_type",
        "contract_effective",
        "term_end",
    )
    readonly_fields = ("number", "account", "created_at")
    empty_text = "No subscriptions yet. They are made by orders."
    empty_action = ("New order", "admin:billing_order_new", "billing.add_order")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Subscription | None:
        """Return the subscription with the accounts its page names."""
        found = Subscription.objects.select_related("account", "invoice_owner")
        return found.filter(pk=object_id).first() if object_id.isdigit() else None

    def object_context(self, request: HttpRequest, obj: Subscription, tab: str) -> dict[str, Any]:
        """Return figures, time line, charges with their segments, and the orders that made all that."""
        today = business_today()
        charges = _charges(obj)
        terms = list(obj.terms.order_by("number"))
        actions = list(obj.order_actions.select_related("order__created_by").order_by("-id")[: ACTIONS_SHOWN + 1])
        paused_from = _paused_from(obj, actions)
        for charge in charges:
            charge.rows, charge.earlier_rows = segment_rows(charge, obj, paused_from=paused_from, today=today)
        return {
            "subscription": obj,
            "changes": _changes(obj),
            "charges": charges,
            "has_usage": any(charge.charge_type == ChargeType.USAGE for charge in charges),
            "charge_count": charges[0].all_charges if charges else 0,
            "term_last": obj.term_end and obj.term_end - timedelta(days=1),
            "figures": figures_of(obj, charges, today=today),
            "drawing": drawing_of(obj, charges, terms, paused_from=paused_from, today=today),
            "actions": told(actions[:ACTIONS_SHOWN], obj.account.currency, charges),
            "has_older_actions": len(actions) > ACTIONS_SHOWN,
        }


def _changes(subscription: Subscription) -> list[tuple[str, str]]:
    """Return the order actions that the subscription can take as it is, as a menu; those of a canceled one are none."""
    if subscription.status == SubscriptionStatus.CANCELED:
        return []
    kinds = ["update", "add", "remove", "renew", "suspend", "terms", "cancel"]
    if subscription.status == SubscriptionStatus.SUSPENDED:
        kinds[kinds.index("suspend")] = "resume"
    elif subscription.status != SubscriptionStatus.ACTIVE:
        kinds[kinds.index("suspend")] = "dates"
    if subscription.term_type == TermType.EVERGREEN:
        kinds.remove("renew")
    address = f"{reverse('admin:billing_order_new')}?subscription={subscription.pk}&kind="
    return [(FORMS[kind].title, f"{address}{kind}") for kind in kinds]


def _charges(subscription: Subscription) -> list[Any]:
    """Return the first charges, each with the end of what is billed, the last day of it, and how many there are."""
    found = subscription.charges.select_related("rate_plan").prefetch_related("segments__tiers").order_by("number")
    counted = found.annotate(billed_through=billed_through("pk"), all_charges=Window(Count("*")))
    charges: list[Any] = list(counted[:CHARGES_SHOWN])
    for charge in charges:
        through: date | None = charge.billed_through
        charge.billed_last = through and through - timedelta(days=1)
    return charges


def _paused_from(subscription: Subscription, actions: Iterable[OrderAction]) -> date | None:
    """Return since when a suspended subscription is suspended; `actions` are the latest ones, newest first."""
    if subscription.status != SubscriptionStatus.SUSPENDED:
        return None
    suspend = OrderActionType.SUSPEND
    known = next((action.effective_date for action in actions if action.kind == suspend), None)
    if known is not None:
        return known
    older = subscription.order_actions.filter(kind=suspend).order_by("-id")
    return older.values_list("effective_date", flat=True).first()


@register(RatePlan, site=site)
class RatePlanAdmin(MadeByOrders):
    """Rate plans of subscriptions."""

    list_display = ("name", "subscription")
    list_select_related = ("subscription",)
    search_fields = ("subscription__number__startswith",)
    search_placeholder = "Subscription number begins with"
    readonly_fields = ("subscription", "product_rate_plan")
    export_fields = ("name", ("subscription", "subscription__number"))


@register(RatePlanCharge, site=site)
class RatePlanChargeAdmin(MadeByOrders):
    """Charges of subscriptions."""

    noun, nouns = "charge", "charges"
    list_display = ("number", "name", "subscription", "charge_type", "charge_model", "billing_period", "trigger_date")
    list_select_related = ("subscription",)
    search_fields = ("number__startswith", "subscription__number__startswith")
    search_placeholder = "Charge or subscription number begins with"
    chip_filters = ("charge_type", "charge_model")
    readonly_fields = ("number", "subscription", "rate_plan", "product_charge")


@register(SubscriptionTerm, site=site)
class SubscriptionTermAdmin(MadeByOrders):
    """Terms of subscriptions."""

    noun, nouns = "term", "terms"
    list_display = ("subscription", "number", "start", "end")
    list_select_related = ("subscription",)
    search_fields = ("subscription__number__startswith",)
    search_placeholder = "Subscription number begins with"
    readonly_fields = ("subscription", "number")


@register(ChargeSegment, site=site)
class ChargeSegmentAdmin(OperatorAdmin):
    """Price and quantity of charges over time."""

    form = SegmentForm
    noun, nouns = "segment", "segments"
    list_display = ("charge", "number", "effective_start", "effective_end", "quantity", "price", "mrr")
    list_select_related = ("charge__subscription__account",)
    search_fields = ("charge__number__startswith",)
    search_placeholder = "Charge number begins with"
    money_fields = ("mrr",)
    currency_path = "charge__subscription__account__currency"


@register(ChargeSegmentTier, site=site)
class ChargeSegmentTierAdmin(OperatorAdmin):
    """Tiers of segments."""

    noun, nouns = "tier", "tiers"
    list_display = ("segment", "number", "up_to", "price", "price_format")
    list_select_related = ("segment__charge",)
    autocomplete_fields = ("segment",)


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
