"""`manage.py bill_run`: run a bill run from the command line, through the same engine as the pages."""

import json
import time
from argparse import ArgumentParser
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Q, Sum
from tqdm import tqdm

from accounts.clock import business_today
from accounts.models import Account, BillingBatch
from invoicing.bill_run import run as engine
from invoicing.models import AccountOutcome, BillRun, BillRunScope, BillRunStatus, ChunkState
from invoicing.posting import PostingError
from invoicing.services import PREVIEW_ACCOUNTS, RunPreview, RunRequest, check_run_request, create_run, preview_run
from invoicing.tasks import ring_mail

OPTION_OF = {
    "target_date": "--target-date",
    "invoice_date": "--invoice-date",
    "batches": "--batch",
    "accounts": "--account",
    "auto_post": "--post",
    "auto_email": "--email",
}
UNDER_WAY = (BillRunStatus.PENDING, BillRunStatus.PROCESSING, BillRunStatus.POST_IN_PROGRESS)
SLICE_SECONDS = 0.5  # how long the engine works before the progress is shown again
WAIT_SECONDS = 0.5  # between looks while background workers do the rest
PATIENCE_SECONDS = 120  # longer than the sweeper needs to wake workers again
FAILURES_SHOWN = 20


class Command(BaseCommand):
    """Create a bill run, work on it to its end, and report what it did."""

    help = "Bill what is due: all accounts, chosen batches or chosen accounts. Without --post the invoices stay drafts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--target-date", required=True, metavar="DAY", help="bill everything due up to this day")
        parser.add_argument("--invoice-date", metavar="DAY", help="date on the invoices (default: today)")
        scope = parser.add_mutually_exclusive_group()
        scope.add_argument("--batch", action="append", default=[], help="only this batch (code or alias); repeatable")
        scope.add_argument("--account", action="append", default=[], help="only this account number; repeatable")
        parser.add_argument("--name", default="", help="name of the run")
        parser.add_argument("--post", action="store_true", help="post the invoices")
        parser.add_argument("--email", action="store_true", help="e-mail the posted invoices")
        parser.add_argument("--dry-run", action="store_true", help="show what would be billed and write nothing")
        parser.add_argument("--background", action="store_true", help="leave the work to the workers and watch them")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run or preview, then report."""
        today = business_today()
        request = self._request(options, today)
        try:
            check_run_request(request, today=today)
        except ValidationError as error:
            raise CommandError(_in_options(error)) from error
        if options["dry_run"]:
            preview = preview_run(request, today=today)
            self.stdout.write(json.dumps(_preview_report(preview)) if options["json"] else _preview_text(preview))
            return
        began = time.monotonic()
        run = self._watch(request, today) if options["background"] else self._work(request)
        report = _run_report(run, seconds=time.monotonic() - began)
        self.stdout.write(json.dumps(report) if options["json"] else _run_text(report))
        if run.status not in (BillRunStatus.POSTED, BillRunStatus.COMPLETED) or run.error:
            raise CommandError(f"{run.number} ended as {run.get_status_display()}: {run.error or 'it was stopped.'}")

    def _request(self, options: dict[str, Any], today: date) -> RunRequest:
        batches, accounts = options["batch"], options["account"]
        scope = BillRunScope.BATCHES if batches else BillRunScope.ACCOUNTS if accounts else BillRunScope.ALL
        invoice_date = options["invoice_date"]
        return RunRequest(
            scope=scope,
            target_date=_day(options["target_date"], "--target-date"),
            invoice_date=_day(invoice_date, "--invoice-date") if invoice_date else today,
            batches=tuple(_batch(name) for name in batches),
            accounts=tuple(_account(number) for number in accounts),
            auto_post=options["post"],
            auto_email=options["email"],
            name=options["name"],
        )

    def _work(self, request: RunRequest) -> BillRun:
        """Create the run and work on it until it is over, alone or beside background workers."""
        run = engine.create(
            batches=request.batches,
            accounts=request.accounts,
            name=request.name,
            scope=request.scope,
            target_date=request.target_date,
            invoice_date=request.invoice_date,
            auto_post=request.auto_post,
            auto_email=request.auto_email,
        )
        with tqdm(unit=" accounts", desc=run.number, disable=None) as bar:
            while not _is_over(run):
                try:
                    more = engine.advance(run.pk, seconds=SLICE_SECONDS)
                except PostingError as error:
                    raise CommandError(f"{run.number} was billed but not posted: {error}") from error
                _show(run, bar)
                if not more and not _is_over(run):
                    # Nothing is free for us: other workers hold the last parts.
                    time.sleep(WAIT_SECONDS)
        if request.auto_email:
            ring_mail()
        return run

    def _watch(self, request: RunRequest, today: date) -> BillRun:
        """Create the run as the pages do and watch the background workers until it is over."""
        run = create_run(request, today=today, user_id=None)
        silent_since, seen = time.monotonic(), ("", 0)
        with tqdm(unit=" accounts", desc=run.number, disable=None) as bar:
            while not _is_over(run):
                time.sleep(WAIT_SECONDS)
                state = _show(run, bar)
                if state != seen:
                    silent_since, seen = time.monotonic(), state
                if time.monotonic() - silent_since > PATIENCE_SECONDS:
                    raise CommandError(
                        f"{run.number} waits: no worker has moved it for {PATIENCE_SECONDS} s. Is one running?"
                    )
        return run


def _is_over(run: BillRun) -> bool:
    """Tell whether nothing more will happen by itself; a run that posts by itself is Completed for a moment."""
    still_to_post = run.auto_post and run.status == BillRunStatus.COMPLETED and not run.error
    return run.status not in UNDER_WAY and not still_to_post


def _show(run: BillRun, bar: "tqdm[Any]") -> tuple[str, int]:
    """Read the run again and show how far it is; return its status and the number of accounts that are done."""
    run.refresh_from_db()
    counted = run.chunks.order_by().values_list("state").annotate(accounts=Sum("accounts"))
    accounts = dict(counted)
    done = accounts.get(ChunkState.DONE, 0)
    bar.total = done + accounts.get(ChunkState.PENDING, 0)
    bar.update(done - bar.n)
    return run.status, done


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{option}: “{text}” is not a date. Write it like 2026-01-31.") from error


def _batch(name: str) -> BillingBatch:
    found = BillingBatch.objects.filter(Q(code=name) | Q(alias=name)).first()
    if found is None:
        known = ", ".join(f"“{batch}”" for batch in BillingBatch.objects.all()[:10])
        raise CommandError(f"--batch: there is no batch “{name}”. There are {known}.")
    return found


def _account(number: str) -> Account:
    found = Account.objects.filter(number=number).first()
    if found is None:
        raise CommandError(f"--account: there is no account {number}.")
    return found


def _in_options(error: ValidationError) -> str:
    return " ".join(
        f"{OPTION_OF.get(field, field)}: {message}"
        for field, messages in error.message_dict.items()
        for message in messages
    )


def _amounts(totals: dict[str, Decimal]) -> dict[str, str]:
    return {currency: f"{amount:f}" for currency, amount in totals.items()}


def _preview_report(preview: RunPreview) -> dict[str, Any]:
    return {"dry_run": True, **preview._asdict(), "totals": _amounts(preview.totals)}


def _preview_text(preview: RunPreview) -> str:
    lines = [
        f"Would make {preview.invoices} invoices: {_sums(_amounts(preview.totals))}.",
        f"Accounts in scope: {preview.accounts}; that could not be billed: {preview.problems}.",
    ]
    lines += [f"  {example}" for example in preview.examples]
    if preview.priced < preview.accounts:
        lines.append(f"Only the first {PREVIEW_ACCOUNTS} accounts were priced; a run bills all of them.")
    if preview.drafts_waiting:
        lines.append(f"Drafts of earlier runs that wait to be posted: {preview.drafts_waiting}.")
    if preview.runs_in_progress:
        lines.append(f"Runs in progress over possibly the same accounts: {', '.join(preview.runs_in_progress)}.")
    return "\n".join([*lines, "Nothing was written."])


def _run_report(run: BillRun, *, seconds: float) -> dict[str, Any]:
    counted = run.account_outcomes.order_by().values_list("outcome").annotate(count=Count("id"))
    failed = run.account_outcomes.filter(outcome=AccountOutcome.FAILED).select_related("account").order_by("account_id")
    return {
        "run": run.number,
        "status": run.status,
        "target_date": run.target_date.isoformat(),
        "invoice_date": run.invoice_date.isoformat(),
        "accounts": run.accounts_total,
        "outcomes": dict(counted),
        "invoices": run.invoice_count,
        "totals": run.totals,
        "failures": [
            {"account": row.account.number, "code": row.code, "message": row.message, "hint": row.hint}
            for row in failed[:FAILURES_SHOWN]
        ],
        "mails": run.invoices.filter(deliveries__isnull=False).distinct().count(),
        "violations": run.audit,
        "seconds": round(seconds, 2),
    }


def _run_text(report: dict[str, Any]) -> str:
    words = {outcome.value: outcome.label.lower() for outcome in AccountOutcome}
    outcomes = ", ".join(f"{count} {words[name]}" for name, count in sorted(report["outcomes"].items()))
    done = f"{report['run']} is {report['status']}: {report['invoices']} invoices, {_sums(report['totals'])}"
    lines = [
        f"{done} in {report['seconds']:.1f} s.",
        f"Accounts: {report['accounts']} ({outcomes or 'none in scope'}). E-mails queued: {report['mails']}.",
    ]
    lines += [f"  {failure['account']}: {failure['message']} {failure['hint']}" for failure in report["failures"]]
    more = report["outcomes"].get(AccountOutcome.FAILED, 0) - len(report["failures"])
    return "\n".join([*lines, *([f"  … and {more} more."] if more > 0 else [])])


def _sums(totals: dict[str, str]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in totals.items()) or "nothing"
