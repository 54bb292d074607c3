"""The demo company has something of everything, is made once only, and leaves work to do; load accounts are all due."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count
from django.test import TestCase, override_settings

from accounts.models import Account, BillingBatch, InvoiceTemplate
from billing.models import (
    ChargeSegment,
    Order,
    OrderAction,
    OrderActionType,
    ProductRatePlanCharge,
    RatePlanCharge,
    Subscription,
    SubscriptionStatus,
)
from config.seed_data.company import HOTELS, RESELLER, WITHOUT_CONTACT, WITHOUT_PRICE, WITHOUT_TIERS
from config.seed_data.load import LOAD_ALIAS, fill_load
from config.seed_data.seller import add_people
from invoicing.bill_run.verify import audit
from invoicing.dashboard import dashboard_figures
from invoicing.models import (
    AccountOutcome,
    BillRun,
    BillRunStatus,
    Coverage,
    DeliveryState,
    Invoice,
    InvoiceDelivery,
    InvoiceStatus,
)
from tests.factories import acme, batch, bill, day

TODAY = day("2026-07-15")


def seed(**options):
    """Run the command and return what it printed."""
    output = StringIO()
    call_command("seed", stdout=output, **options)
    return output.getvalue()


def _lines(invoice):
    """Return the lines of an invoice: kind, description, first day and amount."""
    items = invoice.items.order_by("id")
    return [(item.kind, item.description, str(item.period.lower), f"{item.amount:.2f}") for item in items]


def _mistrust_statistics():
    """Let the planner prefer indexes: inside a test's transaction no table ever gets statistics of its rows."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")


