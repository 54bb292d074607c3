"""A bill run from the first chunk to the last: the only place that decides what happens next (D6, D7).

    claim → lock → load → price → group → write → outcomes → (last chunk) verify → Completed

Claiming is committed before the work begins; locking and everything after it is one transaction a chunk.
"""

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, ProgrammingError, connection, transaction
from django.db.models import Count, Sum
from django.utils import timezone

from accounts.models import Account, BillingBatch, NumberPurpose
from accounts.numbering import take_numbers
from billing.core.grouping import group
from billing.core.pricing import MAX_LINES_PER_CHARGE, price
from billing.core.types import ChargeType, Problem, Rated, Rules
from billing.queries import current_rules
from billing.services.renewals import renew_due
from invoicing.bill_run.claim import Claim, claimed_chunk, finishing, halve, park
from invoicing.bill_run.discounting import discounted
from invoicing.bill_run.due import claim_slot, due_schedules
from invoicing.bill_run.load import LoadedAccount, load_accounts, lock_accounts
from invoicing.bill_run.select import accounts_in_scope, fill_work_list, nothing_due_message
from invoicing.bill_run.streams import in_streams
from invoicing.bill_run.verify import audit
from invoicing.bill_run.write import DraftInvoice, Outcome, finish_chunk, write_drafts, write_outcomes
from invoicing.delivery import queue_run
from invoicing.models import AccountOutcome, BillRun, BillRunChunk, BillRunScope, BillRunStatus, ChunkState
from invoicing.posting import cancel_run, post_run
from usage.rating import cut_slices, slices_to_cut, write_rated

log = structlog.get_logger(__name__)


class Terms(NamedTuple):
    """What every account of a run is billed by."""

    run_id: int
    target_date: date
    invoice_date: date
    excluded: frozenset[ChargeType]
    rules: Rules


class PricedAccounts(NamedTuple):
    """What becomes of the accounts of a chunk; `rated` are the days whose usage was priced, billed or not."""

    drafts: list[DraftInvoice]
    outcomes: list[Outcome]
    rated: list[Rated]


class RunStoppedError(Exception):
    """The run is no longer Processing: an operator stopped it, so the chunk must not be written."""


def create(*, batches: Iterable[BillingBatch] = (), accounts: Iterable[Account] = (), **fields: Any) -> BillRun:
    """Write a Pending run with its number and scope; `fields` are BillRun's columns."""
    with transaction.atomic():
        run = BillRun.objects.create(number=take_numbers(NumberPurpose.BILL_RUN)[0], **fields)
        run.batches.set(batches)
        run.accounts.set(accounts)
        return run


def start_due_schedules(*, now: datetime, zone: ZoneInfo) -> list[int]:
    """Create one run for each schedule whose slot has come; return the new runs' ids (I16)."""
    started = []
    for schedule in due_schedules(now):
        with transaction.atomic():
            slot = claim_slot(schedule, now=now, zone=zone)
            if slot is not None:
                day = slot.astimezone(zone).date()
                batches = list(schedule.batches.all())
                scope = BillRunScope.BATCHES if batches else BillRunScope.ALL
                flags: dict[str, Any] = {"auto_post": schedule.auto_post, "auto_email": schedule.auto_email}
                run = create(
                    batches=batches,
                    name=schedule.name,
                    schedule=schedule,
                    slot=slot,
                    scope=scope,
                    target_date=day,
                    invoice_date=day,
                    **flags,
                )
                started.append(run.pk)
    return started


def advance(run_id: int, *, seconds: float) -> bool:
    """Take a run whatever step it is at as far as it goes; return whether more is left to do.

    Safe to call at any time, any number of times, from any number of workers.
    """
    run = BillRun.objects.get(pk=run_id)
    if run.status == BillRunStatus.CANCEL_IN_PROGRESS:
        cancel_run(run_id)
    elif run.status == BillRunStatus.POST_IN_PROGRESS:
        post_run(run_id, user_id=run.posted_by_id, then=_queue_mails)
    elif run.status in (BillRunStatus.PENDING, BillRunStatus.PROCESSING) and work(run_id, seconds=seconds):
        return True
    run.refresh_from_db()
    if run.auto_post and run.status == BillRunStatus.COMPLETED and run.posted_at is None and not run.error:
        post_run(run_id, user_id=run.created_by_id, then=_queue_mails)
    return False


