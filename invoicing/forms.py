"""The form of a new bill run: what an operator chooses, and the request it makes of it."""

from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import QueryDict

from accounts.models import SINGLE_LINE, Account, AccountStatus, BillingBatch
from accounts.operator_admin import DayInput
from billing.core.types import ChargeType
from billing.queries import auto_post_allowed, bill_run_defaults
from invoicing.models import BillRun, BillRunScope
from invoicing.services import RunRequest

CHARGE_TYPES = (
    (ChargeType.RECURRING.value, "Recurring charges"),
    (ChargeType.ONE_TIME.value, "One-time charges"),
    (ChargeType.USAGE.value, "Usage charges"),
)
SCOPES = (
    (BillRunScope.ALL.value, "All active accounts"),
    (BillRunScope.BATCHES.value, "Billing batches"),
    (BillRunScope.ACCOUNTS.value, "Chosen accounts"),
)
CYCLE_DAYS = [("", "Any day"), *((str(day), str(day)) for day in range(1, 31)), ("31", "31 (end of month)")]
FOUND_ACCOUNTS = 8
# How the services name what they object to, where the form phrases it otherwise.
FIELD_OF = {"excluded_charge_types": "charge_types"}


class BillRunForm(forms.Form):
    """Which accounts, up to which day, and what happens to the drafts; the last only for people who may do it."""

    name = forms.CharField(
        max_length=100,
        required=False,
        validators=[SINGLE_LINE],
        help_text="For your own orientation, for example July.",
    )
    scope = forms.ChoiceField(label="Accounts", choices=SCOPES, initial=BillRunScope.ALL, widget=forms.RadioSelect)
    batches = forms.ModelMultipleChoiceField(
        BillingBatch.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, label="Batches"
    )
    accounts = forms.ModelMultipleChoiceField(
        Account.objects.none(), required=False, widget=forms.MultipleHiddenInput, label="Chosen accounts"
    )
    bill_cycle_day = forms.TypedChoiceField(
        label="Bill cycle day", choices=CYCLE_DAYS, coerce=int, empty_value=None, required=False,
        help_text="Only accounts that are billed on this day of the month.",
    )  # fmt: skip
    target_date = forms.DateField(
        widget=DayInput, help_text="Everything due up to and including this day is billed, missed days too."
    )
    invoice_date = forms.DateField(widget=DayInput, help_text="Printed on the invoices; the due date counts from it.")
    charge_types = forms.MultipleChoiceField(
        label="Charges to include", choices=CHARGE_TYPES, widget=forms.CheckboxSelectMultiple, required=False
    )
    auto_renew = forms.BooleanField(
        label="Renew subscriptions whose term has ended", required=False,
        help_text="Those with auto-renew whose term ends by the target date; otherwise they are not billed beyond it.",
    )  # fmt: skip
    auto_post = forms.BooleanField(
        label="Post the invoices without review", required=False,
        help_text="Posted invoices are locked; posting cannot be undone.",
    )  # fmt: skip
    auto_email = forms.BooleanField(
        label="E-mail the posted invoices", required=False, help_text="To accounts that want their invoices by e-mail."
    )
    skip_zero_totals = forms.BooleanField(label="No e-mail for invoices with a zero total", required=False)

    def __init__(self, data: QueryDict | None = None, *, user: Any, today: date, **kwargs: Any) -> None:
        first = {
            "target_date": today,
            "invoice_date": today,
            "charge_types": [value for value, _ in CHARGE_TYPES],
            **bill_run_defaults(),
        }
        super().__init__(data, initial={**first, **(kwargs.pop("initial", None) or {})}, **kwargs)
        self.fields["batches"].queryset = BillingBatch.objects.all()  # type: ignore[attr-defined]
        self.fields["accounts"].queryset = Account.objects.order_by("number")  # type: ignore[attr-defined]
        for name in fields_beyond(user):
            del self.fields[name]

    def clean(self) -> dict[str, Any]:
        """Refuse a missing choice of charges in the form's own words."""
        cleaned = super().clean() or {}
        if "charge_types" not in self.errors and not cleaned.get("charge_types"):
            self.add_error("charge_types", "Include at least one kind of charge.")
        return cleaned

    def run_request(self) -> RunRequest:
        """Return what the operator asked for; only of a valid form."""
        values = self.cleaned_data
        scope = BillRunScope(values["scope"])
        chosen = set(values["charge_types"])
        return RunRequest(
            scope=scope,
            target_date=values["target_date"],
            invoice_date=values["invoice_date"],
            batches=tuple(values["batches"]) if scope == BillRunScope.BATCHES else (),
            accounts=tuple(values["accounts"]) if scope == BillRunScope.ACCOUNTS else (),
            bill_cycle_day=values["bill_cycle_day"],
            excluded_charge_types=tuple(kind for kind in ChargeType if kind.value not in chosen),
            auto_post=values.get("auto_post", False),
            auto_email=values.get("auto_email", False),
            email_zero_totals=not values.get("skip_zero_totals", False),
            name=values["name"],
            auto_renew=values["auto_renew"],
        )

    def add_refusal(self, error: ValidationError) -> None:
        """Show a service's objections at the fields they are about."""
        if not hasattr(error, "error_dict"):
            self.add_error(None, error.messages)
            return
        for name, texts in error.message_dict.items():
            field = FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, texts)

    def account_choices(self, search: str = "") -> tuple[list[Account], list[Account]]:
        """Return the accounts chosen so far and those that a search finds besides."""
        raw = [str(value) for value in self["accounts"].value() or []]
        chosen = list(Account.objects.filter(pk__in=[value for value in raw if value.isdigit()]).order_by("number"))
        taken = {account.pk for account in chosen}
        return chosen, [account for account in find_accounts(search) if account.pk not in taken]


