"""Any orders, runs, posts and cancellations in any order: after each step the database holds what a dict of days says.

    step        subscribe   change   run   post   suspend   run   cancel drafts   resume   run …
    database    coverage, items, states of invoices, read by SQL
    model       charge → day → item; what the oracle said was due when the run took place

A failing sequence is shortened by hypothesis until nothing can be left out.
"""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Account
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    DiscountLevel,
    LineKind,
    PartialMonths,
    ProrationUnit,
    RecurringStyle,
)
from billing.models import BillingRules, OrderActionType, ProductRatePlan, Subscription, SubscriptionStatus
from billing.queries import current_rules
from billing.services.orders import (
    Action,
    AddProduct,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    NewRatePlan,
    NewSubscription,
    OrderRefusedError,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
    place_order,
)
from invoicing.bill_run import run as engine
from invoicing.models import BillRun, BillRunScope, BillRunStatus, Invoice, InvoiceItem
from invoicing.posting import CancelError, cancel_drafts, post_drafts
from tests.billing.core.oracle import owed
from tests.billing.orders import TIERS
from tests.factories import by_tiers, monthly, once, plan, seats
from tests.invoicing.facts import customer
from tests.invoicing.test_discounts import percent
from tests.simulation.books import billed, sold
from tests.simulation.comparison import DISCOUNTS, differences
from tests.simulation.invariants import broken, posted
from tests.simulation.model import Model, Written

START = date(2026, 1, 31)
EXAMPLES, STEPS = int(os.environ.get("MACHINE_EXAMPLES", "60")), 30

RULES: tuple[dict[str, Any], ...] = (
    {},
    {"proration_unit": ProrationUnit.DAY, "credit_one_time": True, "partial_months": PartialMonths.SKIP},
    {"bill_past_term_end": True, "bill_to_term_end_when_auto_renew": False, "bill_partial_weeks": False},
    {"prorate_partial_periods": False},
    {"partial_months": PartialMonths.BILL_FULL, "recurring_style": RecurringStyle.IN_ADVANCE},
    {"recurring_style": RecurringStyle.IN_ARREARS, "credit_one_time": True},
)
PLAIN = RULES[:3]
"""Rules by which a day costs the same whatever follows it, so that hindsight bills what was billed step by step."""


