"""Bill runs in the browser without a browser: the list, asking for a run, its page, and every button on it."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.models import Account
from billing.models import BillingRules
from billing.queries import current_rules
from invoicing.bill_run import run as engine
from invoicing.models import BillRun, BillRunStatus, Invoice, InvoiceDelivery, InvoiceStatus
from invoicing.posting import post_run
from invoicing.services import posting_figures
from tests.factories import AccountFactory, acme, batch, bill, day, globex, monthly, plan, subscribe, user

pytestmark = pytest.mark.django_db

QUERIES = 12
BYTES = 40 * 1024
HTMX = {"HX-Request": "true"}
NEW = "/invoicing/billrun/new/"


@pytest.fixture(autouse=True)
def today(settings):
    """Make it 15 July 2026."""
    settings.BUSINESS_DATE = day("2026-07-15")
    return settings.BUSINESS_DATE


@pytest.fixture
def as_role(client: Client):
    """Return a function that logs a role in and returns the browser."""

    def log_in(role: str) -> Client:
        client.force_login(user(role))
        return client

    return log_in


@pytest.fixture
def two_customers():
    """Acme in batch 1 and Globex in batch 2, each owing one month."""
    fee = plan("Basic", monthly(price="100"))
    customers = (acme(batch=batch(1)), globex(batch=batch(2, "Partners")))
    subscribe(customers[0], fee, "2026-07-01")
    subscribe(customers[1], fee, "2026-06-15")
    return customers


def asked(**changes) -> dict:
    """Return what the form of a new run sends."""
    values = {
        "scope": "All",
        "target_date": "2026-07-15",
        "invoice_date": "2026-07-15",
        "charge_types": ["Recurring", "OneTime", "Usage"],
        "bill_cycle_day": "",
        "name": "",
        "request_key": str(uuid4()),
    }
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def text_of(answer) -> str:
    """Return a page's text as people read it, on one line."""
    page = re.sub(r"<(script|style).*?</\1>", " ", answer.content.decode(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&#x27;", "'")


def works(run: BillRun) -> BillRun:
    """Let the run's workers do everything there is to do."""
    while engine.advance(run.pk, seconds=60):
        pass
    run.refresh_from_db()
    return run


# --- Asking for a run ------------------------------------------------------------------------------------------------


def test_a_run_over_one_batch_starts_at_once(as_role, two_customers):
    answer = as_role("operator").post(
        NEW, asked(scope="Batches", batches=[batch(2).pk], charge_types=["Recurring"], name="Partners")
    )

    run = BillRun.objects.get()
    assert answer["Location"] == f"/invoicing/billrun/{run.pk}/"
    assert (run.status, run.scope, run.name) == ("Pending", "Batches", "Partners")
    assert set(run.excluded_charge_types) == {"OneTime", "Usage"}
    assert str(run.created_by) == "operator"
    assert [invoice.account.name for invoice in works(run).invoices.all()] == ["Globex GmbH"]


def test_a_second_click_starts_no_second_run(as_role, two_customers):
    browser, form = as_role("operator"), asked()

    first, second = browser.post(NEW, form), browser.post(NEW, form)

    assert first["Location"] == second["Location"]
    assert BillRun.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_date": "2099-01-01"}, "The target date lies more than 36 months ahead"),
        ({"target_date": "soon"}, "Enter a valid date"),
        ({"target_date": None}, "This field is required"),
        ({"scope": "Batches"}, "Choose at least one billing batch"),
        ({"scope": "Accounts"}, "Choose at least one account"),
        ({"scope": "Nobody"}, "Select a valid choice"),
        ({"charge_types": None}, "Include at least one kind of charge"),
        ({"bill_cycle_day": "32"}, "Select a valid choice"),
        ({"scope": "Accounts", "accounts": ["999999"]}, "Select a valid choice"),
        ({"name": "a\nb"}, "Line breaks"),
        ({"auto_email": "on"}, "Only posted invoices are e-mailed"),
    ],
)
def test_a_wrong_form_comes_back_with_the_reason_at_the_field(as_role, two_customers, changes, message):
    answer = as_role("approver").post(NEW, asked(**changes))

    assert answer.status_code == 422
    assert message in text_of(answer)
    assert not BillRun.objects.exists()


