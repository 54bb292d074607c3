"""The forms of a charge and of its price: one price for flat fees and prices per unit, tiers for the tiered models."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, formset_factory
from django.http import QueryDict

from accounts.forms import currency_choices
from accounts.wording import locale
from billing.core.types import ChargeModel, ChargeType, PriceFormat, Tier
from billing.fields import AMOUNT_LIMIT
from billing.models import ProductRatePlanCharge
from billing.models.terms import TriggerEvent
from billing.services.catalog import TIERED

LABELS = {
    "charge_type": [("Recurring", "Recurring, period after period"), ("OneTime", "One-time")],
    "charge_model": [
        ("FlatFee", "Flat fee"),
        ("PerUnit", "Per unit: price × quantity"),
        ("Tiered", "Tiered: each unit at the price of its tier"),
        ("Volume", "Volume: all units at the price of the tier reached"),
    ],
    "billing_timing": [("InAdvance", "In advance, when a period begins"), ("InArrears", "In arrears, when it is over")],
    "list_price_base": [
        ("PerBillingPeriod", "A billing period"),
        ("PerMonth", "A month"),
        ("PerYear", "A year"),
    ],
    "billing_day_type": [
        ("DefaultFromCustomer", "The account's bill cycle day"),
        ("ChargeTriggerDay", "The day on which the charge begins"),
    ],
    "alignment": [
        ("AlignToCharge", "From the day the charge begins"),
        ("AlignToSubscriptionStart", "From the subscription's start"),
    ],
    "trigger_event": [
        (TriggerEvent.CONTRACT_EFFECTIVE.value, "When the contract takes effect"),
        (TriggerEvent.SERVICE_ACTIVATION.value, "When the service is activated"),
        (TriggerEvent.CUSTOMER_ACCEPTANCE.value, "When the customer accepts it"),
        (TriggerEvent.SPECIFIC_DATE.value, "On a date given in the order"),
    ],
}
RECURRING_ONLY = ("billing_period", "billing_timing", "list_price_base", "billing_day_type", "alignment")
EMPTY_TIERS = 4


class DecimalText(forms.TextInput):
    """A text input for numbers: no spin buttons that change a price when the wheel turns over it."""

    def __init__(self, attrs: Mapping[str, Any] | None = None) -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off", **(attrs or {})})


def decimal_field(**options: Any) -> forms.DecimalField:
    """Return a field for prices and quantities: nine decimal places, at most a trillion."""
    options = {"widget": DecimalText, "min_value": -AMOUNT_LIMIT, **options}
    return forms.DecimalField(max_digits=22, decimal_places=9, max_value=AMOUNT_LIMIT, **options)


class ChargeForm(forms.ModelForm):
    """What a charge is and how it is billed, refusing combinations that cannot be billed."""

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
        ]
        labels = {
            "charge_type": "Charged",
            "charge_model": "Priced",
            "default_quantity": "Usual quantity",
            "trigger_event": "Begins",
            "billing_timing": "Billed",
            "list_price_base": "The price is for",
            "billing_day_type": "Billing day",
            "alignment": "Periods are counted",
        }
        help_texts = {"billing_period": "", "default_quantity": "Used unless the order says otherwise."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, choices in LABELS.items():
            if name in self.fields:
                self.fields[name].choices = choices  # type: ignore[attr-defined]

        if self.data.get("charge_type") != ChargeType.ONE_TIME and "billing_period" in self.fields:
            self.fields["billing_period"].required = True
            self.fields["billing_period"].error_messages["required"] = "A recurring charge needs a billing period."

    def clean(self) -> dict[str, Any]:
        """Drop what only recurring charges have from one-time ones; refuse a quantity on a flat fee."""
        cleaned = super().clean() or {}
        if cleaned.get("charge_type") == ChargeType.ONE_TIME:
            for name in RECURRING_ONLY:
                cleaned[name] = getattr(ProductRatePlanCharge(), name)
                self.errors.pop(name, None)
        if cleaned.get("charge_model") == ChargeModel.FLAT_FEE and cleaned.get("default_quantity") is not None:
            self.add_error("default_quantity", "A flat fee has no quantity: leave this empty, or price it per unit.")
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        _refuse_other_prices(self)


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


class TierForm(forms.Form):
    """One tier: its end and its price; a row left empty is no tier."""

    up_to = decimal_field(required=False, label="Up to", min_value=0)
    price = decimal_field(required=False)
    price_format = forms.ChoiceField(
        label="Price is",
        choices=[(PriceFormat.PER_UNIT.value, "each"), (PriceFormat.FLAT_FEE.value, "flat")],
        required=False,
    )

    def clean(self) -> dict[str, Any]:
        """Refuse an end without a price."""
        cleaned = super().clean() or {}
        if cleaned.get("up_to") is not None and cleaned.get("price") is None and "price" not in self.errors:
            self.add_error("price", "Give the price of this tier.")
        return cleaned


class NumberedTiers(BaseFormSet):
    """Rows of tiers whose inputs are named by their number."""

    def add_fields(self, form: forms.Form, index: int | None) -> None:
        super().add_fields(form, index)
        for field in form.fields.values():
            field.widget.attrs["aria-label"] = f"Tier {(index or 0) + 1}: {str(field.label or 'price').lower()}"


TierFormSet = formset_factory(TierForm, formset=NumberedTiers, extra=EMPTY_TIERS, max_num=60, absolute_max=60)


class PriceForm(forms.Form):
    """What a charge costs in one currency, as one price or as tiers."""

    currency = forms.ChoiceField()
    price = decimal_field(error_messages={"required": "Give the price; 0 is a price, too."})

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        model: str = "",
        tiers: Sequence[Tier] = (),
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self.fields["currency"].choices = currency_choices(locale())  # type: ignore[attr-defined]
        self.fields["price"].required = model not in TIERED
        rows = [{"up_to": _shown(t.up_to), "price": _shown(t.price), "price_format": t.price_format} for t in tiers]
        self.tiers: Any = TierFormSet(data, prefix="tiers", initial=rows)

    def is_valid(self) -> bool:
        """Tell whether currency, price and every tier can be read."""
        return all([super().is_valid(), self.tiers.is_valid()])

    def read(self, model: str) -> Decimal | tuple[Tier, ...] | None:
        """Return the price or the tiers, whichever the model needs; None when they are missing, with an error."""
        if model not in TIERED:
            price: Decimal = self.cleaned_data["price"]
            return price
        rows = [row.cleaned_data for row in self.tiers if row.cleaned_data.get("price") is not None]
        if not rows:
            self.refuse_tiers("Give at least one tier with a price.")
            return None
        return tuple(
            Tier(row["up_to"], row["price"], PriceFormat(row["price_format"] or PriceFormat.PER_UNIT)) for row in rows
        )

    def refuse_tiers(self, message: str) -> None:
        """Show what is wrong with the tiers as a whole above them."""
        self.tiers.non_form_errors().append(message)

    def add_refusal(self, error: ValidationError, *, model: str) -> None:
        """Show what the service objects to beside the currency, the price or the tiers."""
        problems = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, messages in problems.items():
            if name == "price" and model in TIERED:
                self.refuse_tiers(" ".join(messages))
            else:
                self.add_error(name if name in self.fields else None, messages)


def with_more_tiers(data: QueryDict) -> QueryDict:
    """Return what was sent with four more rows for tiers."""
    changed = data.copy()
    count = changed.get("tiers-TOTAL_FORMS", "")
    changed["tiers-TOTAL_FORMS"] = str(min(60, (int(count) if count.isdigit() else 0) + EMPTY_TIERS))
    return changed


def _shown(value: Decimal | None) -> str:
    """Return a number as it was typed in: no zeros at the end, no exponent."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