def _queue_mails(run: BillRun) -> None:
    if run.auto_email:
        queue_run(run, user_id=run.created_by_id)


def renew(run: BillRun) -> None:
    """Renew the subscriptions in the run's scope whose term has ended by its target date; again is the same as once."""
    accounts = accounts_in_scope(run)
    found = renew_due(
        run.target_date,
        None if accounts is None else list(accounts.values_list("pk", flat=True)),
        user_id=run.created_by_id,
    )
    if found:
        log.info("bill_run.renewed", run=run.pk, terms=found)


def start(run: BillRun) -> None:
    """Move a Pending run to Processing with its work list; does nothing if somebody else did."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Workers that come second wait for the work list, then help with the chunks.
            cursor.execute("SET LOCAL lock_timeout = '120s'")
        moved = BillRun.objects.filter(pk=run.pk, status=BillRunStatus.PENDING).update(
            status=BillRunStatus.PROCESSING, started_at=timezone.now()
        )
        if moved:
            accounts = fill_work_list(
                run,
                chunk_accounts=settings.BILL_RUN_CHUNK_ACCOUNTS,
                credit_one_time=current_rules().credit_one_time,
            )
            BillRun.objects.filter(pk=run.pk).update(accounts_total=accounts)


def work(run_id: int, *, seconds: float) -> bool:
    """Bill chunk after chunk until none is free or the time is up; return whether there may be more to do.

    Any number of workers may call this for the same run at the same time. The worker that finds nothing left
    finishes the run.
    """
    run = BillRun.objects.get(pk=run_id)
    if run.status == BillRunStatus.PENDING:
        if run.auto_renew:
            renew(run)
        start(run)
    terms = Terms(
        run.pk,
        run.target_date,
        run.invoice_date,
        frozenset(map(ChargeType, run.excluded_charge_types)),
        current_rules(),
    )
    deadline = time.monotonic() + seconds
    waiting = run.chunks.filter(state=ChunkState.PENDING).count()
    more = in_streams(min(settings.BILL_RUN_STREAMS, max(waiting, 1)), lambda: _bill_chunks(terms, deadline))
    if not more:
        finish(run_id)
    return more


def _bill_chunks(terms: Terms, deadline: float) -> bool:
    """Bill chunk after chunk; return False when none is free, True when the time is up."""
    while time.monotonic() < deadline:
        with claimed_chunk(terms.run_id) as claim:
            if claim is None:
                return False
            _bill_or_isolate(claim, terms)
    return True


def _bill_or_isolate(claim: Claim, terms: Terms) -> None:
    """Bill the chunk; if it cannot be billed, narrow the failure down to the account that causes it."""
    if claim.attempts > settings.BILL_RUN_ATTEMPTS:
        _isolate(claim, "This part of the run ended its worker several times.")
        return
    try:
        bill_chunk(claim.chunk_id, terms)
    except RunStoppedError:
        log.info("bill_run.chunk_abandoned", run=terms.run_id, chunk=claim.chunk_id)
    except (OperationalError, InterfaceError) as error:
        # Deadlock, lock time-out, usage changed meanwhile or a lost connection: the chunk stays pending and is claimed again.
        log.warning(
            "bill_run.chunk_retried", run=terms.run_id, chunk=claim.chunk_id, attempts=claim.attempts, error=str(error)
        )
        if connection.connection is not None and connection.connection.closed:
            connection.close()
        time.sleep(0.2 * claim.attempts)
    except ProgrammingError as error:
        # The fault is ours, not an account's: every other chunk would fail the same way.
        log.exception("bill_run.broken", run=terms.run_id, chunk=claim.chunk_id)
        BillRun.objects.filter(pk=terms.run_id, status=BillRunStatus.PROCESSING).update(
            status=BillRunStatus.ERROR,
            has_errors=True,
            finished_at=timezone.now(),
            error=f"The run could not go on: {error}",
        )
    except Exception as error:
        # Whatever else goes wrong belongs to some account: the others must not suffer from it (I13).
        _isolate(claim, f"{type(error).__name__}: {error}".strip())


def _isolate(claim: Claim, error: str) -> None:
    if claim.accounts > 1:
        log.warning("bill_run.chunk_halved", chunk=claim.chunk_id, accounts=claim.accounts, error=error)
        halve(claim, error=error)
        return
    reference = uuid.uuid4().hex[:8]
    log.error("bill_run.account_parked", chunk=claim.chunk_id, error=error, reference=reference)
    summary = error.splitlines()[0][:300]
    park(
        claim,
        code="unexpected_error",
        message=f"This account could not be billed: {summary}",
        hint=f"Nothing was written for it. Retry; if it fails again, look for reference {reference} in the log.",
    )


def bill_chunk(chunk_id: int, terms: Terms) -> None:
    """Bill the accounts of one chunk in one transaction.

    The accounts are locked by one statement and their charges read by later ones: a single statement would
    judge what is due by a snapshot older than its wait for the lock, and bill it again.
    """
    with transaction.atomic():
        _enter(terms.run_id)
        lock_accounts(chunk_id)
        loaded = load(chunk_id, terms)
        drafts, outcomes, rated = price_accounts(loaded, terms)
        rated_ids = write_rated(rated, loaded[0].usage if loaded else {}, run_id=terms.run_id)
        totals = write_drafts(terms.run_id, drafts, invoice_date=terms.invoice_date, rated=rated_ids)
        write_outcomes(chunk_id, outcomes)
        counts = Counter(outcome.outcome for outcome in outcomes)
        finish_chunk(chunk_id, invoices=len(drafts), billed=counts["Billed"], failed=counts["Failed"], totals=totals)


def _enter(run_id: int) -> None:
    """Hold the run in Processing until this transaction ends, and prepare the session for bulk work."""
    with connection.cursor() as cursor:
        # Plans for tables that were empty when this session first met them would scan them for ever after.
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0"
        )
        cursor.execute("SELECT status FROM invoicing_billrun WHERE id = %s FOR SHARE", [run_id])
        if cursor.fetchone() != (BillRunStatus.PROCESSING,):
            raise RunStoppedError


def load(scope: int | list[int], terms: Terms) -> list[LoadedAccount]:
    """Return the accounts of a chunk (its id) or of a preview (account ids) with what may be due.

    Pending usage that reaches over the end of a period is cut there first, which is a write: a preview undoes it.
    """
    loaded = load_accounts(scope, target_date=terms.target_date, rules=terms.rules)
    cuts: dict[int, list[date]] = {}
    for account, _, charges, _, usage in loaded:
        if usage and charges:
            cuts |= slices_to_cut(account, charges, usage, terms.rules, terms.target_date, MAX_LINES_PER_CHARGE)
    if cuts:
        cut_slices(cuts)
        loaded = load_accounts(scope, target_date=terms.target_date, rules=terms.rules)
    return loaded


def price_accounts(loaded: list[LoadedAccount], terms: Terms) -> PricedAccounts:
    """Return the drafts of all accounts and one outcome each; a problem of one account leaves the others alone."""
    drafts: list[DraftInvoice] = []
    outcomes: list[Outcome] = []
    rated: list[Rated] = []
    for account, term, charges, discounts, usage in loaded:
        lines, problems, periods = price(
            account, charges, rules=terms.rules, target_date=terms.target_date, excluded=terms.excluded, usage=usage
        )
        if discounts.terms and not problems:
            lines, problems, _ = discounted(
                account,
                charges,
                lines,
                discounts,
                rules=terms.rules,
                target_date=terms.target_date,
                excluded=terms.excluded,
            )
        if problems:
            outcomes.append(_failed(account.account_id, problems))
            continue
        rated += periods
        if not lines:
            outcomes.append(
                Outcome(
                    account.account_id,
                    AccountOutcome.NOTHING_DUE,
                    0,
                    0,
                    "nothing_due",
                    nothing_due_message(terms.target_date),
                    "",
                )
            )
        else:
            assert term is not None  # an account without a payment term has problems
            made = [DraftInvoice(draft, term) for draft in group(account, lines)]
            drafts += made
            outcomes.append(
                Outcome(
                    account.account_id,
                    AccountOutcome.BILLED,
                    len(made),
                    len(lines),
                    "",
                    _billed_message(len(lines), len(made)),
                    "",
                )
            )
    return PricedAccounts(drafts, outcomes, rated)


def _failed(account_id: int, problems: list[Problem]) -> Outcome:
    first = problems[0]
    message = " ".join(problem.message for problem in problems[:5])
    if len(problems) > 5:
        message += f" And {len(problems) - 5} more."
    return Outcome(account_id, AccountOutcome.FAILED, 0, 0, first.code, message, first.hint)


def _billed_message(items: int, invoices: int) -> str:
    return f"Billed {items} {'item' if items == 1 else 'items'} on {invoices} {'invoice' if invoices == 1 else 'invoices'}."


def finish(run_id: int) -> None:
    """Audit and complete the run if no chunk is left; does nothing while chunks are open or another worker finishes."""
    # Whoever sees an open chunk must not even try: the one who closes it a moment later would find the lock taken, and
    # nobody would finish the run.
    if BillRunChunk.objects.filter(run=run_id, state=ChunkState.PENDING).exists():
        return
    with finishing(run_id) as won:
        run = BillRun.objects.get(pk=run_id)
        if not won or run.status != BillRunStatus.PROCESSING or run.chunks.filter(state=ChunkState.PENDING).exists():
            return
        violations = audit(run_id)
        figures = run.chunks.filter(state=ChunkState.DONE).aggregate(
            invoices=Sum("invoices", default=0), billed=Sum("billed", default=0)
        )
        failed = run.account_outcomes.filter(outcome=AccountOutcome.FAILED).aggregate(count=Count("id"))["count"]
        totals: dict[str, Decimal] = {}
        for chunk_totals in run.chunks.filter(state=ChunkState.DONE).values_list("totals", flat=True):
            for currency, amount in chunk_totals.items():
                totals[currency] = totals.get(currency, Decimal(0)) + Decimal(amount)
        BillRun.objects.filter(pk=run_id, status=BillRunStatus.PROCESSING).update(
            status=BillRunStatus.ERROR if violations else BillRunStatus.COMPLETED,
            has_errors=bool(failed or violations),
            finished_at=timezone.now(),
            accounts_billed=figures["billed"],
            accounts_failed=failed,
            invoice_count=figures["invoices"],
            totals={currency: f"{amount:f}" for currency, amount in sorted(totals.items())},
            audit=[violation._asdict() for violation in violations],
            error="; ".join(f"{v.check}: {v.count}, for example {v.example}" for v in violations),
        )


def retry_failed(run: BillRun) -> int:
    """Put the failed accounts of a finished run back to work in chunks of their own; return how many."""
    with transaction.atomic():
        moved = BillRun.objects.filter(pk=run.pk, status__in=[BillRunStatus.COMPLETED, BillRunStatus.ERROR]).update(
            status=BillRunStatus.PROCESSING
        )
        if not moved:
            return 0
        failed = run.account_outcomes.filter(outcome=AccountOutcome.FAILED)
        count = failed.count()
        if count:
            chunk = run.chunks.create(accounts=count)
            failed.update(outcome=AccountOutcome.PENDING, code="", message="", hint="", chunk=chunk)
        return count
