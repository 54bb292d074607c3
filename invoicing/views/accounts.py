"""What the account page shows of invoicing: the next invoice, worked out when the page asks for it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.clock import business_today
from accounts.models import Account
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from invoicing.next_invoice import next_invoice

LINES_SHOWN = 5


@require_GET
def account_next_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Say when the account is billed next and how much it will be, as a piece of its page or as a page of its own."""
    account = get_object_or_404(Account, pk=pk)
    today = business_today()
    found = next_invoice(account.pk, today=today)
    context = {
        "title": "Next invoice",
        "account": account,
        "next": found,
        "is_due": found.day == today,
        "lines": found.lines[:LINES_SHOWN],
        "more": max(0, len(found.lines) - LINES_SHOWN),
    }
    piece = "_next_invoice" if is_fragment_request(request) else "next_invoice"
    return site.render(request, f"accounts/{piece}.html", context)
