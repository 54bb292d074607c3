"""Pages of the catalogue: product, plan, charge and price in the browser, refusing what could not be billed."""

import re
import uuid
from decimal import Decimal

import pytest

from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import Product, ProductRatePlan, ProductRatePlanCharge, ProductRatePlanChargePrice
from tests.factories import acme as make_acme
from tests.factories import by_tiers, monthly, once, plan, product, seats, subscribe, team_plan, user

pytestmark = pytest.mark.django_db
NEW_CHARGE = "/billing/productrateplancharge/new/"


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


@pytest.fixture
def otto(client):
    """Otto is an operator; `otto` is his browser."""
    client.force_login(user("operator"))
    return client


def page_of(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def tiers(*rows):
    """Return what the rows of the tier table send: (up to, price, format)."""
    sent = {"tiers-TOTAL_FORMS": str(max(4, len(rows))), "tiers-INITIAL_FORMS": "0"}
    for number, (up_to, price, price_format) in enumerate(rows):
        sent |= {
            f"tiers-{number}-up_to": up_to,
            f"tiers-{number}-price": price,
            f"tiers-{number}-price_format": price_format,
        }
    return sent


def charge_form(of, **changes):
    """Return what the form of a new flat fee a month sends."""
    values = {
        "request_key": str(uuid.uuid4()),
        "rate_plan": of.pk,
        "name": "Platform fee",
        "charge_type": "Recurring",
        "charge_model": "FlatFee",
        "trigger_event": "ContractEffective",
        "billing_period": "Month",
        "billing_timing": "InAdvance",
        "list_price_base": "PerBillingPeriod",
        "billing_day_type": "DefaultFromCustomer",
        "alignment": "AlignToCharge",
        "currency": "EUR",
        "price": "49.90",
        "create": "1",
    }
    return {**values, **tiers(), **changes}


# From nothing to a price ---------------------------------------------------------------------------------------------


def test_a_product_becomes_sellable_step_by_step(otto):
    page = page_of(otto.get("/billing/product/add/"))
    assert 'value="2026-07-15"' in page
    response = otto.post("/billing/product/add/", {"name": "Platform", "sku": "PLAT", "effective_start": "2026-01-01"})
    made = Product.objects.get()
    assert response.url == made.get_absolute_url()
    assert "No rate plans yet." in page_of(otto.get(made.get_absolute_url()))

    add_plan = f"/billing/productrateplan/add/?product={made.pk}"
    assert add_plan in page_of(otto.get(made.get_absolute_url()))
    assert otto.post(add_plan, {"product": made.pk, "name": "Team"}).url == made.get_absolute_url()
    team = ProductRatePlan.objects.get()
    assert f"{NEW_CHARGE}?plan={team.pk}" in page_of(otto.get(made.get_absolute_url()))

    assert "in rate plan Team" in page_of(otto.get(f"{NEW_CHARGE}?plan={team.pk}"))
    assert otto.post(NEW_CHARGE, charge_form(team)).url == made.get_absolute_url()
    charge = ProductRatePlanCharge.objects.get()
    assert charge.prices.get().price == Decimal("49.90")
    assert "€49.90 a month" in page_of(otto.get(made.get_absolute_url()))


def test_a_second_currency_follows_the_first(otto):
    team = plan("Team")
    response = otto.post(NEW_CHARGE, charge_form(team, another_currency="1"))
    charge = ProductRatePlanCharge.objects.get()
    assert response.url == f"/billing/productrateplancharge/{charge.pk}/price/"
    form = {"request_key": str(uuid.uuid4()), "currency": "JPY", "price": "7900", **tiers()}
    assert otto.post(response.url, form).url == charge.rate_plan.product.get_absolute_url()
    assert dict(charge.prices.values_list("currency", "price")) == {"EUR": Decimal("49.90"), "JPY": Decimal(7900)}


def test_tiers_are_given_in_rows(otto):
    team = plan("Team")
    rows = tiers(("10", "5", "PerUnit"), ("20", "4", "PerUnit"), ("", "30", "FlatFee"))
    form = charge_form(team, charge_model="Tiered", price="", unit="seat", default_quantity="12", **rows)
    assert otto.post(NEW_CHARGE, form).status_code == 302
    price = ProductRatePlanChargePrice.objects.get()
    assert price.price is None
    assert [(tier.up_to, tier.price, tier.price_format) for tier in price.tiers.all()] == [
        (Decimal(10), Decimal(5), "PerUnit"),
        (Decimal(20), Decimal(4), "PerUnit"),
        (None, Decimal(30), "FlatFee"),
    ]
    page = page_of(otto.get(Product.objects.get().get_absolute_url()))
    assert "up to 10: €5.00 each" in page
    assert "above 20: €30.00 flat" in page


def test_more_tiers_keeps_what_was_typed_and_saves_nothing(otto):
    form = charge_form(plan("Team"), charge_model="Volume", more_tiers="1", **tiers(("7.5", "1", "PerUnit")))
    page = page_of(otto.post(NEW_CHARGE, form))
    assert 'name="tiers-7-price"' in page
    assert 'value="7.5"' in page
    assert not ProductRatePlanCharge.objects.exists()


def test_a_one_time_charge_has_no_period(otto):
    form = charge_form(plan("Team"), charge_type="OneTime", billing_period="Month", billing_timing="InArrears")
    assert otto.post(NEW_CHARGE, form).status_code == 302
    charge = ProductRatePlanCharge.objects.get()
    assert (charge.billing_period, charge.billing_timing) == ("", "InAdvance")


# What cannot be billed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"billing_period": ""}, "A recurring charge needs a billing period."),
        ({"price": ""}, "Give the price; 0 is a price, too."),
        ({"price": "ten"}, "Enter a number."),
        ({"price": "NaN"}, "Enter a number."),
        ({"price": "0.0000000001"}, "no more than 9 decimal places"),
        ({"price": "10000000000000"}, "less than or equal to 1000000000000"),
        ({"currency": ""}, "This field is required."),
        ({"currency": "XYZ"}, "is not one of the available choices"),
        ({"charge_type": "Usage"}, "is not one of the available choices"),
        ({"default_quantity": "5"}, "A flat fee has no quantity"),
        ({"charge_model": "Tiered"}, "Give at least one tier with a price."),
        ({"charge_model": "Tiered", **tiers(("10", "", "PerUnit"))}, "Give the price of this tier."),
        (
            {"charge_model": "Volume", **tiers(("10", "5", "PerUnit"), ("10", "4", "PerUnit"))},
            "must end above the one before",
        ),
        (
            {"charge_model": "Volume", **tiers(("", "5", "PerUnit"), ("10", "4", "PerUnit"))},
            "must end above the one before",
        ),
        ({"charge_model": "Volume", **tiers(("0", "5", "PerUnit"))}, "must end above"),
        ({"tiers-TOTAL_FORMS": "x", "charge_model": "Tiered"}, "ManagementForm"),
    ],
)
def test_what_cannot_be_billed_is_refused_at_its_field(otto, changes, said):
    page = page_of(otto.post(NEW_CHARGE, charge_form(plan("Team"), **changes)), 422)
    assert said in page
    assert not ProductRatePlanCharge.objects.exists()
    assert not ProductRatePlanChargePrice.objects.exists()


