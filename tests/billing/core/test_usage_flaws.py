"""Usage is rounded once it is added up, late usage costs the difference, and what cannot be rated is named (domain.md 2.5, 6.4)."""

from typing import Any

import pytest

from billing.core.pricing import price
from billing.core.smoothing import Smoothing, SmoothingModel
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, Period, RatedKind, Rules
from billing.core.units import RoundingMode, UnitOfMeasure
from billing.core.usage import UsageTerms, straddling
from tests.billing.core import BLUEFIN, JPY, day, segment, tiers
from tests.billing.core.meter import GB, Meter, amounts, metered
from tests.billing.core.test_usage_rating import (
    FLAT_FEE,
    LADDER,
    OVERAGE,
    PER_UNIT,
    TIERED,
    TIERED_WITH_OVERAGE,
    VOLUME,
    lines,
    meter,
    smoothed,
)


# -------------------------------------------------------------------------------------------------------- rounding
@pytest.mark.parametrize(
    ("decimals", "rounding", "individually", "quantity"),
    [
        (0, RoundingMode.UP, False, "10"),  # 9.6
        (0, RoundingMode.DOWN, False, "9"),
        (0, RoundingMode.UP, True, "11"),  # 4.6 → 5, 4.6 → 5, 0.4 → 1
        (0, RoundingMode.DOWN, True, "8"),
        (1, RoundingMode.DOWN, True, "9.6"),
    ],
)
def test_usage_is_rounded_when_it_is_added_up_or_record_by_record(
    decimals: int, rounding: RoundingMode, individually: bool, quantity: str
) -> None:
    terms = UsageTerms(UnitOfMeasure("GB", decimals, rounding))
    found = meter(PER_UNIT, price="1", terms=terms, rules=Rules(rate_usage_individually=individually))
    found.use(("2026-01-05", "4.6"), ("2026-01-05", "4.6"), ("2026-01-07", "0.4"))
    found.run("2026-02-01")
    assert lines(found)[0][2] == quantity


def test_amounts_are_rounded_once_to_the_currency() -> None:
    found = meter(PER_UNIT, price="0.333", account=BLUEFIN._replace(currency=JPY))
    found.use(("2026-01-05", "2"), ("2026-01-06", "2.5"))
    assert amounts(found.run("2026-02-01")) == ["1"]


# ------------------------------------------------------------------------------------------------------ late usage
def test_late_usage_costs_the_difference_and_comes_first() -> None:
    #   |= 15 =|= 4 =|       6 more of January: 21 units are 55, and 35 were billed
    found = meter(TIERED, tiers=tiers(LADDER))
    found.use(("2026-01-10", "15"), ("2026-02-10", "4"))
    found.run("2026-02-01")
    found.use(("2026-01-11", "6"))
    found.run("2026-03-01")
    assert lines(found) == [
        ("2026-01-01", "2026-02-01", "15", "35.00"),
        ("2026-01-01", "2026-02-01", "6", "20.00"),
        ("2026-02-01", "2026-03-01", "4", "8.00"),
    ]
    assert [rated.kind for rated in found.rated] == [RatedKind.PERIOD, RatedKind.LATE, RatedKind.PERIOD]
    assert found.lines[1].description == "Traffic – Late usage"


def test_quantities_of_late_lines_add_up_to_the_rounded_usage() -> None:
    """4.6 → 5; 4.9 → 5, nothing more; 5.2 → 6, one more: it is the whole that is rounded."""
    found = meter(PER_UNIT, price="1", terms=UsageTerms(GB._replace(decimals=0)))
    for units in ("4.6", "0.3", "0.3"):
        found.use(("2026-01-10", units))
        found.run("2026-02-01")
    assert [line[2:] for line in lines(found)] == [("5", "5.00"), ("0", "0.00"), ("1", "1.00")]


def test_late_usage_of_several_smoothed_periods_is_one_line_over_all_of_them() -> None:
    found = smoothed(2, 300, 600, 650, 500, n=SmoothingModel.ROLLOVER)
    found.run("2026-05-01")
    found.use(("2026-02-20", "100"), ("2026-03-20", "1"))
    found.run("2026-05-01")
    assert lines(found)[-1] == ("2026-02-01", "2026-04-01", "101", "10.10")
    assert found.rated[-1].period == Period(day("2026-02-01"), day("2026-04-01"))
    assert found.pending() == []


def test_late_usage_adds_nothing_to_a_fee() -> None:
    found = meter(FLAT_FEE, price="99", terms=UsageTerms(GB._replace(decimals=0)))
    found.use(("2026-01-05", "4.6"))
    found.run("2026-02-01")
    for units in ("0.3", "0.3"):
        found.use(("2026-01-10", units))
        found.run("2026-02-01")
    assert [line[2:] for line in lines(found)] == [("5", "99.00"), ("0", "0.00"), ("1", "0.00")]
    assert found.pending() == []


