"""Rows of the first sheet of an Excel workbook (.xlsx), read by openpyxl within limits that keep its memory small.

A workbook is a ZIP archive of XML. Before it is opened, sizes, ratios and the number of rows are looked at, and what
could make a small file large in memory is refused: XML declarations of its own, rows without an end.
"""

import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from openpyxl import load_workbook

from usage.file_bytes import AS_CSV, FREE_EXPANSION, MOST_RATIO, FileError, Upload, mebibytes
from usage.intake import Row

MOST_ROWS: Final = 1_048_576
LARGEST_DIRECTORY: Final = 1024 * 1024
LARGEST_PART: Final = 8 * 1024 * 1024
LARGEST_TEXTS: Final = 32 * 1024 * 1024
LONGEST_ROW: Final = 2 * 1024 * 1024
_PIECE: Final = 256 * 1024

_SHEET: Final = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
_ROW_START: Final = re.compile(rb"<(?:[\w.-]+:)?row[\s/>]")
_KNOWN_ARCHIVES: Final = {
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a presentation",
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "content.xml": "an OpenDocument file",
}

# What openpyxl does not know of a workbook (validations, extensions) has no bearing on its cells.
warnings.filterwarnings("ignore", module=r"openpyxl\.")


def sheet_rows(upload: Upload, name: str) -> Iterator[Row]:
    """Yield each row of the first sheet that is not blank, with its number; the header is the first."""
    with _readable(upload):
        _refuse_large_directory(upload)
        with zipfile.ZipFile(upload) as archive:
            _refuse_other_archives(archive, name)
            _refuse_bombs(archive)
        workbook = load_workbook(upload, read_only=True, data_only=True, keep_links=False)
        if not workbook.worksheets:
            raise FileError("no_sheet", "The workbook has no sheet with cells.")
        sheet = workbook.worksheets[0]
        # What some programs say about a sheet's size is wrong, and rows would be missing.
        sheet.reset_dimensions()
        upload.taken = 0
        width = 0
        for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            if number > MOST_ROWS:
                raise _too_many_rows()
            cells = [_text(value) for value in values]
            while len(cells) > width and not cells[-1]:
                cells.pop()
            if not any(cells):
                continue
            # The header, whose width the other rows have: programs leave empty cells at the end out.
            width = width or len(cells)
            cells += [""] * (width - len(cells))
            yield number, cells
        if not width:
            raise FileError("empty", "The first sheet of the workbook is empty, and only that one is read.")


@contextmanager
def _readable(upload: Upload) -> Iterator[None]:
    """Turn whatever a damaged workbook leads to into a refusal; a failure of the stream itself stays what it is."""
    try:
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:
        if upload.failure is not None:
            raise upload.failure from None
        message = f"The workbook is damaged and cannot be read; open it in a spreadsheet program and {AS_CSV}."
        raise FileError("damaged_sheet", message) from error


def _refuse_large_directory(upload: Upload) -> None:
    """Refuse an archive of countless files before its list of them is read."""
    most = settings.USAGE_SHEET_MAX_BYTES
    if upload.size > most:
        raise FileError("too_large", f"A workbook may have {mebibytes(most)}; this one has more. Save it as CSV.")
    upload.seek(max(0, upload.size - 65_557))
    tail = upload.read()
    place = len(tail) - 22
    if place < 0 or tail[place : place + 4] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        raise FileError("damaged_sheet", "The file ends too early; it was not uploaded or written to its end.")
    (size,) = struct.unpack_from("<L", tail, place + 12)
    if size > LARGEST_DIRECTORY or b"PK\x06\x07" in tail[:place][-20:]:
        raise FileError("too_many_parts", f"The archive holds too many files for a workbook; {AS_CSV}.")


def _refuse_other_archives(archive: zipfile.ZipFile, name: str) -> None:
    names = set(archive.namelist())
    if {"[Content_Types].xml", "xl/workbook.xml"} <= names:
        return
    for part, kind in _KNOWN_ARCHIVES.items():
        if part in names:
            raise FileError("unknown_type", f"“{name}” is {kind}; {AS_CSV}.")
    message = f"“{name}” is a ZIP archive; unpack it and upload the file in it, or compress a CSV with gzip."
    raise FileError("unknown_type", message)


def _refuse_bombs(archive: zipfile.ZipFile) -> None:
    total = 0
    for part in archive.infolist():
        total += part.file_size
        if part.file_size > FREE_EXPANSION and part.file_size > MOST_RATIO * part.compress_size:
            message = f"The workbook grows more than {MOST_RATIO} times when it is unpacked, which no usage does."
            raise FileError("suspicious_ratio", message)
        most = settings.USAGE_FILE_MAX_EXPANDED_BYTES
        if not _SHEET.fullmatch(part.filename) and part.filename.lower().endswith((".xml", ".rels")):
            most = LARGEST_TEXTS if part.filename.lower() == "xl/sharedstrings.xml" else LARGEST_PART
        if part.file_size > most or total > settings.USAGE_FILE_MAX_EXPANDED_BYTES:
            message = f"The workbook is too large once it is unpacked ({part.filename}); save it as CSV."
            raise FileError("too_large_unpacked", message)
    for part in archive.infolist():
        if _SHEET.fullmatch(part.filename):
            _look_through(archive, part)
        elif part.filename.lower().endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(part):
            raise _odd()


def _look_through(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Count the rows of a sheet and look how far apart they are, without reading it as XML."""
    rows = last = passed = 0
    kept = b""
    with archive.open(part) as source:
        while piece := source.read(_PIECE):
            text = kept + piece
            # Marks that could hide rows or declare entities: no program writes them into sheets.
            if b"<!" in text or text.count(b"<?") > (not passed):
                raise _odd()
            for found in _ROW_START.finditer(text):
                rows, last = rows + 1, passed + found.start()
            if rows > MOST_ROWS:
                raise _too_many_rows()
            if passed + len(text) - last > LONGEST_ROW:
                message = f"Row {rows:,} of the sheet, or what follows it, is too long to be usage; save it as CSV."
                raise FileError("endless_row", message)
            # A mark that is cut by the end of the piece is looked at with the next one.
            begun = text[text.rfind(b"<", -64) :] if b"<" in text[-64:] else b""
            kept = b"" if b">" in begun or _ROW_START.match(begun) else begun
            passed += len(text) - len(kept)


def _odd() -> FileError:
    message = f"The workbook contains XML that no spreadsheet program writes; open it in one and {AS_CSV}."
    return FileError("damaged_sheet", message)


def _too_many_rows() -> FileError:
    return FileError("too_many_rows", f"A sheet has at most {MOST_ROWS:,} rows; save more as CSV.")


def _text(value: Any) -> str:
    """Return a cell as a CSV would hold it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        # Fifteen digits are what a spreadsheet shows; what follows is noise of its arithmetic.
        return _plain_decimal(f"{value:.15g}")
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _plain_decimal(text: str) -> str:
    number = Decimal(text)
    return f"{number:f}" if number.is_finite() else text
