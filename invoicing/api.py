"""REST endpoints of invoicing: invoices with their lines, and bill runs."""

from datetime import date, datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from ninja import Router, Schema

from accounts.api import account_filter, not_found
from accounts.api_tokens import Scope
from accounts.cursors import DEFAULT_LIMIT, MOST, Cursor, Limit, Page, page_of
from accounts.rest import Amount, Number, requires
from invoicing.models import BillRun, Invoice, InvoiceItem, InvoiceStatus

router = Router()
DRAFT_MARK = "DRAFT-"
NAMED = ("account", "bill_run")


class InvoiceSummary(Schema):
    """A bill to one account, as lists show it; `number` is null until it is posted, `reference` always there."""

    number: str | None
    reference: str
    account: str
    bill_run: str
    status: str
    currency: str
    invoice_date: date
    due_date: date
    net: Amount
    tax: Amount
    total: Amount
    balance: Amount
    created_at: datetime
    posted_at: datetime | None
    canceled_at: datetime | None

    @staticmethod
    def resolve_account(invoice: Invoice) -> str:
        return invoice.account.number

    @staticmethod
    def resolve_bill_run(invoice: Invoice) -> str:
        return invoice.bill_run.number


class InvoiceLine(Schema):
    """A line for the service days `[period_start, period_end)` of a charge."""

    kind: str
    description: str
    subscription: str
    charge: str
    period_start: date
    period_end: date
    quantity: Amount | None
    unit_price: Amount | None
    amount: Amount

    @staticmethod
    def resolve_subscription(item: InvoiceItem) -> str:
        return item.charge.subscription.number

    @staticmethod
    def resolve_charge(item: InvoiceItem) -> str:
        return item.charge.number

    @staticmethod
    def resolve_period_start(item: InvoiceItem) -> date:
        return item.period.lower

    @staticmethod
    def resolve_period_end(item: InvoiceItem) -> date:
        return item.period.upper


class InvoiceDetails(InvoiceSummary):
    """An invoice with a page of its lines; an invoice may have more of them than one answer holds."""

    lines: Page[InvoiceLine]


class BillRunDetails(Schema):
    """One pass over a set of accounts; counts and totals are written when it is completed."""

    number: str
    name: str
    status: str
    has_errors: bool
    scope: str
    target_date: date
    invoice_date: date
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    posted_at: datetime | None
    accounts_total: int
    accounts_billed: int
    accounts_failed: int
    invoice_count: int
    totals: dict[str, str]


@router.get("/invoices", auth=requires(Scope.INVOICES_READ), response=Page[InvoiceSummary], tags=["Invoices"])
def list_invoices(
    request: HttpRequest,
    account: Number | None = None,
    status: InvoiceStatus | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List invoices, oldest first, of one account (by number) or in one status if asked to."""
    rows = Invoice.objects.select_related(*NAMED).defer("snapshot").filter(**account_filter(account))
    return page_of(rows.filter(status=status) if status else rows, cursor=cursor, limit=limit)


@router.get("/invoices/{path:number}", auth=requires(Scope.INVOICES_READ), response=InvoiceDetails, tags=["Invoices"])
def get_invoice(request: HttpRequest, number: Number, limit: Limit = MOST, cursor: Cursor = None) -> Invoice:
    """Return one invoice by its number or its DRAFT reference; `limit` and `cursor` page through its lines."""
    invoice = Invoice.objects.select_related(*NAMED).defer("snapshot").filter(_named(number)).first()
    if invoice is None:
        raise not_found("invoice", number)
    lines = invoice.items.select_related("charge__subscription").defer("derivation")
    invoice.lines = page_of(lines, cursor=cursor, limit=limit)  # type: ignore[attr-defined]
    return invoice


def _named(number: str) -> Q:
    """Return the condition for one invoice; a reference holds the key, and no index knows it otherwise."""
    key = number.removeprefix(DRAFT_MARK)
    if key != number and key.isascii() and key.isdigit():
        return Q(pk=int(key), reference=number)
    return Q(number=number)


@router.get("/bill-runs", auth=requires(Scope.BILL_RUNS_READ), response=Page[BillRunDetails], tags=["Bill runs"])
def list_bill_runs(request: HttpRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> dict[str, Any]:
    """List bill runs, oldest first."""
    return page_of(BillRun.objects.all(), cursor=cursor, limit=limit)


@router.get(
    "/bill-runs/{path:number}", auth=requires(Scope.BILL_RUNS_READ), response=BillRunDetails, tags=["Bill runs"]
)
def get_bill_run(request: HttpRequest, number: Number) -> BillRun:
    """Return one bill run."""
    run = BillRun.objects.filter(number=number).first()
    if run is None:
        raise not_found("bill run", number)
    return run
