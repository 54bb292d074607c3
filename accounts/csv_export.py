"""CSV of any queryset, streamed row by row: ISO dates, plain decimals, and no cell that a spreadsheet would run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

# A spreadsheet runs cells that begin with one of these (ASVS 1.2.10).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")
ROWS_PER_FETCH = 2_000


class _Echo:
    """A file that hands each written line straight back, which turns csv.writer into a line formatter."""

    def write(self, line: str) -> str:
        return line


def csv_cell(value: Any) -> str:
    """Return the text of one cell; text that looks like a formula gets a leading apostrophe, numbers never do."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return (timezone.localtime(value) if timezone.is_aware(value) else value).isoformat(timespec="seconds")
    if isinstance(value, date | int):
        return value.isoformat() if isinstance(value, date) else str(value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the header line and one line a row, each ending in CR LF."""
    writer = csv.writer(_Echo())
    yield writer.writerow([csv_cell(name) for name in header])
    for row in rows:
        yield writer.writerow([csv_cell(value) for value in row])


def csv_response(
    *, queryset: QuerySet[Any], columns: Sequence[tuple[str, str]], file_stem: str, day: date
) -> StreamingHttpResponse:
    """Stream `columns` (header, lookup) of a queryset as a download named `<file_stem>-<day>.csv`."""
    lookups = [lookup for _, lookup in columns]
    # iterator() reads through a server-side cursor, so memory does not grow with the number of rows.
    rows = queryset.values_list(*lookups).iterator(chunk_size=ROWS_PER_FETCH)
    return csv_download(header=[name for name, _ in columns], rows=rows, file_stem=file_stem, day=day)


def csv_download(
    *, header: Sequence[str], rows: Iterable[Sequence[Any]], file_stem: str, day: date
) -> StreamingHttpResponse:
    """Stream any rows as a download named `<file_stem>-<day>.csv`."""
    response = StreamingHttpResponse(csv_lines(header, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{file_stem}-{day.isoformat()}.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
