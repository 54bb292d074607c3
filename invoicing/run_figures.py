"""What pages say about a bill run: its scope in words, how far it has come, and what became of its invoices."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import Count, Prefetch, Q, QuerySet

from accounts.models import Account
from invoicing.models import AccountOutcome, BillRun, BillRunScope, BillRunStatus, InvoiceStatus

ACTIVE = (
    BillRunStatus.PENDING,
    BillRunStatus.PROCESSING,
    BillRunStatus.POST_IN_PROGRESS,
    BillRunStatus.CANCEL_IN_PROGRESS,
)
# Statuses in which a failed account may still be billed by the same run.
RETRYABLE = (BillRunStatus.COMPLETED, BillRunStatus.ERROR)
ACCOUNTS_NAMED = 3
# The pace of the last half minute says more about the next one than the average since the start does.
PACE_SECONDS = 30
ESTIMATE_AFTER = timedelta(seconds=5)
STALLED_AFTER = timedelta(seconds=60)
# Counting a run's invoices by status stays out of the way of pages up to here; beyond it the run's own figures serve.
COUNTED_INVOICES = 10_000


def displayed_runs() -> QuerySet[BillRun]:
    """Return the runs with everything a line about them names, newest first."""
    some_accounts = Prefetch(
        "accounts", queryset=Account.objects.order_by("number")[: ACCOUNTS_NAMED + 1], to_attr="named_accounts"
    )
    return BillRun.objects.select_related("created_by", "schedule").prefetch_related("batches", some_accounts)


def scope_in_words(run: BillRun) -> str:
    """Return which accounts one of `displayed_runs` bills: “Batch1 · Enterprise”, “A00000001 Initech”, “All accounts, bill cycle day 15”."""
    if run.scope == BillRunScope.BATCHES:
        words = ", ".join(str(batch) for batch in run.batches.all())
    elif run.scope == BillRunScope.ACCOUNTS:
        named = [str(account) for account in run.named_accounts]  # type: ignore[attr-defined]
        words = ", ".join(named[:ACCOUNTS_NAMED]) + (" and more" if len(named) > ACCOUNTS_NAMED else "")
    else:
        words = "All accounts"
    return f"{words}, bill cycle day {run.bill_cycle_day}" if run.bill_cycle_day else words


def totals_of(run: BillRun) -> dict[str, Decimal]:
    """Return the totals per currency that a finished run carries."""
    return {currency: Decimal(amount) for currency, amount in run.totals.items()}


class RunProgress(NamedTuple):
    """How far a working run is: `unit` says what is counted; a pace, an end or a last sign may not be known yet."""

    done: int
    total: int
    unit: str
    invoices: int
    failed: int
    totals: dict[str, Decimal]
    per_second: Decimal | None = None
    elapsed: timedelta | None = None
    remaining: timedelta | None = None
    last_sign: datetime | None = None
    silent: timedelta | None = None

    @property
    def percent(self) -> int:
        return self.done * 100 // self.total if self.total else 0

    @property
    def is_checked(self) -> bool:
        """Tell whether every account is done, so that only the audit is left."""
        return self.unit == "accounts" and self.done >= self.total

    @property
    def is_stalled(self) -> bool:
        return self.silent is not None and self.silent > STALLED_AFTER


_BILLING = """
SELECT coalesce(sum(c.accounts) FILTER (WHERE c.state = 'Pending'), 0),
       coalesce(sum(c.accounts) FILTER (WHERE c.state = 'Done' AND c.finished_at > %(since)s), 0),
       coalesce(sum(c.accounts) FILTER (WHERE c.state = 'Done' AND c.finished_at > clock_timestamp() - make_interval(secs => %(pace)s)), 0),
       coalesce(sum(c.invoices) FILTER (WHERE c.state = 'Done'), 0),
       coalesce(sum(c.failed) FILTER (WHERE c.state = 'Done'), 0),
       min(c.claimed_at) FILTER (WHERE c.claimed_at > %(since)s),
       greatest(max(c.claimed_at), max(c.finished_at)),
       (SELECT coalesce(jsonb_object_agg(currency, amount), '{}')::text FROM (
           SELECT t.key AS currency, sum(t.value::numeric)::text AS amount
           FROM invoicing_billrunchunk d, jsonb_each_text(d.totals) t WHERE d.run_id = %(run)s AND d.state = 'Done' GROUP BY 1 ORDER BY 1) s),
       clock_timestamp()
