"""Subscriptions: rate plans and charges that a customer bought, with the segments of their price history."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Func, Q
from django.urls import reverse

from accounts.models import Account
from billing.core.types import ChargeType, PriceFormat
from billing.fields import NumericField, within_limits
from billing.models.catalog import ProductRatePlan, ProductRatePlanCharge
from billing.models.terms import (
    SINGLE_LINE,
    BillingTermsModel,
    price_format_choices,
    terms_constraints,
    usage_names_a_unit,
)


class TermType(models.TextChoices):
    TERMED = "Termed", "Termed"
    EVERGREEN = "Evergreen", "Evergreen"


class SubscriptionStatus(models.TextChoices):
    DRAFT = "Draft", "Draft"
    PENDING_ACTIVATION = "PendingActivation", "Pending activation"
    PENDING_ACCEPTANCE = "PendingAcceptance", "Pending acceptance"
    ACTIVE = "Active", "Active"
    SUSPENDED = "Suspended", "Suspended"
    CANCELED = "Canceled", "Canceled"
    EXPIRED = "Expired", "Expired"


class Subscription(models.Model):
    """A customer's contract; `term_end` is the first day after the term, empty when evergreen."""

    number = models.CharField(max_length=50, unique=True)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="subscriptions", help_text="Who uses it."
    )
    invoice_owner = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="invoiced_subscriptions",
        help_text="Who is billed for it.",
    )
    name = models.CharField(max_length=100, blank=True, validators=[SINGLE_LINE])
    status = models.CharField(max_length=17, choices=SubscriptionStatus, default=SubscriptionStatus.ACTIVE)
    term_type = models.CharField(max_length=9, choices=TermType, default=TermType.EVERGREEN)
    contract_effective = models.DateField()
    service_activation = models.DateField(null=True, blank=True)
    customer_acceptance = models.DateField(null=True, blank=True)
    term_start = models.DateField()
    term_end = models.DateField(null=True, blank=True)
    auto_renew = models.BooleanField(default=False)
    renewal_months = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Months of each renewal; empty: as long as the first term."
    )
    canceled_from = models.DateField(null=True, blank=True, help_text="First day that is no longer served.")
    invoice_separately = models.BooleanField(default=False, help_text="Put this subscription on an invoice of its own.")
    custom_fields = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["invoice_owner", "id"], name="subscription_invoice_owner")]
        constraints = [
            models.CheckConstraint(name="subscription_status_known", condition=Q(status__in=SubscriptionStatus.values)),
            models.CheckConstraint(
                name="subscription_term",
                condition=Q(term_type=TermType.EVERGREEN, term_end__isnull=True)
                | Q(term_type=TermType.TERMED, term_end__isnull=False, term_end__gt=F("term_start")),
                violation_error_message="A termed subscription needs an end after its start; an evergreen one has no end.",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("admin:billing_subscription_object", args=[self.pk])

    def clean(self) -> None:
        super().clean()
        if self.account_id and self.invoice_owner_id and self.account.currency != self.invoice_owner.currency:
            raise ValidationError(
                {
                    "invoice_owner": f"The invoice owner is billed in {self.invoice_owner.currency}, this account in {self.account.currency}."
                }
            )


class SubscriptionTerm(models.Model):
    """A term that a subscription has had or has now, `[start, end)`; the last one is repeated on the subscription."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="terms")
    number = models.PositiveSmallIntegerField()
    start = models.DateField()
    end = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["subscription", "number"]
        constraints = [
            models.UniqueConstraint(fields=["subscription", "number"], name="subscription_term_number_once"),
            models.CheckConstraint(
                name="subscription_term_dates_in_order", condition=Q(end__isnull=True) | Q(end__gt=F("start"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription.number} term {self.number}"


class RatePlan(models.Model):
    """A rate plan of the catalogue as part of a subscription."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="rate_plans")
    product_rate_plan = models.ForeignKey(ProductRatePlan, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])

    class Meta:
        ordering = ["subscription", "id"]

    def __str__(self) -> str:
        return f"{self.subscription.number} · {self.name}"


class RatePlanCharge(BillingTermsModel):
    """A charge of a subscription; its price and quantity over time are its segments.

    `trigger_date` is the day its triggering event happened or will happen; empty while unknown, and then
    nothing is due.
    """

    number = models.CharField(max_length=50, unique=True)
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="charges")
    rate_plan = models.ForeignKey(RatePlan, on_delete=models.PROTECT, related_name="charges")
    product_charge = models.ForeignKey(
        ProductRatePlanCharge, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])
    trigger_date = models.DateField(null=True, blank=True)
    custom_fields = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["subscription", "number"]
        constraints = (*terms_constraints("charge"),)
        indexes = [
            models.Index(fields=["unit"], condition=Q(charge_type=ChargeType.USAGE.value), name="charge_unit_of_usage")
        ]
        triggers = (usage_names_a_unit("charge_unit_exists"),)

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


