"""Pages of the catalogue: product, plan, charge and price in the browser, refusing what could not be billed."""

import re
import uuid
from decimal import Decimal

import pytest

from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import Product, ProductRatePlan, ProductRatePlanCharge, ProductRatePlanChargePrice
from tests.factories import acme as make_acme
from tests.factories import by_tiers, monthly, once, plan, product, seats, subscribe, team_plan, unit, used, user

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


def values_of(page, name):
    """Return what the rows of the tier table show in one column."""
    inputs = re.findall(rf'<input[^>]*name="tiers-\d+-{name}"[^>]*>', page)
    return [found[1] if (found := re.search(r'value="([^"]*)"', tag)) else "" for tag in inputs]


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
        "end_condition": "SubscriptionEnd",
        "up_to_periods_type": "BillingPeriods",
        "currency": "EUR",
        "price": "49.90",
        "create": "1",
    }
    return {**values, **tiers(), **changes}


PERCENTAGE = {
    "charge_model": "DiscountPercentage",
    "discount_level": "Subscription",
    "discount_applies_to": ["Recurring", "Usage"],
    "discount_stacked": "on",
    "price": "10",
}

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


def test_a_tier_can_be_put_between_others_and_nothing_is_saved(otto):
    rows = tiers(("7.5", "1", "PerUnit"), ("20", "2", "FlatFee"))
    page = page_of(otto.post(NEW_CHARGE, charge_form(plan("Team"), charge_model="Volume", add_tier="1", **rows)))
    assert values_of(page, "up_to") == ["7.5", "", "20", "", ""]
    assert values_of(page, "price") == ["1", "", "2", "", ""]
    assert re.search(r'name="tiers-1-up_to"[^>]*autofocus', page)
    assert not ProductRatePlanCharge.objects.exists()


def test_a_tier_can_be_removed(otto):
    rows = tiers(("7.5", "1", "PerUnit"), ("20", "2", "FlatFee"), ("", "3", "PerUnit"))
    page = page_of(otto.post(NEW_CHARGE, charge_form(plan("Team"), charge_model="Volume", remove_tier="1", **rows)))
    assert values_of(page, "up_to") == ["7.5", "", ""]
    assert values_of(page, "price") == ["1", "3", ""]


@pytest.mark.parametrize("asked", [{"remove_tier": "0"}, {"remove_tier": "x"}, {"add_tier": "999"}])
def test_one_row_of_tiers_is_always_left_and_at_most_sixty(otto, asked):
    count = "1" if "remove_tier" in asked else "60"
    form = charge_form(plan("Team"), charge_model="Volume") | {"tiers-TOTAL_FORMS": count} | asked
    assert len(values_of(page_of(otto.post(NEW_CHARGE, form)), "price")) == int(count)


