"""How a usage line was calculated: the worked numbers of the rating rules, in words whose steps add up to the amount."""

from decimal import Decimal

import pytest

from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, UnusedUnitsCredit
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, PriceFormat, RatingGroup, Tier, UsageRating
from billing.models import BillingRules, RatePlanCharge, UnitOfMeasure
from invoicing.explained import explained
from invoicing.models import InvoiceItem
from tests import factories as make
from tests.factories import bill
from tests.invoicing.test_explanation import check
from tests.usage.consumption import consume

pytestmark = pytest.mark.django_db

PER_UNIT, FLAT = PriceFormat.PER_UNIT, PriceFormat.FLAT_FEE


@pytest.fixture(autouse=True)
def _unit():
    UnitOfMeasure.objects.create(name="GB", decimals=2)


def tiers(*steps):
    """Return tiers written as (end or None, price) or (end, price, FLAT)."""
    return tuple(
        Tier(None if end is None else Decimal(end), Decimal(price), *(rest or (PER_UNIT,)))
        for end, price, *rest in steps
    )


def metered(model=ChargeModel.PER_UNIT, prices: object = Decimal("0.5"), *, start="2026-01-01", **terms):
    """Return a charge for GB that Acme is billed each month."""
    terms = {"charge_type": ChargeType.USAGE, "billing_period": BillingPeriod.MONTH, "unit": "GB"} | terms
    charge = {"name": "Data", "charge_model": model, "prices": {"USD": prices}, **terms}
    make.subscribe(make.acme(), make.plan("Data", charge), start)
    return RatePlanCharge.objects.get()


def told(item):
    """Return the steps of a line, checked, as (name, result)."""
    return [(step.name, step.result) for step in check(item)]


def workings(item):
    return [step.working for step in check(item)]


def billed(target="2026-02-01"):
    """Bill and return the lines of the run, oldest first."""
    return list(InvoiceItem.objects.filter(invoice__bill_run=bill(target)).order_by("id"))


# Counting ------------------------------------------------------------------------------------------------------------


def test_the_number_of_records_and_the_rounding_are_told():
    UnitOfMeasure.objects.update(rounding="Down")
    consume(metered(), ("2026-01-05", "12"), ("2026-01-06", "0.31245"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "12.31245"),
        ("Rounded usage", "12.31"),
        ("Per unit", "$6.155"),
        ("Amount", "$6.16"),
    ]
    assert workings(item) == [
        "2 usage records",
        "12.31245 rounded down, as the unit of measure says",
        "12.31 × $0.50 (price of segment 1)",
        "$6.155 rounded half up to 2 digits, once, at the end",
    ]


def test_one_record_that_needs_no_rounding():
    consume(metered(), ("2026-01-05", "4"))
    (item,) = billed()
    assert workings(item)[0] == "1 usage record"
    assert told(item) == [("Usage", "4"), ("Per unit", "$2.00"), ("Amount", "$2.00")]
    (explanation,) = explained([item], currency="USD")
    assert ("Price version", "segment 1, in force since 1 Jan 2026") in explanation.facts
    assert ("Service period", "1 Jan – 31 Jan 2026, 31 days") in explanation.facts


VOLUME = tiers((50, 11), (100, 10), (None, 9))


@pytest.mark.parametrize(
    ("group", "words", "january", "february"),
    [
        (RatingGroup.BILLING_PERIOD, "3 usage records", "1440", "1755"),
        (RatingGroup.START_DATE, "3 usage records, each start day rated by itself: 2 start days", "1600", "1835"),
        (RatingGroup.RECORD, "3 usage records, each usage record rated by itself: 3 usage records", "1670", "1965"),
        (RatingGroup.UPLOAD, "3 usage records, each upload rated by itself: 2 uploads", "1540", "1950"),
    ],
)
def test_rating_groups(group, words, january, february):
    charge = metered(ChargeModel.VOLUME, VOLUME, rating_group=group)
    # An import gives each month of a file a slice of its own.
    for rows in (
        (("2026-01-01", "20"), ("2026-01-16", "90")),
        (("2026-02-01", "80"), ("2026-02-16", "15")),
        (("2026-01-01", "50"),),
        (("2026-02-16", "100"),),
    ):
        consume(charge, *rows, by_day=True)
    items = billed("2026-03-01")
    assert [item.amount for item in items] == [Decimal(january), Decimal(february)]
    assert workings(items[0])[0] == words
    assert told(items[0])[0] == ("Usage", "160")


