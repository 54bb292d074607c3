"""From an invoice to its PDF: the frozen values are gathered here, drawn by `rendering`, and stored once when posted."""

from datetime import date
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import translation

from accounts.currencies import currency_digits
from accounts.models import Contact, InvoiceTemplate
from invoicing.appendix import CALCULATIONS, appendix_values
from invoicing.explanation import proration_note
from invoicing.models import Invoice, InvoiceDocument, InvoiceItem, InvoiceStatus
from invoicing.rendering import RenderedDocument, language_tag, render_pdf
from invoicing.usage_appendix import DRAFT_ROWS, LINES_TOLD, ROWS_PRINTED, rows_printed, usage_values

SNAPSHOT_VERSION = 1
# Every hundred lines cost about a second to draw: of longer drafts the preview shows the beginning.
DRAFT_LINES = 300
# An explained line is drawn in about seven rows, as long as it takes to draw four lines.
EXPLAINED_WEIGHT = 3
DRAFT_CALCULATIONS = 100


def stored_document(invoice: Invoice) -> InvoiceDocument:
    """Return the PDF of a posted invoice, rendering and storing it on the first call (I18).

    Two first calls at once render twice, but only one is kept; the bytes are the same.
    """
    found = InvoiceDocument.objects.filter(invoice=invoice).first()
    if found is not None:
        return found
    rendered = render_pdf(document_values(invoice), draft=False)
    try:
        with transaction.atomic():
            return InvoiceDocument.objects.create(
                invoice=invoice, content=rendered.content, sha256=rendered.sha256, pages=rendered.pages
            )
    except IntegrityError:
        return InvoiceDocument.objects.get(invoice=invoice)


def pdf_bytes(invoice: Invoice) -> bytes:
    """Return the stored PDF of a posted invoice, or a freshly drawn one with a DRAFT watermark."""
    if invoice.status == InvoiceStatus.POSTED:
        return bytes(stored_document(invoice).content)
    return draft_document(invoice).content


def draft_document(invoice: Invoice, *, values: dict[str, Any] | None = None) -> RenderedDocument:
    """Return the PDF as it would look now (`values` as of `document_values`); drafts are never stored."""
    return render_pdf(document_values(invoice) if values is None else values, draft=True)


def document_values(invoice: Invoice) -> dict[str, Any]:
    """Return everything the PDF prints, as plain text values.

    A posted invoice speaks from its snapshot and template version only; a draft from today's rows.
    """
    if invoice.status == InvoiceStatus.POSTED:
        assert invoice.snapshot is not None and invoice.template_version is not None  # the database insists (I10)
        frozen, seller = invoice.snapshot, invoice.template_version.content
    else:
        frozen, seller = _current_snapshot(invoice), _template_content(invoice)
    digits = currency_digits(invoice.currency)
    items, left_out = _items(invoice)
    names = frozen.get("charges") or _names(items)
    return {
        "version": SNAPSHOT_VERSION,
        "number": invoice.number,
        "reference": invoice.reference,
        "language": frozen["account"]["language"],
        "page_size": seller["page_size"],
        "currency": invoice.currency,
        "digits": digits,
        "invoice_date": invoice.invoice_date.isoformat(),
        "due_date": invoice.due_date.isoformat(),
        "payment_term": frozen["payment_term"],
        "purchase_order": frozen["account"]["purchase_order"],
        "account": frozen["account"],
        "seller": _seller(seller),
        "bill_to": _party(frozen["bill_to"], frozen["account"]),
        "sold_to": _party(frozen["sold_to"], frozen["account"]) if frozen.get("sold_to") else None,
        "groups": _groups(items, names, digits),
        "totals": {
            "net": f"{invoice.net:f}",
            "taxes": [],
            "total": f"{invoice.total:f}",
            "amount_due": f"{invoice.total:f}",
        },
        "text_notes": [f"Preview: {left_out:,} further lines are printed once the invoice is posted."]
        if left_out
        else [],
        "appendix": _appendix(invoice, items, names, frozen) if seller.get("explain_amounts") else None,
    }


def _appendix(
    invoice: Invoice, items: list[InvoiceItem], names: dict[str, list[str]], frozen: dict[str, Any]
) -> dict[str, Any]:
    """Return how each amount was calculated, in words and in the numbers of the customer's language."""
    posted = invoice.status == InvoiceStatus.POSTED
    titled = [(_title(names[str(item.charge_id)]), item) for item in items]
    with translation.override(language_tag(frozen["account"]["language"])):
        values = appendix_values(
            titled,
            currency=invoice.currency,
            versions=frozen.get("price_versions", {}) if posted else None,
            limit=CALCULATIONS if posted else DRAFT_CALCULATIONS,
        )
        units = {charge: named[2] for charge, named in names.items()}
        # Usage on a posted invoice is Processed for good: told again, it says the same.
        usage = usage_values(titled, units=units, limit=ROWS_PRINTED if posted else DRAFT_ROWS)
    return {**values, "usage": usage} if usage else values


