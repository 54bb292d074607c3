"""A derivation is compact, holds no free text and re-adds to the amount of its line."""

import json
from decimal import Decimal
from typing import Any

import pytest

from billing.core.derivation import amount_of, number_text
from billing.core.pricing import price
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    Charge,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PartialMonths,
    ProrationUnit,
    Rules,
    Term,
)
from tests.billing.core import BLUEFIN, JPY, USD, charge, day, segment, tiers

QUARTERLY: dict[str, Any] = {"billing_period": BillingPeriod.QUARTER, "list_price_base": ListPriceBase.PER_MONTH}
TERM_OF_45_DAYS: dict[str, Any] = {
    "billing_period": BillingPeriod.SUBSCRIPTION_TERM,
    "subscription_terms": (Term(day("2026-01-01"), day("2026-02-15")),),
    "term_end": day("2026-02-15"),
}


@pytest.mark.parametrize(
    ("priced", "rules", "expected"),
    [
        (
            charge("2026-01-01", segment("2026-01-01", price="100.500000000")),
            Rules(),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100.5","f":[1,1],"r":2}'],
        ),
        (
            charge("2026-01-01", segment("2026-01-01", price="9", number=7), charge_type=ChargeType.ONE_TIME),
            Rules(),
            ['{"v":1,"s":7,"m":"FlatFee","p":"9","r":2}'],
        ),
        (
            charge(
                "2026-01-16", segment("2026-01-16", quantity="4"), charge_model=ChargeModel.PER_UNIT, **QUARTERLY
            )._replace(billed_through=day("2026-02-13")),
            Rules(),
            ['{"v":1,"s":1,"m":"PerUnit","p":"100","q":"4","f":[3,1],"part":[2,16,28],"r":2}'],
        ),
        (
            charge(
                "2026-01-01",
                segment("2026-01-01", quantity="25", tiers=tiers("9: 0, 20: 1, rest: flat 2")),
                charge_model=ChargeModel.TIERED,
            ),
            Rules(),
            [
                '{"v":1,"s":1,"m":"Tiered","q":"25","t":[["9","0"],["11","1"],["5","2","FlatFee"]],"f":[1,1],"r":2}',
            ],
        ),
        (
            charge(
                "2026-01-01",
                segment("2026-01-01", quantity="60", tiers=tiers("50: 120, 100: 100")),
                charge_model=ChargeModel.VOLUME,
            ),
            Rules(),
            ['{"v":1,"s":1,"m":"Volume","q":"60","n":2,"t":[["60","100"]],"f":[1,1],"r":2}'],
        ),
        (
            charge(
                "2026-01-01",
                segment("2026-01-01", quantity="5", tiers=tiers("50: 120, 100: 100")),
                charge_model=ChargeModel.VOLUME,
            ),
            Rules(),
            ['{"v":1,"s":1,"m":"Volume","q":"5","t":[["5","120"]],"f":[1,1],"r":2}'],
        ),
        (
            charge("2026-01-11", segment("2026-01-11", "2026-01-18"), segment("2026-01-18", "2026-02-01", number=2)),
            Rules(prorate_partial_periods=False),
            [
                '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0,7,31],"of":[0,21,31],"r":2}',
                '{"v":1,"s":2,"m":"FlatFee","p":"100","f":[1,1],"part":[0,14,31],"of":[0,21,31],"r":2}',
            ],
        ),
        (
            charge("2026-01-16", subscription_start="2026-01-01", alignment=Alignment.SUBSCRIPTION_START, **QUARTERLY),
            Rules(proration_unit=ProrationUnit.DAY),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[3,1],"day":[75,90],"r":2}'],
        ),
        (
            charge("2026-01-10"),
            Rules(partial_months=PartialMonths.SKIP),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0],"r":2}'],
        ),
        (
            charge(
                "2026-01-14",
                billing_period=BillingPeriod.SPECIFIC_WEEKS,
                period_length=2,
                list_price_base=ListPriceBase.PER_WEEK,
                billing_day_type=BillingDayType.SPECIFIC_DAY_OF_WEEK,
                billing_day=1,
                alignment=Alignment.SUBSCRIPTION_START,
                subscription_start="2026-01-12",
            ),
            Rules(),
            [
                '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[2,1],"u":"w","day":[12,14],"r":2}',
                '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[2,1],"u":"w","r":2}',
            ],
        ),
        (
            charge("2026-01-01", list_price_base=ListPriceBase.PER_MONTH, **TERM_OF_45_DAYS),
            Rules(),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[42,28],"term":[1,14,28],"r":2}'],
        ),
        (
            charge("2026-01-10", list_price_base=ListPriceBase.PER_YEAR, **TERM_OF_45_DAYS),
            Rules(),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[42,336],"term":[1,14,28],"day":[36,45],"r":2}'],
        ),
        (
            charge("2026-01-01", **TERM_OF_45_DAYS),
            Rules(),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[45,45],"u":"d","r":2}'],
        ),
        (
            charge("2026-01-02", billing_period=BillingPeriod.SPECIFIC_DAYS, period_length=40),
            Rules(),
            ['{"v":1,"s":1,"m":"FlatFee","p":"100","f":[40,40],"u":"d","r":2}'],
        ),
    ],
)
def test_derivations_say_how_the_amount_came_about(priced: Charge, rules: Rules, expected: list[str]) -> None:
    lines = price(BLUEFIN, [priced], rules=rules, target_date=day("2026-02-13")).lines[: len(expected)]
    assert [line.derivation for line in lines] == expected
    for line in lines:
        assert amount_of(line.derivation, USD) == line.amount
        assert json.dumps(json.loads(line.derivation), separators=(",", ":")) == line.derivation
        assert len(line.derivation.encode()) <= 160


