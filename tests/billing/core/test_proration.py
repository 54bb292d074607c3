"""Part periods count full billing months first, then days of the billing month they lie in, or days throughout."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.periods import cycle_from, natural_period, weekly_cycle
from billing.core.proration import Share, days_covered, months_covered, portion_of, share_text
from billing.core.types import DaysInMonth, Period, ProrationUnit, Rules
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


@pytest.mark.parametrize(
    ("start", "end", "actual", "assume_30", "strict"),
    [
        # the published check: days covered of days in the month, under each rule
        ("2021-01-27", "2021-02-01", (5, 31), (5, 30), (4, 30)),
        ("2021-02-27", "2021-03-01", (2, 28), (2, 30), (4, 30)),
        ("2020-02-01", "2020-03-01", (29, 29), (29, 30), (30, 30)),
        ("2021-04-21", "2021-04-30", (9, 30), (9, 30), (9, 30)),
        ("2018-01-01", "2018-01-15", (14, 31), (14, 30), (14, 30)),
        ("2018-01-16", "2018-02-01", (16, 31), (16, 30), (15, 30)),
        ("2024-01-31", "2024-02-01", (1, 31), (1, 30), (0, 30)),
    ],
)
def test_the_three_day_counts(
    start: str, end: str, actual: tuple[int, int], assume_30: tuple[int, int], strict: tuple[int, int]
) -> None:
    period = Period(day(start), day(end))
    for rule, (days, of_days) in zip(DaysInMonth, (actual, assume_30, strict), strict=True):
        assert days_covered(period, rule) == days
        share = months_covered(period, billing_day=1, days_in_month=rule)
        # A whole billing month is a month under any rule.
        assert share == (Share(1, ()) if period.start.day == period.end.day == 1 else Share(0, ((days, of_days),)))


def share_of(start: str, end: str, rule: DaysInMonth, unit: ProrationUnit, whole: tuple[str, str] | None) -> Fraction:
    """Return the portion of a quarter that begins on January 1, or of the days in `whole`."""
    part = Period(day(start), day(end))
    days = Period(day(whole[0]), day(whole[1])) if whole else None
    portion = portion_of(
        part, days, cycle_from(day("2018-01-01"), 1, 3), Rules(days_in_month=rule, proration_unit=unit)
    )
    return Fraction(portion.numerator, portion.denominator)


@pytest.mark.parametrize(
    ("rule", "unit", "whole", "expected"),
    [
        # 01-01     01-16                          04-01
        #   |.........|==============================|     75 of 90 days; 16 of 31 days + 2 of 3 months
        ("UseActualDays", "ProrateByMonthFirst", None, (Fraction(16, 31) + 2) / 3),
        ("Assume30Days", "ProrateByMonthFirst", None, (Fraction(16, 30) + 2) / 3),
        ("Assume30DaysStrict", "ProrateByMonthFirst", None, (Fraction(15, 30) + 2) / 3),
        ("UseActualDays", "ProrateByDay", None, Fraction(75, 90)),
        ("Assume30Days", "ProrateByDay", None, Fraction(75, 90)),
        ("Assume30DaysStrict", "ProrateByDay", None, Fraction(75, 90)),
        # of 01-11 … 04-01, which bear the full price together
        ("UseActualDays", "ProrateByMonthFirst", ("2018-01-11", "2018-04-01"), Fraction(78, 83)),
        ("Assume30Days", "ProrateByMonthFirst", ("2018-01-11", "2018-04-01"), Fraction(76, 81)),
        ("Assume30DaysStrict", "ProrateByMonthFirst", ("2018-01-11", "2018-04-01"), Fraction(75, 80)),
        ("UseActualDays", "ProrateByDay", ("2018-01-11", "2018-04-01"), Fraction(75, 80)),
        ("Assume30DaysStrict", "ProrateByDay", ("2018-01-11", "2018-04-01"), Fraction(75, 80)),
    ],
)
def test_a_part_of_a_quarter_in_both_units(
    rule: str, unit: str, whole: tuple[str, str] | None, expected: Fraction
) -> None:
    found = share_of("2018-01-16", "2018-04-01", DaysInMonth(rule), ProrationUnit(unit), whole)
    assert found == expected


def test_by_day_a_quarter_has_its_own_days() -> None:
    """92 days from July to September, 90 under a 30-day rule; July 16 to 31 are 16 days, or 15 under the strict one."""
    found = [share_of("2018-07-16", "2018-10-01", rule, ProrationUnit.DAY, None) for rule in DaysInMonth]
    assert found == [Fraction(77, 92), Fraction(77, 90), Fraction(75, 90)]


@pytest.mark.parametrize("rule", DaysInMonth)
@pytest.mark.parametrize("unit", ProrationUnit)
def test_weeks_know_only_days(rule: DaysInMonth, unit: ProrationUnit) -> None:
    part = Period(day("2024-01-30"), day("2024-02-03"))
    cycle = weekly_cycle(day("2024-01-01"), 1, 14)
    rules = Rules(days_in_month=rule, proration_unit=unit)
    assert portion_of(part, None, cycle, rules) == (4, 14, ',"day":[4,14]')
    whole = Period(day("2024-01-30"), day("2024-02-05"))
    assert portion_of(part, whole, cycle, rules) == (4, 6, ',"day":[4,6]')


@pytest.mark.parametrize(
    ("part", "begun", "billing_day", "assume_30", "strict"),
    [
        # 01-01      01-16      02-01           thirty are counted by the end of a month that is billed from its first day
        (("2026-01-16", "2026-02-01"), "2026-01-01", 1, [0, 15, 30], [0, 15, 30]),
        (("2026-02-15", "2026-03-01"), "2026-02-01", 1, [0, 16, 30], [0, 16, 30]),
        # 01-11      01-16      02-01           otherwise the days themselves
        (("2026-01-16", "2026-02-01"), "2026-01-11", 1, [0, 16, 30], [0, 15, 30]),
        (("2026-01-10", "2026-01-20"), "2026-01-01", 1, [0, 10, 30], [0, 10, 30]),
        (("2026-01-31", "2026-02-01"), "2026-01-01", 1, [0, 0, 30], [0, 0, 30]),
        # each month is counted by itself, from its own first day
        (("2026-01-16", "2026-02-15"), "2025-12-05", 1, [0, 15, 30, 14, 30], [0, 15, 30, 14, 30]),
        (("2026-01-01", "2026-02-15"), "2025-12-05", 1, [1, 14, 30], [1, 14, 30]),
        # billing day 31: from February 28 on, the 30th of March is the thirtieth day, and strictly already the 28th
        (("2026-03-29", "2026-03-30"), "2026-02-28", 31, [0, 1, 30], [0, 0, 30]),
        (("2026-03-30", "2026-03-31"), "2026-02-28", 31, [0, 0, 30], [0, 0, 30]),
        (("2026-03-28", "2026-03-30"), "2026-03-01", 31, [0, 2, 30], [0, 2, 30]),
    ],
)
def test_a_part_counts_what_it_adds_to_the_days_before_it(
    part: tuple[str, str], begun: str, billing_day: int, assume_30: list[int], strict: list[int]
) -> None:
    period = Period(*map(day, part))
    for rule, expected in ((DaysInMonth.ASSUME_30, assume_30), (DaysInMonth.ASSUME_30_STRICT, strict)):
        share = months_covered(period, billing_day=billing_day, days_in_month=rule, begun=day(begun))
        assert share_text(share) == str(expected).replace(" ", "")
    actual = months_covered(period, billing_day=billing_day, begun=day(begun))
    assert actual == months_covered(period, billing_day=billing_day)


@given(
    st.dates(date(2019, 1, 1), date(2033, 1, 1)),
    st.lists(st.integers(1, 200), min_size=2, max_size=6),
    st.integers(1, 31),
    st.sampled_from([1, 3, 12]),
    st.sampled_from(DaysInMonth),
    st.sampled_from(ProrationUnit),
)
@settings(max_examples=300, deadline=None)
def test_parts_of_one_period_add_up_however_it_is_cut(
    start: date, lengths: list[int], billing_day: int, months: int, rule: DaysInMonth, unit: ProrationUnit
) -> None:
    """Up to any day the parts cost what a period costs that ends there: at most the price of a full one, and ever more."""
    cycle, rules = cycle_from(start, billing_day, months), Rules(days_in_month=rule, proration_unit=unit)
    natural = natural_period(cycle, start)
    edges = [start]
    for length in lengths:
        if edges[-1] < natural.end:
            edges.append(min(edges[-1] + timedelta(days=length), natural.end))
    total, before = Fraction(0), Fraction(0)
    for part in map(Period, edges, edges[1:]):
        added = portion_of(part, None, cycle, rules, begun=start)
        total += Fraction(added.numerator, added.denominator)
        alone = portion_of(Period(start, part.end), None, cycle, rules)
        full = start == natural.start and part.end == natural.end
        assert total == (1 if full else Fraction(alone.numerator, alone.denominator))
        assert before <= total <= 1
        before = total


def test_one_month_is_the_same_in_both_units() -> None:
    part = Period(day("2020-02-11"), day("2020-03-01"))
    for unit in ProrationUnit:
        found = portion_of(part, None, cycle_from(day("2020-02-11"), 11, 1), Rules(proration_unit=unit))
        assert found == (19, 29, ',"part":[0,19,29]')


@given(st.dates(date(2019, 1, 1), date(2033, 1, 1)), st.integers(0, 400), st.integers(0, 400))
@settings(deadline=None)
def test_strict_days_of_adjoining_runs_add_up_and_months_have_thirty(start: date, first: int, second: int) -> None:
    middle, end = start + timedelta(days=first), start + timedelta(days=first + second)
    strict = DaysInMonth.ASSUME_30_STRICT
    assert days_covered(Period(start, middle), strict) + days_covered(Period(middle, end), strict) == days_covered(
        Period(start, end), strict
    )
    year = Period(start.replace(day=1), start.replace(day=1, year=start.year + 1))
    assert days_covered(year, strict) == 360