def test_a_price_of_the_wrong_kind_is_not_even_offered(otto):
    sold = plan(
        "Team",
        by_tiers("Storage", ChargeModel.TIERED, [Tier(None, Decimal(1), PriceFormat.PER_UNIT)], quantity="1"),
        seats(),
    )
    storage, seat = sold.charges.get(name="Storage"), sold.charges.get(name="Seats")
    assert 'name="tiers-0-price"' in page_of(otto.get(f"/billing/productrateplancharge/{storage.pk}/price/"))
    page = page_of(otto.get(f"/billing/productrateplancharge/{seat.pk}/price/?currency=USD"))
    assert 'name="tiers-0-price"' not in page
    assert 'value="10"' in page


def test_the_model_of_a_priced_charge_keeps_its_kind(otto):
    charge = plan("Team", monthly()).charges.get()
    url = f"/billing/productrateplancharge/{charge.pk}/change/"
    form = {k: v for k, v in charge_form(charge.rate_plan, charge_model="Volume").items() if "tiers" not in k}
    assert "already has prices of the other kind" in page_of(otto.post(url, form))
    assert otto.post(url, {**form, "charge_model": "PerUnit"}).status_code == 302


def test_a_plan_name_is_given_once_per_product(otto):
    made = product()
    plan("Team", of=made)
    page = page_of(otto.post("/billing/productrateplan/add/", {"product": made.pk, "name": "Team"}))
    assert "already exists" in page


