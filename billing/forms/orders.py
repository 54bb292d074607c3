"""The form of an order: when it was agreed on, and its actions one after the other, each a form of its own.

The page sends `actions`, one reference an action (“2:update:s17”: key, kind, subscription 17; “3:add:c1”: the
subscription that action 1 creates), and each action's inputs prefixed by its key. So nothing is kept between requests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from accounts.models import SINGLE_LINE, Account
from accounts.operator_admin import DayInput
from billing.forms.action_form import ActionForm, Subject, Surroundings, subject_of
from billing.forms.amendments import (
    CancelForm,
    RemoveProductForm,
    RenewForm,
    ResumeForm,
    SuspendForm,
    TermsForm,
    TriggerDatesForm,
    UpdateProductForm,
)
from billing.forms.new_subscription import AddProductForm, NewSubscriptionForm, SellingForm
from billing.forms.quiet import QuietForm
from billing.forms.sold_plans import chosen_plans, plans_for
from billing.models import Subscription, SubscriptionStatus
from billing.queries import billed_until
from billing.services.order_loading import load_states
from billing.services.order_requests import Action, OrderRefusedError

MOST_ACTIONS = 30
SUBSCRIPTIONS_SHOWN = 50
_FORMS: tuple[type[ActionForm], ...] = (
    NewSubscriptionForm,
    UpdateProductForm,
    AddProductForm,
    RemoveProductForm,
    RenewForm,
    SuspendForm,
    ResumeForm,
    TriggerDatesForm,
    TermsForm,
    CancelForm,
)
FORMS = {form.kind: form for form in _FORMS}
AMENDMENTS = [kind for kind in FORMS if kind != NewSubscriptionForm.kind]


@dataclass(frozen=True)
class Reference:
    """An action as the page names it: its key, its kind, and what it is about (“s17”, “c1” or nothing)."""

    key: str
    kind: str
    about: str = ""

    @property
    def subscription_id(self) -> int | None:
        return int(self.about[1:]) if self.about.startswith("s") else None

    @property
    def created_by(self) -> str:
        return self.about[1:] if self.about.startswith("c") else ""


def references(sent: Sequence[str]) -> list[Reference]:
    """Return the actions that a page sent, those that cannot be read left out."""
    found = []
    for text in sent[:MOST_ACTIONS]:
        key, kind, about = [*text.split(":"), "", "", ""][:3]
        if kind in FORMS and _is_number(key, 4) and (_is_number(about[1:], 18) if kind in AMENDMENTS else not about):
            found.append(Reference(key, kind, about))
    return found


def _is_number(text: str, longest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= longest


class OrderForm(QuietForm):
    """An order of one account; `actions` holds the form of each of its actions."""

    order_date = forms.DateField(widget=DayInput, help_text="The day the customer agreed.")
    description = forms.CharField(max_length=200, required=False, label="Note on the order", validators=[SINGLE_LINE])
    add_kind = forms.ChoiceField(required=False, label="Action")
    add_about = forms.CharField(
        required=False, max_length=60, label="Subscription", help_text="Its number; not needed for a new subscription."
    )

    def __init__(
        self, data: QueryDict | None, *, account: Account, today: date, wanted: Sequence[Reference], **options: Any
    ) -> None:
        self.plans = options.pop("plans", ())
        super().__init__(data, initial={"order_date": today}, **options)
        self.account, self.today = account, today
        self.fields["add_kind"].choices = [(kind, form.title) for kind, form in FORMS.items()]  # type: ignore[attr-defined]
        self.fields["add_about"].widget.attrs |= {"list": "subscriptions", "autocomplete": "off"}
        self.lost = 0
        self.actions: list[ActionForm] = self._action_forms(data, wanted)

    def _action_forms(self, data: QueryDict | None, wanted: Sequence[Reference]) -> list[ActionForm]:
        existing = self._subjects(wanted)
        offered = self._offered(data, wanted)
        found: dict[str, ActionForm] = {}
        for reference in wanted:
            key, kind = reference.key, reference.kind
            subject: Subject | None = None
            if reference.created_by:
                creator = found.get(reference.created_by)
                subject = creator.created() if isinstance(creator, NewSubscriptionForm) else None
            elif reference.subscription_id is not None:
                subject = existing.get(reference.subscription_id)
            if kind in AMENDMENTS and subject is None:
                self.lost += 1
                continue
            around = Surroundings(self.account, self.today, offered.get(key, ()))
            initial = {"plans": list(self.plans)} if kind == NewSubscriptionForm.kind and not found else {}
            found[key] = FORMS[kind](data, key=key, around=around, subject=subject, quiet=self.quiet, initial=initial)
        self._set_billed_until(found.values())
        return list(found.values())

    def _subjects(self, wanted: Sequence[Reference]) -> dict[int, Subject]:
        """Return the account's subscriptions that actions are about, in a fixed number of queries."""
        ids = {reference.subscription_id for reference in wanted if reference.subscription_id is not None}
        if not ids:
            return {}
        rows = Subscription.objects.filter(pk__in=ids, account=self.account).select_related("invoice_owner")
        owners = {row.pk: row.invoice_owner for row in rows}
        states = load_states(owners, {owner.pk: owner for owner in owners.values()})
        return {pk: subject_of(state, self.account.currency) for pk, state in states.items()}

    def _offered(self, data: QueryDict | None, wanted: Sequence[Reference]) -> dict[str, list[Any]]:
        """Return the plans on offer by action; actions that search for the same share one search."""
        selling = [ref.key for ref in wanted if issubclass(FORMS[ref.kind], SellingForm)]
        chosen = {key: chosen_plans(data, f"{key}-plans") if data is not None else list(self.plans) for key in selling}
        searched = {key: "" if data is None else data.get(f"{key}-find_plan", "").strip() for key in selling}
        all_chosen = [pk for ids in chosen.values() for pk in ids]
        found = {
            text: plans_for(day=self.today, find=text, chosen=all_chosen) for text in sorted(set(searched.values()))
        }
        others = {key: set(all_chosen) - set(chosen[key]) for key in selling}
        return {key: [plan for plan in found[searched[key]] if plan.pk not in others[key]] for key in selling}

    def _set_billed_until(self, actions: Iterable[ActionForm]) -> None:
        """Tell cancellations until when their subscription is billed, in one query."""
        canceling = {
            action: action.subject.state.row.pk
            for action in actions
            if isinstance(action, CancelForm) and action.subject is not None and action.subject.state is not None
        }
        days = billed_until(canceling.values()) if canceling else {}
        for action, pk in canceling.items():
            action.billed_until = days.get(pk)

    # What the page asks ----------------------------------------------------------------------------------------------

    @property
    def subscriptions(self) -> list[tuple[str, str]]:
        """Return number and name of the account's subscriptions that can be named, the latest ones."""
        found = self.account.subscriptions.exclude(status=SubscriptionStatus.CANCELED).order_by("-pk")
        return list(found.values_list("number", "name")[:SUBSCRIPTIONS_SHOWN])

    @property
    def is_flawed(self) -> bool:
        return bool(self.errors) or any(action.errors for action in self.actions)

    def is_valid(self) -> bool:
        """Tell whether the order and all its actions can be read."""
        is_sound = all([super().is_valid(), *(action.is_valid() for action in self.actions)])
        if not self.actions:
            self.add_error(None, "An order needs at least one action: choose what it does.")
            return False
        return is_sound

    def requested(self) -> list[Action]:
        """Return the actions as the order takes them; only of a valid form."""
        positions = {action.key: position for position, action in enumerate(self.actions, start=1)}
        return [action.action(positions) for action in self.actions]

    def add_refusal(self, error: ValidationError) -> None:
        """Show what the service objects to beside the action and the field it is about, or above the form."""
        if isinstance(error, OrderRefusedError):
            for position, field, message in error.problems:
                if position is None:
                    self.add_error(field if field in self.fields else None, message)
                else:
                    self.actions[position - 1].add_refusal(field, message)
            return
        problems = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, messages in problems.items():
            self.add_error(name if name in self.fields else None, messages)

    def new_reference(self, data: QueryDict, next_key: str) -> Reference | None:
        """Return the action that the page asks to be added; None, with an error, when it cannot be."""
        kind, about = data.get("add_kind", ""), data.get("add_about", "").strip()
        if kind not in FORMS:
            self.add_error("add_kind", "Choose what the order does.")
        elif len(self.actions) >= MOST_ACTIONS:
            self.add_error("add_kind", f"An order on this page has at most {MOST_ACTIONS} actions; place a second one.")
        elif kind == NewSubscriptionForm.kind:
            return Reference(next_key, kind)
        else:
            named = self._named(about)
            if named:
                return Reference(next_key, kind, named)
        return None

    def _named(self, text: str) -> str:
        """Return what a subscription is called in a reference: by its number, or by the action that creates it."""
        place = text.casefold().removeprefix("action").strip()
        for position, action in enumerate(self.actions, start=1):
            if place == str(position) and isinstance(action, NewSubscriptionForm):
                return f"c{action.key}"
        if not text:
            self.add_error("add_about", "Which subscription? Write its number, or the action that creates it.")
            return ""
        number = text.split(" ")[0]
        found = self.account.subscriptions.filter(number__iexact=number).first()
        if found is None:
            self.add_error("add_about", f"Account {self.account.number} has no subscription {text}.")
        return f"s{found.pk}" if found else ""
