"""The verbs of invoicing: what pages, commands and the API ask for. Each checks its input, writes rows, then rings workers."""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform, KeyTransform

from accounts.models import Account, AccountStatus, BillingBatch
from billing.core.types import ChargeType
from billing.queries import auto_post_allowed, current_rules
from billing.services.renewals import renew_due
from invoicing.bill_run import run as bill_run
from invoicing.delivery import queue_invoice, queue_run
from invoicing.models import (
    AccountOutcome,
    BillRun,
    BillRunScope,
    BillRunStatus,
    DeliveryState,
    Invoice,
    InvoiceDelivery,
    InvoiceStatus,
)
from invoicing.posting import begin_cancel_run, cancel_drafts, close_run, post_drafts
from invoicing.tasks import ring_mail, ring_run


class RunRequest(NamedTuple):
    """What an operator asks a bill run to do; dates are business days, `batches` or `accounts` only with their scope."""

    scope: BillRunScope
    target_date: date
    invoice_date: date
    batches: tuple[BillingBatch, ...] = ()
    accounts: tuple[Account, ...] = ()
    bill_cycle_day: int | None = None
    excluded_charge_types: tuple[ChargeType, ...] = ()
    auto_post: bool = False
    auto_email: bool = False
    email_zero_totals: bool = True
    name: str = ""
    auto_renew: bool = True


class RunPreview(NamedTuple):
    """What a run would do: accounts in scope, how many of them were priced, and the drafts and totals of those.

    `examples` are the first reasons why accounts cannot be billed, each naming what is wrong.
    """

    accounts: int
    priced: int
    invoices: int
    totals: dict[str, Decimal]
    problems: int
    examples: tuple[str, ...]
    drafts_waiting: int
    runs_in_progress: tuple[str, ...]


PREVIEW_ACCOUNTS = 1_000
PREVIEW_EXAMPLES = 3


def check_run_request(request: RunRequest, *, today: date) -> None:
    """Raise ValidationError naming the field if the request cannot be run."""
    problems: dict[str, str] = {}
    horizon = today + relativedelta(months=settings.BILL_RUN_TARGET_HORIZON_MONTHS)
    if request.target_date > horizon:
        problems["target_date"] = (
            f"The target date lies more than {settings.BILL_RUN_TARGET_HORIZON_MONTHS} months ahead; the latest allowed is {horizon.isoformat()}."
        )
    if request.scope == BillRunScope.BATCHES and not request.batches:
        problems["batches"] = "Choose at least one billing batch, or bill all accounts."
    if request.scope == BillRunScope.ACCOUNTS and not request.accounts:
        problems["accounts"] = "Choose at least one account."
    inactive = [account.number for account in request.accounts if account.status != AccountStatus.ACTIVE]
    if inactive:
        problems["accounts"] = (
            f"Only active accounts can be billed; {', '.join(inactive[:5])} {'is' if len(inactive) == 1 else 'are'} not."
        )
    if request.bill_cycle_day is not None and not 1 <= request.bill_cycle_day <= 31:
        problems["bill_cycle_day"] = "A bill cycle day lies between 1 and 31."
    if len(set(request.excluded_charge_types)) == len(ChargeType):
        problems["excluded_charge_types"] = "At least one charge type must be billed."
    if request.auto_post and not auto_post_allowed():
        problems["auto_post"] = "The billing rules do not allow posting without review."
    if request.auto_email and not request.auto_post:
        problems["auto_email"] = "Only posted invoices are e-mailed: switch on posting as well."
    if problems:
        raise ValidationError(problems)


