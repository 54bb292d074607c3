"""Writing what an order did, table by table: a number of statements that does not grow with the order.

subscriptions → terms → plans → charges → segments (first the ends, then the new ones) → tiers → order → actions
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection
from django.db.models import Case, Model, PositiveSmallIntegerField, Value, When

from accounts.models import Account, NumberPurpose
from accounts.numbering import take_numbers
from billing.core.types import ChargeType
from billing.models import (
    ChargeSegment,
    ChargeSegmentTier,
    Order,
    OrderAction,
    RatePlan,
    RatePlanCharge,
    Subscription,
    SubscriptionTerm,
)
from billing.services.order_state import (
    SUBSCRIPTION_COLUMNS,
    ChargeState,
    PlacedSegment,
    PlannedAction,
    SubscriptionState,
)


def write_order(order: Order, actions: Sequence[PlannedAction]) -> None:
    """Write an order with its actions and everything they changed; `order` gets its number."""
    states = list({id(action.state): action.state for action in actions}.values())
    _write_subscriptions(states)
    _write_terms(states)
    _write_plans(states)
    _set_bill_cycle_days(states)
    order.number = take_numbers(NumberPurpose.ORDER)[0]
    order.save(force_insert=True)
    OrderAction.objects.bulk_create(
        OrderAction(
            order=order,
            position=position,
            kind=action.kind,
            subscription=action.state.row,
            effective_date=action.effective_date,
            delta_mrr=action.delta_mrr,
            details=action.details(),
        )
        for position, action in enumerate(actions, start=1)
    )


def update_rows(model: type[Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Set columns of many rows in one statement; each of `rows` is the id and the values of the columns."""
    values = list(zip(*rows, strict=True))
    if not values:
        return
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    names = ", ".join(f'"{field.column}"' for field in fields)
    sets = ", ".join(f'"{field.column}" = v."{field.column}"' for field in fields)
    arrays = ", ".join(f"%s::{field.db_type(connection)}[]" for field in fields)
    statement = (
        f'UPDATE "{model._meta.db_table}" t SET {sets} FROM unnest(%s::bigint[], {arrays}) AS v(id, {names})'  # noqa: S608 - names of our own models
        " WHERE t.id = v.id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(column) for column in values])


def _write_subscriptions(states: Sequence[SubscriptionState]) -> None:
    new = [state for state in states if state.is_new]
    if new:
        numbers = take_numbers(NumberPurpose.SUBSCRIPTION, len(new))
        for state, number in zip(new, numbers, strict=True):
            state.row.number = number
        Subscription.objects.bulk_create(state.row for state in new)
    changed = [state for state in states if not state.is_new and state.columns() != state.written]
    update_rows(Subscription, SUBSCRIPTION_COLUMNS, ((state.row.pk, *state.columns()) for state in changed))


def _write_terms(states: Sequence[SubscriptionState]) -> None:
    kept = [term for state in states for term in state.terms if term.pk is not None]
    ends = {pk: end for state in states for pk, end in state.written_terms.items()}
    update_rows(SubscriptionTerm, ["end"], ((term.pk, term.end) for term in kept if term.end != ends[term.pk]))
    for state in states:
        for term in state.terms:
            term.subscription_id = state.row.pk
    # Of subscriptions whose terms nobody had written down, the first one is written only if there is another one now.
    new = [
        term
        for state in states
        for term in state.terms
        if term.pk is None and (state.is_new or state.written_terms or state.columns() != state.written)
    ]
    SubscriptionTerm.objects.bulk_create(new)


def _write_plans(states: Sequence[SubscriptionState]) -> None:
    plans = [(state, plan) for state in states for plan in state.plans]
    for state, plan in plans:
        plan.row.subscription = state.row
    new_plans = [plan.row for _, plan in plans if plan.row.pk is None]
    RatePlan.objects.bulk_create(new_plans)
    charges = [charge for state in states for charge in state.charges]
    begun = ((charge.row.pk, charge.row.trigger_date) for charge in charges if charge.row.pk and charge.begins_anew)
    update_rows(RatePlanCharge, ["trigger_date"], begun)
    new = [(plan, charge) for _, plan in plans for charge in plan.charges if charge.row.pk is None]
    if new:
        numbers = take_numbers(NumberPurpose.CHARGE, len(new))
        for (plan, charge), number in zip(new, numbers, strict=True):
            charge.row.number = number
            charge.row.rate_plan = plan.row
            charge.row.subscription_id = plan.row.subscription_id
        RatePlanCharge.objects.bulk_create(charge.row for _, charge in new)
    _write_segments(charges)


def _write_segments(charges: Sequence[ChargeState]) -> None:
    # Only the first and the last days of a charge ever come back, so no segment overlaps another one between these
    # statements either.
    changed = (
        (segment.pk, segment.start, segment.end)
        for charge in charges
        for segment in charge.segments
        if segment.pk is not None and (segment.start, segment.end) != charge.written[segment.pk]
    )
    update_rows(ChargeSegment, ["effective_start", "effective_end"], changed)
    new = [(charge, segment) for charge in charges for segment in charge.segments if segment.pk is None]
    rows = ChargeSegment.objects.bulk_create(_segment_row(charge, segment) for charge, segment in new)
    ChargeSegmentTier.objects.bulk_create(
        ChargeSegmentTier(segment=row, number=number, **tier._asdict())
        for row, (_, segment) in zip(rows, new, strict=True)
        for number, tier in enumerate(segment.tiers, start=1)
    )


def _segment_row(charge: ChargeState, segment: PlacedSegment) -> ChargeSegment:
    return ChargeSegment(
        charge=charge.row,
        number=segment.number,
        effective_start=segment.start,
        effective_end=segment.end,
        quantity=segment.quantity,
        price=segment.price,
        credit_rate=segment.credit_rate,
        mrr=segment.mrr,
    )


def _set_bill_cycle_days(states: Sequence[SubscriptionState]) -> None:
    """Give invoice owners without a bill cycle day that of their first recurring charge; 31 means the month's end."""
    days: dict[int, int] = {}
    for state in states:
        for charge in state.charges:
            row = charge.row
            # Its accounts are locked, so a day that was not set when they were read is not set now.
            if not state.owner.bill_cycle_day and row.charge_type == ChargeType.RECURRING and row.trigger_date:
                days.setdefault(state.owner.pk, row.trigger_date.day)
    if not days:
        return
    cases = [When(pk=pk, then=Value(day)) for pk, day in days.items()]
    Account.objects.filter(pk__in=days, bill_cycle_day=0).update(
        bill_cycle_day=Case(*cases, output_field=PositiveSmallIntegerField())
    )
    for state in states:
        state.owner.bill_cycle_day = days.get(state.owner.pk, state.owner.bill_cycle_day)
