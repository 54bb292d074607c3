"""Orders of several actions in the browser: adding and taking out, what each form asks, refusals at the right action."""

import re
import uuid
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.core.types import ChargeModel
from billing.models import ChargeSegment, ChargeSegmentTier, Order, OrderAction, Subscription
from billing.models.terms import TriggerEvent
from tests.billing.orders import TIERS, five_dollar_seats, segments, subscribed, terms
from tests.factories import acme, bill, by_tiers, globex, monthly, once, plan, seats, subscribe, team_plan, user

pytestmark = pytest.mark.django_db
NEW = "/billing/order/new/"


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


@pytest.fixture
def otto(client):
    """Otto is an operator; `otto` is his browser."""
    client.force_login(user("operator"))
    return client


def page_of(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def order(account, *actions, **order_wide):
    """Return what the page sends: each action is its reference and its answers; their keys count from 1."""
    values = {"request_key": str(uuid.uuid4()), "account": account.pk, "order_date": "2026-07-15", "create": "1"}
    values["actions"] = [f"{key}:{reference}" for key, (reference, _) in enumerate(actions, start=1)]
    for key, (_, answers) in enumerate(actions, start=1):
        values |= {f"{key}-{name}": value for name, value in {"sent": "1", **answers}.items()}
    values |= order_wide
    return {name: value for name, value in values.items() if value is not None}


def about(subscription, kind, **answers):
    return f"{kind}:s{subscription.pk}", answers


def edited(sent, **button):
    """Return what is sent by a button that changes the page instead of placing the order."""
    return {name: value for name, value in sent.items() if name != "create"} | button


def storage():
    return by_tiers("Storage", ChargeModel.TIERED, TIERS, quantity="60")


def charge_of(subscription, name="Seats"):
    return subscription.charges.get(name=name).pk


def unchanged(charge, quantity="10", price="5"):
    return {f"{charge}-quantity": quantity, f"{charge}-price": price}


# One action of each kind ---------------------------------------------------------------------------------------------


def test_a_subscriptions_page_offers_what_can_be_done_with_it(otto):
    evergreen = subscribed()
    page = page_of(otto.get(evergreen.get_absolute_url()))
    assert f"{NEW}?subscription={evergreen.pk}&amp;kind=update" in page
    assert "kind=renew" not in page
    assert "kind=resume" not in page
    otto.post(NEW, order(evergreen.account, about(evergreen, "suspend", effective_date="2026-08-01")))
    page = page_of(otto.get(evergreen.get_absolute_url()))
    assert "kind=resume" in page
    assert "kind=suspend" not in page
    otto.post(
        NEW, order(evergreen.account, about(evergreen, "cancel", when="SpecificDate", effective_date="2026-08-01"))
    )
    assert "kind=" not in page_of(otto.get(evergreen.get_absolute_url()))


def test_the_form_shows_a_charge_as_it_is_and_changes_it_from_a_day_on(otto):
    """5.00 × 10 until 14 August, 4.50 × 12 from then on."""
    subscription = subscribed()
    charge = charge_of(subscription)
    page = page_of(otto.get(f"{NEW}?subscription={subscription.pk}&kind=update"))
    assert subscription.number in page
    assert re.search(rf'name="1-{charge}-quantity" value="10"', page)
    assert re.search(rf'name="1-{charge}-price" value="5"', page)
    answers = {"effective_date": "2026-08-15", f"{charge}-quantity": "12", f"{charge}-price": "4.5"}
    response = otto.post(NEW, order(subscription.account, about(subscription, "update", **answers)))
    assert response.url == Order.objects.latest("pk").get_absolute_url()
    assert segments() == [
        (1, "2026-01-01", "2026-08-15", Decimal(10), Decimal(5)),
        (2, "2026-08-15", None, Decimal(12), Decimal("4.5")),
    ]
    assert OrderAction.objects.latest("pk").delta_mrr == Decimal(4)


def test_only_what_differs_is_changed(otto):
    """Two charges are shown, one is changed: the other keeps its one segment."""
    subscription = subscribe(acme(), plan("Two", seats("Seats"), seats("Desks", "2")), "2026-01-01")
    charge, other = charge_of(subscription), charge_of(subscription, "Desks")
    answers = {f"{charge}-quantity": "7", f"{charge}-price": "10", **unchanged(other, "2", "10")}
    otto.post(NEW, order(subscription.account, about(subscription, "update", effective_date="2026-07-20", **answers)))
    assert len(segments("Seats")) == 2
    assert len(segments("Desks")) == 1


def test_tiers_are_changed_row_by_row(otto):
    subscription = subscribe(acme(), plan("Storage", storage()), "2026-01-01")
    charge = charge_of(subscription, "Storage")
    tiers = list(ChargeSegmentTier.objects.order_by("number").values_list("up_to", "price"))
    page = page_of(otto.get(f"{NEW}?subscription={subscription.pk}&kind=update"))
    assert f'name="1-{charge}-tiers-0-price"' in page
    assert f'name="1-{charge}-price"' not in page
    quantity = subscription.charges.get().segments.get().quantity
    answers = {
        "effective_date": "2026-07-20",
        f"{charge}-quantity": f"{quantity:f}",
        f"{charge}-tiers-TOTAL_FORMS": "3",
        f"{charge}-tiers-INITIAL_FORMS": "0",
        f"{charge}-tiers-0-up_to": "100",
        f"{charge}-tiers-0-price": "3",
        f"{charge}-tiers-1-price": "2.5",
        f"{charge}-tiers-1-price_format": "PerUnit",
        f"{charge}-tiers-2-up_to": "",
    }
    assert otto.post(NEW, order(subscription.account, about(subscription, "update", **answers))).status_code == 302
    latest = ChargeSegment.objects.get(number=2)
    assert list(latest.tiers.order_by("number").values_list("up_to", "price")) == [
        (Decimal(100), Decimal(3)),
        (None, Decimal("2.5")),
    ]
    assert list(ChargeSegment.objects.get(number=1).tiers.order_by("number").values_list("up_to", "price")) == tiers


def test_a_gap_between_tiers_is_named_at_its_row(otto):
    subscription = subscribe(acme(), plan("Storage", storage()), "2026-01-01")
    charge = charge_of(subscription, "Storage")
    answers = {
        f"{charge}-quantity": "5",
        f"{charge}-tiers-TOTAL_FORMS": "2",
        f"{charge}-tiers-INITIAL_FORMS": "0",
        f"{charge}-tiers-0-price": "3",
        f"{charge}-tiers-1-price": "2",
    }
    sent = order(subscription.account, about(subscription, "update", effective_date="2026-07-20", **answers))
    assert "Tier 1 needs an end: only the last may go without." in page_of(otto.post(NEW, sent), 422)
    assert ChargeSegment.objects.count() == 1


def test_a_plan_is_added_at_a_price_of_its_own(otto):
    subscription, extra = subscribed(), plan("Extra", monthly("Hosting"))
    charge = extra.charges.get().pk
    answers = {"plans": [extra.pk], "effective_date": "2026-09-01", f"{charge}-price": "77.7"}
    otto.post(NEW, order(subscription.account, about(subscription, "add", **answers)))
    assert segments("Hosting") == [(1, "2026-09-01", None, None, Decimal("77.7"))]
    assert {row.name for row in subscription.rate_plans.all()} == {"Seats", "Extra"}


def test_a_plan_is_removed(otto):
    subscription = subscribe(acme(), five_dollar_seats(), "2026-01-01")
    rate_plan = subscription.rate_plans.get()
    page = page_of(otto.get(f"{NEW}?subscription={subscription.pk}&kind=remove"))
    assert re.search(rf'name="1-rate_plan" value="{rate_plan.pk}"[^>]* checked', page)
    answers = {"rate_plan": rate_plan.pk, "effective_date": "2026-10-01"}
    otto.post(NEW, order(subscription.account, about(subscription, "remove", **answers)))
    assert segments()[-1][2] == "2026-10-01"


def test_a_term_is_renewed_and_changed(otto):
    subscription = subscribed(term_months=12)
    otto.post(NEW, order(subscription.account, about(subscription, "renew", months="6")))
    assert terms() == [(1, "2026-01-01", "2027-01-01"), (2, "2027-01-01", "2027-07-01")]
    answers = {"effective_date": "2026-07-15", "ends_after": "2027-08-31", "auto_renew": "yes", "name": "Oslo"}
    otto.post(NEW, order(subscription.account, about(subscription, "terms", **answers)))
    subscription.refresh_from_db()
    assert (subscription.term_end, subscription.auto_renew, subscription.name) == (date(2027, 9, 1), True, "Oslo")


@pytest.mark.parametrize(
    ("when", "day", "canceled_from"),
    [
        ("SpecificDate", "2026-08-10", date(2026, 8, 10)),
        ("EndOfCurrentTerm", "", date(2027, 1, 1)),
        ("EndOfLastInvoicePeriod", "", date(2026, 8, 1)),
    ],
)
def test_a_subscription_is_canceled_on_a_day_or_when_something_ends(otto, when, day, canceled_from):
    subscription = subscribed(term_months=12)
    bill("2026-07-15", accounts=[subscription.account])
    answers = {"when": when, "effective_date": day}
    otto.post(NEW, order(subscription.account, about(subscription, "cancel", **answers)))
    subscription.refresh_from_db()
    assert (subscription.status, subscription.canceled_from) == ("Canceled", canceled_from)


def test_a_pause_begins_and_ends(otto):
    subscription = subscribed()
    otto.post(NEW, order(subscription.account, about(subscription, "suspend", effective_date="2026-08-01")))
    otto.post(NEW, order(subscription.account, about(subscription, "resume", effective_date="2026-09-01")))
    assert [row[1:3] for row in segments()] == [("2026-01-01", "2026-08-01"), ("2026-09-01", None)]


def test_trigger_dates_are_set_when_they_are_known(otto):
    waiting = plan("Later", monthly("Hosting", trigger_event=TriggerEvent.SERVICE_ACTIVATION))
    subscription = subscribe(acme(), waiting, "2026-07-01")
    page = page_of(otto.get(subscription.get_absolute_url()))
    assert "kind=dates" in page
    assert "kind=suspend" not in page
    assert "Not known yet." in page_of(otto.get(f"{NEW}?subscription={subscription.pk}&kind=dates"))
    sent = order(subscription.account, about(subscription, "dates", service_activation="2026-07-10"))
    assert otto.post(NEW, sent).status_code == 302
    subscription.refresh_from_db()
    assert subscription.status == "Active"
    assert segments("Hosting")[0][1] == "2026-07-10"


# Several actions -----------------------------------------------------------------------------------------------------


def test_an_order_creates_a_subscription_and_changes_it_later(otto):
    """A ramp: 10 seats from July, 20 from January; the second action is about what the first creates."""
    account, rate_plan = acme(), five_dollar_seats()
    seat = rate_plan.charges.get().pk
    create = ("create:", {"plans": [rate_plan.pk], "starts_on": "2026-07-01", "term": "Evergreen",
                          f"{seat}-quantity": "10"})  # fmt: skip
    ramp = ("update:c1", {"effective_date": "2027-01-01", f"{seat}-quantity": "20", f"{seat}-price": "5"})
    assert otto.post(NEW, order(account, create, ramp)).status_code == 302
    assert [row[1:4] for row in segments()] == [
        ("2026-07-01", "2027-01-01", Decimal(10)),
        ("2027-01-01", None, Decimal(20)),
    ]
    assert [action.delta_mrr for action in OrderAction.objects.order_by("position")] == [Decimal(50), Decimal(50)]


def test_two_subscriptions_in_one_order(otto):
    account, fee, extra = acme(), plan("Fee", monthly()), plan("Extra", once())
    one = ("create:", {"plans": [fee.pk], "starts_on": "2026-07-01", "term": "Evergreen", "name": "One"})
    two = ("create:", {"plans": [extra.pk], "starts_on": "2026-08-01", "term": "Termed", "term_months": "3"})
    otto.post(NEW, order(account, one, two))
    assert Order.objects.get().actions.count() == 2
    assert list(Subscription.objects.order_by("pk").values_list("name", "term_type")) == [
        ("One", "Evergreen"),
        ("", "Termed"),
    ]


def test_an_action_is_added_and_what_was_written_stays(otto):
    subscription, fee = subscribed(), plan("Fee", monthly())
    sent = order(subscription.account, ("create:", {"plans": [fee.pk], "starts_on": "2026-08-09", "name": "Head"}))
    page = page_of(otto.post(NEW, edited(sent, add="1", add_kind="suspend", add_about=subscription.number.lower())))
    assert f'value="2:suspend:s{subscription.pk}"' in page
    assert re.search(r'name="1-starts_on" value="2026-08-09"', page)
    assert re.search(r'name="1-name" value="Head"', page)
    assert re.search(r'name="2-effective_date" value="2026-07-15"', page)
    assert re.search(r'id="action-2" tabindex="-1" autofocus', page)
    assert "errorlist" not in page
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    ("kind", "named", "said"),
    [
        ("cancel", "", "Which subscription? Write its number, or the action that creates it."),
        ("cancel", "A-S99999999", "has no subscription A-S99999999."),
        ("cancel", "Action 7", "has no subscription Action 7."),
        ("fly", "", "Choose what the order does."),
    ],
)
def test_an_action_that_cannot_be_added_says_why(otto, kind, named, said):
    account, fee = acme(), plan("Fee", monthly())
    sent = order(account, ("create:", {"plans": [fee.pk], "starts_on": "2026-08-09"}))
    assert said in page_of(otto.post(NEW, edited(sent, add="1", add_kind=kind, add_about=named)))


