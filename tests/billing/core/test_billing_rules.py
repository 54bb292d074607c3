"""The billing rules, one by one: what each choice makes of the same charge (domain.md 3.2, 3.3)."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    DaysInMonth,
    ListPriceBase,
    PartialMonths,
    ProrationUnit,
    RecurringStyle,
    Rules,
    Term,
)
from tests.billing.core import charge, day, segment
from tests.billing.core.test_pricing import bill, lines_of

ACTUAL, A360, STRICT = DaysInMonth.ACTUAL, DaysInMonth.ASSUME_30, DaysInMonth.ASSUME_30_STRICT
MONTH_FIRST, BY_DAY = ProrationUnit.MONTH_FIRST, ProrationUnit.DAY
QUARTERLY: dict[str, Any] = {
    "billing_period": BillingPeriod.QUARTER,
    "list_price_base": ListPriceBase.PER_MONTH,
    "alignment": Alignment.SUBSCRIPTION_START,
}
ON_TRIGGER_DAY: dict[str, Any] = {"billing_day_type": BillingDayType.CHARGE_TRIGGER_DAY}


def total(*charges: Charge, target: str, **changes: Any) -> str:
    return str(sum(line.amount for line in lines_of(*charges, target=target, **changes)))


# ---- days in month, proration unit


@pytest.mark.parametrize(
    ("rule", "amounts"),
    [
        # 01-01         01-15                  02-15
        #   |===14 days===|======= full =========|
        (ACTUAL, "145.16"),
        (A360, "146.67"),
        (STRICT, "146.67"),
    ],
)
def test_a_month_that_begins_before_its_billing_day(rule: DaysInMonth, amounts: str) -> None:
    monthly = charge("2018-01-01")
    rules = Rules(days_in_month=rule)
    assert total(monthly, target="2018-02-14", bill_cycle_day=15, rules=rules) == amounts


@pytest.mark.parametrize(
    ("start", "grid", "rule", "unit", "amount"),
    [
        # 01-01 01-16      02-01      03-01      04-01
        #   |.....|==========|==========|==========|     16 days (15 strict) + 2 months; 75 of 90 days
        ("2018-01-16", "2018-01-01", ACTUAL, MONTH_FIRST, "251.61"),
        ("2018-01-16", "2018-01-01", A360, MONTH_FIRST, "253.33"),
        ("2018-01-16", "2018-01-01", STRICT, MONTH_FIRST, "250.00"),
        ("2018-01-16", "2018-01-01", ACTUAL, BY_DAY, "250.00"),
        ("2018-01-16", "2018-01-01", A360, BY_DAY, "250.00"),
        ("2018-01-16", "2018-01-01", STRICT, BY_DAY, "250.00"),
        # 07-01 07-16                10-01               16 of 31 days + 2 months; 77 of 92 days
        ("2018-07-16", "2018-07-01", ACTUAL, MONTH_FIRST, "251.61"),
        ("2018-07-16", "2018-07-01", ACTUAL, BY_DAY, "251.09"),
        # 05-01 05-20                08-01               12 of 31 days + 2 months; 73 of 92 days
        ("2024-05-20", "2024-02-01", ACTUAL, MONTH_FIRST, "238.71"),
        ("2024-05-20", "2024-02-01", ACTUAL, BY_DAY, "238.04"),
        # 10-01 10-15                01-01               17 of 31 (of 30) days + 2 months; 78 of 92 days
        ("2014-10-15", "2014-10-01", ACTUAL, MONTH_FIRST, "254.84"),
        ("2014-10-15", "2014-10-01", A360, MONTH_FIRST, "256.67"),
        ("2014-10-15", "2014-10-01", ACTUAL, BY_DAY, "254.35"),
    ],
)
def test_a_quarter_that_begins_in_the_middle(
    start: str, grid: str, rule: DaysInMonth, unit: ProrationUnit, amount: str
) -> None:
    quarterly = charge(start, subscription_start=grid, **QUARTERLY)
    rules = Rules(days_in_month=rule, proration_unit=unit)
    assert total(quarterly, target=start, rules=rules) == amount


@pytest.mark.parametrize(
    ("start", "end", "actual", "a360", "strict"),
    [
        ("2021-01-27", "2021-02-01", "16.13", "16.67", "13.33"),  # 5/31, 5/30, 4/30
        ("2021-02-27", "2021-03-01", "7.14", "6.67", "13.33"),  # 2/28, 2/30, 4/30
        ("2020-02-01", "2020-03-01", "100.00", "100.00", "100.00"),  # a whole month
        ("2021-04-21", "2021-04-30", "30.00", "30.00", "30.00"),  # 9/30
    ],
)
def test_the_published_check_of_the_day_counts(start: str, end: str, actual: str, a360: str, strict: str) -> None:
    short = charge(start, segment(start, end))
    found = [total(short, target=end, rules=Rules(days_in_month=rule)) for rule in (ACTUAL, A360, STRICT)]
    assert found == [actual, a360, strict]


# ---- months of thirty days, split by a price change

TWO_MONTHS = {
    "billing_period": BillingPeriod.SPECIFIC_MONTHS,
    "period_length": 2,
    "list_price_base": ListPriceBase.PER_MONTH,
}
JANUARY_31 = {"billing_day_type": BillingDayType.SPECIFIC_DAY_OF_MONTH, "billing_day": 31}


@pytest.mark.parametrize(
    ("start", "cuts", "terms", "rule", "unit", "amounts"),
    [
        # 01-01      01-16      02-01
        #   |= 15/30 ==|= 15/30 ==|          the 31st adds nothing
        ("2026-01-01", ["2026-01-16"], {}, A360, MONTH_FIRST, ["50.00", "50.00"]),
        ("2026-01-01", ["2026-01-16"], {}, STRICT, BY_DAY, ["50.00", "50.00"]),
        ("2026-01-01", ["2026-01-31"], {}, A360, MONTH_FIRST, ["100.00", "0.00"]),
        # 02-01      02-15      03-01
        #   |= 14/30 ==|= 16/30 ==|          the last day of February counts for the days it lacks
        ("2026-02-01", ["2026-02-15"], {}, A360, MONTH_FIRST, ["46.67", "53.33"]),
        ("2026-02-01", ["2026-02-15"], {}, STRICT, MONTH_FIRST, ["46.67", "53.33"]),
        ("2026-02-01", ["2026-02-11", "2026-02-21"], {}, A360, BY_DAY, ["33.33", "33.33", "33.33"]),
        # 01-11      01-18      02-01        21 of 30 days in all, 20 strict: a partial month is not filled up
        #   |== 7/30 ==|= 14/30 ==|
        ("2026-01-11", ["2026-01-18"], {}, A360, MONTH_FIRST, ["23.33", "46.67"]),
        ("2026-01-11", ["2026-01-18"], {}, STRICT, MONTH_FIRST, ["23.33", "43.33"]),
        # 01-01      01-16      02-01        03-01        04-01
        #   |= 15/30 ==|= 15/30 ==|== 1 month ==|== 1 month ==|
        ("2018-01-01", ["2018-01-16"], QUARTERLY, A360, MONTH_FIRST, ["50.00", "250.00"]),
        ("2018-01-01", ["2018-01-16"], QUARTERLY, A360, BY_DAY, ["50.00", "250.00"]),
        # 01-16      02-11      04-01        16/30 + 10/30, then 18 days that end February + 1 month
        ("2018-01-16", ["2018-02-11"], QUARTERLY, A360, MONTH_FIRST, ["86.67", "166.67"]),
        ("2018-01-16", ["2018-02-11"], QUARTERLY, STRICT, MONTH_FIRST, ["83.33", "166.67"]),
        # 01-01      02-01      03-01        31 of 60 days (30 strict): two months by day
        ("2018-01-01", ["2018-02-01"], TWO_MONTHS, A360, BY_DAY, ["103.33", "96.67"]),
        ("2018-01-01", ["2018-02-01"], TWO_MONTHS, STRICT, BY_DAY, ["100.00", "100.00"]),
        ("2018-01-01", ["2018-02-01"], TWO_MONTHS, ACTUAL, BY_DAY, ["105.08", "94.92"]),
        # 07-01      09-01      10-01        62 of 90 days (60 strict) and what is left of 90
        ("2018-07-01", ["2018-09-01"], QUARTERLY, A360, BY_DAY, ["206.67", "93.33"]),
        ("2018-07-01", ["2018-09-01"], QUARTERLY, STRICT, BY_DAY, ["200.00", "100.00"]),
        # 91 days are ninety: nothing is left for September 30, nor does a partial quarter cost more than a whole one
        ("2018-07-01", ["2018-09-30"], QUARTERLY, A360, BY_DAY, ["300.00", "0.00"]),
        ("2018-07-02", [], QUARTERLY, A360, BY_DAY, ["300.00"]),
        # 01-31      02-10      02-28        the 31st and nine days; 28 days in all, counted as thirty
        ("2026-01-31", ["2026-02-10"], JANUARY_31, STRICT, MONTH_FIRST, ["30.00", "70.00"]),
        # 02-28      03-30      03-31        the 28th counts for three: thirty days are full before their month is
        ("2026-02-28", ["2026-03-30"], JANUARY_31, STRICT, MONTH_FIRST, ["100.00", "0.00"]),
    ],
)
def test_the_parts_of_a_split_period_add_up_to_what_it_costs(
    start: str, cuts: list[str], terms: dict[str, Any], rule: DaysInMonth, unit: ProrationUnit, amounts: list[str]
) -> None:
    edges = [start, *cuts]
    segments = [segment(at, to, number=number) for number, (at, to) in enumerate(pairwise([*edges, None]), 1) if at]
    grid = f"{start[:8]}01" if terms is QUARTERLY else start
    split = charge(start, *segments, subscription_start=grid, **terms)
    rules = Rules(days_in_month=rule, proration_unit=unit)
    found = [str(line.amount) for line in lines_of(split, target=edges[-1], rules=rules)]
    assert found == amounts
    whole = total(charge(start, subscription_start=grid, **terms), target=start, rules=rules)
    assert abs(sum(map(Decimal, amounts)) - Decimal(whole)) <= Decimal("0.01")


@pytest.mark.parametrize("rule", [A360, STRICT])
@pytest.mark.parametrize("unit", [MONTH_FIRST, BY_DAY])
def test_a_part_costs_the_same_whatever_comes_after_it(rule: DaysInMonth, unit: ProrationUnit) -> None:
    """14 of 90 days before the change, wherever service ends; a cancellation on that very day costs what is billed."""
    first = segment("2014-10-01", "2014-10-15")
    rules = Rules(days_in_month=rule, proration_unit=unit)
    for rest in ([], [segment("2014-10-15", "2014-12-31", number=2)], [segment("2014-10-15", number=2)]):
        priced = charge("2014-10-01", first, *rest, subscription_start="2014-10-01", **QUARTERLY)
        assert str(lines_of(priced, target="2014-10-15", rules=rules)[0].amount) == "46.67"


# ---- partial periods, months and weeks


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # 01-10     02-01          03-01   03-11
        #   |=========|==============|=======|
        (Rules(), ["01-10…01-31 70.97 P", "02-01…02-28 100.00", "03-01…03-10 32.26 P"]),
        (
            Rules(partial_months=PartialMonths.BILL_FULL),
            ["01-10…01-31 100.00", "02-01…02-28 100.00", "03-01…03-10 32.26 P"],
        ),
        (
            Rules(partial_months=PartialMonths.SKIP),
            ["01-10…01-31 0.00", "02-01…02-28 100.00", "03-01…03-10 32.26 P"],
        ),
        (
            Rules(partial_months=PartialMonths.SKIP, prorate_partial_periods=False),
            ["01-10…01-31 0.00", "02-01…02-28 100.00", "03-01…03-10 100.00"],
        ),
        (
            Rules(prorate_partial_periods=False),
            ["01-10…01-31 100.00", "02-01…02-28 100.00", "03-01…03-10 100.00"],
        ),
    ],
)
def test_the_partial_first_month_has_its_own_rule(rules: Rules, expected: list[str]) -> None:
    short = charge("2026-01-10", segment("2026-01-10", "2026-03-11"))
    assert bill(short, target="2026-03-01", rules=rules) == expected


@pytest.mark.parametrize("choice", [PartialMonths.SKIP, PartialMonths.BILL_FULL])
def test_the_rule_for_months_leaves_other_periods_and_later_partial_months_alone(choice: PartialMonths) -> None:
    rules = Rules(partial_months=choice)
    quarterly = charge("2018-01-16", subscription_start="2018-01-01", **QUARTERLY)
    assert total(quarterly, target="2018-01-16", rules=rules) == "251.61"
    # Begins on its billing day and is cut at its end; resumes after a suspension.
    cut = charge("2026-01-01", segment("2026-01-01", "2026-01-11"), segment("2026-02-21", number=2))
    assert bill(cut, target="2026-02-21", rules=rules) == ["01-01…01-10 32.26 P", "02-21…02-28 28.57 P"]


def test_a_first_month_billed_in_full_is_shared_by_two_prices() -> None:
    changing = charge("2026-01-11", segment("2026-01-11", "2026-01-18"), segment("2026-01-18", number=2, price="200"))
    found = bill(changing, target="2026-01-11", rules=Rules(partial_months=PartialMonths.BILL_FULL))
    assert found == ["01-11…01-17 33.33 P", "01-18…01-31 133.33 P"]
    assert bill(changing, target="2026-01-11", rules=Rules(partial_months=PartialMonths.SKIP)) == [
        "01-11…01-17 0.00",
        "01-18…01-31 0.00",
    ]


@pytest.mark.parametrize(
    ("rules", "first"),
    [
        # Wed 01-10 Mon 01-15
        #   |=========|=========            5 of 7 days
        (Rules(), "01-10…01-14 71.43 P"),
        (Rules(bill_partial_weeks=False), "01-10…01-14 0.00"),
        (Rules(prorate_partial_periods=False), "01-10…01-14 100.00"),
        (Rules(partial_months=PartialMonths.SKIP), "01-10…01-14 71.43 P"),
        (Rules(days_in_month=STRICT, proration_unit=BY_DAY), "01-10…01-14 71.43 P"),
    ],
)
def test_a_partial_first_week(rules: Rules, first: str) -> None:
    weekly = charge(
        "2024-01-10",
        billing_period=BillingPeriod.WEEK,
        billing_day_type=BillingDayType.SPECIFIC_DAY_OF_WEEK,
        billing_day=1,
    )
    assert bill(weekly, target="2024-01-15", rules=rules) == [first, "01-15…01-21 100.00"]


def test_specific_days_are_never_skipped() -> None:
    """Ten days, the last run cut: 3 of 10."""
    tens = charge(
        "2024-01-10",
        segment("2024-01-10", "2024-01-23"),
        billing_period=BillingPeriod.SPECIFIC_DAYS,
        period_length=10,
    )
    assert bill(tens, target="2024-01-23", rules=Rules(bill_partial_weeks=False)) == [
        "01-10…01-19 100.00",
        "01-20…01-22 30.00 P",
    ]
    aligned = tens._replace(
        terms=tens.terms._replace(alignment=Alignment.SUBSCRIPTION_START), subscription_start=day("2024-01-05")
    )
    assert bill(aligned, target="2024-01-10", rules=Rules(bill_partial_weeks=False)) == ["01-10…01-14 50.00 P"]


# ---- recurring style


@pytest.mark.parametrize(
    ("style", "in_advance", "in_arrears"),
    [
        (RecurringStyle.RATE_PLAN, 1, 0),
        (RecurringStyle.IN_ADVANCE, 1, 1),
        (RecurringStyle.IN_ARREARS, 0, 0),
    ],
)
def test_one_style_for_all_recurring_charges(style: RecurringStyle, in_advance: int, in_arrears: int) -> None:
    rules = Rules(recurring_style=style)
    for timing, lines in ((BillingTiming.IN_ADVANCE, in_advance), (BillingTiming.IN_ARREARS, in_arrears)):
        monthly = charge("2026-01-01", billing_timing=timing)
        assert len(bill(monthly, target="2026-01-01", rules=rules)) == lines


# ---- end of the term

EXAMPLE = charge("2018-03-23", billing_period=BillingPeriod.ANNUAL, term_end=day("2018-08-23"), **ON_TRIGGER_DAY)
"""$100 a year from March 23; the initial term ends on August 23, after 153 days."""


@pytest.mark.parametrize(
    ("auto_renew", "rules", "expected"),
    [
        # 03-23        08-23                   03-23
        #   |= 153 days =|.......................|
        (False, Rules(), "03-23…08-22 41.92 P"),
        (False, Rules(bill_past_term_end=True), "03-23…03-22 100.00"),
        (False, Rules(bill_to_term_end_when_auto_renew=False), "03-23…08-22 41.92 P"),
        (True, Rules(), "03-23…08-22 41.92 P"),
        (True, Rules(bill_past_term_end=True), "03-23…08-22 41.92 P"),
        (True, Rules(bill_to_term_end_when_auto_renew=False), "03-23…03-22 100.00"),
    ],
)
def test_the_last_period_of_a_term(auto_renew: bool, rules: Rules, expected: str) -> None:
    rules = rules._replace(proration_unit=BY_DAY)
    priced = EXAMPLE._replace(auto_renew=auto_renew)
    assert bill(priced, target="2018-03-23", rules=rules) == [expected]
    assert bill(priced, target="2018-08-22", rules=rules) == [expected]
    # The term has ended and was not renewed: the rule no longer helps.
    assert bill(priced, target="2018-08-23", rules=rules) == ["03-23…08-22 41.92 P"]
    assert bill(priced, target="2020-08-23", rules=rules) == ["03-23…08-22 41.92 P"]


def test_in_arrears_the_last_period_is_due_when_the_term_ends() -> None:
    arrears = EXAMPLE._replace(terms=EXAMPLE.terms._replace(billing_timing=BillingTiming.IN_ARREARS))
    for rules in (Rules(proration_unit=BY_DAY), Rules(proration_unit=BY_DAY, bill_past_term_end=True)):
        assert bill(arrears, target="2018-08-22", rules=rules) == []
        assert bill(arrears, target="2018-08-23", rules=rules) == ["03-23…08-22 41.92 P"]


def test_a_period_cut_by_the_term_goes_on_after_the_renewal() -> None:
    """Both parts are parts of the same year: 153 + 212 days."""
    renewed = EXAMPLE._replace(term_end=day("2019-08-23"), billed_through=day("2018-08-23"))
    rules = Rules(proration_unit=BY_DAY)
    assert bill(renewed, target="2018-08-23", rules=rules) == ["08-23…03-22 58.08 P"]
    # Not due before its own first day.
    assert bill(renewed, target="2018-08-22", rules=rules) == []


def test_out_of_term_nothing_is_due() -> None:
    """A price that begins after the term has no days of service."""
    late = charge("2026-01-01", segment("2026-03-01"), term_end=day("2026-02-01"))
    assert bill(late, target="2026-12-01") == []
    whole = charge("2026-01-01", term_end=day("2026-02-01"))
    assert bill(whole, target="2026-12-01") == ["01-01…01-31 100.00"]


def test_a_charge_that_ends_before_its_term_is_cut_at_its_own_end() -> None:
    ending = charge("2026-01-01", segment("2026-01-01", "2026-01-11"), term_end=day("2026-02-01"))
    assert bill(ending, target="2026-12-01") == ["01-01…01-10 32.26 P"]


# ---- terms as periods


def test_a_charge_of_a_term_costs_its_months() -> None:
    """A year and a half-year at 100 a month; the charge joined in the middle of the first."""
    terms = (Term(day("2026-01-15"), day("2027-01-15")), Term(day("2027-01-15"), day("2027-07-15")))
    priced = charge(
        "2026-07-15",
        billing_period=BillingPeriod.SUBSCRIPTION_TERM,
        list_price_base=ListPriceBase.PER_MONTH,
        subscription_terms=terms,
        term_end=day("2027-07-15"),
    )
    assert bill(priced, target="2027-01-15") == ["07-15…01-14 600.00 P", "01-15…07-14 600.00"]


def test_a_term_of_odd_length_is_prorated_by_its_days() -> None:
    """45 days from January 1 cost 1 month and 14 of 28 days; of them 9 were not served."""
    term = Term(day("2026-01-01"), day("2026-02-15"))
    priced = charge(
        "2026-01-10",
        billing_period=BillingPeriod.SUBSCRIPTION_TERM,
        list_price_base=ListPriceBase.PER_MONTH,
        subscription_terms=(term,),
        term_end=term.end,
    )
    assert bill(priced, target="2026-01-10") == ["01-10…02-14 120.00 P"]
    assert bill(priced._replace(segments=(segment("2026-01-01"),)), target="2026-01-10") == ["01-01…02-14 150.00"]