def test_volume_in_groups_does_not_name_tiers_it_does_not_know():
    charge = metered(ChargeModel.VOLUME, VOLUME, rating_group=RatingGroup.RECORD)
    consume(charge, ("2026-01-01", "20"), ("2026-01-02", "120"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "140"),
        ("Volume", "$220.00"),
        ("Volume", "$1,080.00"),
        ("All tiers", "$1,300.00"),
        ("Amount", "$1,300.00"),
    ]


# Tiers ---------------------------------------------------------------------------------------------------------------


def test_tiers_with_a_flat_one():
    prices = tiers((9, 0), (20, 1), (30, 2, FLAT), (None, 3))
    consume(metered(ChargeModel.TIERED, prices), ("2026-01-05", "45"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "45"),
        ("Tiered, tier 1", "$0.00"),
        ("Tiered, tier 2", "$11.00"),
        ("Tiered, tier 3", "$2.00"),
        ("Tiered, tier 4", "$45.00"),
        ("All tiers", "$58.00"),
        ("Amount", "$58.00"),
    ]
    assert "$2.00 flat, for 10" in workings(item)


def test_a_flat_tier_is_charged_for_each_group():
    prices = tiers((10, 1), (None, 7, FLAT))
    charge = metered(ChargeModel.TIERED, prices, rating_group=RatingGroup.RECORD)
    consume(charge, ("2026-01-05", "12"), ("2026-01-06", "15"), ("2026-01-07", "4"))
    (item,) = billed()
    assert item.amount == Decimal(38)
    assert "$7.00 × 2: flat, for each group; 7 in all" in workings(item)
    assert ("Tiered, tier 2", "$14.00") in told(item)


def test_tiered_with_overage():
    prices = tiers((100, 1), (200, "0.8"), (None, "0.5"))
    consume(metered(ChargeModel.TIERED_WITH_OVERAGE, prices), ("2026-01-05", "250"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "250"),
        ("Tiered, tier 1", "$100.00"),
        ("Tiered, tier 2", "$80.00"),
        ("Overage above 200", "$25.00"),
        ("All tiers", "$205.00"),
        ("Amount", "$205.00"),
    ]


# Overage -------------------------------------------------------------------------------------------------------------


def overage(price="0.5", included="500", **terms):
    return metered(ChargeModel.OVERAGE, Decimal(price), default_quantity=Decimal(included), **terms)


def test_overage():
    consume(overage(), ("2026-01-05", "620"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "620"),
        ("Included", "$0.00"),
        ("Overage", "$60.00"),
        ("All together", "$60.00"),
        ("Amount", "$60.00"),
    ]
    assert workings(item)[1:3] == ["500 of 500 included units", "120 × $0.50: above the included units"]


def test_usage_within_what_is_included():
    consume(overage(), ("2026-01-05", "480"))
    (item,) = billed()
    assert told(item) == [("Usage", "480"), ("Included", "$0.00"), ("Amount", "$0.00")]
    assert workings(item)[1] == "480 of 500 included units"


MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06", "2026-07")


def smoothed(smoothing, *usage):
    """Bill months of smoothed overage, 500 included at 0.10, and return their lines."""
    charge = overage("0.1", smoothing=smoothing)
    consume(charge, *((f"{month}-10", used) for month, used in zip(MONTHS, usage, strict=False)), by_day=True)
    return billed("2026-08-01")[: len(usage)]


