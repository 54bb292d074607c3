"""Pages of invoices: list, invoice with lines and PDF, and the dialogs that post, cancel and e-mail it."""

import re
import uuid
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import InvoiceTemplate
from billing.services.orders import NewRatePlan, NewSubscription, create_order
from invoicing import documents
from invoicing.models import Invoice, InvoiceDelivery, InvoiceDocument, InvoiceItem, InvoiceStatus
from invoicing.services import post_invoice
from tests.factories import acme, batch, bill, day, globex, monthly, plan, sakura, seats, subscribe, team_plan, user

pytestmark = pytest.mark.django_db
LIST = "/invoicing/invoice/"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


@pytest.fixture
def anna(client):
    """Anna is an approver, who may post; `anna` is her browser."""
    client.force_login(user("approver"))
    return client


@pytest.fixture
def draft():
    """A draft of 150 US dollars: five seats and onboarding."""
    account = acme()
    subscribe(account, team_plan(), "2026-07-01", name="Head office")
    bill("2026-07-01", accounts=[account])
    return Invoice.objects.get()


def page_of(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def address(invoice, page=""):
    return f"{LIST}{invoice.pk}/{page}"


def form_of(response, status=200):
    """Return the hidden inputs of a dialog's form."""
    page = page_of(response, status)
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))


# The invoice ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_figures_lines_and_pdf(anna, draft):
    page = page_of(anna.get(address(draft)))
    assert "DRAFT-" in page
    assert "Acme Corporation" in page
    assert page.count("$150.00") >= 3
    assert "Head office" in page
    assert "1 Jul – 31 Jul 2026" in page
    assert f'<iframe class="pdf-pane" src="{address(draft, "pdf")}' in page
    assert f'href="{address(draft, "pdf")}?download=1"' in page


def test_each_line_explains_itself(anna, draft):
    page = page_of(anna.get(address(draft)))
    assert page.count("How was this calculated?") == 2
    assert "5 × $10.00 (price of segment 1, for a month)" in page
    assert "nothing to round" in page


def test_a_line_says_what_its_calculation_rests_on(anna, draft):
    page = page_of(anna.get(address(draft)))
    assert "<dt>Service period</dt> <dd>1 Jul – 31 Jul 2026, 31 days</dd>" in page
    assert page.count("<dt>Price version</dt> <dd>segment 1, in force since 1 Jul 2026</dd>") == 2
    assert "Invoice with that line" not in page


def test_a_credit_leads_to_the_invoice_with_the_line_it_credits(anna, draft):
    InvoiceItem.objects.get(kind="Recurring").charge.segments.update(effective_end=day("2026-07-11"))
    bill("2026-07-12")
    page = page_of(anna.get(address(Invoice.objects.latest("pk"))))
    assert f'<a href="{address(draft)}">Invoice with that line</a>' in page


def test_a_posted_invoice_speaks_of_the_price_versions_that_its_pdf_names(anna, draft):
    InvoiceTemplate.objects.update(explain_amounts=True)
    post_invoice(draft, user_id=user("admin").pk)
    InvoiceItem.objects.get(kind="Recurring").charge.segments.update(effective_start=day("2026-06-01"))
    item = InvoiceItem.objects.get(kind="Recurring")
    for url in (address(draft), f"/invoicing/invoiceitem/{item.pk}/change/"):
        assert "in force since 1 Jul 2026" in page_of(anna.get(url))
        assert "in force since 1 Jun 2026" not in page_of(anna.get(url))


def test_the_record_of_a_line_explains_its_values_in_words(anna, draft, django_assert_max_num_queries):
    item = InvoiceItem.objects.get(kind="Recurring")
    url = f"/invoicing/invoiceitem/{item.pk}/change/"
    anna.get(url)
    with django_assert_max_num_queries(12):
        page = page_of(anna.get(url))
    assert "How this was calculated" in page
    assert "5 × $10.00 (price of segment 1, for a month)" in page
    assert "<dd>segment 1, in force since 1 Jul 2026</dd>" in page
    assert "&quot;m&quot;: &quot;PerUnit&quot;" in page
    assert anna.get("/invoicing/invoiceitem/none/change/", follow=True).status_code == 200
    assert anna.get("/invoicing/invoiceitem/999999/change/", follow=True).status_code == 200


