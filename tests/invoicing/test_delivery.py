"""The mail outbox over real SMTP on this machine: at most one mail for each request, and none silently lost (I17)."""

import email
import re
from collections.abc import Iterator
from datetime import timedelta
from email.message import Message
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import Account, InvoiceTemplate, NumberSequence
from billing.models import ProductRatePlan
from invoicing import delivery, services
from invoicing.delivery import LOST_AFTER, MAX_ATTEMPTS, mark_lost, queue_invoice, queue_run, send_due
from invoicing.documents import stored_document
from invoicing.models import Invoice, InvoiceDelivery, InvoiceDocument
from tests import factories as make
from tests.factories import bill
from tests.invoicing.facts import crowd, in_threads

# Every test commits: the moment a mail may be sent is compared with the clock of a later transaction.
pytestmark = pytest.mark.django_db(transaction=True)
PDF = b"%PDF-1.7 kept as it was first made"


class Mailbox:
    """An SMTP server's answers, to be changed by a test, and the mails it took."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.recipients: list[list[str]] = []
        self.to_recipient = "250 OK"
        self.to_data = "250 OK"
        self.hang_up = False
        self.during_data: Any = None

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.to_recipient.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.during_data:
            self.during_data()
        if self.to_data.startswith("2"):
            self.mails.append(email.message_from_bytes(bytes(envelope.original_content or b"")))
            self.recipients.append(list(envelope.rcpt_tos))
        if self.hang_up:
            transport: Any = server.transport
            transport.abort()
        return self.to_data


class _Server(Controller):
    def _trigger_server(self) -> None:
        # Port 0 lets the machine choose; from here on the port is known.
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def mailbox(settings) -> Iterator[Mailbox]:
    box = Mailbox()
    controller = _Server(box, hostname="127.0.0.1", port=0)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 5
    settings.EMAIL_PORT = controller.port
    settings.DEFAULT_FROM_EMAIL = "Billing <billing@seller.example>"
    yield box
    controller.stop()


@pytest.fixture
def acme() -> Account:
    account = make.acme()
    make.subscribe(account, make.team_plan(), "2026-01-01")
    return account


def _store(invoice: Invoice) -> None:
    InvoiceDocument.objects.create(invoice=invoice, content=PDF, sha256=sha256(PDF).hexdigest(), pages=1)


def _posted(account: Account) -> Invoice:
    """Return the account's posted invoice with a stored PDF, so that none has to be drawn."""
    bill("2026-01-01", accounts=[account], auto_post=True)
    invoice = Invoice.objects.get(account=account)
    _store(invoice)
    return invoice


@pytest.fixture
def queued(acme) -> InvoiceDelivery:
    made = queue_invoice(_posted(acme), user_id=None)
    assert made is not None
    return made


def _state(row: InvoiceDelivery | None) -> tuple[str, int]:
    assert row is not None
    row.refresh_from_db()
    return row.state, row.attempts


def test_a_mail_carries_the_stored_pdf_and_names_the_invoice(mailbox, queued):
    assert send_due(limit=10) == 1
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Invoice INV00000001 from Your Company Ltd"
    assert (mail["To"], mail["Reply-To"]) == ("billing@acme.example", "billing@example.com")
    assert mail["From"] == "Billing <billing@seller.example>"
    assert mail["Message-ID"] == f"<{queued.request_key}@seller.example>"
    text, pdf = mail.get_payload()
    assert "$150.00" in text.get_payload(decode=True).decode()
    assert "Dear Ada Miller," in text.get_payload(decode=True).decode()
    assert (pdf.get_filename(), pdf.get_content_type(), pdf.get_payload(decode=True)) == (
        "INV00000001.pdf",
        "application/pdf",
        PDF,
    )
    assert _state(queued) == ("Sent", 1)
    assert queued.sent_at is not None


def test_additional_addresses_get_it_too(mailbox, acme):
    acme.additional_emails = ["cfo@acme.example", "archive@acme.example"]
    acme.save()
    queue_invoice(_posted(acme), user_id=None)
    send_due(limit=10)
    assert mailbox.recipients == [["billing@acme.example", "cfo@acme.example", "archive@acme.example"]]


def test_nothing_is_sent_twice(mailbox, queued):
    assert [send_due(limit=10) for _ in range(3)] == [1, 0, 0]
    assert len(mailbox.mails) == 1