def test_an_inactive_account_cannot_be_chosen(as_role, two_customers):
    account = two_customers[0]
    Account.objects.filter(pk=account.pk).update(status="Canceled")

    answer = as_role("operator").post(NEW, asked(scope="Accounts", accounts=[account.pk]))

    assert answer.status_code == 422
    assert f"Only active accounts can be billed; {account.number} is not" in text_of(answer)


def test_a_link_from_an_account_fills_the_form(as_role, two_customers):
    page = as_role("operator").get(f"{NEW}?account={two_customers[1].pk}").content.decode()

    assert f'name="accounts" value="{two_customers[1].pk}" checked' in page
    assert re.search(r'value="Accounts"[^>]*checked', page)


def test_the_stock_add_page_leads_to_the_form(as_role):
    assert as_role("operator").get("/invoicing/billrun/add/")["Location"] == NEW


def test_a_run_that_posts_by_itself_is_asked_about_once(as_role, two_customers):
    browser = as_role("approver")

    question = browser.post(NEW, asked(auto_post="on"))
    assert not BillRun.objects.exists()
    assert "Run and post for 2 accounts" in text_of(question)
    assert "$100.00" in text_of(question) and "€200.00" in text_of(question)

    browser.post(NEW, asked(auto_post="on", confirmed="1"))
    run = works(BillRun.objects.get())
    assert run.status == BillRunStatus.POSTED


def test_the_question_can_be_answered_by_going_back(as_role, two_customers):
    answer = as_role("approver").post(NEW, asked(auto_post="on", name="July", preview="1"))

    assert 'value="July"' in answer.content.decode()
    assert not BillRun.objects.exists()


def test_an_operator_cannot_smuggle_posting_into_a_run(as_role, two_customers):
    browser = as_role("operator")

    assert 'name="auto_post"' not in browser.get(NEW).content.decode()
    assert browser.post(NEW, asked(auto_post="on", confirmed="1")).status_code == 403
    assert not BillRun.objects.exists()


def test_the_billing_rules_can_forbid_posting_without_review(as_role, two_customers):
    BillingRules.objects.update(allow_auto_post=False)
    browser = as_role("admin")

    assert 'name="auto_post"' not in browser.get(NEW).content.decode()
    assert browser.post(NEW, asked(auto_post="on", confirmed="1")).status_code == 403


# --- The preview -----------------------------------------------------------------------------------------------------


def preview_of(browser: Client, **changes) -> str:
    """Return the preview's text for a form."""
    form = asked(**changes)
    form.pop("request_key")
    return text_of(browser.get(f"{NEW}preview/", form, headers=HTMX))


def test_the_preview_names_the_amounts_and_writes_nothing(as_role, two_customers):
    text = preview_of(as_role("operator"))

    assert "Accounts in scope 2" in text
    assert "Total EUR €200.00" in text and "Total USD $100.00" in text
    assert "Run for 2 accounts" in text
    assert "about" not in text
    assert not Invoice.objects.exists()


def test_the_preview_is_exactly_what_the_run_bills(as_role, two_customers):
    text = preview_of(as_role("operator"), scope="Batches", batches=[batch(1).pk])
    run = works(_created(as_role, scope="Batches", batches=[batch(1).pk]))

    assert f"Total USD ${Decimal(run.totals['USD'])}" in text


def _created(as_role, **changes) -> BillRun:
    as_role("admin").post(NEW, asked(**changes))
    return BillRun.objects.latest("pk")


def test_the_preview_warns_of_problems_other_runs_and_waiting_drafts(as_role, two_customers):
    bill("2026-07-15", batches=[batch(1)])
    engine.create(scope="All", target_date=day("2026-07-15"), invoice_date=day("2026-07-15"))
    Account.objects.filter(pk=two_customers[1].pk).update(bill_to=None)

    text = preview_of(as_role("operator"))

    assert "1 account cannot be billed as it is" in text
    assert f"Account {two_customers[1].number} has no bill-to contact" in text
    assert "Another run is in progress" in text
    assert "1 draft of these accounts waits" in text


