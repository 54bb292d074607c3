"""What the subscription page shows of invoicing: the next charges, worked out when the page asks for them, or why none."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.clock import business_today
from accounts.models import AccountStatus
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import day
from billing.core.types import Line
from billing.models import OrderAction, OrderActionType, RatePlanCharge, Subscription, SubscriptionStatus
from billing.models.terms import TriggerEvent
from billing.queries import current_rules
from invoicing.forecast import DayAhead, Forecast, forecast

LINES_SHOWN = 6
CHARGES_NAMED = 3

_NOT_BEGUN = {
    SubscriptionStatus.DRAFT: "It is a draft, so bill runs leave it out.",
    SubscriptionStatus.PENDING_ACTIVATION: "It waits for its service activation; bill runs leave it out until then.",
    SubscriptionStatus.PENDING_ACCEPTANCE: "It waits for its customer acceptance; bill runs leave it out until then.",
}


NOTHING_AHEAD = Forecast([], date.min)


class ShownDay(NamedTuple):
    """A day of the forecast with its first lines, what all of its lines come to, and how many more there are."""

    day: date
    is_due: bool
    total: Decimal
    lines: list[Line]
    more: int


@require_GET
def subscription_next_charges(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what is billed next of a subscription, as a piece of its page or as a page of its own."""
    subscription = get_object_or_404(_subscriptions(), pk=pk)
    today = business_today()
    is_billed = subscription.invoice_owner.status == AccountStatus.ACTIVE
    found = (
        forecast(subscription, rules=current_rules(), today=today, lines=LINES_SHOWN) if is_billed else NOTHING_AHEAD
    )
    context = {
        "title": "Next charges",
        "subscription": subscription,
        "currency": subscription.invoice_owner.currency,
        "days": list(_shown(found.days, today)),
        "problem": found.problem,
        "reasons": list(_reasons(subscription, found, today)),
    }
    piece = "_next_charges" if is_fragment_request(request) else "next_charges"
    return site.render(request, f"billing/{piece}.html", context)


def _subscriptions() -> QuerySet[Any]:
    """Return subscriptions with what explains why nothing is billed, in one query: what waits, since when it pauses."""
    waiting = RatePlanCharge.objects.filter(subscription=OuterRef("pk"), trigger_date=None).order_by("number")
    suspensions = OrderAction.objects.filter(subscription=OuterRef("pk"), kind=OrderActionType.SUSPEND).order_by("-id")
    return Subscription.objects.select_related("invoice_owner").annotate(
        waiting=ArraySubquery(waiting.values(pair=JSONObject(name="name", event="trigger_event"))[: CHARGES_NAMED + 1]),
        suspended_from=Subquery(suspensions.values("effective_date")[:1]),
    )


def _shown(days: list[DayAhead], today: date) -> Iterator[ShownDay]:
    """Yield the days with at most LINES_SHOWN lines in all."""
    left = LINES_SHOWN
    for ahead in days:
        lines = ahead.lines[:left]
        left -= len(lines)
        yield ShownDay(ahead.day, ahead.day == today, ahead.total, lines, len(ahead.lines) - len(lines))


def _reasons(subscription: Any, found: Forecast, today: date) -> Iterator[str]:
    """Yield in words why nothing is billed, or nothing more, and what the amounts do not contain."""
    owner = subscription.invoice_owner
    if owner.status != AccountStatus.ACTIVE:
        yield f"Account {owner.number} is {owner.get_status_display().lower()}, so bill runs leave it out."
        return
    if subscription.status in _NOT_BEGUN:
        yield _NOT_BEGUN[SubscriptionStatus(subscription.status)]
        return
    ending = list(_ending(subscription, found.until, today))
    waiting = list(_waiting(subscription.waiting))
    yield from ending
    yield from waiting
    if not (found.days or found.problem or ending or waiting):
        yield f"Nothing falls due up to {day(found.until)}."
    if found.has_usage:
        yield "Usage is billed when its period is over, by what was used then."
    if found.left_out:
        names = ", ".join(f"“{name}”" for name in found.left_out)
        yield f"Without {names}: what it takes off is shared with the account's other subscriptions."


def _ending(subscription: Any, until: date, today: date) -> Iterator[str]:
    """Yield what ends the service, or would, within the days that were looked at."""
    if subscription.canceled_from is not None:
        yield f"It is canceled from {day(subscription.canceled_from)} on; no later day is billed."
        return
    if subscription.status == SubscriptionStatus.SUSPENDED:
        since: date | None = subscription.suspended_from
        named = f" from {day(since)} on" if since else ""
        yield f"It is suspended{named}; nothing is billed for later days until it resumes."
        return
    end = subscription.term_end
    if end is None or end > until:
        return
    last = day(end - timedelta(days=1))
    if subscription.auto_renew:
        yield f"Its term ends on {last} and renews itself; later days are billed in the next one."
    elif end <= today:
        yield f"Its term ended on {last} and was not renewed; no later day is billed."
    else:
        yield f"Its term ends on {last} and does not renew itself; no later day is billed."


def _waiting(charges: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the charges that wait for a date."""
    for charge in charges[:CHARGES_NAMED]:
        event = TriggerEvent(charge["event"]).label.lower()
        yield f"“{charge['name']}” waits for its {event} and is billed from then on."
    if len(charges) > CHARGES_NAMED:
        yield "And so do others."
