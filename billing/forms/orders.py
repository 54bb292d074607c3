"""The form of a new order: one subscription of an account, made of rate plans with their quantities."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.http import QueryDict

from accounts.models import SINGLE_LINE, Account
from accounts.operator_admin import DayInput
from billing.core.types import ChargeModel
from billing.forms.catalog import decimal_field
from billing.models import ProductRatePlan, ProductRatePlanCharge, TermType
from billing.models.terms import TriggerEvent
from billing.services.order_requests import MAX_TERM_MONTHS
from billing.services.orders import ChargeChoice, NewRatePlan, NewSubscription
from billing.templatetags.charge_words import price_lines

PLANS_SHOWN = 12
TERMS = [
    (TermType.EVERGREEN.value, "Evergreen: until it is canceled"),
    (TermType.TERMED.value, "Termed: ends after a number of months"),
]
# How the service names what it objects to, where this form has another field for it.
FIELD_OF = {
    "contract_effective": "starts_on",
    "rate_plans": "plans",
    "charges": "plans",
    "price": "plans",
    "quantity": "plans",
    "trigger_date": "plans",
}
DATES_OF_THEIR_OWN = {
    TriggerEvent.SERVICE_ACTIVATION.value: "service_activation",
    TriggerEvent.CUSTOMER_ACCEPTANCE.value: "customer_acceptance",
}


@dataclass(frozen=True)
class ChargeInputs:
    """A charge of a plan on offer: what it costs in the account's currency, and what the order must say about it."""

    charge: ProductRatePlanCharge
    prices: list[str]
    quantity: Any | None
    day: Any | None


@dataclass(frozen=True)
class PlanOnOffer:
    """A rate plan that may be chosen; `missing` names the charges without a price in the account's currency."""

    plan: ProductRatePlan
    is_chosen: bool
    charges: list[ChargeInputs]
    missing: list[str]

    @property
    def problem(self) -> str:
        """Return why the plan cannot be sold to this account, or nothing."""
        if not self.charges:
            return "This plan has no charges yet."
        return f"No price in the account's currency: {', '.join(self.missing)}." if self.missing else ""