# -------------------------------------------------------------------------------------------------------- problems
@pytest.mark.parametrize(
    ("model", "terms", "code"),
    [
        (PER_UNIT, {"price": None}, "missing_price"),
        (FLAT_FEE, {"price": None}, "missing_price"),
        (OVERAGE, {"price": None}, "missing_price"),
        (OVERAGE, {"price": "1", "quantity": "-1"}, "negative_included_units"),
        (TIERED, {}, "missing_tiers"),
        (VOLUME, {"tiers": tiers("NaN: 1")}, "missing_price"),
        (TIERED, {"tiers": tiers("50: 1, 20: 2")}, "tiers_out_of_order"),
        (VOLUME, {"tiers": tiers("5: 1")}, "quantity_above_tiers"),
        (TIERED_WITH_OVERAGE, {}, "missing_overage_price"),
        (TIERED_WITH_OVERAGE, {"tiers": tiers("5: 1")}, "missing_overage_price"),
        (TIERED_WITH_OVERAGE, {"tiers": tiers("rest: 1")}, "missing_tiers"),
        (PER_UNIT, {"price": "1", "terms": UsageTerms(GB._replace(decimals=10))}, "unfit_unit"),
        (PER_UNIT, {"price": "999999999999"}, "amount_too_large"),
        (PER_UNIT, {"price": "1", "billing_period": None}, "missing_billing_period"),
        (FLAT_FEE, {"price": "1", "billing_period": BillingPeriod.SUBSCRIPTION_TERM}, "evergreen_subscription"),
    ],
)
def test_what_keeps_usage_from_being_rated_is_named(model: ChargeModel, terms: dict[str, Any], code: str) -> None:
    found = meter(model, **terms)
    found.use(("2026-01-05", "7"))
    pricing = found.due("2026-02-01")
    assert [problem.code for problem in pricing.problems] == [code]
    assert pricing.problems[0].hint
    assert pricing.lines == [] and list(pricing.rated) == []


def test_charges_that_cannot_be_rated_at_all_are_named() -> None:
    without = metered(PER_UNIT, "2026-01-01")._replace(segments=())
    twice = metered(PER_UNIT, "2026-01-01", segment("2026-01-01"), segment("2026-01-10", number=2))
    assert [Meter(charge).due("2026-02-01").problems[0].code for charge in (without, twice)] == [
        "missing_price",
        "overlapping_segments",
    ]
    foreign = smoothed(3, 700)
    foreign.run("2026-02-01")
    foreign.terms = UsageTerms(GB, smoothing=Smoothing(SmoothingModel.ROLLOVER, 3))
    assert foreign.due("2026-03-01").problems[0].code == "smoothing_state"


def test_more_periods_than_a_run_may_rate_are_refused() -> None:
    found = Meter(metered(PER_UNIT, "2020-01-01", segment("2020-01-01", price="1")))
    found.run("2026-01-01")
    assert len(found.rated) == 72
    from_scratch = Meter(found.charge)
    usage = {100: from_scratch.seen(day("2026-01-01"))}
    problems = _price(from_scratch, usage).problems
    assert [problem.code for problem in problems] == ["too_many_periods"]


def _price(found: Meter, usage: Any) -> Any:
    return price(found.account, [found.charge], rules=found.rules, target_date=day("2026-01-01"), usage=usage)


def test_a_charge_that_has_not_begun_or_is_excluded_is_left_alone() -> None:
    found = meter(PER_UNIT, price=None)
    found.charge = found.charge._replace(trigger_date=None)
    assert found.run("2026-03-01") == [] and found.rated == []
    pending = meter(PER_UNIT, price="1")
    pending.use(("2026-01-05", "7"))
    kept = price(
        pending.account,
        [pending.charge],
        rules=pending.rules,
        target_date=day("2026-03-01"),
        excluded=frozenset({ChargeType.USAGE}),
        usage={100: pending.seen(day("2026-03-01"))},
    )
    assert kept == ([], [], [])


def test_slices_over_the_end_of_a_period_are_found() -> None:
    found = meter(PER_UNIT)
    found.use(("2026-01-31", "1"))
    across = found.slices[1]._replace(days=Period(day("2026-01-31"), day("2026-02-02")))
    months = [Period(day("2026-01-01"), day("2026-02-01")), Period(day("2026-02-01"), day("2026-03-01"))]
    assert straddling([found.slices[1], across], months) == [across]
