"""Every kind of record in the site: list, add, change, history, delete and export answer each role without an error."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client

from accounts.data_fixes import fix_details
from accounts.models import Account, CustomField, CustomFieldEntity
from accounts.operator_admin import site
from accounts.services import issue_token
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import ChargeSegment
from invoicing.documents import stored_document
from invoicing.models import BillRunSchedule, Invoice, InvoiceItem
from invoicing.services import cancel_invoice, email_invoice, post_invoice
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, seats, subscribe, user
from tests.usage.consumption import consume, sold
from usage.models import UsageImport

pytestmark = pytest.mark.django_db

MODELS = sorted(site._registry, key=lambda model: model._meta.label)
TIERS = (Tier(Decimal(10), Decimal(5), PriceFormat.PER_UNIT), Tier(None, Decimal(4), PriceFormat.PER_UNIT))
ROLES = ("viewer", "operator", "approver", "admin")


@pytest.fixture(scope="module")
def company(django_db_setup, django_db_blocker) -> Iterator[User]:
    """Make the company once for all tests here: each of them works in a savepoint of this transaction."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            yield one_of_everything()
            transaction.set_rollback(True)
        connection.close()


def one_of_everything() -> User:
    """An account that was sold all models, a draft, a posted and mailed invoice, a canceled one; return the admin."""
    everything = plan(
        "Everything", monthly(), seats(), once(), by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="12")
    )
    accounts = acme(), globex(bill_cycle_day=1)
    for account in accounts:
        subscribe(account, everything, "2026-06-01")
    consume(sold(account=accounts[1], start="2026-06-01"), ("2026-06-05", "10"))
    refused = UsageImport.objects.create(source="File", status="Failed", file_name="usage.csv", bad_rows=1, rows=1)
    refused.errors.create(line=2, column="QTY", value="ten", code="not_a_quantity", message="“ten” is not a quantity.")
    bill("2026-06-01")
    bill("2026-07-01")
    person = user("admin")
    first, second = Invoice.objects.filter(account=accounts[0]).order_by("pk")
    post_invoice(first, user_id=person.pk)
    first.refresh_from_db()
    stored_document(first)
    email_invoice(first, user_id=person.pk)
    cancel_invoice(second)
    CustomField.objects.create(entity=CustomFieldEntity.ACCOUNT, name="Segment", label="Segment")
    issue_token(name="Gateway", scopes=["usage:write"])
    BillRunSchedule.objects.create(name="Monthly", starts_on=day("2026-08-01"))
    LogEntry.objects.log_actions(person.pk, [accounts[0]], 2, "Looked at it.", single_object=True)
    for role in ROLES[:3]:
        user(role)
    return person


@pytest.fixture
def world(company, db, fixed_today):
    """The company, on 15 July 2026."""
    return company


def admin_of(model: Any) -> Any:
    """Return the admin of a model."""
    return site.get_model_admin(model)


def first_of(model: Any) -> Any:
    """Return the first record of a model, without which there would be no page to look at."""
    obj = model._default_manager.order_by("pk").first()
    assert obj is not None, f"the company lacks a {model._meta.label}"
    return obj


def browser_of(role: str) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.get(username=role))
    return client


def pages_of(model: Any) -> Iterator[tuple[str, str]]:
    """Yield (page, address) of every page of a model's records, with the first record there is."""
    admin = admin_of(model)
    obj = first_of(model)
    yield "list", admin.url_to("changelist")
    yield "search", admin.url_to("changelist") + "?q=a"
    yield "export", admin.url_to("export")
    yield "add", admin.url_to("add")
    for page in ("object", "change", "history", "delete"):
        yield page, admin.url_to(page, quote(obj.pk))
    for slug, _ in admin.object_tabs:
        if slug:
            yield f"tab {slug}", admin.url_to("tab", quote(obj.pk), slug)
    for label, lookups in admin.tabs:
        query = "&".join(f"{key}={value() if callable(value) else value}" for key, value in lookups.items())
        yield f"list tab {label}", f"{admin.url_to('changelist')}?{query}"


