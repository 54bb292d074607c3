"""Usage charges: what the form keeps, what catalogue and orders refuse, and how pages tell of them."""

import re
import uuid
from decimal import Decimal
from html import unescape

import pytest
from django.core.exceptions import ValidationError

from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, UnusedUnitsCredit
from billing.core.types import ChargeModel, PriceFormat, RatingGroup, Tier, UsageRating
from billing.models import BillingRules, ChargeSegment, ProductRatePlanCharge, ProductRatePlanChargePrice
from billing.order_words import told
from billing.services.catalog import create_charge, set_price
from billing.services.order_requests import OrderRefusedError
from billing.services.orders import (
    ChargeChange,
    ChargeChoice,
    NewRatePlan,
    NewSubscription,
    Resume,
    Suspend,
    UpdateProduct,
    create_order,
)
from billing.templatetags.charge_words import billed_each, price_lines, usage_words
from tests.billing.orders import act, segments, subscribed
from tests.factories import acme, day, globex, monthly, plan, subscribe, unit, used, user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

ROLLING, ROLLOVER = SmoothingModel.ROLLING_WINDOW, SmoothingModel.ROLLOVER
AT_ONCE = OverageCalculation.PER_BILLING_PERIOD
CREDITED = UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE
EACH, FLAT = PriceFormat.PER_UNIT, PriceFormat.FLAT_FEE
NEW_CHARGE = "/billing/productrateplancharge/new/"


def tier(up_to, price, how=EACH):
    return Tier(None if up_to is None else Decimal(up_to), Decimal(price), how)


LADDER = (tier(100, "1"), tier(200, "0.80"), tier(None, "0.50"))


def tiered(model, *tiers):
    return {"charge_model": model, "prices": {"USD": tiers}}


def overage(included="500", price="0.10", **changes):
    quantity = None if included is None else Decimal(included)
    return used(charge_model=ChargeModel.OVERAGE, prices={"USD": Decimal(price)}, default_quantity=quantity, **changes)


def smoothed(model=ROLLING, periods=3, rate=None, **changes):
    """Return smoothed overage; with a `rate` unused units are credited at it."""
    smoothing = Smoothing(model, periods)._replace(**changes)
    if rate is not None:
        smoothing = smoothing._replace(calculation=AT_ONCE, unused_units=CREDITED, credit_rate=Decimal(rate))
    return overage(smoothing=smoothing)


def made(charge):
    return plan("Metered", charge).charges.get()


def refused(charge):
    """Return what is refused by field, after making sure that nothing was added."""
    with pytest.raises(ValidationError) as error:
        plan("Metered", charge)
    assert not ProductRatePlanCharge.objects.exists()
    return error.value.message_dict


@pytest.fixture
def otto(client):
    """Otto is an operator; `otto` is his browser."""
    client.force_login(user("operator"))
    return client


