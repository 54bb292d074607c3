"""Overage smoothing equals slow simulations from scratch, unit by unit, and all its workings re-add (domain.md 2.4)."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.money import round_amount
from billing.core.overage import overage
from billing.core.smoothing import PeriodUsage, Smoothed, exact_amount_of
from tests.billing.core import USD
from tests.billing.core.test_overage import derivation_of
from tests.billing.core.test_smoothing import amounts, end_of, per_period, rollover, run, units

SMALL = st.integers(0, 12)
CENTS = st.integers(0, 40)
PERIODS = st.lists(st.tuples(SMALL, SMALL, CENTS), min_size=1, max_size=14)
LENGTHS = st.integers(1, 5)
SCALES = st.sampled_from([0, 3])


def usages_of(rows: list[tuple[int, int, int]], scale: int) -> list[PeriodUsage]:
    """Return periods of whole units, or of thousandths when the scale is 3; prices are thousandths."""
    return [
        PeriodUsage(Decimal(q).scaleb(-scale), Decimal(included).scaleb(-scale), Decimal(cents).scaleb(-3))
        for q, included, cents in rows
    ]


def windows_from_scratch(rows: list[tuple[int, int, int]], n: int) -> list[int]:
    """For each period, look back at the last n and at the last charge only; nothing is carried along."""

    def over(last: int) -> int:
        first = last - n + 1
        if first < 0 or any(over(earlier) for earlier in range(first, last)):
            return 0
        return max(0, sum(q - included for q, included, _ in rows[first : last + 1]))

    return [over(last) for last in range(len(rows))]


def block_money_from_scratch(rows: list[tuple[int, int, int]], n: int, credit_rate: int) -> list[int]:
    """Keep a pile of charged units, each with its price on it; lay on or take off until it is as high as it must be."""
    charges = []
    for start in range(0, len(rows), n):
        pile: list[int] = []
        for index, (_, included, cents) in enumerate(rows[start : start + n]):
            worth = sum(pile)
            so_far = rows[start : start + index + 1]
            allowance = sum(row[1] for row in so_far) + included * (n - len(so_far))
            height = max(0, sum(row[0] for row in so_far) - allowance)
            pile = pile[:height] + [cents] * (height - len(pile))
            unused = max(0, allowance - sum(row[0] for row in so_far)) if len(so_far) == n else 0
            charges.append(sum(pile) - worth - unused * credit_rate)
    return charges


def rollover_unit_by_unit(rows: list[tuple[int, int, int]], n: int) -> list[int]:
    """Every included unit is a token that bears the last period it is good for; each used unit takes the oldest."""
    tokens: list[int] = []
    over = []
    for period, (quantity, included, _) in enumerate(rows):
        tokens = sorted([good for good in tokens if good >= period] + [period + n] * included)
        over.append(max(0, quantity - len(tokens)))
        tokens = tokens[quantity:]
    return over


@given(PERIODS, LENGTHS, SCALES)
@settings(max_examples=1000)
def test_windows_equal_a_look_back_from_scratch(rows: list[tuple[int, int, int]], n: int, scale: int) -> None:
    with localcontext(prec=2):
        results = run(end_of(n), usages_of(rows, scale))
    expected = windows_from_scratch(rows, n)
    assert [Fraction(over) * 10**scale for over in units(results)] == expected
    assert [Fraction(amount) * 10 ** (scale + 3) for amount in amounts(results)] == [
        over * cents for over, (_, _, cents) in zip(expected, rows, strict=True)
    ]


@given(PERIODS, LENGTHS, SCALES, CENTS)
@settings(max_examples=1000)
def test_blocks_equal_a_pile_of_charged_units(
    rows: list[tuple[int, int, int]], n: int, scale: int, credit_rate: int
) -> None:
    with localcontext(prec=2):
        results = run(per_period(n, str(Decimal(credit_rate) / 1000)), usages_of(rows, scale))
    expected = block_money_from_scratch(rows, n, credit_rate)
    assert [Fraction(amount) * 10 ** (scale + 3) for amount in amounts(results)] == expected
    plain = run(per_period(n), usages_of(rows, scale))
    assert units(plain) == units(results)
    assert [Fraction(amount) * 10 ** (scale + 3) for amount in amounts(plain)] == block_money_from_scratch(rows, n, 0)


@given(PERIODS, LENGTHS)
def test_a_closed_block_has_charged_its_overage_exactly(rows: list[tuple[int, int, int]], n: int) -> None:
    over = units(run(per_period(n), usages_of(rows, 0)))
    for start in range(0, len(rows) - n + 1, n):
        assert sum(over[start : start + n]) == max(0, sum(q - included for q, included, _ in rows[start : start + n]))


@given(PERIODS, LENGTHS, SCALES)
@settings(max_examples=1000)
def test_rollover_equals_tokens_taken_one_by_one(rows: list[tuple[int, int, int]], n: int, scale: int) -> None:
    with localcontext(prec=2):
        results = run(rollover(n), usages_of(rows, scale))
    expected = rollover_unit_by_unit(rows, n)
    assert [Fraction(over) * 10**scale for over in units(results)] == expected
    assert [Fraction(amount) * 10 ** (scale + 3) for amount in amounts(results)] == [
        over * cents for over, (_, _, cents) in zip(expected, rows, strict=True)
    ]


@given(PERIODS)
def test_units_that_never_expire_leave_the_worst_shortfall_so_far(rows: list[tuple[int, int, int]]) -> None:
    charged = accumulate(units(run(rollover(len(rows)), usages_of(rows, 0))))
    shortfall = accumulate(q - included for q, included, _ in rows)
    assert list(charged) == [max(0, worst) for worst in accumulate(shortfall, max)]


@given(PERIODS)
def test_smoothing_over_one_period_is_plain_overage(rows: list[tuple[int, int, int]]) -> None:
    usages = usages_of(rows, 3)
    plain = [overage(period.quantity, period.included, period.price).amount for period in usages]
    assert amounts(run(end_of(1), usages)) == amounts(run(per_period(1), usages)) == plain


@given(PERIODS, st.integers(1, 5))
def test_smoothing_never_costs_more_units_than_plain_overage(rows: list[tuple[int, int, int]], n: int) -> None:
    plain = sum(max(0, q - included) for q, included, _ in rows)
    for smoothing in (end_of(n), rollover(n)):
        assert sum(units(run(smoothing, usages_of(rows, 0)))) <= plain


QUANTITIES = st.decimals(0, 2000, places=3)
USAGES = st.builds(PeriodUsage, QUANTITIES, QUANTITIES, st.decimals(0, 50, places=9), st.just(False))


@st.composite
def smoothed_lives(draw: st.DrawFn) -> list[Smoothed]:
    """The life of a charge of any smoothing, perhaps with a partial first period, whose terms change as they like."""
    n = draw(LENGTHS)
    rate = str(draw(st.decimals(0, 50, places=9)))
    smoothing = draw(st.sampled_from([end_of(n), per_period(n), per_period(n, rate), rollover(n)]))
    usages = draw(st.lists(USAGES, min_size=1, max_size=12))
    return run(smoothing, [usages[0]._replace(partial=draw(st.booleans())), *usages[1:]])


@given(smoothed_lives())
@settings(max_examples=1500)
def test_every_working_re_adds_from_its_steps_and_from_the_usage(results: list[Smoothed]) -> None:
    for rate, _ in results:
        derivation = derivation_of(rate)
        assert amount_of(derivation, USD) == round_amount(rate.amount, USD)
        assert exact_amount_of(derivation) == Fraction(rate.amount)