FROM invoicing_billrunchunk c WHERE c.run_id = %(run)s
"""

_LOCKING = """
SELECT count(*) FILTER (WHERE status = %(goal)s), count(*) FILTER (WHERE status IN ('Draft', %(goal)s)),
       max(coalesce(posted_at, canceled_at)), clock_timestamp()
FROM invoicing_invoice WHERE bill_run_id = %(run)s
"""


def progress_of(run: BillRun) -> RunProgress:
    """Return how far a run in one of the ACTIVE statuses has come; one query, two while accounts are retried."""
    if run.status in (BillRunStatus.POST_IN_PROGRESS, BillRunStatus.CANCEL_IN_PROGRESS):
        return _locking_progress(run)
    # A run whose failed accounts are retried was finished before; its pace and time count from then on.
    since = run.finished_at or run.started_at or run.created_at
    with connection.cursor() as cursor:
        cursor.execute(_BILLING, {"run": run.pk, "since": since, "pace": PACE_SECONDS})
        pending, done_now, lately, invoices, failed, claimed, last_sign, totals, now = cursor.fetchone()
    began = since if run.finished_at is None else claimed or now
    elapsed = max(now - began, timedelta(0))
    elapsed -= timedelta(microseconds=elapsed.microseconds)
    pace = _pace(lately, done_now, elapsed)
    estimable = elapsed >= ESTIMATE_AFTER and pace
    if run.finished_at is not None:
        failed = run.account_outcomes.filter(outcome=AccountOutcome.FAILED).count()
    last_sign = last_sign or began
    return RunProgress(
        done=max(run.accounts_total - pending, 0),
        total=run.accounts_total,
        unit="accounts",
        invoices=invoices,
        failed=failed,
        totals={currency: Decimal(amount) for currency, amount in json.loads(totals).items()},
        per_second=pace,
        elapsed=elapsed,
        remaining=timedelta(seconds=int(pending / pace)) if estimable and pace else None,
        last_sign=last_sign,
        silent=now - last_sign,
    )


def _pace(lately: int, done: int, elapsed: timedelta) -> Decimal | None:
    """Return accounts a second over the last half minute, else since the beginning; None before the first is done."""
    seconds = Decimal(elapsed / timedelta(milliseconds=1)) / 1000
    if seconds < 1:
        return None
    if lately:
        return lately / min(seconds, Decimal(PACE_SECONDS))
    return done / seconds if done else None


def _locking_progress(run: BillRun) -> RunProgress:
    goal = InvoiceStatus.POSTED if run.status == BillRunStatus.POST_IN_PROGRESS else InvoiceStatus.CANCELED
    with connection.cursor() as cursor:
        cursor.execute(_LOCKING, {"run": run.pk, "goal": goal.value})
        done, total, last_sign, now = cursor.fetchone()
    return RunProgress(
        done=done,
        total=total,
        unit="invoices",
        invoices=run.invoice_count or total,
        failed=run.accounts_failed,
        totals=totals_of(run),
        last_sign=last_sign,
        silent=now - last_sign if last_sign else None,
    )


class InvoiceCounts(NamedTuple):
    """What became of a run's invoices, canceled ones left out; None where a large run is not counted."""

    drafts: int
    posted: int
    zero_totals: int | None

    @property
    def total(self) -> int:
        return self.drafts + self.posted

    @property
    def percent_posted(self) -> int:
        return self.posted * 100 // self.total if self.total else 0


def invoice_counts(run: BillRun) -> InvoiceCounts:
    """Return the run's invoices by status, counted up to COUNTED_INVOICES, else as the run's status implies."""
    if run.invoice_count > COUNTED_INVOICES:
        posted = run.invoice_count if run.status == BillRunStatus.POSTED else 0
        drafts = run.invoice_count if run.status in RETRYABLE else 0
        return InvoiceCounts(drafts, posted, None)
    alive = Q(status__in=[InvoiceStatus.DRAFT, InvoiceStatus.POSTED])
    return InvoiceCounts(
        **run.invoices.aggregate(
            drafts=Count("pk", filter=Q(status=InvoiceStatus.DRAFT)),
            posted=Count("pk", filter=Q(status=InvoiceStatus.POSTED)),
            zero_totals=Count("pk", filter=alive & Q(total=0)),
        )
    )