def test_asking_for_a_whole_run_twice_queues_nothing_twice(acme):
    crowd(acme, 3)
    run = bill("2026-01-01", auto_post=True)
    assert [queue_run(run, user_id=None) for _ in range(3)] == [4, 0, 0]


def test_sending_again_sends_exactly_one_more(mailbox, queued):
    send_due(limit=10)
    again = services.email_invoice(queued.invoice, user_id=make.user("operator").pk)
    assert again.request_key != queued.request_key
    assert send_due(limit=10) == 1
    assert send_due(limit=10) == 0
    assert len(mailbox.mails) == 2
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 2
    assert mailbox.mails[0].get_payload()[1].get_payload() == mailbox.mails[1].get_payload()[1].get_payload()


def test_drafts_and_customers_without_address_are_not_mailed(acme):
    bill("2026-01-01")
    draft = Invoice.objects.get()
    with pytest.raises(ValidationError, match="Only posted invoices"):
        services.email_invoice(draft, user_id=make.user("operator").pk)
    acme.bill_to.email = ""
    acme.bill_to.save()
    services.post_invoice(draft, user_id=make.user("approver").pk)
    draft.refresh_from_db()
    with pytest.raises(ValidationError, match="no e-mail address"):
        services.email_invoice(draft, user_id=User.objects.earliest("pk").pk)
    assert not InvoiceDelivery.objects.exists()


