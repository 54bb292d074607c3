"""What usage costs, found slowly: every day and every record by itself, in fractions, without any state (domain.md 2.3, 6.4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.core.types import ChargeModel, PriceFormat, RatingGroup, Segment, UsageRating
from billing.core.units import RoundingMode, UnitOfMeasure
from tests.billing.core.meter import Meter, Record
from tests.billing.core.test_money import half_up
from tests.billing.core.test_periods import is_billing_day
from tests.billing.core.test_smoothing_from_scratch import (
    block_money_from_scratch,
    rollover_unit_by_unit,
    windows_from_scratch,
)

ONE_DAY = timedelta(days=1)
MONTHS = {"Month": 1, "Quarter": 3}


@dataclass
class Window:
    """Days that are priced together: from `first` on, all of them known on the day `closes`."""

    first: date
    closes: date
    segment: Segment
    partial: bool
    unbilled: bool


def windows_of(meter: Meter, until: date) -> list[Window]:
    """Walk from the first day to the last one and begin a window wherever the price or the billing period is another."""
    charge, day_of_month = meter.charge, meter.account.bill_cycle_day
    months = MONTHS[str(charge.terms.billing_period)]
    anchor = charge.segments[0].start
    while not is_billing_day(anchor, day_of_month):
        anchor += ONE_DAY

    def begins(day: date) -> bool:
        return (
            is_billing_day(day, day_of_month)
            and ((day.year - anchor.year) * 12 + day.month - anchor.month) % months == 0
        )

    found: list[Window] = []
    on, before, in_first = charge.segments[0].start, None, True
    while on < until:
        segment = next((s for s in charge.segments if s.start <= on and (s.end is None or on < s.end)), None)
        if segment is not None:
            fresh = before is None or begins(on)
            if fresh or (segment is not before and meter.terms.smoothing is None):
                closes = on + ONE_DAY
                while not begins(closes) and _served(charge.segments, closes):
                    closes += ONE_DAY
                in_first = not found if fresh else in_first
                ends_early = not begins(closes)
                off = not begins(charge.segments[0].start)
                unbilled = in_first and off and months == 1 and not meter.rules.bill_usage_partial_months
                found.append(Window(on, closes, segment, not found and (off or ends_early), unbilled))
            elif segment is not before:
                found[-1].segment = segment  # a smoothed period is priced as its last day is
        before = segment
        on += ONE_DAY
    if meter.terms.smoothing is not None:
        for window in found:
            window.segment = [s for s in charge.segments if s.start < window.closes][-1]
    return found


def _served(segments: Iterable[Segment], day: date) -> bool:
    return any(s.start <= day and (s.end is None or day < s.end) for s in segments)


def owed(meter: Meter, records: Sequence[Record], target: date) -> Fraction:
    """Return what all usage up to the target date costs, whenever it was rated."""
    windows = windows_of(meter, target)
    on_demand = meter.terms.rating is UsageRating.ON_DEMAND and meter.terms.smoothing is None
    closed = [window for window in windows if on_demand or window.closes <= target]
    used = [
        [r for r in records if window.first <= r.day < min(window.closes, target) and r.day < _next(windows, window)]
        for window in closed
    ]
    if meter.terms.smoothing is not None:
        return _smoothed(meter, closed, used)
    digits = meter.account.currency.digits
    return sum(
        (
            half_up(cost(meter, window.segment, found), digits)
            for window, found in zip(closed, used, strict=True)
            if not window.unbilled and found
        ),
        Fraction(0),
    )


def _next(windows: Sequence[Window], window: Window) -> date:
    """Return the day on which the window after this one begins."""
    return min((other.first for other in windows if other.first > window.first), default=date.max)


def quantities(meter: Meter, records: Sequence[Record]) -> list[Fraction]:
    """Return the rounded quantity of each rating group."""
    unit, group = meter.terms.unit, meter.terms.rating_group
    if group is RatingGroup.RECORD:
        return [rounded(Fraction(r.quantity), unit) for r in records]
    keys = {
        RatingGroup.BILLING_PERIOD: lambda r: 0,
        RatingGroup.START_DATE: lambda r: r.day,
        RatingGroup.UPLOAD: lambda r: r.upload,
    }
    sums: dict[object, Fraction] = {}
    for r in records:
        key = keys[group](r)
        units = Fraction(r.quantity)
        sums[key] = sums.get(key, Fraction(0)) + (
            rounded(units, unit) if meter.rules.rate_usage_individually else units
        )
    return [rounded(units, unit) for units in sums.values()]


def rounded(units: Fraction, unit: UnitOfMeasure) -> Fraction:
    scaled = units * 10**unit.decimals
    whole = scaled.__ceil__() if unit.rounding is RoundingMode.UP else scaled.__floor__()
    return Fraction(whole, 10**unit.decimals)


def cost(meter: Meter, segment: Segment, records: Sequence[Record]) -> Fraction:
    """Return what the usage of a window costs, not rounded."""
    found = quantities(meter, records)
    model = meter.charge.terms.charge_model
    if model is ChargeModel.TIERED:
        return sum((tiered(segment, units) for units in found), Fraction(0))
    if model is ChargeModel.VOLUME:
        return sum((volume(segment, units) for units in found), Fraction(0))
    units = sum(found, Fraction(0))
    if model is ChargeModel.TIERED_WITH_OVERAGE:
        return tiered(segment, units)  # the last tier, without an end, is the overage
    assert segment.price is not None
    if model is ChargeModel.OVERAGE:
        units = max(units - Fraction(segment.quantity or 0), Fraction(0))
    return units * Fraction(segment.price)


def tiered(segment: Segment, units: Fraction) -> Fraction:
    money, low = Fraction(0), Fraction(0)
    for tier in segment.tiers:
        high = units if tier.up_to is None else min(units, Fraction(tier.up_to))
        if high > low:
            flat = tier.price_format is PriceFormat.FLAT_FEE
            money += Fraction(tier.price) * (1 if flat else high - low)
            low = high
    return money


def volume(segment: Segment, units: Fraction) -> Fraction:
    for tier in segment.tiers:
        if tier.up_to is None or units <= Fraction(tier.up_to):
            return Fraction(tier.price) * (1 if tier.price_format is PriceFormat.FLAT_FEE else units)
    raise AssertionError("no tier reaches as far")


def _smoothed(meter: Meter, windows: Sequence[Window], used: Sequence[Sequence[Record]]) -> Fraction:
    """Return what smoothed periods cost in all, simulated anew from the first; prices are whole cents, usage whole units."""
    smoothing = meter.terms.smoothing
    assert smoothing is not None
    money = Fraction(0)
    rows = []
    for window, records in zip(windows, used, strict=True):
        price = window.segment.price
        assert price is not None
        row = (int(sum(quantities(meter, records))), int(window.segment.quantity or 0), int(price * 100))
        if not window.partial:
            rows.append((*row, window))
        elif smoothing.model == "Rollover" and not window.unbilled:
            money += max(row[0] - row[1], 0) * row[2]
    plain = [row[:3] for row in rows]
    if smoothing.model == "Rollover":
        money += sum(
            over * row[2] for over, row in zip(rollover_unit_by_unit(plain, smoothing.periods), rows, strict=True)
        )
    elif smoothing.calculation == "PerBillingPeriod":
        by_rate = smoothing.unused_units == "CreditBySpecificRate"
        credit = int((meter.charge.segments[-1].credit_rate or Decimal(0)) * 100) if by_rate else 0
        money += sum(block_money_from_scratch(plain, smoothing.periods, credit))
    else:
        money += sum(
            over * row[2] for over, row in zip(windows_from_scratch(plain, smoothing.periods), rows, strict=True)
        )
    return money / 100
