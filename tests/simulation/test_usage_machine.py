"""Any imports, corrections, runs, posts, cancellations and undoing of usage in any order: nothing is lost or billed twice.

    step        import   run   import (late)   cancel a draft   correct   run   undo   post …
    database    records, slices, rated days, invoice lines
    model       record → quantity and day; what live lines bill adds up to what is Processed, at the price agreed on

Each step is done as pages and workers do it, or refused; after each the audit finds nothing.
"""

import os
from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import ClassVar

import pytest
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from billing.core.types import ChargeModel, RatingGroup, UsageRating
from billing.models import ProductRatePlan, RatePlanCharge
from billing.services.orders import CancelSubscription, OrderRefusedError, place_order
from invoicing.bill_run import run as engine
from invoicing.bill_run.verify import audit
from invoicing.models import BillRunScope, Invoice, InvoiceItem
from invoicing.posting import CancelError, cancel_drafts, post_drafts
from tests import factories as make
from tests.invoicing.facts import customer
from tests.usage.consumption import metered, steps
from usage.importing import advance
from usage.models import UsageImport, UsageRecord
from usage.queries import records_by_status
from usage.services import RecordChange, change_record, delete_record, import_file, undo_import

START = date(2026, 1, 1)
DAYS = 120
EXAMPLES, STEPS = int(os.environ.get("MACHINE_EXAMPLES", "15")), 20
PRICE = Decimal("0.25")

days = st.integers(0, DAYS - 1).map(lambda number: START + timedelta(days=number))
quantities = st.integers(0, 400).map(lambda number: Decimal(number) / 4)


def catalogue() -> list[ProductRatePlan]:
    """Return plans that count usage in different ways; the first two cost the same a unit, whatever is counted together."""
    return [
        make.plan("Per unit", metered("Per unit", price=str(PRICE))),
        make.plan("On demand", metered("On demand", price=str(PRICE), usage_rating=UsageRating.ON_DEMAND)),
        make.plan("Tiers", metered("Tiers", ChargeModel.TIERED, steps("50: 1, 200: 0.5, rest: 0.1"))),
        make.plan(
            "Volume",
            metered("Volume", ChargeModel.VOLUME, steps("50: 1, rest: 0.5"), rating_group=RatingGroup.RECORD),
        ),
    ]


