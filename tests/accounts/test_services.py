"""Creating accounts, moving them between batches, and placing them in a hierarchy."""

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Account, Contact, CustomField
from accounts.services import (
    NewContact,
    add_contact,
    choose_contacts,
    create_account,
    move_to_batch,
    set_parent,
)
from tests.factories import acme, batch, globex, sakura

pytestmark = pytest.mark.django_db

ADA = NewContact(name="Ada Miller", country="US", email="ada@acme.example")


def problems_of(call, **changes):
    """Return the messages by field with which a call is refused."""
    with pytest.raises(ValidationError) as refused:
        call(**changes)
    return refused.value.message_dict


def new_account(**changes):
    return create_account(**{"name": "Acme", "currency": "USD", "batch": batch(1), "bill_to": ADA, **changes})


class TestCreateAccount:
    def test_new_account_takes_the_next_number_and_is_due_upon_receipt(self):
        first, second = new_account(), new_account()
        assert (first.number, second.number) == ("A00000001", "A00000002")
        assert first.payment_term is not None
        assert first.payment_term.name == "Due Upon Receipt"

    def test_bill_to_is_also_sold_to_unless_another_is_given(self):
        alone = new_account()
        assert alone.bill_to == alone.sold_to
        warehouse = NewContact("Warehouse", "US", city="Reno")
        account = Account.objects.get(pk=new_account(sold_to=warehouse).pk)
        assert account.bill_to is not None
        assert account.sold_to is not None
        assert (account.bill_to.name, account.sold_to.name) == ("Ada Miller", "Warehouse")
        assert account.contacts.count() == 2

    def test_bill_cycle_day_waits_for_the_first_recurring_charge(self):
        assert new_account().bill_cycle_day == 0

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"currency": "XYZ"}, "currency", "“XYZ” is not an ISO currency"),
            ({"name": " "}, "name", "cannot be blank"),
            ({"bill_cycle_day": 32}, "bill_cycle_day", "less than or equal to 31"),
            ({"bill_to": ADA._replace(country="Germany")}, "bill_to", "Country: Ensure this value has at most 2"),
            ({"bill_to": ADA._replace(email="ada")}, "bill_to", "Email: Enter a valid email address"),
            ({"bill_to": ADA._replace(name="")}, "bill_to", "Name: This field cannot be blank"),
            ({"additional_emails": ["nobody"]}, "additional_emails", "valid email address"),
            ({"language": "xx"}, "language", "not a valid choice"),
            ({"custom_fields": {"Colour": "red"}}, "custom_fields", "no custom field “Colour”"),
        ],
    )
    def test_flaw_is_named_with_its_field_and_nothing_is_created(self, changes, field, words):
        found = problems_of(new_account, **changes)
        assert list(found) == [field]
        assert words in " ".join(found[field])
        assert not Account.objects.exists()
        assert not Contact.objects.exists()

    def test_number_that_exists_is_refused(self):
        new_account(number="ACME-1")
        assert problems_of(new_account, number="ACME-1") == {
            "number": ["Another account already has the number ACME-1."]
        }

    def test_all_flaws_are_told_at_once(self):
        assert set(problems_of(new_account, currency="", bill_cycle_day=40)) == {"currency", "bill_cycle_day"}


class TestCustomFields:
    @pytest.fixture(autouse=True)
    def fields(self):
        CustomField.objects.create(entity="Account", name="Region", label="Region", kind="Picklist", choices=["N", "S"])
        CustomField.objects.create(entity="Account", name="Rank", label="Rank", kind="Number", required=True)
        CustomField.objects.create(entity="Account", name="Since", label="Since", kind="Date")

    def test_values_that_fit_are_kept(self):
        values = {"Region": "N", "Rank": "2.5", "Since": "2026-01-31"}
        assert new_account(custom_fields=values).custom_fields == values

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "“Rank” is required."),
            ({"Rank": "1", "Region": "W"}, "“Region” must be one of: N, S."),
            ({"Rank": "many"}, "“Rank” must be a number."),
            ({"Rank": "NaN"}, "“Rank” must be a number."),
            ({"Rank": 1, "Since": "31.1.2026"}, "“Since” must be a date such as 2026-01-31."),
        ],
    )
    def test_value_that_does_not_fit_is_refused(self, values, words):
        assert problems_of(new_account, custom_fields=values) == {"custom_fields": [words]}


def test_contact_of_another_account_cannot_receive_the_invoices():
    account, other = acme(), globex()
    stranger = add_contact(account=other, contact=NewContact("Eve", "DE"))
    with pytest.raises(ValidationError, match=f"Eve is not a contact of account {account.number}"):
        choose_contacts(account=account, bill_to=stranger)
    friend = add_contact(account=account, contact=NewContact("Bob", "US"))
    choose_contacts(account=account, bill_to=friend)
    account.refresh_from_db()
    assert account.bill_to == friend
    assert account.sold_to != friend


def test_moving_to_a_batch_counts_only_accounts_that_moved():
    account, other = acme(), globex(batch=batch(2))
    assert move_to_batch(accounts=[account, other], batch=batch(2)) == 1
    assert Account.objects.filter(batch=batch(2)).count() == 2


class TestSetParent:
    def test_account_is_placed_below_another_and_at_the_top_again(self):
        parent, child = acme(), globex()
        set_parent(account=child, parent=parent)
        assert Account.objects.get(pk=child.pk).parent == parent
        set_parent(account=child, parent=None)
        assert Account.objects.get(pk=child.pk).parent is None

    def test_account_cannot_be_its_own_parent(self):
        account = acme()
        assert problems_of(set_parent, account=account, parent=account) == {
            "parent": [f"Account {account.number} cannot be its own parent."]
        }

    def test_loop_over_three_accounts_is_refused_in_words(self):
        top, middle, bottom = acme(), globex(), sakura()
        set_parent(account=middle, parent=top)
        set_parent(account=bottom, parent=middle)
        words = f"Account {bottom.number} is below {top.number} already, so it cannot be its parent as well."
        assert problems_of(set_parent, account=top, parent=bottom) == {"parent": [words]}
        assert Account.objects.get(pk=top.pk).parent is None
