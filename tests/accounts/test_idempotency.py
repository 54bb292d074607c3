"""One effect per request: the same key again gets the first answer, with other data it is refused (I9)."""

import time
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import BadRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import RequestFactory
from django.utils import timezone

from accounts.idempotency import FIELD, KEPT_FOR, forget_old_requests, new_request_key, once
from accounts.models import BillingBatch, IdempotencyKey
from tests.invoicing.facts import in_threads

pytestmark = pytest.mark.django_db


@once
def name_batch(request: HttpRequest) -> HttpResponse:
    """A view with an effect that can be counted."""
    if not request.POST.get("alias"):
        return HttpResponse("Enter an alias.", status=422)
    if request.POST["alias"] == "broken":
        BillingBatch.objects.create(code="Batch50", alias="half done")
        raise RuntimeError("half way")
    made = BillingBatch.objects.create(code=f"Batch{2 + BillingBatch.objects.count()}", alias=request.POST["alias"])
    return HttpResponseRedirect(f"/batches/{made.pk}")


def _post(
    key: str, alias: str = "North", *, user: User | None = None, path: str = "/batches/new", token: str = "a"
) -> HttpResponse:
    request = RequestFactory().post(path, {FIELD: key, "alias": alias, "csrfmiddlewaretoken": token})
    request.user = user or AnonymousUser()
    return name_batch(request)


def _made() -> int:
    return BillingBatch.objects.exclude(alias="").count()


def test_the_second_click_has_no_effect_and_gets_the_first_answer():
    key = new_request_key()
    first, second = _post(key), _post(key, token="another page load")
    assert (first.status_code, first.headers["Location"]) == (second.status_code, second.headers["Location"])
    assert _made() == 1


def test_two_forms_have_two_effects():
    _post(new_request_key(), "North")
    _post(new_request_key(), "South")
    assert _made() == 2


@pytest.mark.parametrize("change", [{"alias": "South"}, {"path": "/elsewhere"}])
def test_the_same_key_with_other_data_is_refused(change):
    key = new_request_key()
    _post(key)
    with pytest.raises(BadRequest, match="already sent with other values"):
        _post(key, **change)
    assert _made() == 1


def test_the_key_of_somebody_else_is_refused():
    key = new_request_key()
    _post(key, user=User.objects.create_user("one"))
    with pytest.raises(BadRequest):
        _post(key, user=User.objects.create_user("two"))
    assert _made() == 1


@pytest.mark.parametrize("key", ["", "1", "not-a-uuid", "'; DROP TABLE x", "\x00"])
def test_a_form_without_a_key_is_refused(key):
    with pytest.raises(BadRequest, match="lacks its request key"):
        _post(key)
    assert _made() == 0


def test_a_form_shown_again_keeps_its_key_free():
    key = new_request_key()
    assert _post(key, "").status_code == 422
    assert not IdempotencyKey.objects.exists()
    assert _post(key, "North").status_code == 302
    assert _made() == 1


def test_a_view_that_breaks_leaves_nothing_and_its_key_free():
    key = new_request_key()
    with pytest.raises(RuntimeError):
        _post(key, "broken")
    assert (_made(), IdempotencyKey.objects.count()) == (0, 0)
    assert _post(key, "North").status_code == 302


def test_looking_at_the_form_needs_no_key():
    request = RequestFactory().get("/batches/new")
    shown = once(lambda request: HttpResponse("form"))(request)
    assert shown.status_code == 200
    assert not IdempotencyKey.objects.exists()


def test_old_keys_are_forgotten():
    _post(new_request_key())
    _post(new_request_key(), "South")
    IdempotencyKey.objects.filter(pk=IdempotencyKey.objects.earliest("created_at").pk).update(
        created_at=timezone.now() - KEPT_FOR - timedelta(seconds=1)
    )
    assert forget_old_requests() == 1
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_twenty_clicks_at_once_have_one_effect():
    key = str(uuid.uuid4())
    answers = in_threads(20, lambda _: _post(key).headers["Location"])
    assert len(set(answers)) == 1
    assert _made() == 1


@pytest.mark.django_db(transaction=True)
def test_a_second_click_waits_for_the_first_and_takes_its_place_if_it_fails():
    """The first breaks after the second has come: the second then does the work."""
    key = str(uuid.uuid4())

    @once
    def slow(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Turn") == "0":
            time.sleep(0.5)
            raise RuntimeError("the first breaks")
        BillingBatch.objects.create(code="Batch9", alias="second")
        return HttpResponseRedirect("/done")

    def click(number: int) -> str:
        time.sleep(number * 0.2)
        request = RequestFactory().post("/", {FIELD: key}, headers={"X-Turn": str(number)})
        request.user = AnonymousUser()
        return slow(request).headers["Location"]

    first, second = in_threads(2, click)
    assert isinstance(first, RuntimeError)
    assert second == "/done"
    connection.close()
    assert _made() == 1
