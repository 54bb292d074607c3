"""Rows whose UNIQUE_KEY came before: on an earlier line of the same file, or in an import that is stored already.

PostgreSQL compares: the keys of a file go into a temporary table, so that memory holds duplicates only. It is a pass of
its own, before the rows are taken, and looks at keys alone: a row counts as the first of its key even when something
else is wrong with it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from django.conf import settings
from django.db import connection

from usage.cells import LONGEST_KEY, CellError, Flaw, text_of
from usage.intake import BLOCK, BadRow, Row

KEY: Final = "UNIQUE_KEY"

_TABLE = "CREATE TEMPORARY TABLE usage_key (line bigint NOT NULL, key text NOT NULL)"
_FIND = """
SELECT k.line, k.key, k.first_line, i.id, (coalesce(i.finished_at, i.created_at) AT TIME ZONE %(zone)s)::date
FROM (SELECT line, key, min(line) OVER (PARTITION BY key) AS first_line FROM usage_key) k
LEFT JOIN usage_usagerecord r ON r.unique_key = k.key
LEFT JOIN usage_usageslice s ON s.id = r.slice_id
LEFT JOIN usage_usageimport i ON i.id = s.usage_import_id
WHERE k.line > k.first_line OR r.id IS NOT NULL
ORDER BY k.line
"""


def find_duplicates(rows: Iterable[Row], *, columns: Mapping[str, int]) -> Iterator[BadRow]:
    """Yield the rows whose key came before, in the order of their lines; nothing without a column of keys.

    All rows are read when the first duplicate is asked for.
    """
    place = columns.get(KEY)
    if place is None:
        return
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.usage_key")
        cursor.execute(_TABLE)
        # A block is read before it is handed over: the rows themselves may come out of this database.
        following = iter(rows)
        while block := list(islice(following, BLOCK)):
            lines = "".join(_lines(block, place))
            with cursor.copy("COPY pg_temp.usage_key FROM STDIN") as copy:
                copy.write(lines)
        cursor.execute("ANALYZE pg_temp.usage_key")
        cursor.execute(_FIND, {"zone": settings.BILLING_TIME_ZONE})
        found = cursor.fetchall()
        cursor.execute("DROP TABLE pg_temp.usage_key")
    for line, key, first_line, import_id, day in found:
        if import_id is not None:
            message = f"{KEY} {key} was imported on {day} (import {import_id})."
        else:
            message = f"{KEY} {key} is already on line {first_line}."
        yield BadRow(line, (Flaw(KEY, key, "duplicate_key", message),))


def _lines(block: Sequence[Row], place: int) -> Iterator[str]:
    for line, cells in block:
        key = cells[place].strip() if len(cells) > place else ""
        if key and _can_be_stored(key):
            yield f"{line}\t{key}\n".replace("\\", "\\\\")


def _can_be_stored(key: str) -> bool:
    """Tell whether a key is one at all; rows with another are refused for that."""
    try:
        text_of(key, what="key", longest=LONGEST_KEY)
    except CellError:
        return False
    return True