def test_a_one_time_charge_has_no_period(otto):
    form = charge_form(plan("Team"), charge_type="OneTime", billing_period="Month", billing_timing="InArrears")
    assert otto.post(NEW_CHARGE, form).status_code == 302
    charge = ProductRatePlanCharge.objects.get()
    assert (charge.billing_period, charge.billing_timing) == ("", "InAdvance")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"billing_period": "SpecificMonths", "period_length": "5"}, {"period_length": 5}),
        ({"billing_period": "Quarter", "period_length": "5"}, {"period_length": 0}),
        ({"billing_period": "EighteenMonths", "list_price_base": "PerYear"}, {"list_price_base": "PerYear"}),
        ({"list_price_base": "PerSpecificMonths", "price_base_months": "4"}, {"price_base_months": 4}),
        ({"price_base_months": "4"}, {"price_base_months": 0}),
        ({"billing_day_type": "SpecificDayOfMonth", "billing_day": "31"}, {"billing_day": 31}),
        (
            {"billing_period": "Week", "billing_day_type": "SpecificDayOfWeek", "weekday": "5", "billing_day": "31"},
            {"billing_period": "Week", "billing_day": 5},
        ),
        (
            {"billing_period": "SpecificDays", "period_length": "10", "billing_day_type": "SpecificDayOfWeek"},
            {"period_length": 10, "billing_day_type": "DefaultFromCustomer"},
        ),
        ({"alignment": "AlignToTermEnd", "billing_day_type": "TermEndDay"}, {"alignment": "AlignToTermEnd"}),
        (
            {"end_condition": "FixedPeriod", "up_to_periods": "3", "up_to_periods_type": "Months"},
            {"up_to_periods": 3, "up_to_periods_type": "Months"},
        ),
        ({"end_condition": "SpecificEndDate", "up_to_periods": "3"}, {"up_to_periods": None}),
        ({"trigger_event": "CustomerAcceptance"}, {"trigger_event": "CustomerAcceptance"}),
        (
            {"charge_type": "OneTime", "end_condition": "FixedPeriod", "up_to_periods": "x", "period_length": "x"},
            {"end_condition": "SubscriptionEnd", "up_to_periods": None, "period_length": 0},
        ),
        (
            {
                "charge_type": "Usage",
                "charge_model": "Overage",
                "billing_timing": "InAdvance",
                "measure": "GB",
                "default_quantity": "500",
            },
            {"charge_model": "Overage", "billing_timing": "InArrears", "list_price_base": "PerBillingPeriod"},
        ),
        (PERCENTAGE, {"discount_level": "Subscription", "discount_applies_to": ["Recurring", "Usage"]}),
        ({**PERCENTAGE, "charge_model": "DiscountFixedAmount"}, {"discount_stacked": False}),
        ({**PERCENTAGE, "charge_model": "FlatFee"}, {"discount_level": "", "discount_applies_to": []}),
    ],
)
def test_a_charge_is_kept_as_it_is_billed_and_what_plays_no_part_is_dropped(otto, sent, kept):
    unit("GB")
    response = otto.post(NEW_CHARGE, charge_form(plan("Team"), **sent))
    assert response.status_code == 302, re.findall(r'class="errorlist".*?</ul>', response.content.decode(), re.DOTALL)
    charge = ProductRatePlanCharge.objects.get()
    assert {name: getattr(charge, name) for name in kept} == kept
    # The product page says it in words, and the form shows and saves it as it is.
    page_of(otto.get(charge.rate_plan.product.get_absolute_url()))
    url = f"/billing/productrateplancharge/{charge.pk}/change/"
    page_of(otto.get(url))
    assert otto.post(url, charge_form(charge.rate_plan, **sent)).status_code == 302
    charge.refresh_from_db()
    assert {name: getattr(charge, name) for name in kept} == kept


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
        ({"charge_type": "Prepaid"}, "is not one of the available choices"),
        ({"default_quantity": "5"}, "A flat fee has no quantity"),
        ({"charge_model": "Tiered"}, "Give at least one tier with a price."),
        ({"charge_model": "Tiered", **tiers(("10", "", "PerUnit"))}, "Give the price of this tier."),
        (
            {"charge_model": "Volume", **tiers(("10", "5", "PerUnit"), ("10", "4", "PerUnit"))},
            "Tier 2 must end above the one before, which ends at 10.",
        ),
        (
            {"charge_model": "Volume", **tiers(("", "5", "PerUnit"), ("10", "4", "PerUnit"))},
            "Tier 1 needs an end: only the last may go without.",
        ),
        ({"charge_model": "Volume", **tiers(("0", "5", "PerUnit"))}, "Tier 1 must end above 0."),
        ({"tiers-TOTAL_FORMS": "x", "charge_model": "Tiered"}, "ManagementForm"),
        ({"charge_model": "Volume", **tiers(("5", "-1", "PerUnit"))}, "A price cannot lie below zero."),
        ({"price": "-0.01"}, "A price cannot lie below zero."),
        ({"billing_period": "SpecificMonths"}, "How many months does a period last?"),
        ({"billing_period": "SpecificDays", "period_length": "4000"}, "How many days does a period last?"),
        ({"list_price_base": "PerSpecificMonths"}, "For how many months is the price?"),
        ({"list_price_base": "PerWeek"}, "Prices per week go with periods of weeks"),
        ({"billing_day_type": "SpecificDayOfMonth", "billing_day": "32"}, "Give 1 to 31"),
        (
            {"billing_period": "Week", "billing_day_type": "SpecificDayOfWeek", "billing_day": "3"},
            "Which day of the week?",
        ),
        ({"billing_period": "Week"}, "A charge billed by weeks needs a day of the week"),
        ({"end_condition": "FixedPeriod"}, "How many periods does the charge run?"),
        ({"charge_model": "Overage"}, "Overage is priced for usage only."),
        ({"charge_type": "OneTime", "charge_model": "TieredWithOverage"}, "Overage is priced for usage only."),
        ({"charge_type": "Usage", "billing_period": ""}, "A usage charge needs a billing period."),
        ({"charge_type": "Usage", **PERCENTAGE}, "A discount is a one-time or a recurring charge."),
        ({**PERCENTAGE, "discount_level": ""}, "Which charges does the discount reduce"),
        ({**PERCENTAGE, "discount_applies_to": []}, "Choose at least one type of charge"),
        ({**PERCENTAGE, "price": "100.5"}, "takes more than 100 % off"),
        ({**PERCENTAGE, "default_quantity": "2"}, "A discount has no quantity"),
    ],
)
def test_what_cannot_be_billed_is_refused_at_its_field(otto, changes, said):
    page = page_of(otto.post(NEW_CHARGE, charge_form(plan("Team"), **changes)), 422)
    assert said in page
    assert "Constraint" not in page
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
        if 'type="hidden"' in tag or f'<label class="check">{tag}' in page:
            continue
        found = re.search(r'\bid="([^"]+)"', tag)
        assert "aria-label" in tag or (found and f'for="{found[1]}"' in page), tag


