"""What the page of one bill run shows: its figures, its tabs, and the buttons that its status and the user's role allow."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.admin.models import LogEntry
from django.db.models import Count, Min
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.list_filters import FilterLink
from accounts.paging import keyset_page
from accounts.wording import duration, money, number
from invoicing.forms import CHARGE_TYPES
from invoicing.models import AccountOutcome, BillRun, BillRunStatus, ChunkState, InvoiceDelivery
from invoicing.run_figures import (
    ACTIVE,
    RETRYABLE,
    InvoiceCounts,
    RunProgress,
    invoice_counts,
    progress_of,
    scope_in_words,
    totals_of,
)
from invoicing.services import unsent_invoices

ROWS = 25

# What the audit's checks mean to somebody who has to decide about the run.
VIOLATIONS = {
    "i1_overlap": "Days of a charge are billed twice",
    "i2_hole": "Days of a charge between billed periods were left out",
    "i1_item_without_coverage": "An invoice line bills days that are not marked as billed",
    "i1_coverage_without_item": "Days are marked as billed although no valid invoice bills them",
    "i4_sum": "The lines of an invoice do not add up to its total",
    "i4_digits": "An amount has more digits than its currency",
    "i4_currency": "An invoice is in another currency than its account",
    "i21_line_of_another_account": "An invoice has a line that belongs to another account",
    "i10_gap": "Invoice numbers have a gap",
    "i13_outcome_missing": "An account was left without an outcome",
    "i18_document_hash": "A stored PDF differs from its recorded fingerprint",
    "i17_delivery_stuck": "An e-mail was begun but never finished",
}


class RunLine(NamedTuple):
    """A bill run as a line of a list."""

    run: BillRun
    scope: str
    totals: list[str]
    took: str


class Button(NamedTuple):
    """A button of the page: it asks in a dialog, or is a plain link."""

    label: str
    url: str
    is_primary: bool = False
    is_dialog: bool = True


class Moment(NamedTuple):
    """An entry of the timeline: when, what, and who or which part of the system."""

    at: datetime
    text: str
    actor: str


def run_lines(runs: Iterable[BillRun]) -> list[RunLine]:
    """Return runs as lines of a list."""
    return [RunLine(run, scope_in_words(run), money_of(run), took(run)) for run in runs]


def money_of(run: BillRun) -> list[str]:
    """Return a finished run's totals, one text per currency; a working run has none yet."""
    return [money(amount, currency) for currency, amount in totals_of(run).items()]


def took(run: BillRun) -> str:
    """Return how long a run worked, or a dash while it works."""
    return duration(_span(run))


def _span(run: BillRun) -> timedelta | None:
    if run.status in (BillRunStatus.PENDING, BillRunStatus.PROCESSING) or not (run.started_at and run.finished_at):
        return None
    return run.finished_at - run.started_at


def page_context(request: HttpRequest, run: BillRun, tab: str) -> dict[str, Any]:
    """Return everything the object page's template needs for one tab."""
    progress = progress_of(run) if run.status in ACTIVE else None
    # A working run has neither buttons nor figures that need its invoices counted.
    counts = InvoiceCounts(0, 0, None) if progress else invoice_counts(run)
    context: dict[str, Any] = {
        "run": run,
        "scope": scope_in_words(run),
        "is_active": progress is not None,
        "buttons": buttons(request.user, run, counts),
        "object_tabs": _tabs(run, counts, progress, tab),
        "violations": [(VIOLATIONS.get(v["check"], v["check"]), v["count"], v["example"]) for v in run.audit],
        **figures_context(run, progress, counts),
    }
    if tab == "invoices":
        context |= _invoices(request, run)
    elif tab == "errors":
        context |= _errors(request, run)
    elif tab == "settings":
        left_out = [label for value, label in CHARGE_TYPES if value in run.excluded_charge_types]
        context["left_out"] = ", ".join(left_out) or "None"
    elif tab == "timeline":
        context["timeline"] = timeline(run)
    elif tab == "":
        context["nothing_due"] = max(run.accounts_total - run.accounts_billed - run.accounts_failed, 0)
    return context


