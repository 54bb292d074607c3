"""CSV cells: what a spreadsheet would run as a formula is text, numbers stay numbers."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from accounts.csv_export import csv_cell, csv_lines


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_text_that_looks_like_a_formula_is_quoted(start):
    assert csv_cell(f"{start}SUM(A1)") == f"'{start}SUM(A1)"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (Decimal("-5.00"), "-5.00"),
        (Decimal("1E+3"), "1000"),
        (-7, "-7"),
        (True, "true"),
        (None, ""),
        (date(2026, 11, 21), "2026-11-21"),
        (datetime(2026, 11, 21, 14, 2, 3, tzinfo=UTC), "2026-11-21T14:02:03+00:00"),
        ("Acme, Inc.", "Acme, Inc."),
    ],
)
def test_values_are_written_for_machines(value, cell):
    assert csv_cell(value) == cell


def test_lines_can_be_read_back():
    rows = [("a,b", 'say "hi"', "two\nlines")]
    header, line = csv.reader("".join(csv_lines(["x", "y", "z"], rows)).splitlines(keepends=True))
    assert header == ["x", "y", "z"]
    assert line == list(rows[0])
