"""The words of tests about orders: one subscription of ten five-dollar seats, and what became of it."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.core.types import PriceFormat, Tier
from billing.models import (
    ChargeSegment,
    Order,
    OrderAction,
    RatePlanCharge,
    Subscription,
    SubscriptionTerm,
)
from billing.services.order_requests import OrderRefusedError
from billing.services.orders import (
    ChargeChange,
    UpdateProduct,
    place_order,
)
from tests.factories import acme, day, plan, seats, subscribe

START = date(2026, 1, 1)
FIVE = dict.fromkeys(("USD", "EUR", "JPY"), Decimal(5))
TIERS = (Tier(Decimal(50), Decimal(10), PriceFormat.PER_UNIT), Tier(None, Decimal(8), PriceFormat.PER_UNIT))


def five_dollar_seats(quantity="10", **changes):
    """Return a plan with ten seats at five dollars a month."""
    return plan("Seats", seats("Seats", quantity, prices=FIVE, **changes))


def subscribed(rate_plan=None, start="2026-01-01", **changes):
    """Return Acme's subscription to five-dollar seats, or to another plan."""
    return subscribe(acme(), rate_plan or five_dollar_seats(), start, **changes)


def act(subscription, *actions, on=START):
    return place_order(account=subscription.account, order_date=on, actions=actions)


def refusal(subscription, *actions, **changes):
    """Return the problems for which an order is refused, after making sure that nothing was written."""
    before = _everything()
    with pytest.raises(OrderRefusedError) as refused:
        act(subscription, *actions, **changes)
    assert _everything() == before
    return refused.value.problems


def _everything():
    models = (Order, OrderAction, Subscription, SubscriptionTerm, RatePlanCharge, ChargeSegment)
    return [list(model.objects.order_by("pk").values()) for model in models]


def segments(name="Seats"):
    """Return number, first day, end, quantity and price of the segments of a charge."""
    columns = ("number", "effective_start", "effective_end", "quantity", "price")
    return [
        (number, str(start), end and str(end), quantity, price)
        for number, start, end, quantity, price in ChargeSegment.objects.filter(charge__name=name)
        .order_by("charge", "number")
        .values_list(*columns)
    ]


def terms():
    return [
        (number, str(start), end and str(end))
        for number, start, end in SubscriptionTerm.objects.order_by("subscription", "number").values_list(
            "number", "start", "end"
        )
    ]


def change(charge="Seats", **values):
    """Return a change of the charge of that name; numbers as text."""
    numbers: dict[str, Any] = {name: Decimal(v) if isinstance(v, str) else v for name, v in values.items()}
    return ChargeChange(RatePlanCharge.objects.get(name=charge), **numbers)


def update(subscription, on, *changes, **values):
    return UpdateProduct(subscription, changes or (change(**values),), day(on))
