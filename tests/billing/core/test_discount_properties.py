"""Discounts equal a slow calculation that counts days one by one in fractions, whatever is credited afterwards."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.discounts import (
    Budget,
    Discount,
    DiscountedItem,
    budget_use,
    discount_amount_of,
    discount_lines,
    given_of,
)
from billing.core.types import (
    ChargeModel,
    ChargeType,
    Currency,
    DiscountLevel,
    Line,
    LineKind,
    Period,
    Segment,
)
from tests.billing.core import BHD, JPY, USD
from tests.billing.core.test_money import half_up

FIRST = date(2026, 1, 1)
LATE = date(2027, 1, 1)
Amounts = dict[tuple[int, Period, int], Fraction]
"""What is taken off, by charge and period of the reduced line and the discount."""


def after(count: int) -> date:
    return FIRST + timedelta(days=count)


def days_of(period: Period) -> list[date]:
    return [period.start + timedelta(days=count) for count in range((period.end - period.start).days)]


PERIODS = st.tuples(st.integers(0, 70), st.integers(1, 45)).map(lambda pair: Period(after(pair[0]), after(sum(pair))))
MODELS = st.sampled_from([ChargeModel.DISCOUNT_PERCENTAGE, ChargeModel.DISCOUNT_FIXED])
PERCENTAGES = st.sampled_from([Decimal(text) for text in ("0", "0.125", "10", "33.333333333", "50", "66.6", "100")])


@st.composite
def lines_in(draw: st.DrawFn, currency: Currency) -> list[Line]:
    """Lines of up to six charges; each period of a charge comes once."""
    found = {}
    for _ in range(draw(st.integers(1, 7))):
        charge_id, period = 100 + draw(st.integers(0, 5)), draw(PERIODS)
        found[charge_id, period] = Line(
            charge_id=charge_id,
            subscription_id=10 + charge_id % 2,
            segment_id=1,
            kind=draw(st.sampled_from([LineKind.RECURRING, LineKind.RECURRING, LineKind.ONE_TIME, LineKind.DISCOUNT])),
            description="Support",
            period=period,
            quantity=None,
            unit_price=None,
            amount=draw(st.decimals(-5, draw(st.sampled_from([1, 500])), places=currency.digits)),
            derivation="{}",
            invoice_separately=False,
            charge_number=f"C-{charge_id:08}",
            rate_plan_id=20 + charge_id % 3,
            segment_number=draw(st.integers(1, 3)),
        )
    return list(found.values())


@st.composite
def discount_lists(
    draw: st.DrawFn, currency: Currency, models: st.SearchStrategy[ChargeModel] = MODELS
) -> list[Discount]:
    """Up to four discounts whose percentages or budgets change, with gaps in between."""
    found = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        model = draw(models)
        marks = [after(count) for count in sorted(draw(st.sets(st.integers(-5, 120), min_size=2, max_size=6)))]
        if draw(st.booleans()):
            marks = [after(-400), *marks, after(800)]
        stretches = [pair for pair in pairwise(marks) if draw(st.integers(0, 5))]
        segments = tuple(
            Segment(n, n, start, end, None, draw(PERCENTAGES)) for n, (start, end) in enumerate(stretches, 1)
        )
        amounts = st.decimals(0, draw(st.sampled_from([1, 300])), places=currency.digits)
        budgets = tuple(Budget(Period(*pair), draw(amounts), draw(st.just(Decimal(0)) | amounts)) for pair in stretches)
        found.append(
            Discount(
                charge_id=number,
                number=f"C-{number:08}",
                name="Discount",
                subscription_id=10 + number % 2,
                rate_plan_id=20 + number % 3,
                model=model,
                level=draw(st.sampled_from(DiscountLevel)),
                applies_to=frozenset(draw(st.sets(st.sampled_from(ChargeType), min_size=1))),
                stacked=draw(st.booleans()),
                segments=segments if model is ChargeModel.DISCOUNT_PERCENTAGE else (),
                budgets=budgets if model is ChargeModel.DISCOUNT_FIXED else (),
            )
        )
    return found


CURRENCIES = st.sampled_from([USD, USD, JPY, BHD])
CASES = CURRENCIES.flatmap(lambda currency: st.tuples(st.just(currency), lines_in(currency), discount_lists(currency)))


def applies(discount: Discount, line: Line) -> bool:
    """Say whether a discount is meant for a line at all."""
    if line.kind.value not in {kind.value for kind in discount.applies_to} or line.amount <= 0:
        return False
    if discount.level is DiscountLevel.ACCOUNT:
        return True
    if discount.level is DiscountLevel.SUBSCRIPTION:
        return discount.subscription_id == line.subscription_id
    return discount.rate_plan_id == line.rate_plan_id


def percentage_off(discount: Discount, base: Fraction, period: Period, digits: int) -> Fraction:
    """Return what a percentage takes off, from the percentage in force on each single day."""
    days = days_of(period)
    total = Fraction(0)
    for each in days:
        for segment in discount.segments:
            if segment.start <= each and (segment.end is None or each < segment.end):
                total += Fraction(segment.price or 0)
    return half_up(base * total / 100 / len(days), digits)


def oracle(lines: Sequence[Line], discounts: Sequence[Discount], digits: int) -> Amounts:
    """Return all that is taken off, one discount after another."""
    found: Amounts = defaultdict(Fraction)
    left = {(line.charge_id, line.period): Fraction(line.amount) for line in lines}
    for discount in sorted(discounts, key=lambda each: each.number):
        meant = [line for line in lines if applies(discount, line)]
        meant.sort(key=lambda line: (line.segment_number, line.period.start, line.charge_number, line.period.end))
        at_first = dict(left)
        if discount.model is ChargeModel.DISCOUNT_PERCENTAGE:
            for line in meant:
                key = line.charge_id, line.period
                base = Fraction(line.amount) if discount.stacked else left[key]
                off = min(left[key], percentage_off(discount, base, line.period, digits))
                found[*key, discount.charge_id] += off
                left[key] -= off
            continue
        for budget in sorted(discount.budgets, key=lambda each: each.period.start):
            rest = max(Fraction(0), Fraction(budget.amount) - Fraction(budget.used))
            for line in meant:
                key = line.charge_id, line.period
                days = days_of(line.period)
                before = sum(each < budget.period.start for each in days)
                through = sum(each < budget.period.end for each in days)
                share = half_up(at_first[key] * through / len(days), digits)
                share -= half_up(at_first[key] * before / len(days), digits)
                off = min(rest, share, left[key])
                found[*key, discount.charge_id] += off
                rest -= off
                left[key] -= off
    return {key: off for key, off in found.items() if off}


def by_place(lines: Sequence[Line]) -> Amounts:
    """Return what discount lines take off, and see that none comes twice."""
    found: Amounts = {}
    for line in lines:
        assert line.reduces is not None
        key = (*line.reduces[:2], line.charge_id)
        assert key not in found
        found[key] = -Fraction(line.amount)
    return found


@settings(max_examples=500)
@given(CASES)
def test_discounts_equal_the_slow_calculation(case: tuple[Currency, list[Line], list[Discount]]) -> None:
    currency, lines, discounts = case
    found = discount_lines(lines, discounts, currency=currency, target_date=LATE)
    assert by_place(found) == oracle(lines, discounts, currency.digits)
    off: dict[tuple[int, Period], Decimal] = defaultdict(Decimal)
    for each in found:
        assert each.amount < 0
        assert each.amount.as_tuple().exponent == -currency.digits
        assert discount_amount_of(each.derivation, currency) == each.amount
        assert each.reduces is not None
        off[each.reduces[:2]] += each.amount
    for line in lines:
        if (line.charge_id, line.period) in off:
            assert line.amount + off[line.charge_id, line.period] >= 0
    for discount in discounts:
        use = budget_use(
            [e.derivation for e in found if e.charge_id == discount.charge_id and discount.budgets], currency
        )
        for budget in discount.budgets:
            assert use.get(budget.period.start, 0) <= max(Decimal(0), budget.amount - budget.used)


@settings(max_examples=150)
@given(CASES, st.data())
def test_the_order_of_lines_and_discounts_plays_no_part(
    case: tuple[Currency, list[Line], list[Discount]], data: st.DataObject
) -> None:
    currency, lines, discounts = case
    shuffled = discount_lines(
        data.draw(st.permutations(lines)),
        data.draw(st.permutations(discounts)),
        currency=currency,
        target_date=LATE,
    )
    assert shuffled == discount_lines(lines, discounts, currency=currency, target_date=LATE)


def as_billed(
    item: Line, covered: Period, amount: Decimal, so_far: Sequence[Line], currency: Currency
) -> DiscountedItem:
    """Return a line as the item that it became, with all that reduces it."""
    derivations = defaultdict(list)
    for each in so_far:
        derivations[each.charge_id].append(each.derivation)
    return DiscountedItem(
        7,
        item.charge_id,
        item.charge_number,
        item.description,
        item.subscription_id,
        item.rate_plan_id,
        item.invoice_separately,
        item.amount,
        covered,
        amount,
        tuple(given_of(charge_id, found, currency) for charge_id, found in derivations.items()),
    )


def taken_in_all(lines: Sequence[Line]) -> dict[int, Decimal]:
    """Return what each discount takes off after all."""
    found: dict[int, Decimal] = defaultdict(Decimal)
    for line in lines:
        found[line.charge_id] -= line.amount
    return {charge_id: amount for charge_id, amount in found.items() if amount}


@settings(max_examples=400)
@given(CASES, st.data())
def test_credits_leave_what_the_rest_of_the_item_earns(
    case: tuple[Currency, list[Line], list[Discount]], data: st.DataObject
) -> None:
    currency, (item, *_), discounts = case
    item = item._replace(kind=LineKind.RECURRING, amount=abs(item.amount))
    lines = discount_lines([item], discounts, currency=currency, target_date=LATE)
    given_at_first = taken_in_all(lines)
    covered, amount = item.period, item.amount
    length = (item.period.end - item.period.start).days
    kept_lengths = data.draw(st.lists(st.integers(0, length - 1), unique=True, min_size=1, max_size=3))
    for kept_length in sorted(kept_lengths, reverse=True):
        end = item.period.start + timedelta(days=kept_length)
        cut = amount if not kept_length else data.draw(st.decimals(0, amount, places=currency.digits))
        credit = item._replace(kind=LineKind.CREDIT, period=Period(end, covered.end), amount=-cut, credits_item=7)
        found = discount_lines(
            [credit],
            data.draw(st.permutations(discounts)),
            currency=currency,
            target_date=LATE,
            billed=[as_billed(item, covered, amount, lines, currency)],
        )
        assert all(discount_amount_of(each.derivation, currency) == each.amount for each in found)
        assert all(each.reduces == (item.charge_id, credit.period, LineKind.CREDIT) for each in found)
        lines += found
        covered, amount = Period(item.period.start, end), amount - cut
        in_all = taken_in_all(lines)
        assert all(each >= 0 for each in in_all.values())
        assert sum(in_all.values()) <= amount
        percentages = [each for each in discounts if not each.budgets and each.charge_id in given_at_first]
        if amount and len(percentages) == len(given_at_first):
            kept = item._replace(period=covered, amount=amount)
            earned = oracle([kept], percentages, currency.digits)
            assert in_all == {charge_id: off for (_, _, charge_id), off in earned.items()}
        for discount in discounts:
            use = budget_use(
                [e.derivation for e in lines if e.charge_id == discount.charge_id and discount.budgets], currency
            )
            assert all(each >= 0 for each in use.values())
            if discount.budgets:
                assert sum(use.values()) == in_all.get(discount.charge_id, 0)
    if not amount:
        assert not in_all


@settings(max_examples=200)
@given(
    CURRENCIES.flatmap(
        lambda currency: st.tuples(
            st.just(currency),
            lines_in(currency),
            discount_lists(currency, st.just(ChargeModel.DISCOUNT_PERCENTAGE)),
        )
    ),
    st.integers(-5, 120),
)
def test_a_discount_that_ends_takes_off_what_it_would_have_had_it_always_ended(
    case: tuple[Currency, list[Line], list[Discount]], end: int
) -> None:
    currency, (item, *_), discounts = case
    item = item._replace(kind=LineKind.RECURRING, amount=abs(item.amount))
    lines = discount_lines([item], discounts, currency=currency, target_date=LATE)
    ended = [
        discount._replace(
            segments=tuple(
                segment._replace(end=max(segment.start, min(segment.end or LATE, after(end))))
                for segment in discount.segments
                if segment.start <= after(end)
            )
        )
        for discount in discounts
    ]
    for _ in range(2):
        billed = [as_billed(item, item.period, item.amount, lines, currency)]
        lines += discount_lines([], ended, currency=currency, target_date=LATE, billed=billed)
    given_at_first = {each.charge_id for each in lines}
    earned = oracle([item], [each for each in ended if each.charge_id in given_at_first], currency.digits)
    # A discount with no end within the days has not changed, and then nothing does.
    if any(
        item.period.start <= (s.end or LATE) < item.period.end
        for d in ended
        if d.charge_id in given_at_first
        for s in d.segments
    ):
        assert taken_in_all(lines) == {charge_id: off for (_, _, charge_id), off in earned.items()}
