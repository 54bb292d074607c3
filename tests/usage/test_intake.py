"""Checking and writing rows: whatever the order and the size of blocks, records hang on the same slices."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.types import BillingPeriod, RatingGroup
from tests.factories import acme, globex, plan, subscribe
from tests.usage import world
from usage import intake as engine
from usage.duplicates import find_duplicates
from usage.intake import Intake, Row
from usage.models import UsageImportError, UsageRecord, UsageSlice

pytestmark = pytest.mark.django_db

COLUMNS = {"ACCOUNT_ID": 0, "UOM": 1, "QTY": 2, "STARTDATE": 3, "DESCRIPTION": 4, "UNIQUE_KEY": 5}
FIRST = date(2026, 1, 20)


@pytest.fixture
def customers() -> None:
    """Two customers with a charge a month each, one from the 15th to the 15th, and one whose days stand alone."""
    world.units()
    subscribe(acme(number="MONTHS"), plan("Traffic", world.usage_charge()), "2026-01-20")
    subscribe(globex(number="MIDDLE"), plan("Other", world.usage_charge()), "2026-01-20")
    by_day = world.usage_charge() | {
        "rating_group": RatingGroup.START_DATE,
        "billing_period": BillingPeriod.MONTH,
    }
    subscribe(acme(number="DAYS"), plan("Daily", by_day), "2026-01-20")


def rows(count: int = 300) -> list[Row]:
    names = ("MONTHS", "MIDDLE", "DAYS")
    days = [(FIRST + timedelta(days=n * 37 % 120)).isoformat() for n in range(count)]
    return [
        (n + 2, (names[n % 3], "GB", f"{n}.5", days[n], f"row {n}" if n % 2 else "", f"k{n}" if n % 5 else ""))
        for n in range(count)
    ]


def taken(found: Sequence[Row]) -> tuple[list[tuple[Any, ...]], Intake]:
    """Import rows; return each record with its slice's account and first day."""
    UsageRecord.objects.all().delete()
    intake = world.import_rows(COLUMNS, found)
    slices = UsageSlice.objects.in_bulk()
    values = UsageRecord.objects.order_by("line").values_list(
        "slice_id", "line", "quantity", "start_date", "description", "unique_key"
    )
    return [
        (slices[pk].account.number, slices[pk].first_day, slices[pk].last_day, *rest) for pk, *rest in values
    ], intake


def test_order_and_blocks_change_nothing(customers: None, monkeypatch: pytest.MonkeyPatch):
    expected, whole = taken(rows())
    assert len(expected) == 300
    for block, windows in ((1, 40), (7, 1), (1000, 2)):
        monkeypatch.setattr(engine, "BLOCK", block)
        monkeypatch.setattr(engine, "MOST_WINDOWS", windows)
        found, parts = taken(rows()[::-1])
        assert found == expected
        assert (parts.quantities, parts.first_day, parts.last_day) == (
            whole.quantities,
            whole.first_day,
            whole.last_day,
        )


def test_each_record_hangs_on_the_slice_of_its_period(customers: None):
    found, intake = taken(rows())
    for account, first, last, _, _, day, *_ in found:
        assert first <= day <= last
        if account == "DAYS":
            assert first == last
        elif account == "MONTHS":
            assert (first.year, first.month) == (last.year, last.month)
        else:
            assert (first - timedelta(days=14)).month == (last - timedelta(days=14)).month
    assert intake.quantities == {"GB": sum(Decimal(f"{n}.5") for n in range(300))}
    assert (intake.first_day, intake.last_day) == (FIRST, FIRST + timedelta(days=119))


def test_checking_sees_what_writing_sees(customers: None):
    _, written = taken(rows())
    checked = Intake(world.new_import().pk, columns=COLUMNS, write=False)
    checked.take(rows())
    for name in ("rows", "good", "bad", "quantities", "first_day", "last_day"):
        assert getattr(checked, name) == getattr(written, name), name