def test_the_preview_of_many_accounts_says_that_it_is_an_estimate(as_role, two_customers, monkeypatch):
    monkeypatch.setattr("invoicing.services.PREVIEW_ACCOUNTS", 1)

    text = preview_of(as_role("operator"))

    assert "Invoices, first 1 accounts about 1" in text
    assert "Priced for the first 1 of 2 accounts" in text


def test_the_preview_says_what_is_wrong_with_the_form(as_role):
    assert "Choose at least one billing batch" in preview_of(as_role("operator"), scope="Batches")
    assert "Enter a valid date" in preview_of(as_role("admin"), target_date="x")


def test_the_form_works_without_scripts(as_role, two_customers):
    answer = as_role("operator").post(NEW, asked(preview="1", scope="Accounts", find="Acme"))

    assert answer.status_code == 200
    assert two_customers[0].number in text_of(answer)
    assert "Choose at least one account" in text_of(answer)
    assert b'name="run"' in answer.content


def test_accounts_are_found_by_number_name_or_a_pasted_list(as_role, two_customers):
    browser = as_role("operator")
    for number in range(3):
        AccountFactory(number=f"X-{number}", name=f"Umbrella {number}", contacts=False)

    def found(search: str, **more) -> str:
        return text_of(browser.get(f"{NEW}accounts/", {"find": search, **more}, headers=HTMX))

    assert "Acme Corporation" in found("acme")
    assert "Umbrella 2" in found("x-2") and "Umbrella 1" not in found("x-2")
    assert "X-0" in found("X-0, X-1") and "X-1" in found("X-0, X-1") and "X-2" not in found("X-0, X-1")
    chosen = browser.get(f"{NEW}accounts/", {"find": "umb", "accounts": two_customers[0].pk}, headers=HTMX)
    assert f'value="{two_customers[0].pk}" checked' in chosen.content.decode()
    assert "No further active account begins with “zzz”" in found("zzz")


# --- The list --------------------------------------------------------------------------------------------------------


def test_the_list_shows_scope_totals_and_a_mark_for_errors(as_role, two_customers):
    Account.objects.filter(pk=two_customers[1].pk).update(bill_to=None)
    run = bill("2026-07-15", batches=[batch(1), batch(2)], name="Half month")

    text = text_of(as_role("viewer").get("/invoicing/billrun/"))

    assert "Batch1, Batch2 · Partners" in text and "Half month" in text
    assert "$100.00" in text and f"{run.number} with errors" in text


def test_the_tabs_of_the_list_divide_the_runs_by_what_they_need(as_role, two_customers):
    browser = as_role("viewer")
    to_review = bill("2026-07-15", batches=[batch(1)])
    posted = bill("2026-07-15", batches=[batch(2)])
    post_run(posted.pk, user_id=None)
    waiting = engine.create(scope="All", target_date=day("2026-07-15"), invoice_date=day("2026-07-15"))
    page = browser.get("/invoicing/billrun/").content.decode()
    tabs = dict(reversed(pair) for pair in re.findall(r'<li><a href="(\?[^"]*)"[^>]*>([^<]+)</a></li>', page))

    def listed(tab: str) -> set[str]:
        shown = text_of(browser.get("/invoicing/billrun/" + tabs[tab].replace("&amp;", "&")))
        return {run.number for run in (to_review, posted, waiting) if run.number in shown}

    assert listed("All") == {to_review.number, posted.number, waiting.number}
    assert listed("Processing") == {waiting.number}
    assert listed("To review") == {to_review.number}
    assert listed("Posted") == {posted.number}
    assert listed("Errors") == listed("Canceled") == set()


def test_the_csv_has_a_column_for_each_currency(as_role, two_customers):
    bill("2026-07-15")

    answer = as_role("viewer").get("/invoicing/billrun/export/")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))

    assert Decimal(rows[0]["total_USD"]) == 100 and Decimal(rows[0]["total_EUR"]) == 200
    assert rows[0]["invoices"] == "2" and rows[0]["target_date"] == "2026-07-15"


def test_the_palette_finds_runs_by_number(as_role, two_customers):
    run = bill("2026-07-15")
    browser = as_role("viewer")

    assert run.number in text_of(browser.get("/palette/", {"q": "br-"}, headers=HTMX))
    assert run.number in text_of(browser.get("/palette/", {"q": run.number[-1]}, headers=HTMX))


