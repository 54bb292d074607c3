"""Percentages that end or change for days that are billed: the difference is billed, once, and goes with its draft.

2026        Jan           Feb           Mar
fee         |-- 100.00 --|
10 % off    |-- −10.00 --|
removed     |--10%--|                     16 Jan: 100.00 · 10 % · 15/31 = 4.84 stay
next run            |+5.16|
"""

from decimal import Decimal

import pytest

from accounts.models import Account
from billing.core.types import BillingPeriod, BillingTiming, ChargeModel, ChargeType, DiscountLevel
from billing.models import RatePlanCharge, Subscription
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    NewRatePlan,
    RemoveProduct,
    Resume,
    Suspend,
)
from invoicing.bill_run.verify import audit
from invoicing.explanation import explain
from invoicing.models import Invoice, InvoiceItem
from invoicing.next_invoice import next_invoice
from invoicing.posting import CancelError, cancel_drafts, post_run
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.discounts import act, change, lines, off, sold, subscribed, total
from tests.invoicing.facts import outcome

pytestmark = pytest.mark.django_db(transaction=True)


class TestRemoved:
    def test_within_a_billed_month(self):
        ten = off("Ten", "10")
        subscription = sold(ten)
        post_run(bill("2026-01-01").pk, user_id=None)
        act(RemoveProduct(subscription, ten, day("2026-01-16")), on="2026-01-20")
        run = bill("2026-01-20")
        assert (run.status, run.has_errors) == ("Completed", False)
        assert lines(run) == [("Ten on Fee – Change", "2026-01-01", "+5.16")]
        fee, discount, back = InvoiceItem.objects.order_by("id")
        assert (back.kind, back.reduces, back.credits, back.charge_id) == ("Discount", fee, None, discount.charge_id)
        assert total() == Decimal("95.16")
        assert audit() == []
        post_run(run.pk, user_id=None)
        assert audit() == []

    def test_from_a_day_long_before(self):
        """Three months were billed with 10 % off; from 16 January on nothing of it is due."""
        ten = off("Ten", "10")
        subscription = sold(ten)
        for target in ("2026-01-01", "2026-02-01", "2026-03-01"):
            post_run(bill(target).pk, user_id=None)
        act(RemoveProduct(subscription, ten, day("2026-01-16")), on="2026-03-20")
        assert lines(bill("2026-03-20")) == [
            ("Ten on Fee – Change", "2026-01-01", "+5.16"),
            ("Ten on Fee – Change", "2026-02-01", "+10.00"),
            ("Ten on Fee – Change", "2026-03-01", "+10.00"),
        ]
        assert audit() == []

    def test_from_the_first_day_on(self):
        ten = off("Ten", "10")
        subscription = sold(ten)
        bill("2026-01-01")
        act(RemoveProduct(subscription, ten, day("2026-01-01")))
        assert lines(bill("2026-01-02")) == [("Ten on Fee – Change", "2026-01-01", "+10.00")]
        assert total() == 100

    def test_not_before_its_day_has_come(self):
        ten = off("Ten", "10")
        subscription = sold(ten)
        bill("2026-01-01")
        act(RemoveProduct(subscription, ten, day("2026-01-16")))
        assert next_invoice(subscription.account_id, today=day("2026-01-05")).day == day("2026-01-16")
        assert bill("2026-01-15").invoice_count == 0
        assert bill("2026-01-16").invoice_count == 1

    def test_with_a_day_that_was_known_when_the_month_was_billed(self):
        """February: 100.00 · 10 % · 9/28 = 3.21; nothing is left to change on the 10th."""
        ten = off("Ten", "10")
        subscription = sold(ten)
        act(RemoveProduct(subscription, ten, day("2026-02-10")))
        bill("2026-01-01")
        assert lines(bill("2026-02-01")) == [("Fee", "2026-02-01", "+100.00"), ("Ten on Fee", "2026-02-01", "-3.21")]
        assert bill("2026-02-28").chunks.count() == 0

    def test_what_it_took_off_a_one_time_charge(self):
        ten = off("Ten", "10", discount_applies_to=[ChargeType.ONE_TIME])
        subscription = subscribed(make.acme(), make.plan("Setup", make.once("Setup")), ten)
        bill("2026-01-01")
        act(RemoveProduct(subscription, ten, day("2026-01-01")))
        assert lines(bill("2026-01-02")) == [("Ten on Setup – Change", "2026-01-01", "+10.00")]
        assert audit() == []

    def test_while_the_fee_is_credited_as_well(self):
        """January and February are billed. The discount ends on 16 January, the fee on the 24th.

        January  |-- 10 % --|--------|         100.00 · 23/31 = 74.19 stay, less 74.19 · 10 % · 15/23 = 4.84
        February                               nothing
        """
        ten = off("Ten", "10")
        subscription = sold(ten)
        bill("2026-01-01")
        bill("2026-02-01")
        fee_plan = subscription.rate_plans.get(name="Fee")
        act(
            RemoveProduct(subscription, ten, day("2026-01-16")),
            RemoveProduct(subscription, fee_plan, day("2026-01-24")),
        )
        run = bill("2026-02-02")
        assert sum(Decimal(amount) for *_, amount in lines(run)) == Decimal("69.35") - 180
        assert total() == Decimal("69.35")
        assert audit() == []


