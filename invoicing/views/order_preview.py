"""What an order that is being written would cause: the invoices and credits of the next bill run, nothing written."""

from datetime import date
from typing import Any

from django.core.exceptions import BadRequest, ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from accounts.clock import business_today
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from billing.forms.orders import OrderForm
from billing.views.orders import account_of, order_form
from invoicing.order_preview import preview_order

LINES_SHOWN = 12
BUSY = "One of these accounts is being billed right now; the preview will be there in a moment. Nothing was changed."


@require_POST
def order_preview(request: HttpRequest) -> HttpResponse:
    """Show what the order would cause, as a piece of its page or, without a script, as a page that asks to place it."""
    account = account_of(request.POST)
    if account is None:
        raise BadRequest("The order names no account. Open the page again; nothing was changed.")
    context = _preview(order_form(request.POST, account), request.POST.get("until", ""))
    if is_fragment_request(request):
        return site.render(request, "invoicing/order_preview/_preview.html", context)
    kept = {"csrfmiddlewaretoken", "refresh", "create", "add", "drop", "until"}
    context |= {
        "title": "New order",
        "account": account,
        "hidden": [(name, value) for name, values in request.POST.lists() if name not in kept for value in values],
    }
    return site.render(request, "invoicing/order_preview/page.html", context)


def _preview(form: OrderForm, until: str) -> dict[str, Any]:
    if not form.is_valid():
        return {"flaws": _flaws(form)}
    try:
        found = preview_order(
            account=form.account,
            order_date=form.cleaned_data["order_date"],
            actions=form.requested(),
            today=business_today(),
            target_date=_day(until),
        )
    except ValidationError as error:
        form.add_refusal(error)
        return {"flaws": _flaws(form)}
    except LookupError as error:
        return {"flaws": [str(error)]}
    except OperationalError:
        return {"flaws": [BUSY]}
    return {"preview": found, "currency": form.account.currency, "lines_shown": LINES_SHOWN}


def _flaws(form: OrderForm) -> list[str]:
    """Return what is still missing or wrong, each naming its field, the first of each."""
    found = [_named(form, name, texts) for name, texts in form.errors.items()]
    for position, action in enumerate(form.actions, start=1):
        asked = [action, *action.charge_forms]
        named = [_named(each, name, texts) for each in asked for name, texts in each.errors.items()]
        found += [f"Action {position}: {text}" if len(form.actions) > 1 else text for text in named]
    return found


def _named(form: Any, name: str, texts: Any) -> str:
    if name not in form.fields:
        return str(texts[0])
    label = form[name].label
    return f"{label}: {texts[0]}"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