def test_a_subscription_of_another_account_cannot_be_added(otto):
    stranger = subscribe(globex(), plan("Fee", monthly()), "2026-01-01")
    account = acme()
    sent = edited(order(account), add="1", add_kind="cancel", add_about=stranger.number)
    assert "has no subscription" in page_of(otto.post(NEW, sent))
    # Nor can it be sent by hand: the action is gone, and an order without actions is refused.
    sent = order(account, about(stranger, "cancel", when="SpecificDate", effective_date="2026-08-01"))
    assert "An order needs at least one action" in page_of(otto.post(NEW, sent), 422)
    stranger.refresh_from_db()
    assert stranger.status == "Active"


def test_an_action_about_a_new_subscription_goes_with_it(otto):
    account, rate_plan = acme(), five_dollar_seats()
    create = ("create:", {"plans": [rate_plan.pk], "starts_on": "2026-07-01"})
    sent = order(account, create, ("suspend:c1", {"effective_date": "2026-09-01"}), ("create:", {}))
    page = page_of(otto.post(NEW, edited(sent, drop="1")))
    assert re.findall(r'name="actions" value="([^"]*)"', page) == ["3:create:"]


def test_the_last_action_may_be_taken_out(otto):
    account = acme()
    page = page_of(otto.post(NEW, edited(order(account, ("create:", {})), drop="1")))
    assert "What does this order do?" in page
    assert "An order needs at least one action" in page_of(otto.post(NEW, order(account)), 422)


