"""The form of a new account with the contact who receives its invoices, and the form of any further contact."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from babel.core import Locale
from babel.numbers import get_territory_currencies
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from accounts.models import (
    Account,
    BillingBatch,
    Contact,
    CustomField,
    CustomFieldEntity,
    CustomFieldType,
    InvoiceTemplate,
    PaymentTerm,
    PaymentTermKind,
)
from accounts.operator_admin import DayInput
from accounts.services import NewContact
from accounts.wording import locale

CYCLE_DAYS = [
    (0, "Set by the first recurring charge"),
    *((day, str(day)) for day in range(1, 31)),
    (31, "31 (end of month)"),
]
# Codes that Babel knows and no customer lives in: unions, tests and leftovers.
NO_COUNTRIES = {"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"}
CUSTOM = "custom-"


@lru_cache(maxsize=16)
def country_choices(language: str) -> list[tuple[str, str]]:
    """Return the countries as (ISO code, name), by name, with an empty first choice."""
    names = Locale.parse(language).territories
    known = [(code, name) for code, name in names.items() if len(code) == 2 and code.isalpha()]
    return [("", "–"), *sorted((pair for pair in known if pair[0] not in NO_COUNTRIES), key=lambda pair: pair[1])]


@lru_cache(maxsize=16)
def currency_choices(language: str) -> list[tuple[str, str]]:
    """Return the currencies that are tender somewhere today as (ISO code, "EUR Euro"), by code."""
    names = Locale.parse(language)
    codes = {code for country, _ in country_choices(language) if country for code in get_territory_currencies(country)}
    return [("", "–"), *((code, f"{code} {names.currencies.get(code, '')}".strip()) for code in sorted(codes))]


class ContactForm(forms.ModelForm):
    """Name and address of a contact; the country is chosen by name."""

    country = forms.ChoiceField()

    class Meta:
        model = Contact
        fields = ["name", "email", "street", "street_2", "postal_code", "city", "region", "country"]
        labels = {"email": "E-mail", "street_2": "Street, second line"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page for those who may only look has no inputs.
        if "country" in self.fields:
            self.fields["country"].choices = country_choices(locale())  # type: ignore[attr-defined]
        for field in self.fields.values():
            # What the browser knows is the operator's own address.
            field.widget.attrs.setdefault("autocomplete", "off")

    def new_contact(self) -> NewContact:
        """Return what was typed in; only of a valid form."""
        return NewContact(**{name: self.cleaned_data[name] for name in NewContact._fields})


class AccountNumberField(forms.CharField):
    """An account by its number; the browser suggests numbers while one types."""

    def clean(self, value: Any) -> Any:
        """Return the account of that number. Raises ValidationError when there is none."""
        number = super().clean(value)
        if not number:
            return None
        # Suggestions are offered as “A00000001 Acme”, and some browsers fill in all of it.
        found = Account.objects.filter(number__in=[number, number.split(" ")[0]]).first()
        if found is None:
            raise ValidationError(f"There is no account with the number {number}.")
        return found


class NewAccountForm(forms.ModelForm):
    """What a new account needs before it can be billed; the number is taken when it is created."""

    currency = forms.ChoiceField(help_text="Everything sold to this account is billed in it.")
    bill_cycle_day = forms.TypedChoiceField(
        choices=CYCLE_DAYS, coerce=int, help_text="The day of the month on which billing periods begin."
    )
    parent = AccountNumberField(
        required=False,
        label="Parent account",
        help_text="Number of the account it belongs to.",
        widget=forms.TextInput(attrs={"list": "account-suggestions", "autocomplete": "off"}),
    )

    class Meta:
        model = Account
        fields = [
            "name",
            "currency",
            "batch",
            "vat_id",
            "purchase_order",
            "language",
            "payment_term",
            "bill_cycle_day",
            "invoice_template",
            "number_sequence",
            "email_invoices",
            "print_invoices",
            "additional_emails",
            "number",
            "parent",
        ]
        labels = {"email_invoices": "Send posted invoices by e-mail", "print_invoices": "Print invoices on paper"}
        help_texts = {
            "email_invoices": "",
            "number": "Empty: the next number is taken.",
            "payment_term": "Empty: due upon receipt.",
        }

    def __init__(self, data: QueryDict | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["currency"].choices = currency_choices(locale())  # type: ignore[attr-defined]
        self.fields["number"].required = False
        # Without an empty choice the first batch is the default; read once, where Django would read them twice.
        self.fields["batch"].choices = [(batch.pk, str(batch)) for batch in BillingBatch.objects.all()]  # type: ignore[attr-defined]
        self.custom_fields = list(CustomField.objects.filter(entity=CustomFieldEntity.ACCOUNT))
        for custom in self.custom_fields:
            self.fields[CUSTOM + custom.name] = _input_for(custom)

    @property
    def custom_inputs(self) -> list[Any]:
        """Return the inputs of the operators' own fields."""
        return [self[CUSTOM + custom.name] for custom in self.custom_fields]

    def values(self) -> dict[str, Any]:
        """Return the arguments for create_account; only of a valid form."""
        plain = {name: self.cleaned_data[name] for name in self.Meta.fields if name in self.cleaned_data}
        custom = {c.name: _plain(self.cleaned_data[CUSTOM + c.name]) for c in self.custom_fields}
        return {
            **plain,
            "number": plain["number"] or None,
            "custom_fields": {name: value for name, value in custom.items() if value not in (None, "")},
        }

    def add_refusal(self, error: ValidationError) -> None:
        """Show what the service objects to beside the field it names, or above the form."""
        problems = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, messages in problems.items():
            self.add_error(name if name in self.fields else None, messages)


def _input_for(custom: CustomField) -> forms.Field:
    """Return the input of one of the operators' own fields."""
    options: dict[str, Any] = {"label": custom.label, "required": custom.required}
    if custom.kind == CustomFieldType.NUMBER:
        return forms.DecimalField(**options)
    if custom.kind == CustomFieldType.DATE:
        return forms.DateField(widget=DayInput, **options)
    if custom.kind == CustomFieldType.PICKLIST:
        return forms.ChoiceField(choices=[("", "–"), *((choice, choice) for choice in custom.choices)], **options)
    return forms.CharField(max_length=200, **options)


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str) else f"{value:f}"


def first_values() -> Mapping[str, Any]:
    """Return what most new accounts will have: the currency of the latest one, due upon receipt."""
    latest = Account.objects.order_by("-pk").values_list("currency", flat=True).first()
    at_once = PaymentTerm.objects.filter(kind=PaymentTermKind.NET, net_days=0).order_by("pk").first()
    return {"currency": latest or "", "payment_term": at_once}


def first_country() -> str:
    """Return the seller's own country, where most customers live."""
    return InvoiceTemplate.objects.filter(is_default=True).values_list("country", flat=True).first() or ""
