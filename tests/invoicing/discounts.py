"""The words of tests about discounts: a fee of Acme's, plans that reduce it, and what runs make of it."""

from decimal import Decimal

from accounts.models import Account
from billing.core.types import ChargeModel, ChargeType, DiscountLevel
from billing.models import ProductRatePlan, Subscription
from billing.services.orders import ChargeChange, NewRatePlan, NewSubscription, UpdateProduct, place_order
from invoicing.models import InvoiceItem
from tests import factories as make
from tests.factories import day


def off(name: str, value: str, *, model=ChargeModel.DISCOUNT_PERCENTAGE, **changes) -> ProductRatePlan:
    """Return a plan with nothing but a discount on everything that recurs in its subscription."""
    first = {
        "charge_model": model,
        "discount_level": DiscountLevel.SUBSCRIPTION,
        "discount_applies_to": [ChargeType.RECURRING],
    }
    return make.plan(name, make.monthly(name, price=value, **first) | changes)


def sold(*plans: ProductRatePlan, account: Account | None = None, start: str = "2026-01-01") -> Subscription:
    """Let Acme buy a fee of 100.00 a month from January on, with discounts; return the subscription."""
    fee = ProductRatePlan.objects.filter(name="Fee").first() or make.plan("Fee", make.monthly("Fee", price="100"))
    return subscribed(account or make.acme(), fee, *plans, start=start)


def subscribed(account: Account, *plans: ProductRatePlan, start: str = "2026-01-01") -> Subscription:
    new = NewSubscription(tuple(NewRatePlan(plan) for plan in plans), day(start))
    order = place_order(account=account, order_date=day(start), actions=[new])
    subscription = order.actions.get().subscription
    assert subscription is not None
    return subscription


def act(*actions, on: str = "2026-01-01"):
    return place_order(account=actions[0].subscription.account, order_date=day(on), actions=actions)


def change(subscription: Subscription, plan: ProductRatePlan, on: str, price: str) -> UpdateProduct:
    """Return the change of the only charge of a plan to another price."""
    return UpdateProduct(subscription, (ChargeChange(plan.charges.get(), price=Decimal(price)),), day(on))


def lines(run) -> list[tuple[str, str, str]]:
    """Return the lines of a run: what they are about, first day and amount."""
    found = InvoiceItem.objects.filter(invoice__bill_run=run).order_by("id")
    return [(item.description, str(item.period.lower), f"{item.amount:+.2f}") for item in found]


def total() -> Decimal:
    """Return what is booked in all."""
    found = InvoiceItem.objects.filter(invoice__status__in=["Draft", "Posted"]).values_list("amount", flat=True)
    return sum(found, Decimal(0))
