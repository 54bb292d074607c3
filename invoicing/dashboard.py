"""The figures of the dashboard: what was invoiced in the last three months, what was booked, and what waits for somebody."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

from dateutil.relativedelta import relativedelta
from django.db import connection
from django.db.models import Count, Q, Sum

from billing.core.periods import MONTHS_IN
from invoicing.models import BillRun, BillRunStatus, DeliveryState, InvoiceDelivery
from invoicing.run_figures import RETRYABLE, displayed_runs

MONTHS = 3
RECENT_RUNS = 8

# How the list of bill runs is narrowed to work that waits; its tabs use the same.
TO_REVIEW = {"status__exact": "Completed", "invoice_count__gt": "0"}
FAILED = {"status__exact": "Error"}
WITH_ERRORS = {"status__in": "Completed,Error", "has_errors__exact": "1"}

# The first part is answered by the totals kept at posting, the second by the index on open invoices.
_BY_MONTH = """
SELECT 'invoiced', month, currency, sum(total), sum(invoices)
FROM invoicing_invoicedtotal WHERE month >= %(start)s AND month < %(end)s GROUP BY 2, 3
UNION ALL
SELECT 'drafts', date_trunc('month', invoice_date)::date AS month, currency, sum(total), count(*)
FROM invoicing_invoice WHERE status = 'Draft' AND invoice_date >= %(start)s AND invoice_date < %(end)s GROUP BY 2, 3
UNION ALL
SELECT 'bookings', date_trunc('month', o.order_date)::date AS month, a.currency, sum(x.delta_mrr), count(*)
FROM billing_orderaction x JOIN billing_order o ON o.id = x.order_id JOIN accounts_account a ON a.id = o.account_id
WHERE o.status = 'Completed' AND o.order_date >= %(start)s AND o.order_date < %(end)s GROUP BY 2, 3
"""
_ACCOUNTS = """
SELECT count(*) FROM (
    SELECT DISTINCT account_id FROM invoicing_invoice
    WHERE status = 'Posted' AND invoice_date >= %(start)s AND invoice_date < %(end)s) invoiced
