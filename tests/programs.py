"""Programs that use the API: each holds a token, and reads lists to their end."""

from collections.abc import Iterator
from typing import Any

from django.test import Client

from accounts.api_tokens import Scope
from accounts.services import issue_token

API = "/api/v1"
PROBLEM = "application/problem+json"


def bearing(secret: str) -> Client:
    """Return a program that sends this token, whatever it is worth."""
    return Client(headers={"Authorization": f"Bearer {secret}"}, raise_request_exception=False)


def program(*scopes: Scope) -> Client:
    """Return a program whose token has these scopes, or all of them."""
    return bearing(issue_token(name="Program", scopes=scopes or Scope.values).secret)


def pages(client: Client, path: str, *, limit: int, **filters: str) -> Iterator[list[Any]]:
    """Yield the items of each page of a list, to the last one."""
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": str(limit), **filters, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"{API}/{path}", query).json()
        yield page["items"]
        cursor = page["next_cursor"]


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return the problem that was answered, after checking that it has the form of one."""
    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM), response.content
    found: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail"} <= found.keys() <= {"type", "title", "status", "detail", "errors"}
    assert found["status"] == status
    assert found["type"].startswith("urn:tallyrun:problem:")
    assert found["detail"].endswith(".")
    return found
