"""The preview of a charge's first periods: what a page sent becomes an imagined sale, and that its periods in words."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.models import construct_instance
from django.http import QueryDict

from accounts.clock import business_today
from accounts.operator_admin import DayInput
from billing.core.types import ChargeType, PriceFormat, Tier
from billing.forms.catalog import PriceForm
from billing.forms.charges import SMOOTHING, ChargeForm, show_flaws
from billing.models import ProductRatePlanCharge, ProductRatePlanChargePrice
from billing.period_preview import Sale, first_periods
from billing.queries import current_rules
from billing.services.charge_terms import FIRST_DAY, LAST_DAY

# What a charge is called and whom it belongs to does not decide when it is billed.
NEEDLESS = {"name", "unit", "measure", "trigger_event", "discount_level", "discount_applies_to", "discount_stacked"}

# Nor does what usage costs decide on it.
NEEDLESS_OF_USAGE = {"default_quantity", "rating_group", *SMOOTHING}


class PreviewForm(forms.Form):
    """From which day, and for an account with which bill cycle day, the periods are worked out."""

    use_required_attribute = False

    starts_on = forms.DateField(label="With a start on", widget=DayInput)
    cycle_day = forms.TypedChoiceField(
        label="and bill cycle day",
        coerce=int,
        choices=[*((day, str(day)) for day in range(1, 31)), (31, "31 (end of month)")],
    )

    def clean_starts_on(self) -> Any:
        """Refuse a day that no contract can have."""
        day = self.cleaned_data["starts_on"]
        if not FIRST_DAY <= day <= LAST_DAY:
            raise forms.ValidationError(f"Give a day from {FIRST_DAY.year} to {LAST_DAY.year}.")
        return day


class PreviewedCharge(ChargeForm):
    """A charge that is looked at, not saved: what it is called and whom it belongs to is nobody's business here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("rate_plan", None)
        self.fields["name"].required = False

    def _post_clean(self) -> None:
        # Without the model's own checks, which ask the database: it has nothing to say about what is not saved.
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)
        show_flaws(self)


def preview_of(sent: QueryDict | Mapping[str, str], saved: ProductRatePlanCharge | None = None) -> dict[str, Any]:
    """Return the context of `_period_preview.html`: the periods of the charge that was sent, else of the saved one.

    What was sent may lack much: the preview then says what it waits for instead of refusing anything.
    """
    asked = PreviewForm({"starts_on": business_today().isoformat(), "cycle_day": "1", **_own(sent)})
    context: dict[str, Any] = {"preview_form": asked, "preview": None, "preview_flaws": [], "preview_currency": ""}
    prices = [] if saved is None or saved.pk is None else list(saved.prices.prefetch_related("tiers"))
    context["preview_currencies"] = [price.currency for price in prices]
    row, flaws = _charge(sent, saved)
    if not asked.is_valid() or flaws or row is None:
        return context | {"preview_flaws": flaws}
    currency, price = _price(sent, row, prices)
    sale = Sale(asked.cleaned_data["starts_on"], asked.cleaned_data["cycle_day"], currency, price)
    return context | {"preview": first_periods(row, sale, current_rules()), "preview_currency": currency}


def _own(sent: QueryDict | Mapping[str, str]) -> dict[str, str]:
    return {name: str(sent[name]) for name in PreviewForm.base_fields if name in sent}


def _charge(
    sent: QueryDict | Mapping[str, str], saved: ProductRatePlanCharge | None
) -> tuple[ProductRatePlanCharge | None, list[str]]:
    """Return the charge to look at, and what keeps it from having periods."""
    if "charge_type" not in sent:
        return saved, []
    form = PreviewedCharge(sent, instance=saved)
    # Nothing is saved, so that only what decides on periods has to be right.
    form.is_valid()
    needless = NEEDLESS | (NEEDLESS_OF_USAGE if form.instance.charge_type == ChargeType.USAGE else set())
    flaws = [str(text) for name, texts in form.errors.items() if name not in needless for text in texts]
    return form.instance, flaws


def _price(
    sent: QueryDict | Mapping[str, str], row: ProductRatePlanCharge, prices: Sequence[ProductRatePlanChargePrice]
) -> tuple[str, Decimal | Sequence[Tier] | None]:
    """Return the currency and the price that was sent, else one of those that the charge has in the catalogue."""
    if isinstance(sent, QueryDict) and "tiers-TOTAL_FORMS" in sent:
        form = PriceForm(sent, model=row.charge_model)
        if not form.is_valid():
            return "", None
        return form.cleaned_data["currency"], form.read(row.charge_model)
    found = next((price for price in prices if price.currency == sent.get("currency")), prices[0] if prices else None)
    if found is None:
        return "", None
    tiers = [Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in found.tiers.all()]
    return found.currency, tiers if found.price is None else found.price