"""

# How the list of usage records is narrowed; its tabs use the same.
USAGE_RECORDS = "/usage/usagerecord/"
LATE = {"status": "late"}
PENDING = {"status": "pending"}

# How long a billing period of a charge is; that of a subscription term is taken for a year.
_LENGTH = f"""CASE c.billing_period WHEN 'Week' THEN interval '7 days' WHEN 'SpecificWeeks' THEN c.period_length * interval '7 days'
    WHEN 'SpecificDays' THEN c.period_length * interval '1 day' WHEN 'SpecificMonths' THEN c.period_length * interval '1 month'
    {" ".join(f"WHEN '{period}' THEN interval '{months} months'" for period, months in MONTHS_IN.items())} ELSE interval '1 year' END"""

# Usage that is pending is all there is in an index of its own. How long its period is, is asked of the older alone.
_USAGE = f"""
SELECT coalesce(sum(found.records) FILTER (WHERE found.state = 'late'), 0), coalesce(sum(found.records) FILTER (WHERE found.state = 'overdue'), 0)
FROM (
    SELECT s.records, CASE
        WHEN s.last_day < (
            SELECT upper(r.period) FROM usage_ratedusage r WHERE r.charge_id = s.charge_id AND r.is_live AND r.kind = 'Period' ORDER BY upper(r.period) DESC LIMIT 1
        ) THEN 'late'
        WHEN s.last_day < %(today)s - 1 AND (SELECT s.last_day + {_LENGTH} FROM billing_rateplancharge c WHERE c.id = s.charge_id) < %(today)s THEN 'overdue'
    END AS state
    FROM usage_usageslice s WHERE s.rated_id IS NULL
) found
"""


class MonthFigures(NamedTuple):
    """One currency in one month: posted and draft totals, posted invoices, and booked recurring revenue a month."""

    month: date
    invoiced: Decimal
    drafts: Decimal
    invoices: int
    bookings: Decimal


class CurrencyFigures(NamedTuple):
    """One currency over the three months, oldest first; currencies are never added together."""

    currency: str
    months: tuple[MonthFigures, ...]

    @property
    def invoiced(self) -> Decimal:
        return sum((month.invoiced for month in self.months), Decimal(0))

    @property
    def drafts(self) -> Decimal:
        return sum((month.drafts for month in self.months), Decimal(0))

    @property
    def invoices(self) -> int:
        return sum(month.invoices for month in self.months)

    @property
    def bookings(self) -> Decimal:
        return sum((month.bookings for month in self.months), Decimal(0))


class Attention(NamedTuple):
    """How many things of one kind wait for a person, and the page (its name or path, and a list's query) that shows them."""

    count: int  # type: ignore[assignment]  # nobody asks it for tuple.count()
    one: str
    many: str
    url_name: str
    query: str

    @property
    def label(self) -> str:
        return self.one if self.count == 1 else self.many


class Figures(NamedTuple):
    """Everything the dashboard shows."""

    months: tuple[date, ...]
    currencies: tuple[CurrencyFigures, ...]
    invoices: int
    accounts: int
    attention: tuple[Attention, ...]
    recent_runs: tuple[BillRun, ...]


def dashboard_figures(today: date) -> Figures:
    """Return the figures for the month of `today` and the two before it, by invoice date (bookings by order date)."""
    this_month = today.replace(day=1)
    months = tuple(this_month - relativedelta(months=back) for back in reversed(range(MONTHS)))
    values = {"start": months[0], "end": this_month + relativedelta(months=1)}
    tables: dict[str, dict[tuple[date, str], tuple[Decimal, int]]] = {"invoiced": {}, "drafts": {}, "bookings": {}}
    with connection.cursor() as cursor:
        cursor.execute(_BY_MONTH, values)
        for table, month, currency, amount, count in cursor.fetchall():
            tables[table][month, currency] = (amount, count)
        cursor.execute(_ACCOUNTS, values)
        accounts = cursor.fetchone()[0]
    invoiced, drafts, bookings = tables.values()
    nothing = (Decimal(0), 0)
    currencies = tuple(
        CurrencyFigures(
            currency,
            tuple(
                MonthFigures(
                    month,
                    invoiced.get((month, currency), nothing)[0],
                    drafts.get((month, currency), nothing)[0],
                    invoiced.get((month, currency), nothing)[1],
                    bookings.get((month, currency), nothing)[0],
                )
                for month in months
            ),
        )
        for currency in _by_weight(invoiced, drafts, bookings)
    )
    return Figures(
        months=months,
        currencies=currencies,
        invoices=sum(figures.invoices for figures in currencies),
        accounts=accounts,
        attention=attention(),
        recent_runs=tuple(displayed_runs().order_by("-id")[:RECENT_RUNS]),
    )


def _by_weight(*tables: dict[tuple[date, str], tuple[Decimal, int]]) -> Iterable[str]:
    """Return the currencies that occur, the one on most invoices first."""
    weight: dict[str, int] = {}
    for table in tables:
        for (_, currency), (_, count) in table.items():
            weight[currency] = weight.get(currency, 0) + count
    return sorted(weight, key=lambda currency: (-weight[currency], currency))


def attention() -> tuple[Attention, ...]:
    """Return what waits for a person: runs to review, failed runs, failed accounts, unsent e-mails."""
    open_runs = BillRun.objects.filter(status__in=RETRYABLE).aggregate(
        review=Count("pk", filter=Q(status=BillRunStatus.COMPLETED, invoice_count__gt=0)),
        broken=Count("pk", filter=Q(status=BillRunStatus.ERROR)),
        failed_accounts=Sum("accounts_failed", default=0),
    )
    review, broken, failed_accounts = open_runs["review"], open_runs["broken"], open_runs["failed_accounts"]
    unsent = InvoiceDelivery.objects.filter(state__in=[DeliveryState.FAILED, DeliveryState.UNKNOWN]).count()
    return (
        Attention(
            review,
            "bill run to review and post",
            "bill runs to review and post",
            "admin:invoicing_billrun_changelist",
            urlencode(TO_REVIEW),
        ),
        Attention(
            broken, "bill run failed", "bill runs failed", "admin:invoicing_billrun_changelist", urlencode(FAILED)
        ),
        Attention(
            failed_accounts,
            "account with errors",
            "accounts with errors",
            "admin:invoicing_billrun_changelist",
            urlencode(WITH_ERRORS),
        ),
        Attention(
            unsent,
            "e-mail not sent",
            "e-mails not sent",
            "admin:invoicing_invoicedelivery_changelist",
            urlencode({"state__in": "Failed,Unknown"}),
        ),
    )


def usage_attention(today: date) -> tuple[Attention, ...]:
    """Return usage that waits: of days that are over for longer than a billing period, and of days rated before.

    All pending usage is looked at, a few microseconds a slice, so the start page asks for it apart.
    """
    with connection.cursor() as cursor:
        cursor.execute(_USAGE, {"today": today})
        late, overdue = cursor.fetchone()
    return (
        Attention(
            overdue,
            "overdue usage record",
            "overdue usage records",
            USAGE_RECORDS,
            urlencode(PENDING),
        ),
        Attention(late, "late usage record", "late usage records", USAGE_RECORDS, urlencode(LATE)),
    )


class FirstStep(NamedTuple):
    """A step of the first-run checklist."""

    title: str
    done: bool
    url_name: str


_FIRST_STEPS = """
SELECT EXISTS (SELECT FROM billing_productrateplancharge), EXISTS (SELECT FROM accounts_account),
       EXISTS (SELECT FROM billing_subscription), EXISTS (SELECT FROM invoicing_billrun)
"""


def first_steps() -> tuple[FirstStep, ...]:
    """Return the checklist of a new installation; all done means it need not be shown."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_STEPS)
        sold, accounts, ordered, billed = cursor.fetchone()
    return (
        FirstStep(
            "Describe what you sell: a product with a rate plan and charges", sold, "admin:billing_product_changelist"
        ),
        FirstStep("Add the accounts you bill", accounts, "admin:accounts_account_changelist"),
        FirstStep("Order subscriptions for them", ordered, "admin:billing_order_changelist"),
        FirstStep("Run your first bill run", billed, "admin:invoicing_billrun_new"),
    )
