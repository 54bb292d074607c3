"""Charges for usage at the screen: the form shows what plays a part, a unit of measure is added on the way."""

from decimal import Decimal

import pytest
from playwright.sync_api import expect

from billing.models import ProductRatePlanCharge
from tests.factories import plan, unit, user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fixed_today"),
]


@pytest.mark.parametrize("scripts", [True, False])
def test_smoothed_overage_is_added_and_only_what_plays_a_part_is_shown(operator, scripts):
    user("operator")
    unit("GB")
    person = operator("operator", scripts=scripts)
    page = person.page
    person.open(f"/billing/productrateplancharge/new/?plan={plan('Metered').pk}")
    page.get_by_label("Name", exact=True).fill("Cloud storage")
    for label in ("Unit of measure", "Counted together", "Rated", "Overage is"):
        expect(page.get_by_label(label, exact=True)).to_be_hidden()
    page.get_by_label("Charged", exact=True).select_option("Usage")
    expect(page.get_by_label("Unit of measure", exact=True)).to_be_visible()
    page.get_by_label("Priced", exact=True).select_option("PerUnit")
    expect(page.get_by_label("Counted together", exact=True)).to_be_visible()
    expect(page.get_by_label("Rated", exact=True)).to_be_visible()
    page.get_by_label("Counted together", exact=True).select_option("ByUsageRecord")
    expect(page.get_by_label("Rated", exact=True)).to_be_hidden()
    page.get_by_label("Priced", exact=True).select_option("Overage")
    expect(page.get_by_label("Counted together", exact=True)).to_be_hidden()
    page.get_by_label("Unit of measure", exact=True).select_option("GB")
    page.get_by_label("Included units").fill("500")
    page.get_by_label("Overage is", exact=True).select_option("RollingWindow")
    page.get_by_label("Number of periods", exact=True).fill("3")
    expect(page.get_by_label("Unused units", exact=True)).to_be_hidden()
    page.get_by_label("Overage is billed", exact=True).select_option("PerBillingPeriod")
    page.get_by_label("Unused units", exact=True).select_option("CreditBySpecificRate")
    page.get_by_label("Currency", exact=True).first.select_option("USD")
    page.get_by_label("Price", exact=True).fill("0.10")
    page.get_by_label("Credit rate", exact=True).fill("0.02")
    if scripts:
        expect(page.get_by_text("overage is billed as soon as it occurs")).to_be_visible()
        person.check("usage-charge")
    page.get_by_label("Credit rate", exact=True).press("Enter")
    expect(page.get_by_text("first 500 GB included, then $0.10 per GB")).to_be_visible()
    expect(page.get_by_text("smoothed over 3 periods (rolling window, billed as it occurs)")).to_be_visible()
    charge = ProductRatePlanCharge.objects.get()
    assert (charge.unit, charge.rating_group, charge.prices.get().credit_rate) == (
        "GB",
        "ByBillingPeriod",
        Decimal("0.02"),
    )


def test_a_unit_of_measure_is_added_and_looked_at(operator):
    user("approver")
    person = operator("approver")
    page = person.page
    person.open("/")
    page.get_by_role("link", name="Units of measure").click()
    page.get_by_role("link", name="New unit of measure").first.click()
    page.get_by_label("Name", exact=True).fill("API call")
    person.check("unit-new")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("12.3456789012 API call used in a period are billed as 13 API call.")).to_be_visible()
    person.check("unit")
