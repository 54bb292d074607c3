"""Usage files: a stream of rows out of CSV, gzip of CSV or an Excel workbook, told apart by what they contain.

    stream → bytes, counted → unpacked → text → rows, one at a time

A file that cannot be read to its end is refused as a whole, in words that say what would do.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, Final, NamedTuple

from django.conf import settings

from usage.cells import COLUMNS, REQUIRED, shown
from usage.delimited import csv_rows
from usage.file_bytes import GZIP, ZIP, FileError, Upload, gunzipped, mebibytes, plain, refuse_other_kinds
from usage.intake import Row
from usage.sheets import sheet_rows

__all__ = ["FileError", "UsageFile", "open_usage_file", "template_csv"]

MOST_COLUMNS: Final = 1_000
_SNIFFED: Final = 4_096


class UsageFile(NamedTuple):
    """An opened file: where each known column stands, its rows, and how many of its bytes have been read."""

    columns: dict[str, int]
    rows: Iterator[Row]
    position: Callable[[], int]


@contextmanager
def open_usage_file(stream: BinaryIO, *, name: str) -> Iterator[UsageFile]:
    """Open a usage file; raises FileError here or while its rows are read. The stream is left open."""
    upload = Upload(stream)
    _refuse_size(upload.size)
    rows = _rows(upload, shown(name))
    header = next(rows, None)
    if header is None:
        raise FileError("empty", "The file is empty.")
    columns = columns_of(header[1])
    first = next(rows, None)
    if first is None:
        raise FileError("no_rows", "The file has a header but no rows below it.")
    yield UsageFile(columns, chain((first,), rows), upload.position)


def _refuse_size(size: int) -> None:
    most = settings.USAGE_FILE_MAX_BYTES
    if not size:
        raise FileError("empty", "The file is empty.")
    if size > most:
        raise FileError("too_large", f"A file may have {mebibytes(most)}; this one has {mebibytes(size)}. Split it.")


def _rows(upload: Upload, name: str) -> Iterator[Row]:
    head = upload.read(_SNIFFED)
    if head.startswith(ZIP):
        return sheet_rows(upload, name)
    if not head.startswith(GZIP):
        refuse_other_kinds(head, name)
        return csv_rows(lambda: plain(upload))
    unpacked = next(gunzipped(upload), b"")[:_SNIFFED]
    if unpacked.startswith((GZIP, *ZIP)):
        message = f"“{name}” is compressed twice; compress a CSV with gzip, or upload a workbook as it is."
        raise FileError("unknown_type", message)
    if unpacked[257:262] == b"ustar":
        raise FileError("unknown_type", f"“{name}” is an archive (tar); compress the CSV alone with gzip.")
    refuse_other_kinds(unpacked, name)
    return csv_rows(lambda: gunzipped(upload))


def columns_of(header: Sequence[str]) -> dict[str, int]:
    """Return where each column stands, whatever the case of its name; refuse a header that is not understood."""
    if len(header) > MOST_COLUMNS:
        raise FileError("too_many_columns", f"The header has {len(header):,} columns; {MOST_COLUMNS:,} is the most.")
    names = [cell.strip().upper() for cell in header]
    twice = [name for name, times in Counter(names).items() if times > 1 and name]
    if twice:
        raise FileError("duplicate_column", f"The header has the column {_quoted(twice[0])} more than once.")
    unknown = [cell.strip() for cell, name in zip(header, names, strict=True) if name and name not in COLUMNS]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        found = ", ".join(_quoted(cell.strip()) for cell in header[:20] if cell.strip()) or "none"
        message = f"The first row must name the columns and lacks {', '.join(missing)}; found were {found}."
        raise FileError("missing_column", message)
    if unknown:
        raise _unknown(unknown[0])
    if "" in names:
        place = names.index("") + 1
        message = f"Column {place} of the header has no name; remove it, or the comma that begins it."
        raise FileError("unnamed_column", message)
    return {name: place for place, name in enumerate(names)}


def _unknown(name: str) -> FileError:
    if name.lower().endswith("__c"):
        message = f"Custom columns like {_quoted(name)} are not supported; remove it."
        return FileError("custom_column", message)
    message = f"There is no column {_quoted(name)}; known are {', '.join(COLUMNS)}."
    return FileError("unknown_column", message)


def _quoted(text: str) -> str:
    return f"“{shown(text[:40])}{'…' if len(text) > 40 else ''}”"


def template_csv() -> str:
    """Return a file to begin with: the header, and two rows as an example."""
    return "\r\n".join(
        (
            ",".join(COLUMNS),
            "A00000001,GB,12.5,2026-01-31,,,,January traffic,2026-01-31-0001",
            "A00000001,GB,0.75,2026-02-01,2026-02-28,,C-00000001,February traffic,2026-02-28-0001",
            "",
        )
    )
