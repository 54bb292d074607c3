"""Checking and writing usage, block by block: the one path of files, commands and the API (domain.md 6, D13).

    rows → read (cells) → match (charge) → slice → COPY of records → slices

A block is read and its accounts are looked up; then its rows are checked while PostgreSQL stores those before them. One
transaction writes an import: either all of it is there, or nothing. Memory holds a block, the slices that are open and
a bounded number of accounts.
"""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.db import connection

from usage.cells import (
    COLUMNS,
    LONGEST_DESCRIPTION,
    LONGEST_KEY,
    QUANTITY,
    CellError,
    Flaw,
    day_of,
    quantity_of,
    shown,
    text_of,
)
from usage.matching import KnownAccount, UsageCharge, UsageCharges, is_sole, match

BLOCK: Final = 10_000
"""Rows that are read, looked up and written together."""
MOST_SLICES: Final = 50_000
"""Slices that are open at a time; then they are written and begun anew, which changes nothing but their number."""
MOST_ERRORS: Final = 100_000
"""Bad cells that are kept for the report; more are only counted."""
MOST_WINDOWS: Final = 40
"""Stretches of days that are remembered for rows which ask the same."""
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
        # A column that is not there is read from an empty cell behind the last.
        self._pick = itemgetter(*(columns.get(name, -1) for name in COLUMNS))
        self._account_place = columns["ACCOUNT_ID"]
        self._width = max(columns.values()) + 1
        self.known = UsageCharges()
        self.rows = self.good = self.bad = self.errors_kept = 0
        self.quantities: dict[str, Decimal] = {}
        self.first_day: date | None = None
        self.last_day: date | None = None
        self._slices: dict[tuple[int, int, date], _OpenSlice] = {}
        self._ids: list[int] = []
        # What rows ask for, with what they get: rows of a file repeat themselves.
        self._sole: dict[_Asked, tuple[int, UsageCharge]] = {}
        self._windows: defaultdict[_Asked, list[_Window]] = defaultdict(list)
        self._days: set[str] = set()

    def take(self, rows: Iterable[Row], *, after_block: Callable[[], object] = lambda: None) -> None:
        """Check all rows, and write the good ones; what is wrong with the others is kept as errors of the import."""
        following = iter(rows)
        with _without_collector():
            while block := list(islice(following, BLOCK)):
                self._look_up(block)
                bad: list[BadRow] = []
                with self._copy(len(block)) as copy:
                    lines = self._lines(block, bad)
                    while some := "".join(islice(lines, _SOME)):
                        if copy is not None:
                            copy.write(some)
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
        for found in self._slices.values():
            self.quantities[found.charge.unit] = self.quantities.get(found.charge.unit, _ZERO) + found.quantity
            self._seen(date.fromisoformat(found.first_day))
            self._seen(date.fromisoformat(found.last_day))
        self._slices.clear()
        self._windows.clear()

    def _slice_lines(self) -> Iterator[str]:
        for (account_id, charge_id, _), found in self._slices.items():
            days = f"{found.first_day}\t{found.last_day}"
            yield f"{found.pk}\t{self.import_id}\t{account_id}\t{charge_id}\t{days}\t{found.quantity:f}\t{found.records}\n"

    def _look_up(self, block: Sequence[Row]) -> None:
        place = self._account_place
        numbers = {cells[place].strip() for _, cells in block if len(cells) > place}
        if self.known.learn(
            number for number in numbers if number and len(number) <= LONGEST_KEY and "\0" not in number
        ):
            self._sole.clear()
            self._windows.clear()

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

    def _lines(self, block: Sequence[Row], bad: list[BadRow]) -> Iterator[str]:
        """Yield the good rows as COPY takes them, and note the bad ones.

        This is the innermost loop: a row like others before it is taken without a call; any doubt leads to `_slowly`.
        """
        left_out, width, pick = self.left_out, self._width, self._pick
        is_quantity, days, windows_of = QUANTITY.fullmatch, self._days, self._windows
        good, writes = 0, self.writes
        for line, cells in block:
            if line in left_out:
                continue
            found: _OpenSlice | None = None
            if len(cells) == width:
                number, unit, quantity, start, end, subscription, charge, description, key = pick([*cells, ""])
                description, key = description.strip(), key.strip()
                if (
                    start in days
                    and is_quantity(quantity)
                    and (not end or (end in days and end >= start))
                    and (not description or (len(description) <= LONGEST_DESCRIPTION and description.isprintable()))
                    and (not key or (len(key) <= LONGEST_KEY and key.isprintable()))
                ):
                    asked = number, unit, subscription, charge
                    for first, until, candidate in windows_of.get(asked, ()):
                        if first <= start < until:
                            found = candidate
                            break
                    else:
                        found = self._next_slice(asked, start)
            if found is None:
                row = self._slowly(line, cells, bad)
                if row is None:
                    continue
                (number, unit, quantity, start, end, subscription, charge, description, key), found = row
            good += 1
            found.quantity += Decimal(quantity)
            found.records += 1
            if start < found.first_day:
                found.first_day = start
            if start > found.last_day:
                found.last_day = start
            if not writes:
                yield "."
                continue
            if "\\" in description or "\\" in key:
                description, key = _escaped(description), _escaped(key)
            yield f"{found.pk}\t{line}\t{quantity}\t{start}\t{end or _NULL}\t{description}\t{key or _NULL}\n"
        self.good += good

    def _seen(self, start: date) -> None:
        if self.first_day is None or start < self.first_day:
            self.first_day = start
        if self.last_day is None or start > self.last_day:
            self.last_day = start

    def _next_slice(self, asked: "_Asked", start: str) -> "_OpenSlice | None":
        """Return the slice of other days for rows that can belong to one charge only, if it runs then."""
        known = self._sole.get(asked)
        if known is None:
            return None
        account_id, charge = known
        day = date.fromisoformat(start)
        return self._open(account_id, charge, asked, day) if charge.runs_on(day) else None

    def _open(self, account_id: int, charge: UsageCharge, asked: "_Asked", start: date) -> "_OpenSlice":
        """Return the open slice of such a row, and remember for which days rows that ask the same go to it."""
        place = account_id, charge.charge_id, charge.slice_day(start)
        found = self._slices.get(place)
        if found is None:
            text = start.isoformat()
            found = self._slices[place] = _OpenSlice(self._ids.pop() if self.writes else 0, charge, text)
        if asked in self._sole:
            first, until = charge.slice_days(start)
            window, known = (first.isoformat(), until.isoformat(), found), self._windows[asked]
            if window not in known:
                known.insert(0, window)
                del known[MOST_WINDOWS:]
        return found

    def _slowly(self, line: int, cells: Sequence[str], bad: list[BadRow]) -> "_GoodRow | None":
        """Return a row that needs a closer look, with its slice; if it is bad, note all that is wrong with it."""
        if len(cells) != self._width:
            bad.append(BadRow(line, (_wrong_width(cells, self._width),)))
            return None
        found = dict(zip(COLUMNS, (text.strip() for text in self._pick([*cells, ""])), strict=True))
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
                asked = found["ACCOUNT_ID"], unit, subscription, charge
                if is_sole(account, matched, unit=unit, subscription=subscription, charge_number=charge):
                    self._sole[asked] = account.account_id, matched
                self._days.update(day for day in (found["STARTDATE"], found["ENDDATE"]) if day)
                return _GoodRow(tuple(found.values()), self._open(account.account_id, matched, asked, start))
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


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let the search for reference cycles rest: rows have none, and looking for them took a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_Asked = tuple[str, str, str, str]
"""Account, unit, subscription and charge as a row names them."""


class _OpenSlice:
    """A slice that rows are added to; its days are the texts of the rows, which sort as days do."""

    __slots__ = ("charge", "first_day", "last_day", "pk", "quantity", "records")

    def __init__(self, pk: int, charge: UsageCharge, day: str) -> None:
        self.pk, self.charge, self.first_day, self.last_day = pk, charge, day, day
        self.quantity, self.records = _ZERO, 0


_Window = tuple[str, str, _OpenSlice]
"""From which day until before which day rows go to a slice."""


class _GoodRow(NamedTuple):
    """A row that took a closer look, with its cells as they are stored."""

    cells: tuple[str, ...]
    slice: _OpenSlice


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
