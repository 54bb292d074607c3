"""What operators do with one invoice: look at its PDF, post, cancel and e-mail it."""

import json
from hashlib import sha256
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_GET, require_http_methods

from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.wording import day, money
from invoicing import services
from invoicing.documents import DRAFT_LINES, document_values, draft_document, drawing_weight, stored_document
from invoicing.models import DeliveryState, Invoice, InvoiceDocument, InvoiceStatus
from invoicing.posting import CancelError, PostingError
from invoicing.rendering import RenderingUnavailable
from invoicing.tasks import ring_pdf

LOOK_AGAIN_SECONDS = 5
NAMED_ON_PDF = ("account__sold_to", "bill_to", "payment_term", "template", "template_version")


@require_GET
def invoice_pdf(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the invoice's PDF in the page, or as a download with `?download=1`."""
    invoice = get_object_or_404(Invoice.objects.select_related(*NAMED_ON_PDF), pk=pk)
    kind = "attachment" if request.GET.get("download") else "inline"
    name = f"{invoice}.pdf".replace("/", "-")
    headers = {"Content-Disposition": f'{kind}; filename="{name}"', "Cache-Control": "private, no-cache"}
    try:
        if invoice.status == InvoiceStatus.POSTED:
            if pdf_waits(invoice):
                return _being_drawn(request, invoice)
            document = stored_document(invoice)
            headers["ETag"] = quote_etag(document.sha256)
            return _unless_known(request, headers) or _pdf(bytes(document.content), headers)
        # A draft is drawn anew for each look, unless nothing on it has changed since the last one.
        values = document_values(invoice)
        headers["ETag"] = quote_etag(sha256(json.dumps(values, sort_keys=True).encode()).hexdigest())
        return _unless_known(request, headers) or _pdf(draft_document(invoice, values=values).content, headers)
    except RenderingUnavailable as error:
        return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")


def pdf_waits(invoice: Invoice) -> bool:
    """Tell whether a posted invoice is too long for its first PDF to be drawn while somebody waits."""
    is_stored = InvoiceDocument.objects.filter(invoice=invoice).exists()
    return not is_stored and drawing_weight(invoice, invoice.items.count()) > DRAFT_LINES


def _being_drawn(request: HttpRequest, invoice: Invoice) -> HttpResponse:
    """Have the PDF drawn in the background, and answer with a page that looks again."""
    if "again" not in request.GET:
        ring_pdf(invoice.pk)
    context = {"title": f"PDF of {invoice}", "invoice": invoice}
    response = site.render(request, "invoicing/invoice/being_drawn.html", context)
    response.status_code = 202
    response.headers["Refresh"] = f"{LOOK_AGAIN_SECONDS}; url={request.path}?again=1"
    return response


def _unless_known(request: HttpRequest, headers: dict[str, str]) -> HttpResponse | None:
    """Return 304 when the browser has these very bytes already."""
    known = get_conditional_response(request, etag=headers["ETag"])
    if known is not None:
        known["Cache-Control"] = headers["Cache-Control"]
    return known


def _pdf(content: bytes, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(content, content_type="application/pdf", headers=headers)


@require_http_methods(["GET", "POST"])
@once
def post_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before posting a draft, and post it if its total is still the one that was shown."""
    invoice = _invoice(request, pk)
    if invoice.status != InvoiceStatus.DRAFT:
        return _say(request, invoice, f"{_state(invoice)}, so there is nothing to post.")
    if request.method != "POST":
        return _ask_to_post(request, invoice)
    if request.POST.get("expected") != f"{invoice.total:f}":
        changed = "This draft changed since you opened the dialog. Nothing was posted; check the new total."
        return _ask_to_post(request, invoice, changed=changed)
    try:
        services.post_invoice(invoice, user_id=_user_id(request))
    except (ValidationError, PostingError) as error:
        return _say(request, invoice, error)
    invoice.refresh_from_db()
    return _done(request, invoice, "Posted.", f"{invoice.number} is posted and locked.")


@require_http_methods(["GET", "POST"])
@once
def cancel_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before canceling a draft; its days are billed again by the next run."""
    invoice = _invoice(request, pk)
    if invoice.status != InvoiceStatus.DRAFT:
        return _say(request, invoice, f"{_state(invoice)}, so it cannot be canceled.")
    if request.method != "POST":
        context = {
            "heading": f"Cancel {invoice}?",
            "text": "The draft stays on record as canceled. What it billed becomes due again and is billed by the next bill run.",
            "facts": [("Account", str(invoice.account)), ("Total", money(invoice.total, invoice.currency))],
            "verb": "Cancel this draft",
            "keep": "Keep the draft",
            "danger": True,
        }
        return _dialog(request, invoice, context)
    try:
        services.cancel_invoice(invoice)
    except (ValidationError, CancelError) as error:
        return _say(request, invoice, error)
    return _done(request, invoice, "Canceled the draft.", f"{invoice} is canceled. What it billed is due again.")


@require_http_methods(["GET", "POST"])
@once
def email_invoice(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before e-mailing a posted invoice, also when it was sent before."""
    invoice = _invoice(request, pk)
    if invoice.status != InvoiceStatus.POSTED:
        return _say(request, invoice, f"{_state(invoice)}; only posted invoices are e-mailed.")
    if request.method != "POST":
        return _ask_to_email(request, invoice)
    try:
        delivery = services.email_invoice(invoice, user_id=_user_id(request))
    except ValidationError as error:
        return _say(request, invoice, error)
    to = ", ".join(delivery.recipients)
    return _done(request, invoice, f"Queued an e-mail to {to}.", f"{invoice} is queued for {to}.")


def _ask_to_email(request: HttpRequest, invoice: Invoice) -> HttpResponse:
    sent = invoice.deliveries.filter(state=DeliveryState.SENT).count()
    times = "once" if sent == 1 else f"{sent} times"
    bill_to = (invoice.snapshot or {}).get("bill_to", {}).get("email", "")
    recipients = list(dict.fromkeys(filter(None, [bill_to, *invoice.account.additional_emails])))
    context = {
        "heading": f"E-mail {invoice}?",
        "text": f"It was sent {times} before; this sends the same PDF once more."
        if sent
        else "The stored PDF is attached.",
        "facts": [("To", ", ".join(recipients) or "no address")],
        "verb": "Send again" if sent else "Send e-mail",
        "keep": "Do not send",
    }
    return _dialog(request, invoice, context)


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
    return _dialog(request, invoice, context, status=409 if changed else 200)


def _dialog(request: HttpRequest, invoice: Invoice, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    context["action"] = request.path
    context["back_url"] = invoice.get_absolute_url()
    context["hidden"] = [(FIELD, new_request_key()), *context.pop("extra", [])]
    context["title"] = context["heading"]
    response = site.render_dialog(request, "components/confirm.html", context)
    response.status_code = status
    return response


def _done(request: HttpRequest, invoice: Invoice, logged: str, said: str) -> HttpResponse:
    LogEntry.objects.log_actions(_user_id(request), [invoice], CHANGE, logged)
    messages.success(request, said)
    return HttpResponseRedirect(invoice.get_absolute_url())


def _say(request: HttpRequest, invoice: Invoice, problem: str | Exception) -> HttpResponse:
    """Return to the invoice with the reason why nothing happened."""
    text = " ".join(problem.messages) if isinstance(problem, ValidationError) else str(problem)
    messages.error(request, text)
    return HttpResponseRedirect(invoice.get_absolute_url())


def _state(invoice: Invoice) -> str:
    return f"{invoice} is {invoice.get_status_display().lower()}"


def _invoice(request: HttpRequest, pk: int) -> Invoice:
    """Return the invoice, held until the answer is given when something is about to be done with it."""
    found = Invoice.objects.select_related("account")
    return get_object_or_404(found.select_for_update(of=("self",)) if request.method == "POST" else found, pk=pk)


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None  # the login wall stands before every page
    return request.user.pk