def catalogue() -> list[ProductRatePlan]:
    """Return plans of few charges that differ in what moves periods and money."""
    by_weeks = {"billing_day_type": BillingDayType.SPECIFIC_DAY_OF_WEEK, "billing_day": 3}
    by_months = {"billing_day_type": BillingDayType.SUBSCRIPTION_START_DAY, "alignment": Alignment.SUBSCRIPTION_START}
    late = {"billing_timing": BillingTiming.IN_ARREARS}
    tenth = {"discount_level": DiscountLevel.RATE_PLAN}
    return [
        plan("Team", seats(), once()),
        plan("Support", monthly("Support", "33.33", billing_period=BillingPeriod.QUARTER, **by_months, **late)),
        plan("Licence", seats("Licence", "3", billing_period=BillingPeriod.WEEK, **by_weeks)),
        plan("Calls", by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60", billing_period=BillingPeriod.ANNUAL)),
        plan("Storage", seats("Storage", billing_period=BillingPeriod.SPECIFIC_DAYS, period_length=10, **late)),
        plan(
            "Offer",
            monthly("Fee", "99.99"),
            percent("Tenth off", "10", **tenth),
            percent("Third off", "33.33", **tenth),
        ),
        plan("Term", monthly("Term", "120", billing_period=BillingPeriod.SUBSCRIPTION_TERM), seats("Late", **late)),
    ]


class Machine(RuleBasedStateMachine):
    """Two customers who order whatever they like, and an operator who bills, posts and cancels whenever he likes."""

    plans: ClassVar[list[ProductRatePlan]]
    steps: ClassVar[Counter[str]]

    # --- A world -----------------------------------------------------------------------------------------------------

    @initialize(rules=st.sampled_from(RULES), first=st.integers(0, 6), second=st.integers(0, 6))
    def found(self, rules: dict[str, Any], first: int, second: int) -> None:
        names = [field.name for field in BillingRules._meta.get_fields() if field.name != "id"]
        fresh = BillingRules()
        BillingRules.objects.update(**{name: getattr(fresh, name) for name in names} | rules)
        self.plain, self.billing_rules = rules in PLAIN, current_rules()
        self.accounts = [customer(currency="USD", bill_cycle_day=31), customer(currency="JPY", bill_cycle_day=15)]
        self.ids = [account.pk for account in self.accounts]
        self.subscriptions: list[Subscription] = []
        self.today = self.settled = START
        self.ordered: dict[int, date] = {}
        self.model = Model()
        self.states: dict[int, str] = {}
        self.frozen: dict[int, str] = {}
        self.subscribe(account=0, number=first, day=0, months=None, renews=False)
        self.subscribe(account=1, number=second, day=-10, months=3, renews=True)

    # --- Orders ------------------------------------------------------------------------------------------------------

    @rule(
        account=st.integers(0, 1),
        number=st.integers(0, 6),
        day=st.integers(-20, 20),
        months=st.sampled_from((None, None, 1, 3)),
        renews=st.booleans(),
    )
    def subscribe(self, account: int, number: int, day: int, months: int | None, renews: bool) -> None:
        values: dict[str, Any] = {"term_months": months, "auto_renew": renews} if months else {}
        action = NewSubscription((NewRatePlan(self.plans[number]),), self.today + timedelta(days=day), **values)
        self._place(self.accounts[account], [action])

    @rule(which=st.integers(0, 5), charge=st.integers(0, 3), quantity=st.integers(0, 70), day=st.integers(-30, 10))
    def change(self, which: int, charge: int, quantity: int, day: int) -> None:
        row = self._subscription(which)
        of_row = [each for each in row.charges.order_by("pk") if each.charge_model not in DISCOUNTS]
        chosen = of_row[charge % len(of_row)]
        value: dict[str, Any] = {"quantity": Decimal(quantity)}
        if chosen.charge_model == ChargeModel.FLAT_FEE:
            value = {"price": Decimal(quantity) / 8}
        self._order(row, UpdateProduct(row, (ChargeChange(chosen, **value),), self._day(row, day)))

    @rule(which=st.integers(0, 5), number=st.integers(0, 6), day=st.integers(-30, 10))
    def add(self, which: int, number: int, day: int) -> None:
        row = self._subscription(which)
        self._order(row, AddProduct(row, NewRatePlan(self.plans[number]), self._day(row, day)))

    @rule(which=st.integers(0, 5), plan=st.integers(0, 2), day=st.integers(-30, 10))
    def remove(self, which: int, plan: int, day: int) -> None:
        row = self._subscription(which)
        plans = list(row.rate_plans.filter(charges__segments__effective_end=None).distinct().order_by("-pk"))
        if plans:
            self._order(row, RemoveProduct(row, plans[plan % len(plans)], self._day(row, day)))

    @rule(which=st.integers(0, 5), day=st.integers(-30, 10), other=st.integers(0, 20), again=st.booleans())
    def pause(self, which: int, day: int, other: int, again: bool) -> None:
        """Suspend, perhaps with the day of the resumption in the same order; or resume what is suspended."""
        row = self._subscription(which)
        if row.status == SubscriptionStatus.SUSPENDED:
            self._order(row, Resume(row, self._day(row, day)))
        else:
            later = [Resume(row, self._day(row, day + other))] if again else []
            self._order(row, Suspend(row, self._day(row, day)), *later)

    @rule(
        which=st.integers(0, 5),
        day=st.integers(-30, 10),
        kind=st.sampled_from(("renew", "renew", "turn", "end", "cancel")),
    )
    def decide(self, which: int, day: int, kind: str) -> None:
        """Cancel on a day or at the end of the term, renew, or let the term renew itself from now on (or no more)."""
        row = self._subscription(which)
        on = self._day(row, day)
        action: Action = CancelSubscription(row, on)
        if kind == "renew" and row.term_end:
            action = RenewSubscription(row)
        elif kind == "end" and row.term_end:
            action = CancelSubscription(row, when=CancelWhen.END_OF_TERM)
        elif kind != "cancel":
            renews = not row.auto_renew if row.term_end else None
            action = TermsAndConditions(row, on, auto_renew=renews, name=f"Contract {row.term_end} {day}")
        self._order(row, action)

    def _day(self, row: Subscription, offset: int) -> date:
        """Return a day near today, but not before what was last ordered for a subscription: that would be refused."""
        return max(self.today + timedelta(days=offset), row.contract_effective, self.ordered.get(row.pk, date.min))

    def _subscription(self, which: int) -> Subscription:
        """Return one of the subscriptions that are not canceled; a new one if all are."""
        if all(row.status == SubscriptionStatus.CANCELED for row in self.subscriptions):
            self.subscribe(account=which % 2, number=0, day=0, months=None, renews=False)
        running = [row for row in self.subscriptions if row.status != SubscriptionStatus.CANCELED]
        row = running[which % len(running)]
        row.refresh_from_db()
        return row

    def _order(self, row: Subscription, *actions: Action) -> None:
        """Order something for a subscription; one that is suspended is resumed first, on the same day."""
        day = getattr(actions[0], "effective_date", None)
        if (
            row.status == SubscriptionStatus.SUSPENDED
            and day
            and not isinstance(actions[0], Resume | CancelSubscription)
        ):
            actions = (Resume(row, day), *actions)
        self._place(row.account, actions)

    def _place(self, account: Account, actions: Sequence[Action]) -> None:
        """Place an order; what it changes takes effect by `settled` at the latest."""
        try:
            order = place_order(account=account, order_date=self.today, actions=actions)
        except OrderRefusedError:
            self.steps["orders refused"] += 1
            return
        self.steps["orders"] += 1
        done = list(order.actions.select_related("subscription"))
        row = done[0].subscription
        assert row is not None
        days = [action.effective_date for action in done if action.kind != OrderActionType.RENEW_SUBSCRIPTION]
        self.settled = max([self.settled, *days])
        self.ordered[row.pk] = max([self.ordered.get(row.pk, date.min), *days])
        self.subscriptions = [*(each for each in self.subscriptions if each.pk != row.pk), row]

    # --- Runs --------------------------------------------------------------------------------------------------------

    @rule(days=st.integers(0, 25))
    def bill(self, days: int) -> None:
        """Let some days pass and run a bill run: each line is one that the oracle finds due, and none is missing."""
        self.today += timedelta(days=days)
        self._bill(self.today)

    @rule(days=st.integers(26, 45), back=st.integers(0, 20))
    def bill_late(self, days: int, back: int) -> None:
        """Let a month or more pass and bill as of a day that may be over already."""
        self.today += timedelta(days=days)
        self._bill(self.today - timedelta(days=back))

    def _bill(self, target: date) -> None:
        run = engine.create(
            accounts=self.accounts, scope=BillRunScope.ACCOUNTS, target_date=target, invoice_date=target
        )
        while engine.advance(run.pk, seconds=60):
            pass
        run.refresh_from_db()
        failed = list(run.account_outcomes.filter(outcome="Failed").values_list("message", flat=True))
        assert (run.status, run.error, failed) == (BillRunStatus.COMPLETED, "", [])
        self.steps["runs"] += 1
        self._book(run, target)

    def _book(self, run: BillRun, target: date) -> None:
        found = written_by(run)
        expected = []
        for account, charge, *_ in sold(self.ids):
            if charge.terms.charge_model not in DISCOUNTS:
                due = owed(account, self.model.state_of(charge), self.billing_rules, target)
                expected += [(charge.charge_id, *line) for line in due]
        lines = [
            (each.charge_id, each.kind, each.segment_number, each.start, each.end, each.amount, each.credits)
            for each in found
        ]
        assert sorted(lines, key=str) == sorted(expected, key=str)
        self.model.book(found)
        self.states |= dict.fromkeys(run.invoices.values_list("pk", flat=True), "Draft")
        self.steps["lines"] += len(found)
        self.steps["credits"] += sum(line.kind is LineKind.CREDIT for line in found)

    # --- Drafts ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self._drafts())
    @rule(which=st.sets(st.integers(0, 5), min_size=1, max_size=3))
    def post(self, which: set[int]) -> None:
        chosen = self._chosen(which)
        assert post_drafts(invoice_ids=chosen, user_id=None) == len(chosen)
        self.states |= dict.fromkeys(chosen, "Posted")
        self.frozen |= {pk: text for pk, text in posted(self.ids).items() if pk in chosen}
        self.steps["posted"] += len(chosen)

    @precondition(lambda self: self._drafts())
    @rule(which=st.sets(st.integers(0, 5), min_size=1, max_size=3))
    def cancel(self, which: set[int]) -> None:
        """Cancel drafts: refused if and only if the model says that they have to stay."""
        chosen = self._chosen(which)
        try:
            canceled = cancel_drafts(chosen)
        except CancelError:
            assert self.model.must_stay(chosen)
            self.steps["cancellations refused"] += 1
            return
        assert not self.model.must_stay(chosen)
        assert canceled == len(chosen)
        self.model.cancel(chosen)
        self.states |= dict.fromkeys(chosen, "Canceled")
        self.steps["canceled"] += len(chosen)

    def _drafts(self) -> list[int]:
        """Return the drafts, newest first."""
        return sorted((pk for pk, state in self.states.items() if state == "Draft"), reverse=True)

    def _chosen(self, which: set[int]) -> list[int]:
        drafts = self._drafts()
        return sorted({drafts[number % len(drafts)] for number in which})

    # --- What holds after each step ----------------------------------------------------------------------------------

    @invariant()
    def the_database_breaks_nothing(self) -> None:
        if not hasattr(self, "ids"):
            return
        self.steps["steps"] += 1
        assert broken(self.ids) == []
        assert posted(self.ids) == self.frozen
        states = dict(Invoice.objects.filter(account__in=self.ids).values_list("pk", "status"))
        assert states == self.states

    @invariant()
    def the_database_holds_the_days_and_the_money_of_the_model(self) -> None:
        if not hasattr(self, "ids"):
            return
        books = billed({line.charge_id for line in self.model.lines.values()})
        items = {item.item_id: item for of_charge in books.values() for item in of_charge}
        for item_id, line in self.model.lines.items():
            if line.kind is not LineKind.CREDIT:
                item, days = items.pop(item_id), self.model.covered(item_id)
                assert item.left == self.model.left(item_id)
                assert (item.start, item.end) == ((days[0], days[-1] + timedelta(days=1)) if days else (None, None))
        assert items == {}

    def teardown(self) -> None:
        """In the end the books are those that one run with all the knowledge of today would have written (I8)."""
        if not hasattr(self, "ids"):
            return
        self.today = max(self.today, self.settled)
        self._bill(self.today)
        if self.plain:
            assert differences(sold(self.ids), self.billing_rules, self.today, Counter()) == []


def written_by(run: BillRun) -> list[Written]:
    """Return the lines of a run that bill days or give them back."""
    rows = InvoiceItem.objects.filter(invoice__bill_run=run).exclude(kind=LineKind.DISCOUNT)
    columns = ("pk", "invoice_id", "charge_id", "kind", "derivation__s", "period", "amount", "credits_id")
    return [
        Written(pk, invoice, charge, LineKind(kind), segment, period.lower, period.upper, Fraction(amount), credited)
        for pk, invoice, charge, kind, segment, period, amount, credited in rows.values_list(*columns)
    ]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_whatever_is_done_in_whatever_order_each_day_is_billed_once_and_at_its_price(record_property):
    Machine.plans, Machine.steps = catalogue(), Counter()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(Machine.steps))
    record_property("steps", dict(Machine.steps))
