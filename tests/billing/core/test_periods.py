"""Periods tile a charge's life from billing day to billing day and never drift from the month's end."""

from datetime import date, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.periods import (
    Cycle,
    DayCycle,
    MonthCycle,
    add_months,
    cycle_from,
    date_in_month,
    days_in,
    month_after,
    month_number,
    months_in,
    natural_period,
    span_grid,
    tiles,
)
from billing.core.types import BillingPeriod, Period
from tests.billing.core import MONTHLY_FLAT_FEE, day

ONE_DAY = timedelta(days=1)
DAYS = st.dates(date(1999, 1, 1), date(2040, 12, 31))


def spans(cycle: Cycle, start: str, end: str | None, count: int = 12) -> list[str]:
    """Return the first periods as people write them: first day…last day, month and day only."""
    found = islice(tiles(cycle, day(start), day(end) if end else None), count)
    return [f"{period.start:%m-%d}…{period.end - ONE_DAY:%m-%d}" for period, _ in found]


def is_billing_day(when: date, billing_day: int) -> bool:
    """Return whether a month's billing day has come: the day itself, or the month's last when it has no such day."""
    return when.day == billing_day or (when.day < billing_day and (when + ONE_DAY).day == 1)


def boundaries_day_by_day(origin: date, billing_day: int, months: int, until: date) -> set[date]:
    """Walk from the first billing day on or after the origin and keep every `months`-th, one day at a time."""
    while not is_billing_day(origin, billing_day):
        origin += ONE_DAY
    found, passed = set(), 0
    while origin <= until:
        if is_billing_day(origin, billing_day):
            if passed % months == 0:
                found.add(origin)
            passed += 1
        origin += ONE_DAY
    return found


@pytest.mark.parametrize(
    ("start", "months", "result"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2023-01-31", 1, "2023-02-28"),
        ("2024-01-31", 2, "2024-03-31"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2024-03-31", -1, "2024-02-29"),
        ("2024-12-15", 1, "2025-01-15"),
        ("2024-01-15", -1, "2023-12-15"),
    ],
)
def test_months_are_added_and_clamped_to_the_end_of_the_month(start: str, months: int, result: str) -> None:
    assert add_months(day(start), months) == day(result)


@pytest.mark.parametrize(
    ("period", "length", "months", "days"),
    [
        (None, 4, 0, 0),
        ("Month", 0, 1, 0),
        ("Quarter", 0, 3, 0),
        ("SemiAnnual", 0, 6, 0),
        ("Annual", 0, 12, 0),
        ("EighteenMonths", 0, 18, 0),
        ("TwoYears", 0, 24, 0),
        ("ThreeYears", 0, 36, 0),
        ("FiveYears", 0, 60, 0),
        ("SpecificMonths", 4, 4, 0),
        ("SubscriptionTerm", 4, 0, 0),
        ("Week", 4, 0, 7),
        ("SpecificWeeks", 4, 0, 28),
        ("SpecificDays", 4, 0, 4),
    ],
)
def test_a_billing_period_has_so_many_months_or_days(period: str | None, length: int, months: int, days: int) -> None:
    terms = MONTHLY_FLAT_FEE._replace(billing_period=BillingPeriod(period) if period else None, period_length=length)
    assert (months_in(terms), days_in(terms)) == (months, days)


@pytest.mark.parametrize(
    ("start", "end", "kind"),
    [
        ("2024-01-15", "2025-01-15", MonthCycle),
        ("2024-01-31", "2024-02-29", MonthCycle),  # from month's end to month's end
        ("2024-02-29", "2024-03-31", MonthCycle),
        ("2024-01-30", "2024-02-28", DayCycle),  # a day short of a month
        ("2024-01-15", "2024-01-20", DayCycle),
    ],
)
def test_a_span_is_made_of_months_where_they_fit(start: str, end: str, kind: type) -> None:
    grid = span_grid(day(start), day(end))
    assert isinstance(grid, kind)
    assert natural_period(grid, day(start)) == Period(day(start), day(end))


def test_month_end_never_drifts() -> None:
    """Billing day 31, monthly.

    01-31      02-29      03-31      04-30      05-31
      |----------|----------|----------|----------|
    """
    cycle = cycle_from(day("2024-01-31"), 31, 1)
    assert spans(cycle, "2024-01-31", "2024-05-31") == ["01-31…02-28", "02-29…03-30", "03-31…04-29", "04-30…05-30"]


def test_starting_late_falls_on_the_same_boundaries_as_starting_early() -> None:
    """Billing day 31: a frontier at the end of February still leads to the end of March.

    02-28      03-31      04-30
      |----------|----------|
    """
    cycle = cycle_from(day("2022-10-31"), 31, 1)
    assert spans(cycle, "2023-02-28", None, 2) == ["02-28…03-30", "03-31…04-29"]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        # sub start 01-15, billing day 1, quarterly, charge added 05-20, term end 2025-01-15
        #
        # to charge          05-20  06-01      09-01      12-01   01-15
        #                      |......|----------|----------|.......|
        # to subscription    05-20      08-01      11-01     01-15
        #                      |..........|----------|.........|
        ("2024-05-20", ["05-20…05-31", "06-01…08-31", "09-01…11-30", "12-01…01-14"]),
        ("2024-01-15", ["05-20…07-31", "08-01…10-31", "11-01…01-14"]),
    ],
)
def test_alignment_decides_where_quarters_begin(origin: str, expected: list[str]) -> None:
    assert spans(cycle_from(day(origin), 1, 3), "2024-05-20", "2025-01-15") == expected


