"""The mail outbox: claim first, commit, then send, so that no customer is mailed twice (D19, I17).

A crash between claim and answer leaves a delivery in Sending; it becomes Unknown and waits for an operator.
"""

import smtplib
from datetime import date, timedelta
from email.utils import parseaddr
from typing import Any

import structlog
from babel.dates import format_date
from babel.numbers import format_currency
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import connection, transaction
from django.utils import timezone

from invoicing.documents import stored_document
from invoicing.models import BillRun, DeliveryState, Invoice, InvoiceDelivery
from invoicing.rendering import RenderingUnavailable

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
LOST_AFTER = timedelta(minutes=15)

_QUEUE_RUN = """
INSERT INTO invoicing_invoicedelivery (invoice_id, request_key, recipients, state, message_id, attempts, error, requested_by_id)
SELECT v.id, gen_random_uuid(), array_prepend(v.snapshot->'bill_to'->>'email', a.additional_emails)::varchar(254)[], 'Queued', '', 0, '', %(user)s
FROM invoicing_invoice v JOIN accounts_account a ON a.id = v.account_id
WHERE v.bill_run_id = %(run)s AND v.status = 'Posted' AND a.email_invoices AND v.snapshot->'bill_to'->>'email' <> ''
  AND (%(zero)s OR v.total <> 0)
  AND NOT EXISTS (SELECT 1 FROM invoicing_invoicedelivery d WHERE d.invoice_id = v.id AND d.state <> 'Failed')
ORDER BY v.id
"""

_CLAIM = """
UPDATE invoicing_invoicedelivery SET state = 'Sending', claimed_at = now(), attempts = attempts + 1, message_id = %s || request_key || %s
WHERE id = (
    SELECT id FROM invoicing_invoicedelivery WHERE state = 'Queued' AND not_before <= statement_timestamp()
    ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def queue_run(run: BillRun, *, user_id: int | None) -> int:
    """Queue an e-mail for every posted invoice of the run that was never sent; return how many.

    Accounts that want no e-mail or have no address are left out, zero totals if the run says so. Asking twice
    queues nothing twice.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # One asker at a time, or both would find “never sent”.
        BillRun.objects.select_for_update().get(pk=run.pk)
        cursor.execute(_QUEUE_RUN, {"run": run.pk, "zero": run.email_zero_totals, "user": user_id})
        return cursor.rowcount


def queue_invoice(invoice: Invoice, *, user_id: int | None) -> InvoiceDelivery | None:
    """Queue one more e-mail of a posted invoice, deliberately also when it was sent before; None without an address."""
    to = (invoice.snapshot or {}).get("bill_to", {}).get("email", "")
    recipients = [address for address in [to, *invoice.account.additional_emails] if address]
    if not recipients:
        return None
    return InvoiceDelivery.objects.create(invoice=invoice, recipients=recipients, requested_by_id=user_id)


def send_due(*, limit: int) -> int:
    """Send up to `limit` queued e-mails, one at a time; return how many were tried."""
    tried = 0
    while tried < limit and _send_next():
        tried += 1
    return tried


def mark_lost() -> int:
    """Turn claims that never came back into Unknown: the mail may have been sent, so only a person may send again."""
    return InvoiceDelivery.objects.filter(
        state=DeliveryState.SENDING, claimed_at__lt=timezone.now() - LOST_AFTER
    ).update(
        state=DeliveryState.UNKNOWN,
        error="The worker ended while sending. The customer may have received this e-mail; ask before sending it again.",
    )


def _send_next() -> bool:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].partition("@")[2] or "localhost"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, ["<", f"@{domain}>"])
        claimed = cursor.fetchone()
    if claimed is None:
        return False
    delivery = InvoiceDelivery.objects.select_related("invoice__account", "invoice__template_version").get(
        pk=claimed[0]
    )
    try:
        message = invoice_message(delivery)
    except RenderingUnavailable as error:
        _end(delivery, DeliveryState.QUEUED, error=str(error))
        return True
    except Exception as error:
        log.exception("delivery.document_failed", delivery=delivery.pk)
        _end(delivery, DeliveryState.FAILED, error=f"The PDF could not be made: {error}")
        return True
    state, why = _transmit(message)
    _end(delivery, state, error=why)
    return True


def _transmit(message: EmailMessage) -> tuple[DeliveryState, str]:
    """Send the message; say what is known about it, and why it was not sent."""
    mail = get_connection()
    try:
        mail.open()
    except (OSError, smtplib.SMTPException) as error:
        return DeliveryState.QUEUED, f"The mail server could not be reached: {error}"
    try:
        mail.send_messages([message])
    except ValueError as error:
        # A line break in a header, or an address that is none: noticed before anything is sent.
        return DeliveryState.FAILED, f"The e-mail cannot be sent as it is: {error}"
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return (
            DeliveryState.QUEUED if all(400 <= code < 500 for code in codes) else DeliveryState.FAILED
        ), f"The mail server refused the recipient: {error}"
    except smtplib.SMTPResponseException as error:
        return (
            DeliveryState.QUEUED if 400 <= error.smtp_code < 500 else DeliveryState.FAILED
        ), f"The mail server answered {error.smtp_code}: {error.smtp_error!r}"
    except (OSError, smtplib.SMTPException) as error:
        return (
            DeliveryState.UNKNOWN,
            f"The connection broke while sending: {error}. The customer may have received this e-mail; ask before sending it again.",
        )
    finally:
        mail.close()
    return DeliveryState.SENT, ""


def _end(delivery: InvoiceDelivery, state: DeliveryState, *, error: str) -> None:
    if state == DeliveryState.QUEUED and delivery.attempts >= MAX_ATTEMPTS:
        state = DeliveryState.FAILED
    values: dict[str, Any] = {"state": state, "error": error}
    if state == DeliveryState.SENT:
        values["sent_at"] = timezone.now()
    if state == DeliveryState.QUEUED:
        values["not_before"] = timezone.now() + timedelta(seconds=30 * 2**delivery.attempts)
    InvoiceDelivery.objects.filter(pk=delivery.pk, state=DeliveryState.SENDING).update(**values)


def invoice_message(delivery: InvoiceDelivery) -> EmailMessage:
    """Return the e-mail of a delivery with the stored PDF attached."""
    invoice = delivery.invoice
    document = stored_document(invoice)
    assert (
        invoice.snapshot is not None and invoice.template_version is not None
    )  # the database insists for posted invoices
    content = invoice.template_version.content
    language = invoice.snapshot["account"]["language"]
    values = {
        "customer": invoice.snapshot["bill_to"]["name"],
        "number": invoice.number or "",
        "invoice_date": _day(invoice.invoice_date, language),
        "due_date": _day(invoice.due_date, language),
        "total": format_currency(invoice.total, invoice.currency, locale=language),
        "seller": content["legal_name"],
    }
    return EmailMessage(
        subject=_filled(content["email_subject"], values),
        body=_filled(content["email_text"], values),
        to=delivery.recipients,
        reply_to=[content["email"]],
        headers={"Message-ID": delivery.message_id},
        attachments=[(f"{invoice.number}.pdf".replace("/", "-"), bytes(document.content), "application/pdf")],
    )


def _day(value: date, language: str) -> str:
    return format_date(value, format="long", locale=language)


def _filled(text: str, values: dict[str, str]) -> str:
    """Fill in the known {names}; anything else in braces stays as it was written."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