# --- The page of a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", ["", "invoices/", "errors/", "settings/", "timeline/"])
@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_every_tab_stays_in_its_budget(as_role, two_customers, tab, role, django_assert_max_num_queries):
    run = bill("2026-07-15", accounts=list(two_customers))
    post_run(run.pk, user_id=None)
    browser = as_role(role)

    with django_assert_max_num_queries(QUERIES):
        answer = browser.get(f"/invoicing/billrun/{run.pk}/{tab}")

    assert answer.status_code == 200
    assert len(answer.content) <= BYTES


@pytest.mark.parametrize(
    "address", ["/invoicing/billrun/", NEW, "/invoicing/billrunaccount/", "/invoicing/billrunchunk/"]
)
def test_other_pages_stay_in_their_budget(as_role, two_customers, address, django_assert_max_num_queries):
    for number in range(30):
        AccountFactory(number=f"Y-{number:03}", contacts=False)
    for _ in range(12):
        bill("2026-07-15")
    browser = as_role("admin")

    with django_assert_max_num_queries(QUERIES):
        answer = browser.get(address)

    assert answer.status_code == 200
    assert len(answer.content) <= BYTES


def test_invoices_of_a_large_run_are_paged_by_key(as_role):
    fee = plan("Basic", monthly())
    for number in range(30):
        subscribe(AccountFactory.create(number=f"Z-{number:03}"), fee, "2026-07-01")
    run = bill("2026-07-15")
    browser = as_role("viewer")

    first = browser.get(f"/invoicing/billrun/{run.pk}/invoices/").content.decode()
    following = re.search(r'href="(\?after=\d+)">Next 25', first)
    assert following and first.count('<th scope="row"') == 25
    second = browser.get(f"/invoicing/billrun/{run.pk}/invoices/{following[1]}").content.decode()
    assert second.count('<th scope="row"') == 5
    assert f"bill_run__number__exact={run.number}" in first


def test_a_failed_account_is_named_with_reason_and_hint_and_can_be_retried(as_role, two_customers):
    Account.objects.filter(pk=two_customers[1].pk).update(bill_to=None)
    run = bill("2026-07-15")
    browser = as_role("operator")

    text = text_of(browser.get(f"/invoicing/billrun/{run.pk}/errors/"))
    assert f"Account {two_customers[1].number} has no bill-to contact" in text
    assert "Retry 1 account" in text

    contact = two_customers[1].contacts.first()
    Account.objects.filter(pk=two_customers[1].pk).update(bill_to=contact)
    answer = browser.post(f"/invoicing/billrun/{run.pk}/retry/", {"request_key": uuid4()})
    assert answer.status_code == 302
    works(run)
    assert (run.status, run.accounts_failed, run.invoice_count) == (BillRunStatus.COMPLETED, 0, 2)


def test_outcomes_of_all_accounts_are_a_csv(as_role, two_customers):
    run = bill("2026-07-15")

    answer = as_role("viewer").get(f"/invoicing/billrun/{run.pk}/outcomes/")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))

    assert {row["account_name"]: row["outcome"] for row in rows} == {
        "Acme Corporation": "Billed",
        "Globex GmbH": "Billed",
    }
    assert rows[0]["message"] == "Billed 1 item on 1 invoice."


def test_audit_violations_are_told_in_words(as_role, two_customers):
    run = bill("2026-07-15")
    BillRun.objects.filter(pk=run.pk).update(
        has_errors=True, audit=[{"check": "i1_overlap", "count": 2, "example": "charge 7"}]
    )

    text = text_of(as_role("viewer").get(f"/invoicing/billrun/{run.pk}/"))

    assert "Days of a charge are billed twice: 2, for example charge 7" in text


def test_the_history_names_who_did_what(as_role, two_customers):
    run = works(_created(as_role))
    browser = as_role("approver")
    browser.post(f"/invoicing/billrun/{run.pk}/post/", {"request_key": uuid4(), "expected": posting_figures(run).check})
    works(run)

    text = text_of(browser.get(f"/invoicing/billrun/{run.pk}/timeline/"))

    assert "Created" in text and "· admin" in text
    assert "Asked to post all drafts" in text and "All drafts posted" in text and "· approver" in text


