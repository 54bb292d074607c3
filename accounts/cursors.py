"""Lists of the API: pages by key, so that the last page costs what the first does and new rows shift nothing."""

import base64
from typing import Annotated, Any, Generic, TypeVar

from django.db.models import QuerySet
from ninja import Query, Schema
from pydantic import Field

from accounts.paging import keyset_page

DEFAULT_LIMIT, MOST = 50, 200
# Keys are 63 bits wide; every text of this form is some key, so that no well-formed cursor is refused.
_BYTES, _KEYS = 8, 2**63

Item = TypeVar("Item")

Limit = Annotated[int, Query(description="How many items a page has at most.", ge=1, le=MOST)]
Cursor = Annotated[
    str | None,
    Query(
        description="The `next_cursor` of the page before; leave it out for the first page.",
        pattern=r"^[A-Za-z0-9_-]{11}$",
    ),
]


class Page(Schema, Generic[Item]):
    """Some items of a list, oldest first, and what to ask for the next ones."""

    items: list[Item]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


def page_of(rows: QuerySet[Any], *, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return the `limit` rows that follow the cursor, by primary key, in the form of a Page; one query."""
    found = keyset_page(rows, after=None if cursor is None else key_of(cursor), size=limit)
    return {"items": found.rows, "next_cursor": None if found.next_key is None else cursor_of(found.next_key)}


def cursor_of(key: int) -> str:
    """Return the text that stands for a key in addresses; its form may change, so clients must not read it."""
    return base64.urlsafe_b64encode(key.to_bytes(_BYTES)).decode().rstrip("=")


def key_of(cursor: str) -> int:
    """Return the key that a well-formed cursor stands for."""
    return int.from_bytes(base64.urlsafe_b64decode(f"{cursor}=")) % _KEYS
