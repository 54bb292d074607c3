"""Usage at the screen: uploaded with bad rows, corrected, billed, locked, and another upload undone."""

from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import UnitOfMeasure
from invoicing.models import Invoice
from tests.browser.conftest import Operator
from tests.factories import acme, day, plan, subscribe, user
from usage.models import UsageRecord

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ROWS = 1_201
BAD = {
    4: ("A99999999", "GB", "12", "2026-06-02"),
    500: ("", "GB", "abc", "2026-06-03"),
    1_200: ("", "GB", "90", "06/03/2026"),
}


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 1 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-01")


@pytest.fixture
def account():
    """Acme, who pays 0.10 for each GB of a month."""
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    data = {
        "name": "Data volume",
        "charge_type": ChargeType.USAGE,
        "charge_model": ChargeModel.PER_UNIT,
        "billing_period": BillingPeriod.MONTH,
        "unit": "GB",
        "prices": {"USD": Decimal("0.10")},
    }
    found = acme()
    subscribe(found, plan("Data", data), "2026-06-01")
    return found


def usage_file(folder: Path, number: str, *, rows: int, bad: bool) -> Path:
    """Write a file in which some lines are bad."""
    lines = ["ACCOUNT_ID,UOM,QTY,STARTDATE,DESCRIPTION"]
    for line in range(2, rows + 2):
        account, unit, quantity, start = (
            BAD.get(line, ("", "GB", "0.5", f"2026-06-{1 + line % 30:02}")) if bad else ("", "GB", "1", "2026-06-30")
        )
        lines.append(f"{account or number},{unit},{quantity},{start},Traffic")
    path = folder / ("june.csv" if bad else "again.csv")
    path.write_text("\n".join(lines))
    return path


def test_from_a_file_with_bad_rows_to_processed_usage(operator, worker, account, tmp_path):
    user("approver")
    person = operator("approver")
    upload(person, usage_file(tmp_path, account.number, rows=ROWS, bad=True))
    read_the_reasons_and_import_the_rest(person)
    bill_june(person, account)
    see_processed_and_the_rate_detail(person)
    fail_to_change_a_processed_record(person)
    undo_another_import(person, usage_file(tmp_path, account.number, rows=3, bad=False))


def upload(person: Operator, path: Path) -> None:
    page = person.page
    person.open("/usage/usagerecord/")
    page.get_by_role("link", name="Import usage").click()
    person.check("usage-upload")
    page.get_by_label("Usage file").set_input_files(path)
    page.get_by_role("button", name="Upload and check").click()
    expect(page.get_by_text("Checked", exact=True)).to_be_visible(timeout=20_000)


def read_the_reasons_and_import_the_rest(person: Operator) -> None:
    page = person.page
    table = page.get_by_role("table")
    expect(table.get_by_role("row").nth(1)).to_contain_text("There is no account A99999999.")
    expect(table.get_by_role("row").nth(2)).to_contain_text("is not a quantity")
    expect(table.get_by_role("row").nth(3)).to_contain_text("is not a date like 2026-01-31")
    person.check("usage-check")
    page.get_by_role("link", name="Import 1,198 rows, leave out 3").click()
    page.get_by_role("button", name="Import 1,198 rows, leave out 3").click()
    expect(page.get_by_text("Records imported")).to_be_visible(timeout=20_000)
    person.check("usage-imported")


def bill_june(person: Operator, account) -> None:
    page = person.page
    person.open(account.get_absolute_url())
    page.get_by_role("link", name="Generate invoice now").click()
    page.get_by_role("button", name="Run for 1 account").click()
    expect(page.get_by_text("Completed").first).to_be_visible(timeout=20_000)


def see_processed_and_the_rate_detail(person: Operator) -> None:
    page = person.page
    invoice = Invoice.objects.get()
    assert invoice.total == Decimal("59.90")
    person.open(invoice.get_absolute_url())
    page.get_by_text("How was this calculated?").first.click()
    person.check("usage-invoice")
    page.get_by_role("link", name="Usage (1,198 records)").click()
    expect(page.get_by_text("Traffic").first).to_be_visible()
    person.open("/usage/usagerecord/")
    page.locator("nav.tabs").get_by_role("link", name="Processed").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Processed")
    expect(page.get_by_role("row").nth(1).get_by_role("link", name=invoice.reference)).to_be_visible()
    person.check("usage-processed")


def fail_to_change_a_processed_record(person: Operator) -> None:
    page = person.page
    record = UsageRecord.objects.earliest("pk")
    person.open(f"/usage/usagerecord/{record.pk}/edit/")
    expect(page.get_by_role("alert")).to_contain_text("This usage is Processed")
    expect(page.get_by_role("link", name="Change", exact=True)).to_have_count(0)
    person.check("usage-record-processed")


def undo_another_import(person: Operator, path: Path) -> None:
    page = person.page
    before = UsageRecord.objects.count()
    upload(person, path)
    page.get_by_role("link", name="Import 3 rows").click()
    page.get_by_role("button", name="Import 3 rows").click()
    expect(page.get_by_text("Records imported")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Undo import").click()
    page.get_by_role("button", name="Remove 3 records").click()
    expect(page.get_by_text("Undone", exact=True).first).to_be_visible(timeout=20_000)
    person.check("usage-undone")
    assert UsageRecord.objects.count() == before