class TestChanged:
    def test_a_higher_percentage_takes_off_more(self):
        """February: 100.00 · (10 % · 14 + 20 % · 14) / 28 = 15.00 instead of 10.00."""
        ten = off("Ten", "10")
        subscription = sold(ten, start="2026-02-01")
        bill("2026-02-01")
        act(change(subscription, ten, "2026-02-15", "20"))
        run = bill("2026-02-15")
        assert lines(run) == [("Ten on Fee – Change", "2026-02-01", "-5.00")]
        assert Invoice.objects.get(bill_run=run).total == -5
        assert lines(bill("2026-03-01"))[1] == ("Ten on Fee", "2026-03-01", "-20.00")
        assert audit() == []

    def test_twice_within_a_month_and_billed_in_between_or_not(self):
        """April: 100.00 · (30 % · 10 + 12 % · 10 + 6 % · 10) / 30 = 16.00 at last, whenever the runs are."""
        for between in (True, False):
            discount = off(f"Off {between}", "30")
            subscription = sold(discount, account=make.acme(), start="2026-04-01")
            accounts = [subscription.account]
            bill("2026-04-01", accounts=accounts)
            act(change(subscription, discount, "2026-04-11", "12"))
            if between:
                # 100.00 · (30 % · 10 + 12 % · 20) / 30 = 18.00 of 30.00 stay
                [line] = lines(bill("2026-04-11", accounts=accounts))
                assert line[2] == "+12.00"
            act(change(subscription, discount, "2026-04-21", "6"))
            [line] = lines(bill("2026-04-21", accounts=accounts))
            assert line[2] == ("+2.00" if between else "+14.00")
        assert total() == 2 * Decimal("84.00")
        assert audit() == []

    def test_one_discount_changes_what_the_next_is_taken_of(self):
        """10 % and 20 % of the rest: 10.00 and 18.00. Without the first the second takes 20.00."""
        ten, twenty = off("Ten", "10"), off("Twenty", "20")
        subscription = sold(ten, twenty)
        bill("2026-01-01")
        act(RemoveProduct(subscription, ten, day("2026-01-01")))
        assert lines(bill("2026-01-02")) == [
            ("Ten on Fee – Change", "2026-01-01", "+10.00"),
            ("Twenty on Fee – Change", "2026-01-01", "-2.00"),
        ]
        assert bill("2026-01-03").chunks.count() == 0

    def test_is_billed_with_what_else_is_due(self):
        ten = off("Ten", "10")
        subscription = sold(ten)
        bill("2026-01-01")
        act(change(subscription, ten, "2026-01-16", "20"))
        run = bill("2026-02-01")
        assert lines(run) == [
            ("Fee", "2026-02-01", "+100.00"),
            ("Ten on Fee – Change", "2026-01-01", "-5.16"),
            ("Ten on Fee", "2026-02-01", "-20.00"),
        ]
        assert run.invoice_count == 1

    def test_in_arrears(self):
        """February is billed in March with 10 % off, which was to be 5 % since the 15th: 7.50."""
        ten = off("Ten", "10")
        fee = make.plan("Fee", make.monthly("Fee", price="100", billing_timing=BillingTiming.IN_ARREARS))
        subscription = subscribed(make.acme(), fee, ten, start="2026-02-01")
        bill("2026-03-01")
        act(change(subscription, ten, "2026-02-15", "5"))
        assert lines(bill("2026-03-02")) == [("Ten on Fee – Change", "2026-02-01", "+2.50")]


class TestOfTheWholeAccount:
    """Acme pays 1,200.00 for 2026; another subscription of its grants 10 % off everything: 120.00."""

    @pytest.fixture
    def granting(self) -> Subscription:
        account = make.acme()
        loyalty = off("Loyalty", "10", discount_level=DiscountLevel.ACCOUNT)
        licence = make.plan("Licence", make.monthly("Licence", price="1200", billing_period=BillingPeriod.ANNUAL))
        subscribed(account, licence)
        granting = subscribed(account, loyalty)
        assert sum(Decimal(amount) for *_, amount in lines(bill("2026-01-01"))) == 1080
        return granting

    def test_suspended_and_resumed(self, granting):
        """59 days until March: 120.00 · 59/365 = 19.40; from May on 245 more: 120.00 · 304/365 = 99.95."""
        act(Suspend(granting, day("2026-03-01")))
        assert bill("2026-02-28").invoice_count == 0
        assert lines(bill("2026-03-01")) == [("Loyalty on Licence – Change", "2026-01-01", "+100.60")]
        act(Resume(granting, day("2026-05-01")))
        assert lines(bill("2026-05-01")) == [("Loyalty on Licence – Change", "2026-01-01", "-80.55")]
        assert bill("2026-12-31").chunks.count() == 0
        assert total() == Decimal("1200.00") - Decimal("99.95")
        assert audit() == []

    def test_canceled(self, granting):
        """181 days until July: 120.00 · 181/365 = 59.51 stay."""
        act(CancelSubscription(granting, day("2026-07-01")))
        assert lines(bill("2026-07-01")) == [("Loyalty on Licence – Change", "2026-01-01", "+60.49")]
        assert audit() == []

    def test_a_discount_to_come_counts_for_the_days_it_will_have(self):
        """The licence is billed on 1 January, for a discount that is agreed on from July on: 120.00 · 184/365."""
        account = make.globex(bill_cycle_day=1)
        licence = make.plan("Later", make.monthly("Later", price="1200", billing_period=BillingPeriod.ANNUAL))
        half = off("From July", "10")
        subscription = subscribed(account, licence)
        act(AddProduct(subscription, NewRatePlan(half), day("2026-07-01")))
        assert [line[2] for line in lines(bill("2026-01-01", accounts=[account]))] == ["+1200.00", "-60.49"]
        assert bill("2026-07-01", accounts=[account]).invoice_count == 0


