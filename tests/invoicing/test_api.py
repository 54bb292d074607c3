"""Invoices and bill runs of the API: amounts as text to the cent, lines page by page, in a fixed number of queries."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.api_tokens import Scope
from invoicing.models import BillRun, Invoice
from tests import factories as make
from tests.factories import bill
from tests.programs import API, pages, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]


def _billed() -> tuple[Invoice, Invoice]:
    """Sell Acme the team plan and bill it twice; return the posted invoice and the draft."""
    make.subscribe(make.acme(), make.team_plan(), "2026-01-01")
    bill("2026-01-01", auto_post=True)
    bill("2026-02-01")
    posted, draft = Invoice.objects.order_by("pk")
    return posted, draft


def test_a_posted_invoice_is_found_by_its_number_with_its_lines():
    posted, _ = _billed()
    found = program(Scope.INVOICES_READ).get(f"{API}/invoices/{posted.number}").json()
    assert (found["number"], found["reference"], found["status"]) == (posted.number, posted.reference, "Posted")
    assert (found["account"], found["bill_run"]) == (posted.account.number, posted.bill_run.number)
    assert [found[name] for name in ("net", "tax", "total", "balance")] == ["150.00", "0", "150.00", "150.00"]
    assert (found["invoice_date"], found["due_date"]) == ("2026-01-01", "2026-01-31")
    seats, onboarding = found["lines"]["items"]
    charge = posted.items.earliest("pk").charge
    assert seats == {
        "kind": "Recurring",
        "description": "Seats",
        "subscription": charge.subscription.number,
        "charge": charge.number,
        "period_start": "2026-01-01",
        "period_end": "2026-02-01",
        "quantity": "5",
        "unit_price": "10",
        "amount": "50.00",
    }
    assert onboarding["amount"] == "100.00"
    assert sum(Decimal(line["amount"]) for line in (seats, onboarding)) == posted.net


def test_a_draft_is_found_by_its_reference():
    posted, draft = _billed()
    found = program().get(f"{API}/invoices/{draft.reference}").json()
    assert (found["number"], found["reference"], found["status"]) == (None, draft.reference, "Draft")
    # The reference stays when the invoice gets its number.
    assert program().get(f"{API}/invoices/{posted.reference}").json()["number"] == posted.number


@pytest.mark.parametrize(
    "name", ["INV404", "DRAFT-0", "DRAFT-", "DRAFT-x", "DRAFT-99999999999999999999", "DRAFT-²", "1"]
)
def test_an_unknown_invoice_is_not_found(name):
    _billed()
    assert "no invoice" in problem(program().get(f"{API}/invoices/{name}"), 404)["detail"]


def test_a_reference_with_other_digits_is_no_other_invoice():
    _, draft = _billed()
    problem(program().get(f"{API}/invoices/DRAFT-0{draft.pk}"), 404)


def test_lines_are_read_to_the_end():
    make.subscribe(make.acme(), make.plan("Many", *(make.monthly(f"Fee {n}") for n in range(7))), "2026-01-01")
    bill("2026-01-01")
    address, client, found = f"{API}/invoices/{Invoice.objects.get().reference}", program(), []
    cursor: dict[str, str] = {}
    while True:
        lines = client.get(address, {"limit": "3", **cursor}).json()["lines"]
        found.append([line["description"] for line in lines["items"]])
        if lines["next_cursor"] is None:
            break
        cursor = {"cursor": lines["next_cursor"]}
    assert [len(page) for page in found] == [3, 3, 1]
    assert sorted(line for page in found for line in page) == [f"Fee {n}" for n in range(7)]


def test_invoices_are_listed_by_account_and_status():
    posted, draft = _billed()
    make.subscribe(make.globex(), make.plan("Basic", make.monthly()), "2026-02-15")
    bill("2026-02-15")
    client = program()

    def listed(**filters: str) -> list[str]:
        return [row["reference"] for page in pages(client, "invoices", limit=1, **filters) for row in page]

    theirs = Invoice.objects.get(account__name="Globex GmbH").reference
    assert listed() == [posted.reference, draft.reference, theirs]
    assert listed(status="Draft") == [draft.reference, theirs]
    assert listed(account=posted.account.number) == [posted.reference, draft.reference]
    assert listed(account=posted.account.number, status="Posted") == [posted.reference]
    assert listed(status="Canceled") == []


def test_a_status_that_does_not_exist_is_named():
    refused = problem(program().get(f"{API}/invoices?status=Paid"), 422)
    assert refused["errors"][0]["field"] == "status"
    assert "'Draft', 'Posted'" in refused["errors"][0]["message"]


def test_a_bill_run_says_what_came_of_it():
    _billed()
    run = BillRun.objects.earliest("pk")
    found = program(Scope.BILL_RUNS_READ).get(f"{API}/bill-runs/{run.number}").json()
    assert (found["number"], found["status"], found["totals"]) == (run.number, "Posted", {"USD": "150.00"})
    assert (found["target_date"], found["invoice_count"], found["accounts_billed"]) == ("2026-01-01", 1, 1)
    listed = [row for page in pages(program(), "bill-runs", limit=1) for row in page]
    assert [row["number"] for row in listed] == list(BillRun.objects.order_by("pk").values_list("number", flat=True))
    assert listed[0] == found
    assert "no bill run" in problem(program().get(f"{API}/bill-runs/BR404"), 404)["detail"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("invoices", 2),
        ("invoices?account={account}&status=Draft", 3),
        ("invoices/{reference}", 3),
        ("bill-runs", 2),
        ("bill-runs/{run}", 2),
    ],
)
def test_the_number_of_queries_does_not_grow(path, expected):
    client, counts = program(), []
    small = make.acme()
    large = make.globex(bill_cycle_day=1, currency="USD")
    make.subscribe(small, make.plan("Small", make.monthly()), "2026-01-01")
    for number in range(3):
        make.subscribe(large, make.plan(f"Large {number}", *(make.monthly(f"Fee {n}") for n in range(4))), "2026-01-01")
    for account, target in ((small, "2026-01-01"), (large, "2026-02-01")):
        run = bill(target)
        invoice = Invoice.objects.filter(account=account).latest("pk")
        address = path.format(account=account.number, reference=invoice.reference, run=run.number)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{API}/{address}").status_code == 200
        counts.append(len(queries))
    assert counts == [expected, expected]