def words(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return " ".join(unescape(re.sub("<[^>]+>", " ", response.content.decode())).split())


def charge_form(of, *tiers, **changes):
    """Return what the form of a new charge for GB sends, whatever it shows."""
    values = {
        "request_key": str(uuid.uuid4()),
        "rate_plan": of.pk,
        "name": "Storage",
        "charge_type": "Usage",
        "charge_model": "PerUnit",
        "measure": "GB",
        "trigger_event": "ContractEffective",
        "billing_period": "Month",
        "billing_timing": "InAdvance",
        "list_price_base": "PerBillingPeriod",
        "billing_day_type": "DefaultFromCustomer",
        "alignment": "AlignToCharge",
        "end_condition": "SubscriptionEnd",
        "rating_group": "ByBillingPeriod",
        "usage_rating": "EndOfBillingPeriod",
        "smoothing_model": "",
        "overage_calculation": "EndOfSmoothingPeriod",
        "unused_units_credit": "NoCredit",
        "currency": "USD",
        "price": "0.10",
        "create": "1",
        "tiers-TOTAL_FORMS": str(len(tiers)),
        "tiers-INITIAL_FORMS": "0",
    }
    for number, (up_to, price, how) in enumerate(tiers):
        values |= {f"tiers-{number}-up_to": up_to, f"tiers-{number}-price": price, f"tiers-{number}-price_format": how}
    return values | changes


# The form ------------------------------------------------------------------------------------------------------------

OVERAGE = {"charge_model": "Overage", "default_quantity": "500"}
WINDOW = {**OVERAGE, "smoothing_model": "RollingWindow", "smoothing_periods": "3"}
CREDITING = {
    **WINDOW,
    "overage_calculation": "PerBillingPeriod",
    "unused_units_credit": "CreditBySpecificRate",
    "credit_rate": "0.02",
}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, {"unit": "GB", "billing_timing": "InArrears", "default_quantity": None}),
        ({"unit": "seat", "default_quantity": "5"}, {"unit": "GB", "default_quantity": None}),
        ({"rating_group": "ByUsageRecord"}, {"rating_group": "ByUsageRecord", "usage_rating": "EndOfBillingPeriod"}),
        ({"usage_rating": "OnDemand"}, {"usage_rating": "OnDemand"}),
        (
            {"rating_group": "ByUsageUpload", "usage_rating": "OnDemand"},
            {"rating_group": "ByUsageUpload", "usage_rating": "EndOfBillingPeriod"},
        ),
        (
            {**OVERAGE, "rating_group": "ByUsageRecord", "usage_rating": "OnDemand"},
            {"default_quantity": 500, "rating_group": "ByBillingPeriod", "usage_rating": "EndOfBillingPeriod"},
        ),
        ({**OVERAGE, "default_quantity": "0"}, {"default_quantity": 0, "smoothing_model": ""}),
        (WINDOW, {"smoothing_model": "RollingWindow", "smoothing_periods": 3}),
        ({**WINDOW, "charge_model": "PerUnit"}, {"smoothing_model": "", "smoothing_periods": 0}),
        (
            {**CREDITING, "smoothing_model": "Rollover"},
            {"overage_calculation": "EndOfSmoothingPeriod", "unused_units_credit": "NoCredit"},
        ),
        (
            {**CREDITING, "overage_calculation": "EndOfSmoothingPeriod"},
            {"smoothing_model": "RollingWindow", "unused_units_credit": "NoCredit"},
        ),
        (CREDITING, {"unused_units_credit": "CreditBySpecificRate", "overage_calculation": "PerBillingPeriod"}),
        (
            {**WINDOW, "charge_type": "Recurring", "charge_model": "PerUnit", "unit": "seat"},
            {"unit": "seat", "smoothing_model": "", "rating_group": "ByBillingPeriod"},
        ),
    ],
)
def test_usage_is_kept_as_it_is_counted_and_what_plays_no_part_is_dropped(otto, sent, kept):
    unit("GB")
    response = otto.post(NEW_CHARGE, charge_form(plan("Metered"), **sent))
    assert response.status_code == 302, re.findall(r'class="errorlist".*?</ul>', response.content.decode(), re.DOTALL)
    charge = ProductRatePlanCharge.objects.get()
    assert {name: getattr(charge, name) for name in kept} == kept
    price = ProductRatePlanChargePrice.objects.get()
    assert price.credit_rate == (Decimal("0.02") if charge.unused_units_credit == CREDITED else None)
    # The form of the record shows and keeps it.
    url = f"/billing/productrateplancharge/{charge.pk}/change/"
    assert "What is charged" in words(otto.get(url))
    assert otto.post(url, charge_form(charge.rate_plan, **sent)).status_code == 302
    charge.refresh_from_db()
    assert {name: getattr(charge, name) for name in kept} == kept
    assert "Storage" in words(otto.get(charge.rate_plan.product.get_absolute_url()))


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        ({"measure": ""}, "measure", "Choose the unit of measure that the usage is counted in."),
        ({"measure": "TB"}, "measure", "There is no such unit of measure."),
        ({**OVERAGE, "default_quantity": ""}, "default_quantity", "How many units are included?"),
        ({**OVERAGE, "default_quantity": "-1"}, "default_quantity", "a number of included units below zero"),
        ({**WINDOW, "smoothing_periods": ""}, "smoothing_periods", "Over how many periods is overage smoothed?"),
        ({**WINDOW, "smoothing_periods": "61"}, "smoothing_periods", "Give 1 to 60."),
        ({"rating_group": "ByMoon"}, "rating_group", "is not one of the available choices"),
        ({**WINDOW, "smoothing_model": "Rolling"}, "smoothing_model", "is not one of the available choices"),
    ],
)
def test_the_form_says_at_its_field_what_cannot_be_billed(otto, sent, field, said):
    unit("GB")
    response = otto.post(NEW_CHARGE, charge_form(plan("Metered"), **sent))
    assert response.status_code == 422
    assert said in " ".join(response.context["form"].errors[field])
    assert not ProductRatePlanCharge.objects.exists()


