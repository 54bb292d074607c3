"""The forms of the order actions that sell rate plans: a new subscription, and a plan added to one that exists."""

from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar

from django import forms
from django.http import QueryDict

from accounts.models import SINGLE_LINE, Account
from accounts.operator_admin import DayInput
from billing.forms.action_form import ActionForm, Subject, Surroundings
from billing.forms.charge_values import ChargeValuesForm, PricedCharge
from billing.forms.sold_plans import PlanOnOffer, chosen_plans, on_offer
from billing.models import TermType
from billing.services.order_requests import MAX_TERM_MONTHS, Action, AddProduct, NewSubscription

TERMS = [
    (TermType.EVERGREEN.value, "Evergreen: until it is canceled"),
    (TermType.TERMED.value, "Termed: ends after a number of months"),
]
# How the service names what it objects to, where the plans are where it can be mended.
ABOUT_PLANS = dict.fromkeys(("rate_plans", "charges", "price", "quantity", "trigger_date", "end_date"), "plans")


def months_field(**options: Any) -> forms.IntegerField:
    """Return a field for the length of a term."""
    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    return forms.IntegerField(required=False, min_value=1, max_value=MAX_TERM_MONTHS, widget=widget, **options)


class SellingForm(ActionForm):
    """An action that sells rate plans; which are ticked and what is said about them is in `offers`."""

    plans = forms.Field(required=False, label="Rate plans")

    def __init__(self, data: QueryDict | None, *, key: str, around: Surroundings, **options: Any) -> None:
        super().__init__(data, key=key, around=around, **options)
        sent = self.sent
        chosen = chosen_plans(sent, f"{key}-plans") if sent is not None else list(self.initial.get("plans", ()))
        self.unknown = set(chosen) - {plan.pk for plan in around.offered}
        self.find = "" if sent is None else sent.get(f"{key}-find_plan", "")
        self.offers: list[PlanOnOffer] = on_offer(
            around.offered, chosen=chosen, currency=around.account.currency, data=sent, key=key, quiet=self.quiet
        )

    @property
    def chosen(self) -> list[PlanOnOffer]:
        return [offer for offer in self.offers if offer.is_chosen]

    @property
    def charge_forms(self) -> list[ChargeValuesForm]:
        """Return the forms of the charges of the chosen plans."""
        return [form for offer in self.chosen for form in offer.charges]

    def clean(self) -> dict[str, Any]:
        """Ask for at least one plan and for what the chosen ones need."""
        cleaned = super().clean() or {}
        if self.unknown:
            self.add_error("plans", "A chosen plan is not one of the available choices; it may have been deleted.")
        elif not self.chosen:
            self.add_error("plans", "Choose at least one rate plan.")
        if any(offer.has_flaws for offer in self.chosen):
            self.add_error("plans", "A chosen plan needs your attention.")
        return cleaned


