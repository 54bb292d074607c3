"""Pages of accounts: the form of a new one with its contact, the account page with its tabs, contacts and next invoice."""

import re
import uuid

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import Account, Contact, CustomField, CustomFieldEntity, NumberPurpose, NumberSequence, PaymentTerm
from invoicing.models import BillRun
from tests.factories import acme, bill, globex, monthly, once, plan, seats, subscribe, team_plan, user

pytestmark = pytest.mark.django_db
NEW = "/accounts/account/new/"


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


def sent(**changes):
    """Return what the form of a new account sends."""
    values = {
        "request_key": str(uuid.uuid4()),
        "name": "Initech Health BV",
        "currency": "EUR",
        "batch": "1",
        "language": "en",
        "bill_cycle_day": "1",
        "email_invoices": "on",
        "bill_to-name": "Accounts payable",
        "bill_to-email": "ap@initech.example",
        "bill_to-city": "Münster",
        "bill_to-country": "DE",
    }
    return {**values, **changes}


# Creating ------------------------------------------------------------------------------------------------------------


def test_an_account_is_created_with_its_contact_on_one_page(otto):
    page = page_of(otto.get(NEW))
    assert "Bill-to contact" in page
    response = otto.post(NEW, sent())
    account = Account.objects.get()
    assert response.url == account.get_absolute_url()
    assert re.fullmatch(r"A\d{8}", account.number)
    contact = Contact.objects.get()
    assert (contact.email, contact.country) == ("ap@initech.example", "DE")
    assert account.bill_to == account.sold_to == contact
    assert account.payment_term == PaymentTerm.objects.get(net_days=0)
    assert LogEntry.objects.get().object_id == str(account.pk)


def test_a_double_click_creates_one_account(otto):
    form = sent()
    first, second = otto.post(NEW, form), otto.post(NEW, form)
    assert first.url == second.url
    assert Account.objects.count() == 1


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_created(otto):
    page = page_of(otto.post(NEW, sent(name="", currency="", **{"bill_to-name": "", "bill_to-email": "nonsense"})), 422)
    assert page.count("This field is required.") == 3
    assert "Enter a valid email address." in page
    assert not Account.objects.exists()
    assert not Contact.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bill_to-email": ""}, "give one, or switch off sending them by e-mail"),
        ({"parent": "A99999999"}, "There is no account with the number A99999999."),
        ({"additional_emails": "a@b.example, nonsense"}, "Enter a valid email address."),
        ({"bill_cycle_day": "32"}, "is not one of the available choices"),
        ({"name": "Initech\nBV"}, "Line breaks and control characters are not allowed here."),
        ({"currency": "XXX"}, "is not one of the available choices"),
    ],
)
def test_a_flaw_is_named_at_its_field(otto, changes, said):
    assert said in page_of(otto.post(NEW, sent(**changes)), 422)
    assert not Account.objects.exists()


def test_no_address_is_fine_when_invoices_are_not_mailed(otto):
    form = sent(**{"bill_to-email": ""})
    del form["email_invoices"]
    assert otto.post(NEW, form).status_code == 302


def test_a_number_of_ones_own_is_kept_and_a_taken_one_refused(otto):
    existing = acme()
    assert "already" in page_of(otto.post(NEW, sent(number=existing.number)), 422)
    otto.post(NEW, sent(number="CUST-7", parent=existing.number))
    made = Account.objects.get(number="CUST-7")
    assert made.parent == existing


def test_custom_fields_are_asked_for(otto):
    CustomField.objects.create(
        entity=CustomFieldEntity.ACCOUNT, name="Segment", label="Market segment", kind="Picklist",
        choices=["Large", "Small"], required=True,
    )  # fmt: skip
    assert "Market segment" in page_of(otto.get(NEW))
    assert "This field is required." in page_of(otto.post(NEW, sent()), 422)
    otto.post(NEW, sent(**{"custom-Segment": "Large"}))
    assert Account.objects.get().custom_fields == {"Segment": "Large"}


def test_without_a_number_sequence_the_form_says_so(otto):
    NumberSequence.objects.filter(purpose=NumberPurpose.ACCOUNT).delete()
    assert "No number sequence for Account" in page_of(otto.post(NEW, sent()), 422)


def test_only_those_who_may_add_accounts_see_the_form(client):
    client.force_login(user("viewer"))
    assert client.get(NEW).status_code == 403
    assert client.post(NEW, sent()).status_code == 403
    assert "New account" not in page_of(client.get("/accounts/account/"))


def test_typing_a_number_suggests_accounts(otto):
    account = acme()
    globex()
    found = page_of(otto.get("/accounts/account/suggest/", {"parent": "acme"}, headers={"HX-Request": "true"}))
    assert account.number in found
    assert found.count("<option") == 1


# The account page ----------------------------------------------------------------------------------------------------


def test_the_page_says_what_is_owed_what_waits_and_what_comes_next(otto):
    account = acme()
    subscribe(account, team_plan(), "2026-06-01")
    run = bill("2026-06-01", accounts=[account], auto_post=True)
    assert run.status == BillRun.objects.get(pk=run.pk).status == "Posted"
    bill("2026-07-01", accounts=[account])
    page = page_of(otto.get(account.get_absolute_url()))
    assert "$150.00" in page
    assert "1 draft waits to be posted." in page
    fragment = page_of(otto.get(f"/accounts/account/{account.pk}/next-invoice/", headers={"HX-Request": "true"}))
    assert "$50.00" in fragment
    assert "due on 1 Aug 2026" in fragment
    assert "<html" not in fragment
    assert "<html" in page_of(otto.get(f"/accounts/account/{account.pk}/next-invoice/"))


