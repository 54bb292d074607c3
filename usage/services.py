"""The verbs of usage: what pages, commands and the API ask for. Each checks its input, writes rows, then rings workers."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from usage.cells import COLUMNS, LONGEST_DESCRIPTION, CellError, Flaw, day_of, quantity_of, text_of
from usage.duplicates import find_duplicates
from usage.importing import advance
from usage.intake import BadRow, Intake, Row
from usage.matching import UsageCharges, match
from usage.models import (
    UsageFilePart,
    UsageImport,
    UsageImportError,
    UsageImportStatus,
    UsageRecord,
    UsageSlice,
    UsageSource,
)
from usage.stored_file import FileTooLargeError, store
from usage.tasks import ring_import

MOST_RECORDS_A_CALL: Final = 10_000


class BadRowsError(Exception):
    """Rows that cannot be imported; nothing was written."""

    def __init__(self, rows: Sequence[BadRow]) -> None:
        super().__init__(f"{len(rows)} rows cannot be imported.")
        self.rows = tuple(rows)


# --- Files ------------------------------------------------------------------------------------------------------------


def upload_file(
    *,
    chunks: Iterable[bytes],
    file_name: str,
    user_id: int | None,
    source: UsageSource = UsageSource.FILE,
    leave_bad_rows_out: bool = False,
) -> UsageImport:
    """Keep an uploaded file and have it checked.

    Raises ValidationError when it is empty, too large, or has been imported already; then nothing is kept.
    """
    with transaction.atomic():
        found = UsageImport.objects.create(
            source=source,
            file_name=_plain_name(file_name),
            created_by_id=user_id,
            leave_bad_rows_out=leave_bad_rows_out,
        )
        most = settings.USAGE_FILE_MAX_BYTES
        try:
            stored = store(found, chunks, most=most)
        except FileTooLargeError:
            message = f"The file is larger than {most // 1024**2:,} MiB. Split it, or compress it with gzip."
            raise ValidationError({"file": message}) from None
        if not stored.size:
            raise ValidationError({"file": "The file is empty."})
        _refuse_known_file(stored.sha256)
        found.size, found.sha256 = stored
        try:
            with transaction.atomic():
                found.save(update_fields=["size", "sha256"])
        except IntegrityError:
            _refuse_known_file(stored.sha256)
            raise
        ring_import(found.pk)
    return found


def _refuse_known_file(sha256: str) -> None:
    known = UsageImport.objects.filter(sha256=sha256).exclude(status__in=_ENDED_WITHOUT_RECORDS).first()
    if known is None:
        return
    words = "has been imported already" if known.status == UsageImportStatus.IMPORTED else "has been uploaded already"
    message = f"This very file {words}, on {known.created_at:%Y-%m-%d} as import {known.pk}. Nothing was changed."
    raise ValidationError({"file": message})


_ENDED_WITHOUT_RECORDS = (UsageImportStatus.FAILED, UsageImportStatus.DISCARDED, UsageImportStatus.UNDONE)


def _plain_name(file_name: str) -> str:
    """Return a file's name without its folders and without characters that a page cannot show."""
    name = file_name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:255] or "usage"


def confirm_import(found: UsageImport, *, leave_bad_rows_out: bool) -> None:
    """Import a checked file: all of its rows, or the good ones; raises ValidationError when it cannot be."""
    if found.bad_rows and not leave_bad_rows_out:
        raise ValidationError(
            f"{found.bad_rows:,} rows are bad. Leave them out, or correct the file and upload it again."
        )
    if not found.good_rows:
        raise ValidationError("No row of the file can be imported. Correct it and upload it again.")
    moved = UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.CHECKED).update(
        status=UsageImportStatus.IMPORTING, leave_bad_rows_out=leave_bad_rows_out, bytes_done=0
    )
    if not moved:
        raise ValidationError(_moved_on(found))
    ring_import(found.pk)


def discard_import(found: UsageImport) -> None:
    """Drop an uploaded file that is not imported; nothing else changes."""
    with transaction.atomic():
        moved = UsageImport.objects.filter(
            pk=found.pk,
            status__in=[UsageImportStatus.UPLOADED, UsageImportStatus.CHECKING, UsageImportStatus.CHECKED],
        ).update(status=UsageImportStatus.DISCARDED, finished_at=timezone.now())
        if not moved:
            raise ValidationError(_moved_on(found))
        UsageFilePart.objects.filter(usage_import=found).delete()


