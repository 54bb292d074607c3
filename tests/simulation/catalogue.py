"""Customers and a catalogue for simulations: every billing day and currency, and charges of every kind that can be sold."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from accounts.models import Account, PaymentTerm
from accounts.services import NewContact, create_account
from billing.core.types import BillingDayType, BillingPeriod, ChargeModel, ChargeTerms, ChargeType, DiscountLevel
from billing.models import ProductRatePlan
from billing.models.terms import EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.catalog import create_charge, create_rate_plan
from billing.services.charge_terms import TIERED
from billing.services.orders import ChargeChoice, NewRatePlan
from tests.billing.core.random_charges import needs_terms, random_charge_terms, random_price, random_tiers
from tests.factories import batch, product

CURRENCIES = ("USD", "EUR", "JPY", "BHD")
BY_WEEKS_OR_DAYS = (BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS, BillingPeriod.SPECIFIC_DAYS)


@dataclass(frozen=True)
class Offer:
    """A rate plan of the catalogue, and whether it can be sold only with a term that ends."""

    plan: ProductRatePlan
    needs_term: bool


def customers(source: Random, count: int) -> list[Account]:
    """Create customers with any billing day in any currency; every fifth has none yet and gets that of its first charge."""
    term = PaymentTerm.objects.get(name="Net 30")
    first = batch(1)
    found = []
    for number in range(count):
        day = source.choice((0, 1, 15, 28, 29, 30, 31, 31, source.randint(1, 31), source.randint(1, 31)))
        found.append(
            create_account(
                name=f"Customer {number}",
                currency=source.choice(("USD", *CURRENCIES)),
                batch=first,
                bill_to=NewContact("Ada Miller", "US", f"c{number}@customer.example"),
                bill_cycle_day=day,
                payment_term=term,
            )
        )
    return found


def offers(source: Random, count: int, *, by_terms: bool) -> list[Offer]:
    """Create rate plans with one to three charges each; some take a percentage off what recurs in them.

    With `by_terms` some are billed by the terms of their subscription.
    """
    found = []
    for number in range(count):
        plan = create_rate_plan(product=product(), name=f"Plan {number}")
        terms = [_terms(source, by_terms=by_terms) for _ in range(source.choice((1, 1, 2, 3)))]
        for place, each in enumerate(terms):
            create_charge(rate_plan=plan, name=f"Charge {number}.{place}", **_charge(source, each))
        if source.random() < 0.25:
            for place in range(source.choice((1, 2))):
                create_charge(rate_plan=plan, name=f"Discount {number}.{place}", **_discount(source))
        found.append(Offer(plan, any(needs_terms(each) for each in terms if each.charge_type is ChargeType.RECURRING)))
    return found


def _terms(source: Random, *, by_terms: bool) -> ChargeTerms:
    once = source.random() < 0.1
    terms = random_charge_terms(source, ChargeType.ONE_TIME if once else ChargeType.RECURRING)
    while not by_terms and needs_terms(terms):
        terms = random_charge_terms(source)
    if terms.billing_period is BillingPeriod.SPECIFIC_DAYS:
        # A line a day would meet the safety bound of a run.
        terms = terms._replace(period_length=max(terms.period_length, 5))
    if terms.billing_day_type not in (BillingDayType.SPECIFIC_DAY_OF_MONTH, BillingDayType.SPECIFIC_DAY_OF_WEEK):
        terms = terms._replace(billing_day=0)
    return terms


def _charge(source: Random, terms: ChargeTerms) -> dict[str, Any]:
    tiered = terms.charge_model in TIERED
    price: Any = random_tiers(source) if tiered else random_price(source)
    values: dict[str, Any] = {
        **terms._asdict(),
        "prices": dict.fromkeys(CURRENCIES, price),
        "default_quantity": None if terms.charge_model is ChargeModel.FLAT_FEE else Decimal(source.choice((1, 3, 12))),
        "trigger_event": source.choice((TriggerEvent.CONTRACT_EFFECTIVE,) * 8 + tuple(TriggerEvent)),
    }
    if terms.charge_type is ChargeType.RECURRING and source.random() < 0.1:
        kind = source.choice((UpToPeriodsType.DAYS, UpToPeriodsType.MONTHS, UpToPeriodsType.BILLING_PERIODS))
        values |= {
            "end_condition": EndCondition.FIXED_PERIOD,
            "up_to_periods": source.randint(1, 900 if kind == UpToPeriodsType.DAYS else 15),
            "up_to_periods_type": kind,
        }
    elif terms.charge_type is ChargeType.RECURRING and source.random() < 0.1:
        values["end_condition"] = EndCondition.SPECIFIC_END_DATE
    return values


def _discount(source: Random) -> dict[str, Any]:
    return {
        "prices": dict.fromkeys(CURRENCIES, Decimal(source.choice(("0.125", "10", "33.333333333", "50")))),
        "charge_model": ChargeModel.DISCOUNT_PERCENTAGE,
        "billing_period": BillingPeriod.MONTH,
        "discount_level": DiscountLevel.RATE_PLAN,
        "discount_applies_to": [ChargeType.RECURRING],
        "discount_stacked": source.random() < 0.5,
    }


def ordered(source: Random, offer: Offer, start: date) -> NewRatePlan:
    """Return an offer as an order asks for it: at the catalogue's price or at another, with the dates that are needed."""
    choices = []
    for charge in offer.plan.charges.all():
        values: dict[str, Any] = {}
        if charge.trigger_event == TriggerEvent.SPECIFIC_DATE:
            values["trigger_date"] = start + timedelta(days=source.choice((0, 1, 14, 40)))
        if charge.end_condition == EndCondition.SPECIFIC_END_DATE:
            values["end_date"] = start + timedelta(days=source.randint(60, 1500))
        if source.random() < 0.5:
            values |= changed_price(source, charge.charge_model)
        choices.append(ChargeChoice(charge, **values))
    return NewRatePlan(offer.plan, tuple(choices))


def changed_price(source: Random, model: str) -> dict[str, Any]:
    """Return another quantity or price for a charge of that model; none for a discount."""
    if model in (ChargeModel.DISCOUNT_PERCENTAGE, ChargeModel.DISCOUNT_FIXED):
        return {}
    if model != ChargeModel.FLAT_FEE and source.random() < 0.5:
        return {"quantity": Decimal(source.choice((0, 1, 3, 10, 12, 40, 17)))}
    if model in TIERED:
        return {"tiers": random_tiers(source)}
    return {"price": random_price(source)}
