"""Usage in a browser: from the invoice to its records, the account's usage so far, and the dashboard that points to them."""

from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect

from billing.core.types import BillingPeriod, ChargeModel, ChargeType, PriceFormat, RatingGroup, Tier
from billing.models import RatePlanCharge, UnitOfMeasure
from invoicing.models import Invoice
from tests.factories import acme, bill, day, globex, plan, subscribe, user
from tests.usage.consumption import consume

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")


@pytest.fixture
def metered() -> list[RatePlanCharge]:
    """Let Acme and its child Globex use data and calls; June is billed, with late usage since."""
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    UnitOfMeasure.objects.create(name="API call", decimals=0)
    tiers = (
        Tier(Decimal(50), Decimal(2), PriceFormat.PER_UNIT),
        Tier(Decimal(100), Decimal("1.5"), PriceFormat.PER_UNIT),
        Tier(None, Decimal(25), PriceFormat.FLAT_FEE),
    )
    terms: dict[str, Any] = {"charge_type": ChargeType.USAGE, "billing_period": BillingPeriod.MONTH}
    data = {**terms, "name": "Data", "charge_model": ChargeModel.TIERED, "prices": {"USD": tiers}, "unit": "GB"}
    calls = {**terms, "name": "Calls", "charge_model": ChargeModel.OVERAGE, "prices": {"USD": Decimal("0.005")}}
    calls |= {"unit": "API call", "default_quantity": Decimal(10_000)}
    account = acme()
    child = globex(parent=account, currency="USD")
    sold = plan("Metered", {**data, "rating_group": RatingGroup.START_DATE}, calls)
    subscribe(account, sold, "2026-05-01", name="Production")
    first, second = RatePlanCharge.objects.order_by("id")
    june = [(f"2026-06-{1 + number % 20:02d}", f"{number % 7}.125") for number in range(300)]
    consume(first, *june, by_day=True)
    consume(second, ("2026-06-03", "8000"), account=child)
    consume(second, ("2026-06-13", "7500.5"))
    bill("2026-07-01")
    consume(first, ("2026-06-02", "12"), by_day=True)
    consume(first, ("2026-07-02", "75"), ("2026-07-12", "30.5"), by_day=True)
    consume(second, ("2026-07-05", "12345"), account=child)
    return [first, second]


def test_from_the_invoice_to_its_usage_records(operator, metered):
    user("viewer")
    invoice = Invoice.objects.get(total__gt=0)
    person = operator("viewer")
    person.open(invoice.get_absolute_url())
    page = person.page
    page.locator("summary", has_text="How was this calculated?").last.click()
    person.check("usage-invoice")
    page.get_by_role("link", name="Usage (300 records)").click()
    expect(page.get_by_role("heading", name="Usage of Data")).to_be_visible()
    person.check("usage-records")
    page.get_by_role("link", name="Next 50").click()
    expect(page.get_by_role("link", name="From the start")).to_be_visible()
    assert "after=2026-06-" in page.url
    assert page.locator("h1").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 301
    assert page.locator("main form, main button").count() == 0


def test_usage_of_a_child_names_it(operator, metered):
    user("viewer")
    person = operator("viewer")
    person.open(Invoice.objects.get(total__gt=0).get_absolute_url())
    person.page.get_by_role("link", name="Usage (2 records)").click()
    expect(person.page.get_by_role("cell", name="Globex GmbH")).to_be_visible()
    person.check("usage-child-records")


def test_usage_so_far_and_what_waits(operator, metered):
    user("viewer")
    account = metered[0].subscription.account
    person = operator("viewer")
    person.open(f"/accounts/account/{account.pk}/usage/")
    expect(person.page.locator("#account-usage")).to_contain_text("late usage is due")
    person.check("usage-account")
    person.open(f"/billing/subscription/{metered[0].subscription_id}/")
    expect(person.page.locator("#subscription-usage")).to_contain_text("12,345 API call")
    person.page.locator("#subscription-usage").scroll_into_view_if_needed()
    person.check("usage-subscription")
    person.open("/")
    expect(person.page.get_by_role("link", name="1 late usage record")).to_be_visible()
    person.check("usage-dashboard")
