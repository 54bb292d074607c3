"""Each charge model prices a quantity as its formula says, and says what it lacks when it cannot."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.core.charge_models import UnpriceableError, base_months, rate_of
from billing.core.types import ChargeModel, ListPriceBase
from tests.billing.core import segment, tiers

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
    [(ListPriceBase.PER_BILLING_PERIOD, 3), (ListPriceBase.PER_MONTH, 1), (ListPriceBase.PER_YEAR, 12)],
)
def test_a_list_price_is_for_so_many_months(base: ListPriceBase, months: int) -> None:
    assert base_months(base, 3) == months
