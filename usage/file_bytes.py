"""The bytes of an uploaded file: counted, unpacked within limits, and told apart by what they begin with."""

import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from django.conf import settings

CHUNK: Final = 1 << 16
FREE_EXPANSION: Final = 10 * 1024 * 1024
"""How much a compressed file may grow before its ratio counts: small files of zeros are no attack."""
MOST_RATIO: Final = 200
LONGEST_ROW: Final = 4 * 1024 * 1024
"""Bytes that may pass without a row coming to its end."""

GZIP: Final = b"\x1f\x8b"
ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
AS_CSV: Final = "save it as CSV (UTF-8, with commas; gzip is fine) or as an Excel workbook (.xlsx)"

# What files that are no usage begin with, and what they are.
_OTHER_KINDS: Final = (
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls) or a workbook with a password"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"(\xb5/\xfd", "compressed by zstd"),
    (b"SQLite format 3", "a database"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_MARKUP: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|table|svg|!--)", re.IGNORECASE)
_JSON: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{|\[\s*[\{\[\"])")


class FileError(ValueError):
    """A whole file is refused and nothing of it is imported; `message` tells an operator why and what would do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Upload:
    """The stream of an upload, counted. It looks enough like a file to be read as an archive."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        self.taken = 0
        self.failure: BaseException | None = None
        """What went wrong in reading the stream itself, which says nothing about the file."""
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        try:
            found = self._stream.read(size)
        except BaseException as failure:
            self.failure = failure
            raise
        self.taken += len(found)
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def position(self) -> int:
        return min(self.taken, self.size)

    def begin_anew(self) -> None:
        """Go back to the first byte and count from there."""
        self.seek(0)
        self.taken = 0


def refuse_other_kinds(head: bytes, name: str) -> None:
    """Refuse what the first bytes of a file show to be no text with rows."""
    for start, kind in _OTHER_KINDS:
        if head.startswith(start):
            raise FileError("unknown_type", f"“{name}” is {kind}; {AS_CSV}.")
    if _MARKUP.match(head):
        raise FileError("unknown_type", f"“{name}” is a web page or XML, whatever its name says; {AS_CSV}.")
    if _JSON.match(head):
        raise FileError("unknown_type", f"“{name}” is JSON; {AS_CSV}, or send it to the API.")
    encoding = _wide_encoding(head)
    if encoding:
        raise FileError("not_utf8", f"“{name}” is written in {encoding}. Save it as “CSV UTF-8” and upload it again.")


def _wide_encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    even, odd = head[:64:2], head[1:64:2]
    # Latin letters in UTF-16 without a mark: every other byte is zero.
    if len(odd) >= 4 and any(even) != any(odd) and all(even) != all(odd):
        return "UTF-16"
    return ""


def plain(upload: Upload) -> Iterator[bytes]:
    """Yield the bytes as they were uploaded."""
    upload.begin_anew()
    while chunk := upload.read(CHUNK):
        yield chunk


def gunzipped(upload: Upload) -> Iterator[bytes]:
    """Yield what a gzip file holds, all its members, never much more at a time than is asked for."""
    upload.begin_anew()
    expanded = 0
    member = zlib.decompressobj(wbits=31)
    members, begun, waiting = 0, False, b""
    while waiting := waiting or upload.read(CHUNK):
        if members and not begun:
            waiting = waiting.lstrip(b"\0")  # padding after a member
            if not waiting:
                continue
        try:
            found = member.decompress(waiting, CHUNK)
        except zlib.error:
            raise FileError("damaged_gzip", "The gzip file is damaged; compress the CSV and upload it again.") from None
        begun = True
        waiting = member.unconsumed_tail
        if member.eof:
            waiting = member.unused_data
            members, member, begun = members + 1, zlib.decompressobj(wbits=31), False
        expanded += len(found)
        _refuse_bomb(expanded, upload.taken)
        if found:
            yield found
    if begun:
        raise FileError("damaged_gzip", "The gzip file ends too early; it was not uploaded or written to its end.")


def _refuse_bomb(expanded: int, packed: int) -> None:
    most = settings.USAGE_FILE_MAX_EXPANDED_BYTES
    if expanded > most:
        message = f"The file holds more than {mebibytes(most)} once it is unpacked; split it."
        raise FileError("too_large_unpacked", message)
    if expanded > FREE_EXPANSION and expanded > MOST_RATIO * packed:
        message = f"The file grows more than {MOST_RATIO} times when it is unpacked, which no usage does."
        raise FileError("suspicious_ratio", message)


def mebibytes(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1024**2:,.0f} MiB"


class RowBytes(io.BufferedIOBase):
    """Bytes on their way to becoming rows: zero bytes and rows without an end are refused.

    Whoever reads the rows sets `line` to where the row that is read now begins.
    """

    def __init__(self, open_chunks: Callable[[], Iterator[bytes]]) -> None:
        self._open, self._chunks = open_chunks, open_chunks()
        self.line = self._line_before = 1
        self.passed = self._since_row = 0

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1, /) -> bytes:
        chunk = next(self._chunks, b"")
        place = chunk.find(b"\0")
        if place >= 0:
            line = self.line_at(self.passed + place)
            raise FileError(
                "zero_byte",
                f"Line {line} contains a zero byte, which no text has; export the file anew as CSV (UTF-8).",
            )
        self.passed += len(chunk)
        if self.line != self._line_before:
            self._line_before, self._since_row = self.line, 0
        self._since_row += len(chunk)
        if self._since_row > LONGEST_ROW:
            message = f"The row that begins on line {self.line} does not end; look for a quote that is never closed."
            raise FileError("endless_row", message)
        return chunk

    def read(self, size: int | None = -1, /) -> bytes:
        return self.read1()

    def line_at(self, offset: int) -> int:
        """Return the line of the byte at `offset`; the file is read again up to there, and cannot be read on."""
        line, left, before = 1, offset, b""
        for chunk in self._open():
            some = chunk[:left]
            line += some.count(b"\n") + some.count(b"\r") - some.count(b"\r\n")
            line -= before == b"\r" and some[:1] == b"\n"
            left, before = left - len(some), some[-1:]
            if not left:
                break
        return line
