"""How a charge is billed: the columns that a catalogue charge and a subscribed charge have in common."""

import re
from enum import StrEnum

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PriceFormat,
)

SINGLE_LINE = RegexValidator(r"^[^\x00-\x1f\x7f]*\Z", "Line breaks and control characters are not allowed here.")


class TriggerEvent(models.TextChoices):
    CONTRACT_EFFECTIVE = "ContractEffective", "Contract effective"
    SERVICE_ACTIVATION = "ServiceActivation", "Service activation"
    CUSTOMER_ACCEPTANCE = "CustomerAcceptance", "Customer acceptance"
    SPECIFIC_DATE = "SpecificDate", "Specific date"


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
    list_price_base = models.CharField(
        max_length=20, choices=choices_of(ListPriceBase), default=ListPriceBase.PER_BILLING_PERIOD
    )
    billing_day_type = models.CharField(
        max_length=22, choices=choices_of(BillingDayType), default=BillingDayType.ACCOUNT
    )
    alignment = models.CharField(max_length=24, choices=choices_of(Alignment), default=Alignment.CHARGE)
    trigger_event = models.CharField(max_length=18, choices=TriggerEvent, default=TriggerEvent.CONTRACT_EFFECTIVE)
    unit = models.CharField(
        max_length=30, blank=True, validators=[SINGLE_LINE], help_text="What the quantity counts, for example seat."
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
    }
    condition = Q(billing_period__in=["", *BillingPeriod]) & Q(trigger_event__in=TriggerEvent.values)
    for column, enumeration in known.items():
        condition &= Q(**{f"{column}__in": [member.value for member in enumeration]})
    return [models.CheckConstraint(name=f"{prefix}_terms_known", condition=condition)]


def price_format_choices() -> list[tuple[str, str]]:
    """Return the choices of a tier's price format."""
    return choices_of(PriceFormat)
