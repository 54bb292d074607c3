"""Usage is rated as the published examples say, by every model, grouping and billing period (domain.md 2.3, 2.4, 6.4)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.core.derivation import amount_of
from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, state_of
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    ChargeModel,
    LineKind,
    Period,
    RatingGroup,
    Rules,
    Term,
    UsageRating,
)
from billing.core.usage import UsageTerms
from tests.billing.core import BLUEFIN, day, segment, tiers
from tests.billing.core.meter import GB, ONE_DAY, Meter, amounts, metered, total

FLAT_FEE, PER_UNIT, TIERED, VOLUME = (
    ChargeModel.FLAT_FEE,
    ChargeModel.PER_UNIT,
    ChargeModel.TIERED,
    ChargeModel.VOLUME,
)
OVERAGE, TIERED_WITH_OVERAGE = ChargeModel.OVERAGE, ChargeModel.TIERED_WITH_OVERAGE
ON_DEMAND = UsageTerms(GB, rating=UsageRating.ON_DEMAND)
NOT_FIRST_MONTH = Rules(bill_usage_partial_months=False)


def meter(model: ChargeModel, start: str = "2026-01-01", end: str | None = None, **changes: Any) -> Meter:
    """Return a meter with one price; other changes than those of a segment are fields of the meter or of its charge."""
    own = {name: changes.pop(name) for name in ("terms", "account", "rules") if name in changes}
    of_segment = {name: changes.pop(name) for name in ("price", "quantity", "tiers", "credit_rate") if name in changes}
    return Meter(metered(model, start, segment(start, end, **of_segment), **changes), **own)


def lines(found: Meter) -> list[tuple[str, str, str, str]]:
    """Return what was billed: first day, end, quantity and amount; every derivation adds up to its amount."""
    for line in found.lines:
        assert line.kind is LineKind.USAGE
        assert amount_of(line.derivation, found.account.currency) == line.amount
    return [
        (
            str(line.period.start),
            str(line.period.end),
            f"{(line.quantity or Decimal(0)).normalize():f}",
            f"{line.amount:f}",
        )
        for line in found.lines
    ]


# --------------------------------------------------------------------------------------------------- rating groups
#            01-01   01-16   | 02-01   02-16
#   file 1     20      90    |   80      15      0–50 @11, 51–100 @10, 101+ @9, all units at one price
#   file 2     50            |          100
@pytest.mark.parametrize(
    ("group", "january", "february"),
    [
        (RatingGroup.BILLING_PERIOD, "1440.00", "1755.00"),
        (RatingGroup.START_DATE, "1600.00", "1835.00"),
        (RatingGroup.RECORD, "1670.00", "1965.00"),
        (RatingGroup.UPLOAD, "1540.00", "1950.00"),
    ],
)
def test_groups_are_priced_each_by_itself(group: RatingGroup, january: str, february: str) -> None:
    found = meter(VOLUME, tiers=tiers("50: 11, 100: 10, rest: 9"), terms=UsageTerms(GB, group))
    found.use(("2026-01-01", "20"), ("2026-01-16", "90"), ("2026-02-01", "80"), ("2026-02-16", "15"))
    found.use(("2026-01-01", "50"), ("2026-02-16", "100"))
    found.run("2026-03-01")
    assert [line[2:] for line in lines(found)] == [("160", january), ("195", february)]


def test_groups_of_the_same_size_are_each_priced() -> None:
    """Twice 25 units: each walks 10 @2, 10 @3 and 5 @5, or pays the flat fee of its tier."""
    for model, text, amount, steps in (
        (TIERED, LADDER, "150.00", '[["20","2"],["20","3"],["10","5"]]'),
        (VOLUME, "10: 1, rest: flat 7", "14.00", '[["50","7","FlatFee",2]]'),
    ):
        found = meter(model, tiers=tiers(text), terms=UsageTerms(GB, RatingGroup.RECORD))
        found.use(("2026-01-01", "25"), ("2026-01-01", "25"))
        found.run("2026-02-01")
        assert lines(found)[0][2:] == ("50", amount)
        assert f'"t":{steps}' in found.lines[0].derivation
        assert '"by":["ByUsageRecord",2]' in found.lines[0].derivation


# ---------------------------------------------------------------------------------------------------------- models
@pytest.mark.parametrize(
    ("model", "terms", "used", "amount"),
    [
        (PER_UNIT, {"price": "0.50"}, "120", "60.00"),
        (TIERED, {"tiers": tiers("9: 0, 20: 1, 30: flat 2, rest: 3")}, "45", "58.00"),
        (TIERED, {"tiers": tiers("10: 2, 20: 3, rest: 5")}, "21", "55.00"),
        (TIERED, {"tiers": tiers("50: 10, 100: 8, rest: 5")}, "120", "1000.00"),
        (VOLUME, {"tiers": tiers("50: 10, 100: 8, rest: 5")}, "120", "600.00"),
        (VOLUME, {"tiers": tiers("50: 120, 100: 100")}, "5", "600.00"),
        (VOLUME, {"tiers": tiers("50: 120, 100: 100")}, "60", "6000.00"),
        (OVERAGE, {"price": "0.50", "quantity": "500"}, "620", "60.00"),
        (OVERAGE, {"price": "0.50", "quantity": "500"}, "480", "0.00"),
        (TIERED_WITH_OVERAGE, {"tiers": tiers("100: 1.00, 200: 0.80, rest: 0.50")}, "250", "205.00"),
        (TIERED_WITH_OVERAGE, {"tiers": tiers("100: 0, 200: 2, rest: 9")}, "130", "60.00"),
    ],
)
def test_models_cost_what_is_published(model: ChargeModel, terms: dict[str, Any], used: str, amount: str) -> None:
    found = meter(model, **terms)
    found.use(("2026-01-10", used))
    found.run("2026-02-01")
    assert lines(found) == [("2026-01-01", "2026-02-01", used, amount)]


def test_a_fee_is_billed_whatever_is_used() -> None:
    #   15      1       1       1
    #   |= 17 =|=======|=======|         17 of 31 days, then nothing used, then 160 units
    found = meter(FLAT_FEE, "2026-01-15", price="99")
    found.use(("2026-03-02", "160"))
    found.run("2026-04-01")
    assert lines(found) == [
        ("2026-01-15", "2026-02-01", "0", "54.29"),
        ("2026-02-01", "2026-03-01", "0", "99.00"),
        ("2026-03-01", "2026-04-01", "160", "99.00"),
    ]


def test_a_fee_is_never_billed_before_its_period_is_over() -> None:
    """Rating on demand takes the difference of what was used; a fee has none."""
    found = meter(FLAT_FEE, price="31", terms=ON_DEMAND)
    found.use(("2026-01-05", "1"))
    assert found.run("2026-01-10") == found.run("2026-01-20") == []
    assert amounts(found.run("2026-02-01")) == ["31.00"]


def test_a_period_without_usage_is_rated_without_a_line() -> None:
    found = meter(PER_UNIT)
    assert found.run("2026-03-01") == []
    assert [(rated.period, rated.amount) for rated in found.rated] == [
        (Period(day("2026-01-01"), day("2026-02-01")), 0),
        (Period(day("2026-02-01"), day("2026-03-01")), 0),
    ]


# ------------------------------------------------------------------------------------------------------- on demand
#   01   02   03   04   05        0–10 @2, 11–20 @3, 21+ @5
#   3    5    7    |              15 units: 20 + 15 = 35
#   1              5    |         21 units: 20 + 30 + 5 = 55, of which 35 are billed
LADDER = "10: 2, 20: 3, rest: 5"


def on_demand(**changes: Any) -> Meter:
    found = meter(TIERED, tiers=tiers(LADDER), terms=ON_DEMAND, **changes)
    found.use(("2026-01-01", "3"), ("2026-01-02", "5"), ("2026-01-03", "7"))
    return found


def test_on_demand_bills_the_difference_back_dated_usage_included() -> None:
    found = on_demand()
    found.run("2026-01-04")
    found.use(("2026-01-01", "1"), ("2026-01-04", "5"))
    found.run("2026-01-05")
    assert lines(found) == [("2026-01-01", "2026-01-04", "15", "35.00"), ("2026-01-04", "2026-01-05", "6", "20.00")]


@pytest.mark.parametrize("target", ["2026-01-01", "2026-01-03", "2026-01-04"])
def test_on_demand_rates_nothing_up_to_a_day_that_is_rated(target: str) -> None:
    found = on_demand()
    found.run("2026-01-04")
    found.use(("2026-01-01", "1"))
    assert found.run(target) == [] and len(found.rated) == 1
    assert amounts(found.run("2026-01-05")) == ["3.00"]


def test_on_demand_counting_begins_anew_on_the_billing_day() -> None:
    found = on_demand()
    found.use(("2026-01-31", "10"), ("2026-02-01", "10"), ("2026-02-02", "1"))
    for target in ("2026-01-15", "2026-02-02", "2026-02-10"):
        found.run(target)
    assert lines(found) == [
        ("2026-01-01", "2026-01-15", "15", "35.00"),
        ("2026-01-15", "2026-02-01", "10", "40.00"),
        ("2026-02-01", "2026-02-02", "10", "20.00"),
        ("2026-02-02", "2026-02-10", "1", "3.00"),
    ]


def test_on_demand_usage_of_a_closed_period_is_late() -> None:
    found = on_demand()
    found.run("2026-02-10")
    found.use(("2026-01-20", "6"))
    assert amounts(found.run("2026-02-10")) == ["20.00"]
    assert found.run("2026-02-11") == [] and total(found.lines) == 55
    assert [line.description for line in found.lines] == ["Traffic", "Traffic – Late usage"]


def test_on_demand_a_moved_billing_day_closes_what_was_counted_since_the_old_one() -> None:
    #   10             20        25
    #   |=== rated ===|          |          the billing day moves from the 10th to the 25th on the 20th
    #        late     |= due ===|           usage of the 12th no longer goes on being counted
    found = meter(PER_UNIT, "2025-12-10", price="1", terms=ON_DEMAND, account=BLUEFIN._replace(bill_cycle_day=10))
    found.run("2026-01-10")
    found.use(("2026-01-11", "7"))
    found.run("2026-01-20")
    found.account = BLUEFIN._replace(bill_cycle_day=25)
    found.use(("2026-01-12", "5"), ("2026-01-21", "1"))
    assert amounts(found.run("2026-01-22")) == ["5.00", "1.00"]


def test_on_demand_a_moved_billing_day_does_not_count_closed_days_again() -> None:
    #   5    10   12              25
    #   |= 3 |= 7 |                       the billing day moves from the 10th to the 25th on the 12th
    #   |==== of one period now ==|       yet what was counted since the 10th is closed, and so is what was before
    found = meter(PER_UNIT, "2026-01-05", price="1", terms=ON_DEMAND, account=BLUEFIN._replace(bill_cycle_day=10))
    found.use(("2026-01-06", "3"), ("2026-01-11", "7"))
    found.run("2026-01-12")
    found.account = BLUEFIN._replace(bill_cycle_day=25)
    found.use(("2026-01-07", "1"))
    found.run("2026-01-20")
    assert [line[3] for line in lines(found)] == ["3.00", "7.00", "1.00"]


def test_on_demand_nothing_used_costs_nothing_however_often_it_is_looked_at() -> None:
    found = meter(VOLUME, tiers=tiers("10: flat 7, rest: 1"), terms=ON_DEMAND)
    for target in ("2026-01-05", "2026-01-10", "2026-01-15", "2026-02-01"):
        assert found.run(target) == []


def test_on_demand_more_units_may_cost_less() -> None:
    found = meter(VOLUME, tiers=tiers("50: 11, rest: 10"), terms=ON_DEMAND)
    found.use(("2026-01-01", "50"))
    found.run("2026-01-02")
    found.use(("2026-01-02", "1"))
    found.run("2026-01-03")
    assert [line[2:] for line in lines(found)] == [("50", "550.00"), ("1", "-40.00")]


# ------------------------------------------------------------------------------------------------------- smoothing
def smoothed(periods: int, *used: int, n: Any = SmoothingModel.ROLLING_WINDOW, **changes: Any) -> Meter:
    terms = UsageTerms(GB, smoothing=Smoothing(n, periods, **changes))
    found = meter(OVERAGE, price="0.10", quantity="500", terms=terms)
    for month, units in enumerate(used, start=1):
        found.use((f"2026-{month:02}-15", str(units)))
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (smoothed(3, 700, 200, 333, 1000, 600, 1200, 0), "0.00 0.00 0.00 3.30 0.00 0.00 30.00"),
        (
            smoothed(3, 700, 200, 333, 1000, 600, 900, calculation=OverageCalculation.PER_BILLING_PERIOD),
            "0.00 0.00 0.00 0.00 10.00 90.00",
        ),
        (smoothed(2, 300, 600, 650, 500, n=SmoothingModel.ROLLOVER), "0.00 0.00 5.00 0.00"),
    ],
    ids=["end of the smoothing period", "per billing period", "rollover"],
)
@pytest.mark.parametrize("monthly", [True, False])
def test_smoothed_months_follow_the_published_tables(found: Meter, expected: str, monthly: bool) -> None:
    found = Meter(found.charge, found.terms, slices=dict(found.slices))
    months = len(expected.split())
    for month in range(2, months + 1) if monthly else ():
        found.run(f"2026-{month:02}-01")
    found.run(f"2026-{months + 1:02}-01")
    assert [line[3] for line in lines(found)] == expected.split()
    assert all(rated.state and state_of(rated.state) for rated in found.rated)


def test_late_usage_runs_through_the_whole_chain_of_a_smoothed_charge() -> None:
    """Units that January leaves over are gone when late usage takes them: March pays for it."""
    found = smoothed(2, 300, 600, 650, 500, n=SmoothingModel.ROLLOVER)
    found.run("2026-05-01")
    found.use(("2026-01-20", "100"))
    found.run("2026-05-01")
    assert lines(found)[-1] == ("2026-01-01", "2026-02-01", "100", "10.00")
    on_time = smoothed(2, 400, 600, 650, 500, n=SmoothingModel.ROLLOVER)
    on_time.run("2026-05-01")
    assert total(on_time.lines) == total(found.lines) == 15
    assert found.rated[-1].state == on_time.rated[-1].state


def test_a_smoothed_charge_is_never_rated_before_its_period_is_over() -> None:
    """Each rating closes a period of the smoothing, so on demand three days would fill a window of three months."""
    found = smoothed(3, 700)
    found.terms = found.terms._replace(rating=UsageRating.ON_DEMAND)
    assert found.run("2026-01-16") == found.run("2026-01-20") == [] and found.rated == []
    assert amounts(found.run("2026-02-01")) == ["0.00"]


# ------------------------------------------------------------------------------------------------ first and last days
def test_a_partial_first_month_is_billed_or_not_as_the_rules_say() -> None:
    for rules, first in ((Rules(), "7.00"), (NOT_FIRST_MONTH, "0.00")):
        found = meter(PER_UNIT, "2026-01-15", price="1", rules=rules)
        found.use(("2026-01-20", "7"), ("2026-02-20", "5"))
        found.run("2026-03-01")
        assert [line[3] for line in lines(found)] == [first, "5.00"]


def test_late_usage_of_an_unbilled_first_month_costs_nothing_either() -> None:
    found = meter(PER_UNIT, "2026-01-15", price="1", rules=NOT_FIRST_MONTH)
    found.run("2026-02-01")
    found.use(("2026-01-20", "7"))
    assert amounts(found.run("2026-02-01")) == ["0.00"]


def test_late_usage_after_a_pause_in_the_first_month_is_billed_as_its_days_were() -> None:
    #   10   15        20       1
    #   |====|  paused |========|      not billed up to the pause; after it the month is no longer the first
    segments = segment("2026-01-10", "2026-01-15", price="1"), segment("2026-01-20", price="1", number=2)
    found = Meter(metered(PER_UNIT, "2026-01-10", *segments), rules=NOT_FIRST_MONTH)
    found.use(("2026-01-12", "3"), ("2026-01-22", "5"))
    found.run("2026-02-01")
    found.use(("2026-01-23", "2"))
    found.run("2026-02-01")
    assert [line[3] for line in lines(found)] == ["0.00", "5.00", "2.00"]


def test_a_cancellation_closes_the_period_early() -> None:
    found = meter(PER_UNIT, end="2026-02-11", price="1")
    found.use(("2026-02-10", "4"), ("2026-02-11", "9"))
    assert found.run("2026-02-10") == []
    assert amounts(found.run("2026-02-11")) == ["4.00"]
    assert found.run("2026-06-01") == []
    assert [left.days.start for left in found.pending()] == [day("2026-02-11")]


def test_a_cancellation_before_days_that_are_rated_rates_nothing_more() -> None:
    found = meter(PER_UNIT, price="1")
    found.run("2026-03-01")
    found.charge = found.charge._replace(segments=(segment("2026-01-01", "2026-01-20", price="1"),))
    assert found.run("2026-06-01") == [] and len(found.rated) == 2


def test_a_price_counts_for_the_usage_of_its_days_and_counting_begins_anew() -> None:
    #   1         16       1
    #   |=== 10 ==|== 10 ==|      tiers 0–10 @2, then @3: both halves lie in the first tier
    segments = (
        segment("2026-01-01", "2026-01-16", tiers=tiers(LADDER)),
        segment("2026-01-16", number=2, tiers=tiers("10: 4, rest: 9")),
    )
    found = Meter(metered(TIERED, "2026-01-01", *segments))
    found.use(("2026-01-15", "10"), ("2026-01-16", "10"))
    assert found.run("2026-01-20") == []
    found.run("2026-02-01")
    assert lines(found) == [("2026-01-01", "2026-01-16", "10", "20.00"), ("2026-01-16", "2026-02-01", "10", "40.00")]
    assert [line.segment_number for line in found.lines] == [1, 2]


def test_usage_of_a_pause_is_never_rated() -> None:
    segments = segment("2026-01-01", "2026-01-11", price="1"), segment("2026-01-21", price="1", number=2)
    found = Meter(metered(PER_UNIT, "2026-01-01", *segments))
    found.use(("2026-01-10", "1"), ("2026-01-15", "20"), ("2026-01-21", "300"))
    found.run("2026-02-01")
    assert lines(found) == [("2026-01-01", "2026-01-11", "1", "1.00"), ("2026-01-21", "2026-02-01", "300", "300.00")]
    assert [left.days.start for left in found.pending()] == [day("2026-01-15")]


# -------------------------------------------------------------------------------------------------- billing periods
DAY_OF_START = {"billing_day_type": BillingDayType.CHARGE_TRIGGER_DAY}


@pytest.mark.parametrize(
    ("terms", "ends"),
    [
        ({}, ["2026-02-01", "2026-03-01", "2026-04-01"]),
        ({"billing_period": BillingPeriod.QUARTER}, ["2026-04-01", "2026-07-01"]),
        ({"billing_period": BillingPeriod.SEMI_ANNUAL}, ["2026-07-01", "2027-01-01"]),
        ({"billing_period": BillingPeriod.ANNUAL}, ["2027-01-01", "2028-01-01"]),
        ({"billing_period": BillingPeriod.EIGHTEEN_MONTHS}, ["2027-07-01", "2029-01-01"]),
        ({"billing_period": BillingPeriod.WEEK, **DAY_OF_START}, ["2026-01-08", "2026-01-15"]),
        ({"billing_period": BillingPeriod.SPECIFIC_DAYS, "period_length": 10, **DAY_OF_START}, ["2026-01-11", "2026-01-21"]),
        (
            {
                "billing_period": BillingPeriod.SUBSCRIPTION_TERM,
                "term_end": day("2027-06-01"),
                "subscription_terms": (Term(day("2026-01-01"), day("2026-06-01")), Term(day("2026-06-01"), day("2027-06-01"))),
            },
            ["2026-06-01", "2027-06-01"],
        ),
    ],
)  # fmt: skip
def test_usage_is_rated_when_its_billing_period_is_over(terms: dict[str, Any], ends: list[str]) -> None:
    starts = ["2026-01-01", *ends[:-1]]
    found = meter(PER_UNIT, price="1", **terms)
    found.use(*((start, "3") for start in starts), (ends[-1], "9"))
    for end in ends:
        assert found.run(day(end) - ONE_DAY) == []
        found.run(end)
    assert lines(found) == [(start, end, "3", "3.00") for start, end in zip(starts, ends, strict=True)]