class OrderForm(forms.Form):
    """What is sold to one account: plans, quantities, dates and term."""

    # What is needed depends on what is chosen, which only the server knows.
    use_required_attribute = False

    plans = forms.ModelMultipleChoiceField(
        ProductRatePlan.objects.none(),
        label="Rate plans",
        error_messages={"required": "Choose at least one rate plan."},
    )
    name = forms.CharField(
        max_length=100, required=False, label="Name of the subscription", validators=[SINGLE_LINE],
        help_text="Printed on the invoice, for example the site or the team it is for.",
    )  # fmt: skip
    starts_on = forms.DateField(widget=DayInput, label="Starts on", help_text="The day the contract takes effect.")
    term = forms.ChoiceField(choices=TERMS, initial=TermType.EVERGREEN, widget=forms.RadioSelect)
    term_months = forms.IntegerField(
        required=False, min_value=1, max_value=MAX_TERM_MONTHS, initial=12, label="Months",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )  # fmt: skip
    auto_renew = forms.BooleanField(required=False, label="Renew it when the term ends")
    service_activation = forms.DateField(
        widget=DayInput, required=False, help_text="Charges that begin with the activation wait for this day."
    )
    customer_acceptance = forms.DateField(
        widget=DayInput, required=False, help_text="Charges that begin with the acceptance wait for this day."
    )
    order_date = forms.DateField(widget=DayInput, help_text="The day the customer agreed.")
    invoice_separately = forms.BooleanField(required=False, label="Put it on an invoice of its own")
    description = forms.CharField(max_length=200, required=False, label="Note on the order", validators=[SINGLE_LINE])

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        account: Account,
        today: date,
        offered: Sequence[ProductRatePlan],
        **kwargs: Any,
    ) -> None:
        super().__init__(data, initial={"starts_on": today, "order_date": today, **(kwargs.pop("initial", None) or {})})
        self.account, self.offered = account, offered
        self.fields["plans"].queryset = ProductRatePlan.objects.filter(pk__in=[plan.pk for plan in offered])  # type: ignore[attr-defined]
        for plan in offered:
            for charge in plan.charges.all():
                self._add_inputs(plan, charge)

    def _add_inputs(self, plan: ProductRatePlan, charge: ProductRatePlanCharge) -> None:
        if charge.charge_model != ChargeModel.FLAT_FEE:
            label = f"Quantity of {charge.name}" + (f" ({charge.unit})" if charge.unit else "")
            usual = charge.default_quantity
            shown = None if usual is None else f"{usual.normalize():f}"
            self.fields[f"quantity-{charge.pk}"] = decimal_field(
                label=label, required=False, min_value=0, initial=shown
            )
        if charge.trigger_event == TriggerEvent.SPECIFIC_DATE:
            day = forms.DateField(label=f"{charge.name} begins on", widget=DayInput, required=False)
            self.fields[f"day-{charge.pk}"] = day

    def chosen_ids(self) -> set[int]:
        """Return the ids of the plans that are ticked, as far as they are numbers."""
        return {int(str(value)) for value in self["plans"].value() or () if str(value).isdigit()}

    @property
    def plans_on_offer(self) -> list[PlanOnOffer]:
        """Return the plans with the inputs of their charges, as the page draws them."""
        chosen, currency = self.chosen_ids(), self.account.currency
        self._mark_needed()
        found = []
        for plan in self.offered:
            charges = [self._inputs(charge, currency) for charge in plan.charges.all()]
            missing = [inputs.charge.name for inputs in charges if not inputs.prices]
            found.append(PlanOnOffer(plan, plan.pk in chosen, charges, missing))
        return found

    def _mark_needed(self) -> None:
        """Draw as needed what `clean` asks for; before the answers were checked it would be asked for in any case."""
        _ = self.errors  # reading them is what checks the answers
        for name, field in self.fields.items():
            field.required = field.required or name == "term_months" or name.startswith(("quantity-", "day-"))

    def _inputs(self, charge: ProductRatePlanCharge, currency: str) -> ChargeInputs:
        quantity, day = f"quantity-{charge.pk}", f"day-{charge.pk}"
        return ChargeInputs(
            charge,
            list(price_lines(charge, currency)),
            self[quantity] if quantity in self.fields else None,
            self[day] if day in self.fields else None,
        )

    def clean(self) -> dict[str, Any]:
        """Ask for what the chosen plans need: quantities, dates, and the months of a term."""
        cleaned = super().clean() or {}
        for plan in self._chosen(cleaned):
            for charge in plan.charges.all():
                self._require(cleaned, f"quantity-{charge.pk}", "How many? Write a number, 0 if none yet.")
                self._require(cleaned, f"day-{charge.pk}", "This charge begins on a date of its own: give it.")
        if cleaned.get("term") == TermType.TERMED:
            self._require(cleaned, "term_months", "How many months does the term last?")
        return cleaned

    def _require(self, cleaned: dict[str, Any], name: str, message: str) -> None:
        if name in self.fields and name not in self.errors and cleaned.get(name) is None:
            self.add_error(name, message)

    def _chosen(self, cleaned: dict[str, Any]) -> Iterable[ProductRatePlan]:
        chosen = {plan.pk for plan in cleaned.get("plans") or ()}
        return (plan for plan in self.offered if plan.pk in chosen)

    def subscription(self) -> NewSubscription:
        """Return what is sold; only of a valid form."""
        values = self.cleaned_data
        termed = values["term"] == TermType.TERMED
        return NewSubscription(
            rate_plans=tuple(
                NewRatePlan(plan, tuple(self._choice(charge) for charge in plan.charges.all()))
                for plan in self._chosen(values)
            ),
            contract_effective=values["starts_on"],
            service_activation=values["service_activation"],
            customer_acceptance=values["customer_acceptance"],
            term_months=values["term_months"] if termed else None,
            auto_renew=values["auto_renew"] and termed,
            invoice_separately=values["invoice_separately"],
            name=values["name"],
        )

    def _choice(self, charge: ProductRatePlanCharge) -> ChargeChoice:
        quantity: Decimal | None = self.cleaned_data.get(f"quantity-{charge.pk}")
        return ChargeChoice(charge, quantity=quantity, trigger_date=self.cleaned_data.get(f"day-{charge.pk}"))

    def add_refusal(self, error: ValidationError) -> None:
        """Show what the service objects to beside the field it is about, or above the form."""
        problems = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, messages in problems.items():
            field = FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, messages)


def plans_for(
    *, day: date, find: str = "", chosen: Iterable[int] = (), limit: int = PLANS_SHOWN
) -> list[ProductRatePlan]:
    """Return the plans sold on a day whose product or own name begins with `find`, the chosen ones first in any case."""
    chosen = list(chosen)
    sold = Q(product__effective_start__lte=day) & (Q(product__effective_end=None) | Q(product__effective_end__gt=day))
    text = find.strip()[:100]
    named = Q(name__istartswith=text) | Q(product__name__istartswith=text) | Q(product__sku__istartswith=text)
    first = Case(When(pk__in=chosen, then=Value(0)), default=Value(1), output_field=IntegerField())
    found: QuerySet[ProductRatePlan] = ProductRatePlan.objects.filter(
        Q(pk__in=chosen) | (sold & named if text else sold)
    )
    return list(
        found.select_related("product")
        .prefetch_related("charges__prices__tiers")
        .order_by(first, F("product__name"), F("name"))[: limit + len(chosen)]
    )
