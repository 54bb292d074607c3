"""The main job in a browser: run, watch, review, post, look at the PDF, and find the same PDF in the customer's mail."""

import email
import re
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import expect

from invoicing.models import BillRun, BillRunStatus, Invoice, InvoiceDocument
from tests.browser.conftest import Operator
from tests.factories import AccountFactory, acme, batch, bill, day, globex, monthly, plan, subscribe, user

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SECONDS = 1000  # Playwright counts in milliseconds


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")


@pytest.fixture
def partners():
    """Twelve partners in batch 2 who owe a month each, and Acme in batch 1 who does, too."""
    fee = plan("Basic", monthly(price="100"))
    subscribe(acme(batch=batch(1)), fee, "2026-07-01")
    subscribe(globex(batch=batch(2, "Partners")), fee, "2026-07-01")
    for number in range(11):
        subscribe(AccountFactory.create(number=f"P-{number:02}", batch=batch(2)), fee, "2026-07-01")


def attachment(mail: Path) -> bytes:
    """Return the PDF of a mail file."""
    message = email.message_from_bytes(mail.read_bytes())
    (part,) = (part for part in message.walk() if part.get_content_type() == "application/pdf")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def test_from_login_to_the_mail_with_the_same_pdf(operator, partners, slow_worker, settings):
    user("approver")
    person = operator()
    person.open("/")
    person.check("login")
    person.log_in("approver")
    person.check("first-steps")

    ask_for_a_run(person)
    watch_it_work(person)
    review_it(person)
    post_it(person)
    number, shown = look_at_an_invoice(person)

    # The same bytes in the mail, on the page and in the archive
    (mail,) = (
        path for path in _mails(settings, person.page, expected=12) if number in path.read_text(errors="replace")
    )
    document = InvoiceDocument.objects.get(invoice__number=number)
    assert sha256(attachment(mail)).hexdigest() == document.sha256 == sha256(shown).hexdigest()

    person.open("/")
    expect(person.page.get_by_text("Total amount invoiced", exact=True)).to_be_visible()
    person.page.get_by_text("Show more").click()
    expect(person.page.get_by_text("Bookings in MRR")).to_be_visible()
    person.check("dashboard")
    person.open("/invoicing/billrun/")
    person.check("bill-runs")


