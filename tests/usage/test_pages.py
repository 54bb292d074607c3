"""Pages of usage: lists by status, the record with its invoice, changes and removals, imports and their CSV."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.idempotency import FIELD, new_request_key
from billing.models import RatePlanCharge
from invoicing.models import Invoice
from tests.factories import acme, bill, user
from tests.usage.consumption import consume, sold
from usage.importing import advance
from usage.models import UsageImport, UsageRecord

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/usage/usagerecord/"


@pytest.fixture
def charge() -> RatePlanCharge:
    """Acme's gigabytes: two records of January, one of February; January is billed, and one more record came late."""
    found = sold(account=acme())
    consume(found, ("2026-01-05", "10"), ("2026-01-20", "5"), ("2026-02-03", "7"))
    bill("2026-02-01")
    consume(found, ("2026-01-31", "2"))
    return found


@pytest.fixture
def operator() -> Client:
    """An operator at the screen."""
    client = Client()
    client.force_login(user("operator"))
    return client


def listed(client: Client, query: str = "") -> list[str]:
    """Return the start dates that a list shows, oldest first."""
    records = client.get(f"{LIST}?{query}").context["cl"].result_list
    return sorted(str(record.start_date) for record in records)


def text_of(response: Any) -> str:
    return (b"".join(response.streaming_content) if response.streaming else response.content).decode()


def post(client: Client, url: str, **values: Any) -> Any:
    return client.post(url, {FIELD: new_request_key(), **values}, follow=True)


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("", ["2026-01-05", "2026-01-20", "2026-01-31", "2026-02-03"]),
        ("status=pending", ["2026-01-31", "2026-02-03"]),
        ("status=processed", ["2026-01-05", "2026-01-20"]),
        ("status=late", ["2026-01-31"]),
        ("status=pending&start_date__gte=2026-02-01", ["2026-02-03"]),
        ("q=C-99999999", []),
    ],
)
def test_lists_by_status_and_filter(operator, charge, query, days):
    assert listed(operator, query) == days


@pytest.mark.parametrize("by", ["account", "charge"])
def test_search_finds_by_account_and_charge(operator, charge, by):
    term = charge.subscription.account.number if by == "account" else charge.number
    assert len(listed(operator, f"q={term}")) == 4


def test_processed_usage_shows_its_invoice_and_neither_change_nor_removal(operator, charge):
    draft = Invoice.objects.get()
    page = text_of(operator.get(f"{LIST}?status=processed"))
    assert page.count(draft.get_absolute_url()) == 2
    record = UsageRecord.objects.get(start_date="2026-01-05")
    page = text_of(operator.get(f"{LIST}{record.pk}/"))
    assert "Processed" in page and draft.reference in page
    assert f"{LIST}{record.pk}/edit/" not in page and f"{LIST}{record.pk}/remove/" not in page
    for verb in ("edit", "remove"):
        answer = post(operator, f"{LIST}{record.pk}/{verb}/", qty="1", startdate="2026-01-05")
        assert "This usage is Processed" in text_of(answer)
    assert UsageRecord.objects.get(pk=record.pk).quantity == 10


def test_pending_usage_is_changed_where_its_values_can_be(operator, charge):
    record = UsageRecord.objects.get(start_date="2026-02-03")
    url = f"{LIST}{record.pk}/edit/"
    for values, reason in (
        ({"qty": "x", "startdate": "2026-02-03"}, "is not a quantity"),
        ({"qty": "1", "startdate": "2025-01-01"}, "begins on 2026-01-01"),
        ({"qty": "1", "startdate": "2026-02-03", "enddate": "2026-02-01"}, "before the start"),
        ({"qty": "", "startdate": "2026-02-03"}, "required"),
    ):
        answer = post(operator, url, **values)
        assert answer.status_code == 422 and reason in text_of(answer), reason
    assert "The record was changed." in text_of(post(operator, url, qty="8.5", startdate="2026-02-04"))
    assert UsageRecord.objects.get(pk=record.pk).quantity == Decimal("8.5")
    assert "The record was removed." in text_of(post(operator, f"{LIST}{record.pk}/remove/"))
    assert not UsageRecord.objects.filter(pk=record.pk).exists()


def test_the_export_has_every_record_with_its_invoice(operator, charge):
    lines = text_of(operator.get(f"{LIST}export/")).strip().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("account,uom,qty,startdate,enddate,subscription,charge,description,unique_key")
    assert sum(Invoice.objects.get().reference in line for line in lines) == 2


def test_lists_take_few_queries_however_many_rows_they_show(operator, charge, django_assert_max_num_queries):
    consume(charge, *((f"2026-03-{1 + day % 28:02}", "1") for day in range(60)))
    for query in ("", "status=pending", "status=processed", "status=late"):
        with django_assert_max_num_queries(12):
            operator.get(f"{LIST}?{query}")


def test_from_upload_to_undo(operator, charge):
    number = charge.subscription.account.number
    text = f"ACCOUNT_ID,UOM,QTY,STARTDATE\n{number},GB,=1+1,2026-02-05\n{number},GB,4,2026-02-06\n"
    answer = post(operator, "/usage/usageimport/new/", file=SimpleUploadedFile("usage.csv", text.encode()))
    found = UsageImport.objects.get(file_name="usage.csv")
    assert "Waiting for a worker" in text_of(answer)
    advance(found.pk)
    page = text_of(operator.get(found.get_absolute_url()))
    assert "Import 1 row, leave out 1" in page and "is not a quantity" in page
    export = text_of(operator.get(f"{found.get_absolute_url()}errors/"))
    assert "2,QTY,'=1+1,not_a_quantity" in export
    post(operator, f"{found.get_absolute_url()}import/")
    advance(found.pk)
    assert listed(operator, f"slice__usage_import={found.pk}") == ["2026-02-06"]
    post(operator, f"{found.get_absolute_url()}undo/")
    advance(found.pk)
    assert "Undone" in text_of(operator.get(found.get_absolute_url()))
    assert listed(operator, f"slice__usage_import={found.pk}") == []


def test_a_processed_import_cannot_be_undone(operator, charge):
    found = UsageImport.objects.earliest("pk")
    assert f"{found.get_absolute_url()}undo/" not in text_of(operator.get(found.get_absolute_url()))
    assert "Processed, so the import stays" in text_of(post(operator, f"{found.get_absolute_url()}undo/"))
    assert UsageRecord.objects.count() == 4


def test_an_upload_without_a_file_or_of_an_empty_one_is_refused_at_its_field(operator):
    for values, reason in (({}, "Choose a file."), ({"file": SimpleUploadedFile("a.csv", b"")}, "The file is empty.")):
        answer = post(operator, "/usage/usageimport/new/", **values)
        assert answer.status_code == 422 and reason in text_of(answer)
    assert UsageImport.objects.count() == 0


def test_the_template_is_accepted_as_it_is_but_for_its_account(operator):
    text = text_of(operator.get("/usage/usageimport/template/"))
    assert text.splitlines()[0].lstrip("\ufeff").startswith("ACCOUNT_ID,UOM,QTY,STARTDATE")
