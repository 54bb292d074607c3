"""What was consumed, as pricing takes it: slices of usage with their sums, and what was rated of them before (domain.md 6).

A slice is the part of one upload that belongs to one charge and one billing period (to one day where rating asks for
it); its records are counted together. Pricing never sees a single record.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple, assert_never

from billing.core.money import EXACT
from billing.core.smoothing import Smoothing
from billing.core.types import Period, RatingGroup, UsageRating
from billing.core.units import UnitOfMeasure, round_quantity

_ZERO = Decimal(0)


class UsageTerms(NamedTuple):
    """How the usage of a charge is counted: rounded as its `unit` says, grouped, rated at the end or on demand."""

    unit: UnitOfMeasure
    rating_group: RatingGroup = RatingGroup.BILLING_PERIOD
    rating: UsageRating = UsageRating.END_OF_PERIOD
    smoothing: Smoothing | None = None

    @property
    def by_record(self) -> bool:
        return self.rating_group is RatingGroup.RECORD


class Slice(NamedTuple):
    """Usage that is counted together; `days` runs from the first record's start day to the day after the last's.

    `quantity` is the exact sum of `records` records. `quantities` are their quantities with how often each occurs; they
    are needed only where records are rounded or priced one by one.
    """

    slice_id: int
    days: Period
    quantity: Decimal
    records: int
    upload: int
    is_rated: bool = False
    quantities: tuple[tuple[Decimal, int], ...] = ()


class RatedWindow(NamedTuple):
    """Days whose usage was priced together before: the sums of all that was rated of them, late usage included."""

    days: Period
    quantity: Decimal
    amount: Decimal


class Usage(NamedTuple):
    """What a usage charge has to rate.

    `slices` are those not rated yet, and all of days that late usage belongs to. `windows`, oldest first, are the one
    rated last, those that late usage belongs to, and of a smoothed charge with late usage all there are. `state` is
    the state of smoothing after the latest rating, as JSON text; empty without.
    """

    terms: UsageTerms
    slices: tuple[Slice, ...] = ()
    windows: tuple[RatedWindow, ...] = ()
    state: str = ""

    @property
    def rated_through(self) -> date | None:
        """Return the first day that has not been rated yet; None where none has."""
        return self.windows[-1].days.end if self.windows else None


class Counted(NamedTuple):
    """Usage of some days, counted: the rounded quantity of each group with how many groups have it.

    `quantity` is the sum of the groups; `exact` is the sum before rounding.
    """

    groups: tuple[tuple[Decimal, int], ...]
    quantity: Decimal
    exact: Decimal
    records: int


def within(slices: Iterable[Slice], days: Period) -> list[Slice]:
    """Return the slices that lie in `days`."""
    return [found for found in slices if found.days.start >= days.start and found.days.end <= days.end]


def straddling(slices: Iterable[Slice], windows: Sequence[Period]) -> list[Slice]:
    """Return the slices with days both inside and outside one of the `windows`: they must be cut before rating."""
    return [
        found
        for found in slices
        if any(
            found.days.start < days.end
            and found.days.end > days.start
            and not (days.start <= found.days.start and found.days.end <= days.end)
            for days in windows
        )
    ]


def count(slices: Sequence[Slice], terms: UsageTerms, *, individually: bool = False) -> Counted:
    """Count usage by rating group and round it as the unit says: each group once, or `individually` each record."""
    exact = _sum(found.quantity for found in slices)
    records = sum(found.records for found in slices)
    groups: Counter[Decimal] = Counter()
    for quantity, times in _groups(slices, terms, individually):
        groups[quantity] += times
    quantity = _sum(EXACT.multiply(quantity, times) for quantity, times in groups.items())
    return Counted(tuple(sorted(groups.items())), quantity, exact, records)


def _groups(slices: Sequence[Slice], terms: UsageTerms, individually: bool) -> Iterable[tuple[Decimal, int]]:
    if not slices:
        return
    group = terms.rating_group
    if group is RatingGroup.RECORD:
        for found in slices:
            for quantity, times in found.quantities:
                yield round_quantity(quantity, terms.unit), times
        return
    sums: dict[object, Decimal] = {}
    for found in slices:
        if group is RatingGroup.BILLING_PERIOD:
            key: object = None
        elif group is RatingGroup.START_DATE:
            key = found.days.start
        elif group is RatingGroup.UPLOAD:
            key = found.upload
        else:
            assert_never(group)
        sums[key] = EXACT.add(sums.get(key, _ZERO), _units(found, terms, individually))
    for quantity in sums.values():
        yield (quantity if individually else round_quantity(quantity, terms.unit)), 1


def _units(found: Slice, terms: UsageTerms, individually: bool) -> Decimal:
    if not individually:
        return found.quantity
    return _sum(EXACT.multiply(round_quantity(quantity, terms.unit), times) for quantity, times in found.quantities)


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total