def test_a_prorated_line_says_which_part(anna):
    account = globex()
    subscribe(account, plan("Fee", monthly(price="310")), "2026-07-01")
    bill("2026-07-01", accounts=[account])
    page = page_of(anna.get(address(Invoice.objects.get())))
    assert "Proration" in page
    assert "14 of 30 days" in page


def test_a_separate_invoice_says_why(anna):
    account = acme()
    subscription = subscribe(account, team_plan(), "2026-07-01", invoice_separately=True)
    bill("2026-07-01", accounts=[account])
    page = page_of(anna.get(address(Invoice.objects.get())))
    assert f"Only {subscription.number}" in page
    assert "This subscription is invoiced separately." in page


@pytest.mark.parametrize("tab", ["", "emails/", "timeline/"])
def test_every_tab_costs_at_most_twelve_queries(anna, draft, tab, django_assert_max_num_queries):
    anna.get(address(draft))
    with django_assert_max_num_queries(12):
        page = page_of(anna.get(address(draft, tab)))
    assert len(page.encode()) <= 40 * 1024


def test_an_unknown_invoice_or_tab_is_not_found(anna, draft):
    for url in (f"{LIST}999999/", address(draft, "nonsense/"), f"{LIST}999999/pdf", f"{LIST}999999/post/"):
        assert anna.get(url).status_code == 404, url


@pytest.mark.slow
def test_two_thousand_lines_are_paged_and_light(anna, django_assert_max_num_queries):
    account, pool = acme(), plan("Reseller", seats(quantity="3"))
    create_order(
        account=account, order_date=day("2026-07-01"),
        subscriptions=[
            NewSubscription((NewRatePlan(pool),), day("2026-07-01"), name=f"Customer {n:04d} of the reseller") for n in range(2000)
        ],
    )  # fmt: skip
    bill("2026-07-01", accounts=[account])
    invoice = Invoice.objects.get()
    assert invoice.items.count() == 2000
    seen, url = [], address(invoice)
    for _ in range(3):
        with django_assert_max_num_queries(12):
            page = page_of(anna.get(url))
        assert len(page.encode()) <= 40 * 1024
        seen += re.findall(r"Customer (\d{4}) of", page)
        url = address(invoice) + re.findall(r'href="(\?after=\d+)">Next lines', page)[0]
    assert seen == [f"{n:04d}" for n in range(75)]
    assert "26–50 of 2,000" in page_of(anna.get(address(invoice) + "?after=25"))
    last = page_of(anna.get(address(invoice) + "?after=1975"))
    assert "Next lines" not in last
    assert "Previous lines" in last
    assert "$60,000.00" in last[last.index("<tfoot>") :]
    assert "of 2,000" in page_of(anna.get(address(invoice) + "?after=99999999999999999999"))
    assert "1–25 of 2,000" in page_of(anna.get(address(invoice) + "?after=-1"))


# The PDF -------------------------------------------------------------------------------------------------------------


def test_a_draft_is_drawn_and_not_drawn_again_while_nothing_changes(anna, draft):
    response = anna.get(address(draft, "pdf"))
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.content.startswith(b"%PDF")
    assert response.headers["Content-Disposition"].startswith("inline; ")
    known = {"If-None-Match": response.headers["ETag"]}
    assert anna.get(address(draft, "pdf"), headers=known).status_code == 304
    draft.account.contacts.update(city="Shelbyville")
    assert anna.get(address(draft, "pdf"), headers=known).status_code == 200
    assert not InvoiceDocument.objects.exists()


