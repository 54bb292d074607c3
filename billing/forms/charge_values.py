"""What an order says about one charge, sold anew or changed: quantity, price or tiers, and the dates it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django import forms
from django.http import QueryDict

from accounts.operator_admin import DayInput
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.forms.catalog import TierFormSet, decimal_field, read_tiers, shown_number
from billing.forms.quiet import QuietForm
from billing.models import ProductRatePlanCharge
from billing.models.terms import EndCondition, TriggerEvent
from billing.services.catalog import TIERED
from billing.services.charge_terms import has_quantity, includes_units
from billing.services.order_state import ChargeState
from billing.templatetags.charge_words import price_lines, segment_lines

SPARE_TIERS = 2
HOW_MANY = "How many? Write a number, 0 if none yet."
HOW_MANY_INCLUDED = "How many are included? Write a number, 0 if none are."


@dataclass(frozen=True)
class PricedCharge:
    """A charge as the form draws it: `row` says how it is billed, the rest what it costs in the account's currency.

    `key` is its id; `words` are its prices as people read them, empty when it has none in that currency.
    """

    key: int
    row: Any
    quantity: Decimal | None
    price: Decimal | None
    tiers: tuple[Tier, ...]
    words: Sequence[str]

    @property
    def has_quantity(self) -> bool:
        return has_quantity(self.row)

    @property
    def includes_units(self) -> bool:
        """Tell whether its quantity is the units that are included."""
        return includes_units(self.row)

    @property
    def has_tiers(self) -> bool:
        return self.row.charge_model in TIERED


class ChargeValues(NamedTuple):
    """What was entered; None where it is what the charge has already."""

    quantity: Decimal | None
    price: Decimal | None
    tiers: tuple[Tier, ...] | None
    trigger_date: date | None
    end_date: date | None


def from_catalogue(charge: ProductRatePlanCharge, currency: str) -> PricedCharge:
    """Return a charge of the catalogue with its price in a currency; its prices and tiers must be prefetched."""
    row = next((price for price in charge.prices.all() if price.currency == currency), None)
    tiers = () if row is None else tuple(Tier(t.up_to, t.price, PriceFormat(t.price_format)) for t in row.tiers.all())
    price = None if row is None else row.price
    return PricedCharge(charge.pk, charge, charge.default_quantity, price, tiers, price_lines(charge, currency))


def from_subscription(charge: ChargeState, currency: str) -> PricedCharge | None:
    """Return a subscription's charge as it is agreed on for the latest days; None when it has ended."""
    latest = charge.latest
    if latest is None:
        return None
    words = segment_lines(
        charge.row,
        latest.price,
        latest.tiers,
        currency,
        included=latest.quantity,
        credit_rate=latest.credit_rate,
    )
    return PricedCharge(charge.row.pk, charge.row, latest.quantity, latest.price, latest.tiers, words)


class ChargeValuesForm(QuietForm):
    """The inputs of one charge; `for_change` asks for other values of a charge that is sold already."""

    quantity = decimal_field(required=False, min_value=0)
    price = decimal_field(required=False)
    day = forms.DateField(widget=DayInput, required=False)
    ends_on = forms.DateField(widget=DayInput, required=False)

    def __init__(
        self, data: QueryDict | None, *, prefix: str, charge: PricedCharge, quiet: bool, for_change: bool = False
    ) -> None:
        quantity = None if charge.quantity is None else shown_number(charge.quantity)
        shown_price = shown_number(charge.price) if for_change else None
        super().__init__(data, prefix=prefix, quiet=quiet, initial={"quantity": quantity, "price": shown_price})
        self.charge, self.for_change = charge, for_change
        self._name_fields()
        self.tiers: Any = None
        if charge.has_tiers:
            name = f"{prefix}-tiers"
            is_sent = data is not None and f"{name}-TOTAL_FORMS" in data
            rows = [
                {"up_to": shown_number(t.up_to), "price": shown_number(t.price), "price_format": t.price_format}
                for t in charge.tiers
            ]
            self.tiers = TierFormSet(data if is_sent else None, prefix=name, initial=rows)
            self.tiers.extra = SPARE_TIERS

    def _name_fields(self) -> None:
        """Keep the fields this charge has, and name it in their labels."""
        row = self.charge.row
        unit = f" ({row.unit})" if row.unit else ""
        self.fields["quantity"].label = f"Quantity of {row.name}{unit}"
        if self.charge.includes_units:
            self.fields["quantity"].label = f"Included {row.unit or 'units'} of {row.name}"
        is_percentage = row.charge_model == ChargeModel.DISCOUNT_PERCENTAGE
        self.fields["price"].label = f"{'Percentage' if is_percentage else 'Price'} of {row.name}"
        self.fields["price"].widget.attrs["placeholder"] = shown_number(self.charge.price)
        self.fields["day"].label = f"{row.name} begins on"
        self.fields["ends_on"].label = f"{row.name} ends before"
        self.fields["ends_on"].help_text = "The first day that is no longer charged."
        if not self.charge.has_quantity:
            del self.fields["quantity"]
        if self.charge.has_tiers:
            del self.fields["price"]
        if self.for_change or row.trigger_event != TriggerEvent.SPECIFIC_DATE:
            del self.fields["day"]
        if self.for_change or row.end_condition != EndCondition.SPECIFIC_END_DATE:
            del self.fields["ends_on"]

    def full_clean(self) -> None:
        """Check the tiers together with the other values, unless nothing is to be checked yet."""
        super().full_clean()
        self.read_tiers: tuple[Tier, ...] | None = None
        if self.tiers is None or not self.tiers.is_bound or self.quiet:
            return
        if self.tiers.is_valid():
            self.read_tiers = read_tiers(self.tiers)
        if self.read_tiers is None:
            self.add_error(None, "The tiers need your attention.")

    def clean(self) -> dict[str, Any]:
        """Ask for what the charge cannot do without."""
        cleaned = super().clean() or {}
        if self._lacks(cleaned, "quantity"):
            self.add_error("quantity", HOW_MANY_INCLUDED if self.charge.includes_units else HOW_MANY)
        if self._lacks(cleaned, "day"):
            self.add_error("day", "This charge begins on a date of its own: give it.")
        if self._lacks(cleaned, "ends_on"):
            self.add_error("ends_on", "This charge ends on a date of its own: give it.")
        if self.for_change and self._lacks(cleaned, "price"):
            self.add_error("price", "Give the price; 0 is a price, too.")
        return cleaned

    def _lacks(self, cleaned: dict[str, Any], name: str) -> bool:
        return name in self.fields and name not in self.errors and cleaned.get(name) is None

    def values(self) -> ChargeValues:
        """Return what differs from what the charge has already; only of a valid form."""
        sent, charge = self.cleaned_data, self.charge
        quantity, price = sent.get("quantity"), sent.get("price")
        tiers = self.read_tiers
        return ChargeValues(
            quantity if not self.for_change or quantity != charge.quantity else None,
            price if price != charge.price else None,
            tiers if tiers != charge.tiers else None,
            sent.get("day"),
            sent.get("ends_on"),
        )

    @property
    def has_own_price(self) -> bool:
        """Tell whether a price of its own was typed in, whether it will do or not."""
        if self.tiers is not None:
            return bool(self.tiers.is_bound and self.tiers.has_changed())
        return bool("price" in self.fields and self["price"].value())

    @property
    def has_flaws(self) -> bool:
        return bool(self.errors)
