"""Usage in the PDF: records or days behind each line, within bounds, and the same for ever once posted."""

import io
from decimal import Decimal
from typing import Any

import pytest
from pypdf import PdfReader

from accounts.models import InvoiceTemplate
from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import RatePlanCharge, UnitOfMeasure
from invoicing import usage_appendix
from invoicing.documents import document_values, draft_document, drawing_weight, stored_document
from invoicing.models import Invoice
from invoicing.services import post_invoice
from tests import factories as make
from tests.factories import bill, user
from tests.invoicing.test_rendering import pages_of
from tests.invoicing.test_usage_explanation import metered
from tests.usage.consumption import consume

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unit():
    UnitOfMeasure.objects.create(name="GB", decimals=2)


@pytest.fixture
def explains():
    """Let the template explain amounts."""
    InvoiceTemplate.objects.update(explain_amounts=True)


def january(count):
    """Return so many records of 1.5 GB over the days of January."""
    return [(f"2026-01-{1 + number % 31:02d}", "1.5") for number in range(count)]


def invoice():
    return Invoice.objects.latest("pk")


def posted():
    found = invoice()
    post_invoice(found, user_id=user("admin").pk)
    return invoice()


def usage():
    return (document_values(invoice())["appendix"] or {}).get("usage")


def test_without_explanations_there_is_no_usage_detail():
    consume(metered(), *january(3))
    bill("2026-02-01")
    assert document_values(invoice())["appendix"] is None
    assert "Usage in detail" not in " ".join(pages_of(draft_document(invoice())))


def test_records_are_listed(explains):
    consume(metered(), ("2026-01-05", "1.25"), ("2026-01-02", "1200"))
    bill("2026-02-01")
    (line,) = usage()
    assert (line["description"], line["period"], line["records"]) == ("Data", "1 Jan – 31 Jan 2026", "2")
    assert (line["by_day"], line["left_out"], line["unit"]) == (False, False, "GB")
    assert line["rows"] == [
        {"day": "2 Jan 2026", "what": "", "quantity": "1,200"},
        {"day": "5 Jan 2026", "what": "", "quantity": "1.25"},
    ]
    text = " ".join(pages_of(draft_document(invoice())))
    assert "Usage in detail Data, 1 Jan – 31 Jan 2026 2 usage records" in text
    assert "2 Jan 2026 1,200 GB" in text


@pytest.mark.parametrize(("count", "by_day", "rows"), [(500, False, 500), (501, True, 31)])
def test_many_records_are_added_up_by_day(explains, count, by_day, rows):
    consume(metered(), *january(count))
    bill("2026-02-01")
    posted()
    (line,) = usage()
    assert (line["by_day"], len(line["rows"]), line["records"]) == (by_day, rows, str(count))
    if by_day:
        assert line["rows"][0] == {"day": "1 Jan 2026", "what": "17", "quantity": "25.5"}
        text = " ".join(
            page.extract_text() for page in PdfReader(io.BytesIO(bytes(stored_document(invoice()).content))).pages
        )
        assert "501 usage records, added up by day; each is available from" in " ".join(text.split())


def test_a_draft_shows_less_than_the_posted_invoice(explains):
    consume(metered(), *january(300))
    bill("2026-02-01")
    assert usage()[0]["by_day"]
    posted()
    assert len(usage()[0]["rows"]) == 300


def test_what_no_room_is_left_for_is_told_as_a_number(explains, monkeypatch):
    monkeypatch.setattr(usage_appendix, "RECORDS_LISTED", 10)
    account = make.acme()
    terms: dict[str, Any] = {"charge_type": ChargeType.USAGE, "charge_model": ChargeModel.PER_UNIT, "unit": "GB"}
    terms |= {"billing_period": BillingPeriod.MONTH, "prices": {"USD": Decimal("0.5")}}
    charges = [{"name": name, **terms} for name in ("Data", "Calls", "Disk")]
    make.subscribe(account, make.plan("All", *charges), "2026-01-01")
    for charge, count in zip(RatePlanCharge.objects.order_by("id"), (5, 40, 40), strict=True):
        consume(charge, *january(count))
    bill("2026-02-01")
    items = [("Title", item) for item in invoice().items.order_by("rated_usage")]
    units = {str(item.charge_id): "GB" for _, item in items}
    found = usage_appendix.usage_values(items, units=units, limit=40)
    assert [(line["by_day"], line["left_out"], len(line["rows"])) for line in found] == [
        (False, False, 5),
        (True, False, 31),
        (False, True, 0),
    ]
    assert usage_appendix.rows_printed(item.rated_usage_id for _, item in items) == 5 + 31 + 31


def test_the_posted_pdf_tells_the_same_whatever_changes_later(explains):
    charge = metered()
    consume(charge, *january(40))
    bill("2026-02-01")
    posted()
    before = document_values(invoice())
    UnitOfMeasure.objects.create(name="TB")
    RatePlanCharge.objects.update(name="Renamed", unit="TB")
    consume(charge, *january(5))
    assert document_values(invoice()) == before
    assert before["appendix"]["usage"][0]["unit"] == "GB"


def test_numbers_are_written_in_the_customers_language(explains):
    consume(metered(), ("2026-01-05", "1200.5"))
    account = RatePlanCharge.objects.get().subscription.account
    account.language = "de"
    account.save()
    bill("2026-02-01")
    (row,) = usage()[0]["rows"]
    assert row["quantity"] == "1.200,5"


def test_usage_detail_weighs_what_it_takes_to_draw(explains):
    consume(metered(), *january(400))
    bill("2026-02-01")
    assert drawing_weight(invoice(), 1) == 1
    assert drawing_weight(posted(), 1) == 1 + 3 + 400


@pytest.mark.parametrize("lines", [1, 4])
def test_reading_usage_takes_the_same_few_queries(explains, lines, django_assert_num_queries):
    charge = metered()
    for month in range(1, lines + 1):
        consume(
            charge, *[(f"2026-{month:02d}-{1 + number % 28:02d}", "1") for number in range(600 if month == 1 else 3)]
        )
    bill(f"2026-{lines + 1:02d}-01")
    items = [("Title", item) for item in invoice().items.order_by("id")]
    units = {str(item.charge_id): "GB" for _, item in items}
    with django_assert_num_queries(3 if lines > 1 else 2):
        assert len(usage_appendix.usage_values(items, units=units)) == lines
