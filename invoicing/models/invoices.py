"""Invoices, their items and the coverage that says which days of a charge are billed (D8)."""

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Now
from django.urls import reverse

from accounts.guards import untruncatable
from accounts.models import Account, Contact, InvoiceTemplate, InvoiceTemplateVersion, NumberSequence, PaymentTerm
from billing.core.types import LineKind
from billing.fields import NumericField, within_limits
from billing.models import RatePlanCharge, Subscription
from billing.models.terms import choices_of
from invoicing.models import coverage_guards, discount_guards, guards, usage_guards
from invoicing.models.bill_runs import BillRun
from usage.models import RatedUsage


class InvoiceStatus(models.TextChoices):
    GENERATING = "Generating", "Generating"
    DRAFT = "Draft", "Draft"
    POSTED = "Posted", "Posted"
    CANCELED = "Canceled", "Canceled"


class Invoice(models.Model):
    """A bill to one account in one currency.

    The columns that no other row implies have foreign keys in the database. Contact, term, template and
    sequence are copied from the account, which has those keys; a key here would cost as much as writing
    the invoice several times over.
    """

    reference = models.CharField(max_length=60, help_text="DRAFT-… until the invoice has a number.")
    number = models.CharField(max_length=40, null=True, blank=True)
    number_sequence = models.ForeignKey(
        NumberSequence,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    sequence_value = models.PositiveBigIntegerField(null=True, blank=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False, related_name="invoices")
    bill_run = models.ForeignKey(BillRun, on_delete=models.PROTECT, db_index=False, related_name="invoices")
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=10, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    invoice_date = models.DateField()
    due_date = models.DateField()
    bill_to = models.ForeignKey(
        Contact, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    payment_term = models.ForeignKey(
        PaymentTerm, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    template = models.ForeignKey(
        InvoiceTemplate,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    subscription = models.ForeignKey(
        Subscription,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
        help_text="Set when this subscription is invoiced separately.",
    )
    group_value = models.CharField(max_length=255, blank=True)
    net = NumericField()
    tax = NumericField(default=0)
    total = NumericField()
    balance = NumericField()
    created_at = models.DateTimeField(db_default=Now())
    posted_at = models.DateTimeField(null=True, blank=True)
    posted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    canceled_at = models.DateTimeField(null=True, blank=True)
    snapshot = models.JSONField(null=True, blank=True, help_text="Buyer and terms as they were at posting.")
    template_version = models.ForeignKey(
        InvoiceTemplateVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("post_invoice", "Can post invoices"),
            ("cancel_invoice", "Can cancel draft invoices"),
            ("email_invoice", "Can e-mail invoices"),
        ]
        indexes = [
            models.Index(fields=["account", "id"], name="invoice_account"),
            models.Index(fields=["bill_run", "id"], name="invoice_bill_run"),
            models.Index(fields=["id"], name="invoice_open", condition=Q(status__in=["Draft", "Generating"])),
            models.Index(
                fields=["invoice_date"],
                include=["currency", "total", "account"],
                name="invoice_posted_by_date",
                condition=Q(status="Posted"),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["number"],
                condition=Q(number__isnull=False),
                opclasses=["varchar_pattern_ops"],
                name="i10_number_once",
            ),
            models.UniqueConstraint(
                fields=["number_sequence", "sequence_value"],
                condition=Q(sequence_value__isnull=False),
                name="i10_sequence_value_once",
            ),
            models.CheckConstraint(
                name="i10_posted_has_number",
                condition=Q(
                    status="Posted",
                    number__isnull=False,
                    sequence_value__isnull=False,
                    number_sequence__isnull=False,
                    posted_at__isnull=False,
                    snapshot__isnull=False,
                    template_version__isnull=False,
                )
                | (~Q(status="Posted") & Q(number__isnull=True, sequence_value__isnull=True, posted_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="i4_invoice_amounts",
                condition=within_limits("net", "tax", "total", "balance") & Q(total=F("net") + F("tax")),
            ),
            models.CheckConstraint(name="i11_invoice_status_known", condition=Q(status__in=InvoiceStatus.values)),
            models.CheckConstraint(name="i4_invoice_currency_code", condition=Q(currency__regex=r"^[A-Z]{3}$")),
        ]
        triggers = [
            *guards.invoice_state_triggers(),
            guards.posting_trigger(),
            guards.totals_trigger(),
            coverage_guards.cancellation_trigger(),
            discount_guards.cancellation_trigger(),
            usage_guards.cancellation_trigger(),
            guards.invoice_frozen_trigger(),
            guards.invoice_kept_trigger(),
            untruncatable("i3_invoice_no_truncate"),
        ]

    def __str__(self) -> str:
        return self.number or self.reference

    def get_absolute_url(self) -> str:
        return reverse("admin:invoicing_invoice_object", args=[self.pk])


class InvoiceItem(models.Model):
    """One line of an invoice: a fact. Which days are billed is said by Coverage, a state.

    `charge` has no foreign key in the database because the item's Coverage row has it.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="items")
    charge = models.ForeignKey(
        RatePlanCharge, on_delete=models.PROTECT, db_constraint=False, related_name="invoice_items"
    )
    kind = models.CharField(max_length=10, choices=choices_of(LineKind))
    description = models.CharField(max_length=200)
    period = DateRangeField(help_text="Service period, end exclusive.")
    quantity = NumericField(null=True, blank=True)
    unit_price = NumericField(null=True, blank=True)
    amount = NumericField()
    credits = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="credited_by",
        help_text="Credits: the item whose days are given back.",
    )
    reduces = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="reduced_by",
        help_text="Discounts: the item that is reduced.",
    )
    rated_usage = models.ForeignKey(
        RatedUsage,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="invoice_items",
        help_text="Usage: what was rated, and with it the usage records that are billed.",
    )
    derivation = models.JSONField(help_text="How the amount came about, in compact values.")

    class Meta:
        ordering = ["invoice", "id"]
        indexes = [
            models.Index(fields=["credits"], name="item_credits", condition=Q(credits__isnull=False)),
            models.Index(fields=["reduces"], name="item_reduces", condition=Q(reduces__isnull=False)),
            # Of years of a discount's lines the few that a change of it concerns: by the segment they begin with, then
            # by the end of their days.
            models.Index(
                F("charge"),
                Cast(KeyTextTransform("s", "derivation"), models.IntegerField()),
                Func(F("period"), function="upper"),
                name="item_discounts",
                condition=Q(kind="Discount"),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="i1_credit_names_its_item",
                condition=Q(kind="Credit", credits__isnull=False) | (~Q(kind="Credit") & Q(credits__isnull=True)),
            ),
            models.CheckConstraint(
                name="i4_discount_names_its_line",
                condition=Q(kind="Discount", reduces__isnull=False) | (~Q(kind="Discount") & Q(reduces__isnull=True)),
            ),
            models.CheckConstraint(
                name="i5_usage_names_what_was_rated",
                condition=Q(kind="Usage", rated_usage__isnull=False) | (~Q(kind="Usage") & Q(rated_usage__isnull=True)),
            ),
            models.UniqueConstraint(
                fields=["rated_usage"], condition=Q(rated_usage__isnull=False), name="i5_rated_usage_billed_once"
            ),
            models.CheckConstraint(name="i4_item_amounts", condition=within_limits("quantity", "unit_price", "amount")),
            models.CheckConstraint(name="i1_item_period_finite", condition=guards.finite_period()),
            models.CheckConstraint(name="i4_item_kind_known", condition=Q(kind__in=[kind.value for kind in LineKind])),
        ]
        triggers = [
            *guards.item_frozen_triggers(),
            coverage_guards.credit_trigger(),
            discount_guards.discount_trigger(),
            usage_guards.item_trigger(),
            untruncatable("i3_item_no_truncate"),
        ]

    def __str__(self) -> str:
        return self.description


class CoverageKind(models.TextChoices):
    PERIOD = "Period", "Recurring period"
    ONCE = "Once", "One-time"


class Coverage(models.Model):
    """The days of a charge that are billed; two rows of one charge never overlap and leave no hole (I1, I2).

    A row lives as long as its item's invoice is a draft or posted; canceling the draft removes it, and the
    days are due again. Rows without an item mark days that were billed elsewhere.
    """

    charge = models.ForeignKey(RatePlanCharge, on_delete=models.PROTECT, db_index=False, related_name="coverage")
    item = models.ForeignKey(
        InvoiceItem, null=True, blank=True, on_delete=models.PROTECT, db_index=False, related_name="coverage"
    )
    kind = models.CharField(max_length=6, choices=CoverageKind, default=CoverageKind.PERIOD)
    period = DateRangeField()

    class Meta:
        ordering = ["charge", "id"]
        verbose_name_plural = "coverage"
        constraints = [
            # Box form: half the price of btree_gist with daterange, and no extension. Exact while ids stay below 2^53.
            ExclusionConstraint(
                name="i1_no_overlap",
                expressions=[
                    (
                        Func(
                            F("charge"),
                            F("period"),
                            template="box(point(charge_id, lower(period) - '2000-01-01'::date), point(charge_id, upper(period) - '2000-01-01'::date - 1))",
                        ),
                        RangeOperators.OVERLAPS,
                    )
                ],
            ),
            models.UniqueConstraint("charge", Func(F("period"), function="upper"), name="i1_covered_through"),
            models.UniqueConstraint(fields=["charge"], condition=Q(kind="Once"), name="i1_one_time_once"),
            models.UniqueConstraint(fields=["item"], condition=Q(item__isnull=False), name="i1_item_covers_once"),
            models.CheckConstraint(name="i1_coverage_finite", condition=guards.finite_period()),
            models.CheckConstraint(name="i1_coverage_kind_known", condition=Q(kind__in=CoverageKind.values)),
        ]
        triggers = [*coverage_guards.coverage_triggers(), untruncatable("i1_coverage_no_truncate")]

    def __str__(self) -> str:
        return f"{self.charge_id} {self.period}"
