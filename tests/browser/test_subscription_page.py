"""The subscription page in a browser: its time line in light, dark and on a telephone, its next charges, and the keyboard."""

from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect

from billing.core.types import BillingPeriod, BillingTiming, ChargeModel
from billing.models import Subscription
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    ChargeChoice,
    NewRatePlan,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
)
from tests.billing.orders import TIERS, act, change, update
from tests.browser.conftest import NARROW
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, product, seats, subscribe, user

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MOST_STOPS = 60
FIVE = dict.fromkeys(("USD", "EUR", "JPY"), Decimal(5))


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")


def eventful() -> Subscription:
    """Return Acme's subscription to which everything happened that can happen to one."""
    team = plan(
        "Team",
        seats("Seats", "10", prices=FIVE),
        monthly("Platform fee", "300", billing_period=BillingPeriod.QUARTER),
        once("Onboarding"),
    )
    storage = plan(
        "Storage",
        by_tiers("Storage", ChargeModel.TIERED, TIERS, quantity="60"),
        monthly("Backup", "20", billing_timing=BillingTiming.IN_ARREARS),
    )
    late = plan(
        "Premium",
        monthly("Premium support with a rather long name", "49.90", trigger_event="ServiceActivation"),
        once("Security audit", trigger_event="SpecificDate"),
    )
    subscription = subscribe(acme(), team, "2026-01-01", term_months=12, auto_renew=True, name="Head office")
    audit_day = ChargeChoice(late.charges.get(name="Security audit"), trigger_date=day("2026-10-05"))
    act(subscription, AddProduct(subscription, NewRatePlan(storage), day("2026-02-10")), on=day("2026-02-10"))
    act(subscription, update(subscription, "2026-04-01", change("Seats", quantity="13")), on=day("2026-03-28"))
    act(subscription, Suspend(subscription, day("2026-05-10")), on=day("2026-05-10"))
    act(subscription, Resume(subscription, day("2026-06-01")), on=day("2026-05-20"))
    act(
        subscription, AddProduct(subscription, NewRatePlan(late, (audit_day,)), day("2026-07-01")), on=day("2026-07-01")
    )
    bill("2026-07-01")
    act(
        subscription,
        update(subscription, "2026-10-01", change("Seats", quantity="20", price="4.5")),
        on=day("2026-07-10"),
    )
    act(subscription, RemoveProduct(subscription, storage, day("2026-07-20")), on=day("2026-07-12"))
    return subscription


def test_an_eventful_subscription_is_flawless(operator):
    user("viewer")
    subscription = eventful()
    person = operator("viewer")
    page = person.page
    person.open(subscription.get_absolute_url())
    charges = page.locator("#next-charges")
    expect(charges.get_by_role("row", name="1 Aug 2026 $65.00", exact=True)).to_be_visible()
    expect(charges).to_contain_text("Its term ends on 31 Dec 2026 and renews itself")
    expect(page.get_by_role("img", name="Charges, terms and what is billed")).to_be_visible()
    person.check("subscription-eventful")
    person.open(subscription.order_actions.latest("pk").order.get_absolute_url())
    expect(page.get_by_text("Plan “Storage” removed.")).to_be_visible()
    person.check("order-words")


@pytest.mark.parametrize("life", ["canceled", "suspended", "waiting", "decades", "over", "many", "long"])
def test_whatever_became_of_it_the_page_is_flawless(operator, life):
    user("viewer")
    account = globex()
    old = product("Classics", start="1990-01-01")
    sold = {
        "waiting": plan("Late", monthly("Fee", trigger_event="ServiceActivation"), once("Setup"), of=old),
        "many": plan("Large", *(seats(f"Seats {number:02d}") for number in range(30)), of=old),
    }.get(life) or plan("Fee", monthly("Fee", "30"), seats("Seats"), of=old)
    start = {"decades": "1999-03-15", "over": "2024-01-01"}.get(life, "2025-11-01")
    term: dict[str, Any] = {"over": {"term_months": 12}, "long": {"term_months": 120, "auto_renew": True}}.get(life, {})
    subscription = subscribe(account, sold, start, **term)
    if life == "decades":
        prices = (update(subscription, f"{year}-03-15", change("Fee", price=str(year))) for year in range(2000, 2030))
        act(subscription, *prices)
    elif life != "waiting":
        bill("2026-07-15" if life != "over" else "2024-12-15")
    if life == "canceled":
        act(subscription, CancelSubscription(subscription, day("2026-07-25")))
    elif life == "suspended":
        act(subscription, Suspend(subscription, day("2026-07-10")))
    elif life == "long":
        act(subscription, RenewSubscription(subscription, months=24))
    person = operator("viewer")
    person.open(subscription.get_absolute_url())
    expect(person.page.locator("#next-charges")).to_contain_text(
        {
            "canceled": "It is canceled from 25 Jul 2026 on",
            "suspended": "It is suspended from 10 Jul 2026 on",
            "waiting": "It waits for its service activation",
            "decades": "Check when the charge starts",
            "over": "Its term ended on 31 Dec 2024",
            "many": "more lines",
            "long": "15 Aug 2026",
        }[life]
    )
    person.check(f"subscription-{life}")


def test_the_time_line_is_scrolled_and_the_orders_unfolded_by_keyboard(operator):
    user("viewer")
    subscription = eventful()
    person = operator("viewer")
    page = person.page
    page.set_viewport_size(NARROW)
    person.open(subscription.get_absolute_url())
    line = page.get_by_role("group", name="Timeline")
    older = page.locator("details.more summary")
    for stop in (line, older):
        for _ in range(MOST_STOPS):
            if stop.evaluate("e => e === document.activeElement"):
                break
            page.keyboard.press("Tab")
        expect(stop).to_be_focused()
        if stop is line:
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(300)
            assert line.evaluate("e => e.scrollLeft") > 0
            # The names of the charges stay where they can be read.
            assert page.get_by_text("Platform fee billed up to").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    expect(page.get_by_text("Create subscription")).to_be_visible()


def test_without_scripts_the_next_charges_are_a_page(operator):
    user("viewer")
    subscription = eventful()
    person = operator(scripts=False)
    person.log_in("viewer")
    person.open(subscription.get_absolute_url())
    person.page.get_by_role("link", name="Work them out").click()
    expect(person.page.get_by_role("row", name="1 Aug 2026 $65.00", exact=True)).to_be_visible()
