"""The billing rules at the screen: examples follow the choice at once, a change is confirmed with a reason."""

import pytest
from playwright.sync_api import expect

from billing.models import BillingRules
from tests.factories import acme, subscribe, team_plan, user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fixed_today"),
]

PAGE = "/billing/billingrules/1/change/"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_rule_is_chosen_by_its_example_and_changed_with_a_reason(operator, scripts):
    user("admin")
    subscribe(acme(), team_plan(), "2026-07-01")
    person = operator("admin", scripts=scripts)
    page = person.page
    person.open(PAGE)
    example = page.locator("#example-days_in_month")
    expect(example.locator("dl").first).to_contain_text("$251.61")
    page.get_by_role("group", name="Days of a month").get_by_label("Always 30", exact=True).check()
    if not scripts:
        page.get_by_role("button", name="Show examples").click()
    expect(example.locator("dl").first).to_contain_text("$253.33")
    if scripts:
        expect(page.locator("#examples-said")).to_have_text("The examples follow your choice.")
        # The keys of radio buttons move the choice, and the examples with it.
        page.keyboard.press("ArrowDown")
        expect(example.locator("dl").first).to_contain_text("$250.00")
        page.keyboard.press("ArrowUp")
        person.check("billing-rules")
    page.get_by_role("button", name="Review the change").click()
    expect(page.get_by_text("Concerns 1 active charge of 1 account: all charges billed by months.")).to_be_visible()
    if scripts:
        person.check("billing-rules-confirm")
    page.get_by_role("button", name="Back to the rules").click()
    expect(example.locator("dl").first).to_contain_text("$253.33")
    page.get_by_role("button", name="Review the change").click()
    page.get_by_label("Reason").fill("The new general terms")
    page.get_by_label("Reason").press("Enter")
    expect(page.get_by_text("The billing rules are changed.")).to_be_visible()
    assert BillingRules.objects.get().days_in_month == "Assume30Days"


def test_a_viewer_reads_the_rules(operator):
    user("viewer")
    person = operator("viewer")
    person.open(PAGE)
    expect(person.page.get_by_text("Your role may look at them but not change them.")).to_be_visible()
    person.check("billing-rules-viewer")