def content_of(response) -> str:
    return (b"".join(response.streaming_content) if response.streaming else response.content).decode(errors="replace")


def test_every_model_of_the_product_has_pages():
    ours = {m for app in ("accounts", "billing", "usage", "invoicing") for m in apps.get_app_config(app).get_models()}
    # Request keys and pieces of uploaded files are no records of the business, and nobody needs to look at them.
    without = {model._meta.object_name for model in ours - set(site._registry)}
    assert without <= {"IdempotencyKey", "UsageFilePart"}, without


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_of_any_record_breaks(world, model):
    """Admin and viewer open every page of every record; refusals are 403 and pages stay light and free of inline code."""
    for role in ("admin", "viewer"):
        browser = browser_of(role)
        for page, url in pages_of(model):
            response = browser.get(url)
            assert response.status_code in (200, 302, 403), (role, page, url, response.status_code)
            if response.status_code == 302:
                assert browser.get(response["Location"]).status_code in (200, 302, 403), (role, page)
            text = content_of(response)
            if role == "viewer":
                assert 'name="_save"' not in text, url
                assert page not in ("add", "delete") or response.status_code in (302, 403), (page, url)
            if response.status_code == 200 and page != "export":
                assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=\"", text), url
                assert len(text.encode()) <= 40 * 1024, (url, len(text.encode()))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_lists_cost_few_queries(world, model, django_assert_max_num_queries):
    browser = browser_of("admin")
    url = admin_of(model).url_to("changelist")
    browser.get(url)
    with django_assert_max_num_queries(12):
        browser.get(url)


@pytest.mark.parametrize("role", ["operator", "approver"])
def test_the_other_roles_open_every_list_and_record_they_may_see(world, role):
    browser = browser_of(role)
    for model in MODELS:
        for page, url in pages_of(model):
            assert browser.get(url).status_code in (200, 302, 403), (role, page, url)


def is_sent(kind: str, is_checked: bool) -> bool:
    """Tell whether a form sends an input that nobody touched."""
    return is_checked if kind in ("checkbox", "radio") else kind not in ("submit", "button", "file", "search")


