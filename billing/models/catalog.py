"""The catalogue: products, their rate plans, the charges of a plan and their prices per currency."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from accounts.models import validate_currency
from billing.core.types import PriceFormat
from billing.fields import NumericField, within_limits
from billing.models.terms import (
    SINGLE_LINE,
    BillingTermsModel,
    price_format_choices,
    terms_constraints,
    usage_names_a_unit,
)


class Product(models.Model):
    """Something that is sold."""

    sku = models.CharField("SKU", max_length=40, unique=True, validators=[SINGLE_LINE])
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])
    description = models.TextField(blank=True)
    effective_start = models.DateField()
    effective_end = models.DateField(
        null=True, blank=True, help_text="First day on which it is no longer sold; empty: no end."
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="product_dates_in_order",
                condition=Q(effective_end__isnull=True) | Q(effective_end__gt=F("effective_start")),
                violation_error_message="The end must lie after the start.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:billing_product_object", args=[self.pk])


class ProductRatePlan(models.Model):
    """A way to buy a product: a named set of charges."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="rate_plans")
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["product", "name"]
        constraints = [models.UniqueConstraint(fields=["product", "name"], name="rate_plan_name_once")]

    def __str__(self) -> str:
        return f"{self.product.name} · {self.name}"


class ProductRatePlanCharge(BillingTermsModel):
    """A charge as the catalogue offers it; a subscription copies it when it is ordered."""

    rate_plan = models.ForeignKey(ProductRatePlan, on_delete=models.PROTECT, related_name="charges")
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])
    default_quantity = NumericField(
        null=True,
        blank=True,
        help_text="The quantity unless the order says otherwise; of overage the units that are included.",
    )

    class Meta:
        ordering = ["rate_plan", "id"]
        constraints = [
            *terms_constraints("product_charge"),
            models.CheckConstraint(name="product_charge_numbers", condition=within_limits("default_quantity")),
        ]
        triggers = (usage_names_a_unit("product_charge_unit_exists"),)

    def __str__(self) -> str:
        return f"{self.rate_plan} · {self.name}"


class ProductRatePlanChargePrice(models.Model):
    """What a catalogue charge costs in one currency, per list price base."""

    charge = models.ForeignKey(ProductRatePlanCharge, on_delete=models.CASCADE, related_name="prices")
    currency = models.CharField(max_length=3, validators=[validate_currency])
    price = NumericField(null=True, blank=True, help_text="Flat fee and per unit; tiered charges have tiers instead.")
    credit_rate = NumericField(
        null=True, blank=True, help_text="Smoothed overage: what a unit left unused is credited with."
    )

    class Meta:
        ordering = ["charge", "currency"]
        constraints = [
            models.UniqueConstraint(
                fields=["charge", "currency"],
                name="charge_price_once",
                violation_error_message="This charge already has a price in that currency.",
            ),
            models.CheckConstraint(name="charge_price_numbers", condition=within_limits("price", "credit_rate")),
        ]

    def __str__(self) -> str:
        return f"{self.charge} {self.price if self.price is not None else 'tiers'} {self.currency}"


class ProductRatePlanChargeTier(models.Model):
    """A tier of a catalogue price: units above the previous tier up to and including `up_to`."""

    price_row = models.ForeignKey(ProductRatePlanChargePrice, on_delete=models.CASCADE, related_name="tiers")
    number = models.PositiveSmallIntegerField()
    up_to = NumericField(null=True, blank=True, help_text="Empty: without limit (last tier).")
    price = NumericField()
    price_format = models.CharField(max_length=8, choices=price_format_choices(), default=PriceFormat.PER_UNIT)

    class Meta:
        ordering = ["price_row", "number"]
        constraints = [
            models.UniqueConstraint(fields=["price_row", "number"], name="catalog_tier_once"),
            models.CheckConstraint(name="catalog_tier_numbers", condition=within_limits("up_to", "price")),
        ]

    def __str__(self) -> str:
        return f"up to {self.up_to}: {self.price}" if self.up_to is not None else f"above: {self.price}"

    def clean(self) -> None:
        super().clean()
        if self.up_to is not None and self.up_to <= 0:
            raise ValidationError({"up_to": "A tier must end above zero."})