def test_a_posted_invoice_shows_and_downloads_its_stored_bytes(anna, draft):
    post_invoice(draft, user_id=user("admin").pk)
    shown, loaded = anna.get(address(draft, "pdf")), anna.get(address(draft, "pdf"), {"download": "1"})
    document = InvoiceDocument.objects.get()
    assert shown.content == loaded.content == bytes(document.content)
    assert loaded.headers["Content-Disposition"] == 'attachment; filename="INV00000001.pdf"'
    assert shown.headers["ETag"] == f'"{document.sha256}"'
    assert anna.get(address(draft, "pdf"), headers={"If-None-Match": shown.headers["ETag"]}).status_code == 304


def test_a_long_invoice_is_drawn_in_the_background(anna, draft, monkeypatch, django_capture_on_commit_callbacks):
    drawn: list[int] = []
    for module in ("invoicing.views.invoices", "invoicing.admin.invoices"):
        monkeypatch.setattr(f"{module}.DRAFT_LINES", 1)
    monkeypatch.setattr("invoicing.views.invoices.ring_pdf", drawn.append)
    assert "pdf-pane" in page_of(anna.get(address(draft)))
    post_invoice(draft, user_id=user("admin").pk)
    page = page_of(anna.get(address(draft)))
    assert "pdf-pane" not in page
    assert "Open the PDF" in page
    response = anna.get(address(draft, "pdf"))
    assert "is being drawn for the first time" in page_of(response, 202)
    assert response.headers["Refresh"].endswith("?again=1")
    assert anna.get(address(draft, "pdf"), {"again": "1"}).status_code == 202
    assert drawn == [draft.pk]
    documents.stored_document(Invoice.objects.get(pk=draft.pk))
    assert anna.get(address(draft, "pdf")).status_code == 200
    assert "pdf-pane" in page_of(anna.get(address(draft)))


# Posting -------------------------------------------------------------------------------------------------------------


def test_posting_asks_first_and_then_locks(anna, draft):
    page = page_of(anna.get(address(draft, "post/")))
    assert "<html" in page
    for text in ("Post DRAFT-", "$150.00", "31 Jul 2026", "Keep as draft", "Post 1 invoice"):
        assert text in page
    response = anna.post(address(draft, "post/"), form_of(anna.get(address(draft, "post/"))))
    assert response.url == draft.get_absolute_url()
    draft.refresh_from_db()
    assert (draft.status, draft.number, draft.posted_by.username) == ("Posted", "INV00000001", "approver")
    page = page_of(anna.get(response.url))
    assert "INV00000001 is posted and locked." in page
    assert "Post invoice" not in page
    assert "E-mail" in page
    assert "Posted as INV00000001 and locked." in page_of(anna.get(address(draft, "timeline/")))


def test_the_dialog_is_a_fragment_for_htmx_and_the_answer_a_redirect(anna, draft):
    response = anna.get(address(draft, "post/"), headers=HTMX)
    assert "<html" not in page_of(response)
    assert 'hx-post="' in response.content.decode()
    response = anna.post(address(draft, "post/"), form_of(response), headers=HTMX)
    assert (response.status_code, response.headers["HX-Redirect"]) == (204, draft.get_absolute_url())


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_stale_dialog_shows_the_new_total_and_posts_nothing(anna, draft, headers):
    form = form_of(anna.get(address(draft, "post/"), headers=headers))
    extra = InvoiceItem.objects.filter(invoice=draft).earliest("pk")
    InvoiceItem.objects.filter(pk=extra.pk).update(amount=extra.amount + 1)
    Invoice.objects.filter(pk=draft.pk).update(net=151, total=151, balance=151)
    response = anna.post(address(draft, "post/"), form, headers=headers)
    page = page_of(response, 409)
    assert "changed since you opened the dialog. Nothing was posted" in page
    assert "$151.00" in page
    draft.refresh_from_db()
    assert draft.status == "Draft"
    # The new dialog's own form posts what it showed.
    assert anna.post(address(draft, "post/"), form_of(response, 409)).status_code == 302
    draft.refresh_from_db()
    assert (draft.status, draft.total) == ("Posted", Decimal(151))