@pytest.mark.parametrize(("rate", "said"), [("", "Give the credit rate"), ("-1", "cannot lie below zero")])
def test_credit_for_unused_units_needs_its_rate(otto, rate, said):
    unit("GB")
    response = otto.post(NEW_CHARGE, charge_form(plan("Metered"), **{**CREDITING, "credit_rate": rate}))
    assert said in words(response, 422)
    assert not ProductRatePlanCharge.objects.exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("100", "1", "PerUnit"), ("200", "2", "PerUnit")], "needs a last tier without an end"),
        ([("", "1", "PerUnit")], "needs a tier before that of overage"),
        ([("100", "1", "PerUnit"), ("", "50", "FlatFee")], "overage is priced for each unit"),
    ],
)
def test_the_last_tier_is_the_price_of_overage(otto, rows, said):
    unit("GB")
    sent = charge_form(plan("Metered"), *rows, charge_model="TieredWithOverage", price="")
    assert said in words(otto.post(NEW_CHARGE, sent), 422)
    assert not ProductRatePlanCharge.objects.exists()


def test_without_units_of_measure_the_form_says_so(client):
    client.force_login(user("approver"))
    page = words(client.get(f"{NEW_CHARGE}?plan={plan('Metered').pk}"))
    assert "There are no units of measure yet. New unit of measure" in page


def test_the_price_page_asks_for_the_credit_rate_where_units_are_credited(otto):
    charge = made(smoothed(rate="0.02"))
    page = f"/billing/productrateplancharge/{charge.pk}/price/"
    shown = otto.get(f"{page}?currency=USD").content.decode()
    assert re.search(r'name="credit_rate"[^>]*value="0.02"|value="0.02"[^>]*name="credit_rate"', shown)
    sent = {"currency": "EUR", "price": "0.09", "tiers-TOTAL_FORMS": "0", "tiers-INITIAL_FORMS": "0"}
    key = {"request_key": str(uuid.uuid4())}
    assert "Give the credit rate" in words(otto.post(page, sent | key), 422)
    assert otto.post(page, sent | key | {"credit_rate": "0.01"}).status_code == 302
    assert charge.prices.get(currency="EUR").credit_rate == Decimal("0.01")
    assert (
        'name="credit_rate"'
        not in otto.get(
            f"/billing/productrateplancharge/{plan('Other', overage()).charges.get().pk}/price/"
        ).content.decode()
    )


def test_tiers_without_overage_do_not_become_tiers_with_it(otto):
    charge = made(used(**tiered(ChargeModel.TIERED, tier(100, "1"), tier(200, "2"))))
    sent = charge_form(charge.rate_plan, charge_model="TieredWithOverage")
    response = otto.post(f"/billing/productrateplancharge/{charge.pk}/change/", sent)
    assert "In USD this charge needs a last tier without an end" in words(response)
    charge.refresh_from_db()
    assert charge.charge_model == ChargeModel.TIERED