def fields_beyond(user: Any) -> list[str]:
    """Return the form's fields that this user, or the billing rules, do not allow."""
    may_post = user.has_perm("invoicing.post_billrun") and auto_post_allowed()
    if not may_post:
        return ["auto_post", "auto_email", "skip_zero_totals"]
    return [] if user.has_perm("invoicing.email_invoice") else ["auto_email", "skip_zero_totals"]


def find_accounts(search: str) -> QuerySet[Account]:
    """Return the active accounts whose number or name begins with the text, or those of a pasted list of numbers."""
    words = search.replace(",", " ").replace(";", " ").split()
    active = Account.objects.filter(status=AccountStatus.ACTIVE).order_by("number")
    if not words:
        return active.none()
    # Prefixes in both spellings use the indexes; a case-insensitive match would read every account.
    text = search.strip()
    wanted = (
        Q(number__startswith=text.upper()) | Q(name__startswith=text) | Q(name__startswith=text[:1].upper() + text[1:])
    )
    if len(words) > 1:
        return active.filter(wanted | Q(number__in=[word.upper() for word in words]))[: max(FOUND_ACCOUNTS, len(words))]
    return active.filter(wanted)[:FOUND_ACCOUNTS]


def initial_from(query: QueryDict) -> dict[str, Any]:
    """Return a form's first values from an address: ?account=7, ?scope=Batches&batches=2, or ?like=98 for another run's."""
    like = str(query.get("like", ""))
    if like.isdigit():
        return _like(BillRun.objects.filter(pk=int(like)).first())
    found: dict[str, Any] = {
        name: query.getlist(name) if name in ("batches", "accounts", "charge_types") else query[name]
        for name in BillRunForm.base_fields
        if name in query
    }
    if query.get("account", "").isdigit():
        found |= {"scope": BillRunScope.ACCOUNTS.value, "accounts": [query["account"]]}
    return found


def _like(run: BillRun | None) -> dict[str, Any]:
    if run is None:
        return {}
    return {
        "name": run.name,
        "scope": run.scope,
        "batches": [batch.pk for batch in run.batches.all()],
        "accounts": [account.pk for account in run.accounts.all()],
        "bill_cycle_day": run.bill_cycle_day,
        "target_date": run.target_date,
        "invoice_date": run.invoice_date,
        "charge_types": [value for value, _ in CHARGE_TYPES if value not in run.excluded_charge_types],
        "auto_renew": run.auto_renew,
        "auto_post": run.auto_post,
        "auto_email": run.auto_email,
        "skip_zero_totals": not run.email_zero_totals,
    }