def test_a_double_click_posts_once(anna, draft):
    form = form_of(anna.get(address(draft, "post/")))
    assert anna.post(address(draft, "post/"), form).url == anna.post(address(draft, "post/"), form).url
    assert list(Invoice.objects.values_list("number", flat=True)) == ["INV00000001"]


def test_what_is_posted_is_not_asked_about_again(anna, draft):
    form = form_of(anna.get(address(draft, "post/")))
    post_invoice(draft, user_id=user("admin").pk)
    form["request_key"] = str(uuid.uuid4())
    page = page_of(anna.post(address(draft, "post/"), form, follow=True))
    assert "INV00000001 is posted, so there is nothing to post." in page
    assert "so it cannot be canceled" in page_of(anna.get(address(draft, "cancel/"), follow=True))


def test_a_draft_that_cannot_be_posted_says_why(anna, draft):
    Invoice.objects.filter(pk=draft.pk).update(number_sequence=None)
    form = form_of(anna.get(address(draft, "post/")))
    page = page_of(anna.post(address(draft, "post/"), form, follow=True))
    assert "has no number sequence" in page
    draft.refresh_from_db()
    assert draft.status == "Draft"


def test_a_form_without_its_key_is_refused(anna, draft):
    assert anna.post(address(draft, "post/"), {"expected": "150"}).status_code == 400


# Canceling and e-mailing ---------------------------------------------------------------------------------------------


def test_canceling_releases_what_was_billed(anna, draft):
    page = page_of(anna.get(address(draft, "cancel/")))
    assert "becomes due again" in page
    response = anna.post(address(draft, "cancel/"), form_of(anna.get(address(draft, "cancel/"))))
    assert "What it billed is due again." in page_of(anna.get(response.url))
    draft.refresh_from_db()
    assert draft.status == "Canceled"
    assert LogEntry.objects.get().get_change_message() == "Canceled the draft."
    bill("2026-07-01", accounts=[draft.account])
    assert Invoice.objects.filter(status=InvoiceStatus.DRAFT).count() == 1


def test_an_earlier_draft_waits_for_the_later_one(anna, draft):
    bill("2026-08-01", accounts=[draft.account])
    page = page_of(anna.post(address(draft, "cancel/"), form_of(anna.get(address(draft, "cancel/"))), follow=True))
    assert "Later days of the same charges are billed or credited by" in page


def test_an_invoice_is_mailed_and_mailed_again(anna, draft):
    assert "only posted invoices are e-mailed" in page_of(anna.get(address(draft, "email/"), follow=True))
    post_invoice(draft, user_id=user("admin").pk)
    page = page_of(anna.get(address(draft, "email/")))
    assert "billing@acme.example" in page
    response = anna.post(address(draft, "email/"), form_of(anna.get(address(draft, "email/"))))
    assert "is queued for billing@acme.example." in page_of(anna.get(response.url))
    delivery = InvoiceDelivery.objects.get()
    assert delivery.recipients == ["billing@acme.example"]
    assert "Queued" in page_of(anna.get(address(draft, "emails/")))
    InvoiceDelivery.objects.filter(pk=delivery.pk).update(state="Sending")
    InvoiceDelivery.objects.filter(pk=delivery.pk).update(state="Sent", sent_at=delivery.requested_at)
    assert "It was sent once before" in page_of(anna.get(address(draft, "email/")))
    assert "sent</span>" in page_of(anna.get(LIST))


def test_without_an_address_nothing_is_mailed(anna, draft):
    draft.account.contacts.update(email="")
    post_invoice(draft, user_id=user("admin").pk)
    assert "no address" in page_of(anna.get(address(draft, "email/")))
    page = page_of(anna.post(address(draft, "email/"), form_of(anna.get(address(draft, "email/"))), follow=True))
    assert "had no e-mail address when this invoice was posted" in page
    assert not InvoiceDelivery.objects.exists()


