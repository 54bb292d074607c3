"""An administrator issues a token, tries the API with it on its own page, and revokes it."""

import pytest

from accounts.api_tokens import ApiToken
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fixed_today")]


def test_a_token_is_issued_used_and_revoked(operator):
    make.acme()
    make.user("admin")
    admin = operator("admin")
    page = admin.page
    admin.open("/accounts/apitoken/new/")
    admin.check("api-token-new")
    page.get_by_role("textbox", name="Name").fill("Metering gateway")
    page.get_by_label("Read accounts").check()
    page.get_by_role("button", name="Issue token").click()
    secret = page.locator("code.secret").inner_text()
    assert secret.startswith("tally_") and len(secret) == 49
    admin.check("api-token-issued")

    admin.open("/api/v1/docs")
    page.get_by_role("button", name="Authorize").click()
    page.locator(".auth-container input").fill(secret)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
    page.locator("#operations-Accounts-accounts_api_list_accounts").get_by_role("button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").get_by_text("Acme Corporation").first.wait_for()
    reports = page.evaluate("window.policyReports || []")
    admin._keep_picture("api-docs")
    assert (admin.complaints, reports, admin.foreign) == ([], [], [])

    page.goto(f"{admin.address}{ApiToken.objects.get().get_absolute_url()}")
    assert secret not in page.content()
    page.get_by_role("link", name="Revoke").click()
    admin.check("api-token-revoke")
    page.get_by_role("button", name="Revoke this token").click()
    page.get_by_text("is revoked. The API refuses it from now on.").wait_for()
    assert ApiToken.objects.get().state == "Revoked"
