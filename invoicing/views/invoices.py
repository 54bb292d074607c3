"""What operators do with one invoice: look at its PDF, post, cancel and e-mail it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_http_methods

from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.wording import day, money
from invoicing.documents import pdf_bytes
from invoicing.models import Invoice, InvoiceStatus
from invoicing.posting import CancelError, PostingError
from invoicing.rendering import RenderingUnavailable
from invoicing.services import cancel_invoice as cancel
from invoicing.services import email_invoice as send
from invoicing.services import post_invoice as post


@require_GET
def invoice_pdf(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the invoice's PDF in the page, or as a download with `?download=1`."""
    invoice = get_object_or_404(Invoice.objects.select_related("account", "bill_to", "payment_term", "template", "template_version"), pk=pk)
    try:
        content = pdf_bytes(invoice)
    except RenderingUnavailable as error:
        return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")
    name = f"{invoice}.pdf".replace("/", "-")
    kind = "attachment" if request.GET.get("download") else "inline"
    headers = {"Content-Disposition": f'{kind}; filename="{name}"'}
    if invoice.status == InvoiceStatus.POSTED:
        # The stored bytes never change, so a browser may keep them.
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return HttpResponse(content, content_type="application/pdf", headers=headers)


@require_http_methods(["GET", "POST"])
@once
def post_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before posting a draft, and post it if its total is still the one that was shown."""
    invoice = _invoice(pk)
    if request.method != "POST":
        return _ask_to_post(request, invoice)
    if request.POST.get("expected") != f"{invoice.total:f}":
        return _ask_to_post(request, invoice, changed="This draft changed since you opened the dialog. Nothing was posted; check the new total.")
    try:
        post(invoice, user_id=_user_id(request))
    except (ValidationError, PostingError) as error:
        return _say(request, invoice, error)
    invoice.refresh_from_db()
    messages.success(request, f"{invoice.number} is posted and locked.")
    return _back(invoice)


@require_http_methods(["GET", "POST"])
@once
def cancel_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before canceling a draft; its days are billed again by the next run."""
    invoice = _invoice(pk)
    if request.method != "POST":
        context = {
            "heading": f"Cancel {invoice}?",
            "text": "The draft stays on record as canceled. What it billed becomes due again and is billed by the next bill run.",
            "facts": [("Account", str(invoice.account)), ("Total", money(invoice.total, invoice.currency))],
            "verb": "Cancel this draft",
            "keep": "Keep the draft",
            "danger": True,
        }
        return _dialog(request, invoice, "cancel", context)
    try:
        cancel(invoice)
    except (ValidationError, CancelError) as error:
        return _say(request, invoice, error)
    messages.success(request, f"{invoice} is canceled. What it billed is due again.")
    return _back(invoice)


@require_http_methods(["GET", "POST"])
@once
def email_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before e-mailing a posted invoice, also when it was sent before."""
    invoice = _invoice(pk)
    sent = invoice.deliveries.filter(state="Sent").count()
    if request.method != "POST":
        recipients = [(invoice.snapshot or {}).get("bill_to", {}).get("email", ""), *invoice.account.additional_emails]
        context = {
            "heading": f"E-mail {invoice}?",
            "text": f"It was sent {sent} {'time' if sent == 1 else 'times'} before. It will be sent once more, with the same PDF." if sent else "The PDF goes to:",
            "facts": [("To", ", ".join(filter(None, recipients)) or "no address")],
            "verb": "Send again" if sent else "Send e-mail",
            "keep": "Do not send",
        }
        return _dialog(request, invoice, "email", context)
    try:
        delivery = send(invoice, user_id=_user_id(request))
    except ValidationError as error:
        return _say(request, invoice, error)
    messages.success(request, f"{invoice} is queued for {', '.join(delivery.recipients)}.")
    return _back(invoice)


def _ask_to_post(request: HttpRequest, invoice: Invoice, *, changed: str = "") -> HttpResponse:
    context = {
        "heading": f"Post {invoice}?",
        "text": "Posting gives the invoice its number and locks it. It cannot be undone; later corrections are made with adjustments.",
        "facts": [
            ("Account", str(invoice.account)),
            ("Invoice date", day(invoice.invoice_date)),
            ("Due date", day(invoice.due_date)),
            ("Total", money(invoice.total, invoice.currency)),
        ],
        "verb": "Post 1 invoice",
        "keep": "Keep as draft",
        "changed": changed,
        "extra": [("expected", f"{invoice.total:f}")],
    }
    return _dialog(request, invoice, "post", context, status=409 if changed else 200)


def _dialog(request: HttpRequest, invoice: Invoice, verb: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    context["action"] = request.path
    context["back_url"] = invoice.get_absolute_url()
    context["hidden"] = [(FIELD, new_request_key()), *context.pop("extra", [])]
    context["title"] = context["heading"]
    response = site.render_dialog(request, "components/confirm.html", context)
    response.status_code = status
    return response


def _say(request: HttpRequest, invoice: Invoice, error: Exception) -> HttpResponse:
    """Return to the invoice with the reason why nothing happened."""
    text = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    messages.error(request, text)
    return _back(invoice)


def _back(invoice: Invoice) -> HttpResponseRedirect:
    return HttpResponseRedirect(invoice.get_absolute_url())


def _invoice(pk: int) -> Invoice:
    return get_object_or_404(Invoice.objects.select_related("account"), pk=pk)


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
