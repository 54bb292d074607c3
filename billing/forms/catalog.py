"""The form of a price: one price for flat fees and prices per unit, tiers for the tiered models."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, formset_factory
from django.http import QueryDict

from accounts.forms import currency_choices
from accounts.wording import locale
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.fields import AMOUNT_LIMIT
from billing.services.catalog import TIERED

EMPTY_TIERS = 4
BELOW_ZERO = "A price cannot lie below zero."
MOST_TIERS = 60


class DecimalText(forms.TextInput):
    """A text input for numbers: no spin buttons that change a price when the wheel turns over it."""

    def __init__(self, attrs: Mapping[str, Any] | None = None) -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off", **(attrs or {})})


def decimal_field(**options: Any) -> forms.DecimalField:
    """Return a field for prices and quantities: nine decimal places, at most a trillion."""
    options = {"widget": DecimalText, "min_value": -AMOUNT_LIMIT, **options}
    return forms.DecimalField(max_digits=22, decimal_places=9, max_value=AMOUNT_LIMIT, **options)


class TierForm(forms.Form):
    """One tier: its end and its price; a row left empty is no tier."""

    up_to = decimal_field(required=False, label="Up to", min_value=0)
    price = decimal_field(required=False, min_value=0, error_messages={"min_value": BELOW_ZERO})
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


TierFormSet = formset_factory(TierForm, formset=NumberedTiers, extra=0, max_num=MOST_TIERS, absolute_max=MOST_TIERS)


class PriceForm(forms.Form):
    """What a charge costs in one currency, as one price or as tiers."""

    currency = forms.ChoiceField()
    price = decimal_field(
        min_value=0, error_messages={"required": "Give the price; 0 is a price, too.", "min_value": BELOW_ZERO}
    )
    credit_rate = decimal_field(
        min_value=0,
        label="Credit rate",
        help_text="What each unused unit is credited with.",
        error_messages={
            "required": "Give the credit rate; 0 credits nothing.",
            "min_value": "A credit rate cannot lie below zero.",
        },
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        model: str = "",
        credits_unused: bool = False,
        tiers: Sequence[Tier] = (),
        initial: Mapping[str, Any] | None = None,
        tier_data: QueryDict | None = None,
        focus: int | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self.fields["currency"].choices = currency_choices(locale())  # type: ignore[attr-defined]
        self.fields["price"].required = model not in TIERED
        self.fields["credit_rate"].required = credits_unused
        if model == ChargeModel.DISCOUNT_PERCENTAGE:
            self.fields["price"].label = "Percentage"
        elif model == ChargeModel.OVERAGE:
            self.fields["price"].label = "Price of a unit of overage"
        rows = [
            {"up_to": shown_number(t.up_to), "price": shown_number(t.price), "price_format": t.price_format}
            for t in tiers
        ]
        self.tiers: Any = TierFormSet(tier_data or data, prefix="tiers", initial=rows)
        self.tiers.extra = 0 if tiers else EMPTY_TIERS
        if focus is not None and focus < len(self.tiers.forms):
            self.tiers.forms[focus].fields["up_to"].widget.attrs["autofocus"] = True

    def is_valid(self) -> bool:
        """Tell whether currency, price and every tier can be read."""
        return all([super().is_valid(), self.tiers.is_valid()])

    def clean(self) -> dict[str, Any]:
        """Drop the credit rate of a charge that has none."""
        cleaned = super().clean() or {}
        if not self.fields["credit_rate"].required:
            cleaned["credit_rate"] = None
            self.errors.pop("credit_rate", None)
        return cleaned

    def read(self, model: str) -> Decimal | tuple[Tier, ...] | None:
        """Return the price or the tiers, whichever the model needs; None when they will not do, with errors."""
        if model not in TIERED:
            price: Decimal = self.cleaned_data["price"]
            return price
        return read_tiers(self.tiers)

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


def read_tiers(tiers: Any) -> tuple[Tier, ...] | None:
    """Return what valid rows of tiers say, those without a price left out; None when they will not do, with errors."""
    rows = [row for row in tiers if row.cleaned_data.get("price") is not None]
    if not rows:
        tiers.non_form_errors().append("Give at least one tier with a price.")
        return None
    if _refuse_gaps(rows):
        return None
    sent = [row.cleaned_data for row in rows]
    return tuple(
        Tier(row["up_to"], row["price"], PriceFormat(row["price_format"] or PriceFormat.PER_UNIT)) for row in sent
    )


def _refuse_gaps(rows: Sequence[TierForm]) -> bool:
    """Name each row that does not end above the one before it, or lacks an end although others follow."""
    is_wrong = False
    begin = Decimal(0)
    for row in rows:
        number, end = int(str(row.prefix).rsplit("-", 1)[-1]) + 1, row.cleaned_data["up_to"]
        if end is None:
            flaw = "" if row is rows[-1] else f"Tier {number} needs an end: only the last may go without."
        else:
            flaw = (
                ""
                if end > begin
                else f"Tier {number} must end above the one before, which ends at {shown_number(begin)}."
            )
            flaw = flaw if begin else flaw and f"Tier {number} must end above 0."
            begin = max(begin, end)
        if flaw:
            row.add_error("up_to", flaw)
            is_wrong = True
    return is_wrong


def with_edited_tiers(data: QueryDict) -> tuple[QueryDict, int] | None:
    """Return what was sent with a row of tiers added or removed, and the row to go on with; None if neither was asked.

    `add_tier` says before which row the new one comes (0 is the first), `remove_tier` which one goes.
    """
    asked = next((name for name in ("add_tier", "remove_tier") if name in data), None)
    if asked is None:
        return None
    names = ("up_to", "price", "price_format")
    count = min(MOST_TIERS, _number(data.get("tiers-TOTAL_FORMS")))
    rows = [[data.get(f"tiers-{row}-{name}", "") for name in names] for row in range(count)]
    place = min(count, _number(data.get(asked)))
    if asked == "add_tier" and count < MOST_TIERS:
        rows.insert(place, ["", "", PriceFormat.PER_UNIT.value])
    elif asked == "remove_tier":
        rows = rows[:place] + rows[place + 1 :] or [["", "", PriceFormat.PER_UNIT.value]]
    changed = data.copy()
    changed["tiers-TOTAL_FORMS"], changed["tiers-INITIAL_FORMS"] = str(len(rows)), "0"
    for row, values in enumerate(rows):
        for name, value in zip(names, values, strict=True):
            changed[f"tiers-{row}-{name}"] = value
    return changed, min(place, len(rows) - 1)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 4 else 0


def shown_number(value: Decimal | None) -> str:
    """Return a number as it was typed in: no zeros at the end, no exponent."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
