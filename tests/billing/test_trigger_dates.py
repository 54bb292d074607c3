"""Trigger dates set after the order: charges that waited begin, the status moves on, revenue is counted once.

2026        Jan           Feb           Mar
ordered     |~~~~ waits for activation ~~~~~~ …      MRR counted here
activated                        |=========== …      10 Feb: nothing is added to it
"""

from datetime import date
from decimal import Decimal

import pytest

from billing.core.types import BillingPeriod
from billing.models import OrderActionType, RatePlanCharge, SubscriptionStatus
from billing.models.terms import EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    ChargeChoice,
    CreatedBy,
    NewRatePlan,
    NewSubscription,
    RemoveProduct,
    RenewSubscription,
    Resume,
    SetTriggerDates,
    Suspend,
    place_order,
)
from invoicing.models import Coverage
from tests.billing.orders import FIVE, START, act, refusal, segments, subscribed, update
from tests.factories import acme, day, monthly, once, plan, seats

pytestmark = pytest.mark.django_db

ON_ACTIVATION = {"trigger_event": TriggerEvent.SERVICE_ACTIVATION}
ON_ACCEPTANCE = {"trigger_event": TriggerEvent.CUSTOMER_ACCEPTANCE}


def waiting(*charges, **changes):
    """Return Acme's subscription of January to ten five-dollar seats that wait for their activation, or to `charges`."""
    return subscribed(plan("Live", *(charges or [seats("Seats", "10", prices=FIVE, **ON_ACTIVATION)])), **changes)


def activate(subscription, on, **changes):
    return SetTriggerDates(subscription, service_activation=day(on), **changes)


def accept(subscription, on):
    return SetTriggerDates(subscription, customer_acceptance=day(on))


def begins(name="Seats"):
    """Return the trigger date of a charge as text, or None while it waits."""
    found: date | None = RatePlanCharge.objects.get(name=name).trigger_date
    return found and str(found)


def status(subscription):
    subscription.refresh_from_db()
    return subscription.status


def cover(name="Seats"):
    """Let a charge be billed for a month from its trigger date on."""
    charge = RatePlanCharge.objects.get(name=name)
    Coverage.objects.create(charge=charge, period=(charge.trigger_date, day("2026-12-01")))


