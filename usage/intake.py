"""Checking and writing usage, block by block: the one path of files, commands and the API (domain.md 6, D13).

    rows → read (cells) → match (charge) → slice → COPY of records → slices

A block is read and its accounts are looked up; then its rows are checked while PostgreSQL stores those before them. One
transaction writes an import: either all of it is there, or nothing. Memory holds a block, the slices that are open and
a bounded number of accounts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple

from django.db import connection

from usage.cells import COLUMNS, LONGEST_DESCRIPTION, LONGEST_KEY, CellError, Flaw, day_of, quantity_of, shown, text_of
from usage.matching import KnownAccount, UsageCharge, UsageCharges, is_sole, match

BLOCK: Final = 10_000
"""Rows that are read, looked up and written together."""
MOST_SLICES: Final = 50_000
"""Slices that are open at a time; then they are written and begun anew, which changes nothing but their number."""
MOST_ERRORS: Final = 100_000
"""Bad cells that are kept for the report; more are only counted."""
_SOME = 500  # lines handed to COPY at a time: enough for few calls, few enough to keep the server busy

RECORD_COLUMNS = "slice_id, line, quantity, start_date, end_date, description, unique_key"
SLICE_COLUMNS = "id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records"
ERROR_COLUMNS = 'usage_import_id, line, "column", value, code, message'

_ZERO = Decimal(0)
_NULL = "\\N"

Row = tuple[int, Sequence[str]]
"""Where a row stands, and its cells in the order of the header."""


class BadRow(NamedTuple):
    """A row that cannot be imported, with all that is wrong with it."""

    line: int
    flaws: tuple[Flaw, ...]


class Intake:
    """Takes the rows of one import; `write=False` only checks them.

    `rows`, `good`, `bad`, `quantities` (by unit), `first_day` and `last_day` tell what has been seen so far.
    """

    def __init__(
        self,
        import_id: int,
        *,
        columns: Mapping[str, int],
        write: bool,
        left_out: frozenset[int] = frozenset(),
        stop_writing_at_bad_rows: bool = False,
    ) -> None:
        self.import_id, self.writes, self.left_out = import_id, write, left_out
        self.stops = stop_writing_at_bad_rows
        self._places = [columns.get(name, -1) for name in COLUMNS]
        self._width = max(columns.values()) + 1
        self.known = UsageCharges()
        self.rows = self.good = self.bad = self.errors_kept = 0
        self.quantities: dict[str, Decimal] = {}
        self.first_day: date | None = None
        self.last_day: date | None = None
        self._slices: dict[tuple[int, int, date], list[Any]] = {}
        self._ids: list[int] = []
        # What a row asks for, with what it gets: rows of a file repeat themselves.
        self._sole: dict[tuple[str, str, str, str], _Sole] = {}

    def take(self, rows: Iterable[Row], *, after_block: Callable[[], object] = lambda: None) -> None:
        """Check all rows, and write the good ones; what is wrong with the others is kept as errors of the import."""
        following = iter(rows)
        while block := list(islice(following, BLOCK)):
            self._look_up(block)
            bad: list[BadRow] = []
            with self._copy(len(block)) as copy:
                lines: list[str] = []
                for line, cells in block:
                    text = self._row(line, cells, bad)
                    if text is not None:
                        lines.append(text)
                        if len(lines) == _SOME:
                            self._hand_over(copy, lines)
                self._hand_over(copy, lines)
            self.rows += len(block)
            self.report(bad)
            if self.stops and self.bad:
                self.writes = False
            if len(self._slices) > MOST_SLICES:
                self.write_slices()
            after_block()
        self.write_slices()

    def report(self, bad: Sequence[BadRow]) -> None:
        """Count bad rows and keep what is wrong with them, up to a limit."""
        self.bad += len(bad)
        rows = [(row.line, flaw) for row in bad for flaw in row.flaws][: MOST_ERRORS - self.errors_kept]
        self.errors_kept += len(rows)
        if not rows:
            return
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY usage_usageimporterror ({ERROR_COLUMNS}) FROM STDIN") as copy,
        ):
            for line, flaw in rows:
                copy.write_row((self.import_id, line, flaw.column, shown(flaw.value), flaw.code, flaw.message))

    def write_slices(self) -> None:
        """Write the open slices; later rows begin new ones."""
        if self.writes and self._slices:
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY usage_usageslice ({SLICE_COLUMNS}) FROM STDIN") as copy,
            ):
                copy.write("".join(self._slice_lines()))
        self._slices.clear()

    def _slice_lines(self) -> Iterator[str]:
        for (account_id, charge_id, _), (pk, first, last, quantity, records) in self._slices.items():
            yield f"{pk}\t{self.import_id}\t{account_id}\t{charge_id}\t{first}\t{last}\t{quantity:f}\t{records}\n"

    def _look_up(self, block: Sequence[Row]) -> None:
        place = self._places[0]
        numbers = {cells[place].strip() for _, cells in block if len(cells) > place}
        if self.known.learn(
            number for number in numbers if number and len(number) <= LONGEST_KEY and "\0" not in number
        ):
            self._sole.clear()

    def _copy(self, rows: int) -> AbstractContextManager[Any]:
        if not self.writes:
            return nullcontext()
        if len(self._ids) < rows:
            # As many ids as there may be slices: nothing can be asked while rows are handed over.
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT nextval('usage_usageslice_id_seq') FROM generate_series(1, %s)", [rows - len(self._ids)]
                )
                self._ids += [pk for (pk,) in cursor.fetchall()]
        cursor = connection.cursor()
        return cursor.copy(f"COPY usage_usagerecord ({RECORD_COLUMNS}) FROM STDIN")

    def _hand_over(self, copy: Any, lines: list[str]) -> None:
        if copy is not None and lines:
            copy.write("".join(lines))
        lines.clear()

    def _row(self, line: int, cells: Sequence[str], bad: list[BadRow]) -> str | None:
        """Return a good row as COPY takes it; note a bad one."""
        if line in self.left_out:
            return None
        try:
            number, unit, quantity_text, start_text, end_text, subscription, charge, description, key = self._cells(
                cells
            )
            quantity, start = quantity_of(quantity_text), day_of(start_text)
            if end_text and day_of(end_text) < start:
                raise CellError("ends_before_start", "")
            if description:
                description = _escaped(text_of(description, what="description", longest=LONGEST_DESCRIPTION))
            if key:
                key = _escaped(text_of(key, what="unique key", longest=LONGEST_KEY))
            sole = self._sole[number, unit, subscription, charge]
            if not sole.charge.runs_on(start):
                raise LookupError
            account_id, matched = sole
        except (CellError, LookupError):
            found = self._slowly(line, cells, bad)
            if found is None:
                return None
            number, unit, quantity_text, start_text, end_text, subscription, charge, description, key = found.cells
            description, key = _escaped(description), _escaped(key)
            quantity, start, account_id, matched = found.quantity, found.start, found.account_id, found.charge
        self.good += 1
        self.quantities[unit] = self.quantities.get(unit, _ZERO) + quantity
        if not self.writes:
            self._seen(start)
            return None
        entry = self._slice(account_id, matched, start)
        entry[3] += quantity
        entry[4] += 1
        return (
            f"{entry[0]}\t{line}\t{quantity_text}\t{start_text}\t{end_text or _NULL}\t{description}\t{key or _NULL}\n"
        )

    def _cells(self, cells: Sequence[str]) -> list[str]:
        if len(cells) != self._width:
            raise LookupError
        return [cells[place] if place >= 0 else "" for place in self._places]

    def _seen(self, start: date) -> None:
        if self.first_day is None or start < self.first_day:
            self.first_day = start
        if self.last_day is None or start > self.last_day:
            self.last_day = start

    def _slice(self, account_id: int, charge: UsageCharge, start: date) -> list[Any]:
        """Return the open slice of such a row, its days widened to the row's."""
        place = account_id, charge.charge_id, charge.slice_day(start)
        entry = self._slices.get(place)
        if entry is None:
            entry = self._slices[place] = [self._ids.pop(), start, start, _ZERO, 0]
            self._seen(start)
        elif start < entry[1]:
            entry[1] = start
            self._seen(start)
        elif start > entry[2]:
            entry[2] = start
            self._seen(start)
        return entry

    def _slowly(self, line: int, cells: Sequence[str], bad: list[BadRow]) -> "_GoodRow | None":
        """Return a row that needs a closer look; if it is bad, note all that is wrong with it."""
        if len(cells) != self._width:
            bad.append(BadRow(line, (_wrong_width(cells, self._width),)))
            return None
        found = dict(zip(COLUMNS, (text.strip() for text in self._cells(cells)), strict=True))
        flaws: list[Flaw] = []
        quantity = _checked(flaws, "QTY", found, quantity_of)
        start = _checked(flaws, "STARTDATE", found, day_of)
        end = _checked(flaws, "ENDDATE", found, day_of) if found["ENDDATE"] else None
        if start and end and end < start:
            flaws.append(
                Flaw("ENDDATE", found["ENDDATE"], "ends_before_start", f"The end lies before the start, {start}.")
            )
        _checked(flaws, "DESCRIPTION", found, _description)
        _checked(flaws, "UNIQUE_KEY", found, _unique_key)
        account = self._account(found["ACCOUNT_ID"], flaws)
        unit = found["UOM"]
        if unit not in self.known.units:
            message = f"There is no unit of measure {shown(unit)}." if unit else "The unit of measure is missing."
            flaws.append(Flaw("UOM", unit, "unknown_unit" if unit else "missing_unit", message))
        elif account is not None and start is not None:
            subscription, charge = found["SUBSCRIPTION_ID"], found["CHARGE_ID"]
            matched = match(account, unit=unit, day=start, subscription=subscription, charge=charge)
            if isinstance(matched, Flaw):
                flaws.append(matched)
            elif not flaws and quantity is not None:
                if is_sole(account, matched, unit=unit, subscription=subscription, charge_number=charge):
                    key = found["ACCOUNT_ID"], unit, subscription, charge
                    self._sole[key] = _Sole(account.account_id, matched)
                return _GoodRow(tuple(found.values()), quantity, start, account.account_id, matched)
        bad.append(BadRow(line, tuple(flaws)))
        return None

    def _account(self, number: str, flaws: list[Flaw]) -> KnownAccount | None:
        if not number:
            flaws.append(Flaw("ACCOUNT_ID", "", "missing_account", "The account number is missing."))
            return None
        account = self.known.get(number)
        if account is None:
            message = f"There is no account {shown(number)}."
            flaws.append(Flaw("ACCOUNT_ID", number, "unknown_account", message))
        elif not account.is_active:
            flaws.append(Flaw("ACCOUNT_ID", number, "account_not_active", f"Account {number} is not active."))
            return None
        return account


class _Sole(NamedTuple):
    """The only charge that rows of an account with this unit, subscription and charge can belong to."""

    account_id: int
    charge: UsageCharge


class _GoodRow(NamedTuple):
    """A row that took a closer look, with its cells as they are stored."""

    cells: tuple[str, ...]
    quantity: Decimal
    start: date
    account_id: int
    charge: UsageCharge


def _checked(flaws: list[Flaw], column: str, cells: Mapping[str, str], read: Callable[[str], Any]) -> Any:
    try:
        return read(cells[column])
    except CellError as error:
        flaws.append(Flaw(column, cells[column], error.code, error.message))
        return None


def _description(text: str) -> str:
    return text_of(text, what="description", longest=LONGEST_DESCRIPTION)


def _unique_key(text: str) -> str:
    return text_of(text, what="unique key", longest=LONGEST_KEY)


def _wrong_width(cells: Sequence[str], width: int) -> Flaw:
    few = "too few" if len(cells) < width else "too many"
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    message = f"The row has {count}, {few} for the {width} columns of the header."
    return Flaw("", "", "wrong_number_of_cells", message)


def _escaped(text: str) -> str:
    """Return text that has no control characters as COPY takes it."""
    return text.replace("\\", "\\\\")