# Roles ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "post", "cancel", "email"),
    [("viewer", 403, 403, 403), ("operator", 403, 200, 302), ("approver", 200, 200, 302), ("admin", 200, 200, 302)],
)
def test_each_role_sees_and_may_do_its_part(client, draft, role, post, cancel, email):
    client.force_login(user(role))
    answers = [client.get(address(draft, f"{verb}/")).status_code for verb in ("post", "cancel", "email")]
    assert answers == [post, cancel, email]
    page = page_of(client.get(address(draft)))
    assert ("Post invoice" in page, "Cancel draft" in page) == (post == 200, cancel == 200)
    assert client.get(address(draft, "pdf")).status_code == 200
    assert client.get(address(draft, "change/")).status_code == 200
    assert client.post(address(draft, "change/"), {}).status_code == 403


# The list ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def some():
    """Three drafts in three currencies; that of Globex is posted."""
    accounts = [acme(), globex(bill_cycle_day=1, batch=batch(2)), sakura()]
    team = team_plan()
    for account in accounts:
        subscribe(account, team, "2026-07-01")
    run = bill("2026-07-01")
    post_invoice(Invoice.objects.get(account=accounts[1]), user_id=user("admin").pk)
    return run


def found(browser, **query):
    """Return the names of the accounts on the list."""
    page = page_of(browser.get(LIST, query))
    return {name for name in ("Acme", "Globex", "Sakura") if name in page}


def test_tabs_and_chips_narrow_the_list(anna, some):
    everybody = {"Acme", "Globex", "Sakura"}
    assert found(anna) == everybody
    assert found(anna, status__exact="Draft") == {"Acme", "Sakura"}
    assert found(anna, status__exact="Posted") == {"Globex"}
    assert found(anna, status__exact="Canceled") == set()
    assert found(anna, currency__exact="JPY") == {"Sakura"}
    assert found(anna, account__batch__id__exact=batch(2).pk) == {"Globex"}
    assert found(anna, bill_run__number__exact=some.number) == everybody
    assert found(anna, invoice_date__gte="2026-07-02") == set()
    assert found(anna, total__gte="1000") == {"Sakura"}
    assert found(anna, q="Glo") == {"Globex"}
    assert found(anna, q="INV0") == {"Globex"}


def test_past_due_is_posted_unpaid_and_late(anna, some):
    page = page_of(anna.get(LIST))
    past_due = re.findall(r'href="(\?[^"]*due_date__lt[^"]*)"', page)[0].replace("&amp;", "&")
    assert "Globex" in page_of(anna.get(LIST + past_due))
    assert "Acme" not in page_of(anna.get(LIST + past_due))
    assert 'aria-current="page">Past due' in page_of(anna.get(LIST + past_due))


def test_csv_holds_plain_figures(anna, some):
    response = anna.get(f"{LIST}export/", {"status__exact": "Posted"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[0].startswith("number,reference,account,account_name,status,invoice_date,due_date,currency,net")
    assert len(lines) == 2
    assert lines[1].startswith("INV00000001,DRAFT-")
    assert ",EUR,150.00,0,150.00,150.00," in lines[1]


def test_the_list_is_light(anna, some, django_assert_max_num_queries):
    anna.get(LIST)
    with django_assert_max_num_queries(12):
        page = page_of(anna.get(LIST))
    assert len(page.encode()) <= 40 * 1024
    assert "¥" in page


def test_the_palette_finds_invoices_by_number_and_draft(anna, some):
    draft = Invoice.objects.filter(status="Draft").earliest("pk")
    for query, wanted in (("inv0000", "INV00000001"), (f"draft-{draft.pk}", str(draft))):
        assert wanted in page_of(anna.get("/palette/", {"q": query}, headers=HTMX))
