"""Orders: what of the catalogue and of the request ends up in the subscription, and what is refused in words."""

import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, AccountStatus
from billing.core.mrr import monthly_revenue
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PriceFormat,
    Tier,
)
from billing.models import ChargeSegment, Order, OrderStatus, RatePlanCharge, Subscription, SubscriptionStatus
from billing.models.terms import TriggerEvent
from billing.services.catalog import create_charge, create_product, create_rate_plan, set_price
from billing.services.orders import ChargeChoice, NewRatePlan, NewSubscription, create_order
from tests.billing.core import MONTHLY_FLAT_FEE, segment
from tests.factories import (
    acme,
    by_tiers,
    day,
    globex,
    monthly,
    once,
    plan,
    product,
    sakura,
    seats,
    subscribe,
    team_plan,
)

pytestmark = pytest.mark.django_db

START = date(2026, 3, 10)
TIERS = (Tier(Decimal(50), Decimal(10), PriceFormat.PER_UNIT), Tier(None, Decimal(8), PriceFormat.PER_UNIT))


def order(account, *subscriptions, on=START):
    return create_order(account=account, order_date=on, subscriptions=subscriptions, user_id=None)


def new(rate_plan, *choices, **changes):
    return NewSubscription((NewRatePlan(rate_plan, choices),), **{"contract_effective": START, **changes})


def refusal(account, *subscriptions, **changes):
    """Return the messages by field with which an order is refused, after making sure that nothing was written."""
    with pytest.raises(ValidationError) as refused:
        order(account, *subscriptions, **changes)
    assert not Order.objects.exists()
    assert not Subscription.objects.exists()
    return refused.value.message_dict


def charge_of(rate_plan, name):
    return rate_plan.charges.get(name=name)