def test_the_catalogue_lists_and_forms_name_themselves(otto):
    assert "Catalogue charges" in page_of(otto.get("/billing/productrateplancharge/"))


# Tiers and prices edited within the product page ---------------------------------------------------------------------

HTMX = {"HX-Request": "true"}


@pytest.fixture
def storage():
    """A charge of two tiers: 5 each up to 10, 4 each above."""
    rows = [Tier(Decimal(10), Decimal(5), PriceFormat.PER_UNIT), Tier(None, Decimal(4), PriceFormat.PER_UNIT)]
    return plan("Team", by_tiers("Storage", ChargeModel.TIERED, rows, quantity="1")).charges.get()


def price_page(charge):
    return f"/billing/productrateplancharge/{charge.pk}/price/"


def edited(*rows, **changes):
    return {"request_key": str(uuid.uuid4()), "currency": "EUR", "set": "1", **tiers(*rows), **changes}


def test_the_editor_of_a_price_opens_within_the_product_page(otto, storage):
    page = page_of(otto.get(storage.rate_plan.product.get_absolute_url()))
    assert f'hx-get="{price_page(storage)}?currency=EUR"' in page
    editor = page_of(otto.get(f"{price_page(storage)}?currency=EUR", headers=HTMX))
    assert "<html" not in editor
    assert values_of(editor, "up_to") == ["10", ""]
    assert values_of(editor, "price") == ["5", "4"]


def test_tiers_are_saved_in_place(otto, storage):
    rows = [("10", "5", "PerUnit"), ("50", "4.5", "PerUnit"), ("", "100", "FlatFee")]
    response = otto.post(price_page(storage), edited(*rows), headers=HTMX)
    cell = page_of(response)
    assert "<html" not in cell
    assert "up to 50: €4.50 each" in cell
    assert "above 50: €100.00 flat" in cell
    assert "The EUR price of “Storage” is set." in cell
    assert storage.prices.get(currency="EUR").tiers.count() == 3
    assert storage.prices.get(currency="USD").tiers.count() == 2


def test_a_gap_in_the_tiers_names_its_row_and_changes_nothing(otto, storage):
    rows = [("10", "5", "PerUnit"), ("8", "4", "PerUnit"), ("", "3", "PerUnit")]
    editor = page_of(otto.post(price_page(storage), edited(*rows), headers=HTMX), 422)
    assert "<html" not in editor
    assert "Tier 2 must end above the one before, which ends at 10." in editor
    assert values_of(editor, "up_to")[:2] == ["10", "8"]
    assert storage.prices.get(currency="EUR").tiers.count() == 2


def test_rows_are_added_in_place_without_saving(otto, storage):
    editor = page_of(otto.post(price_page(storage), edited(("", "4", "PerUnit"), add_tier="0"), headers=HTMX))
    assert "<html" not in editor
    assert values_of(editor, "price")[:2] == ["", "4"]
    assert storage.prices.get(currency="EUR").tiers.count() == 2


def test_saving_in_place_twice_has_one_effect(otto, storage):
    form = edited(("", "7", "PerUnit"))
    page_of(otto.post(price_page(storage), form, headers=HTMX))
    again = otto.post(price_page(storage), form, headers=HTMX)
    assert (again.status_code, again.headers["HX-Redirect"]) == (204, f"{price_page(storage)}?currency=EUR&shown=1")
    # That address is a piece of the product's page; opened by itself it leads there.
    assert otto.get(again.headers["HX-Redirect"]).url == storage.rate_plan.product.get_absolute_url()
    assert storage.prices.get(currency="EUR").tiers.count() == 1
    assert storage.prices.get(currency="EUR").tiers.get().price == Decimal(7)


