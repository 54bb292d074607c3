"""Rounding happens once and half-up, splits add up, and what people type is read or refused in words."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.money import (
    AMOUNT_LIMIT,
    MoneyError,
    allocate,
    no_more_than,
    parse_amount,
    parse_price,
    round_amount,
    round_quotient,
    scale_price,
)
from billing.core.types import Currency
from tests.billing.core import BHD, JPY, USD

CURRENCIES = st.sampled_from([USD, JPY, BHD])
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=9)


def half_up(value: Fraction, digits: int) -> Fraction:
    """Round as taught at school: add half a unit to the size of the number and cut."""
    units = (abs(value) * 10**digits + Fraction(1, 2)).__floor__()
    return Fraction(units, 10**digits) * (-1 if value < 0 else 1)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("2.345", USD, "2.35"),
        ("2.344999999999999999999999999999999999999999", USD, "2.34"),
        ("-2.345", USD, "-2.35"),
        ("2.5", JPY, "3"),
        ("2.49", JPY, "2"),
        ("1.0005", BHD, "1.001"),
        ("7", USD, "7.00"),
        ("-0.004", USD, "0.00"),
        ("0E-9", USD, "0.00"),
    ],
)
def test_amounts_round_half_up_to_the_digits_of_the_currency(amount: str, currency: Currency, rounded: str) -> None:
    assert str(round_amount(Decimal(amount), currency)) == rounded


NO_NUMBER = "is not a number that fits an invoice"
TOO_FAR = "beyond the limit of 1,000,000,000,000 USD"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("NaN", NO_NUMBER),
        ("Infinity", NO_NUMBER),
        ("-Infinity", NO_NUMBER),
        ("1E+99", NO_NUMBER),
        ("1000000000000.01", TOO_FAR),
        ("-1000000000000.01", TOO_FAR),
    ],
)
def test_what_is_not_money_is_refused(amount: str, words: str) -> None:
    with pytest.raises(MoneyError, match=words):
        round_amount(Decimal(amount), USD)
    with pytest.raises(MoneyError, match=words):
        round_quotient(Decimal(amount), 1, USD)


@pytest.mark.parametrize("amount", [AMOUNT_LIMIT, -AMOUNT_LIMIT])
def test_the_limit_itself_is_an_amount(amount: Decimal) -> None:
    assert round_amount(amount, USD) == amount
    assert round_quotient(amount, 1, USD) == amount
    assert scale_price(amount, 3, 3) == amount


def test_a_quotient_just_below_the_half_is_not_rounded_twice() -> None:
    # 0.00499…9 with forty nines: twenty-eight digits would already show 0.005.
    assert round_quotient(Decimal("0.014" + "9" * 40), 3, USD) == Decimal("0.00")
    assert round_quotient(Decimal("0.015"), 3, USD) == Decimal("0.01")


@given(AMOUNTS, st.integers(1, 400), CURRENCIES)
def test_quotients_round_like_fractions(dividend: Decimal, divisor: int, currency: Currency) -> None:
    expected = half_up(Fraction(dividend) / divisor, currency.digits)
    assert Fraction(round_quotient(dividend, divisor, currency)) == expected


@given(AMOUNTS, st.integers(1, 400), CURRENCIES)
def test_rounding_does_not_depend_on_the_precision_others_have_set(
    dividend: Decimal, divisor: int, currency: Currency
) -> None:
    expected = round_quotient(dividend, divisor, currency), round_amount(dividend, currency)
    with localcontext(prec=3):
        assert (round_quotient(dividend, divisor, currency), round_amount(dividend, currency)) == expected


@pytest.mark.parametrize(
    ("price", "multiplier", "divisor", "scaled"),
    [("12000", 3, 12, "3000"), ("100", 3, 1, "300"), ("100", 1, 12, "8.333333333"), ("0.000000001", 1, 2, "5E-10")],
)
def test_prices_scale_to_the_billing_period(price: str, multiplier: int, divisor: int, scaled: str) -> None:
    assert scale_price(Decimal(price), multiplier, divisor) == Decimal(scaled)


@pytest.mark.parametrize("price", [AMOUNT_LIMIT, -AMOUNT_LIMIT])
def test_a_price_that_outgrows_the_limit_is_refused(price: Decimal) -> None:
    with pytest.raises(MoneyError):
        scale_price(price, 12, 1)


@pytest.mark.parametrize(
    ("total", "weights", "currency", "parts"),
    [
        ("100.00", [1, 1, 1], USD, ["33.34", "33.33", "33.33"]),
        ("0.02", [1, 1, 1], USD, ["0.01", "0.01", "0.00"]),
        ("-100.00", [1, 1, 1], USD, ["-33.34", "-33.33", "-33.33"]),
        ("10.00", [1, 0, 2], USD, ["3.33", "0.00", "6.67"]),
        ("1000", ["0.5", "0.25", "0.25"], JPY, ["500", "250", "250"]),
        ("50000.00", [36900, 21500, 11000, 800], USD, ["26282.05", "15313.39", "7834.76", "569.80"]),
    ],
)
def test_a_total_is_split_by_largest_remainder(
    total: str, weights: list[str | int], currency: Currency, parts: list[str]
) -> None:
    found = allocate(Decimal(total), [Decimal(weight) for weight in weights], currency)
    assert [str(part) for part in found] == parts


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.decimals(0, 10**6, places=9), min_size=1, max_size=8).filter(any),
    CURRENCIES,
)
def test_parts_add_up_and_lie_within_a_unit_of_their_share(
    units: int, weights: list[Decimal], currency: Currency
) -> None:
    total = Decimal(units).scaleb(-currency.digits)
    parts = allocate(total, weights, currency)
    assert sum(map(Fraction, parts)) == Fraction(total)
    whole = sum(map(Fraction, weights))
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(total) * Fraction(weight) / whole) < Fraction(1, 10**currency.digits)
        assert part.as_tuple().exponent == -currency.digits


@pytest.mark.parametrize(
    ("total", "weights"), [("1.005", [1]), ("1.00", []), ("1.00", [0, 0]), ("1.00", [2, -1]), ("NaN", [1])]
)
def test_a_split_that_cannot_add_up_is_refused(total: str, weights: list[int]) -> None:
    with pytest.raises(MoneyError):
        allocate(Decimal(total), weights, USD)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1234.5", "1234.50"),
        (" -3 ", "-3.00"),
        ("+0.10", "0.10"),
        ("7.000", "7.00"),
        ("-0", "0.00"),
        ("1000000000000", "1000000000000.00"),
        ("-1000000000000", "-1000000000000.00"),
    ],
)
def test_amounts_are_read_as_people_type_them(text: str, amount: str) -> None:
    assert str(parse_amount(text, USD)) == amount


def test_yen_are_read_without_a_point() -> None:
    assert str(parse_amount("1234", JPY)) == "1234"
    with pytest.raises(MoneyError, match="JPY amounts have at most 0 decimal places"):
        parse_amount("1234.5", JPY)


def test_prices_keep_every_digit_they_were_written_with() -> None:
    assert parse_price("0.000000001") == Decimal("0.000000001")
    assert str(parse_price("12.340")) == "12.340"


@pytest.mark.parametrize("text", ["", "1,234", "1e5", "NaN", "Infinity", "٣", "12.", ".5", "1.005", "9999999999999"])
def test_text_that_is_no_amount_is_refused_in_words(text: str) -> None:
    with pytest.raises(MoneyError, match="“"):
        parse_amount(text, USD)


@given(st.decimals(-(10**12), 10**12, places=2))
@settings(max_examples=50)
def test_amounts_survive_being_written_and_read(amount: Decimal) -> None:
    assert parse_amount(f"{amount:f}", USD) == amount


@pytest.mark.parametrize(
    ("limit", "amount", "expected"),
    [
        ("10", "7", "7"),
        ("10", "12", "10"),
        ("10", "-1", "0"),
        ("-10", "-7", "-7"),
        ("-10", "-12", "-10"),
        ("-10", "1", "0"),
        ("-0.50", "-0.20", "-0.20"),
        ("0.50", "0.20", "0.20"),
        ("0", "3", "0"),
        ("0", "-3", "0"),
    ],
)
def test_an_amount_is_held_between_nothing_and_a_limit(limit: str, amount: str, expected: str) -> None:
    assert str(no_more_than(Decimal(limit), Decimal(amount))) == expected
