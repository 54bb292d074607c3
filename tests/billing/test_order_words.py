"""What orders changed, in words: each kind of action tells from and to, and its page and its subscription's show it."""

from decimal import Decimal

import pytest

from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import OrderAction, TermType
from billing.order_words import CHANGES_SHOWN, UNREADABLE, told
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    CancelWhen,
    NewRatePlan,
    RemoveProduct,
    RenewSubscription,
    Resume,
    SetTriggerDates,
    Suspend,
    TermsAndConditions,
)
from tests.billing.orders import TIERS, act, change, subscribed, update
from tests.factories import by_tiers, day, monthly, once, plan, seats, user

pytestmark = pytest.mark.django_db

HALF_OFF = {"charge_model": ChargeModel.DISCOUNT_PERCENTAGE, "discount_level": "Subscription"}


def words(order, currency="USD"):
    """Return the lines of an order's actions."""
    return [told_action.lines for told_action in told(order.actions.order_by("position"), currency)]


def first_words(subscription):
    return words(subscription.order_actions.get().order)[0]


class TestCreation:
    def test_each_charge_is_told_with_quantity_and_price(self):
        sold = plan("Team", seats("Seats", "10"), monthly("Fee", "30"), once("Onboarding"))
        lines = first_words(subscribed(sold))
        assert lines == ["Seats: 10 × $10.00 a month", "Fee: $30.00 a month", "Onboarding: $100.00"]

    def test_tiers_are_told_one_after_the_other(self):
        sold = plan("Calls", by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60"))
        assert first_words(subscribed(sold)) == ["Calls: 60, up to 50: $10.00 each; above 50: $8.00 each"]

    def test_discounts_are_percentages_or_amounts_off(self):
        applies = {"discount_applies_to": ["Recurring"], **HALF_OFF}
        fixed = {**applies, "charge_model": ChargeModel.DISCOUNT_FIXED}
        sold = plan("Team", monthly("Half", "50", **applies), monthly("Less", "5", **fixed))
        assert first_words(subscribed(sold)) == ["Half: 50\N{NO-BREAK SPACE}% off", "Less: $5.00 off a month"]

    def test_an_end_of_its_own_is_told_by_its_last_day(self):
        fixed = {"end_condition": "FixedPeriod", "up_to_periods": 3, "up_to_periods_type": "Months"}
        sold = plan("Team", monthly("Fee", "30", **fixed))
        assert first_words(subscribed(sold)) == ["Fee: $30.00 a month, last day 31 Mar 2026"]

    def test_of_many_charges_a_few_are_told_and_the_rest_counted(self, django_assert_num_queries):
        sold = plan("Large", *(monthly(f"Fee {number:02d}", "30") for number in range(CHANGES_SHOWN + 3)))
        actions = list(subscribed(sold).order_actions.all())
        with django_assert_num_queries(1):
            [action] = told(actions, "USD")
        assert (len(action.lines), action.more) == (CHANGES_SHOWN, 3)


class TestChanges:
    @pytest.mark.parametrize(
        ("values", "line"),
        [
            ({"quantity": "13"}, "Seats: quantity 10 → 13"),
            ({"price": "5.5"}, "Seats: price $5.00 → $5.50"),
            ({"quantity": "1200.5", "price": "4"}, "Seats: quantity 10 → 1,200.5, price $5.00 → $4.00"),
        ],
    )
    def test_quantity_and_price_are_told_from_and_to(self, values, line):
        subscription = subscribed()
        assert words(act(subscription, update(subscription, "2026-04-01", **values))) == [[line]]

    def test_tiers_are_told_whole(self):
        subscription = subscribed(plan("Calls", by_tiers("Calls", ChargeModel.VOLUME, TIERS, quantity="60")))
        only = (Tier(None, Decimal(1), PriceFormat.FLAT_FEE),)
        order = act(subscription, update(subscription, "2026-02-01", change("Calls", tiers=only)))
        before = "up to 50: $10.00 each; above 50: $8.00 each"
        assert words(order) == [[f"Calls: tiers {before} → all: $1.00 flat"]]

    def test_a_plan_comes_and_goes(self):
        subscription = subscribed()
        support = plan("Support", monthly("Support", "20"))
        order = act(
            subscription,
            AddProduct(subscription, NewRatePlan(support), day("2026-02-01")),
            RemoveProduct(subscription, support, day("2026-06-01")),
        )
        assert words(order) == [
            ["Plan “Support” added.", "Support: $20.00 a month"],
            ["Plan “Support” removed.", "Support: ends with $20.00 a month, last day 31 May 2026"],
        ]

    def test_what_is_removed_before_its_first_day_never_begins(self):
        subscription = subscribed()
        support = plan("Support", monthly("Support", "20"))
        act(subscription, AddProduct(subscription, NewRatePlan(support), day("2026-03-01")))
        order = act(subscription, RemoveProduct(subscription, support, day("2026-02-01")))
        assert words(order)[0][1] == "Support: will not begin ($20.00 a month)"


class TestLife:
    def test_a_renewal_tells_the_last_days(self):
        subscription = subscribed(term_months=12)
        order = act(subscription, RenewSubscription(subscription))
        assert words(order) == [["Last day of the term: 31 Dec 2026 → 31 Dec 2027"]]

    def test_a_pause_tells_what_it_takes_and_gives_back(self):
        subscription = subscribed(term_months=12)
        order = act(
            subscription,
            Suspend(subscription, day("2026-03-01")),
            Resume(subscription, day("2026-04-01"), extend_term=True),
        )
        assert words(order) == [
            ["Seats: suspended with 10 × $5.00 a month, last day 28 Feb 2026"],
            [
                "It was suspended for 31 days, from 1 Mar 2026 on.",
                "Last day of the term: 31 Dec 2026 → 31 Jan 2027",
                "Seats: resumes with 10 × $5.00 a month",
            ],
        ]

    def test_what_happens_to_all_charges_is_told_together(self):
        own_end = {"end_condition": "FixedPeriod", "up_to_periods": 3, "up_to_periods_type": "Months"}
        sold = plan("Team", seats("Seats", "10"), monthly("Fee", "30"), monthly("Start", "9", **own_end))
        subscription = subscribed(sold)
        late = plan("Late", monthly("Late", "20"))
        act(subscription, AddProduct(subscription, NewRatePlan(late), day("2026-03-01")))
        order = act(
            subscription,
            Suspend(subscription, day("2026-02-01")),
            Resume(subscription, day("2026-03-01")),
            CancelSubscription(subscription, day("2026-06-01")),
        )
        assert words(order) == [
            ["Seats, Fee, Start: suspended, last day 31 Jan 2026", "Late: will not begin"],
            [
                "It was suspended for 28 days, from 1 Feb 2026 on.",
                "Seats, Fee, Late: resumes",
                "Start: resumes, last day 31 Mar 2026",
            ],
            ["Seats, Fee, Late: ends, last day 31 May 2026"],
        ]

    def test_a_pause_of_one_day(self):
        subscription = subscribed()
        order = act(subscription, Suspend(subscription, day("2026-03-01")), Resume(subscription, day("2026-03-02")))
        assert words(order)[1][0] == "It was suspended for 1 day, from 1 Mar 2026 on."

    def test_a_cancellation_tells_why_on_that_day(self):
        subscription = subscribed(term_months=12)
        order = act(subscription, CancelSubscription(subscription, when=CancelWhen.END_OF_TERM))
        assert words(order) == [
            ["At the end of its term.", "Seats: ends with 10 × $5.00 a month, last day 31 Dec 2026"]
        ]

    def test_changed_terms_are_told_one_by_one(self):
        subscription = subscribed()
        order = act(
            subscription,
            TermsAndConditions(
                subscription,
                day("2026-02-01"),
                term_type=TermType.TERMED,
                term_months=12,
                auto_renew=True,
                renewal_months=6,
                invoice_separately=True,
                name="Head office",
            ),
            TermsAndConditions(subscription, day("2026-02-01"), renewal_months=1, name=""),
        )
        assert words(order) == [
            [
                "Name: none → “Head office”",
                "Term: evergreen → termed",
                "Last day of the term: none → 31 Dec 2026",
                "Renews itself: no → yes",
                "Each renewal: as long as the first term → 6 months",
                "Invoiced separately: no → yes",
            ],
            ["Name: “Head office” → none", "Each renewal: 6 months → 1 month"],
        ]


class TestWhatWasRepairedByHand:
    @pytest.mark.parametrize("details", [{}, {"charges": []}, {"remark": "see contract"}])
    def test_nothing_told_is_nothing_said(self, details):
        action = subscribed().order_actions.get()
        action.details = details
        assert told([action], "USD") == [(action, [], 0)]

    @pytest.mark.parametrize(
        "details",
        [
            [],
            7,
            {"charges": 7},
            {"charges": [{}]},
            {"charges": [{"charge": "C-1", "name": "Seats", "change": "Added", "from": None, "to": None}]},
            {"changed": {"term_end": ["2026-01-01"]}},
            {"changed": {"term_end": ["2026-01-01", "tomorrow"]}},
            {"suspended_days": "x", "suspended_from": "2026-01-01"},
        ],
    )
    def test_what_cannot_be_read_is_said_so(self, details):
        action = subscribed().order_actions.get()
        action.details = details
        assert told([action], "USD")[0].lines == [UNREADABLE]


class TestPage:
    def test_the_order_page_says_what_changes(self, client, fixed_today):
        client.force_login(user("viewer"))
        subscription = subscribed()
        order = act(subscription, update(subscription, "2026-08-01", quantity="13"))
        page = client.get(order.get_absolute_url()).content.decode()
        assert "What changes" in page
        assert "Seats: quantity 10 → 13" in page
        assert "+$15.00" in page

    def test_an_action_without_details_has_a_dash(self, client, fixed_today):
        client.force_login(user("viewer"))
        subscription = subscribed()
        OrderAction.objects.update(details={})
        page = client.get(subscription.order_actions.get().order.get_absolute_url()).content.decode()
        assert '<span class="muted">–</span>' in page


def test_trigger_dates_are_told_with_the_status_they_lead_to():
    waiting = plan("Later", monthly("Hosting", trigger_event="ServiceActivation"))
    subscription = subscribed(waiting)
    order = act(subscription, SetTriggerDates(subscription, service_activation=day("2026-03-02")))
    assert words(order)[0] == [
        "Service activation: not known → 2 Mar 2026",
        "Status: pending activation → active",
        "Hosting: begins 2 Mar 2026",
    ]
