"""The form of the billing rules: each rule in one question, one sentence of effect, and choices that say what they do."""

from collections.abc import Mapping
from typing import Any

from django import forms

from accounts.data_fixes import REASON_FIELD, DataFixForm
from billing.core.types import DaysInMonth, PartialMonths, ProrationUnit, RecurringStyle
from billing.models import BillingRules

Options = tuple[tuple[Any, str], ...]

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Parts of a period",
        ("prorate_partial_periods", "partial_months", "bill_partial_weeks", "days_in_month", "proration_unit"),
    ),
    (
        "Recurring and one-time charges",
        ("recurring_style", "bill_past_term_end", "bill_to_term_end_when_auto_renew", "credit_one_time"),
    ),
    (
        "Usage",
        ("bill_usage_partial_months", "rate_usage_individually", "customer_hierarchy", "include_child_usage"),
    ),
    ("Bill runs", ("auto_renew_default", "allow_auto_post", "auto_post_default")),
)
OPTIONS: dict[str, Options] = {
    "prorate_partial_periods": ((True, "Its part of the price"), (False, "The full price")),
    "partial_months": (
        (PartialMonths.PRORATE.value, "Like other partial periods"),
        (PartialMonths.BILL_FULL.value, "Billed at the full price"),
        (PartialMonths.SKIP.value, "Not billed: billing begins on the next billing day"),
    ),
    "bill_partial_weeks": (
        (True, "Like other partial periods"),
        (False, "Not billed: billing begins on the next billing day"),
    ),
    "days_in_month": (
        (DaysInMonth.ACTUAL.value, "As many as it has"),
        (DaysInMonth.ASSUME_30.value, "Always 30"),
        (DaysInMonth.ASSUME_30_STRICT.value, "Always 30, and its last day counts as the 30th"),
    ),
    "proration_unit": (
        (ProrationUnit.MONTH_FIRST.value, "Whole months first, then days"),
        (ProrationUnit.DAY.value, "Days of the whole period"),
    ),
    "credit_one_time": ((False, "Stays billed"), (True, "Is credited in full")),
    "recurring_style": (
        (RecurringStyle.RATE_PLAN.value, "As each charge was sold"),
        (RecurringStyle.IN_ADVANCE.value, "All in advance, when a period begins"),
        (RecurringStyle.IN_ARREARS.value, "All in arrears, when a period is over"),
    ),
    "bill_past_term_end": (
        (False, "Up to the end of the term"),
        (True, "Whole; what lies beyond is credited when the term has ended"),
    ),
    "bill_to_term_end_when_auto_renew": ((True, "Up to the end of the term"), (False, "Whole, beyond the term")),
    "bill_usage_partial_months": (
        (True, "Billed like that of any other period"),
        (False, "Not billed: billing begins on the next billing day"),
    ),
    "rate_usage_individually": (
        (False, "Once, when the usage counted together is added up"),
        (True, "Record by record, before it is added up"),
    ),
    "customer_hierarchy": ((False, "Stand for themselves"), (True, "Can have their usage counted with their parent's")),
    "include_child_usage": (
        (False, "Is refused: the child needs a charge of its own"),
        (True, "Counts for the nearest account above that has a charge for it"),
    ),
    "auto_renew_default": ((True, "Renewed by the run"), (False, "Left as they are")),
    "allow_auto_post": ((True, "Allowed"), (False, "Not allowed: somebody reviews and posts")),
    "auto_post_default": ((False, "Drafts"), (True, "Posted invoices, where the form does not say otherwise")),
}
LABELS = {
    "prorate_partial_periods": "A partial period costs",
    "partial_months": "The first partial month of a monthly charge is",
    "bill_partial_weeks": "The first partial week of a weekly charge is",
    "days_in_month": "Days of a month",
    "proration_unit": "Parts of longer periods are counted in",
    "credit_one_time": "A one-time charge that is removed after it was billed",
    "recurring_style": "Recurring charges are billed",
    "bill_past_term_end": "The last period of a term that is not renewed automatically is billed",
    "bill_to_term_end_when_auto_renew": "The last period of a term that is renewed automatically is billed",
    "bill_usage_partial_months": "Usage of the first partial month or week is",
    "rate_usage_individually": "Usage is rounded as its unit says",
    "customer_hierarchy": "Accounts with a parent account",
    "include_child_usage": "Usage of a child account without a charge for it",
    "auto_renew_default": "Subscriptions whose term has ended, at a new bill run, are",
    "allow_auto_post": "Bill runs that post by themselves are",
    "auto_post_default": "A new bill run makes",
}
EFFECTS = {
    "prorate_partial_periods": "Decides what a charge costs for a period that it begins or ends within.",
    "partial_months": "Applies to the days before the first billing day only; a partial month at the end is always billed.",
    "bill_partial_weeks": "Applies to the days before the first billing day only; a partial week at the end is always billed.",
    "days_in_month": "Decides what one day of a month costs, in charges and in credits.",
    "proration_unit": "Decides how a part of a quarter, a year or another period of several months is worked out.",
    "credit_one_time": "Decides whether removing a one-time charge gives its amount back.",
    "recurring_style": "Decides when a period is due: on its first day, or on the day after its last.",
    "bill_past_term_end": "Concerns periods that reach beyond the term, while the term still runs.",
    "bill_to_term_end_when_auto_renew": "Concerns periods that reach beyond the term, which the next term continues.",
    "bill_usage_partial_months": "Applies to what is used before the first billing day only; it is processed either way.",
    "rate_usage_individually": "Decides what is billed where many small records are each rounded, and what lies beyond their decimals.",
    "customer_hierarchy": "Decides whether usage can go up from an account to its parent; invoices do not change by it.",
    "include_child_usage": "Needs parent and child accounts to be taken together, as chosen above.",
    "auto_renew_default": "Applies to subscriptions that renew automatically; each bill run can say otherwise.",
    "allow_auto_post": "Decides whether the form of a bill run offers to post and e-mail without review.",
    "auto_post_default": "Decides what the form of a new bill run begins with, where posting by itself is allowed.",
}
RULES = tuple(OPTIONS)