@pytest.mark.slow
@override_settings(DEMO=True, BUSINESS_DATE=TODAY)
class TestCompany(TestCase):
    """The company is seeded once for all of these."""

    printed: str

    @classmethod
    def setUpTestData(cls):
        _mistrust_statistics()
        cls.printed = seed()

    def test_three_hundred_accounts_in_three_batches_and_currencies(self):
        assert 300 <= Account.objects.count() <= 320
        assert set(BillingBatch.objects.values_list("alias", flat=True)) == {
            "Direct customers",
            "Key accounts",
            "Resellers and partners",
        }
        assert set(Account.objects.values_list("currency", flat=True)) == {"EUR", "JPY", "USD"}
        assert Account.objects.values("name").distinct().count() == Account.objects.count()
        assert not Account.objects.filter(bill_cycle_day=0, invoiced_subscriptions__isnull=False).exists()

    def test_parent_pays_for_some_of_its_children(self):
        children = Account.objects.filter(parent__isnull=False)
        assert children.count() == len(HOTELS)
        paid = children.filter(subscriptions__invoice_owner=children[0].parent).distinct()
        assert paid.count() == 3

    def test_reseller_has_two_thousand_subscriptions(self):
        assert Subscription.objects.filter(account__name=RESELLER).count() == 2000

    def test_catalogue_has_every_kind_of_charge(self):
        charges = ProductRatePlanCharge.objects.all()
        for field, count in [
            ("charge_type", 3), ("charge_model", 8), ("billing_period", 5), ("billing_timing", 2), ("billing_day_type", 2),
            ("list_price_base", 3),
        ]:  # fmt: skip
            assert charges.values(field).distinct().count() == count, field

    def test_months_end_on_their_last_day(self):
        starts = set(RatePlanCharge.objects.filter(trigger_date__month=2).values_list("trigger_date__day", flat=True))
        assert 28 in starts
        assert Account.objects.filter(bill_cycle_day=31).count() > 20

    def test_each_of_the_last_three_months_has_invoices_and_bookings(self):
        figures = dashboard_figures(TODAY)
        assert {of.currency for of in figures.currencies} == {"EUR", "JPY", "USD"}
        for of in figures.currencies:
            for month in of.months:
                assert month.invoices > 10
                assert month.bookings > 0
        assert all(order_date <= TODAY for order_date in Order.objects.values_list("order_date", flat=True))

    def test_last_run_waits_for_review_with_errors_to_look_at(self):
        last = BillRun.objects.latest("id")
        assert (last.status, last.has_errors) == (BillRunStatus.COMPLETED, True)
        assert last.invoices.filter(status=InvoiceStatus.DRAFT).count() > 50
        failed = last.account_outcomes.filter(outcome=AccountOutcome.FAILED)
        assert set(failed.values_list("account__name", "code")) == {
            (WITHOUT_CONTACT, "missing_bill_to"),
            (WITHOUT_PRICE, "missing_price"),
            (WITHOUT_TIERS, "missing_tiers"),
        }
        assert BillRun.objects.filter(status=BillRunStatus.POSTED, has_errors=False).count() == 4

    def test_changes_within_billed_days_are_on_posted_invoices(self):
        """More seats from 4 June on: 14.00 each; 5 more for 11 of 31 days, and the month after with all of them."""
        june = Invoice.objects.get(account__name="Aurora Coffee Roasters LLC", invoice_date=day("2026-06-30"))
        assert _lines(june) == [
            ("Credit", "Team seats – Proration Credit", "2026-06-04", "-59.61"),
            ("Recurring", "Team seats – Proration", "2026-06-04", "84.45"),
            ("Recurring", "Team seats", "2026-06-15", "238.00"),
        ]
        tiered = Invoice.objects.get(account__name="Rheintal Maschinenbau AG", invoice_date=day("2026-06-30"))
        assert [kind for kind, *_ in _lines(tiered)] == ["Credit", "Recurring"]

    def test_discounts_reduce_lines_and_change_with_their_percentage(self):
        percentage = Invoice.objects.get(account__name="Open Shelter Foundation", invoice_date=day("2026-06-30"))
        named = "Non-profit discount on Non-profit seats"
        assert [line for line in _lines(percentage) if line[0] == "Discount"] == [
            ("Discount", f"{named} – Change", "2026-05-15", "2.71"),  # 35.00 less 140.00 · (25 % · 19 + 20 % · 12) / 31
            ("Discount", named, "2026-06-15", "-28.00"),
        ]
        fixed = Invoice.objects.filter(account__name="Blue Heron Veterinary Group", items__kind="Discount")
        assert fixed.filter(status=InvoiceStatus.POSTED).count() == 4

    def test_every_kind_of_order_is_there_and_dated_in_its_month(self):
        kinds = set(OrderAction.objects.values_list("kind", flat=True))
        assert kinds == set(OrderActionType.values) - {OrderActionType.TERMS_AND_CONDITIONS}
        amended = OrderAction.objects.exclude(kind=OrderActionType.CREATE_SUBSCRIPTION)
        assert amended.filter(effective_date__gt=TODAY).count() == 2
        assert {ordered.month for ordered in amended.values_list("order__order_date", flat=True)} == {5, 6, 7}
        assert Order.objects.filter(description="Renewed automatically").exists()

    def test_subscriptions_are_at_every_stage_of_their_life(self):
        states = {
            "Aurora Coffee Roasters LLC": SubscriptionStatus.ACTIVE,
            "Hotel Tsubaki K.K.": SubscriptionStatus.ACTIVE,
            "Librairie Beaumont SARL": SubscriptionStatus.CANCELED,
            "Solstice Festival B.V.": SubscriptionStatus.PENDING_ACTIVATION,
        }
        found = Subscription.objects.filter(account__name__in=states)
        assert dict(found.values_list("account__name", "status")) == states
        assert not Invoice.objects.filter(account__name="Solstice Festival B.V.").exists()
        assert Invoice.objects.get(account__name="Librairie Beaumont SARL", invoice_date=day("2026-06-30")).total < 0

    def test_resellers_are_left_for_the_operators_first_run(self):
        assert not Invoice.objects.filter(
            account__batch__alias="Resellers and partners", invoice_date__gt=day("2026-06-30")
        ).exists()

    def test_handful_of_invoices_is_mailed(self):
        states = InvoiceDelivery.objects.values_list("state", "error")
        assert list(states) == [(DeliveryState.SENT, "")] * 6

    def test_audit_finds_nothing(self):
        assert audit() == []

    def test_one_user_a_role_may_sign_in(self):
        assert set(User.objects.values_list("username", "groups__name", "is_superuser")) == {
            (role, role, False) for role in ("viewer", "operator", "approver", "admin")
        }
        assert "Users viewer, operator, approver, admin: the password of each is tallyrun-demo" in self.printed

    def test_invoices_carry_the_seller_and_an_iban_of_documentation(self):
        templates = InvoiceTemplate.objects.values_list("legal_name", "iban", "page_size")
        iban = "DE89370400440532013000"
        assert set(templates) == {("Fjordlight Systems GmbH", iban, size) for size in ("A4", "Letter")}
        assert InvoiceTemplate.objects.get(is_default=True).logo.startswith("data:image/png;base64,")

    def test_invoices_explain_every_amount(self):
        assert set(InvoiceTemplate.objects.values_list("explain_amounts", flat=True)) == {True}

    def test_second_time_nothing_changes(self):
        before = (Account.objects.count(), Order.objects.count(), BillRun.objects.count(), Invoice.objects.count())
        assert "there already; nothing was changed" in seed()
        after = (Account.objects.count(), Order.objects.count(), BillRun.objects.count(), Invoice.objects.count())
        assert before == after

    def test_history_that_was_interrupted_is_completed(self):
        last, orders = BillRun.objects.latest("id"), Order.objects.count()
        BillRun.objects.filter(pk=last.pk).update(name="")
        assert "Key accounts, to be reviewed: 0 invoices" in seed()
        assert BillRun.objects.latest("id").pk > last.pk
        assert Order.objects.count() == orders