def test_free_text_stays_out_of_derivations() -> None:
    quoted = charge("2026-01-01", name='Support "gold" \\ 金', number='C-"1"')
    (line,) = price(BLUEFIN, [quoted], rules=Rules(), target_date=day("2026-01-01")).lines
    assert "gold" in line.description
    assert json.loads(line.derivation) == {"v": 1, "s": 1, "m": "FlatFee", "p": "100", "f": [1, 1], "r": 2}


@pytest.mark.parametrize(
    ("derivation", "amount"),
    [
        ('{"v":1,"s":1,"m":"FlatFee","p":"100","f":[3,1],"part":[2,16,31],"r":2}', "251.61"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"1200","f":[12,12],"part":[6],"r":2}', "600.00"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"25","f":[1,1],"part":[0,19,29],"r":2}', "16.38"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"12000","f":[3,12],"r":2}', "3000.00"),
        ('{"v":1,"s":1,"m":"Volume","q":"5","t":[["5","120"]],"r":2}', "600.00"),
        ('{"v":1,"s":1,"m":"PerUnit","p":"-0.5","q":"0.01","r":2}', "-0.01"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"300","f":[3,3],"day":[77,92],"r":2}', "251.09"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"100","f":[10,7],"u":"d","day":[3,10],"r":2}', "42.86"),
        ('{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0],"r":2}', "0.00"),
        ('{"v":1,"s":1,"credit":{"item":7,"billed":"70.97"},"r":2}', "-70.97"),
        (
            (
                '{"v":1,"s":1,"credit":{"item":7,"billed":"300","kept":['
                '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0,14,31],"r":2},'
                '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0,10,31],"r":2}]},"r":2}'
            ),
            "-222.58",
        ),
    ],
)
def test_an_amount_is_computed_from_the_derivation_alone(derivation: str, amount: str) -> None:
    assert str(amount_of(derivation, USD)) == amount
    assert str(amount_of(json.loads(derivation), USD)) == amount


@pytest.mark.parametrize(
    "derivation",
    [
        '{"v":2,"s":1,"m":"FlatFee","p":"100","r":2}',
        '{"v":1,"s":1,"m":"FlatFee","p":"100","r":0}',
        '{"v":1,"s":1,"m":"Unheard","p":"100","r":2}',
        '{"v":1,"s":1,"m":"FlatFee","p":"100","f":[1,1],"part":[0,5],"r":2}',
        '{"v":1,"s":1,"m":"Tiered","q":"6","t":[["5","120"]],"r":2}',
        '{"v":1,"s":1,"credit":{"item":7,"billed":"300","kept":[{"v":1,"s":1,"m":"FlatFee","p":"1","r":0}]},"r":2}',
    ],
)
def test_a_derivation_that_cannot_be_true_is_refused(derivation: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        amount_of(derivation, USD)


def test_another_currency_is_refused() -> None:
    with pytest.raises(ValueError, match="JPY"):
        amount_of('{"v":1,"s":1,"m":"FlatFee","p":"100","r":2}', JPY)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("100", "100"),
        ("1E+2", "100"),
        ("100.500000000", "100.5"),
        ("0E-9", "0"),
        ("1E-9", "0.000000001"),
        ("-2.50", "-2.5"),
    ],
)
def test_numbers_are_written_short_and_plain(value: str, text: str) -> None:
    assert number_text(Decimal(value)) == text