class TestActivation:
    def test_charges_that_waited_begin_and_revenue_is_not_counted_twice(self):
        subscription = waiting()
        assert (status(subscription), begins()) == (SubscriptionStatus.PENDING_ACTIVATION, None)
        [created] = subscription.order_actions.all()
        order = act(subscription, activate(subscription, "2026-02-10"), on=day("2026-02-12"))
        assert (status(subscription), begins()) == (SubscriptionStatus.ACTIVE, "2026-02-10")
        assert subscription.service_activation == day("2026-02-10")
        assert segments() == [(1, "2026-02-10", None, 10, 5)]
        action = order.actions.get()
        assert (action.kind, action.effective_date) == (OrderActionType.SET_TRIGGER_DATES, day("2026-02-10"))
        assert action.get_kind_display() == "Set trigger dates"
        assert (created.delta_mrr, action.delta_mrr) == (50, 0)
        assert action.details["changed"] == {
            "service_activation": [None, "2026-02-10"],
            "status": ["PendingActivation", "Active"],
        }
        [told] = action.details["charges"]
        assert (told["from"]["start"], told["to"]["start"]) == ("2026-01-01", "2026-02-10")

    def test_then_acceptance(self):
        subscription = waiting(seats("Seats", "10", **ON_ACTIVATION), once("Handover", **ON_ACCEPTANCE), monthly())
        act(subscription, activate(subscription, "2026-02-10"))
        assert (status(subscription), begins("Handover")) == (SubscriptionStatus.PENDING_ACCEPTANCE, None)
        act(subscription, accept(subscription, "2026-02-10"))
        assert (status(subscription), begins("Handover")) == (SubscriptionStatus.ACTIVE, "2026-02-10")
        assert [begins("Seats"), begins("Platform fee")] == ["2026-02-10", "2026-01-01"]

    def test_both_at_once(self):
        subscription = waiting(seats("Seats", "10", **ON_ACTIVATION), once("Handover", **ON_ACCEPTANCE))
        order = act(subscription, activate(subscription, "2026-02-10", customer_acceptance=day("2026-02-20")))
        assert status(subscription) == SubscriptionStatus.ACTIVE
        assert [begins("Seats"), begins("Handover")] == ["2026-02-10", "2026-02-20"]
        assert order.actions.get().effective_date == day("2026-02-10")

    def test_acceptance_first_leaves_it_waiting_for_its_activation(self):
        subscription = waiting(seats("Seats", "10", **ON_ACTIVATION), once("Handover", **ON_ACCEPTANCE))
        act(subscription, accept(subscription, "2026-02-20"))
        assert status(subscription) == SubscriptionStatus.PENDING_ACTIVATION

    def test_in_the_order_that_creates_it_and_in_the_future(self):
        rate_plan = plan("Live", seats("Seats", "10", **ON_ACTIVATION))
        new = NewSubscription((NewRatePlan(rate_plan),), START)
        dated = SetTriggerDates(CreatedBy(1), service_activation=day("2027-01-01"))
        place_order(account=acme(), order_date=START, actions=[new, dated])
        assert (begins(), segments()[0][1]) == ("2027-01-01", "2027-01-01")

    def test_sets_the_bill_cycle_day_of_an_account_that_has_none(self):
        rate_plan = plan("Live", seats("Seats", "10", **ON_ACTIVATION))
        account = acme(bill_cycle_day=0)
        place_order(account=account, order_date=START, actions=[NewSubscription((NewRatePlan(rate_plan),), START)])
        assert account.bill_cycle_day == 0
        subscription = account.subscriptions.get()
        place_order(account=account, order_date=START, actions=[activate(subscription, "2026-02-17")])
        account.refresh_from_db()
        assert account.bill_cycle_day == 17

    def test_changes_ordered_while_it_waited_keep_their_days(self):
        subscription = waiting()
        act(
            subscription,
            update(subscription, "2026-02-01", quantity="12"),
            update(subscription, "2026-06-01", quantity="20"),
        )
        order = act(subscription, activate(subscription, "2026-03-10"))
        assert [row[1:4] for row in segments()] == [
            ("2026-02-01", "2026-02-01", 10),
            ("2026-03-10", "2026-06-01", 12),
            ("2026-06-01", None, 20),
        ]
        assert order.actions.get().delta_mrr == 0

    def test_a_plan_added_later_never_begins_before_the_day_it_was_agreed_on(self):
        subscription = waiting()
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), day("2026-04-01")))
        act(subscription, activate(subscription, "2026-02-10"))
        assert [begins("Seats"), begins("Extra")] == ["2026-02-10", "2026-04-01"]

    def test_a_plan_added_to_a_running_subscription_waits_alone(self):
        subscription = subscribed()
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), day("2026-04-01")))
        assert (status(subscription), begins("Extra")) == (SubscriptionStatus.ACTIVE, None)
        act(subscription, activate(subscription, "2026-04-20"))
        assert (status(subscription), begins("Extra")) == (SubscriptionStatus.ACTIVE, "2026-04-20")


