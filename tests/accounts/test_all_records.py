"""Every kind of record in the site: list, add, change, history, delete and export answer each role without an error."""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.data_fixes import fix_details
from accounts.models import Account, CustomField, CustomFieldEntity
from accounts.operator_admin import site
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import ChargeSegment
from invoicing.documents import stored_document
from invoicing.models import BillRunSchedule, Invoice, InvoiceItem
from invoicing.services import cancel_invoice, email_invoice, post_invoice
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, seats, subscribe, user

pytestmark = pytest.mark.django_db

MODELS = sorted(site._registry, key=lambda model: model._meta.label)
TIERS = (Tier(10, 5, PriceFormat.PER_UNIT), Tier(None, 4, PriceFormat.PER_UNIT))
ROLES = ("viewer", "operator", "approver", "admin")


@pytest.fixture
def world(fixed_today):
    """One of everything: an account that was sold all models, a draft, a posted and mailed invoice, a canceled one."""
    everything = plan(
        "Everything", monthly(), seats(), once(), by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="12")
    )
    accounts = acme(), globex(bill_cycle_day=1)
    for account in accounts:
        subscribe(account, everything, "2026-06-01")
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
    BillRunSchedule.objects.create(name="Monthly", starts_on=day("2026-08-01"))
    LogEntry.objects.log_actions(person.pk, [accounts[0]], 2, "Looked at it.", single_object=True)
    return person


def browser_of(role: str) -> Client:
    client = Client(raise_request_exception=True)
    person = User.objects.filter(username=role).first() or user(role)
    client.force_login(person)
    return client


def pages_of(model) -> Iterator[tuple[str, str]]:
    """Yield (page, address) of every page of a model's records, with the first record there is."""
    admin = site.get_model_admin(model)
    obj = model._default_manager.order_by("pk").first()
    assert obj is not None, f"the world lacks a {model._meta.label}"
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
    # Request keys are no records of the business, and nobody needs to look at them.
    without = {model._meta.object_name for model in ours - set(site._registry)}
    assert without <= {"IdempotencyKey"}, without


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_of_any_record_breaks(world, model):
    """Admin and viewer open every page of every record; refusals are 403 and pages stay light and free of inline code."""
    for role in ("admin", "viewer"):
        browser = browser_of(role)
        for page, url in pages_of(model):
            response = browser.get(url)
            assert response.status_code in (200, 302, 403), (role, page, url, response.status_code)
            if response.status_code == 302:
                assert browser.get(response.url).status_code in (200, 302, 403), (role, page, response.url)
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
    url = site.get_model_admin(model).url_to("changelist")
    browser.get(url)
    with django_assert_max_num_queries(12):
        browser.get(url)


@pytest.mark.parametrize("role", ["operator", "approver"])
def test_the_other_roles_open_every_list_and_record_they_may_see(world, role):
    browser = browser_of(role)
    for model in MODELS:
        for page, url in pages_of(model):
            assert browser.get(url).status_code in (200, 302, 403), (role, page, url)


def form_values(response) -> dict[str, str]:
    """Return what a form page sends when nothing is typed in."""
    form = response.context["adminform"].form
    values = {}
    for name, field in form.fields.items():
        value = form.get_initial_for_field(field, name)
        value = getattr(value, "pk", value)
        if value is None or value is False:
            continue
        values[name] = field.widget.format_value(value) if hasattr(field.widget, "format_value") else value
    return {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in values.items() if v is not None}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_saving_a_form_unchanged_works_or_asks_for_a_reason(world, model):
    admin = site.get_model_admin(model)
    browser = browser_of("admin")
    obj = model._default_manager.order_by("pk").first()
    page = browser.get(admin.url_to("change", quote(obj.pk)))
    if page.status_code != 200 or 'name="_save"' not in page.content.decode():
        assert not admin.has_change_permission(page.wsgi_request, obj) or page.status_code == 302
        return
    values = form_values(page)
    if admin.data_fix:
        refused = browser.post(admin.url_to("change", quote(obj.pk)), values)
        assert "Write down why this record is changed by hand." in refused.content.decode()
        values["fix_reason"] = "Checked by a test"
    response = browser.post(admin.url_to("change", quote(obj.pk)), values)
    errors = response.context["errors"] if response.status_code == 200 else ""
    assert response.status_code == 302, f"{model._meta.label}: {errors}"
    if admin.data_fix:
        assert fix_details(LogEntry.objects.order_by("-pk").first())["reason"] == "Checked by a test"


LOCKED = ("Invoice", "InvoiceItem", "Coverage", "InvoiceDocument", "InvoiceDelivery", "InvoiceTemplateVersion", "LogEntry", "BillRunAccount", "BillRunChunk")


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_a_record_of_the_past_has_no_form(world, name):
    model = next(model for model in MODELS if model._meta.object_name == name)
    admin, browser = site.get_model_admin(model), browser_of("admin")
    obj = model._default_manager.order_by("pk").first()
    page = browser.get(admin.url_to("change", quote(obj.pk)))
    assert page.status_code == 200
    assert not re.search(r'<(input|select|textarea)(?![^>]*type="(hidden|search|checkbox)")[^>]*\bname="(?!q")', page.content.decode())
    assert browser.post(admin.url_to("change", quote(obj.pk)), {}).status_code == 403
    assert browser.get(admin.url_to("delete", quote(obj.pk))).status_code == 403
    assert browser.get(admin.url_to("add")).status_code == 403


def test_a_refusal_of_the_database_is_an_error_on_the_form(world):
    browser = browser_of("admin")
    segment = ChargeSegment.objects.order_by("pk").first()
    url = site.get_model_admin(ChargeSegment).url_to("add")
    again = {"charge": segment.charge_id, "number": 2, "effective_start": "2026-06-15", "price": "5", "mrr": "5"}
    page = browser.post(url, again).content.decode()
    assert "This segment overlaps another segment of the charge." in page
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
    for obj in (Account.objects.first(), Account.objects.first().bill_to, Account.objects.first().batch):
        admin = site.get_model_admin(type(obj))
        page = browser.get(admin.url_to("delete", obj.pk)).content.decode()
        assert "cannot be deleted" in page, obj
        browser.post(admin.url_to("delete", obj.pk), {"post": "yes", "reason": "try"})
        assert type(obj).objects.filter(pk=obj.pk).exists(), obj


def test_roles_and_users_can_be_managed(world):
    browser = browser_of("admin")
    role = Group.objects.get(name="viewer")
    assert "viewer" in browser.get(site.get_model_admin(Group).url_to("change", role.pk)).content.decode()
    assert browser.get(site.get_model_admin(User).url_to("add")).status_code == 200
