"""What operators do with accounts: create one with its contact, choose who gets the invoices, find one by typing."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.forms import ContactForm, NewAccountForm, first_country, first_values
from accounts.idempotency import new_request_key, once
from accounts.models import Account, Contact
from accounts.operator_admin import site
from accounts.services import choose_contacts, create_account

SUGGESTIONS = 12
ROLES = {"bill_to": "bill-to", "sold_to": "sold-to"}


@require_http_methods(["GET", "POST"])
@once
def new_account(request: HttpRequest) -> HttpResponse:
    """Show the form of a new account, or create it together with its bill-to contact."""
    if request.method != "POST":
        form = NewAccountForm(initial=dict(first_values()))
        contact = ContactForm(prefix="bill_to", initial={"country": first_country()})
        return _page(request, form, contact)
    form, contact = NewAccountForm(request.POST), ContactForm(request.POST, prefix="bill_to")
    # Both are asked, so that one answer names everything that is wrong.
    if not all([form.is_valid(), contact.is_valid()]):
        return _page(request, form, contact, status=422)
    if form.cleaned_data["email_invoices"] and not contact.cleaned_data["email"]:
        contact.add_error("email", "Invoices go to this address: give one, or switch off sending them by e-mail.")
        return _page(request, form, contact, status=422)
    try:
        account = create_account(bill_to=contact.new_contact(), **form.values())
    except ValidationError as error:
        form.add_refusal(error)
    except LookupError as error:
        form.add_error(None, str(error))
    else:
        return _created(request, account)
    return _page(request, form, contact, status=422)


def _created(request: HttpRequest, account: Account) -> HttpResponse:
    admin: Any = site.get_model_admin(Account)
    admin.log_addition(request, account, [{"added": {}}])
    messages.success(request, f"Account {account.number} is created. Sell it something with a new order.")
    return HttpResponseRedirect(account.get_absolute_url())


def _page(request: HttpRequest, form: NewAccountForm, contact: ContactForm, *, status: int = 200) -> HttpResponse:
    context = {"title": "New account", "form": form, "contact": contact, "request_key": new_request_key()}
    response = site.render(request, "accounts/new.html", context)
    response.status_code = status
    return response


@require_POST
@once
def choose_contact(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a contact of an account the one who gets its invoices, or the one it was sold to."""
    contact = get_object_or_404(Contact.objects.select_related("account"), pk=pk)
    role = request.POST.get("role", "")
    if role not in ROLES:
        raise BadRequest("Choose bill-to or sold-to. Nothing was changed.")
    admin: Any = site.get_model_admin(Account)
    if not admin.has_change_permission(request, contact.account):
        raise PermissionDenied("Your role does not include changing accounts.")
    choose_contacts(account=contact.account, **{role: contact})
    admin.log_change(request, contact.account, f"{contact.name} is the {ROLES[role]} contact.")
    messages.success(request, f"{contact.name} is the {ROLES[role]} contact now.")
    return HttpResponseRedirect(contact.account.get_absolute_url())


@require_GET
def suggest_accounts(request: HttpRequest) -> HttpResponse:
    """Answer typing in a field for an account number with the accounts that begin so."""
    typed = request.GET.get("q") or request.GET.get("parent", "")
    return site.render(request, "accounts/_suggestions.html", {"accounts": matching_accounts(typed)[:SUGGESTIONS]})


def matching_accounts(typed: str) -> QuerySet[Account]:
    """Return the accounts whose number or name begins with what was typed, by number; all of them for nothing."""
    text = typed.strip()[:100]
    found = Account.objects.order_by("number")
    if not text:
        return found
    as_number, as_name = Q(number__startswith=text.upper()), Q(name__startswith=text)
    return found.filter(as_number | as_name | Q(name__startswith=text[:1].upper() + text[1:]))
