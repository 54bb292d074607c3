"""Runs bill what was used: once, by every model, again after a cancellation to the letter, and late usage by itself (I5, I8)."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing.core.smoothing import SmoothingModel
from billing.core.types import ChargeModel, ChargeType, DiscountLevel, RatingGroup, UsageRating
from billing.models import BillingRules
from billing.services.orders import CancelSubscription, ChargeChange, UpdateProduct, place_order
from invoicing.bill_run.verify import audit
from invoicing.models import Invoice, InvoiceItem
from invoicing.posting import CancelError, begin_cancel_run, cancel_drafts, cancel_run, post_drafts
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.discounts import off
from tests.invoicing.facts import billed, in_threads, outcome, outcomes
from tests.usage.consumption import consume, metered, pending, rated, smoothed, sold, steps, usage_lines
from usage.models import RatedUsage, UsageRecord, UsageSlice

pytestmark = pytest.mark.django_db
LADDER = steps("10: 2, 20: 3, rest: 5")


def cancel_all(run) -> None:
    assert begin_cancel_run(run.pk)
    cancel_run(run.pk)


def amounts() -> list[str]:
    return [line[4] for line in usage_lines()]


class TestPeriods:
    def test_a_period_is_billed_when_it_is_over_and_once(self):
        charge = sold()
        consume(charge, ("2026-01-05", "10"), ("2026-01-20", "2.5"), ("2026-02-01", "7"))
        assert bill("2026-01-31").invoice_count == 0
        assert bill("2026-02-01").invoice_count == 1
        assert bill("2026-02-01").invoice_count == 0
        assert usage_lines() == [("Traffic", "2026-01-01", "2026-02-01", "12.5", "12.50")]
        assert pending() == ["2026-02-01"]
        assert audit() == []

    def test_days_without_usage_are_rated_without_a_line_and_given_back_with_their_run(self):
        sold()
        run = bill("2026-03-01")
        assert (run.invoice_count, len(rated())) == (0, 2)
        cancel_all(run)
        assert rated() == []
        assert bill("2026-03-01").invoice_count == 0
        assert rated() == [
            ("Period", "2026-01-01", "2026-02-01", "0.00"),
            ("Period", "2026-02-01", "2026-03-01", "0.00"),
        ]

    def test_days_without_usage_stay_rated_while_later_ones_are(self):
        charge = sold()
        first = bill("2026-02-01")
        consume(charge, ("2026-02-05", "3"))
        bill("2026-03-01")
        cancel_all(first)
        assert len(rated()) == 2
        assert audit() == []

    def test_usage_is_left_alone_where_its_type_is_excluded(self):
        charge = sold(metered(), make.monthly("Fee", price="100"))
        consume(charge, ("2026-01-05", "10"))
        bill("2026-02-01", excluded_charge_types=[ChargeType.USAGE])
        assert (usage_lines(), rated(), pending()) == ([], [], ["2026-01-05"])
        bill("2026-02-01")
        assert amounts() == ["10.00"]

    def test_usage_that_cannot_be_rated_leaves_its_account_without_any_line(self):
        charge = sold(metered(model=ChargeModel.VOLUME, price=steps("5: 1")), make.monthly("Fee", price="100"))
        consume(charge, ("2026-01-05", "10"))
        run = bill("2026-02-01")
        assert outcome(run, charge.subscription.account)[1] == "quantity_above_tiers"
        assert not InvoiceItem.objects.exists() and rated() == []


class TestCanceling:
    def test_canceled_usage_is_pending_again_and_rated_anew_to_the_letter(self):
        charge = sold(metered(model=ChargeModel.TIERED, price=LADDER))
        consume(charge, ("2026-01-05", "12"), ("2026-01-06", "9"))
        consume(charge, ("2026-02-05", "4"))
        run = bill("2026-03-01")
        before = billed()
        assert amounts() == ["55.00", "8.00"]
        cancel_all(run)
        assert (rated(), pending()) == ([], ["2026-01-05", "2026-02-05"])
        bill("2026-03-01")
        assert billed() == before
        assert RatedUsage.objects.filter(is_live=False).count() == 2
        assert audit() == []

    def test_drafts_are_canceled_from_the_end(self):
        charge = sold()
        consume(charge, ("2026-01-05", "1"), ("2026-02-05", "2"))
        bill("2026-02-01")
        bill("2026-03-01")
        january, february = Invoice.objects.order_by("pk")
        with pytest.raises(CancelError, match=february.reference):
            cancel_drafts([january.pk])
        assert pending() == []
        cancel_drafts([february.pk])
        cancel_drafts([january.pk])
        assert (rated(), pending()) == ([], ["2026-01-05", "2026-02-05"])

    def test_late_usage_is_canceled_before_what_it_was_late_for(self):
        charge = sold()
        consume(charge, ("2026-01-05", "1"))
        bill("2026-02-01")
        consume(charge, ("2026-01-06", "2"))
        bill("2026-02-01")
        first, late = Invoice.objects.order_by("pk")
        with pytest.raises(CancelError, match=late.reference):
            cancel_drafts([first.pk])
        assert cancel_drafts([first.pk, late.pk]) == 2
        assert (rated(), pending()) == ([], ["2026-01-05", "2026-01-06"])
        bill("2026-02-01")
        assert usage_lines() == [("Traffic", "2026-01-01", "2026-02-01", "3", "3.00")]

    def test_days_without_usage_after_a_canceled_draft_go_with_it(self):
        charge = sold()
        consume(charge, ("2026-01-05", "1"))
        bill("2026-02-01")
        bill("2026-04-01")
        cancel_drafts([Invoice.objects.get().pk])
        assert (rated(), pending()) == ([], ["2026-01-05"])
        bill("2026-04-01")
        assert amounts() == ["1.00"]
        assert audit() == []

    def test_what_is_posted_is_frozen(self):
        charge = sold()
        [found] = consume(charge, ("2026-01-05", "1"))
        bill("2026-02-01")
        invoice = Invoice.objects.get()
        post_drafts(invoice_ids=[invoice.pk], user_id=None)
        assert cancel_drafts([invoice.pk]) == 0
        row = RatedUsage.objects.get()
        for change in (
            lambda: UsageRecord.objects.update(quantity=9),
            lambda: UsageRecord.objects.all().delete(),
            lambda: UsageSlice.objects.update(rated=None),
            lambda: UsageSlice.objects.filter(pk=found.pk).delete(),
            lambda: RatedUsage.objects.update(is_live=False),
            lambda: RatedUsage.objects.update(amount=5),
            lambda: RatedUsage.objects.all()._raw_delete("default"),
            lambda: InvoiceItem.objects.update(amount=5),
        ):
            with pytest.raises(IntegrityError), transaction.atomic():
                change()
        row.refresh_from_db()
        assert (row.is_live, row.amount) == (True, 1)


class TestLateUsage:
    def test_it_is_billed_by_the_next_run_on_a_line_of_its_own(self):
        charge = sold(metered(model=ChargeModel.TIERED, price=LADDER))
        consume(charge, ("2026-01-05", "15"))
        bill("2026-02-01")
        consume(charge, ("2026-01-06", "6"))
        consume(charge, ("2026-02-06", "4"))
        bill("2026-03-01")
        assert usage_lines() == [
            ("Traffic", "2026-01-01", "2026-02-01", "15", "35.00"),
            ("Traffic – Late usage", "2026-01-01", "2026-02-01", "6", "20.00"),
            ("Traffic", "2026-02-01", "2026-03-01", "4", "8.00"),
        ]
        assert audit() == []

    def test_it_is_due_at_once_and_also_after_the_charge_has_ended(self):
        charge = sold()
        subscription = charge.subscription
        place_order(
            account=subscription.account,
            order_date=day("2026-01-01"),
            actions=[CancelSubscription(subscription, day("2026-02-01"))],
        )
        bill("2026-02-01")
        consume(charge, ("2026-01-20", "3"), by_day=True)
        assert bill("2026-02-01").invoice_count == 1

    def test_the_days_before_the_end_are_billed_of_a_slice_that_reaches_over_it(self):
        charge = sold()
        subscription = charge.subscription
        place_order(
            account=subscription.account,
            order_date=day("2026-01-01"),
            actions=[CancelSubscription(subscription, day("2026-01-15"))],
        )
        bill("2026-01-15")
        consume(charge, ("2026-01-10", "3"), ("2026-01-20", "40"))
        assert bill("2026-01-15").invoice_count == 1
        assert (amounts(), pending()) == (["3.00"], ["2026-01-20"])

    def test_quantities_add_up_to_what_is_rounded_as_a_whole(self):
        charge = sold()
        for units in ("4.6001", "0.0003", "0.0007"):
            consume(charge, ("2026-01-10", units))
            bill("2026-02-01")
        assert [line[3] for line in usage_lines()] == ["4.601", "0", "0.001"]
        assert [f"{units:.3f}" for units in RatedUsage.objects.values_list("quantity", flat=True)] == [
            "4.601",
            "0.000",
            "0.001",
        ]

    @pytest.mark.parametrize("again", [False, True], ids=["one month", "two months"])
    def test_late_usage_of_a_smoothed_charge_is_one_line_over_its_months(self, again):
        charge = smoothed(SmoothingModel.ROLLOVER, 2)
        for month, units in enumerate((300, 600, 650, 500), start=1):
            consume(charge, (f"2026-{month:02}-15", str(units)))
        bill("2026-05-01")
        rows = [("2026-01-20", "100"), ("2026-03-20", "1")]
        consume(charge, *rows[: 1 + again])
        run = bill("2026-05-01")
        assert outcomes(run) == {"Billed": 1}
        assert usage_lines()[-1] == (
            ("Traffic – Late usage", "2026-01-01", "2026-04-01", "101", "10.10")
            if again
            else ("Traffic – Late usage", "2026-01-01", "2026-02-01", "100", "10.00")
        )
        assert pending() == []
        assert audit() == []


class TestSlices:
    def test_a_slice_is_cut_where_a_moved_billing_day_ends_the_period(self):
        charge = sold()
        account = charge.subscription.account
        bill("2026-02-01")
        consume(charge, ("2026-02-10", "1"), ("2026-02-20", "20"))
        account.bill_cycle_day = 15
        account.save(update_fields=["bill_cycle_day"])
        bill("2026-02-15")
        assert (amounts(), pending()) == (["1.00"], ["2026-02-20"])
        bill("2026-03-15")
        assert amounts() == ["1.00", "20.00"]
        assert UsageRecord.objects.count() == 2 and audit() == []

    def test_a_slice_is_cut_where_the_price_changes(self):
        charge = sold()
        consume(charge, ("2026-01-10", "1"), ("2026-01-15", "1"), ("2026-01-20", "20"))
        change = ChargeChange(charge, price=Decimal("7"))
        place_order(
            account=charge.subscription.account,
            order_date=day("2026-01-01"),
            actions=[UpdateProduct(charge.subscription, (change,), day("2026-01-15"))],
        )
        bill("2026-02-01")
        assert usage_lines() == [
            ("Traffic", "2026-01-01", "2026-01-15", "1", "1.00"),
            ("Traffic", "2026-01-15", "2026-02-01", "21", "147.00"),
        ]
        assert UsageSlice.objects.count() == 2 and audit() == []

    def test_on_demand_a_slice_is_cut_on_the_target_date(self):
        charge = sold(metered(model=ChargeModel.TIERED, price=LADDER, usage_rating=UsageRating.ON_DEMAND))
        consume(charge, ("2026-01-01", "3"), ("2026-01-02", "5"), ("2026-01-03", "7"), ("2026-01-04", "5"))
        bill("2026-01-04")
        consume(charge, ("2026-01-01", "1"))
        bill("2026-01-04")
        bill("2026-01-05")
        assert [line[1:] for line in usage_lines()] == [
            ("2026-01-01", "2026-01-04", "15", "35.00"),
            ("2026-01-04", "2026-01-05", "6", "20.00"),
        ]
        assert audit() == []

    @pytest.mark.parametrize(
        ("group", "amount"),
        [
            (RatingGroup.BILLING_PERIOD, "1440.00"),
            (RatingGroup.START_DATE, "1600.00"),
            (RatingGroup.RECORD, "1670.00"),
            (RatingGroup.UPLOAD, "1540.00"),
        ],
    )
    def test_groups_are_priced_each_by_itself(self, group, amount):
        charge = sold(metered(model=ChargeModel.VOLUME, price=steps("50: 11, 100: 10, rest: 9"), rating_group=group))
        consume(charge, ("2026-01-01", "20"), ("2026-01-16", "90"), by_day=True)
        consume(charge, ("2026-01-01", "50"), by_day=True)
        bill("2026-02-01")
        assert amounts() == [amount]

    def test_records_are_rounded_one_by_one_where_the_rules_say_so(self):
        BillingRules.objects.update(rate_usage_individually=True)
        charge = sold()
        consume(charge, ("2026-01-05", "4.6001"), ("2026-01-06", "4.6001"))
        bill("2026-02-01")
        assert amounts() == ["9.20"] and usage_lines()[0][3] == "9.202"


# What deferred guards say is asked at the end of each transaction, as in a real run.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "value", "expected"),
    [
        (ChargeModel.DISCOUNT_PERCENTAGE, "10", ["-1.20", "-0.50"]),
        (ChargeModel.DISCOUNT_FIXED, "8", ["-8.00", "-5.00"]),
    ],
)
def test_discounts_reduce_usage(model, value, expected):
    account = make.acme()
    plan = off("Off", value, model=model, discount_level=DiscountLevel.ACCOUNT, discount_applies_to=[ChargeType.USAGE])
    make.subscribe(account, plan, "2026-01-01")
    charge = sold(account=account)
    consume(charge, ("2026-01-05", "12"), ("2026-02-05", "5"))
    run = bill("2026-03-01")
    found = InvoiceItem.objects.filter(kind="Discount").order_by("id")
    assert [f"{item.amount:.2f}" for item in found] == expected
    assert set(found.values_list("reduces__kind", flat=True)) == {"Usage"}
    assert audit() == []
    cancel_all(run)
    assert pending() == ["2026-01-05", "2026-02-05"]
    bill("2026-03-01")
    assert [
        f"{item.amount:.2f}" for item in InvoiceItem.objects.filter(kind="Discount", invoice__status="Draft")
    ] == expected


@pytest.mark.django_db(transaction=True)
def test_of_two_runs_at_once_one_bills_the_usage():
    charge = sold()
    consume(charge, ("2026-01-05", "10"))
    runs = in_threads(2, lambda _: bill("2026-02-01"))
    assert sorted(run.invoice_count for run in runs) == [0, 1]
    assert amounts() == ["10.00"]
    assert audit() == []


def test_what_a_slice_says_follows_its_records_while_it_is_pending():
    charge = sold()
    [found] = consume(charge, ("2026-01-05", "10"), ("2026-01-07", "1"))
    UsageRecord.objects.filter(quantity=1).update(quantity=4, start_date=day("2026-01-09"))
    found.refresh_from_db()
    assert (found.quantity, found.last_day) == (14, day("2026-01-09"))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_usagerecord")
    assert not UsageSlice.objects.exists()