def test_a_rolling_window():
    items = smoothed(Smoothing(SmoothingModel.ROLLING_WINDOW, 3), "700", "200", "333", "1000", "600", "1200", "0")
    assert [item.amount for item in items] == [Decimal(text) for text in ("0", "0", "0", "3.3", "0", "0", "30")]
    assert workings(items[1])[1:3] == [
        "not full yet, 2 of 3 periods: 700 + 200",
        "900: nothing is charged before the window is full",
    ]
    assert workings(items[2])[1:3] == [
        "full with 3 periods: 700 + 200 + 333",
        "1,233 of 1,500 units that its 3 periods include; the window moves on by one period",
    ]
    assert told(items[3]) == [
        ("Usage", "1,000"),
        ("Smoothing window", "1,533"),
        ("Included", "$0.00"),
        ("Overage", "$3.30"),
        ("All together", "$3.30"),
        ("Amount", "$3.30"),
    ]
    assert workings(items[3])[2:4] == [
        "1,500 of 1,500 units that its 3 periods include",
        "33 × $0.10: above what is included, so the window starts anew",
    ]


def test_a_block_of_periods():
    block = Smoothing(SmoothingModel.ROLLING_WINDOW, 6, OverageCalculation.PER_BILLING_PERIOD)
    items = smoothed(block, "700", "200", "333", "1000", "600", "1300")
    assert [item.amount for item in items] == [Decimal(text) for text in ("0", "0", "0", "0", "0", "113.3")]
    assert workings(items[5])[1:4] == [
        "period 6 of a block of 6: 2,833 used before + 1,300",
        "3,000 of 3,000 units that the block of 6 periods includes",
        "1,133 × $0.10: above what the block includes and not charged before",
    ]
    assert told(items[5])[1] == ("Smoothing block", "4,133")


def test_a_block_says_what_it_charged_before():
    block = Smoothing(SmoothingModel.ROLLING_WINDOW, 3, OverageCalculation.PER_BILLING_PERIOD)
    items = smoothed(block, "1000", "600", "900")
    assert [item.amount for item in items] == [Decimal(text) for text in ("0", "10", "90")]
    assert "100: overage that earlier periods of the block were charged" in workings(items[2])
    assert ("Charged before", "$0.00") in told(items[2])
    assert ("Overage", "$90.00") in told(items[2])


def test_a_block_credits_what_it_left_unused():
    block = Smoothing(
        SmoothingModel.ROLLING_WINDOW,
        2,
        OverageCalculation.PER_BILLING_PERIOD,
        UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE,
        Decimal("0.02"),
    )
    items = smoothed(block, "400", "300")
    assert [item.amount for item in items] == [Decimal(0), Decimal(-6)]
    assert ("Unused", "−$6.00") in told(items[1])
    assert "−300 × $0.02: included units that the block left unused, credited" in workings(items[1])


def test_units_that_roll_over():
    items = smoothed(Smoothing(SmoothingModel.ROLLOVER, 2), "300", "600", "650", "500")
    assert [item.amount for item in items] == [Decimal(0), Decimal(0), Decimal(5), Decimal(0)]
    assert workings(items[0])[1] == "300 of 500 included units; 200 roll over for the next 2 periods"
    assert workings(items[1])[1:3] == [
        "200 of 200 left over by an earlier period, usable for 2 more periods, this one included",
        "400 of 500 included units; 100 roll over for the next 2 periods",
    ]
    assert told(items[2]) == [
        ("Usage", "650"),
        ("Rolled over", "$0.00"),
        ("Included", "$0.00"),
        ("Overage", "$5.00"),
        ("All together", "$5.00"),
        ("Amount", "$5.00"),
    ]


@pytest.mark.parametrize(
    ("smoothing", "step", "words"),
    [
        (Smoothing(SmoothingModel.ROLLOVER, 2), "Included", "120 of 500 included units"),
        (
            Smoothing(SmoothingModel.ROLLING_WINDOW, 3),
            "Not counted",
            "120: a partial first period is not smoothed",
        ),
    ],
)
def test_a_partial_first_period_is_not_smoothed(smoothing, step, words):
    charge = overage("0.1", smoothing=smoothing, start="2026-01-16")
    consume(charge, ("2026-01-20", "120"))
    (item,) = billed()
    assert told(item)[1] == (step, "$0.00")
    assert workings(item)[1] == words


