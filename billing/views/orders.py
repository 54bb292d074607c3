"""Taking an order in the browser: choose the account, then what it buys; nothing is written until all of it is right."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.clock import business_today
from accounts.idempotency import new_request_key, once
from accounts.models import Account, AccountStatus
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.views import matching_accounts
from billing.forms.orders import PLANS_SHOWN, OrderForm, plans_for
from billing.models import Order
from billing.services.orders import create_order

ACCOUNTS_SHOWN = 12


@require_http_methods(["GET", "POST"])
@once
def new_order(request: HttpRequest) -> HttpResponse:
    """Ask which account orders, show the form, or create the order with its subscription."""
    sent = request.POST if request.method == "POST" else request.GET
    account = _account(sent)
    if account is None:
        return _choose_account(request, sent.get("find", ""))
    if request.method != "POST":
        return _order_page(request, _form(None, account, request.GET), find=request.GET.get("find_plan", ""))
    form = _form(request.POST, account, request.POST)
    if form.is_valid():
        try:
            order = create_order(
                account=account,
                order_date=form.cleaned_data["order_date"],
                subscriptions=[form.subscription()],
                user_id=request.user.pk,
                description=form.cleaned_data["description"],
            )
        except ValidationError as error:
            form.add_refusal(error)
        except LookupError as error:
            form.add_error(None, str(error))
        else:
            return _created(request, order)
    return _order_page(request, form, status=422)


@require_GET
def plan_choices(request: HttpRequest) -> HttpResponse:
    """Answer the search for rate plans: those chosen so far stay, those found can be ticked."""
    account = _account(request.GET)
    if account is None or not is_fragment_request(request):
        return HttpResponseRedirect(f"{reverse('admin:billing_order_new')}?{request.GET.urlencode()}")
    form = _form(request.GET, account, request.GET)
    context = {"form": form, "account": account, "limit": PLANS_SHOWN}
    return site.render(request, "billing/_plan_choices.html", context)


def _account(sent: QueryDict) -> Account | None:
    pk = sent.get("account", "")
    return Account.objects.filter(pk=pk).first() if pk.isdigit() else None


def _form(data: QueryDict | None, account: Account, sent: QueryDict) -> OrderForm:
    today = business_today()
    chosen = [int(value) for value in sent.getlist("plans") if value.isdigit()][:100]
    offered = plans_for(day=today, find=sent.get("find_plan", ""), chosen=chosen)
    return OrderForm(data, account=account, today=today, offered=offered, initial={"plans": chosen})


def _choose_account(request: HttpRequest, find: str) -> HttpResponse:
    found = matching_accounts(find).filter(status=AccountStatus.ACTIVE)[:ACCOUNTS_SHOWN]
    context = {"title": "New order", "accounts": found, "find": find}
    piece = "_account_links" if is_fragment_request(request) else "choose_account"
    return site.render(request, f"billing/{piece}.html", context)


def _order_page(request: HttpRequest, form: OrderForm, *, find: str = "", status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "title": "New order",
        "form": form,
        "account": form.account,
        "find_plan": find,
        "limit": PLANS_SHOWN,
        "request_key": new_request_key(),
    }
    response = site.render(request, "billing/new_order.html", context)
    response.status_code = status
    return response


def _created(request: HttpRequest, order: Order) -> HttpResponse:
    admin: Any = site.get_model_admin(Order)
    admin.log_addition(request, order, [{"added": {}}])
    made = [
        action.subscription.number for action in order.actions.select_related("subscription") if action.subscription
    ]
    messages.success(
        request, f"Order {order.number} is complete: {', '.join(made)} will be billed by the next bill run."
    )
    return HttpResponseRedirect(order.get_absolute_url())
