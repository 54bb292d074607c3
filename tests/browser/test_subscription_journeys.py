"""The life of a subscription at the screen: sold with tiers, previewed, billed, explained, changed in mid-period, canceled."""

from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from billing.models import Order, Subscription
from invoicing.models import Invoice, InvoiceItem
from tests.browser.conftest import Operator
from tests.factories import acme, day, product, team_plan, user

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SECONDS = 1000


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 1 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-01")


def test_tiers_sold_changed_in_mid_period_and_canceled(operator, worker, settings):
    """Up to 50 seats at 10.00 each, above at 8.00; a month in advance.

    July       |== 60 seats: 500.00 + 80.00 = 580.00 ==============|
    16 July                      |== −299.35 ==| |== 100 seats: 900.00 × 16/31 = 464.52 ==|
    25 July                                             |== −203.23 (7/31 of 900.00) ==|
    """
    user("approver")
    account = acme()
    product("Workspace")
    person = operator("approver")
    build_the_plan(person)
    order_it(person, account)
    assert amounts() == [Decimal("580.00")]
    read_the_explanation(person)

    settings.BUSINESS_DATE = day("2026-07-16")
    change_the_quantity(person)
    assert amounts() == [Decimal("580.00"), Decimal("-299.35"), Decimal("464.52")]

    settings.BUSINESS_DATE = day("2026-07-25")
    cancel_it(person)
    assert amounts()[3:] == [Decimal("-203.23")]
    subscription = Subscription.objects.get()
    assert (subscription.status, subscription.canceled_from) == ("Canceled", day("2026-07-25"))


def amounts() -> list[Decimal]:
    return list(InvoiceItem.objects.order_by("pk").values_list("amount", flat=True))


def build_the_plan(person: Operator) -> None:
    page = person.page
    person.open("/billing/product/")
    page.get_by_role("link", name="Workspace").click()
    page.get_by_role("link", name="New rate plan").click()
    page.get_by_label("Name", exact=True).fill("Team")
    page.get_by_label("Name", exact=True).press("Enter")
    page.get_by_role("link", name="New charge in Team").click()
    page.get_by_label("Name", exact=True).fill("Seats")
    page.get_by_label("Priced").select_option("Tiered")
    page.get_by_label("Currency").first.select_option("USD")
    page.get_by_label("Tier 1: up to").fill("50")
    page.get_by_label("Tier 1: price", exact=True).fill("10")
    page.get_by_label("Tier 2: price", exact=True).fill("8")
    person.check("charge-with-tiers")
    page.get_by_role("button", name="Create charge").last.click()
    expect(page.get_by_text("up to 50: $10.00 each")).to_be_visible()


def order_it(person: Operator, account) -> None:
    page = person.page
    person.open(account.get_absolute_url())
    page.get_by_role("link", name="New order").click()
    page.get_by_role("checkbox", name="Team").check()
    page.get_by_label("Quantity of Seats").fill("60")
    preview = page.locator("#order-preview")
    expect(preview).to_contain_text("$580.00")
    person.check("order-with-preview")
    assert not Order.objects.exists()
    page.get_by_role("button", name="Create order").click()
    expect(page.get_by_text("is complete")).to_be_visible()
    run(page)


def run(page: Page) -> None:
    """Bill the account and post what comes of it."""
    page.get_by_role("link", name="Generate invoice now").click()
    page.get_by_role("button", name="Run for 1 account").click()
    page.get_by_role("link", name="Post 1 invoice").click(timeout=20 * SECONDS)
    page.get_by_role("dialog").get_by_role("button", name="Post 1 invoice").click()
    expect(page.locator("h1 ~ .badge, .title .badge").first).to_have_text("Posted", timeout=20 * SECONDS)


def read_the_explanation(person: Operator) -> None:
    page = person.page
    person.open(Invoice.objects.latest("pk").get_absolute_url())
    page.get_by_text("How was this calculated?").first.click()
    steps = page.locator(".calculation").first
    expect(steps).to_contain_text("50 × $10.00")
    expect(steps).to_contain_text("10 × $8.00")
    person.check("explanation-of-tiers")


def change_the_quantity(person: Operator) -> None:
    page = person.page
    person.open(Subscription.objects.get().get_absolute_url())
    page.locator("summary", has_text="Change").click()
    page.get_by_role("link", name="Change quantity or price").click()
    page.get_by_label("Quantity of Seats").fill("100")
    preview = page.locator("#order-preview")
    expect(preview).to_contain_text("−$299.35")
    expect(preview).to_contain_text("$464.52")
    expect(preview).to_contain_text("$165.17")
    person.check("change-with-preview")
    page.get_by_role("button", name="Create order").click()
    expect(page.get_by_text("is complete")).to_be_visible()
    person.check("order-that-changes")
    run(page)
    person.open(Invoice.objects.latest("pk").get_absolute_url())
    page.get_by_text("How was this calculated?").first.click()
    person.check("explanation-of-a-credit")


def cancel_it(person: Operator) -> None:
    page = person.page
    person.open(Subscription.objects.get().get_absolute_url())
    person.check("subscription-changed")
    page.locator("summary", has_text="Change").click()
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(page.locator("#order-preview")).to_contain_text("−$203.23")
    page.get_by_role("button", name="Create order").click()
    expect(page.get_by_text("is complete")).to_be_visible()
    page.get_by_role("link", name="Generate invoice now").click()
    page.get_by_role("button", name="Run for 1 account").click()
    expect(page.get_by_role("link", name="Post 1 invoice")).to_be_visible(timeout=20 * SECONDS)


def test_several_actions_are_put_together_by_keyboard_and_without_scripts(operator):
    """Without a script each button answers with the page; the preview is a page that asks to place the order."""
    user("operator")
    account = acme()
    team_plan()
    person = operator("operator", scripts=False)
    page = person.page
    person.open(f"/billing/order/new/?account={account.pk}")
    page.get_by_role("checkbox", name="Team").check()
    page.get_by_label("Action", exact=True).select_option("suspend")
    page.get_by_label("Subscription", exact=True).fill("Action 1")
    page.get_by_role("button", name="Add action").click()
    expect(page.get_by_role("heading", name="Suspend")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Team")).to_be_checked()
    page.locator("[name='2-effective_date']").fill("2026-07-16")
    page.get_by_role("button", name="Show the preview").click()
    expect(page.get_by_text("Suspend")).to_be_visible()
    page.get_by_role("button", name="Back to the form").click()
    expect(page.locator("[name='2-effective_date']")).to_have_value("2026-07-16")
    page.get_by_role("button", name="Show the preview").click()
    page.get_by_role("button", name="Create order").click()
    expect(page.get_by_text("is complete")).to_be_visible()
    assert Subscription.objects.get().status == "Suspended"