class TestAgain:
    @pytest.fixture
    def run(self):
        """Acme's January with 10 % off, which ends on the 16th: a draft charges 5.16 back."""
        ten = off("Ten", "10")
        subscription = sold(ten)
        bill("2026-01-01")
        act(RemoveProduct(subscription, ten, day("2026-01-16")))
        return bill("2026-01-20")

    def test_nothing_more_is_billed_and_the_database_alone_tells(self, run):
        again = bill("2026-01-20")
        assert (again.invoice_count, again.chunks.count()) == (0, 0)
        assert outcome(again, Account.objects.get())[0] == "NothingDue"

    def test_a_canceled_draft_is_billed_again(self, run):
        made = lines(run)
        assert cancel_drafts([run.invoices.get().pk]) == 1
        assert total() == 90
        assert audit() == []
        assert lines(bill("2026-01-20")) == made
        assert audit() == []

    def test_the_draft_that_was_reduced_stays_until_the_change_goes(self, run):
        first = Invoice.objects.earliest("id")
        with pytest.raises(CancelError, match=run.invoices.get().reference):
            cancel_drafts([first.pk])
        assert cancel_drafts([first.pk, run.invoices.get().pk]) == 2
        assert total() == 0
        assert audit() == []

    def test_changes_go_in_the_opposite_order(self, run):
        subscription = Subscription.objects.get()
        act(RemoveProduct(subscription, subscription.rate_plans.get(name="Ten"), day("2026-01-06")))
        second = bill("2026-01-20").invoices.get()
        assert second.total == Decimal("3.23")  # 4.84 less 100.00 · 10 % · 5/31
        with pytest.raises(CancelError, match=second.reference):
            cancel_drafts([run.invoices.get().pk])
        cancel_drafts([second.pk])
        cancel_drafts([run.invoices.get().pk])
        assert lines(bill("2026-01-20")) == [("Ten on Fee – Change", "2026-01-01", "+8.39")]
        assert audit() == []

    def test_it_waits_while_its_type_of_charge_is_excluded(self, run):
        cancel_drafts([run.invoices.get().pk])
        assert bill("2026-01-20", excluded_charge_types=[ChargeType.RECURRING]).chunks.count() == 0
        assert bill("2026-01-20", excluded_charge_types=[ChargeType.ONE_TIME]).invoice_count == 1

    def test_what_else_is_due_does_not_take_it_along_then(self, run):
        cancel_drafts([run.invoices.get().pk])
        setup = make.plan("Setup", make.once("Setup"))
        act(AddProduct(Subscription.objects.get(), NewRatePlan(setup), day("2026-01-18")))
        late = bill("2026-01-20", excluded_charge_types=[ChargeType.RECURRING])
        assert lines(late) == [("Setup", "2026-01-18", "+100.00")]
        assert lines(bill("2026-01-20")) == [("Ten on Fee – Change", "2026-01-01", "+5.16")]

    def test_an_account_without_contact_is_told_so(self, run):
        cancel_drafts([run.invoices.get().pk])
        account = Account.objects.get()
        Account.objects.update(bill_to=None)
        failed = bill("2026-01-20")
        assert outcome(failed, account)[:2] == ("Failed", "missing_bill_to")
        assert failed.invoice_count == 0

    def test_it_is_explained(self, run):
        item = InvoiceItem.objects.latest("id")
        steps = explain(item, currency="USD")
        assert [step.name for step in steps][:2] == ["Taken off so far", "Still taken off: Percentage"]
        assert "10 % of $100.00 × 15 ÷ 31" in steps[1].working
        assert steps[-1].result == "$5.16"


def test_only_percentages_change():
    """A fixed amount stays with the lines that it has reduced, in proportion."""
    voucher = off("Off", "25", model=ChargeModel.DISCOUNT_FIXED)
    subscription = sold(voucher)
    bill("2026-01-01")
    act(RemoveProduct(subscription, voucher, day("2026-01-16")))
    assert bill("2026-01-20").chunks.count() == 0
    assert RatePlanCharge.objects.filter(charge_model=ChargeModel.DISCOUNT_FIXED).exists()
