"""Usage imports: one upload of usage, by file or through the API, with what was wrong in it (domain.md 6.1, 6.2)."""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from accounts.guards import refusal


class UsageSource(models.TextChoices):
    FILE = "File", "File"
    COMMAND = "Command", "Command line"
    API = "Api", "API"


class UsageImportStatus(models.TextChoices):
    UPLOADED = "Uploaded", "Uploaded"
    CHECKING = "Checking", "Checking"
    CHECKED = "Checked", "Checked"
    IMPORTING = "Importing", "Importing"
    IMPORTED = "Imported", "Imported"
    FAILED = "Failed", "Failed"
    DISCARDED = "Discarded", "Discarded"
    UNDOING = "Undoing", "Undoing"
    UNDONE = "Undone", "Undone"


# Every move an import may make; the trigger below refuses all others.
IMPORT_MOVES = (
    ("Uploaded", "Checking"),
    ("Checking", "Checked"),
    ("Checked", "Importing"),
    ("Importing", "Imported"),
    ("Imported", "Undoing"),
    ("Undoing", "Undone"),
    ("Undoing", "Imported"),
    ("Uploaded", "Failed"),
    ("Checking", "Failed"),
    ("Checked", "Failed"),
    ("Importing", "Failed"),
    ("Uploaded", "Discarded"),
    ("Checking", "Discarded"),
    ("Checked", "Discarded"),
)
_MOVES = ", ".join(f"('{before}', '{after}')" for before, after in IMPORT_MOVES)
# An import that ended without records does not keep its file from being uploaded again.
_WITHOUT_RECORDS = ["Failed", "Discarded", "Undone"]


class UsageImport(models.Model):
    """One upload. Rows are counted without the header; `quantities` holds the sum of each unit as text."""

    source = models.CharField(max_length=7, choices=UsageSource)
    status = models.CharField(max_length=9, choices=UsageImportStatus, default=UsageImportStatus.UPLOADED)
    file_name = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes of the file as it was uploaded.")
    sha256 = models.CharField(
        "SHA-256", max_length=64, blank=True, help_text="Of the file's bytes; empty for API calls."
    )
    leave_bad_rows_out = models.BooleanField(default=False, help_text="Off: one bad row keeps all others out.")
    rows = models.PositiveIntegerField(default=0)
    good_rows = models.PositiveIntegerField(default=0)
    bad_rows = models.PositiveIntegerField(default=0)
    bytes_done = models.PositiveBigIntegerField(default=0, help_text="How far the current step has come.")
    first_day = models.DateField(null=True, blank=True)
    last_day = models.DateField(null=True, blank=True)
    quantities = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True, help_text="Why the whole file was refused, in words.")
    attempts = models.PositiveSmallIntegerField(default=0)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("import_usage", "Can import usage and undo imports")]
        constraints = [
            models.UniqueConstraint(
                fields=["sha256"],
                condition=~Q(sha256="") & ~Q(status__in=_WITHOUT_RECORDS),
                name="i5_file_once",
                violation_error_message="This file has been imported already.",
            ),
            models.CheckConstraint(
                name="i5_import_known",
                condition=Q(status__in=UsageImportStatus.values, source__in=UsageSource.values)
                & Q(rows__gte=0, good_rows__gte=0, bad_rows__gte=0),
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="i11_import_legal_states",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    f"OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN ({_MOVES})"
                ),
                func=refusal("A usage import cannot go from % to %", "OLD.status", "NEW.status"),
            ),
        ]

    def __str__(self) -> str:
        return self.file_name or f"{self.get_source_display()} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("admin:usage_usageimport_object", args=[self.pk])


class UsageFilePart(models.Model):
    """A piece of an uploaded file, in order: workers on any host can read it. It goes when the import has ended."""

    usage_import = models.ForeignKey(UsageImport, on_delete=models.CASCADE, db_index=False, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ["usage_import", "number"]
        constraints = [models.UniqueConstraint(fields=["usage_import", "number"], name="i5_file_part_once")]

    def __str__(self) -> str:
        return f"part {self.number}"


class UsageImportError(models.Model):
    """What is wrong with one row of an upload: `line` counts from the header, which is line 1."""

    usage_import = models.ForeignKey(UsageImport, on_delete=models.CASCADE, db_index=False, related_name="errors")
    line = models.PositiveIntegerField()
    column = models.CharField(max_length=40, blank=True)
    value = models.CharField(max_length=200, blank=True)
    code = models.CharField(max_length=40)
    message = models.TextField()

    class Meta:
        ordering = ["usage_import", "line", "id"]
        indexes = [models.Index(fields=["usage_import", "line"], name="usage_error_line")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"
