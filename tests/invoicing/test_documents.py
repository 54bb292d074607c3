"""The PDF of an invoice: drafts speak from today's rows, posted invoices from what was frozen; the first bytes stay."""

import hashlib

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, Contact, InvoiceTemplate, PaymentTerm
from accounts.services import NewContact, add_contact, choose_contacts
from billing.models import RatePlan, RatePlanCharge, Subscription
from invoicing import documents
from invoicing.documents import document_values, draft_document, pdf_bytes, stored_document
from invoicing.models import Invoice, InvoiceDocument
from invoicing.rendering import render_pdf
from invoicing.services import post_invoice
from tests.factories import acme, bill, globex, monthly, plan, subscribe, team_plan, user

pytestmark = pytest.mark.django_db


def drafted(account=None):
    """Return the draft of an account with a seat and an onboarding line."""
    account = account or acme()
    subscribe(account, team_plan(), "2026-07-01", name="Head office")
    bill("2026-07-01", accounts=[account])
    return Invoice.objects.get(account=account)


def post(invoice):
    """Post a draft; that makes no PDF yet."""
    post_invoice(invoice, user_id=user("approver").pk)
    assert not InvoiceDocument.objects.exists()


def posted(account=None):
    """Return a posted invoice without its PDF."""
    invoice = drafted(account)
    post(invoice)
    return Invoice.objects.get(pk=invoice.pk)


def change_everything(account):
    """Change each row that an invoice's paper speaks of."""
    Account.objects.filter(pk=account.pk).update(name="Other Ltd", vat_id="XX1", purchase_order="PO-9", language="de")
    Contact.objects.filter(account=account).update(
        name="Nobody", street="Elsewhere 1", city="Nowhere", email="x@y.example"
    )
    PaymentTerm.objects.filter(pk=account.payment_term_id).update(name="Someday")
    template = InvoiceTemplate.objects.get(is_default=True)
    template.legal_name, template.address, template.colour, template.iban = "Other Seller", "Road 2", "#ff0000", ""
    template.footer = "All new"
    template.save()
    Subscription.objects.update(name="Renamed")
    RatePlan.objects.update(name="Another plan")
    RatePlanCharge.objects.update(name="Another charge", unit="bushel")


def test_a_draft_speaks_from_todays_rows():
    invoice = drafted()
    before = document_values(invoice)
    assert (before["number"], before["bill_to"]["company"]) == (None, "Acme Corporation")
    change_everything(invoice.account)
    after = document_values(Invoice.objects.get(pk=invoice.pk))
    assert after["bill_to"]["company"] == "Other Ltd"
    assert after["seller"]["name"] == "Other Seller"
    assert after["payment_term"] == "Someday"


def test_a_draft_is_never_stored():
    invoice = drafted()
    assert draft_document(invoice).content == draft_document(invoice).content
    assert pdf_bytes(invoice).startswith(b"%PDF")
    assert not InvoiceDocument.objects.exists()


def test_a_posted_invoice_speaks_from_what_was_frozen():
    invoice = posted()
    before = document_values(invoice)
    change_everything(invoice.account)
    assert document_values(Invoice.objects.get(pk=invoice.pk)) == before


def test_the_first_bytes_stay_whatever_changes_afterwards():
    invoice = posted()
    first = pdf_bytes(invoice)
    change_everything(invoice.account)
    again = Invoice.objects.get(pk=invoice.pk)
    assert pdf_bytes(again) == first == bytes(InvoiceDocument.objects.get().content)
    # And a second rendering gives the very same bytes.
    assert render_pdf(document_values(again), draft=False).content == first
    assert stored_document(again).sha256 == hashlib.sha256(first).hexdigest()


def test_the_first_rendering_may_come_long_after_the_posting():
    invoice = posted()
    expected = render_pdf(document_values(invoice), draft=False).content
    change_everything(invoice.account)
    assert pdf_bytes(Invoice.objects.get(pk=invoice.pk)) == expected


def test_two_first_renderings_at_once_keep_one(monkeypatch):
    invoice = posted()
    rendered = render_pdf

    def meanwhile(values, *, draft):
        result = rendered(values, draft=draft)
        if not InvoiceDocument.objects.exists():
            InvoiceDocument.objects.create(
                invoice=invoice, content=result.content, sha256=result.sha256, pages=result.pages
            )
        return result

    monkeypatch.setattr(documents, "render_pdf", meanwhile)
    assert stored_document(invoice) == InvoiceDocument.objects.get()


def test_stored_bytes_cannot_be_replaced():
    document = stored_document(posted())
    with pytest.raises(IntegrityError), transaction.atomic():
        InvoiceDocument.objects.filter(pk=document.pk).update(content=b"%PDF other")
    with pytest.raises(IntegrityError), transaction.atomic():
        document.delete()


def test_lines_are_grouped_by_subscription_with_subtotals():
    account = globex(bill_cycle_day=1)
    subscribe(account, team_plan(), "2026-07-01", name="Head office")
    subscribe(account, plan("Fee", monthly()), "2026-07-01")
    bill("2026-07-01", accounts=[account])
    groups = document_values(Invoice.objects.get())["groups"]
    assert [(group["title"].partition(" · ")[2], group["subtotal"]) for group in groups] == [
        ("Head office", "150.00"),
        ("Fee", "12.00"),
    ]
    seat, onboarding = groups[0]["lines"]
    assert seat["period"] == ["2026-07-01", "2026-08-01"]
    assert (seat["quantity"], seat["unit"], seat["amount"]) == ("5", "seat", "60.00")
    assert onboarding["period"] is None


def test_a_sold_to_of_its_own_is_printed_and_frozen():
    account = acme()
    sold_to = add_contact(account=account, contact=NewContact("Warehouse", "US", city="Reno"))
    choose_contacts(account=account, sold_to=sold_to)
    invoice = posted(account)
    assert document_values(invoice)["sold_to"]["name"] == "Warehouse"
    change_everything(account)
    assert document_values(Invoice.objects.get(pk=invoice.pk))["sold_to"]["name"] == "Warehouse"


def test_a_long_draft_shows_its_beginning_and_says_so(monkeypatch):
    monkeypatch.setattr(documents, "DRAFT_LINES", 1)
    invoice = drafted()
    values = document_values(invoice)
    assert sum(len(group["lines"]) for group in values["groups"]) == 1
    assert values["text_notes"] == ["Preview: 1 further lines are printed once the invoice is posted."]
    post(invoice)
    values = document_values(Invoice.objects.get(pk=invoice.pk))
    assert sum(len(group["lines"]) for group in values["groups"]) == 2
    assert values["text_notes"] == []