# What the catalogue refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charge", "field", "said"),
    [
        (used(unit=""), "unit", "Choose the unit of measure"),
        (used(list_price_base="PerYear"), "list_price_base", "it is not per month or year"),
        (used(billing_period=None), "billing_period", "A usage charge needs a billing period."),
        (used(default_quantity=Decimal(5)), "default_quantity", "is usage, whose quantity is what is used"),
        (overage(None), "default_quantity", "How many units are included?"),
        (overage(rating_group=RatingGroup.RECORD), "rating_group", "Overage is counted by billing period only."),
        (
            used(**tiered(ChargeModel.TIERED_WITH_OVERAGE, *LADDER), rating_group=RatingGroup.START_DATE),
            "rating_group",
            "Overage is counted by billing period only.",
        ),
        (
            used(charge_model=ChargeModel.FLAT_FEE, rating_group=RatingGroup.UPLOAD),
            "rating_group",
            "A flat fee counts no usage",
        ),
        (overage(usage_rating=UsageRating.ON_DEMAND), "usage_rating", "per unit or by tiers"),
        (
            used(**tiered(ChargeModel.VOLUME, *LADDER), usage_rating=UsageRating.ON_DEMAND),
            "usage_rating",
            "per unit or by tiers",
        ),
        (
            used(usage_rating=UsageRating.ON_DEMAND, rating_group=RatingGroup.RECORD),
            "usage_rating",
            "counted by billing period",
        ),
        (used(smoothing=Smoothing(ROLLING, 3)), "smoothing_model", "Only overage is smoothed"),
        (smoothed(periods=0), "smoothing_periods", "Give 1 to 60."),
        (smoothed(periods=61), "smoothing_periods", "Give 1 to 60."),
        (smoothed(ROLLOVER, calculation=AT_ONCE), "overage_calculation", "With rollover"),
        (smoothed(ROLLOVER, rate="1"), "unused_units_credit", "only with a rolling window"),
        (smoothed(unused_units=CREDITED), "unused_units_credit", "only with a rolling window"),
        (smoothed(calculation=AT_ONCE, unused_units=CREDITED), "credit_rate", "has no credit rate in USD"),
        (smoothed(rate="-1"), "credit_rate", "a credit rate below zero"),
        (used(**tiered(ChargeModel.TIERED_WITH_OVERAGE, *LADDER[:2])), "price", "last tier"),
        (monthly(rating_group=RatingGroup.RECORD), "rating_group", "Only usage is counted in groups."),
        (monthly(usage_rating=UsageRating.ON_DEMAND), "usage_rating", "Only usage is rated on demand."),
        (monthly(smoothing=Smoothing(ROLLING, 3)), "smoothing_model", "Only overage of usage is smoothed."),
    ],
)
def test_usage_that_cannot_be_billed_is_refused_at_its_field(charge, field, said):
    assert said in " ".join(refused(charge)[field])


def test_a_unit_that_does_not_exist_is_refused():
    unit("GB")
    rate_plan = plan("Metered")
    with pytest.raises(ValidationError) as error:
        create_charge(rate_plan=rate_plan, **used(unit="TB"))
    assert "“TB” is not one of the units of measure" in error.value.message_dict["unit"][0]


@pytest.mark.parametrize(
    "charge",
    [
        used(),
        used(rating_group=RatingGroup.RECORD),
        used(usage_rating=UsageRating.ON_DEMAND),
        used(**tiered(ChargeModel.TIERED, *LADDER), usage_rating=UsageRating.ON_DEMAND),
        used(**tiered(ChargeModel.VOLUME, *LADDER), rating_group=RatingGroup.UPLOAD),
        used(**tiered(ChargeModel.TIERED_WITH_OVERAGE, *LADDER)),
        used(charge_model=ChargeModel.FLAT_FEE),
        overage("0"),
        smoothed(periods=1),
        smoothed(ROLLOVER, periods=60),
        smoothed(calculation=AT_ONCE),
        smoothed(rate="0"),
    ],
)
def test_every_way_to_bill_usage_can_be_sold(charge):
    sold = made(charge)
    assert sold.billing_timing == "InArrears"
    segment = ChargeSegment.objects.get(charge__subscription=subscribe(acme(), sold.rate_plan, "2026-07-01"))
    assert (segment.quantity, segment.credit_rate, segment.mrr) == (
        sold.default_quantity,
        sold.prices.get(currency="USD").credit_rate,
        0,
    )


def test_a_price_without_its_credit_rate_is_refused_and_one_without_need_too():
    crediting, plain = made(smoothed(rate="0.02")), plan("Plain", overage()).charges.get()
    for charge, rate, said in (
        (crediting, None, "has no credit rate in EUR"),
        (crediting, Decimal("NaN"), "not a number"),
        (plain, Decimal(1), "does not credit unused units"),
    ):
        with pytest.raises(ValidationError) as error:
            set_price(charge=charge, currency="EUR", price=Decimal(1), credit_rate=rate)
        assert said in error.value.message_dict["credit_rate"][0]
    assert not ProductRatePlanChargePrice.objects.filter(currency="EUR").exists()


