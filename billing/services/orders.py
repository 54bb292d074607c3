"""Taking orders: what a customer agreed to becomes subscriptions with plans, charges and priced segments.

    check everything → order → one action a subscription → plans → charges → segments → tiers

Nothing is written before all of it is checked, and each table is written at once, so that a reseller's two thousand
subscriptions take seconds.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from django.db import transaction

from accounts.models import Account, AccountStatus, NumberPurpose
from accounts.numbering import take_numbers
from billing.core.types import ChargeType
from billing.models import (
    ChargeSegment,
    ChargeSegmentTier,
    Order,
    OrderAction,
    OrderActionType,
    OrderStatus,
    RatePlan,
    RatePlanCharge,
    Subscription,
    SubscriptionStatus,
    TermType,
)
from billing.models.terms import BillingTermsModel, TriggerEvent
from billing.services.order_requests import (
    MAX_PROBLEMS,
    ChargeChoice,
    Checker,
    NewRatePlan,
    NewSubscription,
    PlannedCharge,
    PlannedSubscription,
    Problems,
    catalogue_of,
)

__all__ = ["ChargeChoice", "NewRatePlan", "NewSubscription", "create_order"]

TERMS = [field.name for field in BillingTermsModel._meta.get_fields()]


def create_order(
    *,
    account: Account,
    order_date: date,
    subscriptions: Sequence[NewSubscription],
    user_id: int | None = None,
    description: str = "",
) -> Order:
    """Complete an order that creates subscriptions, and set the bill cycle day of accounts that have none yet.

    Raises ValidationError naming the fields; then nothing was created.
    """
    problems = Problems(len(subscriptions))
    if account.status != AccountStatus.ACTIVE:
        problems.add("account", f"Account {account.number} is {account.status}; only active accounts can order.")
    if not subscriptions:
        problems.add("subscriptions", "An order needs at least one subscription.")
    catalogue = catalogue_of(subscriptions)
    planned = []
    for position, request in enumerate(subscriptions, start=1):
        planned.append(Checker(account, order_date, catalogue, problems, position).subscription(request))
        if problems.count >= MAX_PROBLEMS:
            break
    problems.refuse()
    with transaction.atomic():
        order = Order.objects.create(
            number=take_numbers(NumberPurpose.ORDER)[0],
            account=account,
            order_date=order_date,
            status=OrderStatus.COMPLETED,
            description=description,
            created_by_id=user_id,
        )
        _write(order, account, planned)
        _set_bill_cycle_days(planned)
    return order


def _write(order: Order, account: Account, planned: list[PlannedSubscription]) -> None:
    """Write all rows of the order, table by table."""
    numbers = take_numbers(NumberPurpose.SUBSCRIPTION, len(planned))
    subscriptions = Subscription.objects.bulk_create(
        _subscription_row(number, account, subscription) for number, subscription in zip(numbers, planned, strict=True)
    )
    OrderAction.objects.bulk_create(
        OrderAction(
            order=order,
            position=position,
            kind=OrderActionType.CREATE_SUBSCRIPTION,
            subscription=row,
            effective_date=row.contract_effective,
            delta_mrr=sum((charge.mrr for charge in subscription.charges), Decimal(0)),
        )
        for position, (row, subscription) in enumerate(zip(subscriptions, planned, strict=True), start=1)
    )
    plans = [
        (row, plan, charges)
        for row, subscription in zip(subscriptions, planned, strict=True)
        for plan, charges in subscription.plans
    ]
    plan_rows = RatePlan.objects.bulk_create(
        RatePlan(subscription=row, product_rate_plan=plan, name=plan.name) for row, plan, _ in plans
    )
    _write_charges([(row, charge) for row, (_, _, charges) in zip(plan_rows, plans, strict=True) for charge in charges])


def _subscription_row(number: str, account: Account, planned: PlannedSubscription) -> Subscription:
    request = planned.request
    waits_for = {charge.catalogue.trigger_event for charge in planned.charges if charge.trigger_date is None}
    status = SubscriptionStatus.ACTIVE
    if TriggerEvent.SERVICE_ACTIVATION in waits_for:
        status = SubscriptionStatus.PENDING_ACTIVATION
    elif TriggerEvent.CUSTOMER_ACCEPTANCE in waits_for:
        status = SubscriptionStatus.PENDING_ACCEPTANCE
    return Subscription(
        number=number,
        account=account,
        invoice_owner=planned.owner,
        name=request.name,
        status=status,
        term_type=TermType.EVERGREEN if planned.term_end is None else TermType.TERMED,
        contract_effective=request.contract_effective,
        service_activation=request.service_activation,
        customer_acceptance=request.customer_acceptance,
        term_start=request.contract_effective,
        term_end=planned.term_end,
        auto_renew=request.auto_renew,
        invoice_separately=request.invoice_separately,
        custom_fields=dict(request.custom_fields),
    )


def _write_charges(planned: list[tuple[RatePlan, PlannedCharge]]) -> None:
    """Write the charges, each with its first segment and that one's tiers."""
    numbers = take_numbers(NumberPurpose.CHARGE, len(planned))
    charges = RatePlanCharge.objects.bulk_create(
        RatePlanCharge(
            number=number,
            subscription_id=plan.subscription_id,
            rate_plan=plan,
            product_charge=charge.catalogue,
            name=charge.catalogue.name,
            trigger_date=charge.trigger_date,
            **{name: getattr(charge.catalogue, name) for name in TERMS},
        )
        for number, (plan, charge) in zip(numbers, planned, strict=True)
    )
    segments = ChargeSegment.objects.bulk_create(
        ChargeSegment(
            charge=row,
            number=charge.segment.number,
            effective_start=charge.segment.start,
            effective_end=charge.segment.end,
            quantity=charge.segment.quantity,
            price=charge.segment.price,
            mrr=charge.mrr,
        )
        for row, (_, charge) in zip(charges, planned, strict=True)
    )
    ChargeSegmentTier.objects.bulk_create(
        ChargeSegmentTier(segment=row, number=number, **tier._asdict())
        for row, (_, charge) in zip(segments, planned, strict=True)
        for number, tier in enumerate(charge.segment.tiers, start=1)
    )


def _set_bill_cycle_days(planned: list[PlannedSubscription]) -> None:
    """Give invoice owners without a bill cycle day that of their first recurring charge; 31 means the month's end."""
    seen = set()
    for subscription in planned:
        owner = subscription.owner
        for charge in subscription.charges:
            if charge.catalogue.charge_type == ChargeType.RECURRING and charge.trigger_date and owner.pk not in seen:
                seen.add(owner.pk)
                day = charge.trigger_date.day
                # Whoever comes second finds a day that is set, and it stays.
                if Account.objects.filter(pk=owner.pk, bill_cycle_day=0).update(bill_cycle_day=day):
                    owner.bill_cycle_day = day
