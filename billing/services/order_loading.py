"""Reading what an order amends: locks first, then subscriptions with their charges in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

from accounts.models import Account
from billing.core.types import PriceFormat, Tier
from billing.models import (
    ChargeSegment,
    ChargeSegmentTier,
    OrderAction,
    OrderActionType,
    RatePlan,
    RatePlanCharge,
    Subscription,
    SubscriptionStatus,
    SubscriptionTerm,
)
from billing.services.order_state import (
    ChargeState,
    LostSegment,
    PlacedSegment,
    PlanState,
    SubscriptionState,
    Suspension,
)


def lock_accounts(account_ids: Iterable[int]) -> dict[int, Account]:
    """Lock accounts in id order, as bill runs do, and return them as they are then.

    Whatever is worked out must be read afterwards; the locks hold until the surrounding transaction ends.
    """
    found = Account.objects.filter(pk__in=sorted(set(account_ids))).order_by("pk").select_for_update(no_key=True)
    return {account.pk: account for account in found}


def invoice_owners(subscription_ids: Iterable[int]) -> set[int]:
    """Return the ids of the accounts that are billed for these subscriptions: whose lock keeps bill runs away."""
    ids = set(subscription_ids)
    if not ids:
        return set()
    return set(Subscription.objects.filter(pk__in=ids).values_list("invoice_owner_id", flat=True).order_by())


def load_states(
    subscription_ids: Iterable[int], accounts: dict[int, Account], *, with_beginnings: Collection[int] = ()
) -> dict[int, SubscriptionState]:
    """Return subscriptions by id with all that actions may change; their invoice owners must be among `accounts`.

    Charges of subscriptions `with_beginnings` also tell when they were agreed on and whether they are billed.
    """
    ids = set(subscription_ids)
    if not ids:
        return {}
    rows = {row.pk: row for row in Subscription.objects.filter(pk__in=ids)}
    terms = _by(SubscriptionTerm.objects.filter(subscription__in=ids).order_by("number"), "subscription_id")
    plans = _plans(ids)
    found = {}
    for pk, row in rows.items():
        state = SubscriptionState(row, accounts[row.invoice_owner_id], plans[pk], terms[pk] or [_only_term(row)])
        state.written = state.columns()
        state.written_terms = {term.pk: term.end for term in terms[pk]}
        found[pk] = state
    _add_suspensions(found)
    _add_beginnings(found, with_beginnings)
    return found


def _only_term(row: Subscription) -> SubscriptionTerm:
    """Return the term of a subscription whose terms nobody has written down: the one on its own row."""
    return SubscriptionTerm(subscription_id=row.pk, number=1, start=row.term_start, end=row.term_end)


def _plans(subscription_ids: set[int]) -> dict[int, list[PlanState]]:
    segments = _segments(subscription_ids)
    charges: dict[int, list[ChargeState]] = defaultdict(list)
    for row in RatePlanCharge.objects.filter(subscription__in=subscription_ids).order_by("id"):
        placed = segments.get(row.pk, [])
        written = {segment.pk: (segment.start, segment.end) for segment in placed if segment.pk is not None}
        charges[row.rate_plan_id].append(ChargeState(row, placed, written, row.trigger_date))
    found: dict[int, list[PlanState]] = defaultdict(list)
    for plan in RatePlan.objects.filter(subscription__in=subscription_ids).order_by("id"):
        found[plan.subscription_id].append(PlanState(plan, charges[plan.pk]))
    return found


def _segments(subscription_ids: set[int]) -> dict[int, list[PlacedSegment]]:
    tiers: dict[int, list[Tier]] = defaultdict(list)
    of_these = ChargeSegmentTier.objects.filter(segment__charge__subscription__in=subscription_ids)
    for row in of_these.order_by("segment", "number").values_list("segment_id", "up_to", "price", "price_format"):
        tiers[row[0]].append(Tier(row[1], row[2], PriceFormat(row[3])))
    found: dict[int, list[PlacedSegment]] = defaultdict(list)
    columns = (
        "charge_id",
        "id",
        "number",
        "effective_start",
        "effective_end",
        "quantity",
        "price",
        "mrr",
        "credit_rate",
    )
    rows = ChargeSegment.objects.filter(charge__subscription__in=subscription_ids).order_by("charge", "number")
    for charge_id, pk, number, start, end, quantity, price, mrr, credit_rate in rows.values_list(*columns):
        placed = PlacedSegment(number, start, end, quantity, price, tuple(tiers[pk]), mrr, pk, credit_rate)
        found[charge_id].append(placed)
    return found


def _add_suspensions(states: dict[int, SubscriptionState]) -> None:
    """Give suspended subscriptions what their suspension took away, which its order has written down."""
    suspended = [pk for pk, state in states.items() if state.row.status == SubscriptionStatus.SUSPENDED]
    if not suspended:
        return
    actions = OrderAction.objects.filter(subscription__in=suspended, kind=OrderActionType.SUSPEND).order_by("id")
    for action in actions:  # the last one of each subscription stays
        assert action.subscription_id is not None
        state = states[action.subscription_id]
        charges = {charge.row.number: charge for charge in state.charges}
        lost = (_lost(charges.get(entry["charge"]), entry["from"]) for entry in action.details.get("charges", []))
        state.suspension = Suspension(action.effective_date, [found for found in lost if found is not None])


def _lost(charge: ChargeState | None, before: dict[str, Any]) -> LostSegment | None:
    """Return a segment as it was before its suspension (all of it is still there but its end); None if it is gone."""
    if charge is None:
        return None
    end = None if before["end"] is None else date.fromisoformat(before["end"])
    found = (segment for segment in charge.segments if segment.number == before["segment"])
    return next((LostSegment(charge, segment._replace(end=end)) for segment in found), None)


def _add_beginnings(states: dict[int, SubscriptionState], subscription_ids: Collection[int]) -> None:
    """Tell of each charge whether days of it are billed, and when it was agreed on, if that was later than the contract.

    Whoever adds billed days has locked the invoice owner before, and so have we.
    """
    if not subscription_ids:
        return
    billed = RatePlanCharge.objects.filter(subscription__in=subscription_ids, coverage__isnull=False)
    billed_ids = set(billed.order_by().values_list("pk", flat=True).distinct())
    added = OrderAction.objects.filter(subscription__in=subscription_ids, kind=OrderActionType.ADD_PRODUCT)
    agreed = {
        entry["charge"]: day
        for day, details in added.order_by("id").values_list("effective_date", "details")
        for entry in details.get("charges", [])
    }
    for pk in subscription_ids:
        for charge in states[pk].charges if pk in states else ():
            charge.is_billed = charge.row.pk in billed_ids
            charge.earliest = agreed.get(charge.row.number)


def _by(rows: Sequence[Any] | Any, column: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[getattr(row, column)].append(row)
    return found
