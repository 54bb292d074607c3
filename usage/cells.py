"""One row of usage as it was sent: its columns, and what each cell may hold (domain.md 6.1, 6.2).

Cells are matched by patterns of ASCII digits before they become numbers or dates: Python's own readers take `1_000`,
`NaN`, Arabic digits and `20240101` for what nobody meant.
"""

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

COLUMNS: Final = (
    "ACCOUNT_ID",
    "UOM",
    "QTY",
    "STARTDATE",
    "ENDDATE",
    "SUBSCRIPTION_ID",
    "CHARGE_ID",
    "DESCRIPTION",
    "UNIQUE_KEY",
)
REQUIRED: Final = ("ACCOUNT_ID", "UOM", "QTY", "STARTDATE")

LONGEST_DESCRIPTION: Final = 200
LONGEST_KEY: Final = 100
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2199, 12, 31)

QUANTITY: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# Control characters, those that turn the direction of text around, and what UTF-8 has no place for.
_ILLEGAL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


class Flaw(NamedTuple):
    """What is wrong with one cell, in words that say what would do."""

    column: str
    value: str
    code: str
    message: str


class CellError(ValueError):
    """A cell that cannot be used; `code` and `message` say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def quantity_of(text: str) -> Decimal:
    """Return the quantity a cell holds: 0 or more, up to 12 digits before and 9 after the point."""
    if QUANTITY.fullmatch(text):
        return Decimal(text)
    if not text:
        raise CellError("missing_quantity", "The quantity is missing.")
    if re.match(r"[-\u2212][0-9]", text, re.ASCII):
        raise CellError("negative_quantity", f"{_quoted(text)} has a minus sign; usage is 0 or more.")
    if re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?", text, re.ASCII):
        hint = "write digits with a point before decimals and nothing between thousands, like 1234.5."
        raise CellError("comma_in_quantity", f"{_quoted(text)} can be read in two ways; {hint}")
    if re.fullmatch(r"[0-9]+,[0-9]+", text, re.ASCII):
        hint = _quoted(text.replace(",", "."))
        raise CellError("comma_in_quantity", f"{_quoted(text)} has a comma; write {hint} with a point.")
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text, re.ASCII):
        raise CellError("too_many_digits", "A quantity has at most 12 digits before the point and 9 after it.")
    raise CellError(
        "not_a_quantity", f"{_quoted(text)} is not a quantity; write digits with at most one point, like 12.5."
    )


@lru_cache(maxsize=65536)
def day_of(text: str) -> date:
    """Return the day a cell holds, written as 2026-01-31."""
    if not text:
        raise CellError("missing_date", "The date is missing.")
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]", text, re.ASCII):
        raise CellError("has_time", f"{_quoted(text)} has a time of day; give the day alone, like {text[:10]}.")
    if not _DAY.fullmatch(text):
        raise CellError("not_iso_date", f"{_quoted(text)} is not a date like 2026-01-31 (year-month-day).")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise CellError("no_such_day", f"There is no day {text}.") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise CellError(
            "implausible_date", f"{text} cannot be right: give a day from {FIRST_DAY.year} to {LAST_DAY.year}."
        )
    return day


def text_of(text: str, *, what: str, longest: int) -> str:
    """Return free text of a cell, refusing what no line of a page can show."""
    if len(text) > longest:
        raise CellError("too_long", f"The {what} has {len(text)} characters; {longest} is the most.")
    found = _ILLEGAL.search(text)
    if found and found[0] in "\r\n":
        raise CellError("illegal_character", f"The {what} has a line break; write it on one line.")
    if found:
        raise CellError(
            "illegal_character", f"The {what} contains a character that cannot be shown (U+{ord(found[0]):04X})."
        )
    return text


def shown(text: str) -> str:
    """Return a cell's text as an error report can show it: cut, and without what cannot be shown or stored."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text[:200])


def _quoted(text: str) -> str:
    return f"“{shown(text[:40])}{'…' if len(text) > 40 else ''}”"
