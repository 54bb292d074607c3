"""What each order action does to a subscription: checked against its state, applied to it, and told as a change.

    update   cut the charge at the day, open a segment with the new values
    remove   cut the plan's charges          cancel   cut all charges
    suspend  cut all charges and remember what they lost          resume   open what is left of that
    set trigger dates   let charges that wait begin (trigger_dates.py)

An action with a problem changes nothing, and neither does any action change a day before its date.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from billing.core.types import ChargeType, Term
from billing.models import OrderActionType, ProductRatePlan, ProductRatePlanCharge, SubscriptionStatus
from billing.services.charge_terms import LAST_DAY
from billing.services.order_checks import Catalogue, ChargeCheck, PlanCheck, Starts, named, plausible
from billing.services.order_requests import (
    MAX_TERM_MONTHS,
    AddProduct,
    Amendment,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    RemoveProduct,
    RenewSubscription,
    Report,
    Resume,
    SetTriggerDates,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
)
from billing.services.order_state import (
    Change,
    ChargeState,
    LostSegment,
    PlacedSegment,
    PlannedAction,
    PlanState,
    SubscriptionState,
    Suspension,
)
from billing.services.subscription_terms import append_term, extend_term, next_term_end, renewal_facts
from billing.services.term_changes import change_terms
from billing.services.trigger_dates import move_on, set_trigger_dates

Effect = tuple[OrderActionType, date, list[Change], dict[str, Any]]


class Amender:
    """Applies one action to the subscription it is about."""

    def __init__(self, state: SubscriptionState, report: Report, *, order_date: date, catalogue: Catalogue) -> None:
        self.state, self.report = state, report
        self.order_date, self.catalogue = order_date, catalogue

    def apply(self, action: Amendment) -> PlannedAction | None:
        """Return what the action did; None, with problems, if it cannot be done."""
        if self.state.row.status == SubscriptionStatus.CANCELED:
            self.report.add(
                "subscription", f"{self.state.named} was canceled from {self.state.row.canceled_from} on already."
            )
            return None
        before = {charge: charge.latest for charge in self.state.charges}
        perform: Callable[[Any], Effect | None] = getattr(self, _VERBS[type(action)])
        effect = perform(action)
        if effect is None:
            return None
        kind, day, changes, facts = effect
        return PlannedAction(kind, self.state, day, self._delta(before, day), changes, facts)

    def _delta(self, before: dict[ChargeState, PlacedSegment | None], day: date) -> Decimal:
        """Return by how much the monthly revenue agreed on for the time from `day` on has changed."""
        old = (latest.mrr for latest in before.values() if latest is not None and latest.lasts_beyond(day))
        return self.state.revenue_beyond(day) - sum(old, Decimal(0))

    # --- Products ----------------------------------------------------------------------------------------------------

    def add_product(self, action: AddProduct) -> Effect | None:
        """Add a rate plan; what begins with the contract begins on the action's day."""
        days = {
            "effective_date": action.effective_date,
            "service_activation": action.service_activation,
            "customer_acceptance": action.customer_acceptance,
        }
        if not plausible(self.report, **days):
            return None
        self._running(action.effective_date)
        for field in ("service_activation", "customer_acceptance"):
            day = days[field]
            if day is not None and day < action.effective_date:
                self.report.add(field, f"{field.replace('_', ' ').capitalize()} ({day}) cannot come before that day.")
        row = self.state.row
        starts = Starts(
            action.effective_date,
            action.service_activation or _not_before(action.effective_date, row.service_activation),
            action.customer_acceptance or _not_before(action.effective_date, row.customer_acceptance),
            action.effective_date,
        )
        check = PlanCheck(
            self.report, currency=self.state.owner.currency, order_date=self.order_date, catalogue=self.catalogue
        )
        plan = check.plan(action.rate_plan, starts, self._term)
        if not self.report.is_clean:
            return None
        self.state.plans.append(plan)
        changes = [Change(charge, "Added", None, charge.segments[0]) for charge in plan.charges]
        return OrderActionType.ADD_PRODUCT, action.effective_date, changes, {"rate_plan": plan.row.name}

    def update_product(self, action: UpdateProduct) -> Effect | None:
        """Cut each charge at the action's day and open a segment with the new values there."""
        if not plausible(self.report, effective_date=action.effective_date):
            return None
        self._running(action.effective_date)
        if not action.charges:
            self.report.add("charges", "Say which charges change.")
        wanted: list[tuple[ChargeState, PlacedSegment, PlacedSegment]] = []
        seen: set[ChargeState] = set()
        for change in action.charges:
            found = self._find_charge(change)
            if found is None:
                continue
            plan, charge = found
            if charge in seen:
                self.report.add("charges", f"{named(charge.row, plan.row.name)} is changed twice by one action.")
            seen.add(charge)
            pair = self._updated(plan, charge, change, action.effective_date)
            if pair is not None:
                wanted.append((charge, *pair))
        if not self.report.is_clean:
            return None
        changes: list[Change] = []
        for charge, latest, changed in wanted:
            charge.cut(action.effective_date)
            changes.append(Change(charge, "Changed", latest, charge.open(changed)))
        return OrderActionType.UPDATE_PRODUCT, action.effective_date, changes, {}

    def _updated(
        self, plan: PlanState, charge: ChargeState, change: ChargeChange, day: date
    ) -> tuple[PlacedSegment, PlacedSegment] | None:
        """Return the segment that runs on `day` and the one that follows it from then on."""
        check = ChargeCheck(charge.row, named(charge.row, plan.row.name), self.state.owner.currency, self.report)
        latest = charge.latest
        if latest is None or not latest.lasts_beyond(day):
            until = "was removed" if latest is None else f"ended on {latest.end}"
            check.add("charges", f"{until}; it cannot change from {day} on.")
            return None
        if day < latest.start:
            words = "begins" if latest.number == 1 else "already changes"
            check.add("effective_date", f"{words} on {latest.start}; it can change from then on, not on {day}.")
            return None
        if charge.row.charge_type == ChargeType.ONE_TIME and charge.row.trigger_date and day > charge.row.trigger_date:
            check.add("effective_date", f"is due once, on {charge.row.trigger_date}; it cannot change after that.")
            return None
        before = self.report.problems.count
        price, tiers = check.price(change.price, change.tiers, latest.price, latest.tiers)
        quantity = check.quantity(change.quantity, latest.quantity)
        if self.report.problems.count > before:
            return None
        if (price, tiers, quantity) == (latest.price, latest.tiers, latest.quantity):
            check.add("charges", "would stay as it is; change its price, quantity or tiers.")
            return None
        changed = latest._replace(start=day, quantity=quantity, price=price, tiers=tiers)
        priced = check.revenue(changed, self._term)
        return None if priced is None else (latest, priced)

    def remove_product(self, action: RemoveProduct) -> Effect | None:
        """Cut the charges of a plan."""
        if not plausible(self.report, effective_date=action.effective_date):
            return None
        self._running(action.effective_date)
        plan = self._find_plan(action.rate_plan)
        if plan is not None and not any(_has_days_from(charge, action.effective_date) for charge in plan.charges):
            words = f"Rate plan “{plan.row.name}” has ended by {action.effective_date}; there is nothing to remove."
            self.report.add("rate_plans", words)
        if plan is None or not self.report.is_clean:
            return None
        changes = self._cut(plan.charges, action.effective_date, "Removed")
        move_on(self.state)
        return OrderActionType.REMOVE_PRODUCT, action.effective_date, changes, {"rate_plan": plan.row.name}

    # --- The life of the subscription --------------------------------------------------------------------------------

    def renew(self, action: RenewSubscription) -> Effect | None:
        """Let the next term begin where the current one ends."""
        end = self._term.end
        if end is None:
            self.report.add("subscription", f"{self.state.named} is evergreen; there is no term to renew.")
            return None
        if action.months is not None and not 1 <= action.months <= MAX_TERM_MONTHS:
            self.report.add("renewal_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {action.months}.")
            return None
        until = next_term_end(self.state.terms[0], end, action.months or self.state.row.renewal_months)
        if until is None:
            self.report.add("renewal_months", f"The renewed term would end beyond the year {LAST_DAY.year}.")
            return None
        append_term(self.state.row, self.state.terms, until)
        return OrderActionType.RENEW_SUBSCRIPTION, end, [], renewal_facts(end, until)

    def cancel(self, action: CancelSubscription) -> Effect | None:
        """Cut all charges and say so on the subscription at once, whenever the day is."""
        end = self._term.end
        day = end if action.when == CancelWhen.END_OF_TERM else action.effective_date
        if day is None:
            if action.when == CancelWhen.END_OF_TERM:
                words = f"{self.state.named} is evergreen, so no term ends; give the first day not served."
            else:
                words = "Give the first day that is no longer served."
            self.report.add("effective_date", words)
            return None
        if plausible(self.report, effective_date=day):
            self._served(day, last=end)
        if not self.report.is_clean:
            return None
        changes = self._cut(self.state.charges, day, "Removed")
        self.state.row.status = SubscriptionStatus.CANCELED
        self.state.row.canceled_from = day
        return OrderActionType.CANCEL_SUBSCRIPTION, day, changes, {"when": CancelWhen(action.when).value}

    def suspend(self, action: Suspend) -> Effect | None:
        """Cut all charges and remember what they lost."""
        if plausible(self.report, effective_date=action.effective_date):
            self._running(action.effective_date)
        waits_for = _WAITS_FOR.get(self.state.row.status)
        if waits_for:
            self.report.add(
                "subscription", f"{self.state.named} still waits for {waits_for}; there is nothing to suspend."
            )
        if not self.report.is_clean:
            return None
        changes = self._cut(self.state.charges, action.effective_date, "Suspended")
        lost = [LostSegment(charge, before) for charge, _, before, _ in changes if before is not None]
        self.state.suspension = Suspension(action.effective_date, lost)
        self.state.row.status = SubscriptionStatus.SUSPENDED
        return OrderActionType.SUSPEND, action.effective_date, changes, {}

    def resume(self, action: Resume) -> Effect | None:
        """Open what is left from the action's day on of the segments that the suspension cut."""
        suspension, day = self.state.suspension, action.effective_date
        if self.state.row.status != SubscriptionStatus.SUSPENDED or suspension is None:
            self.report.add("subscription", f"{self.state.named} is not suspended.")
            return None
        if not plausible(self.report, effective_date=day):
            return None
        days = (day - suspension.day).days
        end = self._term.end
        if days < 0:
            words = f"{self.state.named} is suspended from {suspension.day} on; it cannot resume before, on {day}."
            self.report.add("effective_date", words)
        elif end is not None and not action.extend_term and day >= end:
            words = f"{self.state.named} has a term up to {end}; to resume it on {day}, renew it or extend the term."
            self.report.add("effective_date", words)
        if action.extend_term and end is None:
            self.report.add("extend_term", f"{self.state.named} is evergreen; there is no term to extend.")
        if not self.report.is_clean:
            return None
        if action.extend_term:
            extend_term(self.state.row, self.state.terms, days)
        changes = [
            Change(charge, "Resumed", None, charge.open(segment, start=max(day, segment.start)))
            for charge, segment in suspension.lost
            if segment.lasts_beyond(day)
        ]
        self.state.suspension = None
        self.state.row.status = SubscriptionStatus.ACTIVE
        facts: dict[str, Any] = {"suspended_from": suspension.day.isoformat(), "suspended_days": days}
        if action.extend_term and end is not None:
            facts |= renewal_facts(end, self.state.terms[-1].end)
        return OrderActionType.RESUME, day, changes, facts

    def set_trigger_dates(self, action: SetTriggerDates) -> Effect | None:
        """Let charges that wait for activation or acceptance begin on its day."""
        done = set_trigger_dates(self.state, action, self.report)
        return None if done is None else (OrderActionType.SET_TRIGGER_DATES, *done)

    def terms_and_conditions(self, action: TermsAndConditions) -> Effect | None:
        """Change the term and what else was agreed on."""
        if plausible(self.report, effective_date=action.effective_date, term_end=action.term_end):
            self._served(action.effective_date, last=None)
        facts = change_terms(self.state, action, self.report)
        if facts is None or not self.report.is_clean:
            return None
        return OrderActionType.TERMS_AND_CONDITIONS, action.effective_date, [], facts

    # --- What they have in common ------------------------------------------------------------------------------------

    @property
    def _term(self) -> Term:
        """Return the current term."""
        return Term(self.state.terms[-1].start, self.state.terms[-1].end)

    def _served(self, day: date, *, last: date | None) -> None:
        """Refuse a day before the subscription begins or after `last`."""
        start = self.state.row.contract_effective
        if day < start:
            self.report.add("effective_date", f"{self.state.named} begins on {start}; {day} is before that.")
        if last is not None and day > last:
            self.report.add("effective_date", f"{self.state.named} has a term up to {last}; {day} is after that.")

    def _running(self, day: date) -> None:
        """Refuse a day on which the subscription does not run: outside its terms, or while it is suspended."""
        end = self._term.end
        self._served(day, last=None)
        if end is not None and day >= end:
            words = f"{self.state.named} has a term up to {end}, {day} is not in it; renew it first."
            self.report.add("effective_date", words)
        if self.state.row.status == SubscriptionStatus.SUSPENDED:
            self.report.add("subscription", f"{self.state.named} is suspended; resume it first.")

    def _cut(self, charges: Any, day: date, word: str) -> list[Change]:
        changes = []
        for charge in charges:
            for before in charge.cut(day):
                after = next(segment for segment in charge.segments if segment.number == before.number)
                changes.append(Change(charge, word, before, after))
        return changes

    def _find_charge(self, change: ChargeChange) -> tuple[PlanState, ChargeState] | None:
        wanted = change.charge
        if isinstance(wanted, ProductRatePlanCharge):
            found = [(p, c) for p in self.state.plans for c in p.charges if c.row.product_charge_id == wanted.pk]
            # Of a plan that was taken out and added again, the charge that still has days is meant.
            found = [pair for pair in found if pair[1].latest is not None] or found
        else:
            found = [(p, c) for p in self.state.plans for c in p.charges if c.row.pk == wanted.pk]
        if len(found) == 1:
            return found[0]
        words = "has it several times; name the one that changes" if found else "has no such charge"
        self.report.add("charges", f"Charge “{wanted.name}”: {self.state.named} {words}.")
        return None

    def _find_plan(self, wanted: Any) -> PlanState | None:
        if isinstance(wanted, ProductRatePlan):
            found = [plan for plan in self.state.plans if plan.row.product_rate_plan_id == wanted.pk]
            found = [plan for plan in found if any(charge.latest for charge in plan.charges)] or found
        else:
            found = [plan for plan in self.state.plans if plan.row.pk == wanted.pk]
        if len(found) == 1:
            return found[0]
        words = "has it several times; name the one that goes" if found else "has no such plan"
        self.report.add("rate_plans", f"Rate plan “{wanted.name}”: {self.state.named} {words}.")
        return None


_VERBS = {
    AddProduct: "add_product",
    UpdateProduct: "update_product",
    RemoveProduct: "remove_product",
    RenewSubscription: "renew",
    CancelSubscription: "cancel",
    Suspend: "suspend",
    Resume: "resume",
    SetTriggerDates: "set_trigger_dates",
    TermsAndConditions: "terms_and_conditions",
}


_WAITS_FOR: dict[str, str] = {
    SubscriptionStatus.PENDING_ACTIVATION: "its activation",
    SubscriptionStatus.PENDING_ACCEPTANCE: "its acceptance",
}


def _not_before(day: date, other: date | None) -> date | None:
    return None if other is None else max(day, other)


def _has_days_from(charge: ChargeState, day: date) -> bool:
    latest = charge.latest
    return latest is not None and latest.lasts_beyond(day)
