"""Pages of accounts, catalogue, orders and invoices in a browser: the first run by keyboard alone, and a close look at each."""

import re

import pytest
from playwright.sync_api import Locator, expect

from accounts.models import Account
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import Order, Product, Subscription
from invoicing.models import Invoice
from invoicing.services import post_invoice
from tests.browser.conftest import Operator
from tests.factories import acme, bill, by_tiers, day, globex, monthly, plan, seats, subscribe, team_plan, user

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MOST_STOPS = 80
SECONDS = 1000  # Playwright counts in milliseconds


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")


def reach(person: Operator, target: Locator) -> None:
    """Press Tab until something has the focus, as people without a mouse do."""
    for _ in range(MOST_STOPS):
        if target.evaluate("e => e === document.activeElement"):
            return
        person.page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached by keyboard")


def press(person: Operator, name: str, *, role: str = "link") -> None:
    """Reach a link or button by keyboard and press it."""
    reach(person, person.page.get_by_role(role, name=name, exact=True).locator("visible=true").first)  # type: ignore[arg-type]
    person.page.keyboard.press("Enter")


def write(person: Operator, label: str, text: str, *, nth: int = 0) -> None:
    """Reach a field by keyboard and type into it; in a list, typing chooses."""
    reach(person, person.page.get_by_label(label, exact=True).locator("visible=true").nth(nth))
    person.page.keyboard.type(text)


def jump(person: Operator, page: str) -> None:
    """Open a page by the command palette."""
    person.page.keyboard.press("Control+k")
    person.page.keyboard.type(page)
    expect(person.page.locator("#palette-results").get_by_role("link", name=page).first).to_be_visible()
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("Enter")


def test_the_first_run_by_keyboard_alone(operator, worker):
    user("approver")
    person = operator("approver")
    page = person.page

    jump(person, "Products")
    press(person, "New product")
    write(person, "Name", "Platform")
    write(person, "SKU", "PLAT")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Platform")
    press(person, "New rate plan")
    write(person, "Name", "Team")
    page.keyboard.press("Enter")
    press(person, "New charge in Team")
    write(person, "Name", "Platform fee")
    write(person, "Currency", "USD")
    write(person, "Price", "49.90")
    page.keyboard.press("Enter")
    expect(page.get_by_text("$49.90 a month")).to_be_visible()

    jump(person, "New account")
    page.wait_for_url("**/account/new/")
    write(person, "Name", "Acme Corporation")
    write(person, "Currency", "USD")
    write(person, "Name", "Ada Miller", nth=1)
    write(person, "E-mail optional", "ada@acme.example")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Acme Corporation")
    press(person, "New order")
    reach(person, page.get_by_role("checkbox", name="Team"))
    page.keyboard.press("Space")
    write(person, "Name of the subscription optional", "Head office")
    page.keyboard.press("Enter")  # brings the preview up to date; an order is only placed by its button
    expect(page.locator("#order-preview")).to_contain_text("$49.90")
    assert not Order.objects.exists()
    press(person, "Create order", role="button")
    expect(page.get_by_text("is complete")).to_be_visible()

    press(person, "Generate invoice now")
    page.wait_for_url(re.compile(r"/billrun/new/"))
    expect(page.get_by_role("button", name="Run for 1 account")).to_be_visible()
    press(person, "Run for 1 account", role="button")
    page.wait_for_url(re.compile(r"/billrun/\d+/$"))
    expect(page.get_by_role("link", name="Post 1 invoice")).to_be_visible(timeout=20 * SECONDS)

    account = Account.objects.get()
    person.open(account.get_absolute_url())
    draft = Invoice.objects.get()
    press(person, str(draft))
    press(person, "Post invoice")
    expect(page.get_by_role("dialog").get_by_text("Keep as draft")).to_be_focused()
    page.wait_for_timeout(300)  # htmx sets the focus once more when the dialog has settled
    press(person, "Post 1 invoice", role="button")
    expect(page.get_by_role("heading", level=1)).to_have_text("INV00000001", timeout=20 * SECONDS)
    person.check("first-run-done")


