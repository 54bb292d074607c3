"""What a usage charge owes by a target date: late usage first, then the usage of each period that is over (domain.md 6.4).

    rated through                              target date
    -----|======= period ======|======= period ====:===|
         |==== part ===|= part |                   :         at the end of the period: parts that have ended
         |=============|=======|===================:         on demand: up to the target date as well

A part is priced by one segment: a price that changes within a period counts for the usage from that day on, and counting
begins anew. Only a smoothed charge keeps its periods whole, each at the terms of its last day. On demand, everything
since the period began is priced again and what was billed of it is taken off. So is late usage, which belongs to days
that were rated before.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from billing.core.charge_models import UnpriceableError
from billing.core.cycles import cycle_of
from billing.core.derivation import VERSION, number_text
from billing.core.money import EXACT, round_amount
from billing.core.parts import Part, amount_of_part, parts_of, tariff_of, treatment_of
from billing.core.periods import Cycle, Tile, grid_on, natural_period, tiles
from billing.core.proration import NOTHING
from billing.core.timing import SegmentOverlapError, service_until, stretch_end, stretches
from billing.core.types import (
    Account,
    Charge,
    ChargeModel,
    Line,
    LineKind,
    PartialMonths,
    Period,
    Rated,
    RatedKind,
    Rules,
    Segment,
    UsageRating,
)
from billing.core.usage import RatedWindow, Slice, Usage, count, within
from billing.core.usage_rates import UsageRate, usage_rate

LATE_SUFFIX: Final = " – Late usage"
_ZERO = Decimal(0)
_NOT_BILLED: Final = ',"f":[1,1],"part":[0]'


class RatingPart(NamedTuple):
    """Days whose usage one segment prices: `period` is due now, `counted_from` where counting began.

    `is_first` marks a partial first period of the charge.
    """

    part: Part
    counted_from: date
    is_first: bool

    @property
    def days(self) -> Period:
        return Period(self.counted_from, self.part.period.end)


class _Priced(NamedTuple):
    """A price that is rounded: exact once, with all of its derivation but what was billed before."""

    amount: Decimal
    unit_price: Decimal | None
    quantity: Decimal
    working: str
    state: str


def usage_lines(
    account: Account, charge: Charge, usage: Usage, rules: Rules, target_date: date, max_lines: int
) -> tuple[list[Line], list[Rated]]:
    """Return the lines of a usage charge, oldest first, and all periods rated, those without a line included.

    Raises `UnpriceableError` or `OverageError` when the charge cannot be priced, or has more than `max_lines` periods.
    """
    if charge.trigger_date is None:
        return [], []
    parts = due_parts(account, charge, usage, rules, target_date, max_lines)
    rating = _Rating(account, charge, usage, rules)
    state = usage.state
    lines: list[Line] = []
    rated: list[Rated] = []
    late, state = rating.late(parts, state)
    for line, period in late:
        lines.append(line)
        rated.append(period)
    for due in parts:
        found, period = rating.part(due, state)
        state = period.state
        rated.append(period)
        if found is not None:
            lines.append(found)
    return lines, rated


def due_parts(
    account: Account, charge: Charge, usage: Usage, rules: Rules, target_date: date, max_lines: int
) -> list[RatingPart]:
    """Return the parts of all periods that are due, oldest first."""
    assert charge.trigger_date is not None  # the caller leaves charges out that have not begun
    cycle = cycle_of(account, charge, charge.trigger_date)
    if not charge.segments:
        raise UnpriceableError("missing_price", "has no price", "Enter a price for the charge")
    try:
        found = stretches(charge.segments)
    except SegmentOverlapError as flaw:
        hint = "Correct the dates of its segments so that each ends where the next begins"
        raise UnpriceableError("overlapping_segments", "has two prices for the same days", hint) from flaw
    until = service_until(charge, rules, target_date)
    parts: list[RatingPart] = []
    for stretch in found:
        for due in _parts_of_stretch(charge, usage, cycle, stretch, found[0][0].start, rules, target_date, until):
            parts.append(due)
            if len(parts) > max_lines:
                raise UnpriceableError(
                    "too_many_periods",
                    f"has more than {max_lines} periods to rate up to {target_date.isoformat()}",
                    "Check when the charge starts and what has been billed; if all of it is due, bill it in several"
                    " runs with earlier target dates",
                )
    return parts


def _parts_of_stretch(
    charge: Charge,
    usage: Usage,
    cycle: Cycle,
    stretch: Sequence[Segment],
    service_start: date,
    rules: Rules,
    target_date: date,
    until: date | None,
) -> Iterator[RatingPart]:
    start, end = stretch[0].start, stretch_end(stretch, until)
    frontier = usage.rated_through
    since = start
    if frontier is not None and frontier > start:
        since = frontier
        start = max(start, natural_period(cycle, since).start)
    on_demand = _is_on_demand(charge, usage)
    for tile in tiles(cycle, start, end):
        period, full = tile
        if period.end > target_date:
            if not on_demand or period.start >= target_date:
                return
            period, full = Period(period.start, target_date), False
        treatment = _treatment(tile, charge, cycle, rules, service_start)
        segments = stretch
        if usage.terms.smoothing is not None:
            last = [segment for segment in stretch if segment.start < period.end][-1]
            segments = [last._replace(start=stretch[0].start, end=None)]
        for part in parts_of(Tile(period, full), segments, cycle, rules, treatment, since):
            counted_from = max(part.segment.start, tile.period.start) if on_demand else part.period.start
            # Only what was rated last goes on: a price or billing day that has moved begins to count anew.
            if not usage.windows or usage.windows[-1].days.start != counted_from:
                counted_from = part.period.start
            yield RatingPart(part, counted_from, not tile.full and tile.period.start == service_start)
        if period.end == target_date:
            return


def _is_on_demand(charge: Charge, usage: Usage) -> bool:
    """Tell whether open periods are rated as well: a fee and a smoothed charge need whole ones, whatever they say."""
    on_demand = usage.terms.rating is UsageRating.ON_DEMAND
    return on_demand and usage.terms.smoothing is None and charge.terms.charge_model is not ChargeModel.FLAT_FEE


def _treatment(tile: Tile, charge: Charge, cycle: Cycle, rules: Rules, service_start: date) -> PartialMonths:
    """Return what the rules make of a partial period: only the charge's first one may go unbilled (domain.md 3.3)."""
    billed = rules.bill_usage_partial_months
    of_usage = rules._replace(
        partial_months=PartialMonths.PRORATE if billed else PartialMonths.SKIP, bill_partial_weeks=billed
    )
    return treatment_of(tile, charge, cycle, of_usage, service_start)


