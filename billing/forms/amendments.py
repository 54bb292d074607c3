"""The forms of the order actions that change a subscription: its products, its term, its life."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.http import QueryDict

from accounts.models import SINGLE_LINE
from accounts.operator_admin import DayInput
from accounts.wording import day
from billing.forms.action_form import ActionForm, Subject, Surroundings
from billing.forms.charge_values import ChargeValuesForm
from billing.forms.new_subscription import TERMS, months_field
from billing.models import ProductRatePlan, RatePlan, TermType
from billing.services.order_requests import (
    Action,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    RemoveProduct,
    RenewSubscription,
    Resume,
    SetTriggerDates,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
)

CHARGES_SHOWN = 50
NO_YES = [("", "Leave as it is"), ("yes", "Yes"), ("no", "No")]


class DatedForm(ActionForm):
    """An action that takes effect on a day; today unless the operator says otherwise."""

    effective_date = forms.DateField(widget=DayInput, label="From")

    def __init__(self, data: QueryDict | None, *, around: Surroundings, **options: Any) -> None:
        initial = {"effective_date": around.today, **(options.pop("initial", None) or {})}
        super().__init__(data, around=around, initial=initial, **options)


class UpdateProductForm(DatedForm):
    """Other quantities, prices or tiers of charges from a day on."""

    kind = "update"
    title = "Change quantity or price"
    template = "billing/orders/_update_product.html"

    def __init__(self, data: QueryDict | None, *, subject: Subject, **options: Any) -> None:
        super().__init__(data, subject=subject, **options)
        self.more_charges = max(0, len(subject.charges) - CHARGES_SHOWN)
        self.rows = [
            (
                plan_name,
                ChargeValuesForm(
                    self.sent, prefix=f"{self.key}-{charge.key}", charge=charge, quiet=self.quiet, for_change=True
                ),
            )
            for plan_name, charge in subject.charges[:CHARGES_SHOWN]
        ]

    @property
    def charge_forms(self) -> list[ChargeValuesForm]:
        """Return the forms of all charges."""
        return [row for _, row in self.rows]

    def clean(self) -> dict[str, Any]:
        """Ask for at least one change."""
        cleaned = super().clean() or {}
        if any(row.has_flaws for _, row in self.rows):
            self.add_error(None, "A charge needs your attention.")
        elif not self._changes():
            self.add_error(None, "Nothing is changed yet: enter another quantity or price.")
        return cleaned

    def _changes(self) -> list[tuple[Any, Decimal | None, Decimal | None, Any]]:
        found = [(row.charge.row, row.values()) for _, row in self.rows]
        return [
            (row, values.quantity, values.price, values.tiers)
            for row, values in found
            if any(value is not None for value in (values.quantity, values.price, values.tiers))
        ]

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return what changes."""
        changes = tuple(ChargeChange(*change) for change in self._changes())
        return UpdateProduct(self.target(positions), changes, self.cleaned_data["effective_date"])

    @property
    def currency(self) -> str:
        return self.around.account.currency


class RemoveProductForm(DatedForm):
    """A rate plan that a subscription has no longer from a day on."""

    kind = "remove"
    title = "Remove a product"
    field_of: ClassVar[Mapping[str, str]] = {"rate_plans": "rate_plan"}

    rate_plan = forms.ChoiceField(
        label="Rate plan", widget=forms.RadioSelect, error_messages={"required": "Choose the plan that goes."}
    )

    def __init__(self, data: QueryDict | None, *, subject: Subject, **options: Any) -> None:
        super().__init__(data, subject=subject, **options)
        self.fields["rate_plan"].choices = subject.plans  # type: ignore[attr-defined]
        self.fields["effective_date"].help_text = "The first day without it. Days that are billed already are credited."
        self.order_fields(["rate_plan", "effective_date"])
        if len(subject.plans) == 1:
            self.initial["rate_plan"] = subject.plans[0][0]

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return what goes."""
        assert self.subject is not None
        pk = int(self.cleaned_data["rate_plan"])
        of_new = self.subject.state is None
        named: Any = {"pk": pk, "name": dict(self.subject.plans)[pk]}
        plan: RatePlan | ProductRatePlan = ProductRatePlan(**named) if of_new else RatePlan(**named)
        return RemoveProduct(self.target(positions), plan, self.cleaned_data["effective_date"])


class RenewForm(ActionForm):
    """Another term where the current one ends."""

    kind = "renew"
    title = "Renew"
    field_of: ClassVar[Mapping[str, str]] = {"renewal_months": "months"}

    months = months_field(help_text="Empty: as long as renewals of this subscription are.")

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the renewal."""
        return RenewSubscription(self.target(positions), self.cleaned_data["months"])


