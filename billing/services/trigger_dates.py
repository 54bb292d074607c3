"""Trigger dates: the days of service activation and customer acceptance, for which charges wait while nobody knows them.

A subscription with such a charge is not billed at all; its status says what is missing, and moves on as dates are set:

    PendingActivation → PendingAcceptance → Active
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from billing.core.types import Term
from billing.models import SubscriptionStatus
from billing.models.terms import EndCondition, TriggerEvent
from billing.services.charge_terms import LAST_DAY, fixed_period_end
from billing.services.order_checks import named, plausible
from billing.services.order_requests import Report, SetTriggerDates
from billing.services.order_state import Change, ChargeState, PlacedSegment, SubscriptionState

EVENTS = {
    "service_activation": TriggerEvent.SERVICE_ACTIVATION,
    "customer_acceptance": TriggerEvent.CUSTOMER_ACCEPTANCE,
}
_PENDING = {
    SubscriptionStatus.PENDING_ACTIVATION: TriggerEvent.SERVICE_ACTIVATION,
    SubscriptionStatus.PENDING_ACCEPTANCE: TriggerEvent.CUSTOMER_ACCEPTANCE,
}

Days = dict[str, date]


def check_order(report: Report, days: Mapping[str, date | None], *, given: Iterable[str]) -> None:
    """Refuse dates of which a later step comes before an earlier one; `days` are in the order of the steps.

    A problem is told for the later step if it is one of those `given`, else for the earlier one.
    """
    steps: list[tuple[str, date]] = []
    for field, day in days.items():
        if day is None:
            continue
        if steps and day < steps[-1][1]:
            before, earlier = steps[-1]
            words = f"{_words(field).capitalize()} ({day}) cannot come before the {_words(before)} date ({earlier})."
            report.add(field if field in given else before, words)
        steps.append((field, day))


def status_by_dates(charges: Iterable[ChargeState]) -> SubscriptionStatus:
    """Return the status of a subscription that runs as soon as none of its charges waits for a date."""
    waits_for = {charge.row.trigger_event for charge in charges if charge.row.trigger_date is None and charge.latest}
    for status, event in _PENDING.items():
        if event in waits_for:
            return status
    return SubscriptionStatus.ACTIVE


def move_on(state: SubscriptionState) -> None:
    """Let a subscription that waits for a date go on to the next status if none of its charges waits for it any more."""
    if state.row.status in _PENDING:
        state.row.status = status_by_dates(state.charges)


def set_trigger_dates(
    state: SubscriptionState, action: SetTriggerDates, report: Report
) -> tuple[date, list[Change], dict[str, Any]] | None:
    """Let charges begin on the dates given; return the first day, the changes and the facts, or None with problems.

    What the charges earn a month was counted when they were agreed on, so the revenue does not change.
    """
    wanted = _wanted(state, action, report)
    if wanted is None:
        return None
    plan = _Plan(state, report)
    for field, day in wanted.items():
        plan.add(field, day)
    if not report.is_clean:
        return None
    before = {"status": state.row.status} | {field: getattr(state.row, field) for field in wanted}
    for field, day in wanted.items():
        setattr(state.row, field, day)
    changes = [_begin(charge, day, state) for charge, day in plan.begins]
    move_on(state)
    after = {name: getattr(state.row, name) for name in before}
    changed = {name: [_plain(before[name]), _plain(after[name])] for name in before if before[name] != after[name]}
    return min(wanted.values()), changes, {"changed": changed}


def _wanted(state: SubscriptionState, action: SetTriggerDates, report: Report) -> Days | None:
    """Return the dates to set, in the order of the steps; None, with problems, if they cannot be right."""
    row = state.row
    given: Days = {field: day for field in EVENTS if (day := getattr(action, field)) is not None}
    if not given:
        report.add("service_activation", "Give the day of service activation, of customer acceptance, or both.")
    if row.status == SubscriptionStatus.SUSPENDED:
        report.add("subscription", f"{state.named} is suspended; resume it first.")
    if not plausible(report, **given):
        return None
    days = {"contract_effective": row.contract_effective} | {
        field: given.get(field, getattr(row, field)) for field in EVENTS
    }
    check_order(report, days, given=given)
    end = state.terms[-1].end
    for field, day in given.items():
        if end is not None and day >= end:
            report.add(field, f"{state.named} has a term up to {end}, {day} is not in it; renew it first.")
    return given if report.is_clean else None


class _Plan:
    """Which charges begin on which day, worked out before any of them changes."""

    def __init__(self, state: SubscriptionState, report: Report) -> None:
        self.state, self.report = state, report
        self.begins: list[tuple[ChargeState, date]] = []

    def add(self, field: str, day: date) -> None:
        """Add the charges that follow a date; refuse a date that no charge follows, or that billed ones do."""
        before, words = getattr(self.state.row, field), _words(field)
        following = [
            (plan.row.name, charge)
            for plan in self.state.plans
            for charge in plan.charges
            if charge.row.trigger_event == EVENTS[field] and self._follows(charge, before, day)
        ]
        if not following:
            reason = f"That is its {words} date already." if before == day else f"No charge waits for its {words}."
            self.report.add(field, f"{self.state.named} would stay as it is. {reason}")
        for plan_name, charge in following:
            name = named(charge.row, plan_name)
            if charge.is_billed:
                since = charge.row.trigger_date
                self.report.add(field, f"{name} is billed from {since} on; its {words} date can no longer move.")
            else:
                self._add(field, name, charge, max(day, agreed_on(charge, self.state)))

    def _follows(self, charge: ChargeState, before: date | None, day: date) -> bool:
        """Tell whether a charge waits for the date, or is to begin by the one `before`, not by a date of its own."""
        if charge.latest is None or charge.row.trigger_date is None:
            return charge.latest is not None
        first = agreed_on(charge, self.state)
        return before is not None and day != before and charge.row.trigger_date == max(before, first)

    def _add(self, field: str, name: str, charge: ChargeState, day: date) -> None:
        latest, condition = charge.latest, charge.row.end_condition
        if condition == EndCondition.FIXED_PERIOD and _fixed_end(charge, day, self.state) is None:
            self.report.add(field, f"{name} would run beyond the year {LAST_DAY.year}.")
        if condition == EndCondition.SPECIFIC_END_DATE and latest is not None and not latest.lasts_beyond(day):
            self.report.add(field, f"{name} ends on {latest.end}; it cannot begin on {day}.")
        self.begins.append((charge, day))


def agreed_on(charge: ChargeState, state: SubscriptionState) -> date:
    """Return the first day on which a charge may begin, whatever its trigger date is."""
    return charge.earliest or state.row.contract_effective


def _begin(charge: ChargeState, day: date, state: SubscriptionState) -> Change:
    """Let one charge begin on `day`; one that was to end by then never begins, and waits for nothing any more."""
    was, first = charge.row.trigger_date, _first(charge)
    fixed = charge.row.end_condition == EndCondition.FIXED_PERIOD
    if fixed and was is not None:
        # Its end was counted from the day on which it was to begin, and is counted anew.
        counted = _fixed_end(charge, was, state)
        charge.segments = [
            each._replace(end=None) if each.has_days and each.end == counted else each for each in charge.segments
        ]
    latest = charge.latest
    if latest is None or not latest.lasts_beyond(day):
        charge.cut(agreed_on(charge, state))
        charge.row.trigger_date = None
        return Change(charge, "Removed", first, charge.segments[0])
    charge.begin(day, agreed=agreed_on(charge, state))
    end = _fixed_end(charge, day, state) if fixed else None
    if end is not None:
        charge.cut(end)
    return Change(charge, "Added", first, _first(charge))


def _fixed_end(charge: ChargeState, day: date, state: SubscriptionState) -> date | None:
    """Return the end of a fixed period that begins on a day; None beyond the last day."""
    term = ([term for term in state.terms if term.start <= day] or state.terms[:1])[-1]
    return fixed_period_end(charge.row, day, Term(term.start, term.end))


def _first(charge: ChargeState) -> PlacedSegment | None:
    return next((segment for segment in charge.segments if segment.has_days), None)


def _words(field: str) -> str:
    return field.replace("_", " ")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
