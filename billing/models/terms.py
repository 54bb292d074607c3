"""How a charge is billed: the columns that a catalogue charge and a subscribed charge have in common."""

import re
from enum import StrEnum

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from accounts.guards import refusal
from billing.core.smoothing import OverageCalculation, SmoothingModel, UnusedUnitsCredit
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    ListPriceBase,
    PriceFormat,
    RatingGroup,
    UsageRating,
)

# Billing periods whose length the charge gives, and models that reduce other charges.
LENGTHY = [p.value for p in (BillingPeriod.SPECIFIC_MONTHS, BillingPeriod.SPECIFIC_WEEKS, BillingPeriod.SPECIFIC_DAYS)]
DISCOUNTS = [model.value for model in (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE)]
_DAY_OF_MONTH, _DAY_OF_WEEK = BillingDayType.SPECIFIC_DAY_OF_MONTH.value, BillingDayType.SPECIFIC_DAY_OF_WEEK.value
_SPECIFIC_BASE = ListPriceBase.PER_SPECIFIC_MONTHS.value

SINGLE_LINE = RegexValidator(r"^[^\x00-\x1f\x7f]*\Z", "Line breaks and control characters are not allowed here.")


class TriggerEvent(models.TextChoices):
    CONTRACT_EFFECTIVE = "ContractEffective", "Contract effective"
    SERVICE_ACTIVATION = "ServiceActivation", "Service activation"
    CUSTOMER_ACCEPTANCE = "CustomerAcceptance", "Customer acceptance"
    SPECIFIC_DATE = "SpecificDate", "Specific date"


class EndCondition(models.TextChoices):
    SUBSCRIPTION_END = "SubscriptionEnd", "Subscription end"
    FIXED_PERIOD = "FixedPeriod", "Fixed period"
    SPECIFIC_END_DATE = "SpecificEndDate", "Specific end date"


class UpToPeriodsType(models.TextChoices):
    BILLING_PERIODS = "BillingPeriods", "Billing periods"
    DAYS = "Days", "Days"
    WEEKS = "Weeks", "Weeks"
    MONTHS = "Months", "Months"
    YEARS = "Years", "Years"


def choices_of(enumeration: type[StrEnum]) -> list[tuple[str, str]]:
    """Return Django choices for an enumeration of the core: “ChargeTriggerDay” reads “Charge trigger day”."""
    return [(member.value, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", member.value).capitalize()) for member in enumeration]


class BillingTermsModel(models.Model):
    """Type, model, timing, period, billing day and alignment of a charge (domain.md 2.1)."""

    charge_type = models.CharField(max_length=9, choices=choices_of(ChargeType))
    charge_model = models.CharField(max_length=24, choices=choices_of(ChargeModel), default=ChargeModel.FLAT_FEE)
    billing_timing = models.CharField(max_length=9, choices=choices_of(BillingTiming), default=BillingTiming.IN_ADVANCE)
    billing_period = models.CharField(
        max_length=20, choices=choices_of(BillingPeriod), blank=True, help_text="Recurring charges only."
    )
    period_length = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="How many months, weeks or days a “specific” billing period lasts; 0 otherwise.",
    )
    list_price_base = models.CharField(
        max_length=20, choices=choices_of(ListPriceBase), default=ListPriceBase.PER_BILLING_PERIOD
    )
    price_base_months = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many months a price “per specific months” is for; 0 otherwise."
    )
    billing_day_type = models.CharField(
        max_length=22, choices=choices_of(BillingDayType), default=BillingDayType.ACCOUNT
    )
    billing_day = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Day of the month (1 to 31) or of the week (1 Monday to 7 Sunday) of a “specific” billing day.",
    )
    alignment = models.CharField(max_length=24, choices=choices_of(Alignment), default=Alignment.CHARGE)
    trigger_event = models.CharField(max_length=18, choices=TriggerEvent, default=TriggerEvent.CONTRACT_EFFECTIVE)
    end_condition = models.CharField(
        max_length=15,
        choices=EndCondition,
        default=EndCondition.SUBSCRIPTION_END,
        db_default=EndCondition.SUBSCRIPTION_END.value,
    )
    up_to_periods = models.PositiveIntegerField(
        null=True, blank=True, help_text="Fixed period: how many of the periods below the charge runs."
    )
    up_to_periods_type = models.CharField(
        max_length=14,
        choices=UpToPeriodsType,
        default=UpToPeriodsType.BILLING_PERIODS,
        db_default=UpToPeriodsType.BILLING_PERIODS.value,
    )
    discount_level = models.CharField(
        max_length=12,
        choices=choices_of(DiscountLevel),
        blank=True,
        default="",
        db_default="",
        help_text="Discounts: which charges they reduce.",
    )
    discount_applies_to = ArrayField(
        models.CharField(max_length=9, choices=choices_of(ChargeType)),
        default=list,
        db_default=[],
        blank=True,
        help_text="Discounts: the types of charges they reduce.",
    )
    discount_stacked = models.BooleanField(
        default=False, db_default=False, help_text="Percentages of the full amount, not of what earlier discounts left."
    )
    unit = models.CharField(
        max_length=30, blank=True, validators=[SINGLE_LINE], help_text="What the quantity counts, for example seat."
    )
    rating_group = models.CharField(
        max_length=16,
        choices=choices_of(RatingGroup),
        default=RatingGroup.BILLING_PERIOD,
        db_default=RatingGroup.BILLING_PERIOD.value,
        help_text="Usage: what is counted together before it is priced.",
    )
    usage_rating = models.CharField(
        max_length=18,
        choices=choices_of(UsageRating),
        default=UsageRating.END_OF_PERIOD,
        db_default=UsageRating.END_OF_PERIOD.value,
        help_text="Usage: billed once its period is over, or by every run.",
    )
    smoothing_model = models.CharField(
        max_length=13, choices=choices_of(SmoothingModel), blank=True, default="", db_default=""
    )
    smoothing_periods = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Over how many billing periods overage is smoothed; 0 without smoothing."
    )
    overage_calculation = models.CharField(
        max_length=20,
        choices=choices_of(OverageCalculation),
        default=OverageCalculation.END_OF_SMOOTHING_PERIOD,
        db_default=OverageCalculation.END_OF_SMOOTHING_PERIOD.value,
    )
    unused_units_credit = models.CharField(
        max_length=20,
        choices=choices_of(UnusedUnitsCredit),
        default=UnusedUnitsCredit.NO_CREDIT,
        db_default=UnusedUnitsCredit.NO_CREDIT.value,
    )

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        if self.charge_type == ChargeType.RECURRING and not self.billing_period:
            raise ValidationError({"billing_period": "A recurring charge needs a billing period."})
        if self.charge_type == ChargeType.ONE_TIME and self.billing_period:
            raise ValidationError({"billing_period": "A one-time charge has no billing period; leave it empty."})


