"""Selling in the browser: choosing the account, plans, quantities and term, and what the order page shows then."""

import re
import uuid
from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from accounts.models import Account, AccountStatus
from billing.core.types import BillingPeriod
from billing.models import Order, RatePlanCharge, Subscription
from billing.models.terms import TriggerEvent
from tests.factories import acme, bill, globex, monthly, once, plan, product, seats, subscribe, team_plan, user

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


OF_THE_ORDER = ("request_key", "account", "order_date", "description", "actions", "create")


def sent(account, *plans, **changes):
    """Return what the order form sends for an evergreen subscription of the plans, made by action 1."""
    order = {
        "request_key": str(uuid.uuid4()),
        "account": account.pk,
        "order_date": "2026-07-15",
        "actions": ["1:create:"],
        "create": "1",
    }
    action = {
        "sent": "1",
        "plans": [chosen.pk for chosen in plans],
        "starts_on": "2026-07-01",
        "term": "Evergreen",
        "term_months": "12",
    }
    order |= {name: value for name, value in changes.items() if name in OF_THE_ORDER}
    action |= {name: value for name, value in changes.items() if name not in OF_THE_ORDER}
    return order | {f"1-{name}": value for name, value in action.items()}


def quantity(of, name="Seats"):
    """Return the name of the input for a charge's quantity, within its action."""
    return f"{of.charges.get(name=name).pk}-quantity"


# Choosing the account ------------------------------------------------------------------------------------------------


def test_first_the_account_is_chosen_by_typing(otto):
    account, other = acme(), globex()
    page = page_of(otto.get(NEW))
    assert f'href="{NEW}?account={account.pk}"' in page
    found = page_of(otto.get(NEW, {"find": "glo"}, headers={"HX-Request": "true"}))
    assert other.name in found
    assert account.name not in found
    assert "<html" not in found
    assert "No active account begins with “zzz”." in page_of(otto.get(NEW, {"find": "zzz"}))


def test_accounts_that_are_not_billed_are_not_offered(otto):
    account = acme()
    Account.objects.filter(pk=account.pk).update(status=AccountStatus.CANCELED)
    assert account.name not in page_of(otto.get(NEW))


# Selling -------------------------------------------------------------------------------------------------------------


def test_a_subscription_is_sold(otto):
    account, team = acme(), team_plan()
    page = page_of(otto.get(f"{NEW}?account={account.pk}"))
    assert "$10.00 per seat a month" in page
    assert "$100.00, once" in re.sub(r"\s+", " ", page)
    response = otto.post(NEW, sent(account, team, name="Head office", **{quantity(team): "12"}))
    order = Order.objects.get()
    assert response.url == order.get_absolute_url()
    assert (order.account, order.order_date, order.status) == (account, date(2026, 7, 15), "Completed")
    assert order.created_by == User.objects.get(username="operator")
    subscription = Subscription.objects.get()
    assert (subscription.name, subscription.term_type, subscription.term_end) == ("Head office", "Evergreen", None)
    assert subscription.charges.get(name="Seats").segments.get().quantity == Decimal(12)
    page = page_of(otto.get(response.url))
    assert subscription.number in page
    assert "$120.00" in page
    assert f"/invoicing/billrun/new/?account={account.pk}" in page


def test_the_usual_quantity_is_filled_in(otto):
    account, team = acme(), team_plan()
    page = page_of(otto.get(f"{NEW}?account={account.pk}"))
    assert re.search(rf'name="1-{quantity(team)}" value="5"', page)


def test_a_term_ends_after_its_months(otto):
    account, fee = acme(), plan("Fee", monthly())
    otto.post(NEW, sent(account, fee, term="Termed", term_months="6", auto_renew="on"))
    subscription = Subscription.objects.get()
    assert (subscription.term_type, subscription.term_end, subscription.auto_renew) == (
        "Termed",
        date(2027, 1, 1),
        True,
    )


