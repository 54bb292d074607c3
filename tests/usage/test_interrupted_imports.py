"""Imports that end in the middle: nothing of them is left, and the next worker takes them to the same end (I7)."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection

from billing.models import RatePlanCharge
from tests.factories import acme
from tests.usage.consumption import sold
from usage.importing import advance, waiting_imports
from usage.models import UsageFilePart, UsageImport, UsageImportError, UsageRecord, UsageSlice
from usage.services import confirm_import, discard_import, import_file, undo_import, upload_file

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 30


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def charge() -> RatePlanCharge:
    """Acme's charge for gigabytes."""
    return sold(account=acme())


def content(charge: RatePlanCharge, *, bad: bool = False) -> bytes:
    """Return a file with usage of two months."""
    number = charge.subscription.account.number
    lines = ["ACCOUNT_ID,UOM,QTY,STARTDATE,UNIQUE_KEY"]
    lines += [f"{number},GB,{row},2026-0{1 + row % 2}-10,key-{row}" for row in range(ROWS)]
    return "\n".join([*lines, *([f"{number},GB,x,2026-01-10,key-x"] if bad else [])]).encode()


def everything() -> list[int]:
    """Return how many rows each table of usage holds."""
    return [model.objects.count() for model in (UsageRecord, UsageSlice, UsageFilePart, UsageImportError)]


def stop_at(statement: int) -> Any:
    """Return what kills the process at the n-th statement."""
    seen = 0

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == statement:
            raise Killed
        return execute(sql, params, many, context)

    return watch


def test_an_upload_that_is_cut_off_leaves_nothing(charge):
    def cut_off() -> Iterator[bytes]:
        yield b"ACCOUNT_ID,UOM" * 100_000
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        upload_file(chunks=cut_off(), file_name="usage.csv", user_id=None)
    assert UsageImport.objects.count() == 0
    assert everything() == [0, 0, 0, 0]


def test_an_upload_beyond_the_limit_leaves_nothing(charge, settings):
    settings.USAGE_FILE_MAX_BYTES = 1_000
    with pytest.raises(ValidationError, match="larger than"):
        upload_file(chunks=[b"x" * 1_001], file_name="usage.csv", user_id=None)
    assert UsageImport.objects.count() == 0
    assert everything() == [0, 0, 0, 0]


def test_killed_at_every_statement_an_import_is_there_as_a_whole_or_not_at_all(charge):
    """Each round is killed one statement later, until one is not; whoever comes next finishes what was begun."""
    for statement in range(1, 200):
        found = upload_file(chunks=[content(charge, bad=True)], file_name="usage.csv", user_id=None)
        advance(found.pk)
        found.refresh_from_db()
        confirm_import(found, leave_bad_rows_out=True)
        was_killed = False
        with connection.execute_wrapper(stop_at(statement)):
            try:
                advance(found.pk)
            except Killed:
                was_killed = True
        connection.close()  # a dead process holds no lock
        records, slices, *_ = everything()
        assert (records, slices) in {(0, 0), (ROWS, 2)}, statement
        advance(found.pk)
        found.refresh_from_db()
        assert (found.status, found.good_rows, found.bad_rows) == ("Imported", ROWS, 1), statement
        assert everything()[:3] == [ROWS, 2, 0], statement
        assert found.errors.count() == 1, statement
        assert found.pk not in waiting_imports()
        undo_import(found)
        advance(found.pk)
        assert everything()[:2] == [0, 0]
        if not was_killed:
            assert statement > 5
            return
    pytest.fail("The import never got to its end.")


def test_killed_at_every_statement_a_check_is_taken_up_again(charge):
    for statement in range(1, 200):
        found = upload_file(chunks=[content(charge, bad=True)], file_name="usage.csv", user_id=None)
        was_killed = False
        with connection.execute_wrapper(stop_at(statement)):
            try:
                advance(found.pk)
            except Killed:
                was_killed = True
        connection.close()
        advance(found.pk)
        found.refresh_from_db()
        assert (found.status, found.good_rows, found.bad_rows) == ("Checked", ROWS, 1), statement
        assert UsageImportError.objects.filter(usage_import=found).count() == 1, statement
        discard_import(found)
        if not was_killed:
            assert statement > 5
            return
    pytest.fail("The check never got to its end.")


def test_a_step_that_ends_its_worker_again_and_again_is_given_up(charge, settings):
    settings.USAGE_IMPORT_ATTEMPTS = 2
    found = upload_file(chunks=[content(charge)], file_name="usage.csv", user_id=None)
    for _ in range(2):
        with connection.execute_wrapper(stop_at(12)), pytest.raises(Killed):
            advance(found.pk)
        connection.close()
    assert waiting_imports() == [found.pk]
    advance(found.pk)
    found.refresh_from_db()
    assert found.status == "Failed"
    assert "ended its worker several times" in found.error
    assert everything() == [0, 0, 0, 0]
    assert waiting_imports() == []


def test_a_lost_connection_is_tried_again(charge):
    found = upload_file(chunks=[content(charge)], file_name="usage.csv", user_id=None)
    advance(found.pk)
    found.refresh_from_db()
    confirm_import(found, leave_bad_rows_out=False)

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "nextval('usage_usageslice_id_seq')" in sql:
            raise OperationalError("deadlock detected")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        advance(found.pk)
    found.refresh_from_db()
    assert (found.status, everything()[0]) == ("Importing", 0)
    advance(found.pk)
    found.refresh_from_db()
    assert (found.status, everything()[0]) == ("Imported", ROWS)


def test_the_same_file_is_taken_once_until_it_is_undone(charge):
    first = import_file(chunks=[content(charge)], file_name="a.csv", leave_bad_rows_out=False, dry_run=False)
    with pytest.raises(ValidationError, match="imported already"):
        upload_file(chunks=[content(charge)], file_name="b.csv", user_id=None)
    undo_import(first)
    advance(first.pk)
    again = import_file(chunks=[content(charge)], file_name="b.csv", leave_bad_rows_out=False, dry_run=False)
    assert (again.status, UsageRecord.objects.count()) == ("Imported", ROWS)


def test_two_uploads_of_one_key_end_with_one_record(charge):
    """Both are checked before either is imported: the second finds the keys taken, and nothing of it is imported."""
    files = [content(charge), content(charge) + b"\n"]
    both = [upload_file(chunks=[text], file_name="usage.csv", user_id=None) for text in files]
    for found in both:
        advance(found.pk)
        found.refresh_from_db()
        confirm_import(found, leave_bad_rows_out=False)
    for found in both:
        advance(found.pk)
        found.refresh_from_db()
    assert [found.status for found in both] == ["Imported", "Failed"]
    assert "changed since the file was checked" in both[1].error
    assert UsageRecord.objects.count() == ROWS