# Orders --------------------------------------------------------------------------------------------------------------


def sell(account, sold, **choice):
    """Return the problems of an order of one charge with other values than the catalogue's."""
    chosen = NewRatePlan(sold.rate_plan, (ChargeChoice(sold, **choice),))
    with pytest.raises(OrderRefusedError) as error:
        create_order(
            account=account, order_date=day("2026-07-01"), subscriptions=[NewSubscription((chosen,), day("2026-07-01"))]
        )
    return [(problem.field, problem.message) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("charge", "choice", "field", "said"),
    [
        (
            used(),
            {"quantity": Decimal(5)},
            "quantity",
            "is usage, whose quantity is what is used, and has no quantity.",
        ),
        (overage(), {"quantity": Decimal(-1)}, "quantity", "a number of included units below zero"),
        (
            used(**tiered(ChargeModel.TIERED_WITH_OVERAGE, *LADDER)),
            {"tiers": LADDER[:2]},
            "price",
            "needs a last tier without an end",
        ),
    ],
)
def test_an_order_refuses_what_the_catalogue_refuses(charge, choice, field, said):
    [(found, message)] = sell(acme(), made(charge), **choice)
    assert (found, said in message) == (field, True), message


def test_an_order_refuses_a_charge_that_lost_what_it_needs():
    sold = made(smoothed(rate="0.02"))
    ProductRatePlanChargePrice.objects.update(credit_rate=None)
    [(field, message)] = sell(acme(), sold)
    assert (field, "has no credit rate in USD" in message) == ("price", True)
    ProductRatePlanChargePrice.objects.update(credit_rate=1)
    ProductRatePlanCharge.objects.update(default_quantity=None)
    [(field, message)] = sell(acme(), sold)
    assert (field, "needs a number of included units" in message) == ("quantity", True)


def test_a_currency_without_a_price_is_refused():
    assert "has no price in EUR" in sell(globex(), made(overage()))[0][1]


def test_included_units_change_like_any_quantity_and_the_credit_rate_stays():
    subscription = subscribed(plan("Metered", smoothed(rate="0.02")))
    charge = subscription.charges.get()
    act(subscription, UpdateProduct(subscription, (ChargeChange(charge, Decimal(800)),), day("2026-02-01")))
    act(subscription, Suspend(subscription, day("2026-03-01")))
    order = act(subscription, Resume(subscription, day("2026-04-01")))
    assert segments("Storage") == [
        (1, "2026-01-01", "2026-02-01", 500, Decimal("0.10")),
        (2, "2026-02-01", "2026-03-01", 800, Decimal("0.10")),
        (3, "2026-04-01", None, 800, Decimal("0.10")),
    ]
    assert set(ChargeSegment.objects.values_list("credit_rate", flat=True)) == {Decimal("0.02")}
    lines = [line for action in subscription.order_actions.order_by("id") for line in told([action], "USD")[0].lines]
    assert "Storage: first 500 GB included, then $0.10 per GB" in lines
    assert "Storage: included GB 500 → 800" in lines
    assert order.actions.count() == 1


def test_the_order_form_asks_for_included_units_and_for_no_other_quantity_of_usage(otto):
    subscription = subscribed(plan("Metered", overage(), used("Mails", "0.01")))
    sent = {
        "request_key": str(uuid.uuid4()),
        "account": subscription.account.pk,
        "order_date": "2026-07-15",
        "actions": [f"1:update:s{subscription.pk}"],
        "1-sent": "1",
        "1-effective_date": "2026-08-01",
    }
    page = words(otto.post("/billing/order/new/", {**sent, "refresh": "1"}))
    assert "Storage Metered · now first 500 GB included, then $0.10 per GB" in page
    assert "Included GB of Storage" in page
    assert "Quantity of Mails" not in page
    storage, mails = subscription.charges.order_by("id")
    changed = {f"1-{storage.pk}-quantity": "", f"1-{storage.pk}-price": "0.10", f"1-{mails.pk}-price": "0.02"}
    refused = otto.post("/billing/order/new/", {**sent, **changed, "create": "1"})
    assert "How many are included?" in words(refused, 422)
    changed |= {f"1-{storage.pk}-quantity": "0", "request_key": str(uuid.uuid4())}
    assert otto.post("/billing/order/new/", {**sent, **changed, "create": "1"}).status_code == 302
    assert [row[-2:] for row in segments("Storage")] == [(500, Decimal("0.10")), (0, Decimal("0.10"))]
    assert [row[-2:] for row in segments("Mails")] == [(None, Decimal("0.01")), (None, Decimal("0.02"))]


