"""Renewing what is due: which subscriptions, how often, written down as what, and nothing the second time."""

from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Order, OrderAction, OrderActionType, OrderStatus, Subscription, SubscriptionTerm
from billing.services import renewals
from billing.services.orders import Action, CancelSubscription, Suspend, place_order
from billing.services.renewals import renew_due
from tests.factories import acme, day, globex, monthly, plan, subscribe

pytestmark = pytest.mark.django_db


@pytest.fixture
def basic():
    return plan("Basic", monthly())


def yearly(account, rate_plan, start="2026-01-01", **changes):
    return subscribe(account, rate_plan, start, **{"term_months": 12, "auto_renew": True, **changes})


def term_ends():
    return [str(end) for end in Subscription.objects.order_by("id").values_list("term_end", flat=True)]


class TestWhatIsDue:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("2026-12-31", "2027-01-01"),
            ("2027-01-01", "2028-01-01"),  # the new term's first period is due then
            ("2029-06-01", "2030-01-01"),  # a run that was missed for years
        ],
    )
    def test_until_the_term_ends_after_the_target_date(self, basic, target, expected):
        yearly(acme(), basic)
        renew_due(day(target))
        assert term_ends() == [expected]

    def test_terms_are_written_one_by_one(self, basic):
        subscription = yearly(acme(), basic, renewal_months=6)
        assert renew_due(day("2027-07-01")) == 2
        terms = SubscriptionTerm.objects.order_by("number").values_list("number", "start", "end")
        assert [(number, str(start), str(end)) for number, start, end in terms] == [
            (1, "2026-01-01", "2027-01-01"),
            (2, "2027-01-01", "2027-07-01"),
            (3, "2027-07-01", "2028-01-01"),
        ]
        subscription.refresh_from_db()
        assert (subscription.term_start, subscription.term_end) == (day("2027-07-01"), day("2028-01-01"))

    def test_month_ends_do_not_drift(self, basic):
        yearly(acme(), basic, "2026-01-31", term_months=1)
        renew_due(day("2026-05-31"))
        ends = SubscriptionTerm.objects.order_by("number").values_list("end", flat=True)
        assert [str(end) for end in ends][:4] == ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]

    def test_only_what_renews_by_itself_and_goes_on(self, basic):
        account = acme()
        yearly(account, basic, auto_renew=False)
        canceled, suspended = yearly(account, basic), yearly(account, basic)
        subscribe(account, basic, "2026-01-01")  # evergreen
        actions: list[Action] = [CancelSubscription(canceled, day("2026-06-01")), Suspend(suspended, day("2026-06-01"))]
        place_order(account=account, order_date=day("2026-06-01"), actions=actions)
        assert renew_due(day("2030-01-01")) == 0
        assert term_ends() == ["2027-01-01", "2027-01-01", "2027-01-01", "None"]

    def test_only_what_these_accounts_are_billed_for(self, basic):
        parent, child, other = acme(), acme(), globex()
        yearly(child, basic, invoice_owner=parent)
        yearly(child, basic)
        yearly(other, basic)
        assert renew_due(day("2027-01-01"), [parent.pk]) == 1
        assert term_ends() == ["2028-01-01", "2027-01-01", "2027-01-01"]
        assert renew_due(day("2027-01-01"), []) == 0
        assert renew_due(day("2027-01-01")) == 2

    def test_without_a_first_term_in_writing_that_is_written_too(self, basic):
        yearly(acme(), basic)
        SubscriptionTerm.objects.all().delete()
        renew_due(day("2027-01-01"))
        assert list(SubscriptionTerm.objects.order_by("number").values_list("number", flat=True)) == [1, 2]

    def test_a_term_beyond_the_last_year_is_not_begun(self, basic):
        yearly(acme(), basic, "2120-01-01", term_months=600)
        assert renew_due(date(2199, 12, 31)) == 0


class TestOrders:
    def test_an_order_for_each_account_with_an_action_for_each_term(self, basic):
        mine, theirs = acme(), globex()
        first, second = yearly(mine, basic), yearly(mine, basic)
        third = yearly(theirs, basic)
        before = set(Order.objects.values_list("pk", flat=True))
        assert renew_due(day("2028-01-01"), order_date=day("2027-12-24")) == 6
        made = Order.objects.exclude(pk__in=before).order_by("id")
        assert [(order.account, order.order_date, order.status, order.description) for order in made] == [
            (mine, day("2027-12-24"), OrderStatus.COMPLETED, "Renewed automatically"),
            (theirs, day("2027-12-24"), OrderStatus.COMPLETED, "Renewed automatically"),
        ]
        actions = OrderAction.objects.filter(order__in=made, kind=OrderActionType.RENEW_SUBSCRIPTION)
        assert [(a.subscription, a.position, str(a.effective_date), a.delta_mrr) for a in actions.order_by("id")] == [
            (first, 1, "2027-01-01", 0),
            (first, 2, "2028-01-01", 0),
            (second, 3, "2027-01-01", 0),
            (second, 4, "2028-01-01", 0),
            (third, 1, "2027-01-01", 0),
            (third, 2, "2028-01-01", 0),
        ]
        assert actions.order_by("id")[0].details == {"changed": {"term_end": ["2027-01-01", "2028-01-01"]}}
        assert made[0].order_date == day("2027-12-24")

    def test_a_second_time_nothing_happens(self, basic):
        yearly(acme(), basic)
        assert [renew_due(day("2027-01-01")), renew_due(day("2027-01-01"))] == [1, 0]
        assert Order.objects.count() == 2

    def test_statements_do_not_grow_with_the_number(self, basic):
        account = acme()
        counts = []
        for number in (2, 40):
            for _ in range(number):
                yearly(account, basic)
            with CaptureQueriesContext(connection) as queries:
                assert renew_due(day("2027-01-01")) == number
            counts.append(len(queries))
            Subscription.objects.update(auto_renew=False)
        assert counts[0] == counts[1] < 20

    def test_parts_make_the_same_as_all_at_once(self, basic, monkeypatch):
        monkeypatch.setattr(renewals, "PART", 2)
        monkeypatch.setattr(renewals, "TERMS_AT_ONCE", 2)
        for _ in range(5):
            yearly(acme(), basic)
        assert renew_due(day("2029-01-01")) == 15
        assert set(term_ends()) == {"2030-01-01"}