# --- Progress --------------------------------------------------------------------------------------------------------


@pytest.fixture
def half_done(settings, two_customers):
    """A run over three accounts of which two are done, begun ten seconds ago."""
    settings.BILL_RUN_CHUNK_ACCOUNTS = 1
    subscribe(AccountFactory.create(number="T-1"), plan("Third", monthly()), "2026-07-01")
    run = engine.create(scope="All", target_date=day("2026-07-15"), invoice_date=day("2026-07-15"))
    engine.start(run)
    run.refresh_from_db()
    terms = engine.Terms(run.pk, run.target_date, run.invoice_date, frozenset(), current_rules())
    for chunk in run.chunks.order_by("pk")[:2]:
        engine.bill_chunk(chunk.pk, terms)
    BillRun.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(seconds=10))
    run.refresh_from_db()
    return run


def test_a_working_run_shows_how_far_it_is_and_asks_again(as_role, half_done, django_assert_max_num_queries):
    browser = as_role("viewer")

    with django_assert_max_num_queries(QUERIES):
        page = browser.get(f"/invoicing/billrun/{half_done.pk}/")

    text = text_of(page)
    assert "Processing accounts 2 of 3" in text and "66%" in text
    assert re.search(r"about \d+(\.\d)? s left", text)
    assert 'hx-trigger="every 2s"' in page.content.decode()


def test_progress_is_announced_at_every_tenth_only(as_role, half_done, django_assert_max_num_queries):
    browser, address = as_role("viewer"), f"/invoicing/billrun/{half_done.pk}/progress/"

    with django_assert_max_num_queries(7):
        first = browser.get(address, {"status": "Processing", "said": 0}, headers=HTMX).content.decode()
    again = browser.get(address, {"status": "Processing", "said": 60}, headers=HTMX).content.decode()

    assert "66 percent" in first and "innerHTML:#live" in first
    assert "percent:" not in again
    assert len(first) < 6 * 1024


def test_the_time_left_is_hidden_at_first(as_role, half_done):
    BillRun.objects.filter(pk=half_done.pk).update(started_at=timezone.now() - timedelta(seconds=3))

    assert "estimating…" in text_of(as_role("viewer").get(f"/invoicing/billrun/{half_done.pk}/"))


def test_a_run_without_progress_says_so(as_role, half_done):
    long_ago = timezone.now() - timedelta(minutes=2)
    BillRun.objects.filter(pk=half_done.pk).update(started_at=long_ago)
    half_done.chunks.filter(finished_at__isnull=False).update(finished_at=long_ago, claimed_at=long_ago)

    text = text_of(as_role("viewer").get(f"/invoicing/billrun/{half_done.pk}/"))

    assert "No progress for 2 min" in text and "worker last seen" in text


def test_polling_ends_with_the_run(as_role, half_done):
    works(half_done)

    answer = (
        as_role("viewer")
        .get(f"/invoicing/billrun/{half_done.pk}/progress/", {"status": "Processing"}, headers=HTMX)
        .content.decode()
    )

    assert "every 2s" not in answer
    assert 'hx-select="#content"' in answer
    assert "is now completed" in answer


def test_the_progress_of_posting_counts_invoices(as_role, two_customers):
    run = bill("2026-07-15")
    BillRun.objects.filter(pk=run.pk).update(status=BillRunStatus.POST_IN_PROGRESS)

    assert "Posting invoices 0 of 2" in text_of(as_role("viewer").get(f"/invoicing/billrun/{run.pk}/"))


# --- Posting, stopping, canceling, e-mailing -------------------------------------------------------------------------


def test_the_post_dialog_shows_what_will_be_locked(as_role, two_customers):
    run = bill("2026-07-15")

    dialog = as_role("approver").get(f"/invoicing/billrun/{run.pk}/post/", headers=HTMX)

    text = text_of(dialog)
    assert "Draft invoices 2" in text and "Total USD $100.00" in text and "Total EUR €200.00" in text
    assert "Post 2 invoices" in text and "Keep as draft" in text
    assert "<html" not in dialog.content.decode()


