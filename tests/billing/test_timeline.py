"""Time lines as people draw them: a column a month, `=` billed, `.` not yet, `/` paused, `!` billed but no longer served.

`<` and `>` stand where a segment began before what is shown, or goes on after it, `|` between segments of one charge.
"""

from datetime import date
from typing import Any

import pytest

from billing.timeline import FULL, MIN_PIXELS, NARROWEST, Days, Row, Window, fits, percent, row_of, ticks_of, window_of
from tests.factories import day

YEAR = Window(date(2026, 1, 1), date(2027, 1, 1))
TWO_YEARS = Window(date(2025, 7, 1), date(2027, 7, 1))


def days(start, end=None):
    return Days(day(start), end and day(end))


def drawn(row: Row, window: Window) -> str:
    """Return a row in text, a column a month."""
    line = [" "] * window.months

    def fill(left: int, width: int, sign: str) -> None:
        begin, end = (round(place * window.months / FULL) for place in (left, left + width))
        line[begin:end] = sign * (end - begin)

    for stripe in row.pauses:
        fill(*stripe, "/")
    for bar in row.bars:
        fill(bar.stripe.left, bar.stripe.width, ".")
        fill(bar.stripe.left, bar.billed, "=")
        if not bar.begins:
            line[0] = "<"
        elif bar.position:
            line[round(bar.stripe.left * window.months / FULL)] = "|"
        if not bar.ends:
            line[-1] = ">"
    if row.to_credit:
        fill(*row.to_credit, "!")
    return "".join(line)


@pytest.mark.parametrize(
    ("segments", "billed_to", "picture"),
    [
        #                                           JFMAMJJASOND
        ([days("2026-01-01")], None, "...........>"),
        ([days("2026-01-01")], "2026-08-01", "=======....>"),
        ([days("2026-03-01", "2026-10-01")], "2026-05-01", "  ==.....   "),
        ([days("2026-03-01", "2026-10-01")], "2026-10-01", "  =======   "),
        # A change of quantity on 1 June, billed until the end of July.
        ([days("2026-01-01", "2026-06-01"), days("2026-06-01")], "2026-08-01", "=====|=....>"),
        # A change in the future, and one that was replaced on its very first day.
        ([days("2026-01-01", "2026-10-01"), days("2026-10-01")], "2026-08-01", "=======..|.>"),
        ([days("2026-01-01", "2026-01-01"), days("2026-01-01")], "2026-02-01", "|..........>"),
        # Suspended in April and May; then again without an end.
        ([days("2026-01-01", "2026-04-01"), days("2026-06-01")], "2026-07-01", "===//|.....>"),
        ([days("2026-01-01", "2026-04-01")], "2026-04-01", "===         "),
        # Canceled from July on, but billed until the end of September.
        ([days("2026-01-01", "2026-07-01")], "2026-10-01", "======!!!   "),
        # Longer than what is shown, on both sides.
        ([days("2020-01-01")], "2026-03-01", "<=.........>"),
        ([days("2020-01-01", "2025-06-01"), days("2025-06-01", "2031-01-01")], None, "<..........>"),
        ([days("2020-01-01", "2024-01-01")], None, "            "),
        ([days("2027-01-01")], None, "            "),
        ([], None, "            "),
    ],
)
def test_a_charge_is_drawn(segments, billed_to, picture):
    assert drawn(row_of(segments, YEAR, billed_to=billed_to and day(billed_to)), YEAR) == picture


def test_a_pause_without_an_end_goes_on():
    segments = [days("2026-01-01", "2026-04-01")]
    assert drawn(row_of(segments, YEAR, paused_from=day("2026-04-01")), YEAR) == ".../////////"
    over = day("2026-10-01")
    assert drawn(row_of(segments, YEAR, paused_from=day("2026-04-01"), over=over), YEAR) == "...//////   "
    # A charge that had ended before is not paused.
    assert drawn(row_of(segments, YEAR, paused_from=day("2026-05-01")), YEAR) == "...         "
    assert drawn(row_of([days("2026-01-01")], YEAR, paused_from=day("2026-05-01")), YEAR) == "...........>"


def test_pauses_are_found_in_whatever_order_segments_come():
    segments = [days("2026-06-01"), days("2026-01-01", "2026-04-01")]
    assert [(stripe.x, stripe.to) for stripe in row_of(segments, YEAR).pauses] == [("24.65%", "41.36%")]