class TestCreatedRows:
    def test_order_makes_subscription_plan_charges_and_segments(self):
        account = acme()
        made = order(account, new(team_plan()))
        assert (made.number, made.status) == ("O-00000001", OrderStatus.COMPLETED)
        subscription = Subscription.objects.get()
        assert (subscription.number, subscription.status) == ("A-S00000001", SubscriptionStatus.ACTIVE)
        assert (subscription.account, subscription.invoice_owner) == (account, account)
        charges = RatePlanCharge.objects.order_by("id").values_list("number", "name", "trigger_date", "unit")
        assert list(charges) == [("C-00000001", "Seats", START, "seat"), ("C-00000002", "Onboarding", START, "")]
        segments = ChargeSegment.objects.order_by("id").values_list("quantity", "price", "effective_start", "mrr")
        assert list(segments) == [(5, 10, START, 50), (None, 100, START, 0)]

    def test_terms_of_the_catalogue_are_copied(self):
        rate_plan = plan(
            "Storage",
            seats(
                "Storage",
                billing_period=BillingPeriod.QUARTER,
                billing_timing=BillingTiming.IN_ARREARS,
                list_price_base=ListPriceBase.PER_MONTH,
                billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
            ),
        )
        subscribe(acme(), rate_plan, "2026-03-10")
        charge = RatePlanCharge.objects.get()
        assert charge.product_charge == rate_plan.charges.get()
        assert (charge.billing_period, charge.billing_timing) == ("Quarter", "InArrears")
        assert (charge.list_price_base, charge.billing_day_type) == ("PerMonth", "ChargeTriggerDay")

    @pytest.mark.parametrize(("customer", "price"), [(acme, 10), (globex, 12), (sakura, 1500)])
    def test_price_is_the_one_in_the_accounts_currency(self, customer, price):
        subscribe(customer(), team_plan(), "2026-03-10")
        assert ChargeSegment.objects.get(charge__name="Seats").price == price

    def test_order_may_change_price_and_quantity_of_a_charge(self):
        rate_plan = team_plan()
        choice = ChargeChoice(charge_of(rate_plan, "Seats"), quantity=Decimal("7.5"), price=Decimal("9.99"))
        made = order(acme(), new(rate_plan, choice))
        changed = ChargeSegment.objects.get(charge__name="Seats")
        assert (changed.quantity, changed.price, changed.mrr) == (Decimal("7.5"), Decimal("9.99"), Decimal("74.925"))
        assert made.actions.get().delta_mrr == Decimal("74.925")

    def test_price_of_the_order_does_without_one_in_the_catalogue(self):
        rate_plan = plan("Domestic", monthly(prices={"USD": Decimal(10)}))
        order(globex(), new(rate_plan, ChargeChoice(rate_plan.charges.get(), price=Decimal(11))))
        assert ChargeSegment.objects.get().price == 11

    def test_later_price_of_the_catalogue_leaves_subscriptions_alone(self):
        rate_plan = plan("Basic", monthly())
        subscribe(acme(), rate_plan, "2026-03-10")
        set_price(charge=rate_plan.charges.get(), currency="USD", price=Decimal(20))
        assert ChargeSegment.objects.get().price == 10

    def test_tiers_are_copied_and_may_be_others(self):
        rate_plan = plan("Calls", by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60"))
        subscribe(acme(), rate_plan, "2026-03-10")
        segment_ = ChargeSegment.objects.get()
        assert list(segment_.tiers.values_list("number", "up_to", "price")) == [(1, 50, 10), (2, None, 8)]
        assert (segment_.price, segment_.mrr) == (None, 580)
        only = (Tier(None, Decimal(1), PriceFormat.PER_UNIT),)
        subscribe(globex(), rate_plan, "2026-03-10", charges=[ChargeChoice(rate_plan.charges.get(), tiers=only)])
        assert ChargeSegment.objects.latest("id").mrr == 60

    @pytest.mark.parametrize(
        ("event", "trigger_date", "status"),
        [
            (TriggerEvent.CONTRACT_EFFECTIVE, day("2026-03-10"), SubscriptionStatus.ACTIVE),
            (TriggerEvent.SERVICE_ACTIVATION, day("2026-03-20"), SubscriptionStatus.ACTIVE),
            (TriggerEvent.CUSTOMER_ACCEPTANCE, None, SubscriptionStatus.PENDING_ACCEPTANCE),
        ],
    )
    def test_trigger_date_comes_from_the_trigger_event(self, event, trigger_date, status):
        order(acme(), new(plan("Basic", monthly(trigger_event=event)), service_activation=day("2026-03-20")))
        assert RatePlanCharge.objects.get().trigger_date == trigger_date
        assert Subscription.objects.get().status == status

    def test_charge_with_a_date_of_its_own_begins_then(self):
        rate_plan = plan("Later", monthly(trigger_event=TriggerEvent.SPECIFIC_DATE))
        order(acme(), new(rate_plan, ChargeChoice(rate_plan.charges.get(), trigger_date=day("2026-05-01"))))
        assert (
            RatePlanCharge.objects.get().trigger_date
            == ChargeSegment.objects.get().effective_start
            == day("2026-05-01")
        )

    @pytest.mark.parametrize(
        ("changes", "term_type", "term_end"),
        [
            ({}, "Evergreen", None),
            ({"term_months": 12}, "Termed", day("2027-03-10")),
            ({"term_end": day("2026-12-31")}, "Termed", day("2026-12-31")),
        ],
    )
    def test_term_is_evergreen_or_ends(self, changes, term_type, term_end):
        order(acme(), new(team_plan(), **changes))
        subscription = Subscription.objects.get()
        assert (subscription.term_type, subscription.term_start, subscription.term_end) == (term_type, START, term_end)

    def test_another_account_may_be_billed(self):
        parent, child = acme(), acme()
        order(child, new(team_plan(), invoice_owner=parent, invoice_separately=True))
        subscription = Subscription.objects.get()
        assert (subscription.account, subscription.invoice_owner) == (child, parent)
        assert subscription.invoice_separately


class TestBillCycleDay:
    @pytest.mark.parametrize(("start", "expected"), [("2026-03-10", 10), ("2026-01-31", 31), ("2026-02-28", 28)])
    def test_first_recurring_charge_sets_it(self, start, expected):
        account = acme(bill_cycle_day=0)
        subscribe(account, team_plan(), start)
        assert Account.objects.get(pk=account.pk).bill_cycle_day == expected
        assert account.bill_cycle_day == expected

    def test_day_that_is_set_stays(self):
        account = acme(bill_cycle_day=0)
        rate_plan = team_plan()
        subscribe(account, rate_plan, "2026-03-10")
        subscribe(account, rate_plan, "2026-03-20")
        assert Account.objects.get(pk=account.pk).bill_cycle_day == 10

    def test_one_time_charges_leave_it_open(self):
        account = acme(bill_cycle_day=0)
        subscribe(account, plan("Setup", once()), "2026-03-10")
        assert Account.objects.get(pk=account.pk).bill_cycle_day == 0

    def test_the_billed_account_gets_it(self):
        parent, child = acme(bill_cycle_day=0), acme(bill_cycle_day=0)
        order(child, new(team_plan(), invoice_owner=parent))
        days = Account.objects.order_by("id").values_list("bill_cycle_day", flat=True)
        assert list(days) == [10, 0]


@pytest.mark.parametrize(
    ("price", "period", "base", "expected"),
    [
        ("12000", BillingPeriod.QUARTER, ListPriceBase.PER_YEAR, "1000"),
        ("300", BillingPeriod.QUARTER, ListPriceBase.PER_BILLING_PERIOD, "100"),
        ("100", BillingPeriod.ANNUAL, ListPriceBase.PER_MONTH, "100"),
        ("13000", BillingPeriod.ANNUAL, ListPriceBase.PER_BILLING_PERIOD, "1083.333333333"),
        ("600", BillingPeriod.SEMI_ANNUAL, ListPriceBase.PER_BILLING_PERIOD, "100"),
    ],
)
def test_monthly_revenue_is_the_price_for_one_month(price, period, base, expected):
    terms = MONTHLY_FLAT_FEE._replace(billing_period=period, list_price_base=base)
    assert monthly_revenue(terms, segment("2026-01-01", price=price)) == Decimal(expected)


def test_one_time_charges_bring_nothing_that_recurs():
    terms = MONTHLY_FLAT_FEE._replace(charge_type=ChargeType.ONE_TIME, billing_period=None)
    assert monthly_revenue(terms, segment("2026-01-01")) == 0


@dataclass
class Refused:
    """A request that cannot be ordered by Acme: what is asked for, and the field and words of the refusal."""

    name: str
    subscription: NewSubscription
    field: str
    words: str


def _refused_requests():
    team = team_plan()
    ill = plan("Incomplete", seats("Licences", quantity=None), of=product("Licences"))
    domestic = plan("Domestic", monthly(prices={"EUR": Decimal(10)}))
    bounded = (Tier(Decimal(50), Decimal(10), PriceFormat.PER_UNIT),)
    calls = plan("Calls", by_tiers("Calls", ChargeModel.VOLUME, bounded, quantity="60"))
    empty = create_rate_plan(product=product(), name="Empty")
    later = plan("Later", monthly(trigger_event=TriggerEvent.SPECIFIC_DATE))
    old = plan("Old", monthly(), of=product("Old", end="2026-03-10"))
    team_seats, licences = charge_of(team, "Seats"), ill.charges.get()

    def count(number):
        return ChargeChoice(licences, quantity=Decimal(number))

    return [
        Refused("no price", new(domestic), "price", "Charge “Platform fee” of rate plan “Domestic” has no price in USD."),
        Refused("no quantity", new(ill), "quantity", "Charge “Licences” of rate plan “Incomplete” needs a quantity."),
        Refused("negative", new(ill, count("-1")), "quantity", "has a quantity below zero (-1)."),
        Refused("not a number", new(ill, count("NaN")), "quantity", "has a quantity that is not a number."),
        Refused("too large", new(ill, count("1e13")), "quantity", "beyond the limit of 1,000,000,000,000."),
        Refused("too exact", new(ill, count("0.1234567891")), "quantity", "more than 9 decimal places."),
        Refused("flat", new(later, ChargeChoice(later.charges.get(), Decimal(1), trigger_date=START)), "quantity", "no quantity"),
        Refused("above tiers", new(calls), "price", "has a quantity of 60, above the end of its last tier."),
        Refused("tiers", new(team, ChargeChoice(team_seats, tiers=bounded)), "price", "give that instead of tiers."),
        Refused("stranger", new(team, count("1")), "charges", "“Licences” is not a charge of rate plan “Platform · Team”."),
        Refused("months", new(team, term_months=0), "term_months", "A term lasts 1 to 600 months, not 0."),
        Refused("term", new(team, term_end=START), "term_end", "2026-03-10 is not after 2026-03-10."),
        Refused("both", new(team, term_months=1, term_end=day("2027-01-01")), "term_end", "not both."),
        Refused("activation", new(team, service_activation=day("2026-03-01")), "service_activation", "cannot come before"),
        Refused("no date", new(later), "trigger_date", "begins on a date of its own: give it."),
        Refused("not sold", new(old), "rate_plans", "“Old” is not sold on 2026-03-10."),
        Refused("no charges", new(empty), "rate_plans", "Rate plan “Platform · Empty” has no charges."),
        Refused("no plan", NewSubscription((), START), "rate_plans", "needs at least one rate plan."),
    ]  # fmt: skip


class TestRefusals:
    def test_each_flaw_is_told_with_its_field_and_nothing_is_written(self):
        account = acme()
        for case in _refused_requests():
            found = refusal(account, case.subscription)
            assert list(found) == [case.field], case.name
            assert case.words in " ".join(found[case.field]), case.name

    @pytest.mark.parametrize("status", [AccountStatus.DRAFT, AccountStatus.CANCELED])
    def test_account_must_be_active(self, status):
        account = acme(status=status)
        found = refusal(account, new(team_plan()))
        assert found["account"] == [f"Account {account.number} is {status}; only active accounts can order."]

    def test_billed_account_has_the_same_currency(self):
        account, owner = acme(), globex()
        words = f"Account {owner.number} is billed in EUR, account {account.number} in USD."
        assert refusal(account, new(team_plan(), invoice_owner=owner)) == {"invoice_owner": [words]}

    def test_order_without_subscriptions_is_refused(self):
        assert list(refusal(acme())) == ["actions"]

    def test_message_says_which_subscription_is_meant(self):
        rate_plan = team_plan()
        found = refusal(acme(), new(rate_plan), new(rate_plan, term_months=0))
        assert found == {"term_months": ["Action 2: A term lasts 1 to 600 months, not 0."]}

    def test_same_mistake_two_thousand_times_is_told_twenty_times(self):
        found = refusal(acme(), *[new(team_plan(), term_months=0)] * 2000)
        assert len(found["term_months"]) == 20


class TestCatalogue:
    def test_tiered_charge_needs_tiers_in_order(self):
        with pytest.raises(ValidationError, match="give tiers instead of one price"):
            plan("A", monthly(charge_model=ChargeModel.TIERED))
        with pytest.raises(ValidationError, match="must end above the one before"):
            plan("B", by_tiers("Calls", ChargeModel.TIERED, tuple(reversed(TIERS)), quantity="1"))
        with pytest.raises(ValidationError, match="at least one tier"):
            plan("C", by_tiers("Calls", ChargeModel.TIERED, (), quantity="1"))

    def test_recurring_charge_needs_a_billing_period(self):
        with pytest.raises(ValidationError, match="needs a billing period"):
            create_charge(rate_plan=create_rate_plan(product=product(), name="A"), name="Fee", prices={})

    def test_product_ends_after_it_starts(self):
        with pytest.raises(ValidationError, match="end must lie after the start"):
            create_product(sku="X", name="X", effective_start=START, effective_end=START)


def test_two_thousand_subscriptions_take_seconds_and_few_queries():
    account, rate_plan = acme(), team_plan()
    requests = [new(rate_plan) for _ in range(2000)]
    began = time.monotonic()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        made = order(account, *requests)
    assert time.monotonic() - began < 20
    assert len(queries) < 60
    assert made.actions.count() == Subscription.objects.count() == 2000
    assert RatePlanCharge.objects.values("number").distinct().count() == 4000