class YesNoField(forms.TypedChoiceField):
    """A choice between two named states of a yes-or-no rule."""

    def __init__(self, **options: Any) -> None:
        super().__init__(coerce=lambda value: value == "True", **options)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether another state is chosen; what is stored is a truth value, what is sent its name."""
        return str(initial) != str(data)


class RulesForm(DataFixForm):
    """All billing rules as radio buttons; the reason is asked for once the change was shown in words."""

    class Meta:
        model = BillingRules
        fields = RULES

    def __init__(self, data: Mapping[str, Any] | None = None, *, is_final: bool = False, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        for name in RULES:
            kind = YesNoField if isinstance(OPTIONS[name][0][0], bool) else forms.ChoiceField
            self.fields[name] = kind(
                choices=[(str(value), words) for value, words in OPTIONS[name]],
                label=LABELS[name],
                help_text=EFFECTS[name],
                widget=forms.RadioSelect,
                error_messages={"required": "Choose one of these."},
            )
        self.fields[REASON_FIELD].required = is_final
        self.fields[REASON_FIELD].help_text = "Why the rules change. It is kept in their history."
        self.fields[REASON_FIELD].error_messages["required"] = "Write down why the rules change. Nothing was saved."

    def clean(self) -> dict[str, Any] | None:
        """Refuse child usage where accounts stand for themselves."""
        cleaned = super().clean() or {}
        if cleaned.get("include_child_usage") and cleaned.get("customer_hierarchy") is False:
            self.add_error(
                "include_child_usage",
                "Child usage is counted only where accounts with a parent can have their usage counted with it.",
            )
        return cleaned

    def values(self) -> dict[str, Any]:
        """Return what is chosen for each rule, and what is stored where nothing valid is chosen."""
        self.full_clean()
        chosen = self.cleaned_data if self.is_bound else {}
        return {name: chosen.get(name, self.initial[name]) for name in RULES}

    def changes(self) -> list[str]:
        """Return the rules that are chosen otherwise than they are stored; only of a valid form."""
        return [name for name in RULES if name in self.changed_data]


def words_of(rule: str, value: Any) -> str:
    """Return what a choice of a rule is called."""
    return dict(OPTIONS[rule])[value]
