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
from billing.core.types import BillingTiming, Charge, ChargeTerms, Period, RecurringStyle, Rules, Segment

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


def timing_of(terms: ChargeTerms, rules: Rules) -> BillingTiming:
    """Return whether the charge is billed in advance or in arrears: one style for all, or as its rate plan says."""
    if rules.recurring_style is RecurringStyle.RATE_PLAN:
        return terms.billing_timing
    if rules.recurring_style is RecurringStyle.IN_ADVANCE:
        return BillingTiming.IN_ADVANCE
    if rules.recurring_style is RecurringStyle.IN_ARREARS:
        return BillingTiming.IN_ARREARS
    assert_never(rules.recurring_style)


def service_until(charge: Charge, rules: Rules, target_date: date) -> date | None:
    """Return the day on which the subscription's term cuts service, or None while nothing does (domain.md 3.3).

    Where the rules let the last period of a running term be billed whole, the cut waits for the term's end: a target
    date that reaches it finds the term renewed (and `term_end` moved), or cuts.
    """
    end = charge.term_end
    if end is None or target_date >= end:
        return end
    whole = not rules.bill_to_term_end_when_auto_renew if charge.auto_renew else rules.bill_past_term_end
    return None if whole else end


def stretch_end(stretch: Sequence[Segment], until: date | None) -> date | None:
    """Return the day on which a stretch ends: with its last segment, or `until` where that is earlier."""
    end = stretch[-1].end
    return until if end is None or (until is not None and until < end) else end


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
