"""One effect per Idempotency-Key: the same request again gets the first answer, another one is refused (I9)."""

import json
import threading
import uuid
from decimal import Decimal
from typing import Annotated, Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from ninja import File, Schema
from ninja.files import UploadedFile
from ninja.responses import Status
from pydantic import StringConstraints

from accounts.api_tokens import Scope
from accounts.idempotency import HEADER, REPLAYED, forget_old_requests, idempotent
from accounts.models import BillingBatch, IdempotencyKey
from accounts.operator_admin import site
from accounts.problems import FieldError, Problem
from accounts.rest import LINE, Amount, Api, SentQuantity, requires
from accounts.services import issue_token
from tests.invoicing.facts import in_threads
from tests.programs import API, PROBLEM, bearing, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.test_idempotent_endpoints")]

api = Api(title="One effect", urls_namespace="one-effect")
waiting, going_on = threading.Event(), threading.Event()


class NewBatch(Schema):
    """What to make."""

    alias: Annotated[str, StringConstraints(max_length=20, pattern=LINE)]
    price: SentQuantity


class Batch(Schema):
    """What was made."""

    code: str
    alias: str
    price: Amount


@api.post("/batches", auth=requires(Scope.USAGE_WRITE), response={201: Batch})
@idempotent
def make_batch(request: HttpRequest, batch: NewBatch) -> Any:
    """Make a batch, unless its alias says what goes wrong."""
    made = BillingBatch.objects.create(code=f"Batch{2 + BillingBatch.objects.count()}", alias=batch.alias)
    if batch.alias == "refused":
        raise Problem(422, errors=[FieldError("alias", "Choose another alias.")])
    if batch.alias == "invalid":
        raise ValidationError({"alias": ["Too plain."], "price": ["Too high.", "Too round."]})
    if batch.alias == "guarded":
        BillingBatch.objects.create(code="Batch51", alias="refused by the database")
    if batch.alias == "broken":
        raise RuntimeError("half way")
    if batch.alias == "slow":
        waiting.set()
        assert going_on.wait(20)
    return Status(201, Batch(code=made.code, alias=made.alias, price=batch.price))


@api.post("/files", auth=requires(Scope.USAGE_WRITE), response=Batch)
@idempotent
def make_batch_of_file(request: HttpRequest, file: File[UploadedFile]) -> Batch:
    """Make a batch called like what stands in the file."""
    made = BillingBatch.objects.create(
        code=f"Batch{2 + BillingBatch.objects.count()}",
        alias=file.read(50).decode("ascii", "replace").replace("\0", ""),
    )
    return Batch(code=made.code, alias=made.alias, price=Decimal(0))


urlpatterns = [path("api/v1/", api.urls), path("", site.urls)]


def _post(client: Client, key: str | None, alias: str = "North", **options: Any) -> Any:
    headers = {} if key is None else {HEADER: key}
    body = json.dumps({"alias": alias, "price": "1.50"})
    values = {"data": body, "content_type": "application/json", **options}
    return client.post(f"{API}/batches", headers=headers, **values)


def _secret() -> str:
    return issue_token(name="Gateway", scopes=[Scope.USAGE_WRITE]).secret


def _made() -> list[str]:
    return list(BillingBatch.objects.exclude(alias="").order_by("pk").values_list("alias", flat=True))


def _key() -> str:
    return str(uuid.uuid4())


def test_the_same_request_again_gets_the_same_answer_and_has_no_effect():
    client, key = program(Scope.USAGE_WRITE), _key()
    first, second = _post(client, key), _post(client, key)
    assert (first.status_code, first.json()) == (201, {**first.json(), "alias": "North", "price": "1.50"})
    assert (second.status_code, second.content, second.headers["Content-Type"]) == (
        201,
        first.content,
        first.headers["Content-Type"],
    )
    assert (first.headers.get(REPLAYED), second.headers[REPLAYED]) == (None, "true")
    assert _made() == ["North"]


def test_two_keys_have_two_effects():
    client = program()
    _post(client, _key(), "North")
    _post(client, _key(), "South")
    assert _made() == ["North", "South"]


def test_a_key_that_was_used_for_another_request_is_refused():
    client, key = program(), _key()
    _post(client, key)
    assert "send a new UUID" in problem(_post(client, key, "South"), 409)["detail"]
    assert _made() == ["North"]


def test_the_key_of_another_token_is_refused():
    key = _key()
    _post(program(), key)
    problem(_post(program(), key), 409)
    assert _made() == ["North"]


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "1",
        "not-a-uuid",
        "'; DROP TABLE x",
        "0b0e2a3c5d1f4c7e9d533c1f6d1f2a10",
        "{0b0e2a3c-5d1f-4c7e-9d53-3c1f6d1f2a10}",
    ],
)
def test_a_request_without_a_key_is_refused(key):
    refused = problem(_post(program(), key), 422)
    assert refused["errors"][0]["field"] == HEADER
    assert "Send a UUID" in refused["errors"][0]["message"]
    assert _made() == []


def test_what_is_refused_leaves_nothing_and_its_key_free():
    client, key = program(), _key()
    refused = problem(_post(client, key, "refused"), 422)
    assert refused["errors"] == [{"field": "alias", "message": "Choose another alias."}]
    assert (_made(), IdempotencyKey.objects.count()) == ([], 0)
    assert _post(client, key, "North").status_code == 201


def test_what_a_service_refuses_is_named_by_field():
    refused = problem(_post(program(), _key(), "invalid"), 422)
    assert refused["errors"] == [
        {"field": "alias", "message": "Too plain."},
        {"field": "price", "message": "Too high."},
        {"field": "price", "message": "Too round."},
    ]
    assert _made() == []