def test_posting_works_as_a_page_without_scripts(as_role, two_customers):
    run = bill("2026-07-15")
    browser, address = as_role("approver"), f"/invoicing/billrun/{run.pk}/post/"
    page = browser.get(address).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(request_key|expected)" value="([^"]*)"', page))

    first, second = browser.post(address, hidden), browser.post(address, hidden)

    assert first["Location"] == second["Location"] == f"/invoicing/billrun/{run.pk}/"
    works(run)
    assert run.status == BillRunStatus.POSTED and str(run.posted_by) == "approver"
    assert LogEntry.objects.filter(object_id=str(run.pk)).count() == 1


def test_drafts_that_changed_meanwhile_are_shown_again_and_not_posted(as_role, two_customers):
    run = bill("2026-07-15")
    seen = posting_figures(run).check
    run.invoices.filter(account=two_customers[0]).update(status=InvoiceStatus.CANCELED)
    browser, address = as_role("approver"), f"/invoicing/billrun/{run.pk}/post/"

    page = browser.post(address, {"request_key": uuid4(), "expected": seen})
    dialog = browser.post(address, {"request_key": uuid4(), "expected": seen}, headers=HTMX)

    assert (page.status_code, dialog.status_code) == (409, 200)
    for answer in (page, dialog):
        assert "Nothing was posted; check the new figures" in text_of(answer)
        assert "Post 1 invoice" in text_of(answer)
    run.refresh_from_db()
    assert run.status == BillRunStatus.COMPLETED
    assert not Invoice.objects.filter(status=InvoiceStatus.POSTED).exists()


def test_accounts_with_errors_are_named_as_left_out(as_role, two_customers):
    Account.objects.filter(pk=two_customers[1].pk).update(bill_to=None)
    run = bill("2026-07-15")

    text = text_of(as_role("approver").get(f"/invoicing/billrun/{run.pk}/post/", headers=HTMX))

    assert "Accounts with errors, left out 1" in text


def test_a_canceled_run_can_be_run_again_with_the_same_choices(as_role, two_customers):
    run = bill("2026-07-15", batches=[batch(2)], name="Partners")
    browser = as_role("operator")

    assert "Cancel 1 draft" in text_of(browser.get(f"/invoicing/billrun/{run.pk}/cancel/", headers=HTMX))
    browser.post(f"/invoicing/billrun/{run.pk}/cancel/", {"request_key": uuid4()})
    works(run)
    assert run.status == BillRunStatus.CANCELED

    page = browser.get(f"/invoicing/billrun/{run.pk}/").content.decode()
    assert "Run again" in page
    form = browser.get(f"{NEW}?like={run.pk}").content.decode()
    assert 'value="Partners"' in form
    assert re.search(rf'name="batches" value="{batch(2).pk}"[^>]*checked', form)


def test_a_working_run_can_be_stopped(as_role, half_done):
    browser = as_role("operator")

    assert "Stop this run" in text_of(browser.get(f"/invoicing/billrun/{half_done.pk}/cancel/", headers=HTMX))
    browser.post(f"/invoicing/billrun/{half_done.pk}/cancel/", {"request_key": uuid4()})
    works(half_done)

    assert half_done.status == BillRunStatus.CANCELED
    assert not Invoice.objects.filter(status=InvoiceStatus.DRAFT).exists()


def test_a_posted_run_cannot_be_canceled(as_role, two_customers):
    run = bill("2026-07-15")
    post_run(run.pk, user_id=None)
    browser = as_role("operator")

    browser.post(f"/invoicing/billrun/{run.pk}/cancel/", {"request_key": uuid4()})

    assert "cannot be canceled" in text_of(browser.get(f"/invoicing/billrun/{run.pk}/"))
    assert Invoice.objects.filter(status=InvoiceStatus.POSTED).count() == 2


def test_only_unsent_invoices_are_emailed(as_role, two_customers):
    run = bill("2026-07-15")
    post_run(run.pk, user_id=None)
    browser, address = as_role("operator"), f"/invoicing/billrun/{run.pk}/email/"

    assert "E-mail 2 invoices" in text_of(browser.get(address, headers=HTMX))
    browser.post(address, {"request_key": uuid4()})
    assert InvoiceDelivery.objects.count() == 2

    assert "E-mail" not in _buttons(browser, run)
    browser.post(address, {"request_key": uuid4()})
    assert InvoiceDelivery.objects.count() == 2


def test_a_form_without_its_key_is_refused(as_role, two_customers):
    run = bill("2026-07-15")

    assert as_role("approver").post(f"/invoicing/billrun/{run.pk}/post/", {"expected": "2"}).status_code == 400


# --- Who may do what -------------------------------------------------------------------------------------------------


def _buttons(browser: Client, run: BillRun) -> list[str]:
    page = browser.get(f"/invoicing/billrun/{run.pk}/").content.decode()
    head = page.partition('<div class="actions-row">')[2].partition('<div class="meta">')[0]
    return [label.split()[0] for label in re.findall(r'<a class="btn[^>]*>([^<]+)</a>', head)]


@pytest.mark.parametrize(
    ("role", "shown"),
    [("viewer", ["Export"]), ("operator", ["Cancel", "Export"]), ("approver", ["Post", "Cancel", "Export"])],
)
def test_buttons_follow_the_role(as_role, two_customers, role, shown):
    run = bill("2026-07-15")

    assert _buttons(as_role(role), run) == shown


@pytest.mark.parametrize("role", ["viewer", "operator"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("verb", ["post", "cancel", "retry", "email"])
def test_the_server_refuses_what_has_no_button(as_role, two_customers, role, method, verb):
    run = bill("2026-07-15")
    allowed = role == "operator" and verb != "post"

    answer = getattr(as_role(role), method)(f"/invoicing/billrun/{run.pk}/{verb}/", {"request_key": uuid4()})

    assert (answer.status_code == 403) is not allowed
    if not allowed:
        run.refresh_from_db()
        assert run.status == BillRunStatus.COMPLETED


@pytest.mark.parametrize("address", [NEW, f"{NEW}preview/", f"{NEW}accounts/"])
def test_a_viewer_cannot_ask_for_a_run(as_role, address):
    assert as_role("viewer").get(address).status_code == 403


def test_visitors_are_sent_to_the_login(client):
    for address in ("/", "/invoicing/billrun/", NEW, "/invoicing/billrun/1/", "/invoicing/billrun/1/progress/"):
        assert client.get(address)["Location"].startswith("/login/")


@pytest.mark.parametrize("verb", ["", "post/", "progress/", "outcomes/", "nonsense/"])
def test_a_run_that_does_not_exist_is_not_found(as_role, verb):
    assert as_role("admin").get(f"/invoicing/billrun/987654/{verb}", headers=HTMX).status_code == 404


# --- As records ------------------------------------------------------------------------------------------------------


def test_only_the_name_of_a_run_is_changed_by_hand_and_with_a_reason(as_role, two_customers):
    run = bill("2026-07-15")
    browser, address = as_role("operator"), f"/invoicing/billrun/{run.pk}/change/"
    page = browser.get(address).content.decode()
    assert 'name="name"' in page and 'name="status"' not in page and 'name="auto_post"' not in page

    browser.post(address, {"name": "Renamed", "status": "Posted", "auto_post": "on"})
    run.refresh_from_db()
    assert (run.name, run.status, run.auto_post) == ("", "Completed", False)

    browser.post(address, {"name": "Renamed", "fix_reason": "A typing error"})
    run.refresh_from_db()
    assert run.name == "Renamed"


@pytest.mark.parametrize("model", ["billrunaccount", "billrunchunk", "coverage"])
def test_the_engines_own_records_are_read_only(as_role, two_customers, model):
    bill("2026-07-15")
    browser = as_role("admin")

    assert browser.get(f"/invoicing/{model}/").status_code == 200
    assert browser.get(f"/invoicing/{model}/add/").status_code == 403


def test_a_saved_schedule_plans_its_next_slot(as_role):
    browser = as_role("approver")
    form = {"name": "Nightly", "frequency": "Daily", "hour": "3", "starts_on": "2026-07-15", "active": "on"}

    answer = browser.post("/invoicing/billrunschedule/add/", form)

    assert answer.status_code == 302
    assert "Nightly" in text_of(browser.get("/invoicing/billrunschedule/"))
