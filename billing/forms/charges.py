"""The form of a charge: what it is, when it is billed and how long, offering what the chosen type allows."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import construct_instance

from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, UnusedUnitsCredit
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PriceFormat,
    RatingGroup,
    Tier,
)
from billing.models import ProductRatePlanCharge, UnitOfMeasure
from billing.models.terms import DISCOUNTS, LENGTHY, EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.catalog import TIERED, refuse_flaws
from billing.services.charge_checks import tier_flaws
from billing.services.charge_terms import GROUPED, ON_DEMAND, WITHOUT_QUANTITY

LABELS = {
    "charge_type": [
        ("Recurring", "Recurring, period after period"),
        ("OneTime", "One-time"),
        ("Usage", "Usage, as far as it is used"),
    ],
    "charge_model": [
        ("FlatFee", "Flat fee"),
        ("PerUnit", "Per unit: price × quantity"),
        ("Tiered", "Tiered: each unit at the price of its tier"),
        ("Volume", "Volume: all units at the price of the tier reached"),
        (
            "For usage only",
            [("Overage", "Overage: units above those included"), ("TieredWithOverage", "Tiered, with overage on top")],
        ),
        (
            "Discounts on other charges",
            [("DiscountFixedAmount", "Discount: fixed amount"), ("DiscountPercentage", "Discount: percentage")],
        ),
    ],
    "billing_timing": [("InAdvance", "In advance, when a period begins"), ("InArrears", "In arrears, when it is over")],
    "billing_period": [
        ("", "–"),
        ("Month", "Month"),
        ("Quarter", "Quarter"),
        ("SemiAnnual", "Half-year"),
        ("Annual", "Year"),
        ("EighteenMonths", "18 months"),
        ("TwoYears", "2 years"),
        ("ThreeYears", "3 years"),
        ("FiveYears", "5 years"),
        ("Week", "Week"),
        ("SpecificMonths", "A number of months"),
        ("SpecificWeeks", "A number of weeks"),
        ("SpecificDays", "A number of days"),
        ("SubscriptionTerm", "The subscription's term"),
    ],
    "list_price_base": [
        ("PerBillingPeriod", "A billing period"),
        ("PerMonth", "A month"),
        ("PerYear", "A year"),
        ("PerWeek", "A week"),
        ("PerSpecificMonths", "A number of months"),
    ],
    "billing_day_type": [
        ("DefaultFromCustomer", "The account's bill cycle day"),
        ("ChargeTriggerDay", "The day on which the charge begins"),
        ("SubscriptionStartDay", "The day on which the subscription begins"),
        ("SpecificDayOfMonth", "A day of the month"),
        ("SpecificDayOfWeek", "A day of the week"),
        ("TermStartDay", "The day on which a term begins"),
        ("TermEndDay", "The day on which a term ends"),
    ],
    "alignment": [
        ("AlignToCharge", "From the day the charge begins"),
        ("AlignToSubscriptionStart", "From the subscription's start"),
        ("AlignToTermStart", "From each term's start"),
        ("AlignToTermEnd", "From each term's end"),
    ],
    "trigger_event": [
        (TriggerEvent.CONTRACT_EFFECTIVE.value, "When the contract takes effect"),
        (TriggerEvent.SERVICE_ACTIVATION.value, "When the service is activated"),
        (TriggerEvent.CUSTOMER_ACCEPTANCE.value, "When the customer accepts it"),
        (TriggerEvent.SPECIFIC_DATE.value, "On a date given in the order"),
    ],
    "end_condition": [
        (EndCondition.SUBSCRIPTION_END.value, "With the subscription"),
        (EndCondition.FIXED_PERIOD.value, "After a fixed period"),
        (EndCondition.SPECIFIC_END_DATE.value, "On a date given in the order"),
    ],
    "rating_group": [
        ("ByBillingPeriod", "All usage of a billing period"),
        ("ByUsageStartDate", "The usage of each day"),
        ("ByUsageRecord", "Each usage record by itself"),
        ("ByUsageUpload", "The usage of each upload"),
    ],
    "usage_rating": [
        ("EndOfBillingPeriod", "When its billing period is over"),
        ("OnDemand", "On demand: each run bills what was used so far"),
    ],
    "smoothing_model": [
        ("", "Not smoothed: each billing period by itself"),
        ("RollingWindow", "Rolling window: periods are counted together"),
        ("Rollover", "Rollover: unused units are kept for later periods"),
    ],
    "overage_calculation": [
        ("EndOfSmoothingPeriod", "When the window is full"),
        ("PerBillingPeriod", "In each billing period, as soon as it occurs"),
    ],
    "unused_units_credit": [
        ("NoCredit", "Are not credited"),
        ("CreditBySpecificRate", "Are credited at a rate of their own"),
    ],
    "discount_level": [
        ("", "–"),
        ("RatePlan", "Those of its rate plan"),
        ("Subscription", "Those of its subscription"),
        ("Account", "Those of the whole account"),
    ],
}
TYPES_REDUCED = [("OneTime", "One-time"), ("Recurring", "Recurring"), ("Usage", "Usage")]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
RECURRING_ONLY = ("billing_period", "billing_timing", "list_price_base", "billing_day_type", "alignment")
NUMBERS = ("period_length", "price_base_months", "billing_day", "smoothing_periods")
SMOOTHING = ("smoothing_model", "smoothing_periods", "overage_calculation", "unused_units_credit")
USAGE_ONLY = ("rating_group", "usage_rating", *SMOOTHING)
DISCOUNT_ONLY = ("discount_level", "discount_applies_to", "discount_stacked")
WITHOUT_BILLING_DAY = (BillingPeriod.SPECIFIC_DAYS, BillingPeriod.SUBSCRIPTION_TERM)


class ChargeForm(forms.ModelForm):
    """What a charge is and how it is billed, refusing combinations that cannot be billed.

    Fields that play no part in what was chosen are shown by no page; whatever was sent for them is dropped.
    """

    weekday = forms.TypedChoiceField(
        choices=[("", "–"), *enumerate(WEEKDAYS, start=1)], coerce=int, required=False, label="Weekday"
    )
    discount_applies_to = forms.MultipleChoiceField(
        choices=TYPES_REDUCED, widget=forms.CheckboxSelectMultiple, required=False, label="Types of charges"
    )
    measure = forms.ChoiceField(
        required=False,
        label="Unit of measure",
        help_text="Usage is uploaded in it, and rounded as it says.",
        error_messages={"invalid_choice": "There is no such unit of measure. Choose one of the list."},
    )

    class Meta:
        model = ProductRatePlanCharge
        fields = [
            "rate_plan",
            "name",
            "charge_type",
            "charge_model",
            "unit",
            "default_quantity",
            "trigger_event",
            *RECURRING_ONLY,
            *NUMBERS,
            "end_condition",
            "up_to_periods",
            "up_to_periods_type",
            *DISCOUNT_ONLY,
            *USAGE_ONLY,
        ]
        labels = {
            "charge_type": "Charged",
            "charge_model": "Priced",
            "default_quantity": "Usual quantity",
            "trigger_event": "Begins",
            "billing_timing": "Billed",
            "period_length": "How many",
            "list_price_base": "The price is for",
            "price_base_months": "Months the price is for",
            "billing_day_type": "Billing day",
            "billing_day": "Day of the month",
            "alignment": "Periods are counted",
            "end_condition": "Ends",
            "up_to_periods": "Fixed period",
            "up_to_periods_type": "Counted in",
            "rating_group": "Counted together",
            "usage_rating": "Rated",
            "smoothing_model": "Overage is",
            "smoothing_periods": "Number of periods",
            "overage_calculation": "Overage is billed",
            "unused_units_credit": "Unused units",
            "discount_level": "Charges it reduces",
            "discount_stacked": "Of the full amount, not of what earlier discounts left",
        }
        help_texts = {
            "billing_period": "",
            "default_quantity": "Used unless the order says otherwise.",
            "period_length": "Months, weeks or days in a billing period.",
            "price_base_months": "",
            "billing_day": "1 to 31; 31 is the month's end.",
            "up_to_periods": "It stops earlier if the subscription does.",
            "discount_level": "",
            "discount_stacked": "",
            "rating_group": "Each group is priced by itself: tiers begin anew.",
            "usage_rating": "",
            "smoothing_model": "Heavy and light periods can make up for each other.",
            "smoothing_periods": "1 to 60. Of a rollover: in how many further periods unused units can be used.",
            "overage_calculation": "",
            "unused_units_credit": "Those left when the window is full. The rate is given with the price.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, choices in LABELS.items():
            if name in self.fields:
                self.fields[name].choices = choices  # type: ignore[attr-defined]
        for name in (*NUMBERS, "up_to_periods", "up_to_periods_type"):
            if name in self.fields:
                self.fields[name].required = False
                self.initial[name] = self.initial.get(name) or None
        self.initial["up_to_periods_type"] = self.initial.get("up_to_periods_type") or UpToPeriodsType.BILLING_PERIODS
        self.fields["measure"].choices = self._unit_choices  # type: ignore[attr-defined]
        if self.instance.charge_type == ChargeType.USAGE:
            self.initial["measure"], self.initial["unit"] = self.instance.unit, ""
        for name in USAGE_ONLY:
            if name in self.fields:
                self.fields[name].required = False
        if self._shown("charge_model") == ChargeModel.OVERAGE and "default_quantity" in self.fields:
            self.fields["default_quantity"].label = "Included units"
        if self.instance.billing_day_type == BillingDayType.SPECIFIC_DAY_OF_WEEK:
            self.initial["weekday"], self.initial["billing_day"] = self.instance.billing_day, None
        if self.data.get("charge_type") != ChargeType.ONE_TIME and "billing_period" in self.fields:
            self.fields["billing_period"].required = True
            kind = "usage" if self.data.get("charge_type") == ChargeType.USAGE else "recurring"
            self.fields["billing_period"].error_messages["required"] = f"A {kind} charge needs a billing period."

    @cached_property
    def units(self) -> list[str]:
        """Return the names of the units of measure, read when they are needed."""
        return list(UnitOfMeasure.objects.values_list("name", flat=True))

    def _unit_choices(self) -> list[tuple[str, str]]:
        return [("", "–"), *((name, name) for name in self.units)]

    def _shown(self, name: str) -> Any:
        """Return what a field shows: what was sent, or what it begins with."""
        return self.data.get(name) if self.is_bound else self.initial.get(name)

    def smoothing(self, credit_rate: Decimal | None = None) -> Smoothing | None:
        """Return how the charge is smoothed, None if it is not; only of a valid form."""
        model, *values = (self.cleaned_data[name] for name in SMOOTHING)
        if not model:
            return None
        periods, calculation, unused = values
        return Smoothing(
            SmoothingModel(model), periods, OverageCalculation(calculation), UnusedUnitsCredit(unused), credit_rate
        )

    def clean(self) -> dict[str, Any]:
        """Drop what plays no part in what was chosen; refuse a quantity on what has none."""
        cleaned = super().clean() or {}
        is_weekly = cleaned.get("billing_day_type") == BillingDayType.SPECIFIC_DAY_OF_WEEK
        if is_weekly:
            cleaned["billing_day"] = cleaned.get("weekday") or 0
        for name in NUMBERS:
            cleaned[name] = cleaned.get(name) or 0
        unsaid = ProductRatePlanCharge()
        for name in USAGE_ONLY[:2] + USAGE_ONLY[-2:]:
            if name not in self.errors:
                cleaned[name] = cleaned.get(name) or getattr(unsaid, name)
        for name in _playing_no_part(cleaned):
            cleaned[name] = getattr(unsaid, name, None)
            self.errors.pop(name, None)
        if cleaned.get("charge_type") == ChargeType.USAGE:
            cleaned["billing_timing"] = BillingTiming.IN_ARREARS
            cleaned["unit"] = cleaned.get("measure") or ""
        if cleaned.get("default_quantity") is not None and cleaned.get("charge_model") in WITHOUT_QUANTITY:
            what = "A flat fee" if cleaned["charge_model"] == ChargeModel.FLAT_FEE else "A discount"
            self.add_error("default_quantity", f"{what} has no quantity: leave this empty, or price it per unit.")
        return cleaned

    def _post_clean(self) -> None:
        # First, because the model's constraints would name themselves instead of the field that is wrong.
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)
        show_flaws(self)
        super()._post_clean()  # type: ignore[misc]
        _refuse_other_prices(self)

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        if "weekday" in self.errors:
            excluded |= {"billing_day"}
        return excluded | {"unit"} if "measure" in self.errors else excluded


def _playing_no_part(chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that have no effect on a charge like the chosen one."""
    kind, period, model = chosen.get("charge_type"), chosen.get("billing_period"), chosen.get("charge_model")
    day_type = chosen.get("billing_day_type")
    if kind == ChargeType.ONE_TIME:
        yield from (*RECURRING_ONLY, *NUMBERS, "end_condition", "up_to_periods", "up_to_periods_type")
    if kind == ChargeType.USAGE:
        yield from ("unit", "billing_timing", "list_price_base", "price_base_months")
        if model != ChargeModel.OVERAGE:
            yield "default_quantity"
    else:
        yield "measure"
    yield from _usage_playing_no_part(chosen)
    if period not in LENGTHY:
        yield "period_length"
    if period in WITHOUT_BILLING_DAY:
        yield from ("billing_day_type", "billing_day")
    elif day_type not in (BillingDayType.SPECIFIC_DAY_OF_MONTH, BillingDayType.SPECIFIC_DAY_OF_WEEK):
        yield "billing_day"
    if chosen.get("list_price_base") != ListPriceBase.PER_SPECIFIC_MONTHS:
        yield "price_base_months"
    if chosen.get("end_condition") != EndCondition.FIXED_PERIOD:
        yield from ("up_to_periods", "up_to_periods_type")
    if model not in DISCOUNTS:
        yield from DISCOUNT_ONLY
    elif model == ChargeModel.DISCOUNT_FIXED:
        yield "discount_stacked"


