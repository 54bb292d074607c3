"""Part periods count full billing months first, then days of the billing month they lie in."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.proration import Share, months_covered
from billing.core.types import Period
from tests.billing.core import day
from tests.billing.core.test_periods import is_billing_day

ONE_DAY = timedelta(days=1)


def covered(start: str, end: str, billing_day: int) -> Share:
    return months_covered(Period(day(start), day(end)), billing_day=billing_day)


def months_day_by_day(start: date, end: date, billing_day: int) -> Fraction:
    """Add one day's share of its billing month for every day, found by walking to both ends of that month."""
    total = Fraction(0)
    while start < end:
        opening = start
        while not is_billing_day(opening, billing_day):
            opening -= ONE_DAY
        closing = start + ONE_DAY
        while not is_billing_day(closing, billing_day):
            closing += ONE_DAY
        total += Fraction(1, (closing - opening).days)
        start += ONE_DAY
    return total


@pytest.mark.parametrize(
    ("start", "end", "billing_day", "full_months", "part_months"),
    [
        # 12-15       01-01      01-15
        #   |...........|==========|           14 of 31 days
        ("2018-01-01", "2018-01-15", 15, 0, [(14, 31)]),
        # 01-01 01-16      02-01      03-01      04-01
        #   |.....|==========|==========|==========|
        ("2018-01-16", "2018-04-01", 1, 2, [(16, 31)]),
        ("2018-07-16", "2018-10-01", 1, 2, [(16, 31)]),
        ("2024-05-20", "2024-08-01", 1, 2, [(12, 31)]),
        ("2014-10-15", "2015-01-01", 1, 2, [(17, 31)]),
        ("2021-07-01", "2022-01-01", 1, 6, []),
        # 02-11                     03-01    03-11
        #   |=========================|........|    19 of 29 days: the billing month has 29
        ("2020-02-11", "2020-03-01", 11, 0, [(19, 29)]),
        ("2020-03-01", "2020-03-11", 11, 0, [(10, 29)]),
        ("2021-01-27", "2021-02-01", 1, 0, [(5, 31)]),
        ("2021-02-27", "2021-03-01", 1, 0, [(2, 28)]),
        ("2020-02-01", "2020-03-01", 1, 1, []),
        ("2021-04-21", "2021-04-30", 1, 0, [(9, 30)]),
        # 01-10    02-01      03-01   03-08
        #   |========|==========|=======|         a part month at either end
        ("2026-01-10", "2026-03-08", 1, 1, [(22, 31), (7, 31)]),
        # billing day 31: months run 01-31 … 02-28 … 03-31
        ("2026-01-31", "2026-03-31", 31, 2, []),
        ("2026-02-14", "2026-03-15", 31, 0, [(14, 28), (15, 31)]),
    ],
)
def test_days_are_counted_month_first(
    start: str, end: str, billing_day: int, full_months: int, part_months: list[tuple[int, int]]
) -> None:
    assert covered(start, end, billing_day) == Share(full_months, tuple(part_months))


@given(st.dates(date(2019, 1, 1), date(2033, 1, 1)), st.integers(1, 800), st.integers(1, 31))
@settings(max_examples=80, deadline=None)
def test_months_equal_a_count_day_by_day(start: date, length: int, billing_day: int) -> None:
    end = start + timedelta(days=length)
    share = months_covered(Period(start, end), billing_day=billing_day)
    assert Fraction(*share.fraction) == months_day_by_day(start, end, billing_day)
    assert all(0 < days <= of_days for days, of_days in share.part_months)


@given(st.dates(date(2019, 1, 1), date(2033, 1, 1)), st.integers(1, 400), st.integers(1, 400), st.integers(1, 31))
@settings(deadline=None)
def test_two_adjoining_runs_cover_what_both_cover(start: date, first: int, second: int, billing_day: int) -> None:
    middle = start + timedelta(days=first)
    end = middle + timedelta(days=second)
    parts = [months_covered(Period(*pair), billing_day=billing_day) for pair in ((start, middle), (middle, end))]
    whole = months_covered(Period(start, end), billing_day=billing_day)
    assert sum(Fraction(*part.fraction) for part in parts) == Fraction(*whole.fraction)
