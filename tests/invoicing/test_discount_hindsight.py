"""However often an account is billed while its percentages change, in the end it owes what one run with hindsight bills.

Two accounts get the same orders. The one is billed all the time, drafts are canceled and billed again, orders come late
and are dated back; the other is billed once, when everything is known.
"""

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from accounts.models import Account
from billing.core.types import BillingPeriod, BillingTiming, ChargeModel, ChargeType, DiscountLevel
from billing.models import ProductRatePlan, RatePlanCharge, Subscription
from billing.services.orders import (
    ChargeChange,
    NewRatePlan,
    NewSubscription,
    RemoveProduct,
    Suspend,
    UpdateProduct,
    place_order,
)
from invoicing.bill_run.verify import audit
from invoicing.models import Coverage, Invoice, InvoiceItem
from invoicing.posting import CancelError, cancel_drafts, post_run
from tests import factories as make
from tests.factories import bill, day

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

START, LAST = day("2025-01-01"), day("2026-04-10")
PERCENTAGES = ("2.5", "5", "7.5", "12", "25", "33.333333333")
SEATS = ("1", "4", "9", "10")


class Change(NamedTuple):
    """One order: when it is placed, from which day on it holds, and what becomes of which charge or plan."""

    placed: date
    holds: date
    what: str
    name: str
    value: str


def discount(name: str, value: str, level: DiscountLevel, **changes: Any) -> dict[str, Any]:
    first = {
        "charge_model": ChargeModel.DISCOUNT_PERCENTAGE,
        "discount_level": level,
        "discount_applies_to": [ChargeType.RECURRING],
    }
    return make.monthly(name, price=value, **first) | changes


@pytest.fixture
def plans() -> dict[str, ProductRatePlan]:
    """Seats by the month, support by the quarter in arrears and a licence by the year, with a discount at each level."""
    quarterly = {"billing_period": BillingPeriod.QUARTER, "billing_timing": BillingTiming.IN_ARREARS}
    return {
        "Team": make.plan("Team", make.seats("Seats", "4"), discount("Seats off", "7.5", DiscountLevel.RATE_PLAN)),
        "Support": make.plan("Support", make.monthly("Support", price="333.33", **quarterly)),
        "Bundle": make.plan("Bundle", discount("Bundle", "12", DiscountLevel.SUBSCRIPTION, discount_stacked=True)),
        "Licence": make.plan("Licence", make.monthly("Licence", price="1200", billing_period=BillingPeriod.ANNUAL)),
        "Loyalty": make.plan("Loyalty", discount("Loyalty", "5", DiscountLevel.ACCOUNT)),
    }


def subscribe(plans: dict[str, ProductRatePlan]) -> Account:
    """Return one more account with two subscriptions: the one has the licence, and grants the loyalty discount."""
    account = make.acme()
    for names in (("Team", "Support", "Bundle"), ("Licence", "Loyalty")):
        new = NewSubscription(tuple(NewRatePlan(plans[name]) for name in names), START)
        place_order(account=account, order_date=START, actions=[new])
    return account


def story(seed: int) -> list[Change]:
    """Return random changes in the order in which they are placed, each dated up to four months back or one ahead."""
    chance = random.Random(seed)
    latest = dict.fromkeys(("Seats", "Seats off", "Bundle", "Loyalty"), START)
    values = {"Seats": "4", "Seats off": "7.5", "Bundle": "12", "Loyalty": "5"}
    found: list[Change] = []
    placed = START + timedelta(days=chance.randint(1, 20))
    while placed < LAST - timedelta(days=40):
        name = chance.choice(list(latest))
        holds = max(latest[name], placed + timedelta(days=chance.randint(-120, 30)))
        value = chance.choice([each for each in (SEATS if name == "Seats" else PERCENTAGES) if each != values[name]])
        found.append(Change(placed, holds, "update", name, value))
        latest[name], values[name] = holds, value
        placed += timedelta(days=chance.randint(1, 45))
    for what, name in (("remove", "Bundle"), ("suspend", "Loyalty")):
        if chance.random() < 0.7:
            found.append(
                Change(LAST - timedelta(days=9), LAST - timedelta(days=chance.randint(0, 200)), what, name, "")
            )
    return found


def place(account: Account, change: Change) -> None:
    of_account = RatePlanCharge.objects.filter(subscription__account=account)
    charge = of_account.get(name=change.name)
    subscription = charge.subscription
    action: Any
    if change.what == "update":
        value = Decimal(change.value)
        seats = change.name == "Seats"
        changed = ChargeChange(charge, quantity=value) if seats else ChargeChange(charge, price=value)
        action = UpdateProduct(subscription, (changed,), change.holds)
    elif change.what == "remove":
        action = RemoveProduct(subscription, charge.rate_plan, change.holds)
    else:
        action = Suspend(subscription, change.holds)
    place_order(account=account, order_date=change.placed, actions=[action])


def booked(account: Account) -> dict[tuple[str, str, str], list[str]]:
    """Return what is booked for billed days, by charge and days: the fee, then each discount by name."""
    lines = InvoiceItem.objects.filter(invoice__account=account, invoice__status__in=["Draft", "Posted"])
    amounts: dict[int, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for line in lines.select_related("charge", "reduces"):
        about = line.reduces or line
        amounts[about.credits_id or about.pk][line.charge.name if line.reduces else "fee"] += line.amount
    covered: dict[Any, Coverage] = {
        row.item_id: row for row in Coverage.objects.filter(item__in=amounts).select_related("charge")
    }
    for pk in amounts.keys() - covered.keys():
        assert not any(amounts[pk].values()), "days that were given back still cost something"
    return {
        (row.charge.name, str(row.period.lower), str(row.period.upper)): [
            f"{name} {amount:.2f}" for name, amount in sorted(amounts[pk].items()) if amount
        ]
        for pk, row in covered.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_in_the_end_it_owes_what_one_run_with_hindsight_bills(plans, seed):
    changes, chance = story(seed), random.Random(seed)
    eager, late = subscribe(plans), subscribe(plans)
    waiting = list(changes)
    on, billed_anew = START, 0
    while on < LAST:
        while waiting and waiting[0].placed <= on:
            place(eager, waiting.pop(0))
        run = bill(str(on), accounts=[eager])
        assert not run.has_errors
        if run.invoice_count and chance.random() < 0.3:
            billed_anew += _cancel_if_possible(run.invoices.get())
        elif chance.random() < 0.5:
            post_run(run.pk, user_id=None)
        on += timedelta(days=chance.randint(1, 40))
    for change in waiting:
        place(eager, change)
    bill(str(LAST), accounts=[eager])
    for change in changes:
        place(late, change)
    bill(str(LAST), accounts=[late])
    assert booked(eager) == booked(late)
    assert audit() == []
    assert bill(str(LAST)).invoice_count == 0
    assert InvoiceItem.objects.filter(
        description__endswith="– Change", invoice__status__in=["Draft", "Posted"]
    ).exists()


def _cancel_if_possible(invoice: Invoice) -> int:
    try:
        return cancel_drafts([invoice.pk])
    except CancelError:
        return 0


def test_the_stories_are_worth_it(plans):
    """They date changes back over several months, remove and suspend, and no change comes twice."""
    told = [change for seed in range(6) for change in story(seed)]
    assert sum((change.placed - change.holds).days > 60 for change in told) > 5
    assert {change.what for change in told} == {"update", "remove", "suspend"}
    assert Subscription.objects.count() == 0
