"""What becomes of an uploaded file: checked row by row, then written in one transaction, by whichever worker is free.

    Uploaded → Checking → Checked → Importing → Imported → Undoing → Undone

A step is taken by the worker that holds the import's lock; when it dies, the lock frees itself and the sweeper rings for
another one. Checking commits its progress as it goes; importing is one transaction, so that a file is there as a whole
or not at all.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.refusals import explain_refusal
from usage.duplicates import KEY, find_duplicates
from usage.file_bytes import FileError
from usage.files import UsageFile, open_usage_file
from usage.intake import BadRow, Intake
from usage.models import UsageFilePart, UsageImport, UsageImportError, UsageImportStatus, UsageSource
from usage.stored_file import opened

log = structlog.get_logger(__name__)

# First half of the advisory lock key of an import; the second half is its id.
IMPORT_LOCK = 7415
PROGRESS_SECONDS = 1
KEPT_FOR = timedelta(days=7)
OPEN = (
    UsageImportStatus.UPLOADED,
    UsageImportStatus.CHECKING,
    UsageImportStatus.IMPORTING,
    UsageImportStatus.UNDOING,
)


class RowsWentBadError(Exception):
    """Rows that were good when the file was checked are bad now, and none may be left out."""


def advance(import_id: int) -> None:
    """Take an import's next step, if there is one and no other worker is at it; safe to call any number of times."""
    with _claimed(import_id) as won:
        if not won:
            return
        found = UsageImport.objects.filter(pk=import_id).first()
        if found is None or found.status not in OPEN:
            return
        UsageImport.objects.filter(pk=import_id).update(attempts=found.attempts + 1)
        if found.attempts >= settings.USAGE_IMPORT_ATTEMPTS:
            _fail(found, "This step ended its worker several times. Nothing of the file was imported.")
        elif found.status == UsageImportStatus.UNDOING:
            _undo(found)
        elif found.status == UsageImportStatus.IMPORTING:
            _import(found)
        else:
            _check(found)


def waiting_imports() -> list[int]:
    """Return the imports with a step to take that nobody is at, for the sweeper to ring for."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.id FROM usage_usageimport i WHERE i.status = ANY(%s) AND NOT EXISTS (
                SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = i.id::int AND l.objsubid = 2
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            ) ORDER BY i.id
            """,
            [[status.value for status in OPEN], IMPORT_LOCK],
        )
        return [pk for (pk,) in cursor.fetchall()]


@contextmanager
def _claimed(import_id: int) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [IMPORT_LOCK, import_id])
        won = bool(cursor.fetchone()[0])
    try:
        yield won
    finally:
        if won:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [IMPORT_LOCK, import_id])


def _check(found: UsageImport) -> None:
    """Check every row and remember what is wrong; nothing is written but the report."""
    UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.UPLOADED).update(status=UsageImportStatus.CHECKING)
    UsageImportError.objects.filter(usage_import=found).delete()
    try:
        with opened(found) as stream, open_usage_file(stream, name=found.file_name) as file:
            intake = _taken(found, file, write=False, progress=_progress(found, file))
    except FileError as error:
        _fail(found, error.message, rows=0)
        return
    UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.CHECKING).update(
        status=UsageImportStatus.CHECKED, attempts=0, bytes_done=found.size, **_figures(intake)
    )
    if found.source == UsageSource.API:
        _go_on(found, intake)


def _go_on(found: UsageImport, intake: Intake) -> None:
    """Import a file of the API, which nobody looks at in between, as whoever sent it has asked for."""
    if intake.good and (found.leave_bad_rows_out or not intake.bad):
        UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.CHECKED).update(
            status=UsageImportStatus.IMPORTING, bytes_done=0
        )
        found.refresh_from_db()
        if found.status == UsageImportStatus.IMPORTING:
            _import(found)
        return
    which = f"{intake.bad:,} of its {intake.good + intake.bad:,} rows are bad"
    _fail(found, f"{which}, so nothing was imported. Correct them and send the file again.")


def _import(found: UsageImport) -> None:
    """Write the good rows in one transaction; if a row is bad that was good before, none unless they may be left out."""
    try:
        with transaction.atomic(), opened(found) as stream, open_usage_file(stream, name=found.file_name) as file:
            UsageImportError.objects.filter(usage_import=found).delete()
            intake = _taken(found, file, write=True)
            if intake.bad and not found.leave_bad_rows_out:
                raise RowsWentBadError
            UsageFilePart.objects.filter(usage_import=found).delete()
            UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.IMPORTING).update(
                status=UsageImportStatus.IMPORTED,
                attempts=0,
                bytes_done=found.size,
                finished_at=timezone.now(),
                **_figures(intake),
            )
    except (FileError, RowsWentBadError) as error:
        _fail(found, getattr(error, "message", "") or _went_bad(found))
    except IntegrityError as error:
        # Another import was quicker with the same keys, or an account changed while its rows were written.
        _fail(
            found,
            f"{explain_refusal(error)} Nothing of the file was imported. Upload it again to have it checked anew.",
        )
    except OperationalError as error:
        log.warning("usage_import.retried", usage_import=found.pk, attempts=found.attempts, error=str(error))


