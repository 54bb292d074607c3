"""Every start day of four years × every cycle × every billing day: ten years of periods that tile and never drift.

    start day     1,461 of them, 29 February among them
    cycles        1, 3, 6, 12, 18, 24 and 36 months on each of 31 billing days; weeks on each weekday; runs of days
    expected      the calendar of ten years, walked day by day; every n-th billing day of it from the anchor is a boundary

The expected boundaries are walked once for each anchor; charges that start on different days share them.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise, takewhile

import pytest

from billing.core.periods import DayCycle, MonthCycle, Tile, cycle_from, daily_cycle, tiles, weekly_cycle
from billing.core.types import Period
from tests.billing.core.calendars import billing_days, is_billing_day, weekdays

ONE_DAY = timedelta(days=1)
START_DAYS = tuple(date(2021, 1, 1) + timedelta(days=n) for n in range(1461))
ONE_YEAR = timedelta(days=365)
TEN_YEARS = timedelta(days=3653)
MONTHS = (1, 3, 6, 12, 18, 24, 36)
WEEKS = (1, 2, 4, 13)
DAYS = (1, 2, 10, 30, 90, 365, 1000)

pytestmark = pytest.mark.slow


def check_tiles(
    cycle: MonthCycle | DayCycle, start: date, boundaries: Sequence[date], length: timedelta = TEN_YEARS
) -> int:
    """Assert that the years from the start are tiled by the boundaries after it; return how many periods there are."""
    until = start + length
    edges = [start, *(day for day in takewhile(lambda day: day < until, boundaries) if day > start), until]
    found = list(tiles(cycle, start, until))
    starts, ends = edges[:-1], edges[1:]
    assert [period for period, _ in found] == list(map(Period, starts, ends)), f"{cycle} from {start}"
    # The first is full when the start is the anchor, all others but the last are, the last when it ends on a boundary.
    full = [boundaries[0] == start, *[True] * (len(found) - 1)]
    full[-1] = full[-1] and until in boundaries
    assert [tile.full for tile in found] == full, f"{cycle} from {start}"
    return len(found)


def check_start_days(
    candidates: Sequence[date],
    step: int,
    cycle_at: Mapping[date, MonthCycle | DayCycle],
    *,
    once_per_anchor: bool = False,
) -> int:
    """Check all start days of one billing day and period length; those of one anchor share its boundaries.

    `once_per_anchor`: ten years from the first start day of an anchor, one year from the others, whose cycle must be
    the very same.
    """
    walked: dict[date, list[date]] = {}
    cycle_of: dict[date, MonthCycle | DayCycle] = {}
    total = 0
    at = 0
    for start in START_DAYS:
        while candidates[at] < start:
            at += 1
        anchor = candidates[at]
        known = anchor in walked
        boundaries = walked.setdefault(anchor, list(candidates[at : at + 3800 : step]))
        assert cycle_of.setdefault(anchor, cycle_at[start]) == cycle_at[start]
        total += check_tiles(cycle_at[start], start, boundaries, ONE_YEAR if once_per_anchor and known else TEN_YEARS)
    return total


@pytest.mark.parametrize("months", MONTHS)
def test_periods_of_months_tile_from_every_start_day_on_every_billing_day(months: int) -> None:
    total = 0
    for billing_day in range(1, 32):
        cycles = {start: cycle_from(start, billing_day, months) for start in START_DAYS}
        total += check_start_days(billing_days(billing_day), months, cycles)
    assert total >= 1461 * 31 * 120 // months


@pytest.mark.parametrize("months", MONTHS)
def test_boundaries_fall_on_the_billing_day_or_the_end_of_a_shorter_month(months: int) -> None:
    """After ten years the thirty-first is still the thirty-first, and so many months have passed between any two."""
    for billing_day in range(1, 32):
        for start in START_DAYS[::17]:
            periods = [period for period, _ in tiles(cycle_from(start, billing_day, months), start, start + TEN_YEARS)]
            numbers = [day.year * 12 + day.month for day, _ in periods[1:]]
            assert all(is_billing_day(day, billing_day) for day, _ in periods[1:])
            assert {later - earlier for earlier, later in pairwise(numbers)} <= {months}


@pytest.mark.parametrize("weeks", WEEKS)
def test_periods_of_weeks_tile_from_every_start_day_on_every_weekday(weeks: int) -> None:
    for weekday in range(1, 8):
        cycles = {start: weekly_cycle(start, weekday, 7 * weeks) for start in START_DAYS}
        total = check_start_days(weekdays(weekday), weeks, cycles, once_per_anchor=True)
        assert total >= (1461 // 7 * 520 + 1461 * 6 // 7 * 51) // weeks


@pytest.mark.parametrize("length", DAYS)
def test_periods_of_days_tile_from_every_start_day(length: int) -> None:
    years = TEN_YEARS if length >= 10 else timedelta(days=60 * length)
    for start in START_DAYS:
        walked = [start + n * ONE_DAY for n in range(0, years.days + length, length)]
        check_tiles(daily_cycle(start, length), start, walked, years)


@pytest.mark.parametrize("months", MONTHS)
def test_a_charge_added_later_keeps_the_boundaries_of_its_anchor(months: int) -> None:
    """Periods of a charge that starts anywhere in the grid of its subscription begin on that grid.

    subscription   |======|======|======|======|
    charge                   |===|======|======|
    """
    for billing_day in (1, 15, 28, 29, 30, 31):
        for origin in START_DAYS[::61]:
            cycle = cycle_from(origin, billing_day, months)
            first = next(day for day in billing_days(billing_day) if day >= origin)
            grid = {day for n, day in enumerate(d for d in billing_days(billing_day) if d >= first) if n % months == 0}
            for start in START_DAYS[::13]:
                if start < first:
                    continue
                found: list[Tile] = list(tiles(cycle, start, start + timedelta(days=1200)))
                inner = [tile.period.start for tile in found[1:]]
                assert inner == sorted(day for day in grid if start < day < start + timedelta(days=1200))
                assert found[0].period.start == start