@pytest.mark.parametrize(
    ("charge", "words"),
    [
        (monthly(price="9", billing_period="EighteenMonths"), "€9.00 for 18 months"),
        (
            monthly(price="9", billing_period="SpecificWeeks", period_length=2, billing_day_type="ChargeTriggerDay"),
            "€9.00 for 2 weeks",
        ),
        (monthly(price="9", list_price_base="PerSpecificMonths", price_base_months=1), "€9.00 for 1 month"),
        (monthly(price="9", billing_period="SubscriptionTerm"), "€9.00 a term"),
        (used(price="9", charge_model="Overage", default_quantity=Decimal(0)), "€9.00 per GB<"),
        (
            monthly(
                price="9",
                charge_model="DiscountPercentage",
                discount_level="Account",
                discount_applies_to=["Recurring"],
            ),
            "9\N{NO-BREAK SPACE}% off",
        ),
        (
            monthly(
                price="9",
                charge_model="DiscountFixedAmount",
                discount_level="Account",
                discount_applies_to=["Recurring"],
            ),
            "€9.00 off a month",
        ),
    ],
)
def test_the_product_page_says_what_a_price_is_for(otto, charge, words):
    made = plan("Team", charge).product
    assert words in page_of(otto.get(made.get_absolute_url()))


# The first periods of a charge ---------------------------------------------------------------------------------------


def preview_rows(fragment):
    """Return the rows of the preview as their texts."""
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", fragment, re.DOTALL)
    return [re.sub(r"(\s*<[^>]+>\s*)+", "|", row).replace("\N{NO-BREAK SPACE}", " ").strip("|") for row in rows]


def asked(of, **changes):
    """Return what htmx sends for a preview from 20 January 2026 with bill cycle day 1."""
    return {**charge_form(of, starts_on="2026-01-20", cycle_day="1", price="31", currency="EUR"), **changes}


def test_the_new_charge_page_shows_the_first_periods_at_once(otto):
    page = page_of(otto.get(NEW_CHARGE))
    assert 'value="2026-07-15"' in page
    assert preview_rows(page)[1].startswith("1 Aug 2026|1 Aug – 31 Aug 2026")
    assert "Amounts appear once it has a price." in page


def test_the_preview_follows_the_form(otto):
    fragment = page_of(otto.get(NEW_CHARGE, asked(plan("Team")), headers=HTMX))
    assert "<html" not in fragment
    assert preview_rows(fragment) == [
        "20 Jan 2026|20 Jan – 31 Jan 2026|part of a period|€12.00",
        "1 Feb 2026|1 Feb – 28 Feb 2026|€31.00",
        "1 Mar 2026|1 Mar – 31 Mar 2026|€31.00",
        "1 Apr 2026|1 Apr – 30 Apr 2026|€31.00",
        "1 May 2026|1 May – 31 May 2026|€31.00",
        "1 Jun 2026|1 Jun – 30 Jun 2026|€31.00",
    ]