class CancelForm(ActionForm):
    """The end of a subscription."""

    kind = "cancel"
    title = "Cancel"

    when = forms.ChoiceField(
        label="Ends",
        widget=forms.RadioSelect,
        initial=CancelWhen.SPECIFIC_DATE,
        choices=[
            (CancelWhen.SPECIFIC_DATE.value, "On a day"),
            (CancelWhen.END_OF_TERM.value, "At the end of its current term"),
            (CancelWhen.END_OF_BILLED.value, "When what is billed already is over"),
        ],
    )
    effective_date = forms.DateField(
        widget=DayInput,
        required=False,
        label="First day not served",
        help_text="Only for “on a day”. Days from then on that are billed already are credited.",
    )

    def __init__(self, data: QueryDict | None, *, around: Surroundings, **options: Any) -> None:
        initial = {"effective_date": around.today, **(options.pop("initial", None) or {})}
        super().__init__(data, around=around, initial=initial, **options)
        self.billed_until: date | None = None

    def clean(self) -> dict[str, Any]:
        """Ask for the day, or find it."""
        cleaned = super().clean() or {}
        when, first = cleaned.get("when"), cleaned.get("effective_date")
        if when == CancelWhen.SPECIFIC_DATE and first is None and "effective_date" not in self.errors:
            self.add_error("effective_date", "Give the first day that is no longer served.")
        if when == CancelWhen.END_OF_BILLED and self.billed_until is None:
            self.add_error("when", "Nothing of it is billed yet; give a day instead.")
        return cleaned

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the cancellation."""
        when = CancelWhen(self.cleaned_data["when"])
        first = {
            CancelWhen.SPECIFIC_DATE: self.cleaned_data["effective_date"],
            CancelWhen.END_OF_TERM: None,
            CancelWhen.END_OF_BILLED: self.billed_until,
        }[when]
        return CancelSubscription(self.target(positions), first, when)


class SuspendForm(DatedForm):
    """A pause: nothing is served or charged until the subscription is resumed."""

    kind = "suspend"
    title = "Suspend"

    def __init__(self, data: QueryDict | None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["effective_date"].help_text = "The first day of the pause. Billed days from then on are credited."

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the suspension."""
        return Suspend(self.target(positions), self.cleaned_data["effective_date"])


class ResumeForm(DatedForm):
    """The end of a pause."""

    kind = "resume"
    title = "Resume"

    extend_term = forms.BooleanField(required=False, label="Add the suspended days to the term")

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the resumption."""
        values = self.cleaned_data
        return Resume(self.target(positions), values["effective_date"], extend_term=values["extend_term"])


class TriggerDatesForm(ActionForm):
    """The days of service activation and customer acceptance, for which charges wait."""

    kind = "dates"
    title = "Set trigger dates"

    service_activation = forms.DateField(widget=DayInput, required=False)
    customer_acceptance = forms.DateField(widget=DayInput, required=False)

    def __init__(self, data: QueryDict | None, *, subject: Subject, **options: Any) -> None:
        super().__init__(data, subject=subject, **options)
        for name, field in self.fields.items():
            known = subject.state and getattr(subject.state.row, name)
            field.help_text = f"Now {day(known)}; empty leaves it." if known else "Not known yet."

    def clean(self) -> dict[str, Any]:
        """Ask for one of the two."""
        cleaned = super().clean() or {}
        if not self.errors and not any(cleaned.get(name) for name in self.fields):
            self.add_error(None, "Give the day of the activation, of the acceptance, or both.")
        return cleaned

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the dates."""
        values = self.cleaned_data
        return SetTriggerDates(self.target(positions), values["service_activation"], values["customer_acceptance"])


class TermsForm(DatedForm):
    """What was agreed on apart from products."""

    kind = "terms"
    title = "Change terms"
    field_of: ClassVar[Mapping[str, str]] = {"term_type": "term"}

    term = forms.ChoiceField(
        required=False,
        choices=[("", "Leave as it is"), *((value, words.split(":")[0]) for value, words in TERMS)],
    )
    term_months = months_field(label="Months of the current term")
    ends_after = forms.DateField(
        widget=DayInput, required=False, label="or its last day", help_text="The last day of the current term."
    )
    auto_renew = forms.ChoiceField(required=False, choices=NO_YES, label="Renew it when the term ends")
    renewal_months = forms.IntegerField(
        required=False, min_value=0, max_value=600, label="Months of each renewal", help_text="0: as the first term.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )  # fmt: skip
    invoice_separately = forms.ChoiceField(required=False, choices=NO_YES, label="Put it on an invoice of its own")
    name = forms.CharField(max_length=100, required=False, label="New name", validators=[SINGLE_LINE])

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the changes."""
        values = self.cleaned_data
        last: date | None = values["ends_after"]
        return TermsAndConditions(
            self.target(positions),
            values["effective_date"],
            term_type=TermType(values["term"]) if values["term"] else None,
            term_months=values["term_months"],
            term_end=last and last + timedelta(days=1),
            auto_renew=_answer(values["auto_renew"]),
            renewal_months=values["renewal_months"],
            invoice_separately=_answer(values["invoice_separately"]),
            name=values["name"] or None,
        )

    def add_refusal(self, field: str, message: str) -> None:
        """Show what is wrong with the term's end beside the field it came from."""
        if field == "term_end":
            field = "term_months" if self.cleaned_data.get("term_months") is not None else "ends_after"
        super().add_refusal(field, message)


def _answer(word: str) -> bool | None:
    return {"yes": True, "no": False}.get(word)
