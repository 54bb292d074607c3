"""Which periods a target date picks up: all that are due and not yet covered, however long overdue.

- in advance: a period is due when it starts on or before the target date;
- in arrears: a period is due when it has ended by the target date (its end is exclusive);
- one-time: due when the trigger day is on or before the target date (domain.md 4.3).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from typing import assert_never

from billing.core.periods import Cycle, Tile, tiles
from billing.core.types import BillingTiming, Charge, Period, Segment

_ONE_DAY = timedelta(days=1)


class SegmentOverlapError(ValueError):
    """Two segments of one charge claim the same day, so that nobody can say which price holds."""


def stretches(segments: Sequence[Segment]) -> list[Sequence[Segment]]:
    """Join segments that adjoin; a gap (a suspension, say) begins a new stretch, whose periods begin anew.

    Segments without a day are left out: an amendment on the very first day leaves one behind.
    """
    if len(segments) == 1:
        only = segments[0]
        return [segments] if only.end is None or only.end > only.start else []
    found: list[list[Segment]] = []
    until: date | None = date.min
    for segment in sorted(segments, key=lambda segment: (segment.start, segment.number)):
        if segment.end is not None and segment.end <= segment.start:
            continue
        if until is None or segment.start < until:
            raise SegmentOverlapError
        if found and segment.start == until:
            found[-1].append(segment)
        else:
            found.append([segment])
        until = segment.end
    return [*found]


# Most charges of a run share billing day, cycle and frontier, so most answers have been worked out before.
@lru_cache(maxsize=4096)
def due_periods(
    cycle: Cycle, start: date, end: date | None, timing: BillingTiming, target_date: date, limit: int
) -> tuple[Tile, ...]:
    """Return the periods of `[start, end)` that are due, at most `limit` of them, oldest first."""
    found = []
    for tile in islice(tiles(cycle, start, end), limit):
        if timing is BillingTiming.IN_ADVANCE:
            due_on = tile.period.start
        elif timing is BillingTiming.IN_ARREARS:
            due_on = tile.period.end
        else:
            assert_never(timing)
        if due_on > target_date:
            break
        found.append(tile)
    return tuple(found)


def one_time_due(charge: Charge, *, target_date: date) -> tuple[Segment, Period] | None:
    """Return the trigger day of a one-time charge and the segment that prices it, if it is due and not covered.

    A charge whose segments all ended by the trigger day was removed before it came about.
    """
    day = charge.trigger_date
    if day is None or day > target_date or charge.billed_through is not None:
        return None
    for segment in sorted(charge.segments, key=lambda segment: (segment.start, segment.number)):
        if segment.end is None or segment.end > day:
            return segment, Period(day, day + _ONE_DAY)
    return None
