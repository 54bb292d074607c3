"""The page of the billing rules: worked examples that follow the choice, and a change that says whom it concerns first."""

from typing import Any, NamedTuple

from django.contrib import messages
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.clock import business_today
from accounts.data_fixes import REASON_FIELD
from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import number
from billing.forms.rules import GROUPS, LABELS, RULES, RulesForm, words_of
from billing.models import BillingRules
from billing.rule_choices import Choices, choices_from
from billing.rule_effects import Concern, concern_of
from billing.rule_examples import examples_of

PAGE = "admin:billing_billingrules_change"
CHANGE = "billing.change_billingrules"


class OtherChoice(NamedTuple):
    """What another choice would come to."""

    words: str
    outcome: str


class ShownExample(NamedTuple):
    """A worked example as drawn."""

    story: str
    results: list[Any]
    instead: list[OtherChoice]


class Row(NamedTuple):
    """A rule as drawn: its question, what is chosen, and its worked examples."""

    name: str
    field: BoundField
    chosen: str
    examples: list[ShownExample]


class Change(NamedTuple):
    """A changed rule in words, with whom it concerns."""

    rule: str
    before: str
    after: str
    concern: str


@require_http_methods(["GET", "POST"])
@once
def rules_page(request: HttpRequest) -> HttpResponse:
    """Show the rules; ask before changing them, with whom it concerns; change them once a reason is given.

    Who may post is for the caller to check: a refused request must not leave its key behind.
    """
    if request.method != "POST":
        return _page(request, RulesForm(instance=_rules()))
    is_final = "confirmed" in request.POST
    # Locked, so that what the form compares with what is stored stays true until it is saved.
    form = RulesForm(request.POST, instance=_rules(lock=is_final), is_final=is_final)
    if "examples" in request.POST:
        return _page(request, form, quiet=True)
    if not form.is_valid():
        only_the_reason = is_final and set(form.errors) == {REASON_FIELD}
        return _confirmation(request, form, status=422) if only_the_reason else _page(request, form, status=422)
    if not form.changes():
        messages.info(request, "No rule is chosen otherwise than before. Nothing was changed.")
        return HttpResponseRedirect(_address())
    return _saved(request, form) if is_final else _confirmation(request, form)


@require_GET
def examples(request: HttpRequest) -> HttpResponse:
    """Answer a choice with the worked examples under it; nothing is saved."""
    if not is_fragment_request(request):
        return HttpResponseRedirect(_address())
    form = RulesForm(request.GET, instance=_rules())
    return site.render(request, "billing/_rule_examples.html", {"rows": _rows(form), "is_fragment": True})


def _address() -> str:
    return reverse(PAGE, args=[1])


def _rules(*, lock: bool = False) -> BillingRules:
    rows = BillingRules.objects.select_for_update() if lock else BillingRules.objects
    return rows.get(pk=1)


def _rows(form: RulesForm) -> list[Row]:
    values = form.values()
    choices = choices_from(values)
    return [Row(name, form[name], words_of(name, values[name]), _examples(name, choices)) for name in RULES]


def _examples(rule: str, choices: Choices) -> list[ShownExample]:
    return [
        ShownExample(
            found.story,
            found.results,
            [OtherChoice(words_of(rule, value), outcome) for value, outcome in found.instead],
        )
        for found in examples_of(rule, choices)
    ]


def _page(request: HttpRequest, form: RulesForm, *, status: int = 200, quiet: bool = False) -> HttpResponse:
    rows = {row.name: row for row in _rows(form)}
    context = {
        "title": "Billing rules",
        "form": form,
        "groups": [(title, [rows[name] for name in names]) for title, names in GROUPS],
        "may_change": request.user.has_perm(CHANGE),
        "quiet": quiet,
        "key_field": FIELD,
        "request_key": new_request_key(),
    }
    response = site.render(request, "billing/rules.html", context)
    response.status_code = status
    return response


def _confirmation(request: HttpRequest, form: RulesForm, *, status: int = 200) -> HttpResponse:
    """Say in words what changes and whom it concerns, and ask for the reason."""
    today, sent = business_today(), form.cleaned_data
    form.fields[REASON_FIELD].required = True
    changes = []
    for rule in form.changes():
        before, after = form.initial[rule], sent[rule]
        concern = concern_of(rule, before, after, today=today)
        changes.append(Change(LABELS[rule], words_of(rule, before), words_of(rule, after), _words(concern)))
    context = {
        "title": "Change the billing rules?",
        "form": form,
        "changes": changes,
        "hidden": [(FIELD, new_request_key()), *((name, sent[name]) for name in RULES)],
        "address": _address(),
    }
    response = site.render(request, "billing/rules_confirm.html", context)
    response.status_code = status
    return response


def _words(concern: Concern | None) -> str:
    if concern is None:
        return "Concerns the form of new bill runs. No charge is billed otherwise."
    if not concern.charges:
        return f"Concerns no active charge at present: there are no active {concern.who}."
    charges = f"{number(concern.charges)} active {'charge' if concern.charges == 1 else 'charges'}"
    accounts = f"{number(concern.accounts)} {'account' if concern.accounts == 1 else 'accounts'}"
    return f"Concerns {charges} of {accounts}: all {concern.who}."


def _saved(request: HttpRequest, form: RulesForm) -> HttpResponse:
    rules = form.save()
    admin: Any = site.get_model_admin(BillingRules)
    admin.log_change(request, rules, admin.construct_change_message(request, form, []))
    messages.success(request, "The billing rules are changed. They hold from the next bill run on.")
    return HttpResponseRedirect(_address())
