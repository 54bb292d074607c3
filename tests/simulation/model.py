"""What should be billed, kept without a database: a dict of billed days for each charge, and money in fractions.

days      charge → day → the item that bills it
items     what was written, and what credits have taken of it since
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from billing.core.types import Billed, Charge, LineKind, Period

ONE_DAY = timedelta(days=1)


class Written(NamedTuple):
    """A line of an invoice that bills days or gives them back."""

    item_id: int
    invoice_id: int
    charge_id: int
    kind: LineKind
    segment_number: int
    start: date
    end: date
    amount: Fraction
    credits: int | None

    @property
    def all_days(self) -> list[date]:
        """The days from start to end."""
        return [self.start + ONE_DAY * number for number in range((self.end - self.start).days)]


@dataclass
class Model:
    """The lines that stand, and which of them bills which day."""

    lines: dict[int, Written] = field(default_factory=dict)
    days: dict[int, dict[date, int]] = field(default_factory=lambda: defaultdict(dict))

    def book(self, lines: Iterable[Written]) -> None:
        """Enter the lines of one run; credits come first, so that what they give back can be billed anew (I1)."""
        for line in sorted(lines, key=lambda line: line.kind is not LineKind.CREDIT):
            self.lines[line.item_id] = line
            of_charge = self.days[line.charge_id]
            for day in line.all_days:
                if line.kind is LineKind.CREDIT:
                    assert of_charge.pop(day, None) == line.credits, (
                        f"{day} is given back by {line}, which nothing bills"
                    )
                else:
                    assert day not in of_charge, f"{day} is billed again by {line}"
                    of_charge[day] = line.item_id

    def covered(self, item_id: int) -> list[date]:
        """Return the days that an item bills at present."""
        return sorted(day for day, item in self.days[self.lines[item_id].charge_id].items() if item == item_id)

    def credits_of(self, item_id: int) -> list[Written]:
        """Return the credits of an item that stand."""
        return [line for line in self.lines.values() if line.credits == item_id]

    def left(self, item_id: int) -> Fraction:
        """Return what is left of an item's amount."""
        return self.lines[item_id].amount + sum(credit.amount for credit in self.credits_of(item_id))

    def state_of(self, charge: Charge) -> Charge:
        """Return a charge as the oracle has to see it: how far it is billed, and by what."""
        of_charge = self.days[charge.charge_id]
        billed = []
        for item_id in sorted(set(of_charge.values())):
            line, days = self.lines[item_id], self.covered(item_id)
            assert days == [days[0] + ONE_DAY * number for number in range(len(days))], f"{line} has holes"
            covered = Period(days[0], days[-1] + ONE_DAY)
            # The oracle counts in fractions whatever it is given.
            amount: Any = self.left(item_id)
            billed.append(
                Billed(item_id, line.segment_number, covered, Period(line.start, line.end), amount, line.kind)
            )
        through = max(of_charge, default=None)
        return charge._replace(
            billed_through=through + ONE_DAY if through else None,
            billed=tuple(sorted(billed, key=lambda each: each.period)),
        )

    def must_stay(self, invoices: Collection[int]) -> bool:
        """Tell whether invoices cannot be canceled together: days come back from their end only, credits latest first."""
        for line in self.lines.values():
            if line.invoice_id not in invoices:
                continue
            others = [
                (day, item)
                for day, item in self.days[line.charge_id].items()
                if self.lines[item].invoice_id not in invoices
            ]
            if line.kind is LineKind.CREDIT:
                assert line.credits is not None
                siblings = [each for each in self.credits_of(line.credits) if each.invoice_id not in invoices]
                if any(day >= line.start for day, _ in others) or any(each.start < line.start for each in siblings):
                    return True
            else:
                mine = self.covered(line.item_id)
                if any(credit.invoice_id not in invoices for credit in self.credits_of(line.item_id)):
                    return True
                if mine and any(day > mine[-1] for day, _ in others):
                    return True
        return self._would_leave_a_hole(invoices)

    def _would_leave_a_hole(self, invoices: Collection[int]) -> bool:
        """Tell whether days would come back with a credit after days that go for good."""
        going = [line for line in self.lines.values() if line.invoice_id in invoices]
        back: dict[int, set[date]] = defaultdict(set)
        for line in going:
            if line.credits is not None and self.lines[line.credits].invoice_id not in invoices:
                back[line.charge_id].update(line.all_days)
        return any(
            line.start not in back[line.charge_id] and any(day > line.start for day in back[line.charge_id])
            for line in going
            if line.kind is LineKind.RECURRING
        )

    def cancel(self, invoices: Collection[int]) -> None:
        """Forget invoices: their days are free again, and what they gave back is billed again by the items that had it."""
        gone = [line for line in self.lines.values() if line.invoice_id in invoices]
        for line in gone:
            del self.lines[line.item_id]
            if line.kind is not LineKind.CREDIT:
                self.days[line.charge_id] = {
                    day: item for day, item in self.days[line.charge_id].items() if item != line.item_id
                }
        for line in gone:
            if line.credits in self.lines:
                for day in line.all_days:
                    assert day not in self.days[line.charge_id], f"{day} comes back with {line}, but is billed already"
                    self.days[line.charge_id][day] = line.credits


def stretches(days: Iterable[date]) -> list[Period]:
    """Return days as few periods as there can be."""
    found: list[Period] = []
    for day in sorted(days):
        if found and found[-1].end == day:
            found[-1] = Period(found[-1].start, day + ONE_DAY)
        else:
            found.append(Period(day, day + ONE_DAY))
    return found
