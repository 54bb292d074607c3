"""What may happen to a charge in the years it is billed: price changes, suspensions, cancellations, as orders do them.

An amendment ends the running segment on its date, the first day not served; a change or a resumption opens the next
one. Nothing that was billed is touched: the following run settles the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from random import Random

from billing.core.pricing import price
from billing.core.types import Account, Charge, Line, Rules, Segment, Term
from tests.billing.core.ledger import Ledger
from tests.billing.core.oracle import Owed
from tests.billing.core.random_charges import add_months, random_segment


@dataclass
class Life:
    """A charge with its invoice book; amendments and runs follow each other as they would in the product."""

    account: Account
    rules: Rules
    charge: Charge
    ledger: Ledger = field(default_factory=Ledger)

    def run(self, target: date) -> list[Line]:
        """Bill what is due, as a bill run does, and book it."""
        lines = self.lines_due(target)
        if lines:
            self.ledger.book(lines)
            self.charge = self.ledger.state_of(self.charge)
        return lines

    def lines_due(self, target: date) -> list[Line]:
        """Return what a run would bill; nothing is booked."""
        pricing = price(self.account, [self.charge], rules=self.rules, target_date=target, max_lines_per_charge=9999)
        assert pricing.problems == []
        return pricing.lines

    def amend(self, segments: Sequence[Segment]) -> None:
        """Let the charge have these segments from now on."""
        self.charge = self.ledger.state_of(self.charge._replace(segments=tuple(segments)))

    def renew(self, target: date) -> None:
        """Let terms that have ended by the day be followed by others as long as the last one."""
        charge = self.charge
        if charge.term_end is None or charge.term_end > target:
            return
        while charge.term_end is not None and charge.term_end <= target:
            *_, last = charge.subscription_terms or (Term(charge.subscription_start, charge.term_end),)
            months = month_of(charge.term_end) - month_of(last.start)
            end = add_months(charge.term_end, max(months, 1))
            terms = (*charge.subscription_terms, Term(charge.term_end, end)) if charge.subscription_terms else ()
            charge = charge._replace(term_end=end, subscription_terms=terms)
        self.charge = self.ledger.state_of(charge)

    def afresh(self) -> Charge:
        """Return the charge as it is now, with nothing billed of it."""
        return self.charge._replace(billed_through=None, billed=())

    def booked(self) -> list[Owed]:
        """Return what the book holds: the days each item still covers and the money that is left for them."""
        return sorted(
            Owed(item.line.kind, item.line.segment_number, *item.covered, Fraction(item.left))
            for item in self.ledger.items
            if item.covered
        )


def month_of(day: date) -> int:
    """Return the running number of a day's month."""
    return day.year * 12 + day.month


def ended(segments: Sequence[Segment], on: date) -> list[Segment]:
    """Return the segments after a cancellation, removal or suspension: the running one ends on the date."""
    return [*segments[:-1], segments[-1]._replace(end=on)]


def opened(source: Random, segments: Sequence[Segment], on: date, *, same_price: bool) -> list[Segment]:
    """Return the segments with one more, without end, at the price before (a resumption) or at another (a change)."""
    number = segments[-1].number + 1
    if same_price:
        following = segments[-1]._replace(segment_id=1000 + number, number=number, start=on, end=None)
    else:
        following = random_segment(source, number, on, None)
    return [*segments, following]


def random_amendment(source: Random, segments: Sequence[Segment], around: date, *, back: int) -> list[Segment]:
    """Return the segments after one random amendment that takes effect up to `back` days before the day or later.

    A charge that has ended may be resumed on a later day; one that runs is changed, suspended (at times with the day of its
    resumption) or ended for good, at times on its very first day.
    """
    last = segments[-1]
    on = around + timedelta(days=source.randint(-back, 60))
    if source.random() < 0.08:
        on = last.start
    if last.end is not None:
        on = max(on, last.end + timedelta(days=1))
        return opened(source, segments, on, same_price=source.random() < 0.7)
    on = max(on, last.start)
    kind = source.random()
    if kind < 0.55:
        return opened(source, ended(segments, on), on, same_price=source.random() < 0.1)
    if kind < 0.8:
        resumed = on + timedelta(days=source.choice((0, 1, 10, 45, source.randrange(200))))
        return opened(source, ended(segments, on), resumed, same_price=True)
    return ended(segments, on)
