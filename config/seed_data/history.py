"""What was charged so far: days billed before the move to Tallyrun, three posted month ends, and a run to review."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from dateutil.relativedelta import relativedelta
from django.contrib.auth.models import User
from django.db.backends.postgresql.psycopg_any import DateRange
from django.db.models import Q, QuerySet

from accounts.clock import business_zone
from accounts.models import Account, BillingBatch
from billing.core.periods import MONTHS_IN, cycle_from
from billing.core.timing import due_periods
from billing.core.types import Alignment, BillingDayType, BillingPeriod, BillingTiming, ChargeType
from billing.models import ChargeSegment, ChargeSegmentTier, RatePlanCharge, Subscription
from billing.models.terms import DISCOUNTS
from config.seed_data import usage_files
from config.seed_data.company import WITHOUT_CONTACT, WITHOUT_PRICE, WITHOUT_TIERS
from config.seed_data.stories import go_on
from invoicing.bill_run import run as engine
from invoicing.delivery import queue_invoice, send_due
from invoicing.models import BillRun, BillRunScope, BillRunStatus, Coverage
from invoicing.models.invoices import CoverageKind

REVIEW = "Key accounts, to be reviewed"
MAILED = {"EUR": 3, "USD": 2, "JPY": 1}  # how many invoices of each currency are mailed; the rest waits for a click
MOST_PERIODS = 1_000
FINISHED = (BillRunStatus.COMPLETED, BillRunStatus.POSTED)


class SeedError(Exception):
    """Why the company's history could not be made, in words."""


def is_complete() -> bool:
    """Tell whether the history has been made up to its last run."""
    return BillRun.objects.filter(name=REVIEW, status__in=FINISHED).exists()


def add_history(*, today: date, mail: bool) -> Iterator[str]:
    """Make the history step by step, yielding what was done; what an earlier call has done is left out.

    Runs are the real engine's, in this process. With `mail` a handful of invoices is sent at the end.
    """
    month = today.replace(day=1)
    moved = month - relativedelta(months=3)
    if not Coverage.objects.exists():
        yield f"{_mark_billed_before(moved)} charges marked as billed before {moved.isoformat()}"
    for ago in (2, 1, 0):
        day = month - relativedelta(months=ago) - timedelta(days=1)
        yield usage_files.add_month(day.replace(day=1), today=today, user_id=_people().get("operator"))
        run = _run(f"Month end {day:%B %Y}", target=day, invoiced=day, today=today)
        yield _told(run)
        placed = go_on(runs=3 - ago, today=today, user_id=_people().get("operator"))
        yield f"{placed} orders that change, suspend, renew or cancel subscriptions"
    yield usage_files.add_month(month, today=today, user_id=_people().get("operator"))
    yield usage_files.add_waiting_file(today=today, user_id=_people().get("operator"))
    direct = BillingBatch.objects.filter(code="Batch1")
    run = _run(f"Direct customers {today:%B %Y}", target=today, invoiced=today, today=today, batches=list(direct))
    yield _told(run)
    if mail:
        yield f"{_mail_some(run)} invoices mailed"
    _break_master_data()
    month_end = month + relativedelta(months=1) - timedelta(days=1)
    key = BillingBatch.objects.filter(code="Batch2")
    yield _told(_run(REVIEW, target=month_end, invoiced=today, today=today, batches=list(key), post=False))


def _told(run: BillRun) -> str:
    totals = ", ".join(f"{amount} {currency}" for currency, amount in run.totals.items())
    return f"{run.number} {run.name}: {run.invoice_count} invoices, {totals or 'nothing'} ({run.status})"


def _mark_billed_before(moved: date) -> int:
    """Cover what the system before this one billed: every period that was due by the day before the move, but no usage."""
    charges = RatePlanCharge.objects.filter(trigger_date__lt=moved).exclude(
        Q(charge_model__in=DISCOUNTS) | Q(charge_type=ChargeType.USAGE)
    )
    charges = charges.select_related("subscription__invoice_owner")
    covered = []
    for charge in charges.order_by("id").iterator(chunk_size=2_000):
        start = charge.trigger_date
        through = _billed_through(charge, start, moved - timedelta(days=1)) if start else None
        if through is not None:
            kind = CoverageKind.ONCE if charge.charge_type == ChargeType.ONE_TIME else CoverageKind.PERIOD
            covered.append(Coverage(charge=charge, kind=kind, period=DateRange(start, through)))
    Coverage.objects.bulk_create(covered, batch_size=2_000)
    return len(covered)