class TestFaults:
    """What the server does, and what becomes of the delivery."""

    def test_a_temporary_refusal_is_tried_again_later(self, mailbox, queued):
        mailbox.to_recipient = "450 mailbox busy"
        send_due(limit=10)
        assert _state(queued) == ("Queued", 1)
        assert "450" in queued.error
        assert timedelta(seconds=50) < queued.not_before - timezone.now() <= timedelta(seconds=60)
        mailbox.to_recipient = "250 OK"
        assert send_due(limit=10) == 0
        InvoiceDelivery.objects.update(not_before=timezone.now())
        send_due(limit=10)
        assert _state(queued) == ("Sent", 2)
        assert (len(mailbox.mails), queued.error) == (1, "")

    def test_the_pause_doubles_and_ends_in_failed(self, mailbox, queued):
        mailbox.to_data = "451 try later"
        pauses = []
        for _ in range(MAX_ATTEMPTS):
            InvoiceDelivery.objects.update(not_before=timezone.now())
            send_due(limit=1)
            queued.refresh_from_db()
            pauses.append(round((queued.not_before - timezone.now()).total_seconds() / 60))
        assert pauses[:5] == [1, 2, 4, 8, 16]
        assert _state(queued) == ("Failed", MAX_ATTEMPTS)
        assert mailbox.mails == []

    @pytest.mark.parametrize("answer", ["to_recipient", "to_data"])
    def test_a_final_refusal_is_failed(self, mailbox, queued, answer):
        setattr(mailbox, answer, "550 no such mailbox")
        send_due(limit=10)
        assert _state(queued) == ("Failed", 1)
        assert "550" in queued.error

    def test_a_connection_that_breaks_after_the_data_is_unknown_and_never_sent_again(self, mailbox, queued):
        mailbox.hang_up = True
        send_due(limit=10)
        assert _state(queued) == ("Unknown", 1)
        assert "may have received" in queued.error
        mailbox.hang_up = False
        assert send_due(limit=10) == 0
        assert queue_run(queued.invoice.bill_run, user_id=None) == 0
        assert len(mailbox.mails) == 1

    def test_a_server_that_is_down_leaves_the_mail_queued(self, queued, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        send_due(limit=10)
        assert _state(queued) == ("Queued", 1)
        assert "could not be reached" in queued.error

    def test_a_worker_that_dies_while_sending_leaves_unknown(self, mailbox, queued, monkeypatch):
        monkeypatch.setattr(delivery, "_transmit", lambda message: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            send_due(limit=10)
        monkeypatch.undo()
        assert _state(queued) == ("Sending", 1)
        assert (send_due(limit=10), mark_lost()) == (0, 0)
        InvoiceDelivery.objects.update(claimed_at=timezone.now() - LOST_AFTER - timedelta(seconds=1))
        assert mark_lost() == 1
        assert _state(queued) == ("Unknown", 1)
        assert send_due(limit=10) == 0
        assert mailbox.mails == []

    def test_a_pdf_that_cannot_be_made_fails_its_own_mail_only(self, mailbox, queued, acme, monkeypatch):
        other = make.globex()
        make.subscribe(other, ProductRatePlan.objects.get(), "2026-01-01")
        good = queue_invoice(_posted(other), user_id=None)

        def document(invoice):
            if invoice.account_id == acme.pk:
                raise RuntimeError("a font is missing")
            return stored_document(invoice)

        monkeypatch.setattr(delivery, "stored_document", document)
        assert send_due(limit=10) == 2
        assert _state(queued) == ("Failed", 1)
        assert "a font is missing" in queued.error
        assert _state(good) == ("Sent", 1)


class TestInjection:
    """Texts that would add recipients or headers if they got into a header as they are."""

    HOSTILE = "Ada\r\nBcc: thief@evil.example"

    def test_a_line_break_in_a_name_that_stands_in_the_subject_is_not_sent(self, mailbox, acme):
        InvoiceTemplate.objects.update(email_subject="For {customer}")
        acme.bill_to.name = self.HOSTILE
        acme.bill_to.save()
        row = queue_invoice(_posted(acme), user_id=None)
        send_due(limit=10)
        assert _state(row) == ("Failed", 1)
        assert row is not None
        assert "cannot be sent as it is" in row.error
        assert mailbox.mails == []

    def test_a_line_break_in_an_address_is_not_sent(self, mailbox, queued):
        InvoiceDelivery.objects.update(recipients=["ada@acme.example\nBcc: thief@evil.example"])
        send_due(limit=10)
        assert _state(queued) == ("Failed", 1)
        assert mailbox.mails == []

    def test_a_line_break_in_the_body_stays_in_the_body(self, mailbox, acme):
        acme.bill_to.name = self.HOSTILE
        acme.bill_to.save()
        queue_invoice(_posted(acme), user_id=None)
        send_due(limit=10)
        (mail,) = mailbox.mails
        assert mail["Bcc"] is None
        assert mailbox.recipients == [["billing@acme.example"]]

    def test_braces_in_names_are_texts(self, mailbox, acme):
        acme.bill_to.name = "{seller.__class__} {total}"
        acme.bill_to.save()
        queue_invoice(_posted(acme), user_id=None)
        send_due(limit=10)
        assert "{seller.__class__}" in mailbox.mails[0].get_payload()[0].get_payload(decode=True).decode()

    def test_a_number_with_a_slash_makes_a_plain_file_name(self, mailbox, acme):
        NumberSequence.objects.filter(purpose="Invoice").update(prefix="2026/")
        queue_invoice(_posted(acme), user_id=None)
        send_due(limit=10)
        assert re.fullmatch(r"2026-\d+\.pdf", mailbox.mails[0].get_payload()[1].get_filename())


class TestAtOnce:
    def test_the_claim_is_committed_before_the_server_hears_of_the_mail(self, mailbox, queued, app_connection):
        seen = []

        def look() -> None:
            # A connection of its own: it sees only what is committed.
            with psycopg.connect(app_connection.info.dsn, password=app_connection.info.password) as raw:
                seen.append(
                    raw.execute("SELECT state, attempts, message_id <> '' FROM invoicing_invoicedelivery").fetchone()
                )

        mailbox.during_data = look
        send_due(limit=10)
        assert seen == [("Sending", 1, True)]
        assert _state(queued) == ("Sent", 1)

    def test_many_workers_send_each_mail_once(self, mailbox, acme):
        crowd(acme, 19)
        run = bill("2026-01-01", auto_post=True, auto_email=True)
        for invoice in run.invoices.all():
            _store(invoice)
        assert sum(in_threads(5, lambda _: send_due(limit=50))) == 20
        assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.mails) == 20
        assert set(InvoiceDelivery.objects.values_list("state", flat=True)) == {"Sent"}

    def test_ten_askers_for_a_run_queue_each_mail_once(self, acme):
        crowd(acme, 3)
        run = bill("2026-01-01", auto_post=True)
        assert sum(in_threads(10, lambda _: queue_run(run, user_id=None))) == 4
        assert InvoiceDelivery.objects.count() == 4