def create_run(request: RunRequest, *, today: date, user_id: int | None) -> BillRun:
    """Create a bill run and wake the workers; the run starts at once.

    Raises ValidationError naming the field; then nothing was created.
    """
    check_run_request(request, today=today)
    with transaction.atomic():
        run = bill_run.create(
            batches=request.batches,
            accounts=request.accounts,
            name=request.name,
            scope=request.scope,
            bill_cycle_day=request.bill_cycle_day,
            target_date=request.target_date,
            invoice_date=request.invoice_date,
            excluded_charge_types=[kind.value for kind in request.excluded_charge_types],
            auto_post=request.auto_post,
            auto_email=request.auto_email,
            email_zero_totals=request.email_zero_totals,
            auto_renew=request.auto_renew,
            created_by_id=user_id,
        )
        ring_run(run.pk)
    return run


def preview_run(request: RunRequest, *, today: date) -> RunPreview:
    """Price what the run would bill without writing anything, for at most `PREVIEW_ACCOUNTS` accounts.

    The very steps of the run are used, so the figures are exact for the accounts that were priced.
    """
    check_run_request(request, today=today)
    in_scope = Account.objects.filter(status=AccountStatus.ACTIVE)
    if request.scope == BillRunScope.BATCHES:
        in_scope = in_scope.filter(batch__in=request.batches)
    if request.scope == BillRunScope.ACCOUNTS:
        in_scope = in_scope.filter(pk__in=[account.pk for account in request.accounts])
    if request.bill_cycle_day is not None:
        in_scope = in_scope.filter(bill_cycle_day=request.bill_cycle_day)
    chosen = list(in_scope.order_by("pk").values_list("pk", flat=True)[:PREVIEW_ACCOUNTS])
    terms = bill_run.Terms(
        0, request.target_date, request.invoice_date, frozenset(request.excluded_charge_types), current_rules()
    )
    with transaction.atomic():
        if request.auto_renew:
            # As the run would do first of all; undone below.
            renew_due(request.target_date, chosen)
        loaded = bill_run.load(chosen, terms)
        transaction.set_rollback(True)
    drafts, outcomes, _ = bill_run.price_accounts(loaded, terms)
    totals: Counter[str] = Counter()
    for draft, _ in drafts:
        totals[draft.key.currency] += sum((line.amount for line in draft.lines), Decimal(0))  # type: ignore[assignment]
    failures = [outcome for outcome in outcomes if outcome.outcome == AccountOutcome.FAILED]
    waiting = Invoice.objects.filter(status=InvoiceStatus.DRAFT, account__in=in_scope)
    running = BillRun.objects.filter(status__in=[BillRunStatus.PENDING, BillRunStatus.PROCESSING]).values_list(
        "number", flat=True
    )
    return RunPreview(
        accounts=in_scope.count(),
        priced=len(chosen),
        invoices=len(drafts),
        totals=dict(sorted(totals.items())),  # type: ignore[arg-type]
        problems=len(failures),
        examples=tuple(outcome.message for outcome in failures[:PREVIEW_EXAMPLES]),
        drafts_waiting=waiting.count(),
        runs_in_progress=tuple(running[:5]),
    )


class PostingFigures(NamedTuple):
    """What posting a run would lock; `check` is sent with the form, so that other figures are noticed."""

    invoices: int
    totals: dict[str, Decimal]
    zero_totals: int
    failed_accounts: int

    @property
    def check(self) -> str:
        return ";".join([str(self.invoices), *(f"{currency}={amount:f}" for currency, amount in self.totals.items())])


def posting_figures(run: BillRun) -> PostingFigures:
    """Return counts and totals per currency of the run's drafts, as they are now."""
    rows = (
        run.invoices.filter(status=InvoiceStatus.DRAFT)
        .values("currency")
        .annotate(count=Count("id"), amount=Sum("total"))
        .order_by("currency")
    )
    return PostingFigures(
        invoices=sum(row["count"] for row in rows),
        totals={row["currency"]: row["amount"] for row in rows},
        zero_totals=run.invoices.filter(status=InvoiceStatus.DRAFT, total=0).count(),
        failed_accounts=run.accounts_failed,
    )


