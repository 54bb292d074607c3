"""What usage charges come to so far, on the pages of accounts and subscriptions, and what the next invoice foresees."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission

from accounts.models import Account
from billing.core.smoothing import Smoothing, SmoothingModel
from billing.core.types import ChargeModel, Period, UsageRating
from billing.models import ChargeSegment, RatePlanCharge, UnitOfMeasure
from invoicing.models import Invoice, InvoiceItem
from invoicing.next_invoice import next_invoice
from invoicing.usage_so_far import Sums, charges_of_account, usage_so_far
from tests import factories as make
from tests.factories import bill, day, user
from tests.invoicing.test_usage_explanation import metered, overage, tiers
from tests.usage.consumption import consume
from usage.models import RatedUsage, UsageSlice

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]
HTMX = {"HX-Request": "true"}
TODAY = day("2026-07-15")
JULY = Period(day("2026-07-01"), day("2026-08-01"))
STEPS = tiers((10, 2), (20, 3), (None, 5))


@pytest.fixture(autouse=True)
def _unit():
    UnitOfMeasure.objects.create(name="GB", decimals=2)


@pytest.fixture
def viewer(client):
    """A browser in which the viewer is logged in."""
    client.force_login(user("viewer"))
    return client


def so_far(today=TODAY):
    (found,) = usage_so_far(list(RatePlanCharge.objects.select_related("subscription__invoice_owner")), today=today)
    return found


def text_of(response):
    assert response.status_code == 200, response.content[:2000]
    return " ".join(response.content.decode().split())


# The figures ---------------------------------------------------------------------------------------------------------


def test_usage_of_the_current_period_is_priced_as_if_it_ended():
    charge = metered(ChargeModel.TIERED, STEPS, start="2026-07-01")
    consume(charge, ("2026-07-02", "8"), ("2026-07-09", "4"))
    found = so_far()
    assert (found.period, found.current, found.last_day) == (JULY, Sums(Decimal(12), Decimal(26)), day("2026-07-09"))
    assert (found.due, found.late, found.rated, found.billed) == (None, None, None, 0)
    assert found.next_rating == day("2026-08-01")


def test_what_it_says_is_what_is_billed_when_nothing_is_added():
    charge = metered(ChargeModel.TIERED, STEPS, start="2026-07-01")
    consume(charge, ("2026-07-02", "8"), ("2026-07-09", "4.567"))
    expected = so_far().current.amount
    bill("2026-08-01")
    assert InvoiceItem.objects.get().amount == expected == Decimal("27.71")


def test_asking_writes_nothing():
    consume(metered(start="2026-07-01"), ("2026-07-02", "8"))
    so_far()
    assert not RatedUsage.objects.exists()
    assert UsageSlice.objects.get().rated_id is None


def test_periods_that_are_over_are_due_beside_the_current_one():
    charge = metered(start="2026-05-01")
    consume(charge, ("2026-05-02", "8"), ("2026-06-02", "10"), ("2026-07-02", "100"), by_day=True)
    found = so_far()
    assert found.due == Sums(Decimal(18), Decimal(9))
    assert found.current == Sums(Decimal(100), Decimal(50))
    assert found.next_rating == TODAY


def test_late_usage_is_told_with_its_amount():
    charge = metered(ChargeModel.TIERED, STEPS, start="2026-06-01")
    consume(charge, ("2026-06-02", "8"))
    bill("2026-07-01")
    assert so_far().rated == Period(day("2026-06-01"), day("2026-07-01"))
    consume(charge, ("2026-06-03", "4"))
    consume(charge, ("2026-07-03", "5"))
    found = so_far()
    assert found.late == Sums(Decimal(4), Decimal(10))
    assert found.current == Sums(Decimal(5), Decimal(10))
    assert found.next_rating == TODAY


def test_on_demand_counts_what_was_billed_of_the_period():
    charge = metered(ChargeModel.TIERED, STEPS, usage_rating=UsageRating.ON_DEMAND, start="2026-07-01")
    consume(charge, ("2026-07-02", "15"))
    bill("2026-07-04")
    consume(charge, ("2026-07-05", "6"))
    found = so_far()
    assert found.current == Sums(Decimal(21), Decimal(20))
    assert (found.billed, found.next_rating) == (Decimal(35), TODAY)


def test_smoothing_goes_on_from_the_periods_before():
    charge = overage("0.1", smoothing=Smoothing(SmoothingModel.ROLLOVER, 2), start="2026-06-01")
    consume(charge, ("2026-06-02", "300"))
    bill("2026-07-01")
    consume(charge, ("2026-07-02", "750"))
    assert so_far().current == Sums(Decimal(750), Decimal(5))


@pytest.mark.parametrize("usage", [(), (("2026-07-02", "8"),)])
def test_a_fee_is_that_of_the_whole_period(usage):
    charge = metered(ChargeModel.FLAT_FEE, Decimal(99), start="2026-07-01")
    if usage:
        consume(charge, *usage)
    assert so_far().current.amount == Decimal(99)
    bill("2026-08-01")
    assert InvoiceItem.objects.get().amount == Decimal(99)


def test_usage_beyond_the_current_period_or_across_its_bounds_is_told_apart(viewer):
    charge = metered(start="2026-05-15")
    Account.objects.update(bill_cycle_day=15)
    consume(charge, ("2026-06-02", "1"))
    consume(charge, ("2026-07-10", "2"), ("2026-07-20", "4"))  # one slice over two periods
    consume(charge, ("2026-07-21", "8"), ("2026-08-20", "16"), by_day=True)
    found = so_far()
    assert (found.due, found.current, found.other) == (
        Sums(Decimal(1), Decimal("0.5")),
        Sums(Decimal(8), Decimal(4)),
        Decimal(22),
    )
    url = f"/accounts/account/{charge.subscription.account_id}/usage-so-far/"
    assert "and 22 GB of other days" in text_of(viewer.get(url, headers=HTMX))


def test_a_charge_that_has_ended_has_no_current_period():
    metered(start="2026-05-01")
    ChargeSegment.objects.update(effective_end=day("2026-06-01"))
    assert (so_far().period, so_far().current, so_far().next_rating) == (None, Sums(), None)


def test_a_charge_that_cannot_be_priced_says_why(viewer):
    charge = metered(start="2026-07-01")
    consume(charge, ("2026-07-02", "15"))
    ChargeSegment.objects.update(price=None)
    assert so_far().problem == "has no price"
    page = text_of(viewer.get(f"/accounts/account/{charge.subscription.account_id}/usage-so-far/", headers=HTMX))
    assert "cannot be priced: it has no price" in page


# The pages -----------------------------------------------------------------------------------------------------------


def test_the_account_page_has_a_tab_that_asks_for_it(viewer):
    charge = metered(start="2026-07-01")
    account = charge.subscription.account
    page = text_of(viewer.get(f"/accounts/account/{account.pk}/usage/"))
    assert f'hx-get="/accounts/account/{account.pk}/usage-so-far/" hx-trigger="load"' in page
    assert f'href="/accounts/account/{account.pk}/usage/" aria-current="page">Usage' in page


def test_the_piece_tells_figures_in_words(viewer):
    charge = metered(start="2026-05-01")
    account = charge.subscription.account
    consume(charge, ("2026-05-02", "8"))
    bill("2026-06-01")
    consume(charge, ("2026-05-03", "2"), ("2026-06-02", "10"), ("2026-07-02", "1234.5"), by_day=True)
    piece = text_of(viewer.get(f"/accounts/account/{account.pk}/usage-so-far/", headers=HTMX))
    for words in (
        "1 Jul – 31 Jul 2026",
        "last rated: 1 May – 31 May 2026",
        "1,234.5 GB",
        "up to 2 Jul 2026",
        "$617.25",
        "$5.00 for 10 GB of periods that are over is due",
        "$1.00 for 2 GB of late usage is due",
        "by the next bill run",
    ):
        assert words in piece
    assert "<html" not in piece
    assert "<form" not in piece and "<button" not in piece
    assert f'href="/usage/usagerecord/?slice__account__number={account.number}"' in piece
    assert account.number in text_of(viewer.get(f"/usage/usagerecord/?slice__account__number={account.number}"))
    assert "<h1" in text_of(viewer.get(f"/accounts/account/{account.pk}/usage-so-far/"))


def test_usage_that_another_account_is_billed_for_is_shown_to_both(viewer):
    charge = metered(start="2026-07-01")
    parent = charge.subscription.account
    child = make.globex(parent=parent, currency="USD")
    consume(charge, ("2026-07-02", "8"))
    consume(charge, ("2026-07-03", "3"), account=child)
    assert charges_of_account(child) == charges_of_account(parent) == [charge]
    piece = text_of(viewer.get(f"/accounts/account/{child.pk}/usage-so-far/", headers=HTMX))
    assert "billed to" in piece and parent.name in piece
    assert "3 GB not billed yet is of this account" in piece
    assert "11 GB" in piece
    piece = text_of(viewer.get(f"/accounts/account/{parent.pk}/usage-so-far/", headers=HTMX))
    assert "billed to" not in piece and "of this account" not in piece


def test_an_account_without_usage_says_so(viewer):
    account = make.acme()
    assert "no charges for usage" in text_of(viewer.get(f"/accounts/account/{account.pk}/usage-so-far/"))


def test_the_subscription_page_shows_its_usage_charges(viewer):
    charge = metered(start="2026-07-01")
    consume(charge, ("2026-07-02", "8"))
    url = f"/billing/subscription/{charge.subscription_id}/"
    assert f'hx-get="{url}usage-so-far/"' in text_of(viewer.get(url))
    piece = text_of(viewer.get(f"{url}usage-so-far/", headers=HTMX))
    assert "8 GB" in piece and "$4.00" in piece and "1 Aug 2026" in piece
    make.subscribe(charge.subscription.account, make.team_plan(), "2026-07-01")
    other = charge.subscription.account.subscriptions.latest("pk")
    assert "usage-so-far" not in text_of(viewer.get(f"/billing/subscription/{other.pk}/"))
    assert "no charges for usage" in text_of(viewer.get(f"/billing/subscription/{other.pk}/usage-so-far/"))


@pytest.mark.parametrize("charges", [1, 12])
def test_pages_ask_the_same_few_queries_however_many_charges(viewer, charges, django_assert_max_num_queries):
    charge = metered(ChargeModel.TIERED, STEPS, start="2026-06-01")
    account = charge.subscription.account
    for _ in range(charges - 1):
        make.subscribe(account, charge.product_charge.rate_plan, "2026-06-01")
    for each in RatePlanCharge.objects.all():
        consume(each, ("2026-06-02", "8"))
    bill("2026-07-01")
    for each in RatePlanCharge.objects.all():
        consume(each, ("2026-06-03", "1"), ("2026-07-03", "1"), by_day=True)
    url = f"/accounts/account/{account.pk}/usage-so-far/"
    viewer.get(url, headers=HTMX)
    with django_assert_max_num_queries(16):
        assert text_of(viewer.get(url, headers=HTMX)).count("of late usage is due") == charges
    tab = f"/accounts/account/{account.pk}/usage/"
    with django_assert_max_num_queries(6):
        viewer.get(tab)


def test_who_may_not_see_usage_is_told_so(client, django_user_model):
    account = make.acme()
    guest = django_user_model.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_account"))
    client.force_login(guest)
    assert "Your role does not include usage" in text_of(client.get(f"/accounts/account/{account.pk}/usage/"))
    assert client.get(f"/accounts/account/{account.pk}/usage-so-far/").status_code == 403


# The next invoice ----------------------------------------------------------------------------------------------------


def test_the_next_invoice_foresees_usage_of_periods_that_are_over():
    charge = metered(start="2026-06-01")
    consume(charge, ("2026-06-02", "10"), ("2026-07-02", "4"), by_day=True)
    found = next_invoice(charge.subscription.account_id, today=TODAY)
    assert (found.day, found.total, [line.period for line in found.lines]) == (
        TODAY,
        Decimal(5),
        [Period(day("2026-06-01"), day("2026-07-01"))],
    )
    bill("2026-07-15")
    assert Invoice.objects.get().total == found.total


def test_the_next_invoice_foresees_late_usage():
    charge = metered(start="2026-06-01")
    consume(charge, ("2026-06-02", "10"))
    bill("2026-07-01")
    consume(charge, ("2026-06-03", "4"))
    found = next_invoice(charge.subscription.account_id, today=TODAY)
    assert (found.day, found.total) == (TODAY, Decimal(2))


def test_usage_of_the_current_period_is_foreseen_for_its_end():
    charge = metered(start="2026-07-01")
    consume(charge, ("2026-07-02", "10"))
    found = next_invoice(charge.subscription.account_id, today=TODAY)
    assert (found.day, found.total) == (day("2026-08-01"), Decimal(5))
