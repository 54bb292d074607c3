"""The start page: its figures per currency and month, the work that waits, and the checklist of a new installation."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import OrderAction, UnitOfMeasure
from invoicing.dashboard import attention, dashboard_figures, usage_attention
from invoicing.models import Invoice
from invoicing.posting import post_run
from tests.factories import acme, bill, day, globex, monthly, plan, sakura, subscribe, user
from tests.usage.consumption import consume
from usage.models import UsageRecord
from usage.queries import records_by_status

pytestmark = pytest.mark.django_db

QUERIES = 12
BYTES = 40 * 1024
USAGE = "/usage-waiting/"


@pytest.fixture
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")
    return settings.BUSINESS_DATE


@pytest.fixture
def viewer(client: Client) -> Client:
    """A browser in which the viewer is logged in."""
    client.force_login(user("viewer"))
    return client


@pytest.fixture
def three_months(today):
    """Bill May and June and post them, bill July and leave the drafts; Acme in dollars, Globex in euros."""
    fee = plan("Basic", monthly(price="100"))
    subscribe(acme(), fee, "2026-05-01")
    subscribe(globex(), fee, "2026-05-15")
    for month in ("2026-05-31", "2026-06-30"):
        run = bill(month, invoice_date=month)
        post_run(run.pk, user_id=None)
    return bill("2026-07-15", invoice_date="2026-07-15")


def test_figures_are_kept_apart_by_currency_month_and_state(three_months, today):
    figures = dashboard_figures(today)

    assert [month.isoformat() for month in figures.months] == ["2026-05-01", "2026-06-01", "2026-07-01"]
    by_currency = {card.currency: card for card in figures.currencies}
    assert set(by_currency) == {"USD", "EUR"}
    assert [month.invoiced for month in by_currency["USD"].months] == [Decimal(100), Decimal(100), Decimal(0)]
    assert [month.drafts for month in by_currency["USD"].months] == [Decimal(0), Decimal(0), Decimal(100)]
    assert by_currency["USD"].invoiced == by_currency["EUR"].invoiced == Decimal(200)
    assert (figures.invoices, figures.accounts) == (4, 2)
    assert by_currency["USD"].bookings == sum(
        OrderAction.objects.filter(order__account__currency="USD").values_list("delta_mrr", flat=True)
    )


def test_the_dashboard_shows_amounts_bars_table_and_what_is_behind_show_more(three_months, viewer):
    page = viewer.get("/").content.decode()

    assert "$200.00" in page and "€200.00" in page
    assert "and $100.00 in drafts" in page
    assert page.count('<svg class="chart"') == 2
    assert "July 2026" in page and "<summary>Show more</summary>" in page
    for figure in ("Invoices processed", "Accounts invoiced", "Bookings in MRR"):
        assert figure in page
    assert three_months.number in page


def test_currencies_without_digits_are_shown_without(today, viewer):
    subscribe(sakura(), plan("Basic", monthly(price="1500")), "2026-07-01")
    post_run(bill("2026-07-15").pk, user_id=None)

    assert "¥" in viewer.get("/").content.decode()
    assert "¥1,500.00" not in viewer.get("/").content.decode()


def test_what_waits_links_to_the_list_that_shows_it(three_months, viewer):
    review, failed, accounts, unsent = attention()

    assert (review.count, review.label) == (1, "bill run to review and post")
    assert (failed.count, accounts.count, unsent.count) == (0, 0, 0)
    listed = viewer.get(f"/invoicing/billrun/?{review.query}").content.decode()
    assert three_months.number in listed and "1 bill run" in listed


def test_an_account_with_an_error_waits_until_its_run_is_over(today, viewer):
    account = acme()
    subscribe(account, plan("Basic", monthly()), "2026-07-01")
    account.bill_to = None
    account.save()
    run = bill("2026-07-15")

    _, _, accounts, _ = attention()
    assert accounts.count == 1
    assert run.number in viewer.get(f"/invoicing/billrun/?{accounts.query}").content.decode()


def metered(billing_period=BillingPeriod.MONTH, start="2026-05-01"):
    """Return a charge for GB."""
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    data: Any = {"name": "Data", "charge_type": ChargeType.USAGE, "charge_model": ChargeModel.PER_UNIT, "unit": "GB"}
    data |= {"billing_period": billing_period, "prices": {"USD": Decimal("0.5")}}
    return subscribe(acme(), plan("Data", data), start).charges.get()


def waiting_usage(today):
    overdue, late = usage_attention(today)
    return overdue.count, late.count


def test_usage_is_overdue_once_it_is_older_than_a_billing_period(today):
    charge = metered()
    consume(charge, ("2026-06-13", "1"), ("2026-06-14", "1"), ("2026-06-15", "1"), ("2026-07-10", "1"), by_day=True)
    assert waiting_usage(today) == (2, 0)
    bill("2026-07-15")
    assert waiting_usage(today) == (0, 0)


def test_a_longer_billing_period_takes_longer_to_be_overdue(today):
    consume(metered(BillingPeriod.QUARTER, "2026-01-01"), ("2026-04-14", "1"), ("2026-04-16", "1"), by_day=True)
    assert waiting_usage(today) == (1, 0)


def test_late_usage_waits_until_it_is_billed(today, viewer):
    charge = metered()
    consume(charge, ("2026-06-13", "1"))
    bill("2026-07-01")
    consume(charge, ("2026-06-02", "1"), ("2026-06-30", "3"))
    consume(charge, ("2026-07-01", "1"))
    assert waiting_usage(today) == (0, 2)
    assert records_by_status(UsageRecord.objects.all(), "late").count() == 2
    assert f'hx-get="{USAGE}" hx-trigger="load"' in viewer.get("/").content.decode()
    piece = viewer.get(USAGE, headers={"HX-Request": "true"}).content.decode()
    assert 'href="/usage/usagerecord/?status=late"><strong>2</strong> late usage records' in piece
    assert '<a class="card attention none" href="/usage/usagerecord/?status=pending"><strong>0</strong>' in piece
    assert "<html" not in piece
    assert "<h1" in viewer.get(USAGE).content.decode()
    bill("2026-07-15")
    assert waiting_usage(today) == (0, 0)


def test_who_may_not_see_usage_is_not_told_of_it(three_months, client, django_user_model):
    guest = django_user_model.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_invoice"))
    client.force_login(guest)
    assert USAGE not in client.get("/").content.decode()
    assert client.get(USAGE).status_code == 403


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "admin"])
def test_the_dashboard_stays_in_its_budget(three_months, client, role, django_assert_max_num_queries):
    client.force_login(user(role))

    with django_assert_max_num_queries(QUERIES):
        answer = client.get("/")

    assert answer.status_code == 200
    assert len(answer.content) <= BYTES
    with django_assert_max_num_queries(5):
        assert client.get(USAGE, headers={"HX-Request": "true"}).status_code == 200


def test_a_viewer_is_not_offered_a_new_run(three_months, viewer, client):
    assert "New bill run" not in viewer.get("/").content.decode()
    client.force_login(user("operator"))
    assert "New bill run" in client.get("/").content.decode()


def test_an_empty_installation_shows_first_steps_until_the_first_run(today, client, django_assert_max_num_queries):
    client.force_login(user("operator"))
    with django_assert_max_num_queries(QUERIES):
        page = client.get("/").content.decode()
    assert "0 of 4 done" in page
    assert "Total amount invoiced" not in page

    subscribe(acme(), plan("Basic", monthly()), "2026-07-01")
    assert "3 of 4 done" in client.get("/").content.decode()

    bill("2026-07-15")
    page = client.get("/").content.decode()
    assert "First steps" not in page
    assert "Total amount invoiced" in page


def test_a_user_without_invoices_sees_a_start_page_without_figures(today, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    answer = client.get("/")

    assert answer.status_code == 200
    assert "Your role does not include invoices" in answer.content.decode()


def test_the_sidebar_counts_the_runs_that_wait(three_months, viewer):
    answer = viewer.get("/status/", headers={"HX-Request": "true"}).content.decode()

    assert 'id="badge-bill-runs"' in answer
    assert "1<span" in answer
    assert Invoice.objects.filter(status="Draft").exists()
