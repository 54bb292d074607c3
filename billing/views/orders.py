"""Taking an order in the browser: choose the account, then what it buys or changes; nothing is written until all of it is right."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.views.decorators.http import require_http_methods

from accounts.clock import business_today
from accounts.idempotency import new_request_key, once
from accounts.models import Account, AccountStatus
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.views import matching_accounts
from billing.forms.new_subscription import NewSubscriptionForm
from billing.forms.orders import OrderForm, Reference, references
from billing.forms.sold_plans import PLANS_SHOWN, chosen_plans
from billing.models import Order, Subscription
from billing.services.orders import place_order

ACCOUNTS_SHOWN = 12
EDITS = ("add", "drop", "refresh")


@require_http_methods(["GET", "POST"])
@once
def new_order(request: HttpRequest) -> HttpResponse:
    """Ask which account orders, show the form, change which actions it has, or place the order."""
    sent = request.POST if request.method == "POST" else request.GET
    account = account_of(sent)
    if account is None:
        return _choose_account(request, sent.get("find", ""))
    if request.method != "POST":
        wanted = [_first_action(request.GET)]
        plans = chosen_plans(request.GET, "plans")
        return _order_page(
            request, OrderForm(None, account=account, today=business_today(), wanted=wanted, plans=plans)
        )
    if any(name in request.POST for name in EDITS):
        return _edited(request, account)
    form = order_form(request.POST, account)
    if form.is_valid():
        try:
            order = place_order(
                account=account,
                order_date=form.cleaned_data["order_date"],
                actions=form.requested(),
                user_id=request.user.pk,
                description=form.cleaned_data["description"],
            )
        except ValidationError as error:
            form.add_refusal(error)
        except LookupError as error:
            form.add_error(None, str(error))
        else:
            return _placed(request, order)
    return _order_page(request, form, status=422)


def account_of(sent: QueryDict) -> Account | None:
    """Return the account an order is for: the one named, or that of the subscription it begins with."""
    pk, subscription = sent.get("account", ""), sent.get("subscription", "")
    if pk.isascii() and pk.isdigit():
        return Account.objects.filter(pk=pk).first()
    if subscription.isascii() and subscription.isdigit():
        return Account.objects.filter(subscriptions=int(subscription)).first()
    return None


def order_form(sent: QueryDict, account: Account, *, quiet: bool = False) -> OrderForm:
    """Return the form of what a page sent."""
    return OrderForm(
        sent, account=account, today=business_today(), wanted=references(sent.getlist("actions")), quiet=quiet
    )


def _first_action(asked: QueryDict) -> Reference:
    """Return the action that a link asks for, else a new subscription."""
    kind, subscription = asked.get("kind", ""), asked.get("subscription", "")
    asked_for = references([f"1:{kind}:s{subscription}"])
    return asked_for[0] if asked_for else Reference("1", NewSubscriptionForm.kind)


def _edited(request: HttpRequest, account: Account) -> HttpResponse:
    """Show the form with an action more or less; what is written in it so far stays and is not judged yet."""
    sent = request.POST.copy()
    wanted = references(sent.getlist("actions"))
    if "drop" in sent:
        # What an action creates goes with it, and so do the actions about that.
        gone = sent["drop"]
        wanted = [ref for ref in wanted if gone not in (ref.key, ref.created_by)]
    form = OrderForm(sent, account=account, today=business_today(), wanted=wanted, quiet=True)
    added = None
    if "add" in sent:
        next_key = str(max((int(ref.key) for ref in wanted), default=0) + 1)
        added = form.new_reference(sent, next_key)
        if added is not None:
            for name in ("add_kind", "add_about"):
                sent.pop(name, None)
            form = OrderForm(sent, account=account, today=business_today(), wanted=[*wanted, added], quiet=True)
    return _order_page(request, form, added=added)


def _choose_account(request: HttpRequest, find: str) -> HttpResponse:
    found = matching_accounts(find).filter(status=AccountStatus.ACTIVE)[:ACCOUNTS_SHOWN]
    context = {"title": "New order", "accounts": found, "find": find}
    piece = "_account_links" if is_fragment_request(request) else "choose_account"
    return site.render(request, f"billing/{piece}.html", context)


def _order_page(
    request: HttpRequest, form: OrderForm, *, added: Reference | None = None, status: int = 200
) -> HttpResponse:
    context: dict[str, Any] = {
        "title": "New order",
        "form": form,
        "account": form.account,
        "added": added and added.key,
        "limit": PLANS_SHOWN,
        "request_key": new_request_key(),
    }
    response = site.render(request, "billing/orders/new.html", context)
    response.status_code = status
    return response


def _placed(request: HttpRequest, order: Order) -> HttpResponse:
    admin: Any = site.get_model_admin(Order)
    admin.log_addition(request, order, [{"added": {}}])
    about = Subscription.objects.filter(order_actions__order=order).distinct().order_by("pk")
    numbers = list(about.values_list("number", flat=True)[:5])
    more = about.count() - len(numbers) if len(numbers) == 5 else 0
    named = ", ".join(numbers) + (f" and {more} more" if more else "")
    messages.success(request, f"Order {order.number} is complete: {named} will be billed by the next bill run.")
    return HttpResponseRedirect(order.get_absolute_url())
