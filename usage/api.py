"""REST endpoints of usage: records one by one and in batches, while they are pending, and whole files."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, File, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import StringConstraints

from accounts.api import account_filter
from accounts.api_tokens import Scope
from accounts.cursors import DEFAULT_LIMIT, Cursor, Limit, Page, page_of
from accounts.idempotency import idempotent
from accounts.problems import FieldError, Problem
from accounts.rest import LINE, Amount, Number, SentQuantity, requires
from usage.cells import LONGEST_DESCRIPTION, LONGEST_KEY
from usage.models import UsageImport, UsageImportError, UsageRecord, UsageSource
from usage.queries import records_by_status
from usage.services import (
    MOST_RECORDS_A_CALL,
    BadRowsError,
    NewRecord,
    RecordChange,
    change_record,
    create_records,
    delete_record,
    upload_file,
)

router = Router(tags=["Usage"])
BELONGS_TO = ("slice__account", "slice__charge__subscription")
MOST_IDS = 2**63 - 1

Line = Annotated[str, StringConstraints(pattern=LINE, max_length=LONGEST_DESCRIPTION)]
Key = Annotated[str, StringConstraints(pattern=LINE, max_length=LONGEST_KEY)]
Unit = Annotated[str, StringConstraints(pattern=LINE, max_length=30)]
RecordId = Annotated[int, Field(ge=1, le=MOST_IDS)]


class UsageStatus(StrEnum):
    """Whether usage is on an invoice; late usage is pending, of days that were billed before."""

    PENDING = "pending"
    PROCESSED = "processed"
    LATE = "late"


class BadRows(StrEnum):
    """What becomes of a file with bad rows: none of it is imported, or its good rows are."""

    REFUSE = "refuse"
    LEAVE_OUT = "leave_out"


class NewUsage(Schema):
    """Usage of an account: how much of which unit, from which day on. The day decides the billing period.

    Where several charges of the account count the unit on that day, say which by `charge` or `subscription`.
    """

    account: Number
    unit: Unit
    quantity: SentQuantity
    start_date: date
    end_date: date | None = None
    subscription: Number | None = None
    charge: Number | None = None
    description: Line | None = None
    unique_key: Key | None = Field(None, description="Your own id of the record: the same one is never taken twice.")

    def as_row(self) -> NewRecord:
        """Return the record as the row of a file."""
        return NewRecord(
            self.account,
            self.unit,
            f"{self.quantity:f}",
            self.start_date.isoformat(),
            self.end_date.isoformat() if self.end_date else "",
            self.subscription or "",
            self.charge or "",
            self.description or "",
            self.unique_key or "",
        )


class UsageChange(Schema):
    """New values of a pending record; what is left out stays as it is."""

    quantity: SentQuantity | None = None
    start_date: date | None = None
    end_date: date | None = None
    description: Line | None = None

    def as_change(self) -> RecordChange:
        """Return the values as texts; an end date or a description of null is removed."""
        sent = self.model_fields_set
        return RecordChange(
            None if self.quantity is None else f"{self.quantity:f}",
            None if self.start_date is None else self.start_date.isoformat(),
            (self.end_date.isoformat() if self.end_date else "") if "end_date" in sent else None,
            (self.description or "") if "description" in sent else None,
        )


class Usage(Schema):
    """A usage record with the charge that bills it; `is_processed` once it is on an invoice."""

    id: int
    account: str
    subscription: str
    charge: str
    unit: str
    quantity: Amount
    start_date: date
    end_date: date | None
    description: str
    unique_key: str | None
    is_processed: bool
    import_id: int

    @staticmethod
    def resolve_account(record: UsageRecord) -> str:
        return record.slice.account.number

    @staticmethod
    def resolve_subscription(record: UsageRecord) -> str:
        return record.slice.charge.subscription.number

    @staticmethod
    def resolve_charge(record: UsageRecord) -> str:
        return record.slice.charge.number

    @staticmethod
    def resolve_unit(record: UsageRecord) -> str:
        return record.slice.charge.unit

    @staticmethod
    def resolve_is_processed(record: UsageRecord) -> bool:
        return record.slice.rated_id is not None

    @staticmethod
    def resolve_import_id(record: UsageRecord) -> int:
        return record.slice.usage_import_id


class NewUsages(Schema):
    """Records that are taken together: all of them, or none."""

    records: Annotated[list[NewUsage], Field(min_length=1, max_length=MOST_RECORDS_A_CALL)]


class TakenUsages(Schema):
    """What was taken: list it with `import_id`."""

    import_id: int
    records: int


class Import(Schema):
    """An upload of usage and how far it is; rows are counted without the header."""

    id: int
    status: str
    source: str
    file_name: str
    size: int
    rows: int
    good_rows: int
    bad_rows: int
    first_day: date | None
    last_day: date | None
    quantities: dict[str, str]
    error: str
    created_at: datetime
    finished_at: datetime | None


class ImportError(Schema):  # noqa: A001 - the word of the page
    """What is wrong with one cell of a file; the header is line 1."""

    line: int
    column: str
    value: str
    code: str
    message: str


def _records() -> QuerySet[UsageRecord]:
    return UsageRecord.objects.select_related(*BELONGS_TO)


def _record(pk: int) -> UsageRecord:
    found = _records().filter(pk=pk).first()
    if found is None:
        raise Problem(404, f"There is no usage record {pk}. Nothing was changed.")
    return found


def _import(pk: int) -> UsageImport:
    found = UsageImport.objects.filter(pk=pk).first()
    if found is None:
        raise Problem(404, f"There is no usage import {pk}. Nothing was changed.")
    return found


_FIELDS = {
    "ACCOUNT_ID": "account",
    "UOM": "unit",
    "QTY": "quantity",
    "STARTDATE": "start_date",
    "ENDDATE": "end_date",
    "SUBSCRIPTION_ID": "subscription",
    "CHARGE_ID": "charge",
    "DESCRIPTION": "description",
    "UNIQUE_KEY": "unique_key",
}


def _taken(rows: list[NewUsage], *, path: str) -> UsageImport:
    """Take records, all or none; `path` is where in the body they stand, for what is wrong with them."""
    try:
        return create_records([row.as_row() for row in rows], user_id=None)
    except BadRowsError as error:
        errors = [
            FieldError(path.format(row.line - 1) + _FIELDS.get(flaw.column, flaw.column), flaw.message)
            for row in error.rows
            for flaw in row.flaws
        ]
        raise _conflict(errors) from error


def _conflict(errors: list[FieldError]) -> Problem:
    """Return the answer to what is well-formed, but does not fit what is stored: unknown accounts, keys taken before."""
    return Problem(
        409, "Some values do not fit what is stored; “errors” names each of them. Nothing was changed.", errors=errors
    )


@router.post("/usage", auth=requires(Scope.USAGE_WRITE), response={201: Usage})
@idempotent
def record_usage(request: HttpRequest, usage: NewUsage) -> Status:
    """Take one record; it is pending until a bill run bills its period."""
    taken = _taken([usage], path="")
    return Status(201, Usage.from_orm(_records().get(slice__usage_import=taken)))


@router.post("/usage/batch", auth=requires(Scope.USAGE_WRITE), response={201: TakenUsages})
@idempotent
def record_usages(request: HttpRequest, usages: NewUsages) -> Status:
    """Take up to 10,000 records at once, all or none."""
    taken = _taken(usages.records, path="records[{}].")
    return Status(201, TakenUsages(import_id=taken.pk, records=taken.good_rows))


@router.get("/usage", auth=requires(Scope.USAGE_READ), response=Page[Usage])
def list_usage(
    request: HttpRequest,
    account: Number | None = None,
    charge: Number | None = None,
    import_id: Annotated[int | None, Query(ge=1, le=MOST_IDS)] = None,
    status: UsageStatus | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List usage, oldest first; `account` is the account that used it."""
    wanted: dict[str, Any] = {f"slice__{key}": value for key, value in account_filter(account).items()}
    if charge is not None:
        wanted["slice__charge__number"] = charge
    if import_id is not None:
        wanted["slice__usage_import"] = import_id
    return page_of(records_by_status(_records().filter(**wanted), status or ""), cursor=cursor, limit=limit)


