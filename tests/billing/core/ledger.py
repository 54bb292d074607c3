"""An invoice book in memory for one charge: what its lines cover, what is billed for it, what a credit gives back.

It does for tests what invoice items and their coverage do in the database (D8): a line covers its days, a credit
shrinks the coverage of the item it names, and both together tell the next pricing where it stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.core.types import Billed, Charge, Line, LineKind, Period


@dataclass
class Item:
    """One line that was billed: `covered` are the days it still covers (None: none), `left` what is billed for them."""

    line: Line
    covered: Period | None
    left: Decimal


@dataclass
class Ledger:
    """The items of one charge in the order they were billed; an item's number is its place, counted from 1."""

    items: list[Item] = field(default_factory=list)
    credits: list[Line] = field(default_factory=list)

    def book(self, lines: Iterable[Line]) -> None:
        """Enter the lines of one pricing; refuse what the database would refuse."""
        for line in lines:
            if line.kind is LineKind.CREDIT:
                self._give_back(line)
            else:
                assert line.period.start < line.period.end, f"An item without a day: {line.period}"
                for item in self.items:
                    assert item.covered is None or not overlap(item.covered, line.period), f"Billed twice: {line}"
                self.items.append(Item(line, line.period, line.amount))

    def _give_back(self, credit: Line) -> None:
        assert credit.credits_item is not None
        item = self.items[credit.credits_item - 1]
        assert item.covered is not None, f"Credited without being covered: {credit}"
        assert item.covered.start <= credit.period.start < credit.period.end == item.covered.end, (
            f"Not its end: {credit}"
        )
        assert -item.left <= credit.amount <= 0, f"Not between nothing and all of it: {credit}"
        item.covered = (
            None if credit.period.start == item.covered.start else Period(item.covered.start, credit.period.start)
        )
        item.left += credit.amount
        assert item.covered is not None or item.left == 0, f"Money without days: {credit}"
        self.credits.append(credit)

    def state_of(self, charge: Charge) -> Charge:
        """Return the charge as the next pricing has to see it: where it is billed through and what may be credited."""
        covering = [(item.covered.end, number, item) for number, item in enumerate(self.items, 1) if item.covered]
        through = max((end for end, _, _ in covering), default=None)
        ends = {segment.number: last_day(charge, segment.end) for segment in charge.segments}
        billed = tuple(
            Billed(number, item.line.segment_number, item.covered, item.line.period, item.left, item.line.kind)
            for _, number, item in covering
            if item.covered and item.covered.end > ends[item.line.segment_number]
        )
        return charge._replace(billed_through=through, billed=billed)

    def covered(self) -> list[Period]:
        """Return all days covered, oldest first."""
        return sorted(item.covered for item in self.items if item.covered)

    def total(self) -> Decimal:
        """Return what has been billed in all, less what has been credited."""
        return sum((item.left for item in self.items), Decimal(0))


def overlap(one: Period, other: Period) -> bool:
    """Return whether two periods share a day."""
    return one.start < other.end and other.start < one.end


def last_day(charge: Charge, segment_end: date | None) -> date:
    """Return the first day on which a segment is no longer served, as far as is known today."""
    return min((day for day in (segment_end, charge.term_end) if day is not None), default=date.max)
