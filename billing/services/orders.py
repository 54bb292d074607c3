"""Taking orders: a sequence of actions on new and existing subscriptions, worked out in memory and written at once.

    lock accounts → read subscriptions and catalogue → apply action after action → refuse, or write table by table

Nothing is written before all of it is checked. The locks are those a bill run takes, so that a run sees a subscription
either before an order or after it; and a reseller's two thousand subscriptions take as many statements as one.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from django.db import transaction

from accounts.models import Account, AccountStatus
from billing.core.types import Term
from billing.models import (
    Order,
    OrderActionType,
    OrderStatus,
    Subscription,
    SubscriptionTerm,
    TermType,
)
from billing.services.amendments import Amender
from billing.services.charge_terms import LAST_DAY
from billing.services.order_checks import Catalogue, PlanCheck, Starts, catalogue_of, plausible
from billing.services.order_loading import invoice_owners, load_states, lock_accounts
from billing.services.order_requests import (
    MAX_ACTIONS,
    MAX_PROBLEMS,
    MAX_TERM_MONTHS,
    Action,
    AddProduct,
    Amendment,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    ChargeChoice,
    CreatedBy,
    NewRatePlan,
    NewSubscription,
    OrderProblem,
    OrderRefusedError,
    Problems,
    RemoveProduct,
    RenewSubscription,
    Report,
    Resume,
    SetTriggerDates,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
)
from billing.services.order_state import Change, PlannedAction, SubscriptionState
from billing.services.order_writing import write_order
from billing.services.term_changes import check_name
from billing.services.trigger_dates import EVENTS, check_order, status_by_dates

__all__ = [
    "Action",
    "AddProduct",
    "CancelSubscription",
    "CancelWhen",
    "ChargeChange",
    "ChargeChoice",
    "CreatedBy",
    "NewRatePlan",
    "NewSubscription",
    "OrderProblem",
    "OrderRefusedError",
    "RemoveProduct",
    "RenewSubscription",
    "Resume",
    "SetTriggerDates",
    "Suspend",
    "TermsAndConditions",
    "UpdateProduct",
    "create_order",
    "place_order",
]


def create_order(
    *,
    account: Account,
    order_date: date,
    subscriptions: Sequence[NewSubscription],
    user_id: int | None = None,
    description: str = "",
) -> Order:
    """Complete an order that creates subscriptions; the same as `place_order` with nothing else in it."""
    return place_order(
        account=account, order_date=order_date, actions=subscriptions, user_id=user_id, description=description
    )


def place_order(
    *,
    account: Account,
    order_date: date,
    actions: Sequence[Action],
    user_id: int | None = None,
    description: str = "",
) -> Order:
    """Complete an order: its actions take effect one after the other, each seeing what those before it did.

    Amendments may be dated in the future, or back to days that are billed already; the next bill run charges and gives
    back the difference. Sets the bill cycle day of invoice owners that have none yet. Raises OrderRefusedError, a
    ValidationError by field with everything that is wrong; then nothing was written.
    """
    problems = Problems(len(actions))
    if not actions:
        problems.add("actions", "An order needs at least one action.")
    if len(actions) > MAX_ACTIONS:
        problems.add("actions", f"An order has at most {MAX_ACTIONS:,} actions; spread them over several orders.")
    problems.refuse()
    with transaction.atomic():
        planned = _OrderPlan(account, order_date, actions, problems).actions()
        order = Order(
            account=account,
            order_date=order_date,
            status=OrderStatus.COMPLETED,
            description=description,
            created_by_id=user_id,
        )
        write_order(order, planned)
    for action in planned:
        if action.state.owner.pk == account.pk:
            account.bill_cycle_day = action.state.owner.bill_cycle_day
    return order


class _OrderPlan:
    """Works out the actions of one order, inside the transaction that will write them."""

    def __init__(self, account: Account, order_date: date, actions: Sequence[Action], problems: Problems) -> None:
        self.account, self.order_date, self.requests, self.problems = account, order_date, actions, problems
        existing = {
            action.subscription.pk
            for action in actions
            if not isinstance(action, NewSubscription) and isinstance(action.subscription, Subscription)
        }
        owners = {
            action.invoice_owner.pk
            for action in actions
            if isinstance(action, NewSubscription) and action.invoice_owner
        }
        self.accounts = lock_accounts({account.pk} | owners | invoice_owners(existing))
        dated = {
            action.subscription.pk
            for action in actions
            if isinstance(action, SetTriggerDates) and isinstance(action.subscription, Subscription)
        }
        self.states = load_states(existing, self.accounts, with_beginnings=dated)
        self.created: dict[int, SubscriptionState] = {}
        self.catalogue: Catalogue = catalogue_of(_plans_of(actions))

    def actions(self) -> list[PlannedAction]:
        """Return what each action did; raises OrderRefusedError if one cannot be done."""
        account = self.accounts[self.account.pk]
        if account.status != AccountStatus.ACTIVE:
            words = f"Account {account.number} is {account.status}; only active accounts can order."
            self.problems.add("account", words)
        planned = []
        for position, request in enumerate(self.requests, start=1):
            report = Report(self.problems, position)
            if isinstance(request, NewSubscription):
                done = self._create(request, report)
            else:
                done = self._amend(request, report)
            if done is not None:
                planned.append(done)
            if self.problems.count >= MAX_PROBLEMS:
                break
        self.problems.refuse()
        return planned

    def _amend(self, request: Amendment, report: Report) -> PlannedAction | None:
        target = request.subscription
        if isinstance(target, CreatedBy):
            state = self.created.get(target.position)
            if state is None:
                # An action whose own problems are told already explains itself.
                if not any(problem.position == target.position for problem in self.problems.found):
                    report.add(
                        "subscription", f"Action {target.position} of this order creates no subscription before."
                    )
                return None
        else:
            state = self.states.get(target.pk)
            if state is None:
                report.add("subscription", f"There is no subscription {target.number}.")
                return None
            if state.row.account_id != self.account.pk:
                words = f"Subscription {state.row.number} is not one of account {self.account.number}."
                report.add("subscription", words)
                return None
        amender = Amender(state, report, order_date=self.order_date, catalogue=self.catalogue)
        return amender.apply(request)

    # --- New subscriptions -------------------------------------------------------------------------------------------

    def _create(self, request: NewSubscription, report: Report) -> PlannedAction | None:
        owner = self._owner(request, report)
        if not request.rate_plans:
            report.add("rate_plans", "A subscription needs at least one rate plan.")
        check_name(request.name, report)
        _check_dates(request, report)
        if not report.is_clean:
            # Without sound dates and an owner the rest would be refused for the wrong reasons.
            return None
        term = Term(request.contract_effective, _term_end(request, report))
        starts = Starts(
            request.contract_effective,
            request.service_activation,
            request.customer_acceptance,
            request.contract_effective,
        )
        check = PlanCheck(report, currency=self.account.currency, order_date=self.order_date, catalogue=self.catalogue)
        plans = [check.plan(plan, starts, term) for plan in request.rate_plans]
        if not report.is_clean:
            return None
        first_term = SubscriptionTerm(number=1, start=term.start, end=term.end)
        state = SubscriptionState(_row(self.account, owner, request, term), owner, plans, [first_term])
        state.row.status = status_by_dates(state.charges)
        self.created[report.position] = state
        changes = [Change(charge, "Added", None, charge.segments[0]) for charge in state.charges]
        revenue = sum((charge.segments[0].mrr for charge in state.charges), Decimal(0))
        kind = OrderActionType.CREATE_SUBSCRIPTION
        return PlannedAction(kind, state, request.contract_effective, revenue, changes, {})

    def _owner(self, request: NewSubscription, report: Report) -> Account:
        owner = self.accounts[(request.invoice_owner or self.account).pk]
        if owner.pk != self.account.pk and owner.status != AccountStatus.ACTIVE:
            words = f"Account {owner.number} is {owner.status}; only active accounts are billed."
            report.add("invoice_owner", words)
        if owner.currency != self.account.currency:
            report.add(
                "invoice_owner",
                f"Account {owner.number} is billed in {owner.currency}, account {self.account.number} in"
                f" {self.account.currency}.",
            )
        return owner


def _plans_of(actions: Sequence[Action]) -> list[NewRatePlan]:
    found: list[NewRatePlan] = []
    for action in actions:
        if isinstance(action, NewSubscription):
            found += action.rate_plans
        elif isinstance(action, AddProduct):
            found.append(action.rate_plan)
    return found


def _check_dates(request: NewSubscription, report: Report) -> None:
    days = {name: getattr(request, name) for name in ("contract_effective", *EVENTS)}
    plausible(report, **days, term_end=request.term_end)
    check_order(report, days, given=EVENTS)


def _term_end(request: NewSubscription, report: Report) -> date | None:
    start, end, months = request.contract_effective, request.term_end, request.term_months
    if months is not None and end is not None:
        report.add("term_end", "Give the term's months or its end, not both.")
    elif months is not None and not 1 <= months <= MAX_TERM_MONTHS:
        report.add("term_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {months}.")
    elif months is not None:
        end = start + relativedelta(months=months)
        if end > LAST_DAY:
            report.add("term_months", f"The term would end beyond the year {LAST_DAY.year}.")
    elif end is not None and end <= start:
        report.add("term_end", f"The term must end after it starts: {end} is not after {start}.")
    if end is None and months is None:
        if request.auto_renew:
            report.add("auto_renew", "An evergreen subscription has no term that could be renewed.")
        if request.renewal_months is not None:
            report.add("renewal_months", "An evergreen subscription has no term that could be renewed.")
    elif request.renewal_months is not None and not 1 <= request.renewal_months <= MAX_TERM_MONTHS:
        report.add("renewal_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {request.renewal_months}.")
    return end


def _row(account: Account, owner: Account, request: NewSubscription, term: Term) -> Subscription:
    return Subscription(
        account=account,
        invoice_owner=owner,
        name=request.name,
        term_type=TermType.EVERGREEN if term.end is None else TermType.TERMED,
        contract_effective=request.contract_effective,
        service_activation=request.service_activation,
        customer_acceptance=request.customer_acceptance,
        term_start=term.start,
        term_end=term.end,
        auto_renew=request.auto_renew,
        renewal_months=request.renewal_months,
        invoice_separately=request.invoice_separately,
        custom_fields=dict(request.custom_fields),
    )
