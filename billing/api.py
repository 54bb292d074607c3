"""REST endpoints of billing: subscriptions, with the numbers of their charges that usage is sent for."""

from datetime import date, datetime
from typing import Any

from django.db.models import Prefetch, Q
from django.http import HttpRequest
from ninja import Router, Schema

from accounts.api import account_filter, not_found
from accounts.api_tokens import Scope
from accounts.clock import business_today
from accounts.cursors import DEFAULT_LIMIT, Cursor, Limit, Page, page_of
from accounts.rest import Amount, Number, requires
from billing.models import ChargeSegment, RatePlanCharge, Subscription

router = Router(tags=["Subscriptions"])
NAMED = ("account", "invoice_owner")


class SegmentTier(Schema):
    """A price for the units above the tier before, up to and including `up_to`."""

    up_to: Amount | None
    price: Amount
    price_format: str


class Segment(Schema):
    """A stretch of days `[effective_start, effective_end)` in which a charge has one price and quantity."""

    number: int
    effective_start: date
    effective_end: date | None
    quantity: Amount | None
    price: Amount | None
    mrr: Amount
    tiers: list[SegmentTier]

    @staticmethod
    def resolve_tiers(segment: ChargeSegment) -> list[Any]:
        return list(segment.tiers.all())


class Charge(Schema):
    """A charge of a subscription with the segments that have not ended."""

    number: str
    name: str
    rate_plan: str
    charge_type: str
    charge_model: str
    billing_timing: str
    billing_period: str
    unit: str
    trigger_date: date | None
    custom_fields: dict[str, Any]
    segments: list[Segment]

    @staticmethod
    def resolve_rate_plan(charge: RatePlanCharge) -> str:
        return charge.rate_plan.name

    @staticmethod
    def resolve_segments(charge: RatePlanCharge) -> list[Any]:
        return list(charge.segments.all())


class SubscriptionSummary(Schema):
    """A customer's contract, as lists show it; `term_end` is the first day after the term."""

    number: str
    name: str
    account: str
    invoice_owner: str
    currency: str
    status: str
    term_type: str
    contract_effective: date
    service_activation: date | None
    customer_acceptance: date | None
    term_start: date
    term_end: date | None
    auto_renew: bool
    canceled_from: date | None
    created_at: datetime

    @staticmethod
    def resolve_account(subscription: Subscription) -> str:
        return subscription.account.number

    @staticmethod
    def resolve_invoice_owner(subscription: Subscription) -> str:
        return subscription.invoice_owner.number

    @staticmethod
    def resolve_currency(subscription: Subscription) -> str:
        return subscription.invoice_owner.currency


class SubscriptionDetails(SubscriptionSummary):
    """A customer's contract with its charges."""

    custom_fields: dict[str, Any]
    charges: list[Charge]

    @staticmethod
    def resolve_charges(subscription: Subscription) -> list[Any]:
        return list(subscription.charges.all())


@router.get("/subscriptions", auth=requires(Scope.SUBSCRIPTIONS_READ), response=Page[SubscriptionSummary])
def list_subscriptions(
    request: HttpRequest, account: Number | None = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> dict[str, Any]:
    """List subscriptions, oldest first; `account` is the number of the account that uses them."""
    rows = Subscription.objects.select_related(*NAMED).filter(**account_filter(account))
    return page_of(rows, cursor=cursor, limit=limit)


@router.get("/subscriptions/{path:number}", auth=requires(Scope.SUBSCRIPTIONS_READ), response=SubscriptionDetails)
def get_subscription(request: HttpRequest, number: Number) -> Subscription:
    """Return one subscription with its charges and their segments of today and later."""
    lasting = Q(effective_end__isnull=True) | Q(effective_end__gt=business_today())
    segments = ChargeSegment.objects.filter(lasting).order_by("number").prefetch_related("tiers")
    charges = RatePlanCharge.objects.select_related("rate_plan").order_by("pk")
    related = Prefetch("charges", charges.prefetch_related(Prefetch("segments", segments)))
    subscription = Subscription.objects.select_related(*NAMED).prefetch_related(related).filter(number=number).first()
    if subscription is None:
        raise not_found("subscription", number)
    return subscription