@router.get("/usage/{int:record_id}", auth=requires(Scope.USAGE_READ), response=Usage)
def get_usage(request: HttpRequest, record_id: RecordId) -> UsageRecord:
    """Return one record."""
    return _record(record_id)


@router.patch("/usage/{int:record_id}", auth=requires(Scope.USAGE_WRITE), response=Usage)
def change_usage(request: HttpRequest, record_id: RecordId, change: UsageChange) -> UsageRecord:
    """Change a pending record; it stays with its charge. A processed one is refused with 409."""
    _refuse_processed(_record(record_id))
    try:
        change_record(record_id, change.as_change())
    except ValidationError as error:
        if not hasattr(error, "error_dict"):
            raise Problem(409, " ".join(error.messages)) from error
        by_field = error.message_dict.items()
        errors = [FieldError(_FIELDS.get(name.upper(), name), text) for name, texts in by_field for text in texts]
        raise _conflict(errors) from error
    return _record(record_id)


@router.delete("/usage/{int:record_id}", auth=requires(Scope.USAGE_WRITE), response={204: None})
def remove_usage(request: HttpRequest, record_id: RecordId) -> Status:
    """Remove a pending record. A processed one is refused with 409."""
    _refuse_processed(_record(record_id))
    try:
        delete_record(record_id)
    except ValidationError as error:
        # A run has billed it in this very moment.
        raise Problem(409, " ".join(error.messages)) from error
    return Status(204, None)


