"""Bill runs: what to bill, the work list of accounts in chunks, and the outcome of each account (D6, D7)."""

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from accounts.guards import refusal
from accounts.models import Account, BillingBatch
from billing.core.types import ChargeType
from billing.models.terms import choices_of


class BillRunStatus(models.TextChoices):
    PENDING = "Pending", "Pending"
    PROCESSING = "Processing", "Processing"
    COMPLETED = "Completed", "Completed"
    ERROR = "Error", "Error"
    POST_IN_PROGRESS = "PostInProgress", "Post in progress"
    POSTED = "Posted", "Posted"
    CANCEL_IN_PROGRESS = "CancelInProgress", "Cancel in progress"
    CANCELED = "Canceled", "Canceled"


# Every move a run may make (domain.md 4.2); the trigger below refuses all others.
RUN_MOVES: tuple[tuple[BillRunStatus, BillRunStatus], ...] = (
    (BillRunStatus.PENDING, BillRunStatus.PROCESSING),
    (BillRunStatus.PENDING, BillRunStatus.CANCELED),
    (BillRunStatus.PROCESSING, BillRunStatus.COMPLETED),
    (BillRunStatus.PROCESSING, BillRunStatus.ERROR),
    (BillRunStatus.PROCESSING, BillRunStatus.CANCEL_IN_PROGRESS),
    (BillRunStatus.COMPLETED, BillRunStatus.PROCESSING),
    (BillRunStatus.COMPLETED, BillRunStatus.POST_IN_PROGRESS),
    (BillRunStatus.COMPLETED, BillRunStatus.CANCEL_IN_PROGRESS),
    (BillRunStatus.POST_IN_PROGRESS, BillRunStatus.POSTED),
    (BillRunStatus.POST_IN_PROGRESS, BillRunStatus.COMPLETED),
    (BillRunStatus.CANCEL_IN_PROGRESS, BillRunStatus.CANCELED),
    (BillRunStatus.ERROR, BillRunStatus.PROCESSING),
    (BillRunStatus.ERROR, BillRunStatus.CANCEL_IN_PROGRESS),
)


class BillRunScope(models.TextChoices):
    ALL = "All", "All accounts"
    BATCHES = "Batches", "Chosen batches"
    ACCOUNTS = "Accounts", "Chosen accounts"


class ScheduleFrequency(models.TextChoices):
    DAILY = "Daily", "Every day"
    WEEKLY = "Weekly", "Every week"
    MONTHLY = "Monthly", "Every month"


