"""Overage smoothing follows the published tables, keeps its state as text and names what it cannot smooth (domain.md 2.4)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from billing.core.overage import OverageError
from billing.core.smoothing import (
    Block,
    Charged,
    Counted,
    Lot,
    Lots,
    OverageCalculation,
    PeriodUsage,
    Smoothed,
    Smoothing,
    SmoothingModel,
    State,
    UnusedUnitsCredit,
    Window,
    check_smoothing,
    smooth,
    state_of,
    state_text,
)

WINDOW, ROLLOVER = SmoothingModel.ROLLING_WINDOW, SmoothingModel.ROLLOVER
PER_PERIOD = OverageCalculation.PER_BILLING_PERIOD
BY_RATE = UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE


def end_of(periods: int) -> Smoothing:
    return Smoothing(WINDOW, periods)


def per_period(periods: int, credit_rate: str | None = None) -> Smoothing:
    if credit_rate is None:
        return Smoothing(WINDOW, periods, PER_PERIOD)
    return Smoothing(WINDOW, periods, PER_PERIOD, BY_RATE, Decimal(credit_rate))


def rollover(periods: int) -> Smoothing:
    return Smoothing(ROLLOVER, periods)


def usage(quantity: Any, included: Any = 500, price: Any = "0.10", *, partial: bool = False) -> PeriodUsage:
    return PeriodUsage(Decimal(quantity), Decimal(included), Decimal(price), partial)


def run(smoothing: Smoothing, usages: Sequence[PeriodUsage]) -> list[Smoothed]:
    """Smooth period after period; the state goes through its text each time."""
    results: list[Smoothed] = []
    state: State | None = None
    for period in usages:
        result = smooth(smoothing, state, period)
        state = state_of(state_text(result.state))
        assert state == result.state
        results.append(result)
    return results


def units(results: Sequence[Smoothed]) -> list[Decimal]:
    return [result.rate.overage_units for result in results]


def amounts(results: Sequence[Smoothed]) -> list[Decimal]:
    return [result.rate.amount for result in results]


# ----------------------------------------------------------------------------------------------- published tables
#   Jan   Feb   Mar   Apr   May   Jun   Jul
#   700   200   333  1000   600  1200     0     three periods with 500 units each, 0.10 a unit above
#   |------ 1233 ---|                           nothing above 1500, the window moves on
#         |----- 1533 ----|                     33 above 1500, the window starts anew
#                         |----- 1800 ----|     300 above 1500
@pytest.mark.parametrize(
    ("month", "used", "together", "over", "amount", "kept"),
    [
        ("Jan", 700, "700", "0", "0", ["700"]),
        ("Feb", 200, "900", "0", "0", ["700", "200"]),
        ("Mar", 333, "1233", "0", "0", ["200", "333"]),
        ("Apr", 1000, "1533", "33", "3.30", []),
        ("May", 600, "600", "0", "0", ["600"]),
        ("Jun", 1200, "1800", "0", "0", ["600", "1200"]),
        ("Jul", 0, "1800", "300", "30.00", []),
    ],
)
def test_rolling_window_at_the_end_of_the_smoothing_period(
    month: str, used: int, together: str, over: str, amount: str, kept: list[str]
) -> None:
    year = [700, 200, 333, 1000, 600, 1200, 0]
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul"]
    rate, state = run(end_of(3), [usage(quantity) for quantity in year[: months.index(month) + 1]])[-1]
    assert (rate.quantity, rate.overage_units, rate.amount) == (used, Decimal(over), Decimal(amount))
    assert f'"q":"{together}"' in rate.working
    assert state == Window(tuple(Counted(Decimal(quantity), Decimal(500)) for quantity in kept))


#   Jan   Feb   Mar | Apr   May   Jun
#   700   200   333 |1000   600   900     blocks of three periods with 1500 units
#    –     –     –  |  –    100   900     each as soon as it occurs
def test_rolling_window_per_billing_period() -> None:
    results = run(per_period(3), [usage(quantity) for quantity in (700, 200, 333, 1000, 600, 900)])
    assert units(results) == [0, 0, 0, 0, 100, 900]
    assert amounts(results) == [0, 0, 0, 0, Decimal("10.00"), Decimal("90.00")]
    assert results[2].state == Block() and results[4].state == Block(
        2, Counted(Decimal(1600), Decimal(1000)), (Charged(Decimal(100), Decimal("0.1")),)
    )


#   P1 300 of 500          leaves 200 for P2 and P3
#   P2 200 + 400 of 500    leaves 100 for P3 and P4
#   P3 100 + 500           50 above
#   P4       500 of 500
def test_rollover() -> None:
    results = run(rollover(2), [usage(quantity) for quantity in (300, 600, 650, 500)])
    assert units(results) == [0, 0, 50, 0]
    assert amounts(results) == [0, 0, Decimal("5.00"), 0]
    lots = [result.state for result in results]
    assert lots == [Lots((Lot(Decimal(200), 2),)), Lots((Lot(Decimal(100), 2),)), Lots(), Lots()]


#   P1   P2   P3   P4
#  100    0    0  2000     500 units each
#   |400-|                 n = 1: only what P3 left (500) is there in P4
#   |400------|            n = 2: what P2 and P3 left (1000)
#   |400-----------|       n = 3: what P1, P2 and P3 left (1400)
@pytest.mark.parametrize(("periods", "over"), [(1, 1000), (2, 500), (3, 100), (4, 100)])
def test_units_expire_after_the_agreed_periods(periods: int, over: int) -> None:
    assert units(run(rollover(periods), [usage(quantity) for quantity in (100, 0, 0, 2000)])) == [0, 0, 0, over]


def test_unused_units_of_a_block_are_credited() -> None:
    results = run(per_period(3, "0.05"), [usage(quantity) for quantity in (700, 200, 333, 1000, 600, 900)])
    # 1500 − 1233 = 267 units were never used; a block with overage credits none.
    assert amounts(results) == [0, 0, Decimal("-13.35"), 0, Decimal("10.00"), Decimal("90.00")]
    assert units(results) == [0, 0, 0, 0, 100, 900]


# -------------------------------------------------------------------------------------------------- other decisions
def test_the_base_of_a_window_is_what_its_periods_included() -> None:
    results = run(end_of(2), [usage(700, 500), usage(700, 600), usage(900, 800), usage(900, 700)])
    assert units(results) == [0, 300, 0, 300]


def test_a_window_moves_on_with_what_its_periods_included() -> None:
    results = run(end_of(2), [usage(100, 500), usage(600, 600), usage(900, 800)])
    assert units(results) == [0, 0, 100]


#   included   500  500 | over 1000 – 300: 700 are charged
#   included   500  900 | over 1400 – the 400 units more than expected come back at the price they were charged at
def test_more_included_units_within_a_block_give_overage_back() -> None:
    rated = run(per_period(3), [usage(1600, 500), usage(500, 500, "0.20"), usage(0, 900, "0.30")])
    assert units(rated) == [100, 500, -400]
    assert amounts(rated) == [Decimal("10.00"), Decimal("100.00"), Decimal("-80.00")]
    rated = run(per_period(3), [usage(1600, 500), usage(50, 500, "0.20"), usage(0, 600, "0.30")])
    assert amounts(rated) == [Decimal("10.00"), Decimal("10.00"), Decimal("-15.00")]


def test_fewer_included_units_within_a_block_are_charged_as_soon_as_known() -> None:
    assert units(run(per_period(3), [usage(1000, 500), usage(500, 400), usage(0, 400)])) == [0, 200, 0]


def test_what_a_block_was_charged_is_kept_by_price() -> None:
    """1 unit at 1.00, then 2 and 3 at 2.00: the newest price alone grows, and an old one that returns begins anew."""
    prices = ["1", "2", "2", "1", "1"]
    results = run(per_period(6), [usage(n, 0, price) for n, price in enumerate(prices, 1)])
    assert amounts(results) == [1, 4, 6, 4, 5]
    charged = [result.state.charged for result in results if isinstance(result.state, Block)]
    first, second = Charged(Decimal(1), Decimal(1)), Charged(Decimal(5), Decimal(2))
    assert charged[2:] == [
        (first, second),
        (first, second, Charged(Decimal(4), Decimal(1))),
        (first, second, Charged(Decimal(9), Decimal(1))),
    ]


def test_what_was_charged_last_is_given_back_first() -> None:
    """100 units at 1.00 and 100 at 2.00 above 500 and none; then 1,200 are included, and all of it is."""
    results = run(per_period(4), [usage(100, 0, 1), usage(100, 0, 2), usage(0, 600, 2)])
    assert amounts(results) == [100, 200, -300]
    assert '"t":[["200","0"],["200","0"],["-100","2"],["-100","1"]]' in results[-1].rate.working


def test_a_credit_rate_credits_nothing_unless_the_choice_says_so() -> None:
    without = per_period(1, "0.05")._replace(unused_units=UnusedUnitsCredit.NO_CREDIT)
    assert amounts(run(without, [usage(100)])) == [0]


def test_the_credit_rate_of_0_credits_nothing_and_is_allowed() -> None:
    assert amounts(run(per_period(1, "0"), [usage(100)])) == [0]


def test_a_price_of_0_resets_the_window_all_the_same() -> None:
    assert smooth(end_of(1), Window(), usage(501, price=0)).state == Window()
    assert smooth(end_of(1), Window(), usage(500, price=0)).state == Window()
    assert smooth(end_of(2), Window((Counted(Decimal(700), Decimal(500)),)), usage(301, price=0)).state == Window()


@pytest.mark.parametrize("smoothing", [end_of(2), per_period(2, "0.05")])
def test_a_rolling_window_does_not_count_a_partial_first_period(smoothing: Smoothing) -> None:
    usages = [usage(900), usage(400), usage(100), usage(200)]
    first, *others = run(smoothing, [usage(700, partial=True), *usages])
    assert (first.rate.amount, first.rate.quantity, first.rate.overage_units) == (0, 700, 0)
    assert others == run(smoothing, usages)


def test_nothing_rolls_over_from_a_partial_first_period_which_pays_its_own_overage() -> None:
    assert units(run(rollover(2), [usage(700, partial=True), usage(600)])) == [200, 100]
    assert units(run(rollover(2), [usage(100, partial=True), usage(600)])) == [0, 100]


@pytest.mark.parametrize(
    ("smoothing", "usages", "working"),
    [
        (
            end_of(2),
            [usage(700)],
            (
                '"m":"Overage","q":"700","sm":["EndOfSmoothingPeriod",2],"w":[["700","500"]],"p":"0.1",'
                '"t":[["700","0"]],"k":["Waiting"]'
            ),
        ),
        (
            end_of(2),
            [usage(700), usage("350.5")],
            (
                '"m":"Overage","q":"1050.5","sm":["EndOfSmoothingPeriod",2],"w":[["700","500"],["350.5","500"]],"p":"0.1",'
                '"t":[["1000","0"],["50.5","0.1"]],"k":["Included","Overage"]'
            ),
        ),
        (
            per_period(2, "0.05"),
            [usage(1200), usage(100, 700, "0.2")],
            (
                '"m":"Overage","q":"1300","sm":["PerBillingPeriod",2],"w":[["1200","500"],["100","700"]],"at":2,'
                '"done":[["200","0.1"]],"cr":"0.05","p":"0.2",'
                '"t":[["1200","0"],["200","0"],["-100","0.1"]],"k":["Included","Billed","GivenBack"]'
            ),
        ),
        (
            per_period(1, "0.05"),
            [usage(100)],
            (
                '"m":"Overage","q":"100","sm":["PerBillingPeriod",1],"w":[["0","0"],["100","500"]],"at":1,"cr":"0.05",'
                '"p":"0.1","t":[["500","0"],["-400","0.05"]],"k":["Included","Unused"]'
            ),
        ),
        (
            per_period(2),
            [usage(1200)],
            (
                '"m":"Overage","q":"1200","sm":["PerBillingPeriod",2],"w":[["0","0"],["1200","500"]],"at":1,"p":"0.1",'
                '"t":[["1000","0"],["200","0.1"]],"k":["Included","Overage"]'
            ),
        ),
        (
            rollover(2),
            [usage(300), usage(50), usage(700)],
            (
                '"m":"Overage","q":"700","sm":["Rollover",2],"inc":"500","lots":[["150",1],["500",2]],"p":"0.1",'
                '"t":[["150","0"],["500","0"],["50","0"]],"k":["Lot","Lot","Included"]'
            ),
        ),
        (
            rollover(2),
            [usage(300), usage(800)],
            (
                '"m":"Overage","q":"800","sm":["Rollover",2],"inc":"500","lots":[["200",2]],"p":"0.1",'
                '"t":[["200","0"],["500","0"],["100","0.1"]],"k":["Lot","Included","Overage"]'
            ),
        ),
        (
            end_of(2),
            [usage(100, partial=True)],
            (
                '"m":"Overage","q":"100","sm":["EndOfSmoothingPeriod",2],"inc":"500","first":1,"p":"0.1",'
                '"t":[["100","0"]],"k":["Uncounted"]'
            ),
        ),
    ],
)
def test_workings_say_how_the_amount_came_about(smoothing: Smoothing, usages: list[PeriodUsage], working: str) -> None:
    assert run(smoothing, usages)[-1].rate.working == working


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Window(), '{"v":1,"w":[]}'),
        (Window((Counted(Decimal("700.50"), Decimal(500)),)), '{"v":1,"w":[["700.5","500"]]}'),
        (Block(), '{"v":1,"closed":0,"before":["0","0"],"done":[]}'),
        (
            Block(2, Counted(Decimal(1600), Decimal(1000)), (Charged(Decimal(100), Decimal("0.1")),)),
            '{"v":1,"closed":2,"before":["1600","1000"],"done":[["100","0.1"]]}',
        ),
        (Lots(), '{"v":1,"lots":[]}'),
        (Lots((Lot(Decimal(200), 2),)), '{"v":1,"lots":[["200",2]]}'),
    ],
)
def test_states_are_short_json(state: State, text: str) -> None:
    assert state_text(state) == text
    assert state_of(text) == state


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        state_of('{"v":2,"w":[]}')


# ------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("smoothing", "code"),
    [
        (end_of(0), "smoothing_periods"),
        (rollover(-1), "smoothing_periods"),
        (Smoothing(ROLLOVER, 2, PER_PERIOD), "smoothing_calculation"),
        (Smoothing(ROLLOVER, 2, unused_units=BY_RATE, credit_rate=Decimal(1)), "unused_units_credit"),
        (Smoothing(WINDOW, 2, unused_units=BY_RATE, credit_rate=Decimal(1)), "unused_units_credit"),
        (Smoothing(WINDOW, 2, PER_PERIOD, BY_RATE), "missing_credit_rate"),
        (per_period(2, "-0.01"), "missing_credit_rate"),
        (per_period(2, "NaN"), "missing_credit_rate"),
    ],
)
def test_choices_that_do_not_go_together_are_named(smoothing: Smoothing, code: str) -> None:
    for call in (check_smoothing, lambda terms: smooth(terms, None, usage(1))):
        with pytest.raises(OverageError) as caught:
            call(smoothing)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("smoothing", "state"),
    [
        (end_of(3), Lots()),
        (per_period(3), Window()),
        (rollover(3), Block()),
        (end_of(1), Window((Counted(Decimal(1), Decimal(1)),))),
        (per_period(2), Block(2)),
        (rollover(2), Lots((Lot(Decimal(1), 3),))),
    ],
)
def test_a_state_of_other_terms_is_refused(smoothing: Smoothing, state: State) -> None:
    with pytest.raises(OverageError) as caught:
        smooth(smoothing, state, usage(1))
    assert caught.value.code == "smoothing_state"


@pytest.mark.parametrize(
    ("period", "code"),
    [
        (usage(-1), "negative_quantity"),
        (usage("NaN"), "missing_quantity"),
        (usage(1, -1), "negative_included_units"),
        (usage(1, 1, "NaN"), "missing_price"),
    ],
)
def test_incomplete_usage_is_named(period: PeriodUsage, code: str) -> None:
    for smoothing in (end_of(3), per_period(3), rollover(3)):
        with pytest.raises(OverageError) as caught:
            smooth(smoothing, None, period)
        assert caught.value.code == code