# Words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charge", "lines", "billed", "counted"),
    [
        (overage(), ["first 500 GB included, then $0.10 per GB"], "a month, in arrears", []),
        (overage("0"), ["$0.10 per GB"], "a month, in arrears", []),
        (
            smoothed(),
            ["first 500 GB included, then $0.10 per GB"],
            "a month, in arrears",
            ["smoothed over 3 periods (rolling window)"],
        ),
        (
            smoothed(rate="0.02"),
            ["first 500 GB included, then $0.10 per GB", "unused GB: $0.02 credited each"],
            "a month, in arrears",
            ["smoothed over 3 periods (rolling window, billed as it occurs)"],
        ),
        (
            smoothed(ROLLOVER, 1),
            ["first 500 GB included, then $0.10 per GB"],
            "a month, in arrears",
            ["unused units stay for 1 period more (rollover)"],
        ),
        (
            used(**tiered(ChargeModel.TIERED_WITH_OVERAGE, *LADDER)),
            ["up to 100: $1.00 each", "up to 200: $0.80 each", "overage above 200: $0.50 each"],
            "a month, in arrears",
            [],
        ),
        (used(usage_rating=UsageRating.ON_DEMAND), ["$10.00 per GB"], "a month, on demand", []),
        (
            used(rating_group=RatingGroup.RECORD, billing_period="Quarter"),
            ["$10.00 per GB"],
            "a quarter, in arrears",
            ["each record counted by itself"],
        ),
        (used(charge_model=ChargeModel.FLAT_FEE), ["$10.00 a month"], "a month, in arrears", []),
    ],
)
def test_usage_in_words(otto, charge, lines, billed, counted):
    sold = made(charge)
    assert [list(price_lines(sold, "USD")), billed_each(sold), usage_words(sold)] == [lines, billed, counted]
    subscription = subscribed(sold.rate_plan)
    for page in (sold.rate_plan.product, subscription):
        shown = words(otto.get(page.get_absolute_url()))
        assert all(text in shown for text in (*lines, billed, *counted))


def preview(otto, *tiers, **changes):
    """Return what the preview of a charge sold from 20 January says, under a bill cycle day of 1."""
    sent = charge_form(plan("Metered"), *tiers, **changes, starts_on="2026-01-20", cycle_day="1")
    return words(otto.get(NEW_CHARGE, sent, headers={"HX-Request": "true"}))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "1 Feb 2026 20 Jan – 31 Jan 2026 part of a period – "),
        ({}, "Its amount depends on the usage of each period."),
        ({"usage_rating": "OnDemand"}, "On demand: each bill run before these days bills what was used"),
        (WINDOW, "Overage is billed once 3 periods can be counted together: on 1 May 2026 at the earliest."),
        (WINDOW, "The part of a period at the beginning is not smoothed."),
        (CREDITING, "3 periods are counted together; overage is billed as soon as it occurs."),
        ({**WINDOW, "smoothing_model": "Rollover"}, "Units left unused are kept for later periods."),
        ({"measure": ""}, "Its amount depends on the usage of each period."),
        ({"charge_model": "FlatFee", "price": "31"}, "part of a period $12.00 1 Mar 2026"),
    ],
)
def test_the_preview_says_when_usage_is_billed(otto, sent, said):
    unit("GB")
    assert said in preview(otto, **sent)


def test_the_preview_knows_that_a_first_part_is_not_billed(otto):
    unit("GB")
    BillingRules.objects.update(bill_usage_partial_months=False)
    assert "The part of a period at the beginning is not billed, as the billing rules say." in preview(otto)
