"""Seed 003, told as it is written: what the status of usage depends on, from the upload to the bill run.

2026           Jan                      Feb
usage          |·10···25···31·|··3·······
imported       Pending Process
run 1 Feb      [=== January ==]          January's usage: Processed; February's: Pending Process
"""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Account
from billing.core.types import BillingPeriod, ChargeModel, ChargeType
from billing.models import RatePlanCharge, UnitOfMeasure
from invoicing.bill_run.verify import audit
from invoicing.models import Invoice, InvoiceItem
from invoicing.posting import cancel_drafts, post_run
from tests import factories as make
from tests.factories import bill
from usage.models import UsageImport, UsageRecord
from usage.queries import records_by_status
from usage.services import RecordChange, change_record, delete_record, import_file, undo_import

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def minutes() -> RatePlanCharge:
    """Acme's telephone plan: 0.10 for each minute of a month, from January on."""
    UnitOfMeasure.objects.create(name="minute")
    plan = {
        "name": "Minutes",
        "charge_type": ChargeType.USAGE,
        "charge_model": ChargeModel.PER_UNIT,
        "billing_period": BillingPeriod.MONTH,
        "unit": "minute",
        "prices": {"USD": Decimal("0.10")},
    }
    return make.subscribe(make.acme(), make.plan("Telephone", plan), "2026-01-01").charges.get()


def upload(*rows: tuple[str, str]) -> UsageImport:
    """Upload usage of Acme, as (start date, minutes)."""
    number = Account.objects.get().number
    lines = [f"{number},minute,{quantity},{day}" for day, quantity in rows]
    text = "\n".join(["ACCOUNT_ID,UOM,QTY,STARTDATE", *lines])
    found = import_file(chunks=[text.encode()], file_name="calls.csv", leave_bad_rows_out=False, dry_run=False)
    assert found.status == "Imported", found.error
    return found


def days(status: str) -> list[str]:
    """Return the start dates of all usage with a status."""
    return [str(record.start_date) for record in records_by_status(UsageRecord.objects.order_by("start_date"), status)]


def test_after_importing_usage_the_status_is_pending_process(minutes):
    upload(("2026-01-10", "100"), ("2026-01-25", "50"))
    assert days("pending") == ["2026-01-10", "2026-01-25"]
    assert days("processed") == []


def test_usage_with_this_status_can_be_updated_or_deleted(minutes):
    upload(("2026-01-10", "100"), ("2026-01-25", "50"))
    first, second = UsageRecord.objects.order_by("start_date")
    change_record(first.pk, RecordChange(qty="120"))
    delete_record(second.pk)
    bill("2026-02-01")
    assert [(item.quantity, item.amount) for item in InvoiceItem.objects.all()] == [(Decimal(120), Decimal("12.00"))]


def test_it_is_processed_in_a_run_whose_target_date_has_reached_it_always_in_arrears(minutes):
    """The target date must have reached the start date, and, as usage is billed in arrears, the end of its period."""
    upload(("2026-01-10", "100"), ("2026-02-03", "7"))
    assert bill("2026-01-09").invoice_count == 0
    assert bill("2026-01-31").invoice_count == 0
    assert days("processed") == []
    run = bill("2026-02-01")
    assert (run.invoice_count, run.totals) == (1, {"USD": "10.00"})
    item = InvoiceItem.objects.get()
    assert (str(item.period.lower), str(item.period.upper)) == ("2026-01-01", "2026-02-01")
    assert (days("processed"), days("pending")) == (["2026-01-10"], ["2026-02-03"])


def test_once_picked_by_a_run_it_is_processed_and_cannot_be_changed(minutes):
    loaded = upload(("2026-01-10", "100"))
    bill("2026-02-01")
    record = UsageRecord.objects.get()
    for attempt in (
        lambda: change_record(record.pk, RecordChange(qty="1")),
        lambda: delete_record(record.pk),
        lambda: undo_import(loaded),
    ):
        with pytest.raises(ValidationError, match="Processed"):
            attempt()
    # Not by the database either, whoever asks it.
    for change in (lambda: UsageRecord.objects.update(quantity=1), lambda: UsageRecord.objects.all().delete()):
        with pytest.raises(IntegrityError, match="Processed"), transaction.atomic():
            change()
    assert UsageRecord.objects.get().quantity == 100


def test_when_its_draft_is_canceled_it_is_pending_again_and_billed_the_same_by_the_next_run(minutes):
    upload(("2026-01-10", "100"), ("2026-01-25", "50"))
    bill("2026-02-01")
    before = InvoiceItem.objects.values_list("period", "quantity", "amount", "derivation").get()
    cancel_drafts([Invoice.objects.get().pk])
    assert days("pending") == ["2026-01-10", "2026-01-25"]
    bill("2026-02-01")
    assert InvoiceItem.objects.order_by("pk").values_list("period", "quantity", "amount", "derivation").last() == before
    assert audit() == []


def test_usage_that_comes_late_is_never_lost_and_billed_as_its_own_line(minutes):
    upload(("2026-01-10", "100"))
    post_run(bill("2026-02-01").pk, user_id=None)
    upload(("2026-01-31", "20"), ("2026-02-05", "5"))
    assert days("late") == ["2026-01-31"]
    bill("2026-03-01")
    lines = [(item.description, item.quantity, item.amount) for item in InvoiceItem.objects.order_by("pk")]
    assert lines == [
        ("Minutes", Decimal(100), Decimal("10.00")),
        ("Minutes – Late usage", Decimal(20), Decimal("2.00")),
        ("Minutes", Decimal(5), Decimal("0.50")),
    ]
    assert (days("pending"), days("late")) == ([], [])
    assert audit() == []


@pytest.mark.parametrize(
    ("period", "before", "due"),
    [
        ("Month", "2026-01-31", "2026-02-01"),
        ("Quarter", "2026-03-31", "2026-04-01"),
        ("SemiAnnual", "2026-06-30", "2026-07-01"),
        ("Annual", "2026-12-31", "2027-01-01"),
    ],
)
def test_usage_is_billed_monthly_quarterly_semi_annually_or_annually(minutes, period, before, due):
    RatePlanCharge.objects.update(billing_period=period)
    upload(("2026-01-10", "100"))
    assert bill(before).invoice_count == 0
    assert bill(due).totals == {"USD": "10.00"}
