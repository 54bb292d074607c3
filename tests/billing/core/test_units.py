"""Quantities round as their unit says, amounts as their currency says; both refuse what is no number (domain.md 2.5)."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.money import AMOUNT_LIMIT, MoneyError, round_amount, round_quotient
from billing.core.types import Currency
from billing.core.units import (
    CurrencyRounding,
    QuantityError,
    RoundingMode,
    UnitOfMeasure,
    round_quantity,
    round_to_increment,
)
from tests.billing.core import BHD, JPY, USD

CHF = Currency("CHF", 2)
HALF_UP, UP, DOWN = RoundingMode.HALF_UP, RoundingMode.UP, RoundingMode.DOWN
NUMBERS = st.decimals(min_value=-(10**9), max_value=10**9, places=12)


@pytest.mark.parametrize(
    ("quantity", "name", "decimals", "mode", "rounded"),
    [
        ("4.6", "seat", 0, DOWN, "4"),
        ("12.31245", "GB", 2, DOWN, "12.31"),
        ("4.6", "seat", 0, UP, "5"),
        ("4.000000001", "seat", 0, UP, "5"),
        ("4", "seat", 0, UP, "4"),
        ("12.31245", "GB", 2, UP, "12.32"),
        ("12.3", "GB", 2, UP, "12.30"),
        ("0.0000000001", "token", 9, UP, "0.000000001"),
        ("0.0000000019", "token", 9, DOWN, "0.000000001"),
        ("1E+3", "call", 0, DOWN, "1000"),
        ("-4.6", "seat", 0, UP, "-5"),
        ("-0.4", "seat", 0, DOWN, "0"),
        ("9999999999999.999999999", "call", 9, UP, "9999999999999.999999999"),
    ],
)
def test_quantities_round_as_their_unit_says(
    quantity: str, name: str, decimals: int, mode: RoundingMode, rounded: str
) -> None:
    assert f"{round_quantity(Decimal(quantity), UnitOfMeasure(name, decimals, mode)):f}" == rounded


def test_a_unit_rounds_up_unless_it_says_otherwise() -> None:
    assert round_quantity(Decimal("4.1"), UnitOfMeasure("seat", 0)) == 5


@pytest.mark.parametrize(
    ("quantity", "unit", "words"),
    [
        ("NaN", UnitOfMeasure("GB", 2), "NaN GB is not a quantity"),
        ("Infinity", UnitOfMeasure("GB", 2), "Infinity GB is not a quantity"),
        ("sNaN", UnitOfMeasure("GB", 2), "is not a quantity"),
        ("1E+90", UnitOfMeasure("GB", 2), "is not a quantity"),
        ("1", UnitOfMeasure("GB", -1), "has -1"),
        ("1", UnitOfMeasure("GB", 10), "has 10"),
        ("1", UnitOfMeasure("GB", 2, HALF_UP), "GB says HalfUp"),
    ],
)
def test_what_is_no_quantity_is_refused(quantity: str, unit: UnitOfMeasure, words: str) -> None:
    with pytest.raises(QuantityError, match=words):
        round_quantity(Decimal(quantity), unit)


@given(NUMBERS, st.integers(0, 9), st.sampled_from([UP, DOWN]))
@settings(max_examples=1000)
def test_quantities_round_like_fractions(quantity: Decimal, decimals: int, mode: RoundingMode) -> None:
    scaled = abs(Fraction(quantity)) * 10**decimals
    expected = Fraction(ceil(scaled) if mode is UP else floor(scaled), 10**decimals)
    with localcontext(prec=3):
        rounded = round_quantity(quantity, UnitOfMeasure("GB", decimals, mode))
    assert abs(Fraction(rounded)) == expected
    assert rounded * quantity >= 0
    assert rounded.as_tuple().exponent == -decimals


@pytest.mark.parametrize(
    ("amount", "currency", "mode", "increment", "rounded"),
    [
        ("12.37", CHF, HALF_UP, "0.05", "12.35"),
        ("12.374999999", CHF, HALF_UP, "0.05", "12.35"),
        ("12.375", CHF, HALF_UP, "0.05", "12.40"),
        ("-12.375", CHF, HALF_UP, "0.05", "-12.40"),
        ("12.36", CHF, UP, "0.05", "12.40"),
        ("12.35", CHF, UP, "0.05", "12.35"),
        ("-12.36", CHF, UP, "0.05", "-12.40"),
        ("12.39", CHF, DOWN, "0.05", "12.35"),
        ("-12.39", CHF, DOWN, "0.05", "-12.35"),
        ("-0.02", CHF, HALF_UP, "0.05", "0.00"),
        ("59.995", USD, HALF_UP, None, "60.00"),
        ("59.991", USD, UP, None, "60.00"),
        ("59.999", USD, DOWN, None, "59.99"),
        ("149", JPY, HALF_UP, "100", "100"),
        ("150", JPY, HALF_UP, "100", "200"),
        ("2.5", JPY, HALF_UP, None, "3"),
        ("1.0004", BHD, UP, "0.005", "1.005"),
    ],
)
def test_amounts_round_as_their_currency_says(
    amount: str, currency: Currency, mode: RoundingMode, increment: str | None, rounded: str
) -> None:
    rule = CurrencyRounding(mode, Decimal(increment) if increment else None)
    assert str(round_to_increment(Decimal(amount), currency, rule)) == rounded


def test_a_quotient_is_not_rounded_twice() -> None:
    # 100 / 3 = 33.333…; up in steps of five centimes it is 33.35 and not what 33.34 or 33.33 would give first.
    assert round_to_increment(Decimal(100), CHF, CurrencyRounding(UP, Decimal("0.05")), divisor=3) == Decimal("33.35")
    # 0.0749…9 with forty nines: twenty-eight digits would already show 0.075.
    rule = CurrencyRounding(HALF_UP, Decimal("0.05"))
    assert round_to_increment(Decimal("0.224" + "9" * 40), CHF, rule, divisor=3) == Decimal("0.05")


@pytest.mark.parametrize("increment", ["0", "-0.05", "0.001", "0.075", "NaN", "Infinity"])
def test_an_increment_the_currency_cannot_show_is_refused(increment: str) -> None:
    with pytest.raises(MoneyError, match="is not an increment of CHF"):
        round_to_increment(Decimal("12.37"), CHF, CurrencyRounding(HALF_UP, Decimal(increment)))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1000000000000.01", "-1000000000000.01", "1E+99"])
def test_what_is_not_money_is_refused(amount: str) -> None:
    with pytest.raises(MoneyError):
        round_to_increment(Decimal(amount), USD, CurrencyRounding())


def test_the_limit_itself_is_an_amount() -> None:
    assert round_to_increment(-AMOUNT_LIMIT, USD, CurrencyRounding(UP)) == -AMOUNT_LIMIT


@given(NUMBERS, st.integers(1, 400), st.sampled_from([USD, JPY, BHD]))
def test_the_usual_rule_is_that_of_all_other_amounts(dividend: Decimal, divisor: int, currency: Currency) -> None:
    assert str(round_to_increment(dividend, currency, CurrencyRounding())) == str(round_amount(dividend, currency))
    quotient = round_to_increment(dividend, currency, CurrencyRounding(), divisor=divisor)
    assert str(quotient) == str(round_quotient(dividend, divisor, currency))


@given(NUMBERS, st.integers(1, 400), st.integers(1, 500), st.sampled_from(RoundingMode))
@settings(max_examples=1000)
def test_amounts_round_like_fractions(dividend: Decimal, divisor: int, coins: int, mode: RoundingMode) -> None:
    increment = Fraction(coins, 100)
    steps = abs(Fraction(dividend)) / divisor / increment
    expected = {UP: ceil(steps), DOWN: floor(steps), HALF_UP: floor(steps + Fraction(1, 2))}[mode] * increment
    rule = CurrencyRounding(mode, Decimal(coins).scaleb(-2))
    with localcontext(prec=3):
        rounded = round_to_increment(dividend, USD, rule, divisor=divisor)
    assert Fraction(rounded) == expected * (-1 if dividend < 0 else 1)