def test_a_partial_first_period_that_is_not_billed():
    BillingRules.objects.update(bill_usage_partial_months=False)
    consume(metered(start="2026-01-16"), ("2026-01-20", "120"))
    (item,) = billed()
    assert told(item) == [
        ("Usage", "120"),
        ("Per unit", "$60.00"),
        ("Partial period", "$0.00"),
        ("Amount", "$0.00"),
    ]
    assert workings(item)[1:3] == ["120 × $0.50 (price of segment 1)", "not billed: the billing rules skip it"]


def test_a_flat_fee_for_usage():
    consume(metered(ChargeModel.FLAT_FEE, Decimal(99)), ("2026-01-20", "160"))
    (item,) = billed()
    assert told(item) == [("Flat fee", "$99.00"), ("Amount", "$99.00")]


# What was billed already ---------------------------------------------------------------------------------------------


def test_on_demand_takes_off_what_was_billed():
    prices = tiers((10, 2), (20, 3), (None, 5))
    charge = metered(ChargeModel.TIERED, prices, usage_rating=UsageRating.ON_DEMAND)
    consume(charge, ("2026-01-01", "3"), ("2026-01-02", "5"), ("2026-01-03", "7"))
    (first,) = billed("2026-01-04")
    assert (first.amount, told(first)[-1]) == (Decimal(35), ("Amount", "$35.00"))
    consume(charge, ("2026-01-01", "1"), by_day=True)
    consume(charge, ("2026-01-04", "5"), by_day=True)
    (second,) = billed("2026-01-05")
    assert told(second)[-4:] == [
        ("All tiers", "$55.00"),
        ("All usage so far", "$55.00"),
        ("Billed already", "$20.00"),
        ("Amount", "$20.00"),
    ]
    assert workings(second)[-2] == "$55.00 − $35.00 billed for it before"
    assert workings(second)[0] == "5 usage records"


def test_late_usage():
    charge = metered(ChargeModel.TIERED, tiers((10, 2), (None, 3)))
    consume(charge, ("2026-01-10", "8"))
    billed()
    consume(charge, ("2026-01-20", "4"))
    (late,) = [item for item in billed("2026-02-02") if item.amount]
    assert late.description == "Data – Late usage"
    assert told(late)[-4:] == [
        ("All tiers", "$26.00"),
        ("All usage so far", "$26.00"),
        ("Billed already", "$10.00"),
        ("Amount", "$10.00"),
    ]


def test_late_usage_of_a_smoothed_charge_prices_all_periods_again():
    charge = overage("0.1", smoothing=Smoothing(SmoothingModel.ROLLOVER, 2))
    consume(charge, ("2026-01-10", "300"), ("2026-02-10", "600"), by_day=True)
    billed("2026-03-01")
    consume(charge, ("2026-01-20", "250"))
    (late,) = [item for item in billed("2026-03-02") if item.amount]
    assert late.amount == Decimal(15)
    assert told(late)[-4:] == [
        ("Period 2 again: amount", "$10.00"),
        ("All periods", "$15.00"),
        ("Billed already", "$15.00"),
        ("Amount", "$15.00"),
    ]
    assert told(late)[0] == ("Period 1 again: Usage", "550")
    (explanation,) = explained([late], currency="USD")
    assert explanation.facts[-1] == ("Price version", "segment 1, in force since 1 Jan 2026")


def test_late_usage_of_a_fee_adds_nothing():
    charge = metered(ChargeModel.FLAT_FEE, Decimal(99))
    consume(charge, ("2026-01-20", "160"))
    billed()
    consume(charge, ("2026-01-21", "5"))
    (late,) = [item for item in billed("2026-02-02") if "Late" in item.description]
    assert told(late) == [("Late usage", "$0.00"), ("Amount", "$0.00")]