def test_each_page_is_flawless(operator):
    user("approver")
    account, everything = acme(), plan("Everything", monthly(price="310"), seats(), of=None)
    tiers = (Tier(None, seats()["prices"]["USD"], PriceFormat.PER_UNIT),)
    plan("Calls", by_tiers("Calls", ChargeModel.VOLUME, tiers, quantity="3"))
    subscription = subscribe(account, everything, "2026-06-10", name="Head office")
    bill("2026-06-10")
    bill("2026-07-01")
    first, second = Invoice.objects.order_by("pk")
    post_invoice(first, user_id=user("admin").pk)
    globex()
    person = operator("approver")
    addresses = {
        "accounts": "/accounts/account/",
        "account": account.get_absolute_url(),
        "account-subscriptions": f"{account.get_absolute_url()}subscriptions/",
        "account-invoices": f"{account.get_absolute_url()}invoices/",
        "account-activity": f"{account.get_absolute_url()}activity/",
        "new-account": "/accounts/account/new/",
        "account-record": f"/accounts/account/{account.pk}/change/",
        "contact": f"/accounts/contact/{account.contacts.get().pk}/change/",
        "order-account": "/billing/order/new/",
        "orders": "/billing/order/",
        "order": Order.objects.get().get_absolute_url(),
        "subscriptions": "/billing/subscription/",
        "subscription": subscription.get_absolute_url(),
        "products": "/billing/product/",
        "product": Product.objects.get().get_absolute_url(),
        "new-product": "/billing/product/add/",
        "invoices": "/invoicing/invoice/",
        "invoice-posted": first.get_absolute_url(),
        "invoice-emails": f"{first.get_absolute_url()}emails/",
        "invoice-line": f"/invoicing/invoiceitem/{second.items.earliest('pk').pk}/change/",
        "invoice-timeline": f"{first.get_absolute_url()}timeline/",
        "invoice-post-page": f"{second.get_absolute_url()}post/",
    }
    for name, address in addresses.items():
        person.open(address)
        # What is closed has no contrast, no names and no width.
        person.page.locator("details.calculation > summary").evaluate_all("all => all.forEach((one) => one.click())")
        person.check(name)


def test_forms_show_what_the_choice_needs(operator):
    user("operator")
    account, team = acme(), team_plan()
    person = operator("operator")
    page = person.page
    person.open(f"/billing/order/new/?account={account.pk}")
    quantity = page.get_by_label("Quantity of Seats (seat)")
    expect(quantity).to_be_hidden()
    page.get_by_role("checkbox", name="Team").check()
    expect(quantity).to_have_value("5")
    expect(page.get_by_label("Months", exact=True)).to_be_hidden()
    page.get_by_label("Termed: ends after a number of months").check()
    expect(page.get_by_label("Months", exact=True)).to_be_visible()
    # Searching keeps what is ticked and sends nothing.
    page.get_by_label("Find rate plans").press_sequentially("zzz")
    page.keyboard.press("Enter")
    expect(page.get_by_role("checkbox")).not_to_have_count(0)
    expect(page.get_by_role("checkbox", name="Team")).to_be_checked()
    assert not Order.objects.exists()
    person.check("new-order")
    page.get_by_role("button", name="Create order").click()
    page.wait_for_url(re.compile(r"/billing/order/\d+/$"))
    assert Subscription.objects.get().term_end == day("2027-07-15")

    person.open(f"/billing/productrateplancharge/new/?plan={team.pk}")
    expect(page.get_by_label("Price", exact=True)).to_be_visible()
    page.get_by_label("Priced").select_option("Tiered")
    expect(page.get_by_label("Price", exact=True)).to_be_hidden()
    expect(page.get_by_label("Tier 1: up to")).to_be_visible()
    page.get_by_label("Charged", exact=True).select_option("OneTime")
    expect(page.get_by_label("Billing period")).to_be_hidden()
    person.check("new-charge")


def test_a_draft_is_canceled_and_explained_without_scripts(operator):
    user("approver")
    subscribe(acme(), team_plan(), "2026-07-01")
    bill("2026-07-01")
    draft = Invoice.objects.get()
    person = operator("approver", scripts=False)
    page = person.page
    person.open(draft.get_absolute_url())
    page.get_by_text("How was this calculated?").first.click()
    expect(page.get_by_text("5 × $10.00 (price of segment 1, for a month)")).to_be_visible()
    page.get_by_role("link", name="Cancel draft").click()
    page.get_by_role("button", name="Cancel this draft").click()
    expect(page.get_by_text("What it billed is due again.")).to_be_visible()
    draft.refresh_from_db()
    assert draft.status == "Canceled"


def test_the_account_page_works_out_the_next_invoice(operator):
    user("viewer")
    account = acme()
    subscribe(account, team_plan(), "2026-08-01")
    person = operator("viewer")
    person.open(account.get_absolute_url())
    expect(person.page.locator("#next-invoice")).to_contain_text("$150.00")
    expect(person.page.locator("#next-invoice")).to_contain_text("due on 1 Aug 2026")
    person.check("account-viewer")