class ChargeSegment(models.Model):
    """A stretch `[effective_start, effective_end)` of a charge with one price and quantity.

    A segment that was replaced on its very first day has no day left: both dates are the same.
    """

    charge = models.ForeignKey(RatePlanCharge, on_delete=models.PROTECT, related_name="segments")
    number = models.PositiveSmallIntegerField(default=1)
    effective_start = models.DateField()
    effective_end = models.DateField(null=True, blank=True)
    quantity = NumericField(null=True, blank=True)
    price = NumericField(null=True, blank=True, help_text="Per list price base; empty for tiered charges.")
    credit_rate = NumericField(
        null=True, blank=True, help_text="Smoothed overage: what a unit left unused is credited with."
    )
    mrr = NumericField("MRR", default=0, help_text="Monthly recurring revenue while this segment runs.")

    class Meta:
        ordering = ["charge", "number"]
        constraints = [
            models.UniqueConstraint(fields=["charge", "number"], name="segment_number_once"),
            models.CheckConstraint(
                name="segment_dates_in_order",
                condition=Q(effective_end__isnull=True) | Q(effective_end__gte=F("effective_start")),
                violation_error_message="The end must not lie before the start.",
            ),
            models.CheckConstraint(
                name="segment_numbers", condition=within_limits("quantity", "price", "credit_rate", "mrr")
            ),
            ExclusionConstraint(
                name="i1_segments_no_overlap",
                expressions=[
                    (
                        Func(
                            F("charge"),
                            F("effective_start"),
                            F("effective_end"),
                            template="box(point(charge_id, effective_start - '2000-01-01'::date),"
                            " point(charge_id, coalesce(effective_end, '9999-12-31'::date) - '2000-01-01'::date - 1))",
                        ),
                        RangeOperators.OVERLAPS,
                    )
                ],
                condition=Q(effective_end__isnull=True) | Q(effective_end__gt=F("effective_start")),
                violation_error_message="This segment overlaps another segment of the charge.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.charge.number} segment {self.number}"


class ChargeSegmentTier(models.Model):
    """A tier of a segment's price: units above the previous tier up to and including `up_to`."""

    segment = models.ForeignKey(ChargeSegment, on_delete=models.CASCADE, related_name="tiers")
    number = models.PositiveSmallIntegerField()
    up_to = NumericField(null=True, blank=True)
    price = NumericField()
    price_format = models.CharField(max_length=8, choices=price_format_choices(), default=PriceFormat.PER_UNIT)

    class Meta:
        ordering = ["segment", "number"]
        constraints = [
            models.UniqueConstraint(fields=["segment", "number"], name="segment_tier_once"),
            models.CheckConstraint(name="segment_tier_numbers", condition=within_limits("up_to", "price")),
        ]

    def __str__(self) -> str:
        return f"up to {self.up_to}: {self.price}" if self.up_to is not None else f"above: {self.price}"
