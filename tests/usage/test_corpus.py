"""Files of every kind that people and programs send, each with what must become of it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.generated import GENERATED
from tests.usage import world
from usage.duplicates import find_duplicates
from usage.files import FileError, open_usage_file
from usage.intake import Intake
from usage.models import UsageImportError

pytestmark = pytest.mark.django_db

CORPUS = Path(__file__).parent.parent / "corpus"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text())
STORED = sorted(
    path.name for path in CORPUS.iterdir() if path.is_file() and path.suffix != ".py" and path.name[0] != "."
)


def content_of(name: str) -> bytes:
    return GENERATED[name]() if name in GENERATED else (CORPUS / name).read_bytes()


def outcome(name: str, content: bytes) -> dict[str, Any]:
    """Check a file the way an import does: duplicates first, then every row."""
    number = world.new_import(file_name=name).pk
    stream = io.BytesIO(content)
    try:
        with open_usage_file(stream, name=name) as file:
            duplicates = list(find_duplicates(file.rows, columns=file.columns))
        stream.seek(0)
        with open_usage_file(stream, name=name) as file:
            lines = frozenset(row.line for row in duplicates)
            intake = Intake(number, columns=file.columns, write=False, left_out=lines)
            intake.report(duplicates)
            intake.take(file.rows)
    except FileError as error:
        return {"refused": error.code, "message": error.message}
    found = UsageImportError.objects.filter(usage_import=number).order_by("line", "id")
    assert intake.rows == intake.good + intake.bad
    return {"good": intake.good, "bad": [[row.line, row.column, row.code] for row in found]}


def test_every_file_has_its_outcome_written_down():
    assert sorted({*STORED, *GENERATED} - {"expected.json"}) == sorted(EXPECTED)
    assert len(EXPECTED) >= 60


def test_files_of_the_corpus(subtests: pytest.Subtests):
    world.build()
    for name, expected in EXPECTED.items():
        with subtests.test(name):
            found = outcome(name, content_of(name))
            message = found.pop("message", "A sentence.")
            assert found == expected, message
            assert message[0].isupper() or message[0] == "“"
            assert message[-1] == "." and "Error" not in message and "None" not in message