def test_what_the_database_refuses_is_explained():
    refused = problem(_post(program(), _key(), "guarded"), 409)
    assert "batch_code_known" in refused["detail"] and refused["detail"].endswith("Nothing was changed.")
    assert _made() == []


def test_what_breaks_leaves_nothing_and_its_key_free():
    client, key = program(), _key()
    problem(_post(client, key, "broken"), 500)
    assert (_made(), IdempotencyKey.objects.count()) == ([], 0)
    assert _post(client, key, "North").status_code == 201


def test_files_are_part_of_the_request():
    client, key = program(), _key()

    def send(content: bytes) -> Any:
        return client.post(f"{API}/files", {"file": SimpleUploadedFile("a.csv", content)}, headers={HEADER: key})

    assert send(b"North").json()["alias"] == "North"
    assert send(b"North").headers[REPLAYED] == "true"
    problem(send(b"South"), 409)
    assert _made() == ["North"]


def test_old_keys_are_forgotten_with_their_answers():
    client, key = program(), _key()
    _post(client, key)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_idempotencykey SET created_at = created_at - interval '8 days'")
    assert forget_old_requests() == 1


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"price": "1"}, "alias", "This field is required."),
        ({"alias": "North", "price": "-1"}, "price", "Write a number that is not negative."),
        ({"alias": "North\n", "price": "1"}, "alias", r"The text does not have the form ^[^\x00-\x1f\x7f]+$."),
        ({"alias": "N" * 21, "price": "1"}, "alias", "String should have at most 20 characters."),
    ],
)
def test_what_is_wrong_in_a_body_is_named(body, field, message):
    refused = problem(_post(program(), _key(), data=json.dumps(body)), 422)
    assert refused["errors"] == [{"field": field, "message": message}]


@pytest.mark.parametrize(
    "price",
    ["much", 1.5, 1, None, True, "NaN", "Infinity", "1e3", " 1", "1\n", "", "1.", ".5", "1" * 13, "0.1234567890"],
)
def test_an_amount_is_text_with_the_digits_that_can_be_stored(price):
    refused = problem(_post(program(), _key(), data=json.dumps({"alias": "North", "price": price})), 422)
    [error] = refused["errors"]
    assert error["field"] == "price"
    assert error["message"].startswith('Write the number as text, such as "12.5"')


@pytest.mark.parametrize("price", ["0", "1.50", "999999999999.123456789", "007"])
def test_an_amount_keeps_its_digits(price):
    answer = _post(program(), _key(), data=json.dumps({"alias": "North", "price": price}))
    assert answer.json()["price"] == f"{Decimal(price):f}"


@pytest.mark.parametrize("body", ["{", "nonsense", "\x00", '{"alias": '])
def test_a_body_that_is_no_json_is_refused(body):
    assert "Check that the body is JSON" in problem(_post(program(), _key(), data=body), 400)["detail"]


@pytest.mark.parametrize("media_type", ["text/csv", "application/xml", "text/plain", ""])
def test_a_body_of_another_media_type_is_refused(media_type):
    refused = _post(program(), _key(), data="alias,price", content_type=media_type)
    assert "Send “Content-Type: application/json”." in problem(refused, 415)["detail"]


def test_a_body_that_is_too_large_is_refused(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert "several smaller ones" in problem(_post(program(), _key(), "N" * 200), 413)["detail"]


def test_the_document_asks_for_the_key():
    [parameter] = api.get_openapi_schema()["paths"]["/api/v1/batches"]["post"]["parameters"]
    assert (parameter["in"], parameter["name"], parameter["required"]) == ("header", HEADER, True)
    responses = api.get_openapi_schema()["paths"]["/api/v1/batches"]["post"]["responses"]
    assert {201, 409, 413, 415, 422} <= responses.keys()


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_have_one_effect_and_one_answer():
    secret, key = _secret(), _key()

    def send(_: int) -> bytes:
        content: bytes = _post(bearing(secret), key).content
        return content

    answers = in_threads(20, send)
    assert len(set(answers)) == 1
    assert _made() == ["North"]


@pytest.mark.django_db(transaction=True)
def test_a_second_request_waits_for_the_first():
    """Two connections: the second one comes while the first is at work, and gets the first one's answer."""
    secret, key = _secret(), _key()
    waiting.clear()
    going_on.clear()

    def send(number: int) -> Any:
        if number == 1:
            assert waiting.wait(20)
            threading.Timer(0.3, going_on.set).start()
        return _post(bearing(secret), key, "slow")

    first, second = in_threads(2, send)
    assert (first.status_code, second.content) == (201, first.content)
    assert second.headers[REPLAYED] == "true"
    assert _made() == ["slow"]


@pytest.mark.django_db(transaction=True)
def test_a_request_whose_first_one_takes_too_long_is_told_to_come_back():
    secret, key = _secret(), _key()

    def hold(number: int) -> Any:
        if number == 0:
            with transaction.atomic():
                IdempotencyKey.objects.create(key=key, user_id=0, request_hash="first")
                waiting.set()
                assert going_on.wait(20)
                transaction.set_rollback(True)
            return None
        assert waiting.wait(20)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        answer = _post(bearing(secret), key)
        going_on.set()
        return answer

    waiting.clear()
    going_on.clear()
    _, refused = in_threads(2, hold)
    assert refused.headers["Content-Type"] == PROBLEM
    assert "still being worked on" in problem(refused, 409)["detail"]
    assert refused.headers["Retry-After"] == "5"
    assert _made() == []