def figures_context(run: BillRun, progress: RunProgress | None, counts: InvoiceCounts) -> dict[str, Any]:
    """Return progress and key figures: the part of the page that is asked for again while the run works."""
    totals = progress.totals if progress else totals_of(run)
    span = progress.elapsed if progress and progress.elapsed is not None else _span(run)
    average = run.accounts_total / Decimal(span.total_seconds()) if span and span >= timedelta(seconds=1) else None
    return {
        "progress": progress,
        "counts": counts,
        "invoices": progress.invoices if progress else counts.total or run.invoice_count,
        "failed": progress.failed if progress else run.accounts_failed,
        "totals": [money(amount, currency) for currency, amount in totals.items()],
        "took": duration(span),
        "pace": pace_in_words(progress.per_second if progress else average),
    }


def pace_in_words(per_second: Decimal | None) -> str:
    """Return a pace as people read it: 0.8 accounts/s, 1,240 accounts/s; nothing when it is unknown."""
    if per_second is None:
        return ""
    return f"{number(round(per_second, 1 if per_second < 10 else 0))} accounts/s"


def buttons(user: Any, run: BillRun, counts: InvoiceCounts) -> list[Button]:
    """Return the buttons that the run's status and the user's permissions allow; the primary one comes first."""
    offered: list[tuple[str, Button]] = []
    if run.status in (BillRunStatus.PENDING, BillRunStatus.PROCESSING):
        offered.append(("cancel_billrun", Button("Stop", _url("cancel", run))))
    elif run.status == BillRunStatus.COMPLETED:
        if counts.drafts:
            post = Button(f"Post {count_of(counts.drafts, 'invoice')}", _url("post", run), is_primary=True)
            offered.append(("post_billrun", post))
        if not counts.posted:
            offered.append(("cancel_billrun", Button("Cancel run", _url("cancel", run))))
    elif run.status == BillRunStatus.POSTED:
        if label := _email_label(run, counts) if user.has_perm("invoicing.email_invoice") else "":
            offered.append(("email_invoice", Button(label, _url("email", run), is_primary=True)))
    elif run.status == BillRunStatus.ERROR:
        if run.accounts_failed:
            retry = Button("Retry failed accounts", _url("retry", run), is_primary=True)
            offered.append(("add_billrun", retry))
        if not counts.posted:
            offered.append(("cancel_billrun", Button("Cancel run", _url("cancel", run))))
    elif run.status == BillRunStatus.CANCELED:
        offered.append(("add_billrun", Button("Run again", run_again_url(run), is_primary=True, is_dialog=False)))
    allowed = [button for permission, button in offered if user.has_perm(f"invoicing.{permission}")]
    if run.status in (BillRunStatus.COMPLETED, BillRunStatus.POSTED) and counts.total:
        export = reverse("admin:invoicing_invoice_export")
        allowed.append(Button("Export CSV", f"{export}?bill_run__number__exact={run.number}", is_dialog=False))
    return allowed


def _email_label(run: BillRun, counts: InvoiceCounts) -> str:
    """Return the words of the e-mail button, without their number for runs too large to count; nothing if all was sent."""
    unsent = unsent_invoices(run)
    if counts.zero_totals is None:
        return "E-mail invoices" if unsent.exists() else ""
    amount = unsent.count()
    return f"E-mail {count_of(amount, 'invoice')}" if amount else ""


def run_again_url(run: BillRun) -> str:
    """Return the address of a new run's form, filled in like this run."""
    return f"{reverse('admin:invoicing_billrun_new')}?like={run.pk}"


