"""The usage records behind an invoice line: listed page by page, added up by group, and downloaded."""

import csv
import io
import re
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission

from billing.core.types import ChargeModel, RatingGroup, UsageRating
from billing.models import UnitOfMeasure
from invoicing.models import Invoice, InvoiceItem
from invoicing.services import cancel_invoice, post_invoice
from tests import factories as make
from tests.factories import bill, day, user
from tests.invoicing.test_usage_explanation import VOLUME, metered
from tests.usage.consumption import consume
from usage.models import UsageImport, UsageRecord, UsageSlice

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]
HTMX = {"HX-Request": "true"}
QUERIES = 12


@pytest.fixture(autouse=True)
def _unit():
    UnitOfMeasure.objects.create(name="GB", decimals=2)


@pytest.fixture
def viewer(client):
    """A browser in which the viewer is logged in."""
    client.force_login(user("viewer"))
    return client


def page_of(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def line():
    return InvoiceItem.objects.latest("pk")


def address(item, ending="/"):
    return f"/invoicing/invoiceitem/{item.pk}/usage{ending}"


def january(count):
    """Return so many records of 1 GB over the days of January."""
    return [(f"2026-01-{1 + number % 31:02d}", "1") for number in range(count)]


def rows_of(response):
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def test_the_invoice_leads_to_the_records_of_a_usage_line(viewer):
    consume(metered(), *january(1234))
    bill("2026-02-01")
    page = page_of(viewer.get(line().invoice.get_absolute_url()))
    assert f'href="{address(line())}">Usage (1,234 records)<' in page
    assert "1,234 usage records" in page


def test_a_line_without_usage_has_no_such_link(viewer):
    make.subscribe(make.acme(), make.team_plan(), "2026-01-01")
    bill("2026-01-01")
    assert address(line()) not in page_of(viewer.get(line().invoice.get_absolute_url()))
    assert viewer.get(address(line())).status_code == 404


def test_the_record_of_a_usage_line_explains_it_in_the_same_words(viewer):
    consume(metered(), *january(1234))
    bill("2026-02-01")
    page = page_of(viewer.get(f"/invoicing/invoiceitem/{line().pk}/change/"))
    assert "1,234 usage records" in page
    assert "1,234 × $0.50 (price of segment 1)" in page


@pytest.mark.parametrize("posted", [False, True])
def test_the_page_lists_fifty_records_at_a_time(viewer, posted):
    consume(metered(), *january(120))
    bill("2026-02-01", auto_post=posted)
    assert line().invoice.status == ("Posted" if posted else "Draft")
    seen, url, pages = [], address(line()), 0
    while url:
        page = page_of(viewer.get(url))
        pages += 1
        seen += [part.partition("<")[0] for part in page.split('<th scope="row" class="nowrap">')[1:]]
        assert '<span class="note">120</span>' in page
        key = re.search(r'href="[?](after=[^"]+)"', page)
        url = f"{address(line())}?{key[1]}" if key else ""
    assert pages == 3
    assert len(seen) == 120
    assert seen[:5] == ["1 Jan 2026"] * 4 + ["2 Jan 2026"]
    assert seen[-1] == "31 Jan 2026"


def test_htmx_gets_the_table_alone(viewer):
    consume(metered(), *january(60))
    bill("2026-02-01")
    piece = page_of(viewer.get(address(line()), headers=HTMX))
    assert piece.strip().startswith('<section class="card list" id="usage-records"')
    assert "<html" not in piece
    assert piece.count('<tr><th scope="row"') == 50


@pytest.mark.parametrize("after", ["x", "2026-01-31", "2026-99-99.1", "2026-01-31.9999999999999999999", ".1"])
def test_a_key_that_is_none_begins_at_the_start(viewer, after):
    consume(metered(), ("2026-01-05", "10"))
    bill("2026-02-01")
    assert "5 Jan 2026" in page_of(viewer.get(address(line()), {"after": after}))


def test_a_record_tells_its_import_line_key_and_description(viewer):
    charge = metered()
    upload = UsageImport.objects.create(source="File", status="Imported", file_name="january.csv")
    UsageRecord.objects.bulk_create(
        [
            UsageRecord(
                slice_id=7_000, line=42, start_date=day("2026-01-05"), quantity=Decimal("2.5"), description="<b>EU</b>",
                unique_key="call-17",
            )
        ]
    )  # fmt: skip
    UsageSlice.objects.create(
        id=7_000, usage_import=upload, account=charge.subscription.account, charge=charge, first_day=day("2026-01-05"),
        last_day=day("2026-01-05"), quantity=Decimal("2.5"), records=1,
    )  # fmt: skip
    bill("2026-02-01")
    page = page_of(viewer.get(address(line())))
    for part in ("2.5 GB", "&lt;b&gt;EU&lt;/b&gt;", "january.csv", "line 42", "call-17"):
        assert part in page
    assert "Used by" not in page
    (row,) = rows_of(viewer.get(address(line(), ".csv")))
    assert row == {
        "start_date": "2026-01-05",
        "end_date": "",
        "quantity": "2.5",
        "unit": "GB",
        "description": "<b>EU</b>",
        "account": charge.subscription.account.number,
        "import": str(upload.pk),
        "file": "january.csv",
        "line": "42",
        "unique_key": "call-17",
    }


def test_usage_of_a_child_account_names_it(viewer):
    charge = metered()
    child = make.globex(parent=charge.subscription.account, currency="USD")
    consume(charge, ("2026-01-05", "10"), account=child)
    bill("2026-02-01")
    page = page_of(viewer.get(address(line())))
    assert "Used by" in page
    assert child.number in page
    assert rows_of(viewer.get(address(line(), ".csv")))[0]["account"] == child.number


def test_the_download_has_all_records_and_no_formulas(viewer):
    consume(metered(), *january(2_100))
    bill("2026-02-01")
    answer = viewer.get(address(line(), ".csv"))
    rows = rows_of(answer)
    assert answer["Content-Disposition"].startswith(f'attachment; filename="usage-{line().invoice}-')
    assert len(rows) == 2_100
    assert sum(Decimal(row["quantity"]) for row in rows) == 2_100


def test_start_days_are_added_up_where_each_is_rated_by_itself(viewer):
    charge = metered(ChargeModel.VOLUME, VOLUME, rating_group=RatingGroup.START_DATE)
    consume(charge, ("2026-01-01", "20"), ("2026-01-01", "50"), ("2026-01-16", "90"), by_day=True)
    bill("2026-02-01")
    page = page_of(viewer.get(address(line())))
    assert "Rated by start day" in page
    assert '<th scope="row">1 Jan 2026</th><td class="num">2</td><td class="num">70 GB</td>' in page
    assert '<th scope="row">16 Jan 2026</th><td class="num">1</td><td class="num">90 GB</td>' in page


def test_uploads_are_added_up_where_each_is_rated_by_itself(viewer):
    charge = metered(ChargeModel.VOLUME, VOLUME, rating_group=RatingGroup.UPLOAD)
    first = consume(charge, ("2026-01-01", "20"), ("2026-01-16", "90"), by_day=True)[0].usage_import
    consume(charge, ("2026-01-01", "50"))
    bill("2026-02-01")
    page = page_of(viewer.get(address(line())))
    assert "Rated by upload" in page
    assert f'<th scope="row">Api {first.pk}</th><td class="num">2</td><td class="num">110 GB</td>' in page


def test_where_the_period_is_rated_as_one_nothing_is_added_up(viewer):
    consume(metered(), *january(3))
    bill("2026-02-01")
    assert "Rated by" not in page_of(viewer.get(address(line())))


def test_the_usage_of_a_canceled_draft_is_pending_again(viewer):
    consume(metered(), *january(3))
    bill("2026-02-01")
    canceled = line()
    cancel_invoice(Invoice.objects.get())
    page = page_of(viewer.get(address(canceled)))
    assert "its usage is pending again" in page
    assert "No usage is on this line any more." in page
    assert "Download CSV" not in page
    invoice_page = page_of(viewer.get(canceled.invoice.get_absolute_url()))
    assert f'href="{address(canceled)}">Usage<' in invoice_page


def test_what_was_counted_together_and_billed_before_is_named(viewer):
    charge = metered(usage_rating=UsageRating.ON_DEMAND)
    consume(charge, ("2026-01-02", "3"))
    bill("2026-01-04")
    first = line()
    post_invoice(first.invoice, user_id=user("approver").pk)
    consume(charge, ("2026-01-05", "4"))
    bill("2026-01-10")
    page = page_of(viewer.get(address(line())))
    assert "less what was billed of it before" in page
    assert f'<a href="{address(first)}">INV00000001, 1 Jan – 3 Jan 2026</a>' in page
    assert "less what was billed" not in page_of(viewer.get(address(first)))


def test_late_usage_names_the_line_of_its_period(viewer):
    charge = metered()
    consume(charge, ("2026-01-02", "3"))
    bill("2026-02-01")
    first = line()
    consume(charge, ("2026-01-05", "4"))
    bill("2026-02-02")
    page = page_of(viewer.get(address(line())))
    assert f'<a href="{address(first)}">' in page
    assert '<th scope="row" class="nowrap">5 Jan 2026</th>' in page
    assert "2 Jan 2026</th>" not in page


@pytest.mark.parametrize("count", [1, 500])
def test_the_pages_stay_in_their_budget(viewer, count, django_assert_max_num_queries):
    charge = metered(ChargeModel.VOLUME, VOLUME, rating_group=RatingGroup.UPLOAD)
    for _ in range(min(count, 5)):
        consume(charge, *january(count))
    bill("2026-02-01")
    for url in (address(line()), line().invoice.get_absolute_url()):
        viewer.get(url)
        with django_assert_max_num_queries(QUERIES):
            page_of(viewer.get(url))
    with django_assert_max_num_queries(8):
        assert len(rows_of(viewer.get(address(line(), ".csv")))) == count * min(count, 5)


def test_who_may_not_see_usage_sees_neither_link_nor_page(client, django_user_model):
    consume(metered(), *january(3))
    bill("2026-02-01")
    guest = django_user_model.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_invoice"))
    client.force_login(guest)
    assert "/usage/" not in page_of(client.get(line().invoice.get_absolute_url()))
    assert client.get(address(line())).status_code == 403
    assert client.get(address(line(), ".csv")).status_code == 403
