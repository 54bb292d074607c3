"""Order actions on products: what each does to segments and revenue, several in one order, and what is refused."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import (
    ChargeSegment,
    OrderActionType,
    RatePlanCharge,
)
from billing.models.terms import TriggerEvent
from billing.services.order_requests import MAX_ACTIONS, OrderProblem, OrderRefusedError
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    ChargeChange,
    ChargeChoice,
    CreatedBy,
    NewRatePlan,
    NewSubscription,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
    UpdateProduct,
    place_order,
)
from tests.billing.orders import (
    FIVE,
    START,
    TIERS,
    act,
    change,
    five_dollar_seats,
    refusal,
    segments,
    subscribed,
    terms,
    update,
)
from tests.factories import acme, by_tiers, day, globex, monthly, once, plan, product, seats, subscribe

pytestmark = pytest.mark.django_db


class TestUpdateProduct:
    def test_a_new_segment_takes_over_and_revenue_grows_by_the_difference(self):
        """domain.md 10: from 10 to 13 at $5 on 1 April makes +15.00 a month."""
        subscription = subscribed()
        order = act(subscription, update(subscription, "2026-04-01", quantity="13"), on=day("2026-04-01"))
        assert segments() == [(1, "2026-01-01", "2026-04-01", 10, 5), (2, "2026-04-01", None, 13, 5)]
        assert list(ChargeSegment.objects.order_by("number").values_list("mrr", flat=True)) == [50, 65]
        action = order.actions.get()
        assert (action.kind, action.delta_mrr) == (OrderActionType.UPDATE_PRODUCT, Decimal("15.00"))
        assert (action.effective_date, action.subscription) == (day("2026-04-01"), subscription)
        [told] = action.details["charges"]
        assert (told["charge"], told["name"], told["change"]) == ("C-00000001", "Seats", "Changed")
        assert (told["from"]["quantity"], told["to"]["quantity"], told["to"]["price"]) == ("10", "13", "5")
        assert (told["to"]["segment"], told["to"]["start"], told["to"]["end"]) == (2, "2026-04-01", None)

    def test_a_segment_replaced_on_its_first_day_keeps_no_day(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2026-01-01", price="6"))
        assert segments() == [(1, "2026-01-01", "2026-01-01", 10, 5), (2, "2026-01-01", None, 10, 6)]

    def test_tiers_are_replaced_whole(self):
        subscription = subscribed(plan("Calls", by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60")))
        only = (Tier(None, Decimal(1), PriceFormat.PER_UNIT),)
        order = act(subscription, update(subscription, "2026-02-01", change("Calls", tiers=only)))
        last = ChargeSegment.objects.latest("number")
        assert list(last.tiers.values_list("number", "up_to", "price")) == [(1, None, 1)]
        assert (last.quantity, last.mrr, order.actions.get().delta_mrr) == (60, 60, 60 - 580)

    def test_it_may_be_dated_in_the_future_and_back_to_any_day_of_the_latest_segment(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2027-01-01", quantity="20"), on=day("2026-06-01"))
        act(subscription, update(subscription, "2027-01-01", quantity="21"), on=day("2027-06-01"))
        assert [row[1:3] for row in segments()] == [
            ("2026-01-01", "2027-01-01"),
            ("2027-01-01", "2027-01-01"),
            ("2027-01-01", None),
        ]

    def test_a_catalogue_charge_names_the_charge_made_from_it(self):
        rate_plan = five_dollar_seats()
        subscription = subscribed(rate_plan)
        wanted = ChargeChange(rate_plan.charges.get(), quantity=Decimal(1))
        act(subscription, UpdateProduct(subscription, (wanted,), day("2026-02-01")))
        assert segments()[-1][3] == 1

    @pytest.mark.parametrize(
        ("on", "values", "field", "words"),
        [
            ("2025-12-31", {"quantity": "13"}, "effective_date", "begins on 2026-01-01; 2025-12-31 is before that."),
            ("2026-02-01", {"quantity": "-1"}, "quantity", "has a quantity below zero (-1)."),
            ("2026-02-01", {"price": "-0.01"}, "price", "has a price below zero (-0.01)."),
            ("2026-02-01", {"price": "NaN"}, "price", "has a price that is not a number."),
            ("2026-02-01", {"price": "1e13"}, "price", "beyond the limit"),
            ("2026-02-01", {"tiers": TIERS}, "price", "has one price; give that instead of tiers."),
            ("2026-02-01", {"quantity": "10"}, "charges", "would stay as it is"),
            ("0001-02-01", {"quantity": "13"}, "effective_date", "cannot be right: give a day from 1970 to 2199."),
        ],
    )
    def test_refused(self, on, values, field, words):
        subscription = subscribed()
        problems = refusal(subscription, update(subscription, on, **values))
        assert (1, field) in {(problem.position, problem.field) for problem in problems}
        assert any(words in problem.message for problem in problems), problems

    @pytest.mark.parametrize(
        ("values", "field", "words"),
        [
            ({"tiers": tuple(reversed(TIERS))}, "price", "each must end above the one before"),
            ({"tiers": (TIERS[0],)}, "price", "has a quantity of 60, above the end of its last tier."),
            ({"tiers": (Tier(None, Decimal(-1), PriceFormat.PER_UNIT),)}, "price", "below zero in tier 1 (-1)"),
            ({"price": "5"}, "price", "is priced by tiers; give tiers instead of one price."),
        ],
    )
    def test_tiers_are_checked(self, values, field, words):
        subscription = subscribed(plan("Calls", by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60")))
        problems = refusal(subscription, update(subscription, "2026-02-01", change("Calls", **values)))
        assert (problems[0].field, words in problems[0].message) == (field, True), problems

    def test_not_before_a_change_that_is_ordered_already(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2026-06-01", quantity="20"))
        [problem] = refusal(subscription, update(subscription, "2026-05-31", quantity="30"))
        assert problem.field == "effective_date"
        assert "already changes on 2026-06-01; it can change from then on, not on 2026-05-31." in problem.message

    def test_not_outside_the_term(self):
        subscription = subscribed(term_months=12)
        [problem] = refusal(subscription, update(subscription, "2027-01-01", quantity="13"))
        assert "has a term up to 2027-01-01, 2027-01-01 is not in it; renew it first." in problem.message

    def test_not_a_charge_of_another_subscription_nor_one_twice(self):
        rate_plan = plan("Other", seats("Licences"))
        subscription = subscribed()
        subscribe(globex(), rate_plan, "2026-01-01")
        problems = refusal(subscription, update(subscription, "2026-02-01", change("Licences", quantity="1")))
        assert [(problem.field, "has no such charge" in problem.message) for problem in problems] == [("charges", True)]
        twice = (change(quantity="1"), change(quantity="2"))
        [problem] = refusal(subscription, update(subscription, "2026-02-01", *twice))
        assert "is changed twice by one action." in problem.message

    def test_not_a_one_time_charge_after_its_day(self):
        subscription = subscribed(plan("Setup", once()))
        [problem] = refusal(subscription, update(subscription, "2026-01-02", change("Onboarding", price="1")))
        assert "is due once, on 2026-01-01; it cannot change after that." in problem.message
        act(subscription, update(subscription, "2026-01-01", change("Onboarding", price="1")))
        assert segments("Onboarding")[-1][4] == 1

    def test_not_the_subscription_of_another_account(self):
        theirs = subscribe(globex(), five_dollar_seats(), "2026-01-01")
        mine = subscribe(acme(), plan("Basic", monthly()), "2026-01-01")
        [problem] = refusal(mine, update(theirs, "2026-02-01", quantity="1"))
        assert problem == OrderProblem(
            1, "subscription", f"Subscription {theirs.number} is not one of account {mine.account.number}."
        )


class TestAddAndRemove:
    def test_added_plan_begins_on_its_day(self):
        subscription = subscribed()
        support = plan("Support", monthly("Support", price="20"), once("Setup"))
        order = act(subscription, AddProduct(subscription, NewRatePlan(support), day("2026-03-10")))
        assert segments("Support") == [(1, "2026-03-10", None, None, 20)]
        assert RatePlanCharge.objects.get(name="Setup").trigger_date == day("2026-03-10")
        assert list(subscription.rate_plans.values_list("name", flat=True)) == ["Seats", "Support"]
        action = order.actions.get()
        assert (action.delta_mrr, action.details["rate_plan"]) == (20, "Support")
        assert [told["change"] for told in action.details["charges"]] == ["Added", "Added"]

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, "2026-03-10"),  # activated in January, so what is added is active at once
            ({"service_activation": day("2026-03-20")}, "2026-03-20"),
        ],
    )
    def test_added_plan_takes_the_activation_of_the_subscription(self, changes, expected):
        subscription = subscribed(service_activation=day("2026-01-05"))
        live = plan("Live", monthly("Live", trigger_event=TriggerEvent.SERVICE_ACTIVATION))
        act(subscription, AddProduct(subscription, NewRatePlan(live), day("2026-03-10"), **changes))
        assert str(RatePlanCharge.objects.get(name="Live").trigger_date) == expected

    def test_added_plan_is_checked_like_a_new_one(self):
        subscription = subscribed()
        domestic = plan("Domestic", monthly(prices={"EUR": Decimal(10)}))
        old = plan("Old", monthly(), of=product("Old", end="2025-01-01"))
        problems = refusal(
            subscription,
            AddProduct(subscription, NewRatePlan(domestic), day("2026-03-10")),
            AddProduct(subscription, NewRatePlan(old), day("2026-03-10"), service_activation=day("2026-03-09")),
        )
        assert [(problem.position, problem.field) for problem in problems] == [
            (1, "price"),
            (2, "service_activation"),
            (2, "rate_plans"),
        ]

    def test_removed_plan_ends_and_its_revenue_goes(self):
        rate_plan = plan("Bundle", seats("Seats", "10", prices=FIVE), monthly("Support", price="20"))
        subscription = subscribed(rate_plan)
        order = act(subscription, RemoveProduct(subscription, subscription.rate_plans.get(), day("2026-03-10")))
        assert [segments("Seats")[0][2], segments("Support")[0][2]] == ["2026-03-10", "2026-03-10"]
        assert order.actions.get().delta_mrr == -70
        assert {told["change"] for told in order.actions.get().details["charges"]} == {"Removed"}

    def test_what_was_to_come_after_the_removal_keeps_no_day(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2026-06-01", quantity="20"))
        order = act(subscription, RemoveProduct(subscription, subscription.rate_plans.get(), day("2026-03-10")))
        assert [row[1:3] for row in segments()] == [("2026-01-01", "2026-03-10"), ("2026-06-01", "2026-06-01")]
        assert order.actions.get().delta_mrr == -100  # the revenue agreed on was that of twenty seats

    def test_what_is_gone_cannot_be_removed_or_changed(self):
        rate_plan = five_dollar_seats()
        subscription = subscribed(rate_plan)
        act(subscription, RemoveProduct(subscription, rate_plan, day("2026-03-10")))
        [problem] = refusal(subscription, RemoveProduct(subscription, rate_plan, day("2026-03-10")))
        assert "has ended by 2026-03-10; there is nothing to remove." in problem.message
        [problem] = refusal(subscription, update(subscription, "2026-03-10", quantity="1"))
        assert "ended on 2026-03-10; it cannot change from 2026-03-10 on." in problem.message
        act(subscription, RemoveProduct(subscription, rate_plan, day("2026-02-10")))  # it may still end earlier
        assert segments()[0][2] == "2026-02-10"

    def test_plan_of_the_catalogue_must_be_told_apart(self):
        rate_plan = five_dollar_seats()
        subscription = subscribed(rate_plan)
        act(subscription, AddProduct(subscription, NewRatePlan(rate_plan), day("2026-02-01")))
        [problem] = refusal(subscription, RemoveProduct(subscription, rate_plan, day("2026-03-10")))
        assert "has it several times; name the one that goes." in problem.message


class TestSeveralActions:
    def test_actions_see_what_those_before_them_did(self):
        rate_plan = five_dollar_seats()
        seats_ = ChargeChange(rate_plan.charges.get(), quantity=Decimal(13))
        new = NewSubscription((NewRatePlan(rate_plan),), START, term_months=12)
        order = place_order(
            account=acme(),
            order_date=START,
            actions=[
                new,
                UpdateProduct(CreatedBy(1), (seats_,), day("2026-04-01")),
                RenewSubscription(CreatedBy(1)),
                Suspend(CreatedBy(1), day("2027-03-01")),
                Resume(CreatedBy(1), day("2027-04-01")),
                CancelSubscription(CreatedBy(1), day("2027-12-01")),
            ],
        )
        assert list(order.actions.values_list("position", "delta_mrr")) == [
            (1, 50), (2, 15), (3, 0), (4, -65), (5, 65), (6, -65),
        ]  # fmt: skip
        assert [row[1:4] for row in segments()] == [
            ("2026-01-01", "2026-04-01", 10),
            ("2026-04-01", "2027-03-01", 13),
            ("2027-04-01", "2027-12-01", 13),
        ]
        assert terms() == [(1, "2026-01-01", "2027-01-01"), (2, "2027-01-01", "2028-01-01")]

    def test_one_bad_action_stops_all_and_says_which(self):
        subscription = subscribed()
        problems = refusal(
            subscription,
            update(subscription, "2026-04-01", quantity="13"),
            Resume(subscription, day("2026-05-01")),
            CancelSubscription(CreatedBy(9), day("2026-05-01")),
            CancelSubscription(subscription, day("2025-05-01")),
        )
        assert [(problem.position, problem.field) for problem in problems] == [
            (2, "subscription"),
            (3, "subscription"),
            (4, "effective_date"),
        ]

    def test_field_messages_name_the_action(self):
        subscription = subscribed()
        with pytest.raises(ValidationError) as refused:
            act(subscription, update(subscription, "2026-04-01", quantity="13"), RenewSubscription(subscription))
        words = f"Action 2: Subscription {subscription.number} is evergreen; there is no term to renew."
        assert refused.value.message_dict == {"subscription": [words]}

    def test_what_follows_a_subscription_that_cannot_be_created_is_not_blamed(self):
        account = acme()
        bad = NewSubscription((), START)
        with pytest.raises(OrderRefusedError) as refused:
            place_order(account=account, order_date=START, actions=[bad, Suspend(CreatedBy(1), START)])
        assert [problem.position for problem in refused.value.problems] == [1]

    def test_too_many_are_refused_before_anything_is_read(self, django_assert_num_queries):
        account = acme()
        actions = [RenewSubscription(CreatedBy(1))] * (MAX_ACTIONS + 1)
        with django_assert_num_queries(0), pytest.raises(OrderRefusedError, match="at most 10,000 actions"):
            place_order(account=account, order_date=START, actions=actions)

    def test_new_price_of_an_order_choice_is_checked_too(self):
        rate_plan = five_dollar_seats()
        choice = ChargeChoice(rate_plan.charges.get(), price=Decimal("-5"))
        with pytest.raises(ValidationError, match="has a price below zero"):
            subscribe(acme(), rate_plan, "2026-01-01", charges=[choice])
