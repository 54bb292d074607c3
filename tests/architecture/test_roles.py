"""Who may open what: every address of the URL configuration × five roles, and no address without a line here."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.idempotency import FIELD, new_request_key
from invoicing.models import Invoice, InvoiceDelivery
from tests.architecture.site import NOT_VISITED, ROLES, company, patterns, targets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

# anonymous, viewer, operator, approver, admin. L: sent to the login page. >: sent on to another page. A page that a
# role may see but not change answers 200 as well; that nothing can be changed there is what the POST tests say.
KINDS = {
    "public": "200 200 200 200 200",
    "all": "L 200 200 200 200",
    "onward": "L > > > >",
    "elsewhere": "L 200 > > >",
    "operators": "L 403 200 200 200",
    "operators+": "L 403 > > >",
    "operators!": "L 403 405 405 405",
    "issuers": "L 403 403 403 >",
    "approvers": "L 403 403 200 200",
    "admins": "L 403 403 403 200",
    "nobody": "L 403 403 403 403",
    # A session is no token: programs bring one, and operators look at the pages.
    "programs": "401 401 401 401 401",
}

PAGES = """
healthz                     public
readyz                      public
login                       200 > > > >
logout                      L 405 405 405 405
index                       all
records                     all
palette                     all
status                      all
jsi18n                      all
autocomplete                nobody
password_change             all
password_change_done        all
accounts_account_new        operators
accounts_account_suggest    all
accounts_account_tab        all
accounts_contact_choose     operators!
accounts_apitoken_new       admins
accounts_apitoken_revoke    admins
api-root                    404 404 404 404 404
api_docs                    all
api_schema                  401 200 200 200 200
list_accounts               programs
get_account                 programs
list_subscriptions          programs
get_subscription            programs
list_invoices               programs
get_invoice                 programs
list_bill_runs              programs
get_bill_run                programs
record_usage                programs
record_usages               405 405 405 405 405
list_usage                  programs
change_usage                programs
remove_usage                programs
list_usage_imports          programs
get_usage                   programs
upload_usage                programs
get_usage_import            programs
list_usage_import_errors    programs
billing_charge_new          operators
billing_charge_price        operators
billing_order_new           operators
billing_rules_examples      onward
invoicing_account_next      all
invoicing_order_preview     operators!
invoicing_billrun_new       operators
invoicing_billrun_preview   operators+
invoicing_billrun_accounts  operators+
invoicing_billrun_tab       all
invoicing_billrun_progress  onward
invoicing_billrun_outcomes  all
invoicing_billrun_post      approvers
invoicing_billrun_cancel    operators
invoicing_billrun_retry     operators+
invoicing_billrun_email     operators+
invoicing_subscription_next all
invoicing_account_usage     all
invoicing_subscription_usage all
invoicing_line_usage        all
invoicing_line_usage_csv    all
invoicing_usage_waiting     all
invoicing_invoice_tab       all
invoicing_invoice_pdf       all
invoicing_invoice_post      approvers
invoicing_invoice_cancel    operators
invoicing_invoice_email     operators+
usage_usageimport_new       operators
usage_usageimport_template  operators
usage_usageimport_progress  onward
usage_usageimport_errors    all
usage_usageimport_confirm   operators
usage_usageimport_discard   operators
usage_usageimport_undo      operators
usage_usagerecord_edit      operators+
usage_usagerecord_remove    operators+
auth_user_password_change   admins
"""

COLUMNS = ("changelist", "object", "add", "change", "delete", "history", "export")
RECORDS = """
#                                   list    object  add        change  delete  history export
accounts_account                    all     all     onward     all     admins  all     all
accounts_apitoken                   all     all     issuers    all     nobody  all     all
accounts_billingbatch               all     onward  operators  all     admins  all     all
accounts_contact                    all     onward  operators  all     admins  all     all
accounts_customfield                all     onward  admins     all     admins  all     all
accounts_invoicetemplate            all     onward  admins     all     admins  all     all
accounts_invoicetemplateversion     all     onward  nobody     all     nobody  all     all
accounts_numbersequence             all     onward  admins     all     admins  all     all
accounts_paymentterm                all     onward  admins     all     admins  all     all
admin_logentry                      admins  onward  nobody     admins  nobody  admins  admins
auth_group                          admins  onward  admins     admins  admins  admins  admins
auth_user                           admins  onward  admins     admins  admins  admins  admins
billing_billingrules                onward  onward  nobody     all     nobody  all     all
billing_chargesegment               all     onward  operators  all     admins  all     all
billing_chargesegmenttier           all     onward  operators  all     admins  all     all
billing_order                       all     all     onward     all     nobody  all     all
billing_orderaction                 all     onward  nobody     all     nobody  all     all
billing_product                     all     all     operators  all     admins  all     all
billing_productrateplan             all     onward  operators  all     admins  all     all
billing_productrateplancharge       all     onward  onward     all     admins  all     all
billing_productrateplanchargeprice  all     onward  nobody     elsewhere admins  all     all
billing_productrateplanchargetier   all     onward  nobody     elsewhere admins  all     all
billing_rateplan                    all     onward  nobody     all     nobody  all     all
billing_rateplancharge              all     onward  nobody     all     nobody  all     all
billing_subscription                all     all     nobody     all     nobody  all     all
billing_subscriptionterm            all     onward  nobody     all     nobody  all     all
billing_unitofmeasure               all     all     approvers  all     admins  all     all
invoicing_billrun                   all     all     onward     all     nobody  all     all
invoicing_billrunaccount            all     onward  nobody     all     nobody  all     all
invoicing_billrunchunk              all     onward  nobody     all     nobody  all     all
invoicing_billrunschedule           all     onward  approvers  all     admins  all     all
invoicing_coverage                  all     onward  nobody     all     nobody  all     all
invoicing_invoice                   all     all     nobody     all     nobody  all     all
invoicing_invoicedelivery           all     onward  nobody     all     nobody  all     all
invoicing_invoicedocument           all     onward  nobody     all     nobody  all     all
invoicing_invoicedtotal             all     onward  nobody     all     nobody  all     all
invoicing_invoiceitem               all     onward  nobody     all     nobody  all     all
usage_ratedusage                    all     onward  nobody     all     nobody  all     all
usage_usageimport                   all     all     onward     all     nobody  all     all
usage_usageimporterror              all     onward  nobody     all     nobody  all     all
usage_usagerecord                   all     all     nobody     all     nobody  all     all
usage_usageslice                    all     onward  nobody     all     nobody  all     all
"""


def _expected() -> dict[str, list[str]]:
    """Return what each role gets, by the name of the address."""
    found = {}
    for line in PAGES.strip().splitlines():
        name, kind = line.split(maxsplit=1)
        found[name] = KINDS.get(kind, kind).split()
    for line in RECORDS.strip().splitlines()[1:]:
        model, *kinds = line.split()
        found |= {f"{model}_{column}": KINDS[kind].split() for column, kind in zip(COLUMNS, kinds, strict=True)}
    return found


EXPECTED = _expected()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of refusals are asked for here; each would write its traceback to the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _answer(response: Any) -> str:
    if response.status_code != 302:
        return str(response.status_code)
    return "L" if response.headers["Location"].startswith("/login/") else ">"


def _client(role: str, **options: Any) -> Client:
    client = Client(raise_request_exception=False, **options)
    if role != "anonymous":
        client.force_login(User.objects.get(username=role))
    return client


@contextmanager
def _writes() -> Iterator[list[str]]:
    """Collect the statements that change rows, other than those of sessions and of the login lock-out."""
    found: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if re.match(
            r"\s*(INSERT|UPDATE|DELETE|COPY|TRUNCATE|WITH\b.*\b(INSERT|UPDATE|DELETE)\b)",
            sql,
            re.IGNORECASE | re.DOTALL,
        ):
            table = re.search(r'(?:INTO|UPDATE|FROM|COPY)\s+"?(\w+)', sql, re.IGNORECASE)
            if table is None or not table[1].startswith(("django_session", "axes_")):
                found.append(sql[:120])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield found


def test_every_address_has_a_line_and_every_line_an_address():
    """A new page must say here who may open it."""
    names = {name for name, _ in patterns()} - NOT_VISITED
    assert names - EXPECTED.keys() == set(), "addresses without a line in PAGES or RECORDS"
    assert EXPECTED.keys() - names == set(), "lines for addresses that do not exist (any more)"


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_what_it_may_and_opening_changes_nothing(role):
    company()
    client, wrong, writes = _client(role), {}, {}
    for target in targets():
        expected = EXPECTED[target.name][ROLES.index(role)]
        with _writes() as written:
            response: Any = client.get(target.url)
            if response.streaming:
                b"".join(response.streaming_content)
        if written:
            writes[target.url] = written
        if (answer := _answer(response)) != expected:
            wrong[f"{target.name} {target.url}"] = f"expected {expected}, got {answer}"
        if response.status_code == 200 and response["Content-Type"].startswith("text/html"):
            _check_headers(target.url, response)
    assert wrong == {}
    assert writes == {}


def _check_headers(url: str, response: Any) -> None:
    policy = response.headers.get("Content-Security-Policy", "")
    assert "default-src 'self'" in policy and "unsafe" not in policy, url
    assert "frame-ancestors 'self'" in policy, url
    assert response.headers["X-Content-Type-Options"] == "nosniff", url
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN", url
    assert response.headers["Referrer-Policy"] == "same-origin", url
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin", url
    assert "Permissions-Policy" in response.headers, url
    assert not re.search(rb"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=\"|javascript:", response.content), url


# What changes something, posted by each role. ok: let through to the form or the effect.
VERBS = """
accounts_account_new        L 403 ok ok ok
accounts_contact_choose     L 403 ok ok ok
billing_charge_new          L 403 ok ok ok
billing_charge_price        L 403 ok ok ok
billing_order_new           L 403 ok ok ok
invoicing_order_preview     L 403 ok ok ok
invoicing_billrun_new       L 403 ok ok ok
invoicing_billrun_preview   L 403 405 405 405
invoicing_billrun_post      L 403 403 ok ok
invoicing_billrun_cancel    L 403 ok ok ok
invoicing_billrun_retry     L 403 ok ok ok
invoicing_billrun_email     L 403 ok ok ok
invoicing_invoice_post      L 403 403 ok ok
invoicing_invoice_cancel    L 403 ok ok ok
invoicing_invoice_email     L 403 ok ok ok
usage_usageimport_new       L 403 ok ok ok
usage_usageimport_confirm   L 403 ok ok ok
usage_usageimport_discard   L 403 ok ok ok
usage_usageimport_undo      L 403 ok ok ok
usage_usagerecord_edit      L 403 ok ok ok
usage_usagerecord_remove    L 403 ok ok ok
usage_usagerecord_change    L 403 403 403 403
usage_usageslice_change     L 403 403 403 403
usage_ratedusage_change     L 403 403 403 403
accounts_account_change     L 403 ok ok ok
accounts_apitoken_new       L 403 403 403 ok
accounts_apitoken_revoke    L 403 403 403 ok
accounts_apitoken_change    L 403 403 403 403
accounts_apitoken_delete    L 403 403 403 403
accounts_paymentterm_change L 403 403 403 ok
accounts_invoicetemplate_change L 403 403 403 ok
accounts_numbersequence_change L 403 403 403 ok
billing_billingrules_change L 403 403 403 ok
invoicing_billrunschedule_change L 403 403 ok ok
invoicing_billrunschedule_delete L 403 403 403 ok
invoicing_coverage_change   L 403 403 403 403
invoicing_invoiceitem_change L 403 403 403 403
invoicing_invoicedocument_change L 403 403 403 403
invoicing_invoicedtotal_change L 403 403 403 403
auth_user_change            L 403 403 403 ok
auth_user_add               L 403 403 403 ok
auth_user_password_change   L 403 403 403 ok
auth_group_change           L 403 403 403 ok
"""


@pytest.mark.parametrize("role", ROLES)
def test_each_role_changes_only_what_it_may(role):
    """Empty forms: who may, is told what is missing; who may not, gets no further."""
    company()
    addresses, client, wrong = {target.name: target.url for target in targets()}, _client(role), {}
    for line in VERBS.strip().splitlines():
        name, *codes = line.split()
        with _writes() as written:
            response = client.post(addresses[name], {FIELD: new_request_key(), "reason": "x"})
        expected, answer = codes[ROLES.index(role)], _answer(response)
        let_through = response.status_code in {200, 204, 302, 400, 409, 422} and answer != "L"
        if answer != expected and not (expected == "ok" and let_through):
            wrong[name] = f"expected {expected}, got {answer}"
        if expected != "ok" and written:
            wrong[name] = f"wrote {written}"
    assert wrong == {}


@pytest.mark.parametrize("role", ["anonymous", "viewer"])
def test_whoever_may_only_look_changes_nothing_by_posting_anywhere(role):
    company()
    client, writes = _client(role), {}
    for target in targets():
        if target.name in {"login", "logout", "password_change"}:
            continue
        with _writes() as written:
            response = client.post(
                target.url,
                {
                    FIELD: new_request_key(),
                    "action": "delete_selected",
                    "_selected_action": "1",
                    "post": "yes",
                    "reason": "x",
                },
            )
        if written or response.status_code >= 500:
            writes[target.url] = (response.status_code, written)
    assert writes == {}


def test_every_post_needs_its_token():
    """CSRF: signed in as admin, and no form of ours was shown before."""
    company()
    client = _client("admin", enforce_csrf_checks=True)
    let_through = {target.url: code for target in targets() if (code := client.post(target.url).status_code) != 403}
    # The API takes no cookie for a sign-in, so nobody's browser can be made to use it.
    assert {
        url: code for url, code in let_through.items() if not (url.startswith("/api/") and code in {401, 404, 405})
    } == {}


def test_posted_invoices_are_locked_for_the_admin_too():
    company()
    client, posted = _client("admin"), Invoice.objects.get(status="Posted")
    before = (
        Invoice.objects.filter(pk=posted.pk).values().get(),
        list(posted.items.values()),
        InvoiceDelivery.objects.count(),
    )
    for action in ("post", "cancel"):
        client.post(reverse(f"admin:invoicing_invoice_{action}", args=[posted.pk]), {FIELD: new_request_key()})
    for action in ("change", "delete"):
        answer = client.post(
            reverse(f"admin:invoicing_invoice_{action}", args=[posted.pk]),
            {"due_date": "2030-01-01", "reason": "x", "post": "yes"},
        )
        assert answer.status_code == 403
    assert (
        Invoice.objects.filter(pk=posted.pk).values().get(),
        list(posted.items.values()),
        InvoiceDelivery.objects.count(),
    ) == before


def test_an_address_that_does_not_exist_is_not_found_without_telling_anything():
    company()
    for role in ("viewer", "admin"):
        answer = _client(role).get("/no/such/page/")
        assert answer.status_code == 404
        assert b"Traceback" not in answer.content
        assert b"urlpatterns" not in answer.content
    for model in ("billrun", "invoice"):
        assert _client("viewer").get(reverse(f"admin:invoicing_{model}_object", args=[999_999])).status_code in {
            302,
            404,
        }