@pytest.mark.django_db
class TestRefusals:
    def test_company_goes_into_an_empty_database_only(self):
        acme()
        with pytest.raises(CommandError, match="only goes into an empty one"):
            seed()
        assert Account.objects.count() == 1

    @pytest.mark.parametrize("accounts", [0, -5])
    def test_number_of_accounts_is_at_least_one(self, accounts):
        with pytest.raises(CommandError, match="--accounts: at least 1 is needed"):
            seed(accounts=accounts)


@pytest.mark.django_db
class TestLoad:
    @pytest.mark.parametrize("target", ["2026-07-15", "2026-02-28", "2028-02-29", "2026-12-31", "2026-03-01"])
    def test_every_charge_has_something_due_at_the_target_date(self, target):
        added = fill_load(accounts=300, target_date=day(target))
        assert (added.accounts, added.charges) == (300, RatePlanCharge.objects.count())
        assert 2.3 < added.charges / 300 < 2.7
        run = bill(target)
        assert (run.invoice_count, run.accounts_failed) == (300, 0)
        items = RatePlanCharge.objects.annotate(items=Count("invoice_items")).values_list("items", flat=True)
        assert set(items) == {1, 2}
        assert 0.1 < list(items).count(2) / added.charges < 0.2
        assert bill(target).invoice_count == 0

    def test_mix_is_that_of_a_subscription_business(self):
        charges = fill_load(accounts=2000, target_date=TODAY).charges
        rows = RatePlanCharge.objects

        def share(**of):
            return rows.filter(**of).count() * 100 // charges

        assert 68 <= share(billing_period="Month") <= 72
        assert 18 <= share(billing_period="Quarter") <= 22
        assert 68 <= share(billing_timing="InAdvance") <= 72
        assert set(Account.objects.values_list("bill_cycle_day", flat=True)) == set(range(1, 32))
        assert ChargeSegment.objects.filter(mrr__lte=0).count() == 0

    def test_later_call_adds_others_to_the_same_batch(self):
        for _ in range(2):
            fill_load(accounts=3, target_date=TODAY)
        numbers = Account.objects.filter(batch__alias=LOAD_ALIAS).order_by("number").values_list("number", flat=True)
        assert list(numbers) == [f"L{number:08d}" for number in range(1, 7)]

    def test_batches_that_people_use_keep_their_meaning(self):
        batch(50, "Taken")
        fill_load(accounts=1, target_date=TODAY)
        assert BillingBatch.objects.get(alias=LOAD_ALIAS).code == "Batch49"


@pytest.mark.django_db(transaction=True)
def test_command_adds_load_accounts_beside_others(fixed_today):
    acme()
    printed = seed(accounts=7)
    assert "Added 7 accounts" in printed
    assert Account.objects.count() == 8
    assert not Coverage.objects.exists()


@pytest.mark.django_db
def test_outside_a_demo_nobody_gets_a_password_that_everyone_knows(settings):
    settings.DEMO = False
    assert add_people() == {}
    assert not User.objects.exists()