def _items(invoice: Invoice) -> tuple[list[InvoiceItem], int]:
    """Return the lines to print, and how many a draft's preview leaves out."""
    lines = invoice_lines(invoice)
    if invoice.status == InvoiceStatus.POSTED:
        return list(lines), 0
    shown = list(lines[: DRAFT_LINES + 1])
    if len(shown) <= DRAFT_LINES:
        return shown, 0
    return shown[:DRAFT_LINES], invoice.items.count() - DRAFT_LINES


def drawing_weight(invoice: Invoice, lines: int) -> int:
    """Return how many plain lines take as long to draw as a posted invoice of so many lines, some of them explained."""
    if "price_versions" not in (invoice.snapshot or {}):
        return lines
    rated = invoice.items.filter(rated_usage__isnull=False).order_by("charge__subscription_id", "id")
    rows = rows_printed(rated.values_list("rated_usage_id", flat=True)[:LINES_TOLD])
    return lines + EXPLAINED_WEIGHT * min(lines, CALCULATIONS) + rows


def _current_snapshot(invoice: Invoice) -> dict[str, Any]:
    account = invoice.account
    return {
        "account": {
            name: getattr(account, name) for name in ("number", "name", "vat_id", "language", "purchase_order")
        },
        "bill_to": _contact(invoice.bill_to),
        "sold_to": _contact(account.sold_to) if account.sold_to and account.sold_to != invoice.bill_to else None,
        "payment_term": invoice.payment_term.name,
    }


def _contact(contact: Contact) -> dict[str, str]:
    return {
        name: getattr(contact, name)
        for name in ("name", "email", "street", "street_2", "postal_code", "city", "region", "country")
    }


def _template_content(invoice: Invoice) -> dict[str, Any]:
    template = invoice.template or InvoiceTemplate.objects.get(is_default=True)
    return {field.name: getattr(template, field.name) for field in InvoiceTemplate._meta.concrete_fields}


def _seller(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": content["legal_name"],
        "address": content["address"].splitlines(),
        "country": content["country"],
        "vat_id": content["vat_id"],
        "register": content["register"],
        "email": content["email"],
        "website": content["website"],
        "phone": content["phone"],
        "bank": {
            "name": content["bank_name"],
            "holder": content["legal_name"],
            "iban": content["iban"],
            "bic": content["bic"],
        },
        "colour": content["colour"],
        "logo": content["logo"],
        "footer": content["footer"],
        "late_payment_note": content["late_payment_note"],
    }


def _party(contact: dict[str, str], account: dict[str, str]) -> dict[str, Any]:
    town = " ".join(part for part in (contact["postal_code"], contact["city"]) if part)
    lines = [contact["street"], contact["street_2"], town, contact["region"]]
    return {
        "name": contact["name"],
        "company": account["name"],
        "address": [line for line in lines if line],
        "country": contact["country"],
        "vat_id": account["vat_id"],
        "email": contact["email"],
    }


def invoice_lines(invoice: Invoice) -> QuerySet[InvoiceItem]:
    """Return an invoice's lines with what naming and explaining them needs, grouped by subscription."""
    named = ("charge__subscription", "charge__rate_plan", "credits", "reduces")
    return invoice.items.select_related(*named).order_by("charge__subscription_id", "id")


def _names(items: list[InvoiceItem]) -> dict[str, list[str]]:
    """Return subscription number, its name and the unit of each charge as they are now; posting freezes the same."""
    return {
        str(item.charge_id): [
            item.charge.subscription.number,
            item.charge.subscription.name or item.charge.rate_plan.name,
            item.charge.unit,
        ]
        for item in items
    }


def _groups(items: list[InvoiceItem], names: dict[str, list[str]], digits: int) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for item in items:
        named = names[str(item.charge_id)]
        found = groups.setdefault(named[0], {"title": _title(named), "lines": [], "subtotal": 0})
        found["lines"].append(_line(item, named[2]))
        found["subtotal"] += item.amount
    return [{**found, "subtotal": f"{found['subtotal']:.{digits}f}"} for found in groups.values()]


def _title(named: list[str]) -> str:
    number, name, _ = named
    return f"Subscription {number} · {name}" if name else f"Subscription {number}"


def _line(item: InvoiceItem, unit: str) -> dict[str, Any]:
    starts: date = item.period.lower
    ends: date = item.period.upper
    one_time = item.kind == "OneTime"
    return {
        "description": item.description,
        "period": None if one_time else [starts.isoformat(), ends.isoformat()],
        "quantity": None if item.quantity is None else f"{item.quantity:f}",
        "unit": unit,
        "unit_price": None if item.unit_price is None else f"{item.unit_price:f}",
        "amount": f"{item.amount:f}",
        "note": proration_note(item),
    }
