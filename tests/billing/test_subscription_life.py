"""The life of a subscription: renewed, canceled, suspended, resumed and agreed on anew, and what is refused in words."""

import pytest

from billing.core.types import BillingPeriod
from billing.models import (
    SubscriptionStatus,
    SubscriptionTerm,
    TermType,
)
from billing.models.terms import TriggerEvent
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    CancelWhen,
    NewRatePlan,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
    TermsAndConditions,
)
from tests.billing.orders import FIVE, START, act, refusal, segments, subscribed, terms, update
from tests.factories import day, monthly, plan, seats, subscribe

pytestmark = pytest.mark.django_db


class TestRenew:
    @pytest.mark.parametrize(
        ("start", "term", "renewal", "expected"),
        [
            ("2026-01-01", {"term_months": 12}, None, ["2027-01-01", "2028-01-01", "2029-01-01"]),
            ("2026-01-01", {"term_months": 12}, 3, ["2027-01-01", "2027-04-01", "2027-07-01"]),
            # The day of the month does not drift to the 28th.
            ("2026-01-31", {"term_months": 1}, None, ["2026-02-28", "2026-03-31", "2026-04-30"]),
            ("2024-02-29", {"term_months": 12}, None, ["2025-02-28", "2026-02-28", "2027-02-28"]),
            # A term that is not made of months is repeated by days.
            ("2026-01-01", {"term_end": day("2026-01-11")}, None, ["2026-01-11", "2026-01-21", "2026-01-31"]),
        ],
    )
    def test_terms_follow_each_other(self, start, term, renewal, expected):
        subscription = subscribed(start=start, renewal_months=renewal, **term)
        order = act(subscription, RenewSubscription(subscription), RenewSubscription(subscription), on=day(start))
        starts = [start, *expected[:2]]
        assert terms() == [(n, s, e) for n, (s, e) in enumerate(zip(starts, expected, strict=True), start=1)]
        subscription.refresh_from_db()
        assert [str(subscription.term_start), str(subscription.term_end)] == expected[1:]
        first = order.actions.first()
        assert (str(first.effective_date), first.delta_mrr) == (expected[0], 0)
        assert first.details == {"changed": {"term_end": expected[:2]}}

    def test_months_of_this_renewal_may_differ(self):
        subscription = subscribed(term_months=12)
        act(subscription, RenewSubscription(subscription, months=6))
        assert terms()[-1] == (2, "2027-01-01", "2027-07-01")

    def test_refused(self):
        evergreen = subscribed()
        [problem] = refusal(evergreen, RenewSubscription(evergreen))
        assert problem.message == f"Subscription {evergreen.number} is evergreen; there is no term to renew."
        termed = subscribe(evergreen.account, plan("B", monthly()), "2026-01-01", term_months=1)
        problems = refusal(termed, RenewSubscription(termed, months=0), RenewSubscription(termed, months=601))
        assert [problem.field for problem in problems] == ["renewal_months", "renewal_months"]

    def test_a_subscription_whose_terms_nobody_wrote_down_gets_both(self):
        subscription = subscribed(term_months=12)
        SubscriptionTerm.objects.all().delete()
        act(subscription, RenewSubscription(subscription))
        assert terms() == [(1, "2026-01-01", "2027-01-01"), (2, "2027-01-01", "2028-01-01")]


class TestCancel:
    def test_all_charges_end_and_the_status_says_so_at_once(self):
        subscription = subscribed(plan("Bundle", seats("Seats", "10", prices=FIVE), monthly("Support", price="20")))
        order = act(subscription, CancelSubscription(subscription, day("2026-08-15")))
        subscription.refresh_from_db()
        assert (subscription.status, subscription.canceled_from) == (SubscriptionStatus.CANCELED, day("2026-08-15"))
        assert [segments("Seats")[0][2], segments("Support")[0][2]] == ["2026-08-15", "2026-08-15"]
        action = order.actions.get()
        assert (action.delta_mrr, action.details["when"]) == (-70, "SpecificDate")

    def test_end_of_the_term_needs_no_date(self):
        subscription = subscribed(term_months=12)
        act(subscription, CancelSubscription(subscription, when=CancelWhen.END_OF_TERM))
        subscription.refresh_from_db()
        assert subscription.canceled_from == day("2027-01-01")

    @pytest.mark.parametrize(
        ("term", "action", "words"),
        [
            ({}, {"when": CancelWhen.END_OF_TERM}, "is evergreen, so no term ends; give the first day not served."),
            ({}, {}, "Give the first day that is no longer served."),
            ({"term_months": 1}, {"effective_date": day("2026-02-02")}, "has a term up to 2026-02-01"),
            ({}, {"effective_date": day("2025-12-31")}, "begins on 2026-01-01; 2025-12-31 is before that."),
        ],
    )
    def test_refused(self, term, action, words):
        subscription = subscribed(**term)
        [problem] = refusal(subscription, CancelSubscription(subscription, **action))
        assert problem.field == "effective_date"
        assert words in problem.message

    def test_nothing_more_happens_to_a_canceled_subscription(self):
        subscription = subscribed(term_months=12)
        act(subscription, CancelSubscription(subscription, day("2026-08-15")))
        actions = [
            CancelSubscription(subscription, day("2026-08-15")),
            RenewSubscription(subscription),
            Suspend(subscription, day("2026-03-01")),
            update(subscription, "2026-03-01", quantity="1"),
            TermsAndConditions(subscription, day("2026-03-01"), auto_renew=True),
        ]
        for action in actions:
            [problem] = refusal(subscription, action)
            assert problem.message.endswith("was canceled from 2026-08-15 on already.")

    def test_on_its_first_day_nothing_is_left(self):
        subscription = subscribed()
        act(subscription, CancelSubscription(subscription, START))
        assert segments() == [(1, "2026-01-01", "2026-01-01", 10, 5)]


