"""The target date picks every due period, in advance by its start and in arrears by its end."""

from datetime import timedelta

import pytest

from billing.core.periods import cycle_from
from billing.core.timing import SegmentOverlapError, due_periods, one_time_due, stretches
from billing.core.types import BillingTiming
from tests.billing.core import charge, day, segment

ADVANCE, ARREARS = BillingTiming.IN_ADVANCE, BillingTiming.IN_ARREARS
ONE_DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("months", "start", "timing", "target", "count"),
    [
        # 04-01      07-01      10-01
        #   |----------|----------|         quarterly from April
        (3, "2026-04-01", ADVANCE, "2026-03-31", 0),
        (3, "2026-04-01", ADVANCE, "2026-04-01", 1),
        (3, "2026-04-01", ADVANCE, "2026-06-30", 1),
        (3, "2026-04-01", ARREARS, "2026-06-30", 0),
        (3, "2026-04-01", ARREARS, "2026-07-01", 1),
        # a month from the fifth: billed with the first day of the next
        (1, "2026-06-05", ARREARS, "2026-07-04", 0),
        (1, "2026-06-05", ARREARS, "2026-07-05", 1),
        # the invoice of March 1 for April: any target from April 1 on
        (1, "2026-04-01", ADVANCE, "2026-04-30", 1),
        # all overdue months are caught up
        (1, "2026-01-01", ADVANCE, "2026-12-01", 12),
        (1, "2026-01-01", ARREARS, "2026-12-01", 11),
    ],
)
def test_the_target_date_decides_which_periods_are_due(
    months: int, start: str, timing: BillingTiming, target: str, count: int
) -> None:
    cycle = cycle_from(day(start), day(start).day, months)
    found = due_periods(cycle, day(start), None, timing, day(target), 100)
    assert len(found) == count
    assert not found or found[0].period.start == day(start)


@pytest.mark.parametrize(("target", "count"), [("2026-01-19", 0), ("2026-01-20", 1)])
def test_a_cut_last_period_in_arrears_is_due_on_the_day_the_charge_ends(target: str, count: int) -> None:
    """Ends on January 20: no need to wait for February.

    01-01        01-20   02-01
      |============|.......|
    """
    cycle = cycle_from(day("2026-01-01"), 1, 1)
    found = due_periods(cycle, day("2026-01-01"), day("2026-01-20"), ARREARS, day(target), 100)
    assert len(found) == count


def test_no_more_periods_are_worked_out_than_asked_for() -> None:
    cycle = cycle_from(day("1999-01-01"), 1, 1)
    assert len(due_periods(cycle, day("1999-01-01"), None, ADVANCE, day("2026-01-01"), 41)) == 41


def test_segments_that_adjoin_make_one_stretch_and_a_gap_begins_another() -> None:
    """A price change on 02-10, a suspension from 03-05 to 03-20.

    01-01     02-10      03-05   03-20
      |=========|==========|       |========= …
    """
    first = segment("2026-01-01", "2026-02-10", number=1)
    second = segment("2026-02-10", "2026-03-05", number=2)
    third = segment("2026-03-20", number=3)
    assert stretches((third, first, second)) == [[first, second], [third]]


def test_segments_without_a_day_are_left_out() -> None:
    empty = segment("2026-01-01", "2026-01-01", number=1)
    lasting = segment("2026-01-01", number=2)
    assert stretches((empty, lasting)) == [[lasting]]
    assert stretches((empty,)) == []


@pytest.mark.parametrize("end", [None, "2026-02-02"])
def test_two_segments_for_one_day_are_refused(end: str | None) -> None:
    with pytest.raises(SegmentOverlapError):
        stretches((segment("2026-01-01", end, number=1), segment("2026-02-01", number=2)))


@pytest.mark.parametrize(
    ("target", "billed_through", "due"),
    [("2026-03-09", None, False), ("2026-03-10", None, True), ("2027-01-01", "2026-03-11", False)],
)
def test_a_one_time_charge_is_due_once_from_its_trigger_day(target: str, billed_through: str | None, due: bool) -> None:
    changes = {"billed_through": billed_through} if billed_through else {}
    found = one_time_due(charge("2026-03-10", **changes), target_date=day(target))
    assert (found is not None) == due
    if found:
        assert found[1] == (day("2026-03-10"), day("2026-03-11"))


def test_a_one_time_charge_takes_the_price_in_force_on_its_trigger_day() -> None:
    before = segment("2026-01-01", "2026-03-10", number=1)
    after = segment("2026-03-10", number=2)
    found = one_time_due(charge("2026-03-10", after, before), target_date=day("2026-03-10"))
    assert found is not None
    assert found[0] == after


def test_a_one_time_charge_removed_before_its_day_is_never_due() -> None:
    removed = segment("2026-01-01", "2026-03-10")
    assert one_time_due(charge("2026-03-10", removed), target_date=day("2027-01-01")) is None
