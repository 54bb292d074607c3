"""Rows of a CSV file, one at a time: UTF-8, commas, strict about quotes, true about line numbers."""

import csv
import io
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from usage.file_bytes import FileError, RowBytes
from usage.intake import Row

LONGEST_CELL: Final = 131_072

_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def csv_rows(open_chunks: Callable[[], Iterator[bytes]]) -> Iterator[Row]:
    """Yield each row that is not blank with the line it begins on; the header is the first.

    Lines end in LF, CR LF or CR, also mixed.
    """
    source = RowBytes(open_chunks)
    text = io.TextIOWrapper(source, encoding="utf-8-sig", errors="strict", newline="")  # type: ignore[type-var]
    line = 1
    try:
        first = text.readline()
        while first and not first.strip():
            line += 1
            first = text.readline()
        _refuse_separator(first)
        before = line - 1
        source.line = line
        reader = csv.reader(chain((first,), text), strict=True)
        for cells in reader:
            if any(cells):
                yield line, cells
            source.line = line = before + reader.line_num + 1
    except csv.Error as error:
        raise _readable(error, line) from None
    except UnicodeDecodeError as error:
        place = source.passed - len(error.object) + error.start
        message = (
            f"Line {source.line_at(place)} is not written in UTF-8 (byte {error.object[error.start]:#04x})."
            " Save the file as “CSV UTF-8” and upload it again."
        )
        raise FileError("not_utf8", message) from None


def _refuse_separator(header: str) -> None:
    if "," in header:
        return
    for separator, name in _SEPARATORS.items():
        if separator in header:
            message = f"The columns are separated by {name}; save the file with commas between them."
            raise FileError("wrong_separator", message)


def _readable(error: csv.Error, line: int) -> FileError:
    text = str(error)
    if "field larger" in text:
        message = (
            f"The row that begins on line {line} has a cell of more than {LONGEST_CELL:,} characters, which is too"
            " long; often a quote was opened there and never closed."
        )
        return FileError("cell_too_long", message)
    if "unexpected end" in text:
        message = f"A quote that is opened in the row on line {line} is never closed; close it, or remove it."
        return FileError("open_quote", message)
    message = (
        f"The quotes in the row that begins on line {line} do not match: a cell begins and ends with one,"
        ' and a quote within it is written twice ("").'
    )
    return FileError("wrong_quotes", message)