def _billed_through(charge: RatePlanCharge, start: date, last_day: date) -> date | None:
    """Return the end of the last period since `start` that was due by `last_day`, or None when nothing was."""
    if charge.charge_type == ChargeType.ONE_TIME:
        return start + timedelta(days=1)
    subscription = charge.subscription
    on_account_day = charge.billing_day_type == BillingDayType.ACCOUNT
    day = subscription.invoice_owner.bill_cycle_day if on_account_day else start.day
    origin = start if charge.alignment == Alignment.CHARGE else subscription.contract_effective
    cycle = cycle_from(origin, day, MONTHS_IN[BillingPeriod(charge.billing_period)])
    timing = BillingTiming(charge.billing_timing)
    due = due_periods(cycle, start, subscription.term_end, timing, last_day, MOST_PERIODS)
    return due[-1].period.end if due else None


def _run(
    name: str,
    *,
    target: date,
    invoiced: date,
    today: date,
    batches: list[BillingBatch] | None = None,
    post: bool = True,
) -> BillRun:
    """Bill in this process and return the finished run; a run of that name is taken up instead of made again."""
    people = _people()
    run = BillRun.objects.filter(name=name).first() or engine.create(
        name=name,
        scope=BillRunScope.BATCHES if batches else BillRunScope.ALL,
        batches=batches or (),
        target_date=target,
        invoice_date=invoiced,
        auto_post=post,
        created_by_id=people.get("approver" if post else "operator"),
    )
    if run.status in FINISHED:
        return run
    began = time.monotonic()
    while engine.advance(run.pk, seconds=60):
        pass
    run.refresh_from_db()
    if run.status != (BillRunStatus.POSTED if post else BillRunStatus.COMPLETED):
        raise SeedError(f"{run.number} ended as {run.get_status_display()}: {run.error}")
    if invoiced < today:
        _date_back(run, invoiced, seconds=time.monotonic() - began)
    return run


def _people() -> dict[str, int]:
    """Return the ids of those who make runs and orders; nobody outside a demo."""
    return {user.username: user.pk for user in User.objects.filter(username__in=["operator", "approver"])}


def _date_back(run: BillRun, day: date, *, seconds: float) -> None:
    """Let a run of the past have run on its day, in the morning, as long as it took."""
    began = datetime(day.year, day.month, day.day, 6, tzinfo=business_zone())
    BillRun.objects.filter(pk=run.pk).update(
        created_at=began,
        started_at=began,
        finished_at=began + timedelta(seconds=seconds),
        posted_at=began + timedelta(hours=3),
    )


def _mail_some(run: BillRun) -> int:
    """Send a handful of the run's invoices now and return how many."""
    queued = 0
    for currency, count in MAILED.items():
        chosen = run.invoices.filter(currency=currency, total__gt=0, account__email_invoices=True)
        for invoice in chosen.filter(deliveries__isnull=True).order_by("-total", "id")[:count]:
            queued += queue_invoice(invoice, user_id=run.posted_by_id) is not None
    return send_due(limit=queued)


def _break_master_data() -> None:
    """Make three accounts impossible to bill, so that the run to review has errors to show."""
    Account.objects.filter(name=WITHOUT_CONTACT).update(bill_to=None)
    _segments_of(WITHOUT_PRICE).update(price=None)
    ChargeSegmentTier.objects.filter(segment__in=list(_segments_of(WITHOUT_TIERS))).delete()


def _segments_of(name: str) -> QuerySet[ChargeSegment]:
    """Return the prices of the recurring charges that an account pays for.

    Looked up step by step: tables this new have no statistics, and joining them may go badly.
    """
    account = Account.objects.get(name=name)
    subscriptions = list(Subscription.objects.filter(invoice_owner=account))
    charges = RatePlanCharge.objects.filter(subscription__in=subscriptions, charge_type=ChargeType.RECURRING)
    return ChargeSegment.objects.filter(charge__in=list(charges))