class BillRunSchedule(models.Model):
    """A bill run that repeats; the sweeper starts one run for each slot (I16)."""

    name = models.CharField(max_length=100)
    frequency = models.CharField(max_length=7, choices=ScheduleFrequency, default=ScheduleFrequency.DAILY)
    hour = models.PositiveSmallIntegerField(default=0, help_text="Hour of the day in the tenant's time zone.")
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True, help_text="First day on which it no longer runs.")
    active = models.BooleanField(default=True)
    next_slot = models.DateTimeField(null=True, blank=True, editable=False)
    batches = models.ManyToManyField(BillingBatch, blank=True, help_text="None: all accounts.")
    auto_post = models.BooleanField(default=False)
    auto_email = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]
        verbose_name = "scheduled bill run"
        constraints = [
            models.CheckConstraint(
                name="i16_schedule_sane", condition=Q(hour__lte=23) & Q(frequency__in=ScheduleFrequency.values)
            ),
            models.CheckConstraint(
                name="i16_schedule_email_after_post",
                condition=Q(auto_post=True) | Q(auto_email=False),
                violation_error_message="E-mailing by itself needs posting by itself.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BillRun(models.Model):
    """One pass over a set of accounts up to a target date; it makes draft invoices."""

    number = models.CharField(max_length=50, unique=True)
    name = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=16, choices=BillRunStatus, default=BillRunStatus.PENDING)
    has_errors = models.BooleanField(default=False)
    scope = models.CharField(max_length=8, choices=BillRunScope, default=BillRunScope.ALL)
    batches = models.ManyToManyField(BillingBatch, blank=True)
    accounts = models.ManyToManyField(Account, blank=True)
    bill_cycle_day = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Only accounts with this bill cycle day."
    )
    target_date = models.DateField(help_text="Bill everything due up to this day.")
    invoice_date = models.DateField()
    excluded_charge_types = ArrayField(
        models.CharField(max_length=9, choices=choices_of(ChargeType)), default=list, blank=True
    )
    auto_post = models.BooleanField(default=False)
    auto_email = models.BooleanField(default=False)
    auto_renew = models.BooleanField(
        default=True, db_default=True, help_text="Renew subscriptions whose term has ended by the target date."
    )
    email_zero_totals = models.BooleanField(default=True)
    schedule = models.ForeignKey(BillRunSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    slot = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    posted_at = models.DateTimeField(null=True, blank=True)
    posted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Written once by the last step, so that lists and the dashboard need not count again.
    accounts_total = models.PositiveIntegerField(default=0)
    accounts_billed = models.PositiveIntegerField(default=0)
    accounts_failed = models.PositiveIntegerField(default=0)
    invoice_count = models.PositiveIntegerField(default=0)
    totals = models.JSONField(default=dict, help_text="Draft total per currency, as text.")
    audit = models.JSONField(default=list, help_text="What the audit at the end found wrong; empty when nothing.")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("post_billrun", "Can post bill runs"), ("cancel_billrun", "Can cancel bill runs")]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "slot"], condition=Q(schedule__isnull=False), name="i16_one_run_per_slot"
            ),
            models.CheckConstraint(
                name="i16_slot_with_schedule",
                condition=Q(schedule__isnull=True, slot__isnull=True) | Q(schedule__isnull=False, slot__isnull=False),
            ),
            models.CheckConstraint(
                name="bill_run_words_known", condition=Q(status__in=BillRunStatus.values, scope__in=BillRunScope.values)
            ),
            models.CheckConstraint(
                name="bill_run_email_after_post",
                condition=Q(auto_post=True) | Q(auto_email=False),
                violation_error_message="E-mailing by itself needs posting by itself.",
            ),
        ]
        indexes = [
            models.Index(fields=["status"], name="bill_run_status", condition=~Q(status__in=["Posted", "Canceled"]))
        ]
        triggers = [
            pgtrigger.Trigger(
                name="i11_run_starts_pending",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.status <> 'Pending'"),
                func=refusal("A bill run begins as Pending, not as %", "NEW.status"),
            ),
            pgtrigger.Trigger(
                name="i11_run_legal_states",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.status <> NEW.status"),
                func="IF (OLD.status, NEW.status) NOT IN ("
                + ", ".join(f"('{old.value}', '{new.value}')" for old, new in RUN_MOVES)
                + f") THEN {refusal('Bill run % cannot go from % to %', 'OLD.number', 'OLD.status', 'NEW.status')} END IF; RETURN NEW;",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("admin:invoicing_billrun_object", args=[self.pk])


class ChunkState(models.TextChoices):
    PENDING = "Pending", "Pending"
    DONE = "Done", "Done"
    HALVED = "Halved", "Halved"


class BillRunChunk(models.Model):
    """A part of a run's accounts that one worker bills in one transaction.

    A claim is a session advisory lock on the chunk, held from claim to commit: a dead worker's claim frees
    itself. `attempts` is committed before the work begins, so that a chunk that kills its worker is counted.
    """

    run = models.ForeignKey(BillRun, on_delete=models.CASCADE, related_name="chunks")
    state = models.CharField(max_length=7, choices=ChunkState, default=ChunkState.PENDING)
    accounts = models.PositiveIntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    invoices = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    billed = models.PositiveIntegerField(default=0)
    totals = models.JSONField(default=dict)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["run", "id"]
        constraints = [models.CheckConstraint(name="i7_chunk_state_known", condition=Q(state__in=ChunkState.values))]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.pk} {self.state}"


class AccountOutcome(models.TextChoices):
    PENDING = "Pending", "Waiting"
    BILLED = "Billed", "Billed"
    NOTHING_DUE = "NothingDue", "Nothing due"
    SKIPPED = "Skipped", "Skipped"
    FAILED = "Failed", "Failed"


class BillRunAccount(models.Model):
    """What a run did for one account: its place in the queue and, in the end, its outcome (I6, I13).

    The rows are inserted by a statement of the very run that they name, so the database need not look it up again
    for each of them.
    """

    run = models.ForeignKey(
        BillRun, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="account_outcomes"
    )
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    chunk = models.ForeignKey(BillRunChunk, null=True, on_delete=models.CASCADE, related_name="account_rows")
    outcome = models.CharField(max_length=10, choices=AccountOutcome, default=AccountOutcome.PENDING)
    invoices = models.PositiveIntegerField(default=0)
    items = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    hint = models.TextField(blank=True)

    class Meta:
        ordering = ["run", "account"]
        verbose_name = "bill run account"
        constraints = [
            models.UniqueConstraint(fields=["run", "account"], name="i6_account_once_a_run"),
            models.CheckConstraint(name="i13_outcome_known", condition=Q(outcome__in=AccountOutcome.values)),
            models.CheckConstraint(
                name="i13_failure_has_reason", condition=~Q(outcome=AccountOutcome.FAILED) | ~Q(message="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.outcome}"