@pytest.mark.parametrize(
    ("origin", "first"), [("2018-04-10", "03-06…05-05"), ("2018-04-06", "03-06…04-05"), ("2018-03-06", "03-06…03-05")]
)
def test_boundaries_reach_back_before_the_anchor(origin: str, first: str) -> None:
    """Annual, billing day 6, charge start 2018-03-06; the anchor lies after the start.

    03-06      04-06      05-06
      |..........|                  origin 04-06
      |.....................|       origin 04-10
      |---------- a year ------ …   origin 03-06
    """
    assert spans(cycle_from(day(origin), 6, 12), "2018-03-06", "2019-04-10")[0] == first


@pytest.mark.parametrize(
    ("start", "end", "full"),
    [
        ("2024-01-01", "2024-04-01", [True]),
        ("2024-01-02", "2024-04-01", [False]),
        ("2024-01-01", "2024-03-31", [False]),
        ("2024-02-01", "2024-08-01", [False, True, False]),
        ("2024-04-01", "2024-10-01", [True, True]),
    ],
)
def test_only_periods_from_boundary_to_boundary_are_full(start: str, end: str, full: list[bool]) -> None:
    cycle = cycle_from(day("2024-01-01"), 1, 3)
    assert [tile.full for tile in tiles(cycle, day(start), day(end))] == full


@pytest.mark.parametrize("end", ["2024-01-15", "2023-12-31"])
def test_no_days_make_no_period(end: str) -> None:
    assert list(tiles(cycle_from(day("2024-01-15"), 15, 1), day("2024-01-15"), day(end))) == []


@given(DAYS, st.integers(1, 31), st.sampled_from([1, 3, 6, 12]), st.integers(0, 900), st.integers(1, 900))
@settings(max_examples=80, deadline=None)
def test_periods_equal_a_walk_day_by_day(origin: date, billing_day: int, months: int, wait: int, length: int) -> None:
    start = origin + timedelta(days=wait)
    end = start + timedelta(days=length)
    cuts = {cut for cut in boundaries_day_by_day(origin, billing_day, months, end) if start < cut < end}
    edges = sorted(cuts | {start, end})
    # The walk knows no boundary before the origin's anchor; every later one must be met, and no other.
    found = [period for period, _ in tiles(cycle_from(origin, billing_day, months), start, end)]
    anchor = min(boundaries_day_by_day(origin, billing_day, months, origin + timedelta(days=31)))
    assert [period for period in found if period.start >= anchor] == [
        pair for pair in pairwise(edges) if pair[0] >= anchor
    ]


@given(DAYS, st.integers(1, 31), st.sampled_from([1, 3, 6, 12]), DAYS, st.integers(0, 3000), st.booleans())
@settings(deadline=None)
def test_periods_tile_without_gap_or_overlap(
    origin: date, billing_day: int, months: int, start: date, length: int, endless: bool
) -> None:
    end = start + timedelta(days=length)
    found = list(islice(tiles(cycle_from(origin, billing_day, months), start, None if endless else end), 50))
    reached = start
    for period, _ in found:
        assert period.start == reached < period.end
        reached = period.end
    assert endless or reached == end or len(found) == 50


def test_every_start_day_of_four_years_keeps_its_day_for_five_years() -> None:
    start = date(2023, 1, 1)
    for _ in range(1461):
        for months in (1, 3, 6, 12):
            cycle = cycle_from(start, start.day, months)
            reached, k = start, 0
            for period, full in islice(tiles(cycle, start, None), 60 // months):
                k += months
                assert period.start == reached
                assert full
                reached = period.end
                assert (reached.year * 12 + reached.month) - (start.year * 12 + start.month) == k
                assert is_billing_day(reached, start.day)
        start += ONE_DAY


def test_every_start_day_and_billing_day_meet_at_the_next_boundary() -> None:
    start = date(2023, 1, 1)
    for _ in range(1461):
        for billing_day in range(1, 32):
            for months in (1, 12):
                cycle = cycle_from(start, billing_day, months)
                boundary = date_in_month(month_after(cycle, start), billing_day)
                assert start < boundary
                assert is_billing_day(boundary, billing_day)
                limit = 31 if months == 1 or not is_billing_day(start, billing_day) else 366
                assert (boundary - start).days <= limit
        start += ONE_DAY


def test_a_date_knows_its_running_month() -> None:
    assert month_number(day("2024-12-31")) + 1 == month_number(day("2025-01-01"))