def test_what_is_overdue_is_due_now(otto):
    account = acme()
    subscribe(account, plan("Fee", monthly()), "2026-05-01")
    fragment = page_of(otto.get(f"/accounts/account/{account.pk}/next-invoice/"))
    assert "due now" in fragment
    assert "$30.00" in fragment
    assert "3 lines" in fragment


def test_an_account_that_cannot_be_billed_says_why(otto):
    account = acme()
    subscribe(account, plan("Fee", monthly()), "2026-07-01")
    Account.objects.filter(pk=account.pk).update(bill_to=None)
    assert "has no bill-to contact" in page_of(otto.get(account.get_absolute_url()))
    assert "no bill-to contact" in page_of(otto.get(f"/accounts/account/{account.pk}/next-invoice/"))


def test_nothing_sold_is_nothing_due(otto):
    account = acme()
    assert "Nothing falls due within a year." in page_of(otto.get(f"/accounts/account/{account.pk}/next-invoice/"))


def test_the_page_leads_to_an_order_and_to_a_bill_run(otto):
    account = acme()
    page = page_of(otto.get(account.get_absolute_url()))
    assert f'href="/billing/order/new/?account={account.pk}"' in page
    assert f'href="/invoicing/billrun/new/?account={account.pk}"' in page


def test_a_viewer_has_no_buttons(client):
    client.force_login(user("viewer"))
    page = page_of(client.get(acme().get_absolute_url()))
    for text in ("New order", "Generate invoice now", "Add contact", "Make bill-to", "Edit record"):
        assert text not in page


@pytest.mark.parametrize("tab", ["", "subscriptions/", "invoices/", "activity/"])
def test_every_tab_costs_at_most_twelve_queries(otto, tab, django_assert_max_num_queries):
    account = acme()
    for number in range(3):
        subscribe(account, plan(f"Plan {number}", monthly(), seats(), once()), "2026-06-01")
    bill("2026-07-01", accounts=[account])
    otto.get(account.get_absolute_url())
    with django_assert_max_num_queries(12):
        page = page_of(otto.get(f"{account.get_absolute_url()}{tab}"))
    assert len(page.encode()) <= 40 * 1024


def test_the_form_of_a_new_account_is_light(otto, django_assert_max_num_queries):
    otto.get(NEW)
    with django_assert_max_num_queries(12):
        page = page_of(otto.get(NEW))
    assert len(page.encode()) <= 40 * 1024


# Contacts ------------------------------------------------------------------------------------------------------------


def test_a_contact_is_added_and_made_the_one_who_gets_the_invoices(otto):
    account = acme()
    add = f"/accounts/contact/add/?account={account.pk}"
    assert account.number in page_of(otto.get(add))
    data = {"account": account.pk, "name": "Grace Hopper", "email": "grace@acme.example", "country": "US"}
    assert otto.post(add, data).url == account.get_absolute_url()
    grace = Contact.objects.get(name="Grace Hopper")
    page = page_of(otto.get(account.get_absolute_url()))
    assert "Make bill-to" in page
    key = re.findall(r'name="request_key" value="([^"]+)"', page)[0]
    choose = f"/accounts/contact/{grace.pk}/choose/"
    assert otto.post(choose, {"role": "bill_to", "request_key": key}).url == account.get_absolute_url()
    account.refresh_from_db()
    assert account.bill_to == grace
    assert "Grace Hopper is the bill-to contact." in page_of(otto.get(f"{account.get_absolute_url()}activity/"))


def test_a_contact_stays_with_its_account(otto):
    first, second = acme(), globex()
    ada = first.contacts.get()
    url = f"/accounts/contact/{ada.pk}/change/"
    data = {"account": second.pk, "name": "Ada King", "email": "ada@acme.example", "country": "GB"}
    assert otto.post(url, data).status_code == 302
    ada.refresh_from_db()
    assert (ada.account, ada.name) == (first, "Ada King")


def test_choosing_needs_a_known_role_and_the_right_to_change(otto, client):
    contact = acme().contacts.get()
    url = f"/accounts/contact/{contact.pk}/choose/"
    assert otto.post(url, {"role": "owner", "request_key": str(uuid.uuid4())}).status_code == 400
    assert otto.get(url).status_code == 405
    client.force_login(user("viewer"))
    assert client.post(url, {"role": "sold_to", "request_key": str(uuid.uuid4())}).status_code == 403


def test_only_the_accounts_own_contacts_are_offered_as_bill_to(client):
    client.force_login(user("admin"))
    first, second = acme(), globex()
    page = page_of(client.get(f"/accounts/account/{first.pk}/change/"))
    assert first.contacts.get().email in page
    assert second.contacts.get().email not in page


def test_the_currency_is_fixed_once_something_was_sold(client):
    client.force_login(user("admin"))
    account = acme()
    url = f"/accounts/account/{account.pk}/change/"
    assert 'name="currency"' in page_of(client.get(url))
    subscribe(account, plan("Fee", monthly()), "2026-07-01")
    assert 'name="currency"' not in page_of(client.get(url))