@pytest.mark.parametrize(
    ("changes", "row", "words"),
    [
        ({"billing_timing": "InArrears"}, 1, "1 Mar 2026|1 Feb – 28 Feb 2026|€31.00"),
        ({"cycle_day": "31"}, 1, "31 Jan 2026|31 Jan – 27 Feb 2026|€31.00"),
        (
            {"billing_period": "Quarter", "list_price_base": "PerMonth", "cycle_day": "20"},
            5,
            "20 Apr 2027|20 Apr – 19 Jul 2027|€93.00",
        ),
        (
            {"billing_period": "Week", "billing_day_type": "SpecificDayOfWeek", "weekday": "1"},
            1,
            "26 Jan 2026|26 Jan – 1 Feb 2026|€31.00",
        ),
        ({"billing_period": "SpecificDays", "period_length": "10"}, 1, "30 Jan 2026|30 Jan – 8 Feb 2026|€31.00"),
        ({"billing_period": "SubscriptionTerm"}, 1, "20 Jan 2027|20 Jan 2027 – 19 Jan 2028|€31.00"),
        ({"billing_period": "FiveYears", "cycle_day": "20"}, 5, "20 Jan 2051|20 Jan 2051 – 19 Jan 2056|€31.00"),
        (
            {"end_condition": "FixedPeriod", "up_to_periods": "2", "up_to_periods_type": "Months"},
            2,
            "1 Mar 2026|1 Mar – 19 Mar 2026|part of a period|€19.00",
        ),
        ({"charge_type": "OneTime"}, 0, "20 Jan 2026|20 Jan 2026|€31.00"),
        # A fee is known before anything is used, what usage costs is not.
        ({"charge_type": "Usage"}, 0, "1 Feb 2026|20 Jan – 31 Jan 2026|part of a period|€12.00"),
        (
            {"charge_type": "Usage", "charge_model": "PerUnit"},
            0,
            "1 Feb 2026|20 Jan – 31 Jan 2026|part of a period|–",
        ),
        ({"price": "ten"}, 1, "1 Feb 2026|1 Feb – 28 Feb 2026|–"),
        (
            {"charge_model": "Volume", "default_quantity": "12", **tiers(("10", "5", "PerUnit"), ("", "4", "PerUnit"))},
            1,
            "1 Feb 2026|1 Feb – 28 Feb 2026|€48.00",
        ),
    ],
)
def test_the_preview_knows_every_way_to_bill(otto, changes, row, words):
    fragment = page_of(otto.get(NEW_CHARGE, asked(plan("Team"), **changes), headers=HTMX))
    assert preview_rows(fragment)[row] == words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"billing_period": ""}, "A recurring charge needs a billing period."),
        ({"billing_period": "SpecificMonths"}, "How many months does a period last?"),
        ({"starts_on": "tomorrow"}, "Enter a valid date."),
        ({"starts_on": "9999-12-31"}, "Give a day from 1970 to 2199."),
        ({"cycle_day": "32"}, "is not one of the available choices"),
        (
            {"charge_model": "Volume", "default_quantity": "12", **tiers(("10", "5", "PerUnit"))},
            "Leave the end of the last tier empty, or lower the quantity.",
        ),
    ],
)
def test_the_preview_says_what_it_waits_for(otto, changes, said):
    assert said in page_of(otto.get(NEW_CHARGE, asked(plan("Team"), **changes), headers=HTMX))


def test_the_preview_needs_no_scripts(otto):
    page = page_of(otto.post(NEW_CHARGE, {**asked(plan("Team"), name=""), "preview": "1"}))
    assert preview_rows(page)[1] == "1 Feb 2026|1 Feb – 28 Feb 2026|€31.00"
    assert "This field is required." not in page
    assert not ProductRatePlanCharge.objects.exists()


def test_the_page_of_a_charge_shows_its_periods_and_follows_changes(otto):
    charge = plan("Team", monthly(price="31")).charges.get()
    url = f"/billing/productrateplancharge/{charge.pk}/change/"
    page = page_of(otto.get(url, {"starts_on": "2026-01-20", "cycle_day": "1", "currency": "USD"}))
    assert "<option selected>USD</option>" in page
    assert preview_rows(page)[0] == "20 Jan 2026|20 Jan – 31 Jan 2026|part of a period|$12.00"
    form = {k: v for k, v in asked(charge.rate_plan, billing_period="Quarter").items() if "tiers" not in k}
    fragment = page_of(otto.get(url, form, headers=HTMX))
    assert preview_rows(fragment)[1] == "1 Feb 2026|1 Feb – 30 Apr 2026|€31.00"
    charge.refresh_from_db()
    assert charge.billing_period == "Month"


def test_a_viewer_sees_the_periods_of_a_charge(client):
    client.force_login(user("viewer"))
    charge = plan("Team", monthly(price="31")).charges.get()
    url = f"/billing/productrateplancharge/{charge.pk}/change/"
    sent = {"starts_on": "2026-01-20", "cycle_day": "1", "currency": "JPY"}
    assert preview_rows(page_of(client.get(url, sent)))[0].endswith("¥12")
    assert preview_rows(page_of(client.get(url, sent, headers=HTMX)))[0].endswith("¥12")


def test_a_preview_and_an_editor_cost_few_queries(otto, storage, django_assert_max_num_queries):
    change = f"/billing/productrateplancharge/{storage.pk}/change/"
    otto.get(change)
    with django_assert_max_num_queries(5):
        otto.get(NEW_CHARGE, asked(storage.rate_plan), headers=HTMX)
    with django_assert_max_num_queries(13):
        otto.get(change)
    with django_assert_max_num_queries(7):
        otto.get(f"{price_page(storage)}?currency=EUR", headers=HTMX)