def test_a_refusal_is_shown_at_its_action_and_nothing_is_placed(otto):
    subscription = subscribed()
    sent = order(
        subscription.account,
        about(subscription, "suspend", effective_date="2026-08-01"),
        about(subscription, "resume", effective_date="2026-07-20"),
    )
    page = page_of(otto.post(NEW, sent), 422)
    first, second = page.split('id="action-2"')
    assert "it cannot resume before, on 2026-07-20." in second
    assert "it cannot resume before" not in first
    subscription.refresh_from_db()
    assert subscription.status == "Active"
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    ("kind", "answers", "said"),
    [
        ("update", {"effective_date": ""}, "This field is required."),
        ("update", {"effective_date": "2026-08-01"}, "Nothing is changed yet: enter another quantity or price."),
        ("cancel", {"when": "SpecificDate"}, "Give the first day that is no longer served."),
        ("cancel", {"when": "EndOfLastInvoicePeriod"}, "Nothing of it is billed yet; give a day instead."),
        ("cancel", {"when": "EndOfCurrentTerm"}, "is evergreen, so no term ends; give the first day not served."),
        ("cancel", {"when": "SpecificDate", "effective_date": "2025-12-31"}, "2025-12-31 is before that."),
        ("add", {"effective_date": "2026-08-01"}, "Choose at least one rate plan."),
        ("remove", {"effective_date": "2026-08-01"}, "Choose the plan that goes."),
        ("renew", {"months": "0"}, "greater than or equal to 1"),
        ("renew", {}, "is evergreen; there is no term to renew."),
        ("resume", {"effective_date": "2026-08-01"}, "is not suspended."),
        ("dates", {}, "Give the day of the activation, of the acceptance, or both."),
        ("terms", {"effective_date": "2026-08-01"}, "would stay as it is; nothing is changed."),
        ("terms", {"effective_date": "2026-08-01", "term": "Termed"}, "Say when the term ends"),
    ],
)
def test_a_flaw_is_named_and_nothing_is_changed(otto, kind, answers, said):
    subscription = subscribed()
    values = unchanged(charge_of(subscription)) if kind == "update" else {}
    page = page_of(otto.post(NEW, order(subscription.account, about(subscription, kind, **values, **answers))), 422)
    assert said in page
    assert Order.objects.count() == 1
    subscription.refresh_from_db()
    assert (subscription.status, subscription.term_end) == ("Active", None)


