"""Uploaded files kept in the database, piece by piece, so that any worker can read them (D5)."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from usage.models import UsageFilePart, UsageImport

PART_BYTES = 1024 * 1024


class StoredSize(NamedTuple):
    """How large a stored file is, in bytes, and its hash."""

    size: int
    sha256: str


class FileTooLargeError(ValueError):
    """The upload has more bytes than an import may have."""


def store(usage_import: UsageImport, chunks: Iterable[bytes], *, most: int) -> StoredSize:
    """Write a file as parts of one import; raises `FileTooLargeError` beyond `most` bytes, for the caller to undo."""
    digest, size = hashlib.sha256(), 0
    for number, part in enumerate(_parts(chunks)):
        digest.update(part)
        size += len(part)
        if size > most:
            raise FileTooLargeError
        UsageFilePart.objects.create(usage_import=usage_import, number=number, content=part)
    return StoredSize(size, digest.hexdigest())


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)


class _Parts(io.RawIOBase):
    """The parts of a file as one seekable stream, of which a single part is in memory."""

    def __init__(self, import_id: int, size: int) -> None:
        self._import_id, self._size, self._at = import_id, size, 0
        self._number, self._content = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        number, begin = divmod(self._at, PART_BYTES)
        if self._at >= self._size:
            return 0
        if number != self._number:
            rows = UsageFilePart.objects.filter(usage_import=self._import_id, number=number)
            self._number, self._content = number, bytes(rows.values_list("content", flat=True).get())
        piece = self._content[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@contextmanager
def opened(usage_import: UsageImport) -> Iterator[BinaryIO]:
    """Open the stored file of an import for reading."""
    with io.BufferedReader(_Parts(usage_import.pk, usage_import.size), 64 * 1024) as stream:
        yield stream