def test_several_plans_make_one_subscription(otto):
    account, first, second = acme(), plan("Fee", monthly()), plan("Extra", once())
    otto.post(NEW, sent(account, first, second, invoice_separately="on", description="By phone"))
    subscription = Subscription.objects.get()
    assert {row.name for row in subscription.rate_plans.all()} == {"Fee", "Extra"}
    assert subscription.invoice_separately
    assert Order.objects.get().description == "By phone"


def test_a_double_click_sells_once(otto):
    account, fee = acme(), plan("Fee", monthly())
    form = sent(account, fee)
    assert otto.post(NEW, form).url == otto.post(NEW, form).url
    assert Order.objects.count() == 1


def test_charges_that_wait_or_have_a_date_of_their_own(otto):
    account = acme()
    waiting = plan(
        "Later",
        monthly("Hosting", trigger_event=TriggerEvent.SERVICE_ACTIVATION),
        monthly("Support", trigger_event=TriggerEvent.SPECIFIC_DATE),
    )
    day = f"{waiting.charges.get(name='Support').pk}-day"
    assert "This charge begins on a date of its own" in page_of(otto.post(NEW, sent(account, waiting)), 422)
    otto.post(NEW, sent(account, waiting, **{day: "2026-08-01"}))
    dates = dict(RatePlanCharge.objects.values_list("name", "trigger_date"))
    assert dates == {"Hosting": None, "Support": date(2026, 8, 1)}
    assert Subscription.objects.get().status == "PendingActivation"
    page = page_of(otto.get(Subscription.objects.get().get_absolute_url()))
    assert "waits for a date" in page


def test_what_is_sold_in_the_browser_is_billed(otto):
    account, team = acme(), team_plan()
    otto.post(NEW, sent(account, team, **{quantity(team): "3"}))
    run = bill("2026-07-01", accounts=[account])
    assert run.totals == {"USD": "130.00"}


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plans": []}, "Choose at least one rate plan."),
        ({"plans": ["999999"]}, "is not one of the available choices"),
        ({"starts_on": ""}, "This field is required."),
        ({"starts_on": "31.07.2026"}, "Enter a valid date."),
        ({"term": "Termed", "term_months": ""}, "How many months does the term last?"),
        ({"term": "Termed", "term_months": "0"}, "greater than or equal to 1"),
        ({"term": "Termed", "term_months": "601"}, "less than or equal to 600"),
        ({"service_activation": "2026-06-01"}, "Service activation (2026-06-01) cannot come before"),
        ({"order_date": "2019-12-31"}, "is not sold on 2019-12-31"),
        ({"name": "two\nlines"}, "Line breaks and control characters are not allowed here."),
    ],
)
def test_a_flaw_is_named_at_its_field_and_nothing_is_sold(otto, changes, said):
    account, fee = acme(), plan("Fee", monthly())
    page = page_of(otto.post(NEW, sent(account, fee, **changes)), 422)
    assert said in page
    assert not Order.objects.exists()
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("typed", "said"), [("", "How many?"), ("-1", "greater than or equal to 0"), ("many", "Enter a number.")]
)
def test_a_quantity_is_asked_for_at_its_charge(otto, typed, said):
    account, sold = acme(), plan("Seats only", seats(quantity=None))
    page = page_of(otto.post(NEW, sent(account, sold, **{quantity(sold): typed})), 422)
    assert said in page
    assert not Order.objects.exists()


def test_a_plan_without_a_price_in_the_currency_is_not_for_sale(otto):
    account = globex()
    dollars = plan("Dollars", monthly(prices={"USD": Decimal(10)}))
    page = page_of(otto.get(f"{NEW}?account={account.pk}"))
    assert re.search(rf'value="{dollars.pk}"[^>]* disabled', page)
    assert "No price in the account&#x27;s currency: Platform fee." in page
    assert "has no price in EUR" in page_of(otto.post(NEW, sent(account, dollars)), 422)


