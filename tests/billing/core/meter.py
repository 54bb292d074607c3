"""A usage charge with its records and all that was rated of it: state goes from one call of `price()` to the next.

It hands `price()` what the database would: slices not rated yet, slices of days that are counted again, and windows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from billing.core.pricing import price
from billing.core.types import (
    Account,
    Charge,
    ChargeModel,
    ChargeType,
    Line,
    Period,
    Pricing,
    Rated,
    RatedKind,
    Rules,
    Segment,
    UsageRating,
)
from billing.core.units import RoundingMode, UnitOfMeasure
from billing.core.usage import RatedWindow, Slice, Usage, UsageTerms
from tests.billing.core import BLUEFIN, charge, day

GB = UnitOfMeasure("GB", 3, RoundingMode.UP)
ONE_DAY = timedelta(days=1)


class Record(NamedTuple):
    """What was used on a day, and the upload it came with."""

    day: date
    quantity: Decimal
    upload: int


def metered(model: ChargeModel, start: str, *segments: Segment, **changes: Any) -> Charge:
    """Return a charge for what is used each month from `start` on."""
    return charge(start, *segments, charge_type=ChargeType.USAGE, charge_model=model, name="Traffic", **changes)


@dataclass
class Meter:
    """A charge with its usage; `use` adds records, `run` rates what is due as a bill run does."""

    charge: Charge
    terms: UsageTerms = field(default_factory=lambda: UsageTerms(GB))
    account: Account = BLUEFIN
    rules: Rules = field(default_factory=Rules)
    slices: dict[int, Slice] = field(default_factory=dict)
    rated: list[Rated] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    upload: int = 0

    def use(self, *rows: tuple[str, str], upload: int | None = None) -> None:
        """Add records, each (day, quantity), as one upload; every day is a slice of its own."""
        self.upload += 1
        number = self.upload if upload is None else upload
        for text in sorted({text for text, _ in rows}):
            self.add([Record(day(text), Decimal(units), number) for on, units in rows if on == text])

    def add(self, records: Sequence[Record]) -> None:
        """Add records of one upload as one slice."""
        times = Counter(record.quantity for record in records)
        days = Period(min(record.day for record in records), max(record.day for record in records) + ONE_DAY)
        total = sum((record.quantity for record in records), Decimal(0))
        pk = len(self.slices) + 1
        self.slices[pk] = Slice(pk, days, total, len(records), records[0].upload, quantities=tuple(times.items()))

    def run(self, target: str | date) -> list[Line]:
        """Rate what is due and keep it; return the lines."""
        found = self.due(target)
        assert found.problems == []
        self.rated += found.rated
        self.lines += found.lines
        for rated in found.rated:
            for pk in rated.slices:
                assert not self.slices[pk].is_rated, "rated twice"
                self.slices[pk] = self.slices[pk]._replace(is_rated=True)
        return found.lines

    def due(self, target: str | date) -> Pricing:
        """Return what a run would make of the charge."""
        on = day(target) if isinstance(target, str) else target
        return price(
            self.account,
            [self.charge],
            rules=self.rules,
            target_date=on,
            max_lines_per_charge=999,
            usage={self.charge.charge_id: self.seen(on)},
        )

    def seen(self, target: date) -> Usage:
        """Return what is loaded for a run up to the target date."""
        pending = [found for found in self.slices.values() if not found.is_rated and found.days.start < target]
        windows = self.windows()
        late = bool(windows) and any(found.days.start < windows[-1].days.end for found in pending)
        windows = windows if late else windows[-1:]
        since = windows[0].days.start if windows and (late or self.terms.rating is UsageRating.ON_DEMAND) else None
        again = [
            found for found in self.slices.values() if found.is_rated and since is not None and found.days.end > since
        ]
        return Usage(
            self.terms, tuple(sorted(pending + again)), tuple(windows), self.rated[-1].state if self.rated else ""
        )

    def windows(self) -> list[RatedWindow]:
        """Return what was rated together, with the sums of all that was rated of it."""
        sums: dict[date, RatedWindow] = {}
        for rated in self.rated:
            window = sums.get(rated.counted_from)
            end = rated.period.end
            if window is None:
                window = RatedWindow(Period(rated.counted_from, end), Decimal(0), Decimal(0))
            if rated.kind is RatedKind.PERIOD:
                window = window._replace(days=Period(rated.counted_from, max(end, window.days.end)))
            sums[rated.counted_from] = RatedWindow(
                window.days, window.quantity + rated.quantity, window.amount + rated.amount
            )
        return [sums[start] for start in sorted(sums)]

    def pending(self) -> list[Slice]:
        """Return the slices not rated yet."""
        return [found for found in self.slices.values() if not found.is_rated]


def amounts(lines: Iterable[Line]) -> list[str]:
    """Return what lines cost, as text."""
    return [f"{line.amount:f}" for line in lines]


def total(lines: Iterable[Line]) -> Decimal:
    """Return what lines cost together."""
    return sum((line.amount for line in lines), Decimal(0))
