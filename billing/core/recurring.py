"""What a recurring charge owes by a target date: credits first, then one line for each part of each due period."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.charge_models import UnpriceableError
from billing.core.credits import recurring_credits
from billing.core.cycles import cycle_of
from billing.core.parts import Part, amount_of_part, is_prorated, parts_of, tariff_of, treatment_of
from billing.core.periods import Cycle, Grid, grid_on, natural_period
from billing.core.timing import SegmentOverlapError, due_periods, service_until, stretch_end, stretches, timing_of
from billing.core.types import Account, BillingTiming, Charge, Line, LineKind, Rules, Segment

PRORATION_SUFFIX: Final = " – Proration"


def recurring_lines(account: Account, charge: Charge, rules: Rules, target_date: date, max_lines: int) -> list[Line]:
    """Return the credits and the lines of a recurring charge, each oldest first.

    Raises `UnpriceableError` when the charge cannot be priced or owes more than `max_lines` new lines.
    """
    if charge.trigger_date is None:
        return []
    cycle = cycle_of(account, charge, charge.trigger_date)
    if not charge.segments:
        raise UnpriceableError("missing_price", "has no price", "Enter a price for the charge")
    try:
        found = stretches(charge.segments)
    except SegmentOverlapError as flaw:
        hint = "Correct the dates of its segments so that each ends where the next begins"
        raise UnpriceableError("overlapping_segments", "has two prices for the same days", hint) from flaw
    until = service_until(charge, rules, target_date)
    given_back: list[Line] = []
    frontier = charge.billed_through
    if charge.billed:
        given_back = recurring_credits(account, charge, cycle, found, rules, target_date, until)
        if given_back:
            frontier = given_back[0].period.start
    parts = _due_parts(charge, cycle, found, rules, target_date, until, frontier, max_lines)
    return given_back + _lines(account, charge, cycle, parts)


def _due_parts(
    charge: Charge,
    cycle: Cycle,
    found: Sequence[Sequence[Segment]],
    rules: Rules,
    target_date: date,
    until: date | None,
    frontier: date | None,
    max_lines: int,
) -> list[Part]:
    """Return the parts of all due periods, oldest first; only as many periods as could pass `max_lines` are looked at.

        billed through          price change                       target date (in advance)
    ----------|======= period ======|======= period ======|======= period ====:==|
              |===== part ====|part=|======== part =======|======== part =====:==|
    """
    timing = timing_of(charge.terms, rules)
    parts: list[Part] = []
    for stretch in found:
        start, end = stretch[0].start, stretch_end(stretch, until)
        since = start
        if frontier is not None and frontier > start:
            since = frontier
            if timing is BillingTiming.IN_ADVANCE and since > target_date:
                continue
            # The period that the frontier lies in is cut from its own beginning, and what is covered left out of it.
            start = max(start, natural_period(cycle, since).start)
        for tile in due_periods(cycle, start, end, timing, target_date, max_lines + 1):
            if tile.full and len(stretch) == 1 and tile.period.start >= since:
                parts.append(Part(stretch[0], tile.period, None))
            else:
                treatment = treatment_of(tile, charge, cycle, rules, found[0][0].start)
                parts += parts_of(tile, stretch, cycle, rules, treatment, since)
        if len(parts) > max_lines:
            raise UnpriceableError(
                "too_many_periods",
                f"has more than {max_lines} lines to bill up to {target_date.isoformat()}",
                "Check when the charge starts and what has been billed; if all of it is due, bill it in several runs"
                " with earlier target dates",
            )
    return parts


def _lines(account: Account, charge: Charge, cycle: Cycle, parts: Sequence[Part]) -> list[Line]:
    priced: tuple[Segment | None, Grid | None] = (None, None)
    full: tuple[Decimal, str] | None = None
    lines: list[Line] = []
    for part in parts:
        segment, period, portion = part
        grid = grid_on(cycle, period.start)
        if segment is not priced[0] or grid is not priced[1]:
            tariff = tariff_of(charge, segment, grid, period.start)
            priced, full = (segment, grid), None
        if portion is None:
            # All full periods at one price cost the same.
            amount, derivation = full = full or amount_of_part(part, tariff, account.currency)
        else:
            amount, derivation = amount_of_part(part, tariff, account.currency)
        lines.append(
            Line(
                charge.charge_id,
                charge.subscription_id,
                segment.segment_id,
                LineKind.RECURRING,
                charge.name + PRORATION_SUFFIX if portion and is_prorated(part, tariff) else charge.name,
                period,
                tariff.rate.quantity,
                tariff.unit_price,
                amount,
                derivation,
                charge.invoice_separately,
                charge.number,
                charge.rate_plan_id,
                segment.number,
            )
        )
    return lines
