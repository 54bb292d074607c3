"""Usage costs the same however it is sliced and whenever it is rated: equal to a slow oracle after every run (I5, I8)."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, UnusedUnitsCredit
from billing.core.types import BillingPeriod, ChargeModel, PriceFormat, RatingGroup, Rules, Segment, Tier, UsageRating
from billing.core.units import RoundingMode, UnitOfMeasure
from billing.core.usage import UsageTerms
from tests.billing.core import BHD, BLUEFIN, JPY, USD
from tests.billing.core.meter import Meter, Record, metered, total
from tests.billing.core.test_money import half_up
from tests.billing.core.usage_oracle import cost, owed, quantities, windows_of

SEEDS = st.integers(0, 2**40)
TIERED = (ChargeModel.TIERED, ChargeModel.VOLUME, ChargeModel.TIERED_WITH_OVERAGE)
PLAIN = (ChargeModel.PER_UNIT, ChargeModel.OVERAGE, *TIERED)
FIRST = date(2024, 1, 1)


def random_price(source: Random) -> Decimal:
    return Decimal(source.randrange(0, 50_000)).scaleb(-source.choice((0, 2, 4)))


def random_tiers(source: Random, model: ChargeModel) -> tuple[Tier, ...]:
    ends = sorted(source.sample(range(1, 60), source.randrange(4) + (model is ChargeModel.TIERED_WITH_OVERAGE)))
    formats = list(PriceFormat)
    bounded = [Tier(Decimal(end), random_price(source), source.choice(formats)) for end in ends]
    last = PriceFormat.PER_UNIT if model is ChargeModel.TIERED_WITH_OVERAGE else source.choice(formats)
    return (*bounded, Tier(None, random_price(source), last))


def random_segments(source: Random, model: ChargeModel) -> list[Segment]:
    """One to three prices, one after another or with a pause between, perhaps with an end."""
    start = FIRST + timedelta(days=source.randrange(60))
    found: list[Segment] = []
    for number in range(1, source.choice((1, 1, 2, 3)) + 1):
        price, included = random_price(source), Decimal(source.randrange(40))
        segment_tiers = random_tiers(source, model) if model in TIERED else ()
        end = start + timedelta(days=source.randrange(1, 90))
        found.append(Segment(number, number, start, end, included, price, segment_tiers))
        start = end + timedelta(days=source.choice((0, 0, 5, 40)))
    if source.random() < 0.7:
        found[-1] = found[-1]._replace(end=None)
    return found


def random_terms(source: Random) -> UsageTerms:
    unit = UnitOfMeasure("GB", source.choice((0, 0, 1, 3)), source.choice((RoundingMode.UP, RoundingMode.DOWN)))
    rating = source.choice((UsageRating.END_OF_PERIOD, UsageRating.ON_DEMAND))
    return UsageTerms(unit, source.choice(list(RatingGroup)), rating)


def random_meter(source: Random, *, smoothed: bool = False) -> Meter:
    model = ChargeModel.OVERAGE if smoothed else source.choice(PLAIN)
    segments = random_segments(source, model)
    period = source.choice((BillingPeriod.MONTH, BillingPeriod.MONTH, BillingPeriod.QUARTER))
    terms = random_terms(source)
    rules = Rules(bill_usage_partial_months=source.random() < 0.7, rate_usage_individually=source.random() < 0.3)
    account = BLUEFIN._replace(
        currency=source.choice((USD, JPY, BHD)), bill_cycle_day=source.choice((1, 1, 15, 28, 31))
    )
    if smoothed:
        terms = UsageTerms(terms.unit._replace(decimals=0), terms.rating_group, terms.rating, random_smoothing(source))
        account = account._replace(currency=USD)
        rate = Decimal(source.randrange(200)).scaleb(-2)
        segments = [
            segment._replace(price=Decimal(source.randrange(300)).scaleb(-2), credit_rate=rate) for segment in segments
        ]
    start = segments[0].start.isoformat()
    return Meter(metered(model, start, *segments, billing_period=period), terms, account, rules)


def random_smoothing(source: Random) -> Smoothing:
    n = source.randint(1, 4)
    return source.choice(
        (
            Smoothing(SmoothingModel.ROLLING_WINDOW, n),
            Smoothing(SmoothingModel.ROLLING_WINDOW, n, OverageCalculation.PER_BILLING_PERIOD),
            Smoothing(
                SmoothingModel.ROLLING_WINDOW,
                n,
                OverageCalculation.PER_BILLING_PERIOD,
                UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE,
            ),
            Smoothing(SmoothingModel.ROLLOVER, n),
        )
    )


def random_records(source: Random, start: date, days: int, uploads: int) -> list[Record]:
    """Records on any day, with as many decimals as they like, in any of the uploads."""
    return [
        Record(
            start + timedelta(days=source.randrange(-3, days)),
            Decimal(source.randrange(0, 30_000)).scaleb(-source.choice((3, 3, 4, 2))),
            source.randint(1, uploads),
        )
        for _ in range(source.randrange(1, 14))
    ]


def upload(meter: Meter, records: Sequence[Record], source: Random) -> None:
    """Add records in slices: those of a day and upload together, or each by itself."""
    groups: dict[object, list[Record]] = {}
    for place, record in enumerate(records):
        groups.setdefault((record.day, record.upload, place if source.random() < 0.3 else 0), []).append(record)
    for found in groups.values():
        meter.add(found)


def check_lines(meter: Meter) -> None:
    for line in meter.lines:
        assert amount_of(line.derivation, meter.account.currency) == line.amount, line


def live(meter: Meter, source: Random) -> tuple[list[Record], date]:
    """Let usage come in, in time or late, between runs on any days; everything is right after each run."""
    start = meter.charge.segments[0].start
    records = random_records(source, start, 150, 4)
    source.shuffle(records)
    cuts = sorted(source.randrange(len(records) + 1) for _ in range(source.randint(1, 5)))
    known: list[Record] = []
    target = start
    for begin, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        upload(meter, records[begin:end], source)
        known += records[begin:end]
        target += timedelta(days=source.randint(1, 50))
        meter.run(target)
        assert Fraction(total(meter.lines)) == owed(meter, known, target)
        assert meter.run(target) == [], "the same run again"
    return known, target


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=4_500)
def test_whenever_it_is_rated_usage_costs_what_the_oracle_says(seed: int) -> None:
    source = Random(seed)
    meter = random_meter(source)
    known, target = live(meter, source)
    check_lines(meter)
    closed = [window for window in windows_of(meter, target) if window.closes <= target]
    left = [each.days.start for each in meter.pending()]
    assert not any(window.first <= on < window.closes for window in closed for on in left if _served(meter, on))
    billed: Counter[int] = Counter(pk for rated in meter.rated for pk in rated.slices)
    assert all(times == 1 for times in billed.values())
    check_quantities(meter, known, target)


def _served(meter: Meter, on: date) -> bool:
    return any(segment.start <= on and (segment.end is None or on < segment.end) for segment in meter.charge.segments)


def check_quantities(meter: Meter, records: Sequence[Record], target: date) -> None:
    """The quantities of all lines of the same days add up to what was used on them, rounded as the unit says."""
    for window in meter.windows():
        used = [record for record in records if window.days.start <= record.day < window.days.end]
        expected = sum(quantities(meter, used), Fraction(0))
        assert Fraction(window.quantity) == expected
        of_window = [
            line for line in meter.lines if line.rated is not None and line.rated.counted_from == window.days.start
        ]
        assert Fraction(sum((line.quantity or Decimal(0) for line in of_window), Decimal(0))) == expected


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=2_500)
def test_smoothed_usage_costs_what_the_oracle_says(seed: int) -> None:
    source = Random(seed)
    meter = random_meter(source, smoothed=True)
    known, _ = live(meter, source)
    check_lines(meter)
    assert Fraction(sum((line.quantity or Decimal(0) for line in meter.lines), Decimal(0))) == sum(
        (
            sum(quantities(meter, [r for r in known if window.days.start <= r.day < window.days.end]), Fraction(0))
            for window in meter.windows()
        ),
        Fraction(0),
    )


@given(SEEDS)
@settings(max_examples=1_000)
def test_runs_on_many_days_bill_what_one_run_bills(seed: int) -> None:
    source = Random(seed)
    often = random_meter(source, smoothed=source.random() < 0.3)
    once = Meter(often.charge, often.terms, often.account, often.rules)
    start = often.charge.segments[0].start
    records = random_records(source, start, 120, 3)
    upload(often, records, source)
    upload(once, records, source)
    end = start + timedelta(days=125)
    target = start
    while target < end:
        target += timedelta(days=source.randint(1, 9))
        often.run(min(target, end))
    once.run(end)
    assert total(often.lines) == total(once.lines)
    assert often.terms.rating is UsageRating.ON_DEMAND or [line[5:10] for line in often.lines] == [
        line[5:10] for line in once.lines
    ]


@given(SEEDS)
@settings(max_examples=1_000)
def test_slices_of_any_size_cost_the_same(seed: int) -> None:
    """Counted by the period or by upload, it plays no part how the records of a period are sliced."""
    source = Random(seed)
    meter = random_meter(source)
    group = source.choice((RatingGroup.BILLING_PERIOD, RatingGroup.UPLOAD, RatingGroup.RECORD))
    meter.terms = meter.terms._replace(rating_group=group, rating=UsageRating.END_OF_PERIOD)
    coarse = Meter(meter.charge, meter.terms, meter.account, meter.rules)
    end = meter.charge.segments[0].start + timedelta(days=200)
    records = random_records(source, meter.charge.segments[0].start, 150, 3)
    upload(meter, records, source)
    windows = windows_of(meter, end)
    whole: dict[object, list[Record]] = {}
    for record in records:
        place = max((number for number, window in enumerate(windows) if window.first <= record.day), default=-1)
        if _served(meter, record.day):
            whole.setdefault((record.upload, place), []).append(record)
    for found in whole.values():
        coarse.add(found)
    assert [line[5:10] for line in coarse.run(end)] == [line[5:10] for line in meter.run(end)]


@given(SEEDS)
@settings(max_examples=500)
def test_counted_by_the_period_it_plays_no_part_what_came_in_which_upload(seed: int) -> None:
    source = Random(seed)
    one = random_meter(source)
    one.terms = one.terms._replace(rating_group=RatingGroup.BILLING_PERIOD)
    other = Meter(one.charge, one.terms, one.account, one.rules)
    records = random_records(source, one.charge.segments[0].start, 150, 3)
    upload(one, records, source)
    upload(other, [record._replace(upload=source.randint(1, 9)) for record in records], source)
    end = one.charge.segments[0].start + timedelta(days=160)
    assert [line[5:10] for line in one.run(end)] == [line[5:10] for line in other.run(end)]


def test_the_lives_have_every_kind_of_line() -> None:
    """Otherwise the tests above would prove less than they say."""
    found: Counter[str] = Counter()
    for seed in range(600):
        source = Random(seed)
        meter = random_meter(source, smoothed=seed % 3 == 0)
        live(meter, source)
        for line in meter.lines:
            values = json.loads(line.derivation)
            assert line.rated is not None
            found.update(values.keys())
            found[line.rated.kind] += 1
            found["below zero"] += line.amount < 0
            found["not billed"] += values.get("part") == [0]
            found["by " + str(values.get("by", ["the period"])[0])] += 1
    wanted = ("Late", "Period", "less", "again", "raw", "below zero", "not billed", "lots", "w", "done", "first", "n")
    assert min(found[name] for name in wanted) >= 10, found
    assert (
        min(found["by " + group] for group in ("the period", "ByUsageRecord", "ByUsageUpload", "ByUsageStartDate")) > 50
    )


def amend(meter: Meter, source: Random, after: date) -> None:
    """End the running price some day from `after` on: another price, a pause, or the end of the charge."""
    *before, last = meter.charge.segments
    day = max(after, last.start) + timedelta(days=source.randrange(1, 40))
    if last.end is not None:
        return
    segments = [*before, last._replace(end=day)]
    what = source.choice(("price", "price", "pause", "cancel"))
    if what != "cancel":
        start = day if what == "price" else day + timedelta(days=source.randrange(1, 30))
        model = meter.charge.terms.charge_model
        new = last._replace(number=last.number + 1, segment_id=last.number + 1, start=start, price=random_price(source))
        segments.append(new._replace(tiers=random_tiers(source, model) if last.tiers else ()))
    meter.charge = meter.charge._replace(segments=tuple(segments))


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=1_500)
def test_amendments_and_moved_billing_days_leave_no_usage_behind_and_bill_none_twice(seed: int) -> None:
    """Every window costs what its usage costs at the price of its first day, and no two of them share a day."""
    source = Random(seed)
    meter = random_meter(source)
    meter.rules = meter.rules._replace(bill_usage_partial_months=True)
    first = meter.charge.segments[0]._replace(end=None)
    meter.charge = meter.charge._replace(segments=(first,))
    records = random_records(source, first.start, 200, 3)
    places = sorted(source.randrange(len(records) + 1) for _ in range(4))
    target = first.start
    for begin, end in zip([0, *places], [*places, len(records)], strict=True):
        upload(meter, records[begin:end], source)
        target += timedelta(days=source.randint(1, 60))
        meter.run(target)
        if source.random() < 0.5:
            amend(meter, source, target)
        if source.random() < 0.4:
            meter.account = meter.account._replace(bill_cycle_day=source.choice((1, 5, 12, 20, 28, 31)))
    for days in (130, 150):  # what is late for a window that the first run closes is billed by the second
        meter.run(target + timedelta(days=days))
    check_lines(meter)
    windows = [window.days for window in meter.windows()]
    assert all(one.end <= other.start for one, other in pairwise(windows))
    for window in meter.windows():
        used = [record for record in records if window.days.start <= record.day < window.days.end]
        segment = [found for found in meter.charge.segments if found.start <= window.days.start][-1]
        expected = half_up(cost(meter, segment, used), meter.account.currency.digits) if used else Fraction(0)
        assert (Fraction(window.amount), Fraction(window.quantity)) == (expected, sum(quantities(meter, used)))
    rated_through = windows[-1].end
    assert not [left for left in meter.pending() if left.days.start < rated_through and _served(meter, left.days.start)]