def undo_import(found: UsageImport) -> None:
    """Have all records of an import removed; raises ValidationError once any of them is Processed."""
    processed = UsageSlice.objects.filter(usage_import=found, rated__isnull=False)
    if processed.exists():
        raise ValidationError(
            "Some of its usage is Processed, so the import stays. Cancel the draft invoices that bill it first;"
            " what is posted needs an adjustment."
        )
    moved = UsageImport.objects.filter(pk=found.pk, status=UsageImportStatus.IMPORTED).update(
        status=UsageImportStatus.UNDOING, attempts=0, error=""
    )
    if not moved:
        raise ValidationError(_moved_on(found))
    ring_import(found.pk)


def _moved_on(found: UsageImport) -> str:
    found.refresh_from_db(fields=["status"])
    return f"This import is {found.get_status_display().lower()} now. Nothing was changed; open the page again."


def import_file(
    *,
    chunks: Iterable[bytes],
    file_name: str,
    leave_bad_rows_out: bool,
    dry_run: bool,
    source: UsageSource = UsageSource.COMMAND,
) -> UsageImport:
    """Check a file and import it at once, in this process; a dry run only checks and keeps nothing but its report.

    Raises ValidationError as `upload_file` does.
    """
    found = upload_file(
        chunks=chunks,
        file_name=file_name,
        user_id=None,
        source=source,
        leave_bad_rows_out=leave_bad_rows_out,
    )
    advance(found.pk)
    found.refresh_from_db()
    if found.status != UsageImportStatus.CHECKED:
        return found
    if dry_run or not found.good_rows or (found.bad_rows and not leave_bad_rows_out):
        discard_import(found)
    else:
        confirm_import(found, leave_bad_rows_out=leave_bad_rows_out)
        advance(found.pk)
    found.refresh_from_db()
    return found


# --- Records ----------------------------------------------------------------------------------------------------------


class NewRecord(NamedTuple):
    """A record as the API sends it: texts like the cells of a file, empty where nothing was sent."""

    account_id: str
    uom: str
    qty: str
    startdate: str
    enddate: str = ""
    subscription_id: str = ""
    charge_id: str = ""
    description: str = ""
    unique_key: str = ""


def create_records(records: Sequence[NewRecord], *, user_id: int | None) -> UsageImport:
    """Take records at once, all or none: counted from 1, as the lines of a file would be.

    Raises BadRowsError with everything that is wrong; then nothing was written.
    """
    with transaction.atomic():
        found = UsageImport.objects.create(
            source=UsageSource.API, status=UsageImportStatus.IMPORTED, created_by_id=user_id, finished_at=timezone.now()
        )
        rows: list[Row] = list(enumerate(records, start=1))
        columns = {name: place for place, name in enumerate(COLUMNS)}
        duplicates = list(find_duplicates(rows, columns=columns))
        intake = Intake(found.pk, columns=columns, write=True, left_out=frozenset(row.line for row in duplicates))
        intake.report(duplicates)
        intake.take(rows)
        if intake.bad:
            raise BadRowsError(_bad_rows(found))
        UsageImport.objects.filter(pk=found.pk).update(
            rows=intake.good,
            good_rows=intake.good,
            first_day=intake.first_day,
            last_day=intake.last_day,
            quantities={unit: f"{total:f}" for unit, total in sorted(intake.quantities.items())},
        )
    found.refresh_from_db()
    return found


def _bad_rows(found: UsageImport) -> list[BadRow]:
    errors = UsageImportError.objects.filter(usage_import=found).values_list(
        "line", "column", "value", "code", "message"
    )
    return [
        BadRow(line, tuple(Flaw(*flaw[1:]) for flaw in flaws)) for line, flaws in groupby(errors, key=itemgetter(0))
    ]


