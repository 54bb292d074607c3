"""The tables of what was sold: catalogue, orders, subscriptions and billing rules."""

from billing.models.catalog import (
    Product,
    ProductRatePlan,
    ProductRatePlanCharge,
    ProductRatePlanChargePrice,
    ProductRatePlanChargeTier,
)
from billing.models.orders import Order, OrderAction, OrderActionType, OrderStatus
from billing.models.rules import BillingRules
from billing.models.subscriptions import (
    ChargeSegment,
    ChargeSegmentTier,
    RatePlan,
    RatePlanCharge,
    Subscription,
    SubscriptionStatus,
    SubscriptionTerm,
    TermType,
)
from billing.models.units import UnitOfMeasure, UnitRounding

__all__ = [
    "BillingRules",
    "ChargeSegment",
    "ChargeSegmentTier",
    "Order",
    "OrderAction",
    "OrderActionType",
    "OrderStatus",
    "Product",
    "ProductRatePlan",
    "ProductRatePlanCharge",
    "ProductRatePlanChargePrice",
    "ProductRatePlanChargeTier",
    "RatePlan",
    "RatePlanCharge",
    "Subscription",
    "SubscriptionStatus",
    "SubscriptionTerm",
    "TermType",
    "UnitOfMeasure",
    "UnitRounding",
]