def test_days_before_and_after_a_charge_are_seen_behind_good_ones(customers: None):
    known = [(n, ("MONTHS", "GB", "1", "2026-03-01", "", "")) for n in range(2, 5)]
    intake = Intake(world.new_import().pk, columns=COLUMNS, write=False)
    intake.take(
        [*known, (5, ("MONTHS", "GB", "1", "2026-01-19", "", "")), (6, ("MONTHS", "GB", "1", "2026-01-20", "", ""))]
    )
    assert [(row.line, row.code) for row in UsageImportError.objects.all()] == [(5, "charge_not_running")]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (("MONTHS", "GB", "1_0", "2026-03-01", "", ""), "not_a_quantity"),
        (("MONTHS", "GB", "1", "2026-03-01", "a\u202eb", ""), "illegal_character"),
        (("MONTHS", "GB", "1", "2026-03-01", "", "k\x01"), "illegal_character"),
        (("MONTHS", "GB", "1", "2026-03-01", "x" * 201, ""), "too_long"),
        (("MONTHS", "GB", "1", "2026-03-01", "", "x" * 101), "too_long"),
        (("MONTHS", "GB", "1", "2026-03-01", ""), "wrong_number_of_cells"),
        (("MONTHS", "API call", "1", "2026-03-01", "", ""), "no_charge_for_unit"),
        (("MONTHS", "GB", "1", "2026-02-30", "", ""), "no_such_day"),
    ],
)
def test_a_bad_row_is_found_behind_a_good_one_like_it(customers: None, cells: tuple[str, ...], code: str):
    good = ("MONTHS", "GB", "1", "2026-03-01", "", "")
    intake = Intake(world.new_import().pk, columns=COLUMNS, write=False)
    intake.take([(2, good), (3, good), (4, cells), (5, good)])
    assert [(row.line, row.code) for row in UsageImportError.objects.all()] == [(4, code)]
    assert (intake.good, intake.bad) == (3, 1)


def test_texts_are_stored_trimmed_and_as_they_are(customers: None):
    texts = [(" a ", " k1 "), ("back\\slash", "k\\2"), ("\\N", "\\N"), ("🚀 👩‍👩‍👧", "ключ"), ("", "")]
    good = (2, ("MONTHS", "GB", "1", "2026-03-01", "", ""))
    world.import_rows(
        COLUMNS, [good, *((n, ("MONTHS", "GB", " 1", "2026-03-01", *both)) for n, both in enumerate(texts, start=3))]
    )
    world.import_rows(
        COLUMNS,
        [good, *((n, ("MONTHS", "GB", "1", "2026-03-01", both[0], "")) for n, both in enumerate(texts, start=3))],
    )
    stored = UsageRecord.objects.order_by("id").values_list("description", "unique_key")
    assert list(stored[1:6]) == [(a.strip(), k.strip() or None) for a, k in texts]
    assert [text for text, _ in stored[7:]] == [a.strip() for a, _ in texts]


def test_rows_left_out_are_not_counted(customers: None):
    intake = Intake(world.new_import().pk, columns=COLUMNS, write=True, left_out=frozenset({3, 4}))
    intake.take(rows(5))
    assert (intake.good, intake.bad) == (3, 0)
    assert sorted(UsageRecord.objects.values_list("line", flat=True)) == [2, 5, 6]


# --- Keys that came before -------------------------------------------------------------------------------------------


def duplicates(*keys: str, columns: dict[str, int] = COLUMNS) -> list[tuple[int, str]]:
    """Return line and message of each duplicate among rows with these keys, from line 2 on."""
    found = [(n, ("MONTHS", "GB", "1", "2026-03-01", "", key)) for n, key in enumerate(keys, start=2)]
    return [(row.line, row.flaws[0].message) for row in find_duplicates(found, columns=columns)]


def test_keys_of_earlier_lines_and_imports(customers: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("usage.duplicates.BLOCK", 2)
    stored = world.import_rows(COLUMNS, [(2, ("MONTHS", "GB", "1", "2026-03-01", "", "old"))]).import_id
    found = duplicates("a", "b", " a", "", "", "old", "A", "b", "old")
    assert [line for line, _ in found] == [4, 7, 9, 10]
    assert found[0][1] == "UNIQUE_KEY a is already on line 2."
    assert found[1][1].endswith(f"(import {stored}).")
    assert found[2][1] == "UNIQUE_KEY b is already on line 3."


def test_keys_that_cannot_be_stored_are_not_compared(customers: None):
    assert duplicates("x\ty", "x\ty", "z" * 101, "z" * 101, "\x00", "\x00") == []


def test_without_a_column_of_keys_nothing_is_read(customers: None):
    unread = iter([(2, ("MONTHS",))])
    assert list(find_duplicates(unread, columns={"ACCOUNT_ID": 0})) == []
    assert len(list(unread)) == 1


def test_duplicates_can_be_looked_for_again_in_the_same_session(customers: None):
    assert duplicates("a", "a") == duplicates("a", "a") != []