class TestSuspendAndResume:
    def test_days_between_are_left_out_and_values_come_back(self):
        subscription = subscribed()
        suspended = act(subscription, Suspend(subscription, day("2026-03-10")))
        subscription.refresh_from_db()
        assert subscription.status == SubscriptionStatus.SUSPENDED
        resumed = act(subscription, Resume(subscription, day("2026-05-01")))
        subscription.refresh_from_db()
        assert subscription.status == SubscriptionStatus.ACTIVE
        assert segments() == [(1, "2026-01-01", "2026-03-10", 10, 5), (2, "2026-05-01", None, 10, 5)]
        assert [order.actions.get().delta_mrr for order in (suspended, resumed)] == [-50, 50]
        assert resumed.actions.get().details["suspended_days"] == 52

    def test_what_was_planned_for_later_is_planned_again(self):
        rate_plan = plan("Bundle", seats("Seats", "10", prices=FIVE), monthly("Support", price="20"))
        subscription = subscribed(rate_plan)
        act(
            subscription,
            update(subscription, "2026-04-01", quantity="12"),
            update(subscription, "2026-09-01", quantity="20"),
        )
        act(subscription, Suspend(subscription, day("2026-03-10")), Resume(subscription, day("2026-05-01")))
        days = [row[1:4] for row in segments() if row[1] != row[2]]
        assert days == [("2026-01-01", "2026-03-10", 10), ("2026-05-01", "2026-09-01", 12), ("2026-09-01", None, 20)]

    def test_what_was_removed_before_stays_away(self):
        subscription = subscribed()
        extra = plan("Extra", monthly("Extra"))
        act(subscription, AddProduct(subscription, NewRatePlan(extra), day("2026-02-01")))
        act(subscription, RemoveProduct(subscription, extra, day("2026-03-10")))
        act(subscription, Suspend(subscription, day("2026-03-10")))
        act(subscription, Resume(subscription, day("2026-05-01")))
        assert segments("Extra") == [(1, "2026-02-01", "2026-03-10", None, 10)]

    def test_suspended_days_may_be_added_to_the_term(self):
        subscription = subscribed(term_months=12)
        act(subscription, Suspend(subscription, day("2026-03-10")))
        order = act(subscription, Resume(subscription, day("2026-03-20"), extend_term=True))
        subscription.refresh_from_db()
        assert (subscription.term_end, terms()) == (day("2027-01-11"), [(1, "2026-01-01", "2027-01-11")])
        assert order.actions.get().details["changed"] == {"term_end": ["2027-01-01", "2027-01-11"]}

    def test_suspended_again_it_resumes_what_the_last_suspension_took(self):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-02-01")))
        act(subscription, Resume(subscription, day("2026-03-01")), update(subscription, "2026-04-01", quantity="7"))
        act(subscription, Suspend(subscription, day("2026-05-01")))
        act(subscription, Resume(subscription, day("2026-06-01")))
        assert [(row[1], row[3]) for row in segments()] == [
            ("2026-01-01", 10),
            ("2026-03-01", 10),
            ("2026-04-01", 7),
            ("2026-06-01", 7),
        ]

    def test_refused(self):
        subscription = subscribed(term_months=12)
        [problem] = refusal(subscription, Resume(subscription, day("2026-05-01")))
        assert problem.message == f"Subscription {subscription.number} is not suspended."
        act(subscription, Suspend(subscription, day("2026-03-10")))
        cases = {
            Suspend(subscription, day("2026-04-01")): "is suspended; resume it first.",
            Resume(subscription, day("2026-03-09")): "it cannot resume before, on 2026-03-09.",
            Resume(subscription, day("2027-01-01")): "has a term up to 2027-01-01; to resume it",
            RemoveProduct(subscription, subscription.rate_plans.get(), day("2026-04-01")): "resume it first.",
            update(subscription, "2026-02-01", quantity="1"): "resume it first.",
        }
        for action, words in cases.items():
            problems = refusal(subscription, action)
            assert any(words in problem.message for problem in problems), problems

    def test_not_while_it_waits_for_its_activation(self):
        subscription = subscribed(plan("Live", monthly(trigger_event=TriggerEvent.SERVICE_ACTIVATION)))
        [problem] = refusal(subscription, Suspend(subscription, day("2026-03-10")))
        assert "still waits for its activation" in problem.message

    def test_a_suspended_subscription_can_be_canceled_and_renewed(self):
        subscription = subscribed(term_months=1)
        act(subscription, Suspend(subscription, day("2026-01-10")), RenewSubscription(subscription))
        order = act(subscription, CancelSubscription(subscription, day("2026-02-10")))
        assert order.actions.get().delta_mrr == 0
        assert segments()[0][2] == "2026-01-10"