def test_a_plan_without_charges_and_one_no_longer_sold(otto):
    account = acme()
    plan("Empty")
    plan("Gone", monthly(), of=product("Old", end="2026-07-01"))
    page = page_of(otto.get(f"{NEW}?account={account.pk}"))
    assert "This plan has no charges yet." in page
    assert "Gone" not in page


def test_an_account_that_is_not_active_cannot_order(otto):
    account, fee = acme(), plan("Fee", monthly())
    Account.objects.filter(pk=account.pk).update(status=AccountStatus.CANCELED)
    assert "only active accounts" in page_of(otto.post(NEW, sent(account, fee)), 422)


def test_a_viewer_cannot_sell(client):
    client.force_login(user("viewer"))
    account = acme()
    assert client.get(NEW).status_code == 403
    assert client.post(NEW, sent(account)).status_code == 403


# Finding plans -------------------------------------------------------------------------------------------------------


def test_searching_plans_keeps_the_chosen_ones(otto):
    account = acme()
    chosen = plan("Alpha", monthly())
    for number in range(20):
        plan(f"Bulk {number:02d}", monthly(), of=product("Bulk goods"))
    wanted = plan("Zeta", monthly(), of=product("Zoo"))
    page = page_of(otto.get(f"{NEW}?account={account.pk}"))
    assert "search to see others" in page
    asked = sent(account, chosen, find_plan="zet", starts_on="2026-08-09")
    del asked["create"]
    found = page_of(otto.post(NEW, asked | {"refresh": "1"}))
    assert re.search(rf'value="{chosen.pk}" checked', found)
    assert f'value="{wanted.pk}"' in found
    assert "Bulk" not in found
    assert 'value="2026-08-09"' in found
    assert not Order.objects.exists()


def test_a_plan_found_by_searching_can_be_sold(otto):
    account = acme()
    for number in range(20):
        plan(f"Bulk {number:02d}", monthly(), of=product("Bulk goods"))
    wanted = plan("Zeta", monthly(), of=product("Zoo"))
    assert otto.post(NEW, sent(account, wanted, find_plan="")).status_code == 302


# Pages of orders and subscriptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["form", "order", "subscription", "orders", "subscriptions", "choose"])
def test_pages_are_light(otto, which, django_assert_max_num_queries):
    account = acme()
    for number in range(12):
        plan(f"Plan {number}", monthly(), seats(billing_period=BillingPeriod.QUARTER), once(), of=product("Goods"))
    subscription = subscribe(account, team_plan(), "2026-06-01")
    bill("2026-07-01", accounts=[account])
    url = {
        "form": f"{NEW}?account={account.pk}",
        "choose": NEW,
        "order": Order.objects.get().get_absolute_url(),
        "subscription": subscription.get_absolute_url(),
        "orders": "/billing/order/",
        "subscriptions": "/billing/subscription/",
    }[which]
    otto.get(url)
    with django_assert_max_num_queries(12):
        page = page_of(otto.get(url))
    assert len(page.encode()) <= 40 * 1024
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=\"", page)


def test_the_subscription_page_says_what_is_billed(otto):
    account = acme()
    subscription = subscribe(account, team_plan(), "2026-07-01")
    assert "Nothing of it is billed yet." in page_of(otto.get(subscription.get_absolute_url()))
    bill("2026-07-01", accounts=[account])
    page = page_of(otto.get(subscription.get_absolute_url()))
    assert "Billed up to and including 31 Jul 2026." in page
    assert "Billed." in page
    assert Order.objects.get().number in page


def test_completed_orders_and_subscriptions_are_not_deleted(client):
    client.force_login(user("admin"))
    subscription = subscribe(acme(), plan("Fee", monthly()), "2026-07-01")
    assert client.get(f"/billing/order/{Order.objects.get().pk}/delete/").status_code == 403
    assert client.get(f"/billing/subscription/{subscription.pk}/delete/").status_code == 403
    assert client.get("/billing/subscription/add/").status_code == 403