def ask_for_a_run(person: Operator) -> None:
    """Fill in the form for the partners' batch; the preview follows, and the button says what it will do."""
    page = person.page
    page.get_by_role("link", name="Run your first bill run").click()
    expect(page.get_by_role("button", name="Run for 13 accounts")).to_be_visible()
    person.check("new-bill-run")
    page.get_by_label("Billing batches").check()
    page.get_by_label("Batch2 · Partners").check()
    expect(page.get_by_role("button", name="Run for 12 accounts")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("Total USD")
    person.check("new-bill-run-for-a-batch")
    page.get_by_role("button", name="Run for 12 accounts").click()
    page.wait_for_url(re.compile(r"/invoicing/billrun/\d+/$"))


def watch_it_work(person: Operator) -> None:
    """See accounts and time left move, until the page shows the result by itself."""
    page = person.page
    live = page.locator("#run-live")
    expect(live.get_by_text(re.compile(r"[1-9]\d* of 12"))).to_be_visible(timeout=10 * SECONDS)
    expect(live.get_by_text(re.compile(r"about .* left"))).to_be_visible(timeout=10 * SECONDS)
    person.check("bill-run-processing")
    expect(page.get_by_role("link", name="Post 12 invoices")).to_be_visible(timeout=20 * SECONDS)
    expect(page.locator(".badge").first).to_have_text("Completed")
    person.check("bill-run-completed")


def review_it(person: Operator) -> None:
    """Open every tab of the run."""
    person.page.get_by_role("link", name=re.compile("^Invoices 12")).click()
    expect(person.page.get_by_role("row")).to_have_count(13)
    person.check("bill-run-invoices")
    for tab in ("Errors", "Settings", "History"):
        person.page.get_by_label("Bill run").get_by_role("link", name=tab).click()
        person.check(f"bill-run-{tab.lower()}")


def post_it(person: Operator) -> None:
    """Post all drafts after a look at the figures, then have them e-mailed."""
    page = person.page
    dialog = page.get_by_role("dialog")
    page.get_by_role("link", name="Post 12 invoices").click()
    expect(dialog).to_contain_text("Post this bill run?")
    expect(dialog).to_contain_text("$1,100.00")
    expect(dialog.get_by_text("Keep as draft")).to_be_focused()
    person.check("post-dialog")
    dialog.get_by_role("button", name="Post 12 invoices").click()
    email_button = page.get_by_role("link", name="E-mail 12 invoices")
    expect(email_button).to_be_visible(timeout=20 * SECONDS)
    person.check("bill-run-posted")
    email_button.click()
    dialog.get_by_role("button", name="E-mail 12 invoices").click()
    expect(page.get_by_text("12 e-mails queued.")).to_be_visible()


def look_at_an_invoice(person: Operator) -> tuple[str, bytes]:
    """Open the run's first invoice; return its number and the PDF that its page shows."""
    page = person.page
    page.get_by_role("link", name=re.compile("^Invoices 12")).click()
    number = page.get_by_role("rowheader").first.inner_text().strip()
    page.get_by_role("link", name=number).click()
    frame = page.locator("iframe.pdf-pane")
    expect(frame).to_be_visible()
    shown = page.request.get(f"{person.address}{frame.get_attribute('src')}")
    assert shown.headers["content-type"] == "application/pdf"
    person.check("invoice")
    return number, shown.body()


def _mails(settings, page, *, expected: int) -> list[Path]:
    """Wait until all mails are written."""
    for _ in range(300):
        found = sorted(Path(settings.EMAIL_FILE_PATH).glob("*.eml"))
        if len(found) == expected:
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"{len(found)} of {expected} mails")


def test_a_run_is_posted_with_the_keyboard_alone(operator, partners, worker):
    run = bill("2026-07-15", batches=[batch(2)])
    user("approver")
    person = operator("approver")
    page = person.page

    # To the run through the palette
    page.keyboard.press("Control+k")
    page.keyboard.type(run.number)
    expect(page.locator("#palette-results").get_by_role("link", name=re.compile(run.number))).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/invoicing/billrun/\d+/$"))

    # To the button, into the dialog, out again with Esc and back to the button
    post = page.get_by_role("link", name="Post 12 invoices")
    for _ in range(60):
        page.keyboard.press("Tab")
        if post.evaluate("e => e === document.activeElement"):
            break
    expect(post).to_be_focused()
    page.keyboard.press("Enter")
    keep = page.get_by_role("dialog").get_by_text("Keep as draft")
    expect(keep).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(post).to_be_focused()

    # The safe choice comes first, posting second
    page.keyboard.press("Enter")
    expect(keep).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="E-mail 12 invoices")).to_be_visible(timeout=20 * SECONDS)
    run.refresh_from_db()
    assert run.status == BillRunStatus.POSTED


def test_drafts_that_change_while_the_dialog_is_open_are_shown_anew(operator, partners, worker):
    run = bill("2026-07-15", batches=[batch(2)])
    user("approver")
    person = operator("approver")
    page = person.page
    person.open(f"/invoicing/billrun/{run.pk}/")
    page.get_by_role("link", name="Post 12 invoices").click()
    expect(page.get_by_role("dialog")).to_be_visible()

    run.invoices.filter(account__number="P-03").update(status="Canceled")
    page.get_by_role("button", name="Post 12 invoices").click()

    expect(page.get_by_role("dialog")).to_contain_text("The drafts changed since you opened this dialog")
    person.check("post-dialog-changed")
    page.get_by_role("dialog").get_by_text("Keep as draft").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not Invoice.objects.filter(status="Posted").exists()


