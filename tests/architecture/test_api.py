"""The API as a whole: every endpoint needs its scope, documents every problem, and writes once if it writes."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from ninja.operation import Operation

from accounts.api_tokens import Scope
from accounts.problems import DETAILS
from accounts.rest import BearerToken
from config.api import api
from tests.architecture.site import company
from tests.programs import API, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

SAFE = {"GET"}


def _scopes_of(operation: Operation) -> list[Scope]:
    return [auth.scope for auth in operation.auth_callbacks if isinstance(auth, BearerToken) and auth.scope]


OPERATIONS = [pytest.param(operation, id=operation.view_func.__name__) for operation in api.operations()]


def _call(client: Client, operation: Operation) -> Any:
    arguments = ["1"] if "{" in operation.path else []
    address = reverse(f"api:{operation.view_func.__name__}", args=arguments)
    method = operation.methods[0].lower()
    return getattr(client, method)(address, *([] if method == "get" else ["{}", "application/json"]))


def test_the_endpoints_are_there():
    assert len(OPERATIONS) >= 8


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_endpoint_needs_exactly_one_scope(operation):
    [scope] = _scopes_of(operation)
    assert len(operation.auth_callbacks) == 1
    assert scope.value.endswith(":read" if set(operation.methods) <= SAFE else ":write")


@pytest.mark.parametrize("scope", [None, *Scope])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_token_opens_the_endpoints_of_its_scope_and_no_other(operation, scope):
    response = _call(Client(raise_request_exception=False) if scope is None else program(scope), operation)
    if scope is None:
        problem(response, 401)
    elif scope in _scopes_of(operation):
        assert response.status_code in {200, 404, 422}
    else:
        assert scope not in problem(response, 403)["detail"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_not_offered_is_refused_with_what_is(operation):
    arguments = ["1"] if "{" in operation.path else []
    address = reverse(f"api:{operation.view_func.__name__}", args=arguments)
    offered = {method for other in api.operations() if other.path == operation.path for method in other.methods}
    for method in {"put", "patch", "delete", "options"} - {name.lower() for name in offered}:
        refused = getattr(program(), method)(address)
        problem(refused, 405)
        assert set(refused.headers["Allow"].split(", ")) >= set(operation.methods)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_misspelt_filter_is_refused(operation):
    arguments = ["1"] if "{" in operation.path else []
    address = reverse(f"api:{operation.view_func.__name__}", args=arguments)
    refused = getattr(program(), operation.methods[0].lower())(f"{address}?acount=A1&Limit=1")
    errors = problem(refused, 422)["errors"]
    assert [error["field"] for error in errors] == ["Limit", "acount"]
    assert errors[0]["message"].startswith("Not a parameter here; there are: ")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_writes_does_so_once(operation):
    """I9: every POST is declared `@idempotent`; to change or remove something twice is the same as once."""
    is_idempotent = any(
        p.get("name") == "Idempotency-Key" for p in (operation.openapi_extra or {}).get("parameters", ())
    )
    assert is_idempotent == ("POST" in operation.methods)
    assert set(operation.methods) in ({"GET"}, {"POST"}, {"PATCH"}, {"DELETE"})


def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(program().get(f"{API}/openapi.json").content)
    return document


def test_the_document_names_scopes_and_problems_of_every_endpoint():
    document = _document()
    assert document["openapi"] == "3.1.0"
    documented = [details for path in document["paths"].values() for details in path.values()]
    assert len(documented) == len(OPERATIONS)
    for details in documented:
        assert len(details["security"]) == 1 and details["security"][0]["BearerToken"][0] in Scope.values
        expected = {str(status) for status in DETAILS} - (
            {"409", "413", "415"} if "requestBody" not in details else set()
        )
        assert expected <= details["responses"].keys()
        assert details["summary"] and details["description"].endswith(".")
    for status, response in document["components"]["responses"].items():
        assert list(response["content"]) == ["application/problem+json"], status


def test_nothing_in_the_document_refers_to_what_is_not_there():
    document = _document()
    text = json.dumps(document)
    for part in ("schemas", "responses"):
        for name in {piece.split('"')[0] for piece in text.split(f'"#/components/{part}/')[1:]}:
            assert name in document["components"][part]


def test_amounts_are_text_in_the_document_too():
    """I4: no money is a JSON number."""
    models = _document()["components"]["schemas"]
    assert [
        name for name, model in models.items() if '"number"' in json.dumps([*model.get("properties", {}).values()])
    ] == []


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "admin"])
def test_operators_read_the_documentation(role):
    company()
    client = Client()
    client.force_login(User.objects.get(username=role))
    assert client.get(f"{API}/openapi.json").json() == _document()
    assert 'data-schema="/api/v1/openapi.json"' in client.get(f"{API}/docs").content.decode()


def test_nobody_else_reads_it():
    problem(Client().get(f"{API}/openapi.json"), 401)
    assert Client().get(f"{API}/docs").headers["Location"].startswith("/login/")


@pytest.mark.parametrize("path", ["", "nothing", "accounts/", "v2"])
def test_an_address_that_does_not_exist_is_a_problem_too(path):
    problem(program().get(f"{API}/{path}"), 404)


def test_a_foreign_host_is_a_problem_too():
    problem(program().get(f"{API}/accounts", headers={"host": "elsewhere.example"}), 400)


def test_a_failure_of_ours_is_a_problem_without_secrets(monkeypatch):
    monkeypatch.setattr("accounts.api.page_of", lambda *args, **kwargs: 1 / 0)
    refused = program().get(f"{API}/accounts")
    assert "Repeat the request with the same Idempotency-Key" in problem(refused, 500)["detail"]
    assert b"ZeroDivision" not in refused.content