class TestTermsAndConditions:
    def test_everything_may_change_at_once_and_is_told(self):
        subscription = subscribed(term_months=12)
        change_all = TermsAndConditions(
            subscription,
            day("2026-03-01"),
            term_months=24,
            auto_renew=True,
            renewal_months=6,
            invoice_separately=True,
            name="Head office",
        )
        order = act(subscription, change_all)
        subscription.refresh_from_db()
        assert (subscription.term_end, subscription.auto_renew, subscription.renewal_months) == (
            day("2028-01-01"),
            True,
            6,
        )
        assert (subscription.invoice_separately, subscription.name) == (True, "Head office")
        assert terms() == [(1, "2026-01-01", "2028-01-01")]
        assert order.actions.get().details["changed"] == {
            "term_end": ["2027-01-01", "2028-01-01"],
            "auto_renew": [False, True],
            "renewal_months": [None, 6],
            "invoice_separately": [False, True],
            "name": ["", "Head office"],
        }

    def test_termed_becomes_evergreen_and_termed_again(self):
        subscription = subscribed(term_months=12, auto_renew=True)
        act(subscription, TermsAndConditions(subscription, day("2026-03-01"), term_type=TermType.EVERGREEN))
        subscription.refresh_from_db()
        assert (subscription.term_type, subscription.term_end, subscription.auto_renew) == ("Evergreen", None, False)
        assert terms() == [(1, "2026-01-01", None)]
        back = TermsAndConditions(
            subscription, day("2026-03-01"), term_type=TermType.TERMED, term_end=day("2026-07-01")
        )
        act(subscription, back)
        assert terms() == [(1, "2026-01-01", "2026-07-01")]

    @pytest.mark.parametrize(
        ("term", "values", "field"),
        [
            ({}, {}, "subscription"),
            ({}, {"auto_renew": True}, "auto_renew"),
            ({}, {"term_type": TermType.TERMED}, "term_end"),
            ({}, {"term_months": 12}, "term_end"),
            ({"term_months": 12}, {"term_end": day("2025-12-31")}, "term_end"),
            ({"term_months": 12}, {"term_end": day("2026-02-28")}, "term_end"),
            ({"term_months": 12}, {"term_months": 0}, "term_months"),
            ({"term_months": 12}, {"term_months": 2, "term_end": day("2026-12-01")}, "term_end"),
            ({"term_months": 12}, {"renewal_months": 601}, "renewal_months"),
            ({"term_months": 12}, {"name": "two\nlines"}, "name"),
        ],
    )
    def test_refused(self, term, values, field):
        subscription = subscribed(**term)
        problems = refusal(subscription, TermsAndConditions(subscription, day("2026-03-01"), **values))
        assert [problem.field for problem in problems] == [field]

    def test_not_evergreen_with_a_charge_that_is_billed_by_terms(self):
        by_term = plan("Term", monthly("Licence", billing_period=BillingPeriod.SUBSCRIPTION_TERM))
        subscription = subscribed(by_term, term_months=12)
        [problem] = refusal(
            subscription, TermsAndConditions(subscription, day("2026-03-01"), term_type=TermType.EVERGREEN)
        )
        assert problem.field == "term_type"
        assert "is billed by terms; it needs one that ends." in problem.message
