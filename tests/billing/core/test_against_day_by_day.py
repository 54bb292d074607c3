"""Pricing equals a slow calculation that walks day by day in fractions, run once or run every day (I8)."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.pricing import price
from billing.core.types import (
    Account,
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Line,
    ListPriceBase,
    PriceFormat,
    Rules,
    Segment,
    Tier,
)
from tests.billing.core import BHD, BLUEFIN, JPY, USD
from tests.billing.core.test_money import half_up
from tests.billing.core.test_periods import is_billing_day

ONE_DAY = timedelta(days=1)
MONTHS = {"Month": 1, "Quarter": 3, "SemiAnnual": 6, "Annual": 12}
BASES = {"PerMonth": 1, "PerYear": 12}
MODELS = (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT, ChargeModel.TIERED, ChargeModel.VOLUME)
FIRST, LAST = date(2024, 1, 1), date(2026, 6, 30)

PRICES = st.decimals(0, 5000, places=4)


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(st.integers(1, 35), max_size=3)))
    formats = st.sampled_from(PriceFormat)
    bounded = [Tier(Decimal(end), draw(PRICES), draw(formats)) for end in ends]
    return (*bounded, Tier(None, draw(PRICES), draw(formats)))


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    """A charge with up to three prices, perhaps a suspension, perhaps an end, perhaps billed in part."""
    start = draw(st.dates(FIRST, LAST))
    recurring = draw(st.integers(0, 9)) > 0
    terms = ChargeTerms(
        charge_type=ChargeType.RECURRING if recurring else ChargeType.ONE_TIME,
        charge_model=draw(st.sampled_from(MODELS)),
        billing_timing=draw(st.sampled_from(BillingTiming)),
        billing_period=BillingPeriod(draw(st.sampled_from(sorted(MONTHS)))),
        list_price_base=ListPriceBase(draw(st.sampled_from([*BASES, "PerBillingPeriod"]))),
        billing_day_type=draw(st.sampled_from([BillingDayType.ACCOUNT, BillingDayType.CHARGE_TRIGGER_DAY])),
        alignment=draw(st.sampled_from([Alignment.CHARGE, Alignment.SUBSCRIPTION_START])),
    )
    segments: list[Segment] = []
    begin = start
    for number in range(1, draw(st.integers(1, 3)) + 1):
        end = begin + timedelta(days=draw(st.integers(1, 300)))
        segments.append(
            Segment(
                segment_id=number * 10,
                number=number,
                start=begin,
                end=end,
                quantity=Decimal(draw(st.integers(0, 40))),
                price=draw(PRICES),
                tiers=draw(tier_lists()),
            )
        )
        begin = end + timedelta(days=draw(st.sampled_from([0, 0, 0, 1, 17, 45])))
    if draw(st.booleans()):
        segments[-1] = segments[-1]._replace(end=None)
    return Charge(
        charge_id=1,
        number="C-1",
        name="Support",
        subscription_id=1,
        subscription_start=start - timedelta(days=draw(st.integers(0, 500))),
        invoice_separately=False,
        trigger_date=start,
        billed_through=draw(st.none() | st.integers(0, 400).map(lambda days: start + timedelta(days=days))),
        terms=terms,
        segments=tuple(segments),
    )


ACCOUNTS = st.builds(
    lambda day, currency: BLUEFIN._replace(bill_cycle_day=day, currency=currency),
    st.integers(1, 31),
    st.sampled_from([USD, JPY, BHD]),
)


class Calendar:
    """Billing days found by stepping from day to day, forwards and backwards from the anchor."""

    def __init__(self, origin: date, billing_day: int, months: int) -> None:
        anchor = origin
        while not is_billing_day(anchor, billing_day):
            anchor += ONE_DAY
        self.billing_days: list[date] = []
        self.boundaries: set[date] = set()
        for step in (ONE_DAY, -ONE_DAY):
            when, passed = anchor, 0
            while date(2022, 1, 1) < when < date(2030, 1, 1):
                if is_billing_day(when, billing_day):
                    self.billing_days.append(when)
                    if passed % months == 0:
                        self.boundaries.add(when)
                    passed += 1
                when += step
        self.billing_days = sorted(set(self.billing_days))

    def months(self, days: list[date]) -> Fraction:
        """Each day counts as one day of the billing month it lies in."""
        total = Fraction(0)
        for when in days:
            closing = next(each for each in self.billing_days if each > when)
            opening = self.billing_days[self.billing_days.index(closing) - 1]
            total += Fraction(1, (closing - opening).days)
        return total


def rate(model: ChargeModel, segment: Segment) -> Fraction:
    """Price a whole number of units one by one."""
    assert segment.price is not None
    assert segment.quantity is not None
    if model is ChargeModel.FLAT_FEE:
        return Fraction(segment.price)
    units = range(1, int(segment.quantity) + 1)
    if model is ChargeModel.PER_UNIT:
        return sum((Fraction(segment.price) for _ in units), Fraction(0))

    def tier_of(unit: int) -> Tier:
        return next(tier for tier in segment.tiers if tier.up_to is None or unit <= tier.up_to)

    if model is ChargeModel.TIERED:
        total = Fraction(0)
        for tier, inside in groupby(units, key=tier_of):
            number = len(list(inside))
            total += Fraction(tier.price) * (1 if tier.price_format is PriceFormat.FLAT_FEE else number)
        return total
    tier = tier_of(int(segment.quantity))
    return Fraction(tier.price) * (1 if tier.price_format is PriceFormat.FLAT_FEE else len(units))


def periods_day_by_day(charge: Charge, calendar: Calendar, horizon: date) -> Iterator[list[tuple[date, Segment]]]:
    """Walk the days of service, covered or not; a period ends on a boundary, at a pause and at the end."""
    current: list[tuple[date, Segment]] = []
    when = charge.segments[0].start
    while when < horizon:
        segment = next((s for s in charge.segments if s.start <= when and (s.end is None or when < s.end)), None)
        if current and (segment is None or when in calendar.boundaries):
            yield current
            current = []
        if segment is not None:
            current.append((when, segment))
        when += ONE_DAY


def owed(account: Account, charge: Charge, target: date, *, prorate: bool) -> list[tuple[int, date, date, Fraction]]:
    """Return (segment number, start, end, amount) of every line, the slow way."""
    terms, digits = charge.terms, account.currency.digits
    assert charge.trigger_date is not None
    assert terms.billing_period is not None
    if terms.charge_type is ChargeType.ONE_TIME:
        if charge.billed_through is not None or charge.trigger_date > target:
            return []
        first = charge.segments[0]
        amount = half_up(rate(terms.charge_model, first), digits)
        return [(first.number, charge.trigger_date, charge.trigger_date + ONE_DAY, amount)]
    months = MONTHS[terms.billing_period]
    base = BASES.get(terms.list_price_base, months)
    own_day = terms.billing_day_type is BillingDayType.CHARGE_TRIGGER_DAY
    origin = charge.trigger_date if terms.alignment is Alignment.CHARGE else charge.subscription_start
    calendar = Calendar(origin, charge.trigger_date.day if own_day else account.bill_cycle_day, months)
    found = []
    for period in periods_day_by_day(charge, calendar, target + timedelta(days=400)):
        left = [pair for pair in period if charge.billed_through is None or pair[0] >= charge.billed_through]
        if not left:
            continue
        due = left[0][0] if terms.billing_timing is BillingTiming.IN_ADVANCE else left[-1][0] + ONE_DAY
        if due > target:
            break
        whole = Fraction(months) if prorate else calendar.months([when for when, _ in period])
        for segment, part in groupby(left, key=lambda pair: pair[1]):
            days = [when for when, _ in part]
            share = calendar.months(days) / whole
            amount = half_up(rate(terms.charge_model, segment) * months / base * share, digits)
            found.append((segment.number, days[0], days[-1] + ONE_DAY, amount))
    return found


def short(lines: list[Line]) -> list[tuple[int, date, date, Fraction]]:
    return [(line.segment_id // 10, *line.period, Fraction(line.amount)) for line in lines]


@given(ACCOUNTS, charges(), st.integers(-10, 700), st.booleans())
@settings(max_examples=150, deadline=None)
def test_price_equals_the_slow_calculation(account: Account, charge: Charge, wait: int, prorate: bool) -> None:
    target = charge.segments[0].start + timedelta(days=wait)
    rules = Rules(prorate_partial_periods=prorate)
    pricing = price(account, [charge], rules=rules, target_date=target, max_lines_per_charge=999)
    assert pricing.problems == []
    assert short(pricing.lines) == owed(account, charge, target, prorate=prorate)
    for line in pricing.lines:
        assert amount_of(line.derivation, account.currency) == line.amount
        if charge.terms.charge_model in (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT):
            assert len(line.derivation.encode()) <= 160


@given(ACCOUNTS, charges(), st.lists(st.integers(0, 700), min_size=1, max_size=30))
@settings(deadline=None)
def test_runs_on_any_days_bill_what_one_run_bills(account: Account, charge: Charge, waits: list[int]) -> None:
    """A run moves the frontier to the end of what it billed; the last run finds what is left, and no more."""
    targets = sorted(charge.segments[0].start + timedelta(days=wait) for wait in waits)
    once = price(account, [charge], rules=Rules(), target_date=targets[-1], max_lines_per_charge=999).lines
    step_by_step: list[Line] = []
    for target in targets:
        found = price(account, [charge], rules=Rules(), target_date=target, max_lines_per_charge=999).lines
        if found:
            step_by_step += found
            charge = charge._replace(billed_through=found[-1].period.end)
    assert step_by_step == once


@given(ACCOUNTS, charges())
@settings(max_examples=15, deadline=None)
def test_daily_runs_bill_what_one_run_bills(account: Account, charge: Charge) -> None:
    start = charge.segments[0].start
    once = price(account, [charge], rules=Rules(), target_date=start + timedelta(days=500), max_lines_per_charge=999)
    daily: list[Line] = []
    for wait in range(501):
        target = start + timedelta(days=wait)
        found = price(account, [charge], rules=Rules(), target_date=target, max_lines_per_charge=999).lines
        if found:
            daily += found
            charge = charge._replace(billed_through=found[-1].period.end)
    assert daily == once.lines


@given(ACCOUNTS, charges(), st.integers(0, 700), st.integers(1, 300))
@settings(deadline=None)
def test_a_price_change_to_the_same_price_moves_no_more_than_a_unit(
    account: Account, charge: Charge, wait: int, cut: int
) -> None:
    """Splitting a period in two rounds twice instead of once; nothing else may change."""
    whole = charge.segments[0]._replace(end=None)
    middle = whole.start + timedelta(days=cut)
    split = whole._replace(end=middle), whole._replace(start=middle, number=2, segment_id=20)
    target = whole.start + timedelta(days=wait)
    found = [
        price(
            account, [charge._replace(segments=segments)], rules=Rules(), target_date=target, max_lines_per_charge=999
        )
        for segments in ((whole,), split)
    ]
    once, twice = (sum((Fraction(line.amount) for line in pricing.lines), Fraction(0)) for pricing in found)
    assert abs(once - twice) <= Fraction(1, 10**account.currency.digits)