def test_only_one_plan_is_added_at_a_time(otto):
    subscription, one, two = subscribed(), plan("One", monthly()), plan("Two", monthly())
    answers = {"plans": [one.pk, two.pk], "effective_date": "2026-08-01"}
    page = page_of(otto.post(NEW, order(subscription.account, about(subscription, "add", **answers))), 422)
    assert "Choose one plan; a second one is an action of its own." in page


def test_a_new_subscription_is_billed_to_another_account(otto):
    account, owner, fee = acme(), acme(name="Acme Holding"), plan("Fee", monthly())
    answers = {"plans": [fee.pk], "starts_on": "2026-07-01", "term": "Evergreen"}
    page = page_of(otto.post(NEW, order(account, ("create:", answers | {"invoice_owner": "A99999999"}))), 422)
    assert "There is no account A99999999." in page
    otto.post(NEW, order(account, ("create:", answers | {"invoice_owner": owner.number})))
    assert Subscription.objects.get().invoice_owner == owner


@pytest.mark.parametrize("sent", ["x:create:", "1:create:s1", "1:cancel:", "1:fly:s1", "1:cancel:sx", "²:create:", "1"])
def test_actions_that_cannot_be_read_are_left_out(otto, sent):
    account = acme()
    page = page_of(otto.post(NEW, order(account) | {"actions": [sent]}), 422)
    assert "An order needs at least one action" in page


def test_an_order_of_many_actions_takes_as_many_queries_as_one_of_few(otto):
    account, rate_plan = acme(), team_plan()
    found = [subscribe(account, rate_plan, "2026-06-01") for _ in range(8)]

    def queries(count):
        actions = [about(subscription, "suspend", effective_date="2026-08-01") for subscription in found[:count]]
        creating = [("create:", {"plans": [rate_plan.pk]})] * (count // 2)
        sent = edited(order(account, *actions, *creating), refresh="1")
        with CaptureQueriesContext(connection) as captured:
            page = page_of(otto.post(NEW, sent))
        assert page.count('name="actions"') == count + count // 2
        return len(captured)

    queries(2)
    assert queries(8) == queries(2) <= 24
