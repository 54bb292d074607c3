"""The lines of any charge, under any rules, are those of a calculation that walks day by day in fractions."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.pricing import price
from billing.core.types import (
    Account,
    Alignment,
    Billed,
    BillingPeriod,
    Charge,
    ChargeModel,
    ChargeType,
    DaysInMonth,
    Line,
    LineKind,
    ListPriceBase,
    PartialMonths,
    Period,
    ProrationUnit,
    Rules,
    Term,
)
from tests.billing.core import BLUEFIN, charge, day, segment
from tests.billing.core.oracle import Owed, owed
from tests.billing.core.random_charges import random_account, random_charge, random_rules

SEEDS = st.integers(0, 2**40)


def short(line: Line) -> Owed:
    """Return what the oracle says of a line, from the line."""
    return Owed(line.kind, line.segment_number, *line.period, Fraction(line.amount), line.credits_item)


def lines_of(account: Account, priced: Charge, rules: Rules, target: date) -> list[Line]:
    pricing = price(account, [priced], rules=rules, target_date=target, max_lines_per_charge=9999)
    assert pricing.problems == []
    return pricing.lines


def check_working(account: Account, priced: Charge, lines: list[Line]) -> None:
    """Each line re-adds to its amount and shows the quantity that was priced, where the model has one."""
    quantities = {each.number: each.quantity for each in priced.segments}
    flat_fee = priced.terms.charge_model is ChargeModel.FLAT_FEE
    for line in lines:
        assert amount_of(line.derivation, account.currency) == line.amount
        assert line.quantity == (None if flat_fee else quantities[line.segment_number])
        assert (line.charge_id, line.charge_number) == (priced.charge_id, priced.number)


@pytest.mark.slow
@pytest.mark.parametrize("period", BillingPeriod)
@given(seed=SEEDS)
@settings(max_examples=3_400, deadline=None)
def test_price_bills_what_the_days_cost(period: BillingPeriod, seed: int) -> None:
    source = Random(seed)
    account, rules, priced = random_account(source), random_rules(source), random_charge(source, period=period)
    target = priced.segments[0].start + timedelta(days=source.randint(-5, 700))
    # What was billed before may end anywhere, also within a period and within the days of one price.
    if priced.terms.charge_type is ChargeType.RECURRING and source.random() < 0.3:
        priced = priced._replace(billed_through=priced.segments[0].start + timedelta(days=source.randrange(500)))
    lines = lines_of(account, priced, rules, target)
    assert [short(line) for line in lines] == owed(account, priced, rules, target)
    check_working(account, priced, lines)


@pytest.mark.parametrize("days_in_month", DaysInMonth)
@given(seed=SEEDS)
@settings(max_examples=2_000, deadline=None)
def test_the_same_price_in_two_segments_costs_what_it_costs_in_one(days_in_month: DaysInMonth, seed: int) -> None:
    """The parts of a period add up to it: rounding twice instead of once may move a unit, nothing else may."""
    source = Random(seed)
    account, priced = random_account(source), random_charge(source, one_time=False)
    rules = random_rules(source)._replace(days_in_month=days_in_month)
    whole = priced.segments[0]._replace(end=None)
    cut = whole.start + timedelta(days=source.randint(1, 500))
    split = whole._replace(end=cut), whole._replace(start=cut, number=2, segment_id=1002)
    target = whole.start + timedelta(days=source.randint(0, 700))
    once, twice = (
        sum((line.amount for line in lines_of(account, priced._replace(segments=segments), rules, target)), Decimal(0))
        for segments in ((whole,), split)
    )
    assert abs(once - twice) <= Decimal(1).scaleb(-account.currency.digits)


BY_DAY = {"proration_unit": ProrationUnit.DAY}
A360 = {"days_in_month": DaysInMonth.ASSUME_30}
STRICT = {"days_in_month": DaysInMonth.ASSUME_30_STRICT}
QUARTER = {
    "billing_period": BillingPeriod.QUARTER,
    "list_price_base": ListPriceBase.PER_MONTH,
    "alignment": Alignment.SUBSCRIPTION_START,
    "subscription_start": "2018-01-01",
}
YEAR = QUARTER | {"billing_period": BillingPeriod.ANNUAL}


@pytest.mark.parametrize(
    ("start", "terms", "rules", "target", "amounts"),
    [
        ("2018-01-16", QUARTER, {}, "2018-01-16", ["251.61"]),
        ("2018-01-16", QUARTER, A360, "2018-01-16", ["253.33"]),
        ("2018-01-16", QUARTER, STRICT, "2018-01-16", ["250.00"]),
        ("2018-01-16", QUARTER, BY_DAY, "2018-01-16", ["250.00"]),
        ("2018-01-16", QUARTER, BY_DAY | A360, "2018-01-16", ["250.00"]),
        ("2018-07-16", QUARTER, {}, "2018-07-16", ["251.61"]),
        ("2018-07-16", QUARTER, BY_DAY, "2018-07-16", ["251.09"]),
        ("2018-01-18", {}, {}, "2018-02-14", ["45.16", "100.00"]),
        ("2018-01-18", {}, A360, "2018-02-14", ["46.67", "100.00"]),
        ("2021-01-27", {}, STRICT, "2021-01-27", ["13.33"]),
        ("2021-02-27", {}, {}, "2021-02-27", ["7.14"]),
        ("2021-02-27", {}, A360, "2021-02-27", ["6.67"]),
        ("2021-02-27", {}, STRICT, "2021-02-27", ["13.33"]),
        ("2018-01-18", {}, {"partial_months": PartialMonths.SKIP}, "2018-02-14", ["0.00", "100.00"]),
        ("2018-01-18", {}, {"partial_months": PartialMonths.BILL_FULL}, "2018-02-14", ["100.00", "100.00"]),
        ("2018-01-18", QUARTER, {"prorate_partial_periods": False}, "2018-02-14", ["300.00"]),
    ],
)
def test_oracle_and_price_reproduce_the_published_numbers(
    start: str, terms: dict[str, Any], rules: dict[str, Any], target: str, amounts: list[str]
) -> None:
    """The worked numbers of domain.md 3.2, at 100 a month billed on the first."""
    priced = charge(start, **terms)
    expected = owed(BLUEFIN, priced, Rules(**rules), day(target))
    assert [line.amount for line in expected] == list(map(Fraction, amounts))
    assert [short(line) for line in lines_of(BLUEFIN, priced, Rules(**rules), day(target))] == expected


@pytest.mark.parametrize(("term_start", "first_end"), [("2018-04-10", "2018-05-06"), ("2018-04-06", "2018-04-06")])
def test_a_year_aligned_to_the_term_begins_on_the_first_billing_day_after_it(term_start: str, first_end: str) -> None:
    """The puzzle of domain.md 3.1: a charge that starts before the term it is aligned to."""
    priced = charge(
        "2018-03-06",
        billing_period=BillingPeriod.ANNUAL,
        alignment=Alignment.TERM_START,
        subscription_terms=(Term(day(term_start), day("2020-04-10")),),
    )
    account = BLUEFIN._replace(bill_cycle_day=6)
    expected = owed(account, priced, Rules(), day("2018-03-06"))
    assert [(line.start, line.end) for line in expected] == [(day("2018-03-06"), day(first_end))]
    assert [short(line) for line in lines_of(account, priced, Rules(), day("2018-03-06"))] == expected


def test_a_year_billed_past_the_end_of_its_term_is_credited_once_the_term_has_ended() -> None:
    """The worked example of domain.md 3.3: 100.00 for the whole year, then −58.08 for 212 of 365 days.

    term     |---- 153 days ----|
    billed   |==========================================|   100.00
    credit                      |-----------------------|   −58.08
    """
    rules = Rules(bill_past_term_end=True, proration_unit=ProrationUnit.DAY)
    account = BLUEFIN._replace(bill_cycle_day=23)
    priced = charge(
        "2018-03-23",
        segment("2018-03-23", price="100"),
        billing_period=BillingPeriod.ANNUAL,
        term_end=day("2018-08-23"),
    )
    (first,) = lines_of(account, priced, rules, day("2018-03-23"))
    assert [short(first)] == owed(account, priced, rules, day("2018-03-23"))
    assert (first.period, first.amount) == (Period(day("2018-03-23"), day("2019-03-23")), Decimal(100))
    billed = Billed(7, 1, first.period, first.period, first.amount, LineKind.RECURRING)
    priced = priced._replace(billed_through=first.period.end, billed=(billed,))
    (credit,) = lines_of(account, priced, rules, day("2018-09-01"))
    assert [short(credit)] == owed(account, priced, rules, day("2018-09-01"))
    assert (credit.period.start, credit.amount, credit.credits_item) == (day("2018-08-23"), Decimal("-58.08"), 7)


@pytest.mark.parametrize(
    ("billed", "end", "terms", "rules", "amount"),
    [
        (("2014-10-01", "2015-01-01", "300"), "2014-10-15", QUARTER, {}, "-254.84"),
        (("2014-10-01", "2015-01-01", "300"), "2014-10-15", QUARTER, BY_DAY, "-254.35"),
        (("2021-01-01", "2022-01-01", "1200"), "2021-07-01", YEAR, {}, "-600.00"),
        (("2021-01-01", "2022-01-01", "1200"), "2021-07-01", YEAR, BY_DAY, "-604.93"),
    ],
)
def test_cancelling_what_was_billed_credits_the_published_amounts(
    billed: tuple[str, str, str], end: str, terms: dict[str, Any], rules: dict[str, Any], amount: str
) -> None:
    start, through, paid = billed
    period = Period(day(start), day(through))
    priced = charge(start, segment(start, end), **terms)._replace(
        billed_through=period.end, billed=(Billed(7, 1, period, period, Decimal(paid), LineKind.RECURRING),)
    )
    (credit,) = lines_of(BLUEFIN, priced, Rules(**rules), day(through))
    assert (credit.period, credit.amount) == (Period(day(end), day(through)), Decimal(amount))
    assert [short(credit)] == owed(BLUEFIN, priced, Rules(**rules), day(through))
