"""Usage through the API: taken once, listed, changed and removed while pending, refused when it is Processed."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.api_tokens import Scope
from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import RatePlanCharge, UnitOfMeasure
from tests import factories as make
from tests.factories import bill
from tests.programs import API, pages, problem, program
from usage.importing import advance
from usage.models import UsageImport, UsageRecord, UsageSlice

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def charge() -> RatePlanCharge:
    """Acme pays 0.50 for each GB of a month."""
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    data = {
        "name": "Data",
        "charge_type": ChargeType.USAGE,
        "charge_model": ChargeModel.PER_UNIT,
        "billing_period": BillingPeriod.MONTH,
        "unit": "GB",
        "prices": {"USD": Decimal("0.5")},
    }
    return make.subscribe(make.acme(), make.plan("Data", data), "2026-01-01").charges.get()


@pytest.fixture
def client(charge):
    """A program that may read and send usage."""
    return program(Scope.USAGE_READ, Scope.USAGE_WRITE)


def sent(charge: RatePlanCharge, **changes: object) -> dict[str, object]:
    account = charge.subscription.account.number
    return {"account": account, "unit": "GB", "quantity": "12.5", "start_date": "2026-01-05", **changes}


def post(client, path: str, body: object, key: str = "") -> Any:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return client.post(f"{API}/{path}", body, content_type="application/json", headers=headers)


def test_a_record_is_taken_once_and_read_again(client, charge):
    key = str(uuid.uuid4())
    first = post(client, "usage", sent(charge, description="Backup", unique_key="m-1"), key)
    assert first.status_code == 201
    assert first.json() == {
        "id": UsageRecord.objects.get().pk,
        "account": charge.subscription.account.number,
        "subscription": charge.subscription.number,
        "charge": charge.number,
        "unit": "GB",
        "quantity": "12.5",
        "start_date": "2026-01-05",
        "end_date": None,
        "description": "Backup",
        "unique_key": "m-1",
        "is_processed": False,
        "import_id": UsageImport.objects.get().pk,
    }
    again = post(client, "usage", sent(charge, description="Backup", unique_key="m-1"), key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert UsageRecord.objects.count() == 1
    assert client.get(f"{API}/usage/{first.json()['id']}").json() == first.json()


def test_a_unique_key_is_taken_once_whatever_the_request(client, charge):
    assert post(client, "usage", sent(charge, unique_key="m-1")).status_code == 201
    refused = problem(post(client, "usage", sent(charge, unique_key="m-1", quantity="3")), 409)
    assert [error["field"] for error in refused["errors"]] == ["unique_key"]
    assert UsageRecord.objects.count() == 1


def test_a_batch_is_all_or_nothing_and_names_what_is_wrong(client, charge):
    rows = [sent(charge), sent(charge, account="A999"), sent(charge, unit="TB", start_date="2025-12-31")]
    refused = problem(post(client, "usage/batch", {"records": rows}), 409)
    assert [error["field"] for error in refused["errors"]] == ["records[1].account", "records[2].unit"]
    assert UsageRecord.objects.count() == UsageSlice.objects.count() == UsageImport.objects.count() == 0
    taken = post(client, "usage/batch", {"records": rows[:1] * 3}).json()
    assert taken["records"] == 3
    assert [len(items) for items in pages(client, "usage", limit=2, import_id=str(taken["import_id"]))] == [2, 1]


def test_ten_thousand_records_at_once_and_not_one_more(client, charge, django_assert_max_num_queries):
    rows = [sent(charge, start_date=f"2026-0{1 + place % 6}-15") for place in range(10_000)]
    with django_assert_max_num_queries(40):
        assert post(client, "usage/batch", {"records": rows}).json()["records"] == 10_000
    assert UsageSlice.objects.count() == 6
    problem(post(client, "usage/batch", {"records": [*rows, sent(charge)]}), 422)


def test_pending_usage_is_changed_and_removed(client, charge):
    record = post(client, "usage", sent(charge)).json()["id"]
    path = f"{API}/usage/{record}"
    changed = client.patch(path, {"quantity": "3", "start_date": "2026-02-03"}, content_type="application/json")
    assert (changed.json()["quantity"], changed.json()["start_date"]) == ("3", "2026-02-03")
    assert list(UsageSlice.objects.values_list("quantity", "first_day__month")) == [(Decimal(3), 2)]
    refused = client.patch(path, {"start_date": "2025-12-31"}, content_type="application/json")
    assert problem(refused, 409)["errors"][0]["field"] == "start_date"
    assert client.delete(path).status_code == 204
    problem(client.get(path), 404)
    assert UsageSlice.objects.count() == 0


def test_processed_usage_is_neither_changed_nor_removed(client, charge):
    record = post(client, "usage", sent(charge)).json()["id"]
    path = f"{API}/usage/{record}"
    bill("2026-02-01")
    assert client.get(path).json()["is_processed"] is True
    problem(client.patch(path, {"quantity": "3"}, content_type="application/json"), 409)
    problem(client.delete(path), 409)
    assert [item["id"] for item in client.get(f"{API}/usage", {"status": "processed"}).json()["items"]] == [record]
    assert client.get(f"{API}/usage", {"status": "pending"}).json()["items"] == []


@pytest.mark.parametrize(("bad_rows", "status", "records"), [("refuse", "Failed", 0), ("leave_out", "Imported", 1)])
def test_a_file_is_checked_and_imported_in_the_background(client, charge, bad_rows, status, records):
    account = charge.subscription.account.number
    text = f"ACCOUNT_ID,UOM,QTY,STARTDATE\n{account},GB,10,2026-01-05\n{account},GB,ten,2026-01-05\n"
    answer = client.post(
        f"{API}/usage/imports?bad_rows={bad_rows}",
        {"file": SimpleUploadedFile("usage.csv", text.encode())},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )
    assert (answer.status_code, answer.json()["status"]) == (202, "Uploaded")
    pk = answer.json()["id"]
    advance(pk)
    found = client.get(f"{API}/usage/imports/{pk}").json()
    assert (found["status"], found["rows"], found["good_rows"], found["bad_rows"]) == (status, 2, 1, 1)
    assert UsageRecord.objects.count() == records
    errors = client.get(f"{API}/usage/imports/{pk}/errors").json()["items"]
    assert [(error["line"], error["column"], error["code"]) for error in errors] == [(3, "QTY", "not_a_quantity")]


def test_reading_takes_a_fixed_number_of_queries(client, charge, django_assert_num_queries):
    post(client, "usage/batch", {"records": [sent(charge)] * 30})
    for limit in (1, 30):
        with django_assert_num_queries(2):
            client.get(f"{API}/usage", {"limit": limit})