class TestEnds:
    def test_a_fixed_period_is_counted_from_the_day_it_begins(self):
        three = {"end_condition": EndCondition.FIXED_PERIOD, "up_to_periods": 3}
        subscription = waiting(
            seats("Seats", "10", up_to_periods_type=UpToPeriodsType.MONTHS, **three, **ON_ACTIVATION)
        )
        assert segments()[0][2] is None
        act(subscription, activate(subscription, "2026-02-10"))
        assert segments()[0][1:3] == ("2026-02-10", "2026-05-10")
        act(subscription, activate(subscription, "2026-03-01"))
        assert segments()[0][1:3] == ("2026-03-01", "2026-06-01")

    def test_not_on_or_after_an_end_date_of_its_own(self):
        ending = plan("Live", seats("Seats", "10", end_condition=EndCondition.SPECIFIC_END_DATE, **ON_ACTIVATION))
        choice = ChargeChoice(ending.charges.get(), end_date=day("2026-03-01"))
        subscription = subscribed(ending, charges=[choice])
        [problem] = refusal(subscription, activate(subscription, "2026-03-01"))
        assert (problem.field, "ends on 2026-03-01; it cannot begin on 2026-03-01." in problem.message) == (
            "service_activation",
            True,
        )
        act(subscription, activate(subscription, "2026-02-28"))
        assert segments()[0][1:3] == ("2026-02-28", "2026-03-01")

    def test_a_plan_removed_before_it_began_never_begins(self):
        subscription = waiting()
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), START))
        act(subscription, RemoveProduct(subscription, extra, day("2026-02-01")))
        act(subscription, activate(subscription, "2026-02-10"))
        assert (begins("Extra"), segments("Extra")[0][1:3]) == (None, ("2026-01-01", "2026-01-01"))
        assert status(subscription) == SubscriptionStatus.ACTIVE

    def test_without_the_last_plan_that_waits_the_subscription_runs(self):
        subscription = waiting(monthly())
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        place_order(
            account=subscription.account,
            order_date=START,
            actions=[NewSubscription((NewRatePlan(extra), NewRatePlan(plan("Basic", monthly("Basic")))), START)],
        )
        second = subscription.account.subscriptions.get(status=SubscriptionStatus.PENDING_ACTIVATION)
        act(second, RemoveProduct(second, extra, START))
        assert status(second) == SubscriptionStatus.ACTIVE


class TestMoving:
    def test_a_day_that_was_only_planned_moves_both_ways(self):
        subscription = waiting(service_activation=day("2026-03-01"))
        act(subscription, update(subscription, "2026-03-20", quantity="12"))
        for on, expected in [
            ("2026-04-10", [("2026-03-20", "2026-03-20", 10), ("2026-04-10", None, 12)]),
            ("2026-02-10", [("2026-02-10", "2026-03-20", 10), ("2026-03-20", None, 12)]),
        ]:
            order = act(subscription, activate(subscription, on))
            assert (begins(), [row[1:4] for row in segments()]) == (on, expected)
            assert order.actions.get().delta_mrr == 0

    def test_a_plan_with_a_date_of_its_own_stays(self):
        subscription = waiting(service_activation=day("2026-03-01"))
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        own = AddProduct(subscription, NewRatePlan(extra), day("2026-02-01"), service_activation=day("2026-02-10"))
        act(subscription, own)
        act(subscription, activate(subscription, "2026-03-15"))
        assert [begins("Seats"), begins("Extra")] == ["2026-03-15", "2026-02-10"]

    def test_a_plan_added_later_moves_but_not_before_its_day(self):
        subscription = waiting(service_activation=day("2026-03-01"))
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), day("2026-02-15")))
        act(subscription, activate(subscription, "2026-05-01"))
        assert begins("Extra") == "2026-05-01"
        act(subscription, activate(subscription, "2026-02-01"))
        assert [begins("Seats"), begins("Extra")] == ["2026-02-01", "2026-02-15"]

    def test_not_once_it_is_billed(self):
        subscription = waiting(service_activation=day("2026-03-01"))
        cover()
        [problem] = refusal(subscription, activate(subscription, "2026-03-02"))
        assert problem.field == "service_activation"
        assert "is billed from 2026-03-01 on; its service activation date can no longer move." in problem.message


