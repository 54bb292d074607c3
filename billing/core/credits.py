"""What is given back: days that an item covers although the segment that priced them no longer has them.

    item                 |=========== billed 100.00 ===========|
    segment now          |------ kept 48.39 ------|            c ≤ target date
    credit                                        |== −51.61 ==|

A credit is what was billed less what the very same pricing now gives for the days that are kept, so charge and credit
never drift by a cent (domain.md 3.2). The days given back may be billed anew, at another price.

The days kept are priced as parts of the period as it ends now. What a part costs depends on no day after it
(`proration`), so an end that moves does not touch what the days before it were billed at, and some of an item's days
never cost more than all of them. Only billing rules, a billing day or terms that were changed since can make the kept
days dearer than what was billed: then nothing but the days comes back. A credit never asks for money, and never gives
back more than was billed.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from billing.core.charge_models import UnpriceableError
from billing.core.derivation import VERSION, number_text
from billing.core.money import EXACT, no_more_than, round_amount
from billing.core.parts import amount_of_part, parts_of, tariff_of, treatment_of
from billing.core.periods import Cycle, grid_on, natural_period, tiles
from billing.core.timing import stretch_end
from billing.core.types import Account, Billed, Charge, ChargeModel, Currency, Line, LineKind, Period, Rules, Segment

CREDIT_SUFFIX = " – Credit"
PRORATION_CREDIT_SUFFIX = " – Proration Credit"

Kept = list[tuple[Decimal, str]]
"""Amounts and derivations of the days an item keeps; empty when it keeps none."""


def recurring_credits(
    account: Account,
    charge: Charge,
    cycle: Cycle,
    found: Sequence[Sequence[Segment]],
    rules: Rules,
    target_date: date,
    until: date | None,
) -> list[Line]:
    """Return the credits that are due by `target_date`, sorted by their days; a credit of 0 gives days back, too.

    `found` are the stretches of the charge, `until` the end of its term where service is cut there.
    """
    lines = []
    for billed in reversed(charge.billed):
        if billed.kind is not LineKind.RECURRING:
            continue
        segment = _segment_of(charge, billed)
        end = segment.end if until is None or (segment.end is not None and segment.end <= until) else until
        if end is None or end > target_date or end >= billed.period.end:
            continue
        start = billed.item_period.start
        kept: Kept = []
        if start < end:
            kept = _kept(account, charge, cycle, found, rules, until, segment, Period(start, end))
        released = Period(max(end, billed.period.start), billed.period.end)
        lines.append(_credit(account, charge, segment, billed, released, kept))
    lines.sort(key=lambda line: line.period)
    return lines


def one_time_credits(account: Account, charge: Charge, rules: Rules, target_date: date) -> list[Line]:
    """Return the credit of a one-time charge that was billed and then removed by its trigger day, where rules allow."""
    day = charge.trigger_date
    if not rules.credit_one_time or day is None or not charge.billed or not charge.segments:
        return []
    last = max(segment.end or date.max for segment in charge.segments)
    if last > day or last > target_date:
        return []
    return [
        _credit(account, charge, _segment_of(charge, billed), billed, billed.period, [])
        for billed in charge.billed
        if billed.kind is LineKind.ONE_TIME
    ]


def _kept(
    account: Account,
    charge: Charge,
    cycle: Cycle,
    found: Sequence[Sequence[Segment]],
    rules: Rules,
    until: date | None,
    segment: Segment,
    retained: Period,
) -> Kept:
    """Return what the days that an item keeps cost today: the parts that its segment has in the periods they lie in."""
    kept: Kept = []
    for stretch in found:
        if segment not in stretch:
            continue
        start = max(stretch[0].start, natural_period(cycle, retained.start).start)
        for tile in tiles(cycle, start, stretch_end(stretch, until)):
            if tile.period.start >= retained.end:
                break
            treatment = treatment_of(tile, charge, cycle, rules, found[0][0].start)
            for part in parts_of(tile, stretch, cycle, rules, treatment, retained.start):
                if part.segment is segment:
                    tariff = tariff_of(charge, segment, grid_on(cycle, part.period.start), part.period.start)
                    kept.append(amount_of_part(part, tariff, account.currency))
    return kept


def _credit(account: Account, charge: Charge, segment: Segment, billed: Billed, released: Period, kept: Kept) -> Line:
    """Return the line that gives `released` back."""
    remains = Decimal(0)
    for amount, _ in kept:
        remains = EXACT.add(remains, amount)
    remains = no_more_than(billed.amount, remains)
    part_only = kept and remains != billed.amount
    return Line(
        charge.charge_id,
        charge.subscription_id,
        segment.segment_id,
        LineKind.CREDIT,
        charge.name + (PRORATION_CREDIT_SUFFIX if part_only else CREDIT_SUFFIX),
        released,
        None if charge.terms.charge_model is ChargeModel.FLAT_FEE else segment.quantity,
        None,
        round_amount(EXACT.subtract(remains, billed.amount), account.currency),
        _derivation(segment, billed, kept, account.currency),
        charge.invoice_separately,
        charge.number,
        charge.rate_plan_id,
        segment.number,
        billed.item_id,
    )


def _derivation(segment: Segment, billed: Billed, kept: Kept, currency: Currency) -> str:
    left = f',"kept":[{",".join(derivation for _, derivation in kept)}]' if kept else ""
    working = f'"credit":{{"item":{billed.item_id},"billed":"{number_text(billed.amount)}"{left}}}'
    return f'{{"v":{VERSION},"s":{segment.number},{working},"r":{currency.digits}}}'


def _segment_of(charge: Charge, billed: Billed) -> Segment:
    for segment in charge.segments:
        if segment.number == billed.segment_number:
            return segment
    raise UnpriceableError(
        "missing_segment",
        f"was billed for segment {billed.segment_number}, which it does not have",
        "Have the charge's segments restored before it is billed",
    )