class _Rating:
    """Prices the usage of one charge."""

    def __init__(self, account: Account, charge: Charge, usage: Usage, rules: Rules) -> None:
        self.account, self.charge, self.usage, self.rules = account, charge, usage, rules

    def part(self, due: RatingPart, state: str) -> tuple[Line | None, Rated]:
        """Return what is rated of a due part, and its line unless it has neither usage nor a fee."""
        before = self._before(due)
        counted = within(self.usage.slices if before else self._pending(), due.days)
        new = [found for found in counted if not found.is_rated]
        # Days without any usage cost nothing, even where the first tier has a flat fee.
        if counted or self.usage.terms.smoothing is not None or self._is_fee:
            priced = self._price(due, counted, state)
        else:
            priced = _Priced(_ZERO, None, _ZERO, "", state)
        billed, so_far = (before.amount, before.quantity) if before else (_ZERO, _ZERO)
        amount, quantity = EXACT.subtract(priced.amount, billed), EXACT.subtract(priced.quantity, so_far)
        period = due.part.period
        slices = tuple(found.slice_id for found in new)
        rated = Rated(
            self.charge.charge_id, RatedKind.PERIOD, period, due.counted_from, quantity, amount, priced.state, slices
        )
        if not (new or amount or self._is_fee):
            return None, rated
        derivation = self._derivation(due.part.segment, priced.working, billed if before else None)
        line = self._line(due.part.segment, period, quantity, priced.unit_price, amount, derivation, rated)
        return line, rated

    def late(self, parts: Sequence[RatingPart], state: str) -> tuple[list[tuple[Line, Rated]], str]:
        """Return the lines of usage that belongs to days rated before, and the state of smoothing after them."""
        goes_on = {due.counted_from for due in parts}
        pending = self._pending()
        concerned = [
            (window, new)
            for window in self.usage.windows
            if window.days.start not in goes_on
            # What is due now and does not go on counting there closes it.
            and (parts or self._is_closed(window))
            and (new := within(pending, window.days))
        ]
        if not concerned:
            return [], state
        if self.usage.terms.smoothing is not None:
            return self._smoothed_again([found for _, new in concerned for found in new])
        return [self._again(window, new) for window, new in concerned], state

    @property
    def _is_fee(self) -> bool:
        return self.charge.terms.charge_model is ChargeModel.FLAT_FEE

    @property
    def _free(self) -> Decimal:
        return round_amount(_ZERO, self.account.currency)

    def _pending(self) -> list[Slice]:
        return [found for found in self.usage.slices if not found.is_rated]

    def _is_closed(self, window: RatedWindow) -> bool:
        """Tell whether nothing more will be counted in a window: only on demand the last one stays open."""
        if not _is_on_demand(self.charge, self.usage) or window is not self.usage.windows[-1]:
            return True
        segment = self._segment_on(window.days)
        return (segment.end is not None and segment.end <= window.days.end) or self._natural(
            window
        ).end <= window.days.end

    def _natural(self, window: RatedWindow) -> Period:
        assert self.charge.trigger_date is not None  # nothing was rated of a charge that has not begun
        return natural_period(cycle_of(self.account, self.charge, self.charge.trigger_date), window.days.start)

    def _again(self, window: RatedWindow, new: Sequence[Slice]) -> tuple[Line, Rated]:
        """Return what late usage adds to a window: the price of all its usage less what was billed of it."""
        due = self._due_again(window)
        usage = within(self.usage.slices, window.days)
        if self._is_fee:
            # A fee is the same whatever is used: nothing is added to what its period has cost.
            counted = count(usage, self.usage.terms, individually=self.rules.rate_usage_individually)
            quantity = EXACT.subtract(counted.quantity, window.quantity)
            return self._late_line(
                due, window.days, new, quantity, None, self._free, self._nothing(due.part.segment), ""
            )
        priced = self._price(due, usage, "")
        amount = EXACT.subtract(priced.amount, window.amount)
        quantity = EXACT.subtract(priced.quantity, window.quantity)
        derivation = self._derivation(due.part.segment, priced.working, window.amount)
        return self._late_line(due, window.days, new, quantity, priced.unit_price, amount, derivation, "")

    def _smoothed_again(self, new: Sequence[Slice]) -> tuple[list[tuple[Line, Rated]], str]:
        """Return one line for all late usage of a smoothed charge: each period weighs on those after it."""
        state, amount, quantity, billed = "", _ZERO, _ZERO, _ZERO
        texts = []
        for window in self.usage.windows:
            due = self._due_again(window)
            priced = self._price(due, within(self.usage.slices, window.days), state)
            state, amount = priced.state, EXACT.add(amount, priced.amount)
            quantity = EXACT.add(quantity, EXACT.subtract(priced.quantity, window.quantity))
            billed = EXACT.add(billed, window.amount)
            texts.append(self._derivation(due.part.segment, priced.working, None))
        digits = self.account.currency.digits
        derivation = (
            f'{{"v":{VERSION},"s":{due.part.segment.number},"again":[{",".join(texts)}]'
            f',"less":"{number_text(billed)}","r":{digits}}}'
        )
        # From the first period that has late usage to the last one.
        first, last = min(found.days.start for found in new), max(found.days.end for found in new)
        concerned = [
            window.days for window in self.usage.windows if window.days.end > first and window.days.start < last
        ]
        days = Period(concerned[0].start, concerned[-1].end)
        amount = EXACT.subtract(amount, billed)
        return [self._late_line(due, days, new, quantity, None, amount, derivation, state)], state

    def _due_again(self, window: RatedWindow) -> RatingPart:
        """Return a window as the part it was rated as."""
        segment = self._segment_on(window.days)
        assert self.charge.trigger_date is not None  # nothing was rated of a charge that has not begun
        cycle = cycle_of(self.account, self.charge, self.charge.trigger_date)
        service_start = min(found.start for found in self.charge.segments if found.end != found.start)
        natural = natural_period(cycle, window.days.start)
        is_first = window.days.start == service_start and window.days != natural
        # After a pause a period begins anew, and is no longer the charge's first one.
        begun = max(
            (found[0].start for found in stretches(self.charge.segments) if found[0].start <= window.days.start),
            default=service_start,
        )
        tile = Tile(Period(max(natural.start, begun), natural.end), natural.start >= begun)
        treatment = _treatment(tile, self.charge, cycle, self.rules, service_start)
        skipped = treatment is PartialMonths.SKIP and not tile.full
        return RatingPart(Part(segment, window.days, NOTHING if skipped else None), window.days.start, is_first)

    def _segment_on(self, days: Period) -> Segment:
        """Return the segment that prices `days` now: that of its first day, of a smoothed charge that of its last."""
        begun = [found for found in self.charge.segments if found.start <= days.start and found.end != found.start]
        if self.usage.terms.smoothing is not None:
            begun = [found for found in self.charge.segments if found.start < days.end and found.end != found.start]
        if not begun:
            begun = list(self.charge.segments)
        return max(begun, key=lambda found: (found.start, found.number))

    def _before(self, due: RatingPart) -> RatedWindow | None:
        """Return what was rated of a part's days before: on demand, counting goes on."""
        if due.counted_from == due.part.period.start:
            return None
        return next((found for found in self.usage.windows if found.days.start == due.counted_from), None)

    def _price(self, due: RatingPart, slices: Sequence[Slice], state: str) -> _Priced:
        """Return the rounded price of all usage of a part's days since counting began."""
        charge, part = self.charge, due.part
        counted = count(slices, self.usage.terms, individually=self.rules.rate_usage_individually)
        if self._is_fee and part.portion is not NOTHING:
            return self._fee(part, counted.quantity)
        rate: UsageRate = usage_rate(
            charge.terms.charge_model, part.segment, counted, self.usage.terms, state=state, partial=due.is_first
        )
        if part.portion is NOTHING:
            return _Priced(self._free, None, counted.quantity, rate.working + _NOT_BILLED, rate.state)
        amount = round_amount(rate.amount, self.account.currency)
        return _Priced(amount, rate.unit_price, counted.quantity, rate.working, rate.state)

    def _fee(self, part: Part, quantity: Decimal) -> _Priced:
        """Return the fee of a period: the same whatever is used, prorated like any fee (domain.md 2.1)."""
        assert self.charge.trigger_date is not None  # a part is due only of a charge that has begun
        cycle = cycle_of(self.account, self.charge, self.charge.trigger_date)
        tariff = tariff_of(self.charge, part.segment, grid_on(cycle, part.period.start), part.period.start)
        amount, derivation = amount_of_part(part, tariff, self.account.currency)
        return _Priced(amount, tariff.unit_price, quantity, derivation, "")

    def _nothing(self, segment: Segment) -> str:
        """Return the derivation of usage that adds nothing."""
        return f'{{"v":{VERSION},"s":{segment.number},"again":[],"less":"0","r":{self.account.currency.digits}}}'

    def _derivation(self, segment: Segment, working: str, less: Decimal | None) -> str:
        if working.startswith("{"):
            return working
        taken_off = "" if less is None else f',"less":"{number_text(less)}"'
        return f'{{"v":{VERSION},"s":{segment.number},{working}{taken_off},"r":{self.account.currency.digits}}}'

    def _late_line(
        self,
        due: RatingPart,
        days: Period,
        new: Sequence[Slice],
        quantity: Decimal,
        unit_price: Decimal | None,
        amount: Decimal,
        derivation: str,
        state: str,
    ) -> tuple[Line, Rated]:
        rated = Rated(
            self.charge.charge_id,
            RatedKind.LATE,
            days,
            days.start,
            quantity,
            amount,
            state,
            tuple(found.slice_id for found in new),
        )
        line = self._line(due.part.segment, days, quantity, unit_price, amount, derivation, rated)
        return line._replace(description=line.description + LATE_SUFFIX), rated

    def _line(
        self,
        segment: Segment,
        period: Period,
        quantity: Decimal,
        unit_price: Decimal | None,
        amount: Decimal,
        derivation: str,
        rated: Rated,
    ) -> Line:
        charge = self.charge
        return Line(
            charge.charge_id,
            charge.subscription_id,
            segment.segment_id,
            LineKind.USAGE,
            charge.name,
            period,
            quantity,
            unit_price,
            amount,
            derivation,
            charge.invoice_separately,
            charge.number,
            charge.rate_plan_id,
            segment.number,
            rated=rated,
        )