def _went_bad(found: UsageImport) -> str:
    return (
        "Something in the database has changed since the file was checked, so that some of its rows would be wrong now."
        " Nothing was imported. Upload the file again to see which."
    )


def _taken(
    found: UsageImport, file: UsageFile, *, write: bool, progress: Callable[[], object] = lambda: None
) -> Intake:
    """Take all rows of a file: keys that are used twice are looked for first, where the file has any."""
    duplicates: list[BadRow] = []
    rows = file.rows
    if KEY in file.columns:
        with opened(found) as stream, open_usage_file(stream, name=found.file_name) as keys:
            duplicates = list(find_duplicates(keys.rows, columns=keys.columns))
    intake = Intake(
        found.pk,
        columns=file.columns,
        write=write,
        left_out=frozenset(row.line for row in duplicates),
        stop_writing_at_bad_rows=not found.leave_bad_rows_out,
    )
    intake.report(duplicates)
    intake.take(rows, after_block=progress)
    return intake


def _progress(found: UsageImport, file: UsageFile) -> Callable[[], None]:
    """Return what writes down how far a file has been read, once a second at most."""
    last = time.monotonic()

    def note() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_SECONDS:
            last = now
            UsageImport.objects.filter(pk=found.pk).update(bytes_done=min(file.position(), found.size))

    return note


def _figures(intake: Intake) -> dict[str, object]:
    return {
        "rows": intake.good + intake.bad,
        "good_rows": intake.good,
        "bad_rows": intake.bad,
        "first_day": intake.first_day,
        "last_day": intake.last_day,
        "quantities": {unit: f"{total:f}" for unit, total in sorted(intake.quantities.items())},
    }


def _fail(found: UsageImport, message: str, **figures: int) -> None:
    """End an import without any record; one that is being undone stays as it was."""
    if found.status == UsageImportStatus.UNDOING:
        UsageImport.objects.filter(pk=found.pk).update(status=UsageImportStatus.IMPORTED, error=message, attempts=0)
        return
    with transaction.atomic():
        UsageFilePart.objects.filter(usage_import=found).delete()
        UsageImport.objects.filter(pk=found.pk).exclude(status=UsageImportStatus.DISCARDED).update(
            status=UsageImportStatus.FAILED, error=message, finished_at=timezone.now(), **figures
        )


# Runs lock accounts before they look at usage; so do we, or a run could price what is about to go.
_LOCK_OWNERS = """
SELECT a.id FROM accounts_account a WHERE a.id IN (
    SELECT s.invoice_owner_id FROM usage_usageslice u JOIN billing_rateplancharge c ON c.id = u.charge_id
    JOIN billing_subscription s ON s.id = c.subscription_id WHERE u.usage_import_id = %s
) ORDER BY a.id FOR NO KEY UPDATE
"""


# The slices go with their records, by trigger, which refuses when any of them is Processed.
_DELETE_RECORDS = """
DELETE FROM usage_usagerecord WHERE slice_id IN (SELECT id FROM usage_usageslice WHERE usage_import_id = %s)
"""


def _undo(found: UsageImport) -> None:
    """Delete all records of an import, unless some have been processed meanwhile."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_LOCK_OWNERS, [found.pk])
                cursor.execute(_DELETE_RECORDS, [found.pk])
            UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.UNDOING).update(
                status=UsageImportStatus.UNDONE, finished_at=timezone.now(), attempts=0
            )
    except IntegrityError:
        _fail(
            found,
            "Some of its rows have been processed by a bill run meanwhile, so the import stays. Nothing was removed.",
        )
    except OperationalError as error:
        log.warning("usage_import.undo_retried", usage_import=found.pk, attempts=found.attempts, error=str(error))


def forget_files() -> int:
    """Discard checked files that nobody has decided on for a week; return how many."""
    old = timezone.now() - KEPT_FOR
    with transaction.atomic():
        ids = list(
            UsageImport.objects.select_for_update(skip_locked=True)
            .filter(status=UsageImportStatus.CHECKED, created_at__lt=old)
            .values_list("pk", flat=True)
        )
        UsageFilePart.objects.filter(usage_import__in=ids).delete()
        return UsageImport.objects.filter(pk__in=ids).update(status=UsageImportStatus.DISCARDED)