def test_a_viewer_sees_everything_and_no_buttons(operator, partners):
    run = bill("2026-07-15", batches=[batch(2)])
    user("viewer")
    person = operator("viewer")
    page = person.page
    person.check("viewer-dashboard")

    expect(page.get_by_role("link", name="New bill run")).to_have_count(0)
    person.open(f"/invoicing/billrun/{run.pk}/")
    for verb in ("Post", "Cancel", "Stop", "Retry", "E-mail"):
        expect(page.locator("main").get_by_role("link", name=re.compile(f"^{verb}"))).to_have_count(0)
    person.check("viewer-bill-run")
    assert person.open(f"/invoicing/billrun/{run.pk}/post/").status == 403
    assert person.open("/invoicing/billrun/new/").status == 403


def test_accounts_are_chosen_by_searching(operator, partners, worker):
    user("operator")
    person = operator("operator")
    page = person.page
    person.open("/invoicing/billrun/new/")

    page.get_by_label("Chosen accounts", exact=True).check()
    page.get_by_role("searchbox", name="Find accounts").fill("glob")
    page.get_by_label(re.compile("Globex GmbH")).check()
    expect(page.get_by_role("button", name="Run for 1 account")).to_be_visible()
    page.get_by_role("searchbox", name="Find accounts").fill("P-0")
    page.get_by_label(re.compile("P-04")).check()
    expect(page.get_by_role("button", name="Run for 2 accounts")).to_be_visible()
    expect(page.get_by_label(re.compile("Globex GmbH"))).to_be_checked()
    person.check("new-bill-run-for-accounts")
    page.get_by_role("button", name="Run for 2 accounts").click()
    expect(page.locator(".badge").first).to_have_text("Completed", timeout=20 * SECONDS)

    assert {str(account.number) for account in BillRun.objects.get().accounts.all()} >= {"P-04"}
    assert Invoice.objects.count() == 2


def test_a_run_that_posts_by_itself_is_asked_about_once(operator, partners, worker):
    user("approver")
    person = operator("approver")
    page = person.page
    person.open("/invoicing/billrun/new/?scope=Batches")

    # Without a batch the form comes back; the browser notes the refusal in its console.
    page.get_by_label("Post the invoices without review").check()
    page.locator("button[name=run]").click()
    expect(page.get_by_text("One field needs your attention")).to_be_visible()
    assert [text for text in person.complaints if "422" not in text] == []
    person.complaints.clear()
    person.check("new-bill-run-refused")

    page.get_by_label("Batch2 · Partners").check()
    page.get_by_role("button", name="Run and post for 12 accounts").click()
    expect(page.get_by_role("heading", name="Run and post without review?")).to_be_visible()
    person.check("new-bill-run-question")
    page.get_by_role("button", name="Run and post for 12 accounts").click()
    expect(page.locator(".badge").first).to_have_text("Posted", timeout=20 * SECONDS)


def test_the_first_start_leads_to_the_first_run(operator):
    user("operator")
    person = operator("operator")

    expect(person.page.get_by_text("0 of 4 done")).to_be_visible()
    for step in (
        "Describe what you sell",
        "Add the accounts you bill",
        "Order subscriptions",
        "Run your first bill run",
    ):
        expect(person.page.get_by_role("link", name=re.compile(step))).to_be_visible()
    person.check("first-start")


def test_a_run_is_made_and_posted_without_scripts(operator, partners, worker):
    user("approver")
    person = operator("approver", scripts=False)
    page = person.page
    person.open("/invoicing/billrun/new/")
    page.get_by_role("button", name="Show the preview").click()
    expect(page.get_by_text("Accounts in scope")).to_be_visible()
    page.get_by_role("button", name="Run for 13 accounts").click()
    for _ in range(50):
        page.reload()
        if page.get_by_role("link", name="Post 13 invoices").count():
            break
        page.wait_for_timeout(100)
    page.get_by_role("link", name="Post 13 invoices").click()
    expect(page.get_by_role("heading", name="Post this bill run?")).to_be_visible()
    page.get_by_role("button", name="Post 13 invoices").click()
    page.wait_for_url(re.compile(r"/invoicing/billrun/\d+/$"))
    for _ in range(50):
        if not Invoice.objects.filter(status="Draft").exists():
            break
        page.wait_for_timeout(100)
    assert Invoice.objects.filter(status="Posted").count() == 13
