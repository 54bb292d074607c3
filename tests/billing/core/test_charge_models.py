"""Each charge model prices a quantity as its formula says, and says what it lacks when it cannot."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.core.charge_models import UnpriceableError, base_months, price_factor, rate_of
from billing.core.periods import DayCycle, Grid, MonthCycle, daily_cycle, days_in, months_in
from billing.core.types import BillingPeriod, ChargeModel, ChargeTerms, ListPriceBase
from tests.billing.core import MONTHLY_FLAT_FEE, day, segment, tiers

FLAT, UNIT, TIERED, VOLUME = (
    ChargeModel.FLAT_FEE,
    ChargeModel.PER_UNIT,
    ChargeModel.TIERED,
    ChargeModel.VOLUME,
)
RATE_DETAIL = "9: 0, 20: 1, 30: flat 2, rest: 3"
STORAGE = "50: 10, 100: 8, rest: 5"
SEATS = "50: 120, 100: 100"


@pytest.mark.parametrize(
    ("model", "price", "quantity", "tier_text", "amount"),
    [
        (FLAT, "99", "160", None, "99"),
        (UNIT, "59.99", "4", None, "239.96"),
        (UNIT, "59.99", "0", None, "0"),
        (UNIT, "0.000000001", "3.5", None, "0.0000000035"),
        (TIERED, None, "45", RATE_DETAIL, "58"),
        (TIERED, None, "15", "10: 2, 20: 3, rest: 5", "35"),
        (TIERED, None, "21", "10: 2, 20: 3, rest: 5", "55"),
        (TIERED, None, "130", "100: 0, 200: 2", "60"),
        (TIERED, None, "120", STORAGE, "1000"),
        (TIERED, None, "10.5", "10: 2, 20: 3, rest: 5", "21.5"),
        (TIERED, None, "20.5", RATE_DETAIL, "13"),
        (TIERED, None, "30", RATE_DETAIL, "13"),
        (TIERED, None, "0", "10: flat 7, rest: 1", "0"),
        (VOLUME, None, "5", SEATS, "600"),
        (VOLUME, None, "60", SEATS, "6000"),
        (VOLUME, None, "50", SEATS, "6000"),
        (VOLUME, None, "100", SEATS, "10000"),
        (VOLUME, None, "120", STORAGE, "600"),
        (VOLUME, None, "25", RATE_DETAIL, "2"),
        (VOLUME, None, "0", "10: flat 7, rest: 1", "7"),
    ],
)
def test_amount_of_a_quantity(
    model: ChargeModel, price: str | None, quantity: str, tier_text: str | None, amount: str
) -> None:
    terms: dict[str, Any] = {"price": price, "quantity": quantity, "tiers": tiers(tier_text) if tier_text else ()}
    assert rate_of(model, segment("2026-01-01", **terms)).amount == Decimal(amount)


def test_digits_beyond_the_usual_precision_are_kept() -> None:
    price, quantity = Decimal("1234567890123.123456789"), Decimal("987654321.987654321")
    rate = rate_of(UNIT, segment("2026-01-01", price=price, quantity=quantity))
    assert Fraction(rate.amount) == Fraction(price) * Fraction(quantity)


@pytest.mark.parametrize(
    ("model", "terms", "code"),
    [
        (FLAT, {"price": None}, "missing_price"),
        (FLAT, {"price": "NaN"}, "missing_price"),
        (UNIT, {"price": None, "quantity": "1"}, "missing_price"),
        (UNIT, {"quantity": None}, "missing_quantity"),
        (UNIT, {"quantity": "Infinity"}, "missing_quantity"),
        (UNIT, {"quantity": "-1"}, "negative_quantity"),
        (TIERED, {"quantity": "1"}, "missing_tiers"),
        (VOLUME, {"quantity": "1"}, "missing_tiers"),
        (TIERED, {"tiers": STORAGE}, "missing_quantity"),
        (VOLUME, {"tiers": STORAGE, "quantity": "-1"}, "negative_quantity"),
        (TIERED, {"tiers": "10: NaN", "quantity": "1"}, "missing_price"),
        (TIERED, {"tiers": "10: 1, 20: NaN, rest: 2", "quantity": "1"}, "missing_price"),
        (VOLUME, {"tiers": "NaN: 1, rest: 2", "quantity": "1"}, "missing_price"),
        (TIERED, {"tiers": SEATS, "quantity": "100.1"}, "quantity_above_tiers"),
        (VOLUME, {"tiers": SEATS, "quantity": "101"}, "quantity_above_tiers"),
        (TIERED, {"tiers": "10: 1, 10: 2", "quantity": "1"}, "tiers_out_of_order"),
        (TIERED, {"tiers": "20: 1, 10: 2, rest: 1", "quantity": "1"}, "tiers_out_of_order"),
        (VOLUME, {"tiers": "rest: 1, 10: 2", "quantity": "1"}, "tiers_out_of_order"),
        (VOLUME, {"tiers": "0: 1, 10: 2", "quantity": "1"}, "tiers_out_of_order"),
    ],
)
def test_incomplete_terms_are_named(model: ChargeModel, terms: dict[str, Any], code: str) -> None:
    if "tiers" in terms:
        terms = terms | {"tiers": tiers(terms["tiers"])}
    with pytest.raises(UnpriceableError) as caught:
        rate_of(model, segment("2026-01-01", number=3, **terms))
    assert caught.value.code == code
    assert "segment 3" in caught.value.hint


@pytest.mark.parametrize(
    ("base", "months"),
    [
        (ListPriceBase.PER_BILLING_PERIOD, 3),
        (ListPriceBase.PER_MONTH, 1),
        (ListPriceBase.PER_YEAR, 12),
        (ListPriceBase.PER_SPECIFIC_MONTHS, 5),
    ],
)
def test_a_list_price_is_for_so_many_months(base: ListPriceBase, months: int) -> None:
    assert base_months(base, 5, 3) == months


def test_specific_months_can_be_one() -> None:
    assert base_months(ListPriceBase.PER_SPECIFIC_MONTHS, 1, 3) == 1


@pytest.mark.parametrize(
    ("period", "length", "base", "factor", "unit"),
    [
        # months(period) ÷ months(list price base)
        ("Month", 0, "PerMonth", (1, 1), ""),
        ("Quarter", 0, "PerYear", (3, 12), ""),
        ("Quarter", 0, "PerMonth", (3, 1), ""),
        ("SemiAnnual", 0, "PerMonth", (6, 1), ""),
        ("EighteenMonths", 0, "PerMonth", (18, 1), ""),
        ("EighteenMonths", 0, "PerYear", (18, 12), ""),
        ("TwoYears", 0, "PerYear", (24, 12), ""),
        ("ThreeYears", 0, "PerYear", (36, 12), ""),
        ("FiveYears", 0, "PerSpecificMonths", (60, 5), ""),
        ("SpecificMonths", 7, "PerMonth", (7, 1), ""),
        ("SpecificMonths", 7, "PerBillingPeriod", (7, 7), ""),
        # weeks(period), and days counted in weeks
        ("Week", 0, "PerWeek", (1, 1), "w"),
        ("SpecificWeeks", 4, "PerWeek", (4, 1), "w"),
        ("SpecificWeeks", 4, "PerBillingPeriod", (4, 4), "w"),
        ("SpecificDays", 10, "PerBillingPeriod", (10, 10), "d"),
        ("SpecificDays", 10, "PerWeek", (10, 7), "d"),
    ],
)
def test_a_list_price_scales_to_the_billing_period(
    period: str, length: int, base: str, factor: tuple[int, int], unit: str
) -> None:
    assert price_factor(*scaled(period, length, base)) == (*factor, unit)


@pytest.mark.parametrize(
    ("period", "length", "base", "code"),
    [
        ("Month", 0, "PerWeek", "list_price_base_does_not_fit"),
        ("Week", 0, "PerMonth", "list_price_base_does_not_fit"),
        ("SpecificDays", 10, "PerYear", "list_price_base_does_not_fit"),
        ("Month", 0, "PerSpecificMonths", "missing_price_base"),
    ],
)
def test_a_list_price_base_that_says_nothing_of_the_period_is_refused(
    period: str, length: int, base: str, code: str
) -> None:
    terms, grid = scaled(period, length, base)
    with pytest.raises(UnpriceableError) as caught:
        price_factor(terms._replace(price_base_months=0), grid)
    assert caught.value.code == code


def test_a_term_of_odd_length_counts_its_months_to_the_day() -> None:
    terms, _ = scaled("SubscriptionTerm", 0, "PerMonth")
    assert price_factor(terms, daily_cycle(day("2026-01-01"), 45), (42, 28)) == (42, 28, "")
    assert price_factor(terms._replace(list_price_base=ListPriceBase.PER_YEAR), DayCycle(0, 45), (42, 28)) == (
        42,
        336,
        "",
    )
    whole = terms._replace(list_price_base=ListPriceBase.PER_BILLING_PERIOD)
    assert price_factor(whole, DayCycle(0, 45), (42, 28)) == (45, 45, "d")


@pytest.mark.parametrize("model", [ChargeModel.OVERAGE, ChargeModel.TIERED_WITH_OVERAGE, ChargeModel.DISCOUNT_FIXED])
def test_a_model_of_usage_or_discounts_has_no_rate(model: ChargeModel) -> None:
    with pytest.raises(UnpriceableError) as caught:
        rate_of(model, segment("2026-01-01", quantity="1"))
    assert caught.value.code == "model_does_not_fit"


def scaled(period: str, length: int, base: str) -> tuple[ChargeTerms, Grid]:
    """Return terms with that billing period and base, and a grid of that period."""
    terms = MONTHLY_FLAT_FEE._replace(
        billing_period=BillingPeriod(period),
        period_length=length,
        list_price_base=ListPriceBase(base),
        price_base_months=5,
    )
    days = days_in(terms)
    return terms, DayCycle(0, days) if days else MonthCycle(0, 1, months_in(terms))