_LOCK_OWNER = """
SELECT a.id FROM accounts_account a WHERE a.id = (
    SELECT s.invoice_owner_id FROM billing_rateplancharge c JOIN billing_subscription s ON s.id = c.subscription_id WHERE c.id = %s
) FOR NO KEY UPDATE
"""
_TAKE_SLICE_ID = "SELECT nextval('usage_usageslice_id_seq')"


class RecordChange(NamedTuple):
    """New values of a pending record, as texts; None keeps what is there."""

    qty: str | None = None
    startdate: str | None = None
    enddate: str | None = None
    description: str | None = None


def pending_record(record_id: int) -> UsageRecord:
    """Return a record that may be changed, locked with its slice; raises ValidationError if it is Processed."""
    record = UsageRecord.objects.select_related("slice__account", "slice__charge__subscription").get(pk=record_id)
    with connection.cursor() as cursor:
        # A run that is pricing it right now is waited for.
        cursor.execute(_LOCK_OWNER, [record.slice.charge_id])
    locked = UsageRecord.objects.select_related("slice__account", "slice__charge__subscription")
    record = locked.select_for_update(of=("self", "slice")).get(pk=record_id)
    if record.slice.rated_id is not None:
        raise ValidationError(
            "This usage is Processed: it is on an invoice and cannot be changed. Nothing was changed."
        )
    return record


def change_record(record_id: int, change: RecordChange) -> UsageRecord:
    """Change a pending record; it stays with its charge, which must run on its new day.

    Raises ValidationError by field when a value cannot be, or when the record is Processed.
    """
    with transaction.atomic():
        record = pending_record(record_id)
        values = _values(record, change)
        slice_ = record.slice
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_SLICE_ID)
            new_id = cursor.fetchone()[0]
        # A day of another period belongs to another slice: a changed record always gets one of its own.
        UsageRecord.objects.filter(pk=record.pk).update(slice_id=new_id, **values)
        UsageSlice.objects.create(
            pk=new_id,
            usage_import_id=slice_.usage_import_id,
            account_id=slice_.account_id,
            charge_id=slice_.charge_id,
            first_day=values["start_date"],
            last_day=values["start_date"],
            quantity=values["quantity"],
            records=1,
        )
    return UsageRecord.objects.get(pk=record.pk)


def _values(record: UsageRecord, change: RecordChange) -> dict[str, Any]:
    """Return the columns of a changed record, checked as a row of a file is."""
    cells = {
        "QTY": f"{record.quantity:f}" if change.qty is None else change.qty.strip(),
        "STARTDATE": record.start_date.isoformat() if change.startdate is None else change.startdate.strip(),
        "ENDDATE": (record.end_date.isoformat() if record.end_date else "")
        if change.enddate is None
        else change.enddate.strip(),
        "DESCRIPTION": record.description if change.description is None else change.description.strip(),
    }
    read: dict[str, Any] = {}
    flaws: dict[str, str] = {}
    for column, text in cells.items():
        try:
            read[column] = _READERS[column](text) if text or column != "ENDDATE" else None
        except CellError as error:
            flaws[column.lower()] = error.message
    start, end = read.get("STARTDATE"), read.get("ENDDATE")
    if start and end and end < start:
        flaws["enddate"] = f"The end lies before the start, {start}."
    if start:
        charge = record.slice.charge
        known = UsageCharges()
        number = charge.subscription.account.number
        known.learn([number])
        account = known.get(number)
        assert account is not None  # its charge is there
        found = match(account, unit=charge.unit, day=start, charge=charge.number)
        if isinstance(found, Flaw):
            flaws[found.column.lower()] = found.message
    if flaws:
        raise ValidationError(flaws)
    return {"quantity": read["QTY"], "start_date": start, "end_date": end, "description": read["DESCRIPTION"]}


_READERS: dict[str, Callable[[str], Any]] = {
    "QTY": quantity_of,
    "STARTDATE": day_of,
    "ENDDATE": day_of,
    "DESCRIPTION": partial(text_of, what="description", longest=LONGEST_DESCRIPTION),
}


def delete_record(record_id: int) -> None:
    """Remove a pending record; raises ValidationError if it is Processed."""
    with transaction.atomic():
        pending_record(record_id)
        UsageRecord.objects.filter(pk=record_id).delete()
