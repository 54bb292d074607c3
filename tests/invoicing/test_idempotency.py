"""A button pressed twice has one effect: bill runs, posting, canceling and e-mails over HTTP (I9)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.idempotency import FIELD, new_request_key
from accounts.models import NumberSequence
from invoicing import services
from invoicing.models import BillRun, Invoice, InvoiceDelivery
from tests import factories as make
from tests.factories import bill
from tests.invoicing.facts import in_threads

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]
NEW_RUN = {
    "scope": "All",
    "target_date": "2026-07-01",
    "invoice_date": "2026-07-01",
    "charge_types": ["OneTime", "Recurring"],
}


@pytest.fixture
def approver() -> User:
    make.subscribe(make.acme(), make.team_plan(), "2026-06-01")
    return make.user("approver")


def _presser(user: User) -> Callable[..., Any]:
    """Return a browser of that user which presses the button of a form."""
    client = Client()
    client.force_login(user)

    def press(name: str, key: str, /, *, of: Any = None, **fields: Any) -> Any:
        url = reverse(f"admin:invoicing_{name}", args=[of.pk] if of is not None else [])
        return client.post(url, {FIELD: key, **fields})

    return press


def test_a_run_is_created_once(approver):
    press, key = _presser(approver), new_request_key()
    first, second = press("billrun_new", key, **NEW_RUN), press("billrun_new", key, **NEW_RUN)
    run = BillRun.objects.get()
    assert first.headers["Location"] == second.headers["Location"] == run.get_absolute_url()
    assert NumberSequence.objects.get(purpose="BillRun").next_number == 2


def test_the_same_key_with_another_date_is_refused_and_changes_nothing(approver):
    press, key = _presser(approver), new_request_key()
    press("billrun_new", key, **NEW_RUN)
    refused = press("billrun_new", key, **{**NEW_RUN, "target_date": "2026-07-02"})
    assert refused.status_code == 400
    assert BillRun.objects.count() == 1


def test_a_form_without_a_key_is_refused(approver):
    client = Client()
    client.force_login(approver)
    assert client.post(reverse("admin:invoicing_billrun_new"), NEW_RUN).status_code == 400
    assert not BillRun.objects.exists()


def test_a_refused_form_keeps_its_key_for_the_corrected_one(approver):
    press, key = _presser(approver), new_request_key()
    wrong = press("billrun_new", key, **{**NEW_RUN, "target_date": "2099-01-01"})
    assert wrong.status_code in {200, 422}
    assert not BillRun.objects.exists()
    assert press("billrun_new", key, **NEW_RUN).status_code == 302
    assert BillRun.objects.count() == 1


def test_a_run_is_posted_once(approver):
    run = bill("2026-07-01")
    press, key = _presser(approver), new_request_key()
    expected = services.posting_figures(run).check
    answers = [press("billrun_post", key, of=run, expected=expected).status_code for _ in range(3)]
    assert answers == [302, 302, 302]
    run.refresh_from_db()
    assert run.status == "PostInProgress"


def test_a_second_page_left_open_does_not_post_again(approver):
    """Another form of the same run, with a key of its own: its figures are no longer true."""
    run = bill("2026-07-01")
    press, expected = _presser(approver), services.posting_figures(run).check
    press("billrun_post", new_request_key(), of=run, expected=expected)
    late = press("billrun_post", new_request_key(), of=run, expected=expected)
    assert late.status_code in {200, 302, 409, 422}
    assert BillRun.objects.get().status == "PostInProgress"


def test_an_invoice_is_canceled_once(approver):
    bill("2026-07-01")
    draft = Invoice.objects.get()
    press, key = _presser(approver), new_request_key()
    for _ in range(3):
        press("invoice_cancel", key, of=draft)
    draft.refresh_from_db()
    assert draft.status == "Canceled"


def test_an_invoice_is_mailed_once_for_each_form(approver):
    bill("2026-07-01", auto_post=True)
    invoice = Invoice.objects.get()
    press, key = _presser(approver), new_request_key()
    for _ in range(3):
        press("invoice_email", key, of=invoice)
    assert InvoiceDelivery.objects.count() == 1
    press("invoice_email", new_request_key(), of=invoice)
    assert InvoiceDelivery.objects.count() == 2


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_twenty_clicks_create_one_run(self, approver):
        key = new_request_key()
        answers = in_threads(20, lambda _: _presser(approver)("billrun_new", key, **NEW_RUN))
        assert {answer.status_code for answer in answers} == {302}
        assert {answer.headers["Location"] for answer in answers} == {BillRun.objects.get().get_absolute_url()}

    def test_twenty_clicks_post_one_invoice(self, approver):
        bill("2026-07-01")
        draft, key = Invoice.objects.get(), new_request_key()
        answers = in_threads(
            20, lambda _: _presser(approver)("invoice_post", key, of=draft, expected=f"{draft.total:f}")
        )
        assert {answer.status_code for answer in answers} == {302}
        assert Invoice.objects.get().number == "INV00000001"
        assert NumberSequence.objects.get(purpose="Invoice").next_number == 2

    def test_twenty_forms_post_one_invoice(self, approver):
        """Twenty pages with twenty keys: one posts, the others are told."""
        bill("2026-07-01")
        draft = Invoice.objects.get()
        answers = in_threads(
            20,
            lambda _: (
                _presser(approver)("invoice_post", new_request_key(), of=draft, expected=f"{draft.total:f}").status_code
            ),
        )
        assert all(code < 500 for code in answers), answers
        assert Invoice.objects.get().number == "INV00000001"
        assert NumberSequence.objects.get(purpose="Invoice").next_number == 2