def count_of(count: int, one: str, many: str = "") -> str:
    """Return a count with its word: 1 invoice, 1,240 invoices."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def _url(verb: str, run: BillRun) -> str:
    return reverse(f"admin:invoicing_billrun_{verb}", args=[run.pk])


def _tabs(run: BillRun, counts: InvoiceCounts, progress: RunProgress | None, current: str) -> list[FilterLink]:
    base = run.get_absolute_url()
    amounts = {
        "invoices": progress.invoices if progress else counts.total,
        "errors": (progress.failed if progress else run.accounts_failed) + len(run.audit),
    }
    labels = {"": "Summary", "invoices": "Invoices", "errors": "Errors", "settings": "Settings", "timeline": "History"}
    return [
        FilterLink(
            format_html('{} <span class="amount">{}</span>', label, number(amounts[slug]))
            if amounts.get(slug)
            else label,
            f"{base}{slug}/" if slug else base,
            slug == current,
        )
        for slug, label in labels.items()
    ]


def _after(request: HttpRequest) -> int | None:
    after = request.GET.get("after", "")
    return int(after) if after.isdigit() and len(after) < 19 else None


def _invoices(request: HttpRequest, run: BillRun) -> dict[str, Any]:
    found = run.invoices.select_related("account").only(
        "reference", "number", "status", "invoice_date", "due_date", "currency", "total", "balance", "account__number",
        "account__name", "bill_run_id",
    )  # fmt: skip
    listed = f"{reverse('admin:invoicing_invoice_changelist')}?bill_run__number__exact={run.number}"
    return {"page": keyset_page(found, after=_after(request), size=ROWS), "list_of_invoices_url": listed}


def _errors(request: HttpRequest, run: BillRun) -> dict[str, Any]:
    failed = run.account_outcomes.filter(outcome=AccountOutcome.FAILED).select_related("account")
    may_retry = run.status in RETRYABLE and bool(run.accounts_failed) and request.user.has_perm("invoicing.add_billrun")
    return {
        "page": keyset_page(failed, after=_after(request), size=ROWS),
        "retry_url": _url("retry", run) if may_retry else "",
        "retry_label": f"Retry {count_of(run.accounts_failed, 'account')}",
        "outcomes_url": _url("outcomes", run),
        "all_outcomes_url": f"{reverse('admin:invoicing_billrunaccount_changelist')}?run__number__exact={run.number}",
    }


def timeline(run: BillRun) -> list[Moment]:
    """Return what happened to a run and who did it, latest first."""
    starter = str(run.created_by or (f"schedule {run.schedule}" if run.schedule else "system"))
    moments = [Moment(run.created_at, "Created", starter)]
    if run.started_at:
        moments.append(
            Moment(run.started_at, f"Work began: {count_of(run.accounts_total, 'account')} in scope", "worker")
        )
    if run.finished_at:
        moments.append(Moment(run.finished_at, _ending(run), "worker"))
    if run.posted_at:
        moments.append(Moment(run.posted_at, "All drafts posted", str(run.posted_by or "system")))
    halved = run.chunks.filter(state=ChunkState.HALVED).order_by("-id")[:20]
    moments += [
        Moment(
            chunk.finished_at,
            f"{count_of(chunk.accounts, 'account')} were divided to find the one that fails: {chunk.error}",
            "worker",
        )
        for chunk in halved
        if chunk.finished_at
    ]
    moments += [
        Moment(row["first"], f"{count_of(row['count'], 'e-mail')} queued", row["requested_by__username"] or "system")
        for row in InvoiceDelivery.objects.filter(invoice__bill_run=run)
        .values("requested_by__username")
        .annotate(count=Count("pk"), first=Min("requested_at"))
        .order_by("first")
    ]
    logged = LogEntry.objects.filter(
        content_type__app_label="invoicing", content_type__model="billrun", object_id=str(run.pk)
    ).select_related("user")[:50]
    moments += [Moment(entry.action_time, entry.get_change_message(), str(entry.user)) for entry in logged]
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _ending(run: BillRun) -> str:
    if run.status in (BillRunStatus.CANCELED, BillRunStatus.CANCEL_IN_PROGRESS):
        return "Ended: its drafts are canceled and what they billed is due again"
    if run.status == BillRunStatus.ERROR:
        return f"Ended with an error: {run.error}"
    words = f"Finished: {count_of(run.invoice_count, 'invoice')} for {count_of(run.accounts_billed, 'account')}"
    return f"{words}, {count_of(run.accounts_failed, 'account')} failed" if run.accounts_failed else words