def _refuse_processed(record: UsageRecord) -> None:
    if record.slice.rated_id is not None:
        raise Problem(409, f"Usage record {record.pk} is Processed: it is on an invoice. Nothing was changed.")


@router.post("/usage/imports", auth=requires(Scope.USAGE_WRITE), response={202: Import})
@idempotent
def upload_usage(request: HttpRequest, file: UploadedFile = File(...), bad_rows: BadRows = BadRows.REFUSE) -> Status:  # noqa: B008
    """Upload a CSV file (also compressed with gzip) or an Excel workbook; it is checked and imported in the background."""
    try:
        found = upload_file(
            chunks=file.chunks(),
            file_name=file.name or "",
            user_id=None,
            source=UsageSource.API,
            leave_bad_rows_out=bad_rows is BadRows.LEAVE_OUT,
        )
    except ValidationError as error:
        raise _conflict([FieldError("file", text) for text in error.messages]) from error
    found.refresh_from_db()
    return Status(202, Import.from_orm(found))


@router.get("/usage/imports", auth=requires(Scope.USAGE_READ), response=Page[Import])
def list_usage_imports(request: HttpRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> dict[str, Any]:
    """List uploads of usage, oldest first."""
    return page_of(UsageImport.objects.all(), cursor=cursor, limit=limit)


@router.get("/usage/imports/{int:import_id}", auth=requires(Scope.USAGE_READ), response=Import)
def get_usage_import(request: HttpRequest, import_id: RecordId) -> UsageImport:
    """Return an upload: how far it is, and what became of its rows."""
    return _import(import_id)


@router.get("/usage/imports/{int:import_id}/errors", auth=requires(Scope.USAGE_READ), response=Page[ImportError])
def list_usage_import_errors(
    request: HttpRequest, import_id: RecordId, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> dict[str, Any]:
    """List what is wrong in an upload, cell by cell."""
    return page_of(UsageImportError.objects.filter(usage_import=_import(import_id)), cursor=cursor, limit=limit)