def terms_constraints(prefix: str) -> list[models.CheckConstraint]:
    """Return the checks that keep unknown words out of the terms columns of one table."""
    known = {
        "charge_type": ChargeType,
        "charge_model": ChargeModel,
        "billing_timing": BillingTiming,
        "list_price_base": ListPriceBase,
        "billing_day_type": BillingDayType,
        "alignment": Alignment,
        "rating_group": RatingGroup,
        "usage_rating": UsageRating,
        "overage_calculation": OverageCalculation,
        "unused_units_credit": UnusedUnitsCredit,
    }
    condition = (
        Q(smoothing_model__in=["", *(model.value for model in SmoothingModel)])
        & Q(billing_period__in=["", *(period.value for period in BillingPeriod)])
        & Q(trigger_event__in=TriggerEvent.values)
        & Q(end_condition__in=EndCondition.values, up_to_periods_type__in=UpToPeriodsType.values)
        & Q(discount_level__in=["", *(level.value for level in DiscountLevel)])
    )
    for column, enumeration in known.items():
        condition &= Q(**{f"{column}__in": [member.value for member in enumeration]})
    specific = (
        (Q(billing_period__in=LENGTHY, period_length__gte=1) | (~Q(billing_period__in=LENGTHY) & Q(period_length=0)))
        & (
            Q(list_price_base=_SPECIFIC_BASE, price_base_months__gte=1)
            | (~Q(list_price_base=_SPECIFIC_BASE) & Q(price_base_months=0))
        )
        & (
            Q(billing_day_type=_DAY_OF_MONTH, billing_day__range=(1, 31))
            | Q(billing_day_type=_DAY_OF_WEEK, billing_day__range=(1, 7))
            | (~Q(billing_day_type__in=[_DAY_OF_MONTH, _DAY_OF_WEEK]) & Q(billing_day=0))
        )
        & (
            Q(end_condition=EndCondition.FIXED_PERIOD, up_to_periods__isnull=False, up_to_periods__range=(1, 65534))
            | (~Q(end_condition=EndCondition.FIXED_PERIOD) & Q(up_to_periods__isnull=True))
        )
    )
    discounts = Q(charge_model__in=DISCOUNTS, discount_level__in=[level.value for level in DiscountLevel]) | (
        ~Q(charge_model__in=DISCOUNTS) & Q(discount_level="")
    )
    smoothed = Q(smoothing_model="", smoothing_periods=0) | (~Q(smoothing_model="") & Q(smoothing_periods__gte=1))
    return [
        models.CheckConstraint(name=f"{prefix}_terms_known", condition=condition),
        models.CheckConstraint(name=f"{prefix}_terms_complete", condition=specific & discounts & smoothed),
    ]


def usage_names_a_unit(name: str) -> pgtrigger.Trigger:
    """Return the trigger that lets usage of one table of charges name an existing unit only, and keeps that unit there.

    A charge holds the name, not the id, of its unit; the lock on the unit does what a foreign key would do.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("charge_type", "unit"),
        condition=pgtrigger.Condition(f"NEW.charge_type = '{ChargeType.USAGE.value}'"),
        func=f"""
        PERFORM FROM billing_unitofmeasure WHERE name = NEW.unit FOR KEY SHARE;
        IF NOT FOUND THEN
            {refusal("Usage charge % counts in “%”, which is not a unit of measure", "NEW.name", "NEW.unit")}
        END IF;
        RETURN NEW;
        """,
    )


def price_format_choices() -> list[tuple[str, str]]:
    """Return the choices of a tier's price format."""
    return choices_of(PriceFormat)
