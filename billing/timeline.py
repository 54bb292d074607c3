"""Where the life of a subscription lies on a time line: days in, places out; templates draw what comes out.

    window     start               today              end
               |---------------------|-----------------|
    a charge   =============================.....////...>
               billed                       open paused  goes on

Places are hundredths of a percent of the window's width, so that a drawing fits every screen without knowing it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from billing.core.periods import add_months, date_in_month, month_number

FULL = 10_000
NARROWEST = 25
"""What is shorter could not be seen: two pixels where the drawing is MIN_PIXELS wide."""
MIN_PIXELS = 760
"""The narrowest that a time line is drawn; on a smaller screen it is scrolled."""
LETTER, PADDING = 7, 10
"""Pixels of a letter, and beside a text."""

LOOK_BACK = LOOK_AHEAD = 12
FARTHEST = 60
AFTER_THE_END = 3
# How many months a window may have to be marked by months, by quarters; longer ones are marked by years.
BY_MONTHS, BY_QUARTERS = 14, 42


class Days(NamedTuple):
    """Days from `start` up to but not including `end`; None goes on."""

    start: date
    end: date | None

    @property
    def has_days(self) -> bool:
        return self.end is None or self.end > self.start


class Stripe(NamedTuple):
    """A piece of a row, with what a drawing needs as text."""

    left: int
    width: int

    @property
    def x(self) -> str:
        return percent(self.left)

    @property
    def w(self) -> str:
        return percent(self.width)

    @property
    def to(self) -> str:
        return percent(self.left + self.width)


class Window(NamedTuple):
    """The days that a time line shows, `[start, end)`, both the first of a month."""

    start: date
    end: date

    @property
    def months(self) -> int:
        return month_number(self.end) - month_number(self.start)

    def place(self, day: date) -> int:
        """Return where a day begins; days outside lie on the border."""
        inside = min(max(day, self.start), self.end)
        return (inside - self.start).days * FULL // (self.end - self.start).days

    def shows(self, day: date | None) -> bool:
        """Tell whether a day lies in the window."""
        return day is not None and self.start <= day <= self.end

    def stripe(self, days: Days) -> Stripe | None:
        """Return the part of some days that is seen; None when nothing is."""
        if not days.has_days or days.start >= self.end or (days.end is not None and days.end <= self.start):
            return None
        left = self.place(days.start)
        width = max((FULL if days.end is None else self.place(days.end)) - left, NARROWEST)
        return Stripe(min(left, FULL - width), width)


class Bar(NamedTuple):
    """A segment as seen: `position` says which, `billed` how much of its width, from the left, is billed.

    `begins` and `ends` tell whether its first day and its end are seen.
    """

    position: int
    stripe: Stripe
    billed: int
    begins: bool
    ends: bool

    @property
    def billed_share(self) -> str:
        """Return the billed part of the bar itself, as a drawing within it needs it."""
        return percent(min(self.billed * FULL // self.stripe.width, FULL))


class Row(NamedTuple):
    """A charge as seen. `to_credit` are days that are billed but no longer served, `mark` is the end of what is billed."""

    bars: list[Bar]
    pauses: list[Stripe]
    to_credit: Stripe | None
    mark: int | None


class Tick(NamedTuple):
    """A first of a month that is marked every `months` months, and the room beside it; some carry their year."""

    day: date
    place: int
    room: int
    months: int
    with_year: bool

    @property
    def x(self) -> str:
        return percent(self.place)


def percent(places: int) -> str:
    """Return places as SVG takes them: 1234 is 12.34%."""
    return f"{places // 100}.{places % 100:02d}%"


def fits(text: str, width: int) -> bool:
    """Tell whether a text can be read within a width, however narrow the screen."""
    return (len(text) * LETTER + PADDING) * FULL <= width * MIN_PIXELS


def window_of(
    *, first: date, today: date, over: date | None = None, term_end: date | None = None, ahead: Iterable[date] = ()
) -> Window:
    """Return the months to look at: a year back and ahead, reaching to the end of the term and to changes `ahead`.

    `first` is the first day of it all and `over` the first day on which nothing is served any more. What is long over is
    looked at as of its end, and nothing is looked at that lies more than five years ahead.
    """
    focus = max(first, today if over is None else min(today, over))
    start = max(min(first, today), add_months(focus, -LOOK_BACK))
    if over is not None and over <= today:
        soon = today <= add_months(over, LOOK_AHEAD)
        end = max(add_months(over, AFTER_THE_END), today if soon else over)
    else:
        later = [day for day in (term_end, over, *ahead) if day is not None]
        end = min(max([add_months(focus, LOOK_AHEAD), *later]), add_months(focus, FARTHEST))
    # The last day asked for is seen, too.
    return Window(start.replace(day=1), date_in_month(month_number(end) + 1, 1))


def ticks_of(window: Window) -> list[Tick]:
    """Return the marks of months, quarters or years, by the length of the window."""
    step = 1 if window.months <= BY_MONTHS else 3 if window.months <= BY_QUARTERS else 12
    first, last = month_number(window.start), month_number(window.end)
    days = [date_in_month(number, 1) for number in range(first, last) if number % step == 0]
    places = [*map(window.place, days), FULL]
    return [
        Tick(day, place, following - place, step, day.month == 1 or day == days[0])
        for day, place, following in zip(days, places[:-1], places[1:], strict=True)
    ]


def row_of(
    segments: Sequence[Days],
    window: Window,
    *,
    billed_to: date | None = None,
    paused_from: date | None = None,
    over: date | None = None,
) -> Row:
    """Return a charge as seen: its segments, which do not overlap, and the pauses between them.

    `billed_to` is the end of what is billed; `paused_from` is given while a pause has no end yet: it lasts until all is
    `over`.
    """
    bars = []
    for position, days in enumerate(segments):
        stripe = window.stripe(days)
        if stripe is not None:
            until = None if billed_to is None else min(billed_to, days.end or billed_to)
            billed = 0 if until is None or until <= days.start else window.place(until) - stripe.left
            ends = days.end is not None and days.end <= window.end
            bars.append(Bar(position, stripe, min(max(billed, 0), stripe.width), days.start >= window.start, ends))
    pauses = [stripe for gap in _gaps(segments, paused_from, over) if (stripe := window.stripe(gap)) is not None]
    end = _end_of(segments)
    beyond = Days(end, billed_to) if end is not None and billed_to is not None and end < billed_to else None
    mark = window.place(billed_to) if billed_to is not None and window.shows(billed_to) else None
    return Row(bars, pauses, None if beyond is None else window.stripe(beyond), mark)


def _gaps(segments: Sequence[Days], paused_from: date | None, over: date | None) -> Iterator[Days]:
    """Yield the days between segments, and those since a pause without an end."""
    served = sorted(days for days in segments if days.has_days)
    for before, after in pairwise(served):
        if before.end is not None and before.end < after.start:
            yield Days(before.end, after.start)
    if paused_from is not None and served and served[-1].end == paused_from:
        yield Days(paused_from, over)


def _end_of(segments: Sequence[Days]) -> date | None:
    """Return the first day after all segments; None if one goes on or there is none."""
    ends = [days.end for days in segments if days.has_days]
    return max((end for end in ends if end is not None), default=None) if None not in ends else None