class UsageMachine(RuleBasedStateMachine):
    """Two customers with a usage charge each, and an operator who does whatever he likes."""

    plans: ClassVar[list[ProductRatePlan]]
    steps: ClassVar[Counter[str]]

    @initialize(first=st.integers(0, 3), second=st.integers(0, 3), day=st.sampled_from([1, 15, 31]))
    def found(self, first: int, second: int, day: int) -> None:
        self.accounts = [customer(currency="USD", bill_cycle_day=day), customer(currency="USD", bill_cycle_day=1)]
        self.charges: list[RatePlanCharge] = []
        for account, number in zip(self.accounts, (first, second), strict=True):
            subscription = make.subscribe(account, self.plans[number], START.isoformat())
            self.charges.append(subscription.charges.get())
        self.ids = [account.pk for account in self.accounts]
        self.linear = [number < 2 for number in (first, second)]
        self.imports: list[int] = []
        self.files = 0
        self.frozen: dict[int, tuple[Decimal, ...]] = {}

    def _records(self) -> "list[UsageRecord]":
        return list(UsageRecord.objects.filter(slice__account__in=self.ids).select_related("slice").order_by("pk"))

    def _drafts(self) -> list[int]:
        found = Invoice.objects.filter(account__in=self.ids, status="Draft").order_by("pk")
        return list(found.values_list("pk", flat=True))

    # --- What an operator does ------------------------------------------------------------------------------------------

    @rule(rows=st.lists(st.tuples(st.integers(0, 1), days, quantities), min_size=1, max_size=6))
    def load(self, rows: list[tuple[int, date, Decimal]]) -> None:
        lines = [f"{self.accounts[which].number},GB,{quantity},{day}" for which, day, quantity in rows]
        self.files += 1  # each file is another one, even with the same rows
        text = "\n".join(["ACCOUNT_ID,UOM,QTY,STARTDATE", *lines]) + "\n" * self.files
        found = import_file(chunks=[text.encode()], file_name="usage.csv", leave_bad_rows_out=True, dry_run=False)
        if found.status == "Imported":
            self.imports.append(found.pk)
        self.steps[f"load {found.status}"] += 1

    @rule(day=days, which=st.sampled_from([(0,), (1,), (0, 1)]))
    def bill(self, day: date, which: tuple[int, ...]) -> None:
        accounts = [self.accounts[number] for number in which]
        run = engine.create(target_date=day, invoice_date=day, scope=BillRunScope.ACCOUNTS, accounts=accounts)
        while engine.advance(run.pk, seconds=60):
            pass
        run.refresh_from_db()
        assert (run.status, run.has_errors) == ("Completed", False), list(
            run.account_outcomes.values_list("message", flat=True)
        )
        self.steps["bill"] += 1

    @rule(place=st.integers(0, 20))
    def cancel(self, place: int) -> None:
        drafts = self._drafts()
        if drafts:
            try:
                cancel_drafts([drafts[place % len(drafts)]])
                self.steps["cancel"] += 1
            except CancelError:
                self.steps["cancel refused"] += 1

    @rule(place=st.integers(0, 20))
    def post(self, place: int) -> None:
        drafts = self._drafts()
        if drafts:
            post_drafts(invoice_ids=[drafts[place % len(drafts)]], user_id=None)
            self.steps["post"] += 1

    @rule(place=st.integers(0, 50), quantity=quantities, day=days)
    def correct(self, place: int, quantity: Decimal, day: date) -> None:
        records = self._records()
        if records:
            record = records[place % len(records)]
            try:
                change_record(record.pk, RecordChange(qty=f"{quantity:f}", startdate=day.isoformat()))
                assert record.slice.rated_id is None
                self.steps["correct"] += 1
            except ValidationError:
                self.steps["correct refused"] += 1

    @rule(place=st.integers(0, 50))
    def remove(self, place: int) -> None:
        records = self._records()
        if records:
            record = records[place % len(records)]
            try:
                delete_record(record.pk)
                assert record.slice.rated_id is None
                self.steps["remove"] += 1
            except ValidationError:
                assert record.slice.rated_id is not None
                self.steps["remove refused"] += 1

    @rule(place=st.integers(0, 20))
    def undo(self, place: int) -> None:
        if self.imports:
            found = UsageImport.objects.get(pk=self.imports[place % len(self.imports)])
            try:
                undo_import(found)
                advance(found.pk)
                self.imports.remove(found.pk)
                self.steps["undo"] += 1
            except ValidationError:
                self.steps["undo refused"] += 1

    @rule(which=st.integers(0, 1), day=days)
    def end(self, which: int, day: date) -> None:
        try:
            order = CancelSubscription(self.charges[which].subscription, day)
            place_order(account=self.accounts[which], order_date=day, actions=[order])
            self.steps["end"] += 1
        except (OrderRefusedError, ValidationError):
            self.steps["end refused"] += 1

    @rule(which=st.integers(0, 1), day=st.integers(1, 31))
    def move_billing_day(self, which: int, day: int) -> None:
        self.accounts[which].bill_cycle_day = day
        self.accounts[which].save(update_fields=["bill_cycle_day"])
        self.steps["move the billing day"] += 1

    # --- What must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def everything_adds_up(self) -> None:
        if not hasattr(self, "ids"):
            return
        assert audit() == []
        billed: dict[int, Decimal] = defaultdict(Decimal)
        money: dict[int, Decimal] = defaultdict(Decimal)
        lines = InvoiceItem.objects.filter(invoice__account__in=self.ids, invoice__status__in=["Draft", "Posted"])
        for charge_id, quantity, amount in lines.values_list("charge_id", "quantity", "amount"):
            assert quantity is not None  # every usage line says how much it bills
            billed[charge_id] += quantity
            money[charge_id] += amount
        processed: dict[int, Decimal] = defaultdict(Decimal)
        for record in records_by_status(
            UsageRecord.objects.filter(slice__account__in=self.ids), "processed"
        ).values_list("slice__charge", "quantity"):
            processed[record[0]] += record[1]
        for charge, linear in zip(self.charges, self.linear, strict=True):
            assert billed[charge.pk] == processed[charge.pk]
            if linear:
                # Each line is rounded once, half a cent at most.
                count = lines.filter(charge=charge).count()
                assert abs(money[charge.pk] - processed[charge.pk] * PRICE) <= Decimal("0.005") * count

    @invariant()
    def what_is_posted_stays(self) -> None:
        if not hasattr(self, "ids"):
            return
        items = InvoiceItem.objects.filter(invoice__account__in=self.ids, invoice__status="Posted").order_by("pk")
        now: dict[int, list[Decimal]] = defaultdict(list)
        for invoice_id, amount in items.values_list("invoice_id", "amount"):
            now[invoice_id].append(amount)
        found = {invoice_id: tuple(amounts) for invoice_id, amounts in now.items()}
        assert found.items() >= self.frozen.items()
        self.frozen = found


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_whatever_is_done_with_usage_in_whatever_order_it_is_billed_once(record_property):
    UsageMachine.plans, UsageMachine.steps = catalogue(), Counter()
    run_state_machine_as_test(
        UsageMachine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    print(dict(UsageMachine.steps))
    record_property("steps", dict(UsageMachine.steps))
