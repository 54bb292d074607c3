"""The accounts of the API: what they say, page by page, in a fixed number of queries."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.api_tokens import Scope
from accounts.cursors import cursor_of, key_of
from tests import factories as make
from tests.programs import API, pages, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]


def test_an_account_says_what_its_invoices_say():
    parent = make.acme()
    make.globex(number="GLOBEX/7", parent=parent, additional_emails=["cc@globex.example"])
    found = program(Scope.ACCOUNTS_READ).get(f"{API}/accounts/GLOBEX/7").json()
    assert found.pop("created_at").endswith("Z")
    assert found["bill_to"]["name"] == "Jörg Vogel"
    assert found["bill_to"] == found.pop("sold_to")
    assert found.pop("bill_to")["city"] == "Hamburg"
    assert found == {
        "number": "GLOBEX/7",
        "name": "Globex GmbH",
        "status": "Active",
        "currency": "EUR",
        "batch": "Batch1",
        "bill_cycle_day": 15,
        "payment_term": "Due Upon Receipt",
        "parent": parent.number,
        "language": "en",
        "vat_id": "DE999999999",
        "purchase_order": "",
        "email_invoices": True,
        "print_invoices": False,
        "additional_emails": ["cc@globex.example"],
        "custom_fields": {},
    }


def test_an_unknown_account_is_not_found():
    refused = program().get(f"{API}/accounts/A404")
    assert problem(refused, 404)["detail"] == "There is no account with the number A404. Nothing was changed."


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_every_account_is_listed_once_to_the_end(limit):
    made = [make.AccountFactory(contacts=False).number for _ in range(7)]
    found = list(pages(program(), "accounts", limit=limit))
    assert [account["number"] for page in found for account in page] == made
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


def test_accounts_that_come_meanwhile_shift_nothing():
    made = [make.AccountFactory(contacts=False).number for _ in range(4)]
    found = []
    for page in pages(program(), "accounts", limit=2):
        found += [account["number"] for account in page]
        if len(made) < 6:
            made.append(make.AccountFactory(contacts=False).number)
    assert found == made


@pytest.mark.parametrize("path", ["accounts", "accounts/ONE"])
def test_the_number_of_queries_does_not_grow_with_the_accounts(path):
    client = program()
    make.AccountFactory(number="ONE", contacts=False)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{API}/{path}").status_code == 200
        counts.append(len(queries))
        for _ in range(5):
            make.AccountFactory(parent=make.AccountFactory(contacts=False))
    assert counts == [2, 2]  # the token and the rows


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("limit=0", "limit", "Input should be greater than or equal to 1."),
        ("limit=201", "limit", "Input should be less than or equal to 200."),
        ("limit=many", "limit", "Write a whole number."),
        ("cursor=1", "cursor", "The text does not have the form ^[A-Za-z0-9_-]{11}$."),
    ],
)
def test_what_is_wrong_in_an_address_is_named(query, field, message):
    refused = problem(program().get(f"{API}/accounts?{query}"), 422)
    assert refused["errors"] == [{"field": field, "message": message}]


@pytest.mark.parametrize("key", [1, 255, 2**31, 2**63 - 1])
def test_a_cursor_stands_for_its_key(key):
    assert key_of(cursor_of(key)) == key


@pytest.mark.parametrize("cursor", ["AAAAAAAAAAA", "___________", "-----------", "zzzzzzzzzzz"])
def test_any_text_of_a_cursors_form_is_some_key(cursor):
    make.acme()
    assert program().get(f"{API}/accounts?cursor={cursor}").status_code == 200