class NewSubscriptionForm(SellingForm):
    """A subscription to be created: plans, dates, term."""

    kind = "create"
    title = "New subscription"
    template = "billing/orders/_new_subscription.html"
    field_of: ClassVar[Mapping[str, str]] = {**ABOUT_PLANS, "contract_effective": "starts_on"}

    name = forms.CharField(
        max_length=100, required=False, label="Name of the subscription", validators=[SINGLE_LINE],
        help_text="Printed on the invoice, for example the site or the team it is for.",
    )  # fmt: skip
    starts_on = forms.DateField(widget=DayInput, label="Starts on", help_text="The day the contract takes effect.")
    term = forms.ChoiceField(choices=TERMS, initial=TermType.EVERGREEN, widget=forms.RadioSelect)
    term_months = months_field(initial=12, label="Months")
    auto_renew = forms.BooleanField(required=False, label="Renew it when the term ends")
    renewal_months = months_field(
        label="Months of each renewal", help_text="Empty: each renewal is as long as the first term."
    )
    service_activation = forms.DateField(
        widget=DayInput, required=False, help_text="Charges that begin with the activation wait for this day."
    )
    customer_acceptance = forms.DateField(
        widget=DayInput, required=False, help_text="Charges that begin with the acceptance wait for this day."
    )
    invoice_owner = forms.CharField(
        required=False, max_length=50, label="Billed to another account",
        help_text="The number of the account that gets the invoices, if it is not this one.",
    )  # fmt: skip
    invoice_separately = forms.BooleanField(required=False, label="Put it on an invoice of its own")

    def __init__(self, data: QueryDict | None, *, around: Surroundings, **options: Any) -> None:
        initial = {"starts_on": around.today, **(options.pop("initial", None) or {})}
        super().__init__(data, around=around, initial=initial, **options)

    def clean_invoice_owner(self) -> Account | None:
        """Find the account by its number."""
        number = self.cleaned_data["invoice_owner"].strip()
        if not number:
            return None
        found = Account.objects.filter(number__iexact=number).first()
        if found is None:
            raise forms.ValidationError(f"There is no account {number}.")
        return found

    def clean(self) -> dict[str, Any]:
        """Ask for the months of a term."""
        cleaned = super().clean()
        is_termed = cleaned.get("term") == TermType.TERMED
        if is_termed and "term_months" not in self.errors and cleaned.get("term_months") is None:
            self.add_error("term_months", "How many months does the term last?")
        return cleaned

    @property
    def has_hidden_flaws(self) -> bool:
        """Tell whether something is wrong with the fields that are folded away."""
        folded = ("service_activation", "customer_acceptance", "renewal_months", "invoice_owner")
        return any(name in self.errors for name in folded)

    def created(self) -> Subject:
        """Return the subscription as later actions of the order see it: what is ticked, at the values entered so far."""
        charges = tuple((offer.plan.name, _as_entered(form)) for offer in self.chosen for form in offer.charges)
        name = self["name"].value() or ""
        return Subject(
            f"The new subscription{f' “{name}”' if name else ''}",
            created_by=self.key,
            plans=tuple((offer.plan.pk, offer.plan.name) for offer in self.chosen),
            charges=charges,
        )

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return what is sold."""
        values = self.cleaned_data
        termed = values["term"] == TermType.TERMED
        return NewSubscription(
            rate_plans=tuple(offer.requested() for offer in self.chosen),
            contract_effective=values["starts_on"],
            service_activation=values["service_activation"],
            customer_acceptance=values["customer_acceptance"],
            term_months=values["term_months"] if termed else None,
            auto_renew=values["auto_renew"] and termed,
            renewal_months=values["renewal_months"] if termed else None,
            invoice_owner=values["invoice_owner"],
            invoice_separately=values["invoice_separately"],
            name=values["name"],
        )


def _as_entered(form: Any) -> PricedCharge:
    """Return a charge at the quantity and price entered for it, as far as they can be read."""
    charge: PricedCharge = form.charge
    if not form.is_bound or form.errors or form.quiet:
        return charge
    values = form.values()
    return PricedCharge(
        charge.key,
        charge.row,
        charge.quantity if values.quantity is None else values.quantity,
        charge.price if values.price is None else values.price,
        charge.tiers if values.tiers is None else values.tiers,
        charge.words,
    )


class AddProductForm(SellingForm):
    """A rate plan added to a subscription from a day on."""

    kind = "add"
    title = "Add a product"
    template = "billing/orders/_add_product.html"
    field_of: ClassVar[Mapping[str, str]] = ABOUT_PLANS

    effective_date = forms.DateField(widget=DayInput, label="From", help_text="The first day with it.")
    service_activation = forms.DateField(
        widget=DayInput, required=False, help_text="Empty: that of the subscription, but not before the first day."
    )
    customer_acceptance = forms.DateField(
        widget=DayInput, required=False, help_text="Empty: that of the subscription, but not before the first day."
    )

    def __init__(self, data: QueryDict | None, *, around: Surroundings, **options: Any) -> None:
        initial = {"effective_date": around.today, **(options.pop("initial", None) or {})}
        super().__init__(data, around=around, initial=initial, **options)

    def clean(self) -> dict[str, Any]:
        """Take one plan at a time: each is an action of its own."""
        cleaned = super().clean()
        if len(self.chosen) > 1:
            self.add_error("plans", "Choose one plan; a second one is an action of its own.")
        return cleaned

    @property
    def has_hidden_flaws(self) -> bool:
        """Tell whether something is wrong with the fields that are folded away."""
        return "service_activation" in self.errors or "customer_acceptance" in self.errors

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return what is added."""
        values = self.cleaned_data
        effective: date = values["effective_date"]
        return AddProduct(
            self.target(positions),
            self.chosen[0].requested(),
            effective,
            service_activation=values["service_activation"],
            customer_acceptance=values["customer_acceptance"],
        )