class TestRefused:
    @pytest.mark.parametrize(
        ("dates", "field", "words"),
        [
            ({}, "service_activation", "Give the day of service activation, of customer acceptance, or both."),
            (
                {"service_activation": day("2025-12-31")},
                "service_activation",
                "Service activation (2025-12-31) cannot come before the contract effective date (2026-01-01).",
            ),
            (
                {"service_activation": day("2026-02-10"), "customer_acceptance": day("2026-02-09")},
                "customer_acceptance",
                "Customer acceptance (2026-02-09) cannot come before the service activation date (2026-02-10).",
            ),
            ({"service_activation": day("0026-02-10")}, "service_activation", "cannot be right"),
            ({"service_activation": day("2027-01-01")}, "service_activation", "has a term up to 2027-01-01"),
            ({"customer_acceptance": day("2026-02-10")}, "customer_acceptance", "waits for its customer acceptance."),
        ],
    )
    def test_by_field(self, dates, field, words):
        subscription = waiting(term_months=12)
        problems = refusal(subscription, SetTriggerDates(subscription, **dates))
        assert [(problem.field, words in problem.message) for problem in problems] == [(field, True)], problems

    def test_activation_after_an_acceptance_that_is_known(self):
        subscription = waiting(customer_acceptance=day("2026-02-01"))
        [problem] = refusal(subscription, activate(subscription, "2026-02-10"))
        assert (problem.field, "(2026-02-01) cannot come before" in problem.message) == ("service_activation", True)

    def test_where_nothing_waits(self):
        subscription = subscribed()
        [problem] = refusal(subscription, activate(subscription, "2026-02-10"))
        assert problem.message == (
            f"Subscription {subscription.number} would stay as it is. No charge waits for its service activation."
        )

    def test_the_same_day_again(self):
        subscription = waiting(service_activation=day("2026-03-01"))
        [problem] = refusal(subscription, activate(subscription, "2026-03-01"))
        assert "That is its service activation date already." in problem.message

    def test_while_suspended_and_after_cancellation(self):
        subscription = subscribed()
        extra = plan("Extra", monthly("Extra", **ON_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), day("2026-02-01")))
        act(subscription, Suspend(subscription, day("2026-03-01")))
        [problem] = refusal(subscription, activate(subscription, "2026-04-20"))
        assert (problem.field, "is suspended; resume it first." in problem.message) == ("subscription", True)
        act(subscription, Resume(subscription, day("2026-04-01")), CancelSubscription(subscription, day("2026-05-01")))
        [problem] = refusal(subscription, activate(subscription, "2026-04-20"))
        assert "was canceled" in problem.message

    def test_one_wrong_date_stops_the_whole_order(self):
        subscription = waiting(term_months=12)
        problems = refusal(
            subscription,
            activate(subscription, "2026-02-10"),
            RenewSubscription(subscription),
            accept(subscription, "2026-01-05"),
        )
        assert [(problem.position, problem.field) for problem in problems] == [(3, "customer_acceptance")]

    def test_a_fixed_period_without_an_end_in_our_calendar(self):
        long = {"end_condition": EndCondition.FIXED_PERIOD, "up_to_periods": 170}
        subscription = waiting(
            seats(
                "Seats",
                "1",
                up_to_periods_type=UpToPeriodsType.YEARS,
                billing_period=BillingPeriod.ANNUAL,
                **long,
                **ON_ACTIVATION,
            )
        )
        problems = refusal(subscription, activate(subscription, "2031-01-01"))
        assert [(problem.field, "beyond the year 2199" in problem.message) for problem in problems] == [
            ("service_activation", True)
        ]


def test_revenue_of_a_charge_counts_once_from_agreement_to_cancellation():
    subscription = waiting(service_activation=None)
    act(subscription, activate(subscription, "2026-02-10"))
    act(subscription, update(subscription, "2026-03-01", quantity="13"))
    act(subscription, CancelSubscription(subscription, day("2026-06-01")))
    deltas = list(subscription.order_actions.order_by("id").values_list("delta_mrr", flat=True))
    assert deltas == [50, 0, 15, -65]
    assert sum(deltas, Decimal(0)) == 0
