"""Synthetic customers who are billed by use: one account, subscription and charge each, half of them by tiers."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import psycopg
from django.db import connection

from accounts.models import Account, BillingBatch, Contact, PaymentTerm
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, PriceFormat, Tier
from billing.models import (
    ChargeSegment,
    ChargeSegmentTier,
    ProductRatePlan,
    RatePlan,
    RatePlanCharge,
    Subscription,
    UnitOfMeasure,
)
from billing.services.catalog import create_charge, create_product, create_rate_plan

START = date(2026, 1, 1)
UNIT = "GB"
_TIERS = (
    Tier(Decimal(100), Decimal("0.10"), PriceFormat.PER_UNIT),
    Tier(Decimal(1000), Decimal("0.08"), PriceFormat.PER_UNIT),
    Tier(None, Decimal("0.05"), PriceFormat.PER_UNIT),
)
_BLOCK = 5_000


def number_of(account: int) -> str:
    """Return the number of the n-th account, from 1."""
    return f"M{account:07d}"


def fill(superuser: psycopg.Connection, *, accounts: int) -> None:
    """Add accounts that pay for what they use each month, billed on the 1st."""
    UnitOfMeasure.objects.get_or_create(name=UNIT, defaults={"decimals": 3})
    plan = create_rate_plan(product=create_product(sku="METER", name="Metered", effective_start=START), name="By use")
    for model, price in ((ChargeModel.PER_UNIT, Decimal("0.08")), (ChargeModel.TIERED, _TIERS)):
        create_charge(
            rate_plan=plan,
            name=f"Traffic {model}",
            charge_type=ChargeType.USAGE,
            charge_model=model,
            billing_period=BillingPeriod.MONTH,
            unit=UNIT,
            prices={"USD": price},
        )
    for first in range(1, accounts + 1, _BLOCK):
        _add(plan, range(first, min(first + _BLOCK, accounts + 1)))
    superuser.execute("VACUUM (ANALYZE)")


def _add(plan: ProductRatePlan, numbers: range) -> None:
    batch, term = BillingBatch.objects.order_by("pk")[0], PaymentTerm.objects.get(name="Net 30")
    made = Account.objects.bulk_create(
        Account(
            number=number_of(n), name=f"Meter {n}", currency="USD", bill_cycle_day=1, batch=batch, payment_term=term
        )
        for n in numbers
    )
    contacts = Contact.objects.bulk_create(
        Contact(account=a, name="Billing", email="billing@customer.example", city="Berlin", country="DE") for a in made
    )
    for account, contact in zip(made, contacts, strict=True):
        account.bill_to = account.sold_to = contact
    Account.objects.bulk_update(made, ["bill_to", "sold_to"], batch_size=1_000)
    subscriptions = Subscription.objects.bulk_create(
        Subscription(number=f"S{a.number}", account=a, invoice_owner=a, contract_effective=START, term_start=START)
        for a in made
    )
    plans = RatePlan.objects.bulk_create(
        RatePlan(subscription=s, product_rate_plan=plan, name=plan.name) for s in subscriptions
    )
    charges = RatePlanCharge.objects.bulk_create(
        _charge(s, p, place) for place, (s, p) in enumerate(zip(subscriptions, plans, strict=True))
    )
    segments = ChargeSegment.objects.bulk_create(
        ChargeSegment(
            charge=c, effective_start=START, price=None if c.charge_model == ChargeModel.TIERED else Decimal("0.08")
        )
        for c in charges
    )
    ChargeSegmentTier.objects.bulk_create(_tiers(segments, charges))


def _charge(subscription: Subscription, plan: RatePlan, place: int) -> RatePlanCharge:
    return RatePlanCharge(
        number=f"C{subscription.number}",
        subscription=subscription,
        rate_plan=plan,
        name="Traffic",
        charge_type=ChargeType.USAGE,
        charge_model=ChargeModel.TIERED if place % 2 else ChargeModel.PER_UNIT,
        billing_period=BillingPeriod.MONTH,
        unit=UNIT,
        trigger_date=START,
    )


def _tiers(segments: list[ChargeSegment], charges: list[RatePlanCharge]) -> Iterator[ChargeSegmentTier]:
    for segment, charge in zip(segments, charges, strict=True):
        if charge.charge_model == ChargeModel.TIERED:
            for number, tier in enumerate(_TIERS, start=1):
                yield ChargeSegmentTier(segment=segment, number=number, **tier._asdict())


def query(statement: str) -> list[tuple[object, ...]]:
    """Return what the database answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
