"""Subscriptions in memory while an order is worked out: actions change them here, and only then are they written.

A segment that may have been billed is never changed but for its end: cutting leaves the days before the cut as they
were, which is what lets billing give back exactly the days that are gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from accounts.models import Account
from billing.core.types import Segment, Tier
from billing.models import OrderActionType, RatePlan, RatePlanCharge, Subscription, SubscriptionTerm

SUBSCRIPTION_COLUMNS = (
    "status",
    "term_type",
    "term_start",
    "term_end",
    "auto_renew",
    "renewal_months",
    "canceled_from",
    "invoice_separately",
    "name",
    "service_activation",
    "customer_acceptance",
)
"""What amendments may change on a subscription's row."""


class PlacedSegment(NamedTuple):
    """A segment of a charge; `pk` is None until it is written."""

    number: int
    start: date
    end: date | None
    quantity: Decimal | None
    price: Decimal | None
    tiers: tuple[Tier, ...]
    mrr: Decimal = Decimal(0)
    pk: int | None = None
    credit_rate: Decimal | None = None

    @property
    def has_days(self) -> bool:
        return self.end is None or self.end > self.start

    def lasts_beyond(self, day: date) -> bool:
        """Tell whether it has days on or after `day`."""
        return self.has_days and (self.end is None or self.end > day)

    def for_core(self) -> Segment:
        """Return it as the pricing core takes it."""
        return Segment(
            self.pk or 0, self.number, self.start, self.end, self.quantity, self.price, self.tiers, self.credit_rate
        )


@dataclass(eq=False, slots=True)
class ChargeState:
    """A charge with its segments in the order of their numbers.

    `written` holds first day and end of the segments that the database has, `written_trigger` its trigger date there.
    `earliest` is the day from which on it was agreed, before which no trigger date lets it begin (None: with the
    contract), and `is_billed` tells whether days of it are billed; both are read for actions that need them only.
    """

    row: RatePlanCharge
    segments: list[PlacedSegment]
    written: dict[int, tuple[date, date | None]] = field(default_factory=dict)
    written_trigger: date | None = None
    earliest: date | None = None
    is_billed: bool = False

    @property
    def latest(self) -> PlacedSegment | None:
        """Return the last segment that has days; None when nothing is left of the charge."""
        return next((segment for segment in reversed(self.segments) if segment.has_days), None)

    @property
    def begins_anew(self) -> bool:
        """Tell whether the database has another trigger date."""
        return self.row.trigger_date != self.written_trigger

    def revenue_beyond(self, day: date) -> Decimal:
        """Return the monthly revenue agreed on for the time from `day` on, changes already ordered included."""
        latest = self.latest
        return latest.mrr if latest is not None and latest.lasts_beyond(day) else Decimal(0)

    def cut(self, day: date) -> list[PlacedSegment]:
        """Take all days from `day` on away; return the segments that lost some, as they were before."""
        lost = [segment for segment in self.segments if segment.lasts_beyond(day)]
        self.segments = [
            segment._replace(end=max(day, segment.start)) if segment.lasts_beyond(day) else segment
            for segment in self.segments
        ]
        return lost

    def begin(self, day: date, *, agreed: date) -> None:
        """Let the charge begin on `day`, which becomes its trigger date; never for a charge that was billed.

        Segments lose their days before it. When the charge was to begin on another day, those that had lost days then
        get them back first: each begins where the one before ends, the first one on the day it was `agreed` on.

            agreed        |-- 5 seats --|---- 7 seats …
            begins                 |-5--|---- 7 seats …        moved later            |---- 7 seats …
        """
        was, before = self.row.trigger_date, agreed
        placed = []
        for segment in self.segments:
            had_lost = was is not None and (segment.start == was or (not segment.has_days and segment.start < was))
            start = max(day, before if had_lost else segment.start)
            placed.append(segment._replace(start=start if segment.end is None else min(start, segment.end)))
            before = segment.end or start
        self.segments = placed
        self.row.trigger_date = day

    def open(self, like: PlacedSegment, **changes: Any) -> PlacedSegment:
        """Append a segment with the values of another one, but for `changes`, and return it."""
        number = max((segment.number for segment in self.segments), default=0) + 1
        made = like._replace(**{**changes, "number": number, "pk": None})
        self.segments.append(made)
        return made


@dataclass(eq=False, slots=True)
class PlanState:
    """A rate plan of a subscription with its charges."""

    row: RatePlan
    charges: list[ChargeState]


class LostSegment(NamedTuple):
    """A segment that a suspension cut, as it was before."""

    charge: ChargeState
    segment: PlacedSegment


class Suspension(NamedTuple):
    """Since when a subscription is suspended, and what it took away."""

    day: date
    lost: list[LostSegment]


@dataclass(eq=False, slots=True)
class SubscriptionState:
    """A subscription with everything that actions may change; `written` holds the columns as the database has them."""

    row: Subscription
    owner: Account
    plans: list[PlanState]
    terms: list[SubscriptionTerm]
    suspension: Suspension | None = None
    written: tuple[Any, ...] | None = None
    written_terms: dict[int, date | None] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        return self.written is None

    @property
    def named(self) -> str:
        return f"Subscription {self.row.number}" if self.row.number else "The subscription"

    @property
    def charges(self) -> Iterator[ChargeState]:
        return (charge for plan in self.plans for charge in plan.charges)

    def columns(self) -> tuple[Any, ...]:
        """Return the values of SUBSCRIPTION_COLUMNS."""
        return tuple(getattr(self.row, name) for name in SUBSCRIPTION_COLUMNS)

    def revenue_beyond(self, day: date) -> Decimal:
        """Return the monthly revenue agreed on for the time from `day` on."""
        return sum((charge.revenue_beyond(day) for charge in self.charges), Decimal(0))


class Change(NamedTuple):
    """What an action did to one charge: the segment before, the segment after (None: there is none)."""

    charge: ChargeState
    word: str
    before: PlacedSegment | None
    after: PlacedSegment | None


class PlannedAction(NamedTuple):
    """An action ready to be written; `facts` are plain values beside the changes of charges."""

    kind: OrderActionType
    state: SubscriptionState
    effective_date: date
    delta_mrr: Decimal
    changes: list[Change]
    facts: dict[str, Any]

    def details(self) -> dict[str, Any]:
        """Return what was changed, from and to, in plain values; only once charges have their numbers."""
        found = dict(self.facts)
        if self.changes:
            found["charges"] = [
                {
                    "charge": change.charge.row.number,
                    "name": change.charge.row.name,
                    "change": change.word,
                    "from": change.before and segment_values(change.before),
                    "to": change.after and segment_values(change.after),
                }
                for change in self.changes
            ]
        return found


def segment_values(segment: PlacedSegment) -> dict[str, Any]:
    """Return a segment in values that JSON knows: dates as ISO text, numbers as text without an exponent."""
    values: dict[str, Any] = {
        "segment": segment.number,
        "start": segment.start.isoformat(),
        "end": segment.end and segment.end.isoformat(),
        "quantity": plain(segment.quantity),
        "price": plain(segment.price),
        "mrr": plain(segment.mrr),
    }
    if segment.tiers:
        values["tiers"] = [
            {"up_to": plain(tier.up_to), "price": plain(tier.price), "price_format": tier.price_format.value}
            for tier in segment.tiers
        ]
    return values


def plain(number: Decimal | None) -> str | None:
    """Return a number as text without zeros at the end and without an exponent."""
    return None if number is None else f"{number.normalize():f}"
