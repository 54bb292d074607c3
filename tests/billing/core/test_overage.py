"""Overage costs what lies above the included units, alone or on top of tiers, and every working re-adds (domain.md 2.3)."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.money import round_amount
from billing.core.overage import OverageError, OverageRate, overage, tiered_with_overage
from billing.core.smoothing import exact_amount_of
from billing.core.types import PriceFormat, Tier
from tests.billing.core import USD, tiers

UNITS = st.decimals(0, 2000, places=3)
PRICES = st.decimals(0, 50, places=9)


def derivation_of(rate: OverageRate) -> str:
    """Return the derivation of a line that is charged the rate."""
    return f'{{"v":1,"s":1,{rate.working},"r":2}}'


@pytest.mark.parametrize(
    ("quantity", "included", "price", "amount", "units"),
    [
        ("620", "500", "0.50", "60.00", "120"),
        ("480", "500", "0.50", "0", "0"),
        ("500", "500", "0.50", "0", "0"),
        ("500.001", "500", "0.50", "0.0005", "0.001"),
        ("0", "500", "0.50", "0", "0"),
        ("7", "0", "0.50", "3.50", "7"),
        ("0", "0", "0.50", "0", "0"),
    ],
)
def test_units_above_the_included_ones_are_charged(
    quantity: str, included: str, price: str, amount: str, units: str
) -> None:
    rate = overage(Decimal(quantity), Decimal(included), Decimal(price))
    assert (rate.amount, rate.overage_units, rate.quantity) == (Decimal(amount), Decimal(units), Decimal(quantity))


#   0        100        200        250
#   |--- 1 ---|-- 0.80 --|-- 0.50 --|
TALK = "100: 1.00, 200: 0.80"


@pytest.mark.parametrize(
    ("quantity", "tier_text", "price", "amount", "units"),
    [
        ("130", "100: 0, 200: 2", "9", "60", "0"),
        ("250", TALK, "0.50", "205.00", "50"),
        ("150", TALK, "0.50", "140.00", "0"),
        ("200", TALK, "0.50", "180.00", "0"),
        ("200.5", TALK, "0.50", "180.25", "0.5"),
        ("0", TALK, "0.50", "0", "0"),
        ("12", "10: flat 7", "3", "13", "2"),
    ],
)
def test_units_above_the_last_tier_are_charged(
    quantity: str, tier_text: str, price: str, amount: str, units: str
) -> None:
    rate = tiered_with_overage(Decimal(quantity), tiers(tier_text), Decimal(price))
    assert (rate.amount, rate.overage_units, rate.quantity) == (Decimal(amount), Decimal(units), Decimal(quantity))


def test_workings_say_how_the_amount_came_about() -> None:
    assert overage(Decimal(620), Decimal(500), Decimal("0.500")).working == (
        '"m":"Overage","q":"620","inc":"500","p":"0.5","t":[["500","0"],["120","0.5"]],"k":["Included","Overage"]'
    )
    assert overage(Decimal(480), Decimal(500), Decimal("0.5")).working == (
        '"m":"Overage","q":"480","inc":"500","p":"0.5","t":[["480","0"]],"k":["Included"]'
    )
    assert tiered_with_overage(Decimal(250), tiers("100: flat 90, 200: 0.8"), Decimal("0.5")).working == (
        '"m":"TieredWithOverage","q":"250","end":"200","t":[["100","90","FlatFee"],["100","0.8"],["50","0.5"]]'
    )


@pytest.mark.parametrize(
    ("quantity", "included", "price", "code"),
    [
        ("-1", "500", "1", "negative_quantity"),
        ("NaN", "500", "1", "missing_quantity"),
        ("1", "-500", "1", "negative_included_units"),
        ("1", "Infinity", "1", "missing_included_units"),
        ("1", "500", "NaN", "missing_price"),
    ],
)
def test_incomplete_usage_is_named(quantity: str, included: str, price: str, code: str) -> None:
    with pytest.raises(OverageError) as caught:
        overage(Decimal(quantity), Decimal(included), Decimal(price))
    assert caught.value.code == code and caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("quantity", "found", "price", "code"),
    [
        ("1", (), "1", "missing_tiers"),
        ("1", tiers("100: 1, rest: 2"), "1", "last_tier_without_end"),
        ("1", tiers("100: 1, 50: 2"), "1", "tiers_out_of_order"),
        ("1", tiers("rest: 1, 50: 2"), "1", "tiers_out_of_order"),
        ("1", tiers("100: NaN"), "1", "missing_price"),
        ("1", tiers("NaN: 1"), "1", "missing_price"),
        ("1", tiers("100: 1, 200: NaN, 300: 1"), "1", "missing_price"),
        ("1", tiers("100: 1"), "Infinity", "missing_price"),
        ("-1", tiers("100: 1"), "1", "negative_quantity"),
    ],
)
def test_incomplete_tiers_are_named(quantity: str, found: tuple[Tier, ...], price: str, code: str) -> None:
    with pytest.raises(OverageError) as caught:
        tiered_with_overage(Decimal(quantity), found, Decimal(price))
    assert caught.value.code == code


@given(UNITS, UNITS, PRICES)
@settings(max_examples=1000)
def test_overage_equals_its_formula_and_re_adds(quantity: Decimal, included: Decimal, price: Decimal) -> None:
    expected = max(Fraction(0), Fraction(quantity) - Fraction(included)) * Fraction(price)
    with localcontext(prec=3):
        rate = overage(quantity, included, price)
    assert Fraction(rate.amount) == expected == exact_amount_of(derivation_of(rate))
    assert amount_of(derivation_of(rate), USD) == round_amount(rate.amount, USD)


@st.composite
def bounded_tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(st.decimals(1, 60, places=1), min_size=1, max_size=4)))
    return tuple(Tier(end, draw(PRICES), draw(st.sampled_from(PriceFormat))) for end in ends)


def tenth_by_tenth(quantity: Decimal, found: tuple[Tier, ...], price: Decimal) -> Fraction:
    """Return the price found by looking up each tenth of a unit by itself; a flat fee counts once it is entered."""
    total, entered = Fraction(0), set()
    for tenth in range(1, int(quantity * 10) + 1):
        reached = [number for number, tier in enumerate(found) if tier.up_to is not None and tenth <= tier.up_to * 10]
        if not reached:
            total += Fraction(price) / 10
        elif found[reached[0]].price_format is PriceFormat.PER_UNIT:
            total += Fraction(found[reached[0]].price) / 10
        elif reached[0] not in entered:
            entered.add(reached[0])
            total += Fraction(found[reached[0]].price)
    return total


@given(st.decimals(0, 80, places=1), bounded_tiers(), PRICES)
@settings(max_examples=300)
def test_tiered_with_overage_equals_a_look_up_of_each_tenth_and_re_adds(
    quantity: Decimal, found: tuple[Tier, ...], price: Decimal
) -> None:
    rate = tiered_with_overage(quantity, found, price)
    assert Fraction(rate.amount) == tenth_by_tenth(quantity, found, price)
    assert amount_of(derivation_of(rate), USD) == round_amount(rate.amount, USD)


@given(UNITS, st.decimals(1, 1000, places=3), PRICES)
def test_overage_is_a_free_tier_with_overage(quantity: Decimal, included: Decimal, price: Decimal) -> None:
    free = (Tier(included, Decimal(0), PriceFormat.PER_UNIT),)
    alone, tiered = overage(quantity, included, price), tiered_with_overage(quantity, free, price)
    assert (alone.amount, alone.overage_units) == (tiered.amount, tiered.overage_units)
