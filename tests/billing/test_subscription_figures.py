"""Figures of a subscription: revenue now and later, what waits, and how far its charges are billed."""

from decimal import Decimal

import pytest

from billing.core.types import BillingPeriod, ChargeModel
from billing.models import SubscriptionStatus
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    ChargeChoice,
    NewRatePlan,
    RemoveProduct,
    Resume,
    Suspend,
)
from billing.subscription_figures import Figures, RevenueStep, figures_of
from tests.billing.orders import act, change, subscribed, update
from tests.factories import bill, day, monthly, once, plan, seats

pytestmark = pytest.mark.django_db

OFF = {
    "charge_model": ChargeModel.DISCOUNT_FIXED,
    "discount_level": "Subscription",
    "discount_applies_to": ["Recurring"],
}


def figures(subscription, today="2026-07-15", shown=()) -> Figures:
    subscription.refresh_from_db()
    return figures_of(subscription, shown, today=day(today))


def steps(found: Figures) -> list[tuple[str, int]]:
    return [(str(step.day), int(step.mrr)) for step in found.later]


class TestRevenue:
    def test_what_was_agreed_on_counts_from_its_day_on(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2026-04-01", quantity="13"))
        act(subscription, update(subscription, "2026-10-01", quantity="20"))
        found = figures(subscription)
        assert (found.mrr, steps(found)) == (Decimal(65), [("2026-10-01", 100)])
        assert figures(subscription, "2026-01-15").mrr == 50
        assert steps(figures(subscription, "2026-01-15")) == [("2026-04-01", 65), ("2026-10-01", 100)]

    def test_a_day_on_which_nothing_changes_in_all_is_no_step(self):
        subscription = subscribed(plan("Team", seats("Up", "1"), seats("Down", "2")))
        act(
            subscription,
            update(
                subscription,
                "2026-10-01",
                change("Up", quantity="2"),
                change("Down", quantity="1"),
            ),
        )
        assert steps(figures(subscription)) == []

    def test_charges_are_added_up_and_only_recurring_ones_count(self):
        sold = plan(
            "Team",
            seats("Seats", "10"),
            monthly("Fee", "300", billing_period=BillingPeriod.QUARTER),
            once("Onboarding"),
            monthly("Off", "25", **OFF),
            seats("Calls", None, charge_type="Usage"),
        )
        assert figures(subscribed(sold)).mrr == 200

    def test_a_cancellation_and_a_removal_end_it(self):
        subscription = subscribed()
        support = plan("Support", monthly("Support", "20"))
        act(subscription, AddProduct(subscription, NewRatePlan(support), day("2026-08-01")))
        act(subscription, RemoveProduct(subscription, support, day("2026-09-01")))
        act(subscription, CancelSubscription(subscription, day("2026-10-01")))
        found = figures(subscription)
        assert (found.mrr, steps(found)) == (50, [("2026-08-01", 70), ("2026-09-01", 50), ("2026-10-01", 0)])
        assert not any(step.is_term_end for step in found.later)

    def test_a_pause_brings_nothing(self):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-07-01")))
        assert (figures(subscription).mrr, figures(subscription).later) == (0, [])
        act(subscription, Resume(subscription, day("2026-09-01")))
        found = figures(subscription)
        assert (found.mrr, steps(found)) == (0, [("2026-09-01", 50)])

    def test_without_renewal_all_ends_with_the_term(self):
        subscription = subscribed(term_months=12)
        found = figures(subscription)
        assert (found.mrr, found.later) == (50, [RevenueStep(day("2027-01-01"), Decimal(0), is_term_end=True)])
        assert figures(subscription, "2026-12-31").mrr == 50
        assert (figures(subscription, "2027-01-01").mrr, figures(subscription, "2027-01-01").later) == (0, [])

    def test_with_renewal_it_goes_on(self):
        subscription = subscribed(term_months=12, auto_renew=True)
        assert (figures(subscription).mrr, figures(subscription).later) == (50, [])
        assert figures(subscription, "2027-02-01").mrr == 50

    def test_what_has_not_begun_counts_later(self):
        found = figures(subscribed(start="2026-08-01"))
        assert (found.mrr, steps(found)) == (0, [("2026-08-01", 50)])

    def test_what_was_replaced_on_its_first_day_counts_nothing(self):
        subscription = subscribed(start="2026-08-01")
        act(subscription, update(subscription, "2026-08-01", quantity="13"))
        assert steps(figures(subscription)) == [("2026-08-01", 65)]


class TestWaiting:
    def test_a_charge_without_a_day_waits(self):
        subscription = subscribed()
        late = plan("Late", monthly("Late", "20", trigger_event="ServiceActivation"), once("Once"))
        act(subscription, AddProduct(subscription, NewRatePlan(late), day("2026-02-01")))
        found = figures(subscription)
        assert (found.mrr, found.waiting, found.all_begun) == (50, 20, 70)

    def test_of_a_subscription_that_waits_everything_does(self):
        sold = plan("Team", seats("Seats", "10"), monthly("Late", "20", trigger_event="CustomerAcceptance"))
        subscription = subscribed(sold)
        assert subscription.status == SubscriptionStatus.PENDING_ACCEPTANCE
        found = figures(subscription)
        assert (found.mrr, found.later, found.waiting, found.goes_on) == (0, [], 120, 0)


class TestBilled:
    def test_the_charge_that_is_billed_least_says_how_far(self):
        subscription = subscribed(
            plan("Team", seats("Seats", "10"), monthly("Fee", billing_period=BillingPeriod.QUARTER))
        )
        nothing = figures(subscription)
        assert (nothing.billed_first, nothing.billed_last, nothing.not_billed, nothing.goes_on) == (None, None, 2, 2)
        bill("2026-07-01")
        found = figures(subscription)
        assert (str(found.billed_first), str(found.billed_last)) == ("2026-07-31", "2026-09-30")
        assert (found.not_billed, found.goes_on) == (0, 2)

    def test_charges_of_which_nothing_is_billed_are_counted(self):
        subscription = subscribed()
        bill("2026-07-01")
        own = plan("Own", monthly("Own", trigger_event="SpecificDate"), once("Once"))
        choice = ChargeChoice(own.charges.get(name="Own"), trigger_date=day("2026-09-01"))
        act(subscription, AddProduct(subscription, NewRatePlan(own, (choice,)), day("2026-07-10")))
        found = figures(subscription)
        assert (str(found.billed_first), found.not_billed, found.goes_on) == ("2026-07-31", 1, 2)

    def test_where_nothing_goes_on_the_last_day_ever_billed_is_told(self):
        subscription = subscribed(plan("Team", seats("Seats", "10"), once("Once")))
        bill("2026-05-01")
        act(subscription, CancelSubscription(subscription, day("2026-06-01")))
        shown = list(subscription.charges.all())
        for charge in shown:
            charge.billed_last = day("2026-05-31") if charge.billing_period else day("2026-06-30")
        found = figures(subscription, shown=shown)
        assert (str(found.billed_first), str(found.billed_last), found.goes_on) == ("2026-05-31", "2026-05-31", 0)
        assert figures(subscription).billed_first is None


def test_it_takes_one_query(django_assert_num_queries):
    subscription = subscribed(plan("Team", *(seats(f"Seats {number}") for number in range(20))))
    with django_assert_num_queries(1):
        assert figures_of(subscription, (), today=day("2026-07-15")).mrr == 1000
