"""What a subscription brings a month, now and as agreed on for later, and through which day its charges are billed."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import DateField, Func, OuterRef, Q, Subquery

from billing.core.types import ChargeType
from billing.models import ChargeSegment, RatePlanCharge, Subscription, SubscriptionStatus
from billing.models.terms import DISCOUNTS

# Nothing of these is served yet, whatever days their charges have.
WAITING = (SubscriptionStatus.DRAFT, SubscriptionStatus.PENDING_ACTIVATION, SubscriptionStatus.PENDING_ACCEPTANCE)


class RevenueStep(NamedTuple):
    """A day to come from which the monthly recurring revenue is another one, and whether the end of the term is why."""

    day: date
    mrr: Decimal
    is_term_end: bool


class Figures(NamedTuple):
    """Revenue in the account's currency, before discounts; `waiting` begins on a day that nobody knows yet.

    The days billed are those of the `goes_on` recurring charges that are not over: each is billed up to and including
    `billed_first` at least and `billed_last` at most (None: nothing of any); of `not_billed` nothing is billed. Where
    none goes on, both are the last day that is billed at all.
    """

    mrr: Decimal
    later: list[RevenueStep]
    waiting: Decimal
    billed_first: date | None
    billed_last: date | None
    not_billed: int
    goes_on: int

    @property
    def all_begun(self) -> Decimal:
        return self.mrr + self.waiting


class _Span(NamedTuple):
    """Days of a charge that are not over yet, and the end of what is billed of it."""

    charge_id: int
    start: date
    end: date | None
    mrr: Decimal
    trigger_date: date | None
    billed_through: date | None


def billed_through(charge_id: str) -> Subquery:
    """Return the end of what is billed of the charge that a query's column `charge_id` names."""
    end = Func("coverage__period", function="upper", output_field=DateField())
    billed = RatePlanCharge.objects.filter(pk=OuterRef(charge_id)).order_by().annotate(day=end)
    return Subquery(billed.order_by("-day").values("day")[:1], output_field=DateField())


def figures_of(subscription: Subscription, shown: Iterable[Any], *, today: date) -> Figures:
    """Return the figures of all charges of a subscription, in one query; `shown` are charges with `billed_last`."""
    waits: list[_Span] = []
    begun: list[_Span] = []
    for span in _spans_after(subscription, today):
        (waits if subscription.status in WAITING or span.trigger_date is None else begun).append(span)
    now, later = _revenue(begun, subscription, today)
    # Of each charge the span that ends last; they come in the order of their days.
    latest = {span.charge_id: span for span in begun}
    billed = [span.billed_through - timedelta(days=1) for span in latest.values() if span.billed_through is not None]
    ended = [charge.billed_last for charge in shown if charge.billed_last is not None and charge.billing_period]
    days = billed or ([] if latest else [max(ended)] if ended else [])
    return Figures(
        now,
        later,
        sum({span.charge_id: span.mrr for span in waits}.values(), Decimal(0)),
        min(days, default=None),
        max(days, default=None),
        len(latest) - len(billed),
        len(latest),
    )


def _spans_after(subscription: Subscription, today: date) -> list[_Span]:
    rows = (
        ChargeSegment.objects.filter(
            Q(effective_end__isnull=True) | Q(effective_end__gt=today),
            charge__subscription=subscription,
            charge__charge_type=ChargeType.RECURRING,
        )
        .exclude(charge__charge_model__in=DISCOUNTS)
        .annotate(billed_through=billed_through("charge_id"))
        .order_by("charge_id", "effective_start", "number")
        .values_list("charge_id", "effective_start", "effective_end", "mrr", "charge__trigger_date", "billed_through")
    )
    return [span for span in map(_Span._make, rows) if span.end is None or span.end > span.start]


def _revenue(spans: Iterable[_Span], subscription: Subscription, today: date) -> tuple[Decimal, list[RevenueStep]]:
    """Return the revenue of today and each later day on which it changes; without renewal all ends with the term."""
    over = None if subscription.auto_renew else subscription.term_end
    changes: dict[date, Decimal] = defaultdict(Decimal)
    for span in spans:
        end = min((day for day in (span.end, over) if day is not None), default=None)
        if end is not None and end <= max(span.start, today):
            continue
        changes[max(span.start, today)] += span.mrr
        if end is not None:
            changes[end] -= span.mrr
    now = mrr = changes.pop(today, Decimal(0))
    steps = []
    for day, change in sorted(changes.items()):
        mrr += change
        if change:
            steps.append(RevenueStep(day, mrr, day == over))
    return now, steps