def post_run(run: BillRun, *, expected: str, user_id: int) -> None:
    """Begin to post every draft of a completed run in the background.

    Raises ValidationError when the run is not Completed or its drafts are no longer those the operator saw
    (`expected` is PostingFigures.check); then nothing was posted.
    """
    figures = posting_figures(run)
    if figures.check != expected:
        raise ValidationError(
            "The drafts changed since you opened this dialog. Nothing was posted; check the new figures.",
            code="changed",
        )
    if not figures.invoices:
        raise ValidationError(f"{run.number} has no drafts to post.")
    with transaction.atomic():
        moved = BillRun.objects.filter(pk=run.pk, status=BillRunStatus.COMPLETED).update(
            status=BillRunStatus.POST_IN_PROGRESS, posted_by=user_id, error=""
        )
        if not moved:
            raise ValidationError(f"{run.number} cannot be posted in its present state. Nothing was posted.")
        ring_run(run.pk, workers=1)


def post_invoice(invoice: Invoice, *, user_id: int) -> None:
    """Post one draft now. Raises ValidationError if it is no draft any more, PostingError if it cannot be posted."""
    if post_drafts(invoice_ids=[invoice.pk], user_id=user_id) != 1:
        raise ValidationError(f"{invoice} is no longer a draft. Nothing was changed.")
    close_run(invoice.bill_run_id)


def cancel_invoice(invoice: Invoice) -> None:
    """Cancel one draft and release its days. Raises ValidationError if it is no draft, CancelError if it must stay."""
    if cancel_drafts([invoice.pk]) != 1:
        raise ValidationError(f"{invoice} is no longer a draft. Nothing was changed.")
    close_run(invoice.bill_run_id)


def cancel_run(run: BillRun) -> None:
    """Stop a run and cancel its drafts in the background. Raises ValidationError if its state forbids it, CancelError if posted."""
    with transaction.atomic():
        if not begin_cancel_run(run.pk):
            raise ValidationError(f"{run.number} cannot be canceled in its present state. Nothing was changed.")
        ring_run(run.pk, workers=1)


def retry_failed_accounts(run: BillRun) -> int:
    """Bill the failed accounts of a finished run again; return how many. Raises ValidationError when there are none."""
    with transaction.atomic():
        count = bill_run.retry_failed(run)
        if not count:
            raise ValidationError(f"{run.number} has no failed accounts to retry.")
        ring_run(run.pk)
    return count


def unsent_invoices(run: BillRun) -> QuerySet[Invoice]:
    """Return the invoices for which `email_run` would queue an e-mail now."""
    bill_to = KeyTextTransform("email", KeyTransform("bill_to", "snapshot"))
    wanted = run.invoices.annotate(bill_to_email=bill_to).filter(
        status=InvoiceStatus.POSTED, account__email_invoices=True, bill_to_email__gt=""
    )
    if not run.email_zero_totals:
        wanted = wanted.exclude(total=0)
    tried = InvoiceDelivery.objects.filter(invoice=OuterRef("pk")).exclude(state=DeliveryState.FAILED)
    return wanted.filter(~Exists(tried))


def email_run(run: BillRun, *, user_id: int) -> int:
    """Queue e-mails for the run's posted invoices that were never sent; return how many."""
    with transaction.atomic():
        queued = queue_run(run, user_id=user_id)
        ring_mail()
    return queued


def email_invoice(invoice: Invoice, *, user_id: int) -> InvoiceDelivery:
    """Queue one e-mail of a posted invoice. Raises ValidationError when it is not posted or has no address."""
    if invoice.status != InvoiceStatus.POSTED:
        raise ValidationError("Only posted invoices are e-mailed. Post this draft first.")
    with transaction.atomic():
        delivery = queue_invoice(invoice, user_id=user_id)
        if delivery is None:
            raise ValidationError(
                "The bill-to contact had no e-mail address when this invoice was posted, and the account has no additional ones. Nothing was sent."
            )
        ring_mail()
    return delivery
