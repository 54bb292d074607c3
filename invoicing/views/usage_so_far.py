"""What the pages of accounts and subscriptions show of usage: amounts so far, worked out when the page asks for them."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.clock import business_today
from accounts.models import Account
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from billing.models import RatePlanCharge, Subscription
from invoicing.usage_so_far import CHARGES_SHOWN, charges_of_account, charges_of_subscription, usage_so_far


@require_GET
def account_usage(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell the usage of an account and of others that bill it, as a piece of its page or as a page of its own."""
    account = get_object_or_404(Account, pk=pk)
    charges = charges_of_account(account)
    return _answer(request, charges, account=account, owner=account)


@require_GET
def subscription_usage(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell the usage of a subscription's charges, as a piece of its page or as a page of its own."""
    subscription = get_object_or_404(Subscription.objects.select_related("account"), pk=pk)
    return _answer(request, charges_of_subscription(subscription), account=None, owner=subscription)


def _answer(
    request: HttpRequest, charges: Sequence[RatePlanCharge], *, account: Account | None, owner: Account | Subscription
) -> HttpResponse:
    today = business_today()
    context: dict[str, Any] = {
        "title": "Usage so far",
        "owner": owner,
        "account": account,
        "today": today,
        "found": usage_so_far(charges[:CHARGES_SHOWN], today=today, account=account),
        "has_more": len(charges) > CHARGES_SHOWN,
    }
    piece = "_usage_so_far" if is_fragment_request(request) else "usage_so_far"
    return site.render(request, f"invoicing/{piece}.html", context)