class Inputs(HTMLParser):
    """Collects what the form of a record would send if nothing was typed in."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, False
        self.values: dict[str, list[str]] = {}
        self.select: str | None = None
        self.textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        found = dict(attrs)
        self.inside |= tag == "form" and found.get("id") == self.form_id
        name, kind = found.get("name"), found.get("type", "text")
        if not self.inside:
            return
        if tag == "select":
            self.select = name
        elif tag == "option" and "selected" in found and self.select:
            self.values.setdefault(self.select, []).append(found["value"] or "")
        elif tag == "textarea":
            self.textarea = name
            self.values[str(name)] = [""]
        elif tag == "input" and name and is_sent(kind, "checked" in found):
            self.values.setdefault(name, []).append(found.get("value", "on" if kind == "checkbox" else ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "form"
        self.textarea = None if tag == "textarea" else self.textarea

    def handle_data(self, data: str) -> None:
        if self.inside and self.textarea:
            # A browser drops the line break that follows the opening tag.
            self.values[self.textarea] = [self.values[self.textarea][0] + data.removeprefix("\n")]


def form_values(model, page) -> dict[str, list[str]]:
    """Return what the form on a change page sends when nothing is typed in."""
    parser = Inputs(f"{model._meta.model_name}_form")
    parser.feed(page.content.decode())
    return {name: value for name, value in parser.values.items() if name != "csrfmiddlewaretoken"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_saving_a_form_unchanged_works_or_asks_for_a_reason(world, model):
    admin = admin_of(model)
    browser = browser_of("admin")
    obj = first_of(model)
    page = browser.get(admin.url_to("change", quote(obj.pk)))
    if page.status_code != 200 or 'name="_save"' not in page.content.decode():
        # Billing rules are reviewed before they are saved, on a page of their own.
        elsewhere = page.status_code == 302 or model._meta.label == "billing.BillingRules"
        assert not admin.has_change_permission(page.wsgi_request, obj) or elsewhere
        return
    values = form_values(model, page)
    if admin.data_fix:
        refused = browser.post(admin.url_to("change", quote(obj.pk)), values)
        assert "Write down why this record is changed by hand." in refused.content.decode()
        values["fix_reason"] = ["Checked by a test"]
    response = browser.post(admin.url_to("change", quote(obj.pk)), values)
    errors = response.context["errors"] if response.status_code == 200 else ""
    assert response.status_code == 302, f"{model._meta.label}: {errors}"
    if admin.data_fix:
        assert fix_details(LogEntry.objects.latest("pk"))["reason"] == "Checked by a test"


LOCKED = (
    "Invoice",
    "InvoiceItem",
    "Coverage",
    "InvoiceDocument",
    "InvoiceDelivery",
    "InvoiceTemplateVersion",
    "LogEntry",
    "BillRunAccount",
    "BillRunChunk",
)


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_a_record_of_the_past_has_no_form(world, name):
    model = next(model for model in MODELS if model._meta.object_name == name)
    admin, browser = admin_of(model), browser_of("admin")
    obj = first_of(model)
    page = browser.get(admin.url_to("change", quote(obj.pk)))
    assert page.status_code == 200
    assert not re.search(
        r'<(input|select|textarea)(?![^>]*type="(hidden|search|checkbox)")[^>]*\bname="(?!q")', page.content.decode()
    )
    assert browser.post(admin.url_to("change", quote(obj.pk)), {}).status_code == 403
    assert browser.get(admin.url_to("delete", quote(obj.pk))).status_code == 403
    assert browser.get(admin.url_to("add")).status_code == 403


def test_a_refusal_of_the_database_is_an_error_on_the_form(world):
    browser = browser_of("admin")
    segment = first_of(ChargeSegment)
    url = admin_of(ChargeSegment).url_to("add")
    again = {"charge": segment.charge_id, "number": 2, "effective_start": "2026-06-15", "price": "5", "mrr": "5"}
    page = browser.post(url, again).content.decode()
    assert (
        "This segment overlaps another segment of the charge (rule i1_segments_no_overlap). Nothing was changed."
        in page
    )
    assert segment.charge.segments.count() == 1


def test_a_posted_invoice_stays_what_it_is(world):
    posted = Invoice.objects.get(status="Posted")
    browser = browser_of("admin")
    before = list(InvoiceItem.objects.filter(invoice=posted).values_list("pk", "amount"))
    assert browser.post(f"/invoicing/invoice/{posted.pk}/change/", {"total": "1"}).status_code == 403
    assert browser.post(f"/invoicing/invoice/{posted.pk}/delete/", {"post": "yes", "reason": "x"}).status_code == 403
    item = before[0][0]
    assert browser.post(f"/invoicing/invoiceitem/{item}/change/", {"amount": "1"}).status_code == 403
    assert list(InvoiceItem.objects.filter(invoice=posted).values_list("pk", "amount")) == before


def test_what_is_in_use_is_not_deleted(world):
    browser = browser_of("admin")
    account = first_of(Account)
    for obj in (account, account.bill_to, account.batch):
        admin = admin_of(type(obj))
        page = browser.get(admin.url_to("delete", obj.pk)).content.decode()
        assert "cannot be deleted" in page, obj
        browser.post(admin.url_to("delete", obj.pk), {"post": "yes", "reason": "try"})
        assert type(obj).objects.filter(pk=obj.pk).exists(), obj


def test_roles_and_users_can_be_managed(world):
    browser = browser_of("admin")
    role = Group.objects.get(name="viewer")
    assert "viewer" in browser.get(admin_of(Group).url_to("change", role.pk)).content.decode()
    assert browser.get(admin_of(User).url_to("add")).status_code == 200