def test_a_product_cannot_end_before_it_starts(otto):
    data = {"name": "P", "sku": "P", "effective_start": "2026-02-01", "effective_end": "2026-02-01"}
    assert "The end must lie after the start." in page_of(otto.post("/billing/product/add/", data))


# Changing prices, roles, weight --------------------------------------------------------------------------------------


def test_a_new_price_leaves_what_was_sold_as_it_was(otto):
    sold = plan("Team", monthly(price="10"))
    subscription = subscribe(make_acme(), sold, "2026-07-01")
    charge = sold.charges.get()
    url = f"/billing/productrateplancharge/{charge.pk}/price/"
    assert (
        otto.post(url, {"request_key": str(uuid.uuid4()), "currency": "USD", "price": "15", **tiers()}).status_code
        == 302
    )
    assert charge.prices.get(currency="USD").price == Decimal(15)
    assert subscription.charges.get().segments.get().price == Decimal(10)


def test_records_of_prices_lead_to_the_page_that_sets_them(otto):
    row = plan("Team", monthly()).charges.get().prices.get(currency="EUR")
    response = otto.get(f"/billing/productrateplanchargeprice/{row.pk}/change/")
    assert response.url == f"/billing/productrateplancharge/{row.charge_id}/price/?currency=EUR"


def test_a_viewer_looks_only(client):
    client.force_login(user("viewer"))
    sold = team_plan()
    charge = sold.charges.earliest("pk")
    page = page_of(client.get(sold.product.get_absolute_url()))
    assert "New rate plan" not in page
    assert "New charge" not in page
    assert client.get(f"{NEW_CHARGE}?plan={sold.pk}").status_code == 403
    assert client.post(f"/billing/productrateplancharge/{charge.pk}/price/", {}).status_code == 403
    assert "Save" not in page_of(client.get(f"/billing/productrateplancharge/{charge.pk}/change/"))


def test_what_was_sold_cannot_be_deleted(client):
    client.force_login(user("admin"))
    sold = plan("Team", monthly(), once())
    subscribe(make_acme(), sold, "2026-07-01")
    charge = sold.charges.earliest("pk")
    page = page_of(client.get(f"/billing/productrateplancharge/{charge.pk}/delete/"))
    assert "these records still need it" in page


@pytest.mark.parametrize(
    "url", [NEW_CHARGE, "/billing/productrateplancharge/{charge}/price/", "/billing/product/{product}/"]
)
def test_pages_are_light(otto, url, django_assert_max_num_queries):
    sold = plan("Team", monthly(), seats(), once())
    for number in range(4):
        plan(f"Plan {number}", monthly(), seats(), of=sold.product)
    address = url.format(charge=sold.charges.earliest("pk").pk, product=sold.product.pk)
    otto.get(address)
    with django_assert_max_num_queries(12):
        page = page_of(otto.get(address))
    assert len(page.encode()) <= 40 * 1024
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=\"", page)


def test_every_input_of_the_charge_form_has_a_name(otto):
    page = page_of(otto.get(f"{NEW_CHARGE}?plan={plan('Team').pk}"))
    for tag in re.findall(r"<(?:input|select)[^>]*>", page):
        if 'type="hidden"' in tag:
            continue
        found = re.search(r'\bid="([^"]+)"', tag)
        assert "aria-label" in tag or (found and f'for="{found[1]}"' in page), tag


def test_the_catalogue_lists_and_forms_name_themselves(otto):
    assert "Catalogue charges" in page_of(otto.get("/billing/productrateplancharge/"))