def _usage_playing_no_part(chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of usage that have no effect on a charge like the chosen one."""
    model = chosen.get("charge_model") if chosen.get("charge_type") == ChargeType.USAGE else None
    smoothing = chosen.get("smoothing_model")
    if model not in GROUPED:
        yield "rating_group"
    if model not in ON_DEMAND or chosen.get("rating_group") != RatingGroup.BILLING_PERIOD:
        yield "usage_rating"
    if model != ChargeModel.OVERAGE:
        yield from SMOOTHING
        return
    if not smoothing:
        yield from SMOOTHING[1:]
    elif smoothing == SmoothingModel.ROLLOVER:
        yield from ("overage_calculation", "unused_units_credit")
    elif chosen.get("overage_calculation") != OverageCalculation.PER_BILLING_PERIOD:
        yield "unused_units_credit"


def show_flaws(form: ChargeForm) -> None:
    """Show what cannot be billed at its field, unless that field (or what decides on it) is wrong by itself already."""
    if {"charge_type", "charge_model", "billing_period"} & form.errors.keys():
        return
    try:
        refuse_flaws(form.instance)
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            shown = _field_of(form, name)
            if shown not in form.errors:
                form.add_error(shown, "Which day of the week?" if shown == "weekday" else texts)


def _field_of(form: ChargeForm, name: str) -> str | None:
    """Return the field that shows a flaw of a column: a weekday and a unit of usage are chosen by their name."""
    if name == "unit" and form.instance.charge_type == ChargeType.USAGE:
        name = "measure"
    if name == "billing_day" and form.instance.billing_day_type == BillingDayType.SPECIFIC_DAY_OF_WEEK:
        name = "weekday"
    return name if name in form.fields else None


def _refuse_other_prices(form: ChargeForm) -> None:
    """Refuse a model that needs another kind of price than the charge already has."""
    charge = form.instance
    if charge.pk is None or "charge_model" in form.errors:
        return
    has_tiers = charge.prices.filter(price__isnull=True).exists()
    has_price = charge.prices.filter(price__isnull=False).exists()
    needs_tiers = charge.charge_model in TIERED
    if (needs_tiers and has_price) or (has_tiers and not needs_tiers):
        wanted = "tiers" if needs_tiers else "one price"
        form.add_error(
            "charge_model",
            f"This charge already has prices of the other kind; here it needs {wanted}. Add a new charge instead.",
        )
        return
    for price in charge.prices.prefetch_related("tiers").order_by("currency") if needs_tiers else ():
        tiers = [Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in price.tiers.all()]
        for flaw in tier_flaws(charge.charge_model, tiers):
            form.add_error("charge_model", f"In {price.currency} this charge {flaw}. Add a new charge instead.")