@pytest.mark.parametrize(
    ("billed_to", "mark"),
    [(None, None), ("2026-01-01", 0), ("2026-07-02", 4986), ("2027-01-01", FULL), ("2028-01-01", None)],
)
def test_the_end_of_what_is_billed_is_marked_where_it_is_seen(billed_to, mark):
    assert row_of([days("2025-01-01")], YEAR, billed_to=billed_to and day(billed_to)).mark == mark


def test_a_single_day_can_be_seen():
    century = Window(date(2000, 1, 1), date(2100, 1, 1))
    [bar] = row_of([days("2099-12-31", "2100-01-01")], century).bars
    assert (bar.stripe.width, bar.stripe.left) == (NARROWEST, FULL - NARROWEST)


def test_the_billed_part_is_a_share_of_its_bar():
    [first, second] = row_of(
        [days("2026-01-01", "2026-07-02"), days("2026-07-02")], YEAR, billed_to=day("2026-04-02")
    ).bars
    assert (first.billed_share, second.billed_share) == ("50.00%", "0.00%")


# What is looked at ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        # Begun this year and evergreen: from its beginning to a year ahead.
        ({"first": "2026-03-10"}, "2026-03-01", "2027-08-01"),
        # Begun long ago: a year back.
        ({"first": "2001-03-10"}, "2025-07-01", "2027-08-01"),
        # To the end of the term, or to a change that lies still farther.
        ({"first": "2026-03-10", "term_end": "2029-03-10"}, "2026-03-01", "2029-04-01"),
        ({"first": "2026-03-10", "ahead": ["2028-01-01", "2027-01-01"]}, "2026-03-01", "2028-02-01"),
        # But not farther than five years.
        ({"first": "2026-03-10", "term_end": "2076-03-10"}, "2026-03-01", "2031-08-01"),
        # Canceled as of a day to come.
        ({"first": "2026-03-10", "over": "2026-10-01"}, "2026-03-01", "2027-08-01"),
        # Over since last month, and since ten years.
        ({"first": "2025-01-01", "over": "2026-06-01", "term_end": "2026-12-31"}, "2025-06-01", "2026-10-01"),
        ({"first": "2010-01-01", "over": "2016-06-01"}, "2015-06-01", "2016-10-01"),
        ({"first": "2016-05-15", "over": "2016-05-15"}, "2016-05-01", "2016-09-01"),
        # Not begun yet.
        ({"first": "2026-09-15"}, "2026-07-01", "2027-10-01"),
        ({"first": "2030-01-15"}, "2029-01-01", "2031-02-01"),
    ],
)
def test_the_window_holds_what_matters(asked, start, end):
    values: dict[str, Any] = {
        name: [*map(day, value)] if name == "ahead" else day(value) for name, value in asked.items()
    }
    assert window_of(**values, today=date(2026, 7, 15)) == (day(start), day(end))


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        ("2026-10-01", "2027-04-01", ["Oct 2026", "Nov", "Dec", "Jan 2027", "Feb", "Mar"]),
        ("2026-11-01", "2028-03-01", ["Jan 2027", "Apr", "Jul", "Oct", "Jan 2028"]),
        ("2026-05-01", "2030-05-01", ["Jan 2027", "Jan 2028", "Jan 2029", "Jan 2030"]),
    ],
)
def test_the_window_is_marked_by_months_quarters_or_years(start, end, labels):
    ticks = ticks_of(Window(day(start), day(end)))
    assert [tick.day.strftime("%b %Y" if tick.with_year else "%b") for tick in ticks] == labels
    assert sum(tick.room for tick in ticks) == FULL - ticks[0].place


def test_days_outside_lie_on_the_border():
    assert [TWO_YEARS.place(day(text)) for text in ("2020-01-01", "2025-07-01", "2026-07-01", "2030-01-01")] == [
        0,
        0,
        FULL // 2,
        FULL,
    ]


@pytest.mark.parametrize(("text", "width", "readable"), [("13 × $5.00", 1100, True), ("13 × $5.00", 1000, False)])
def test_a_text_is_shown_where_it_can_be_read(text, width, readable):
    assert MIN_PIXELS == 760
    assert fits(text, width) is readable


def test_places_are_written_for_svg():
    assert [percent(places) for places in (0, 5, 1234, FULL)] == ["0.00%", "0.05%", "12.34%", "100.00%"]
