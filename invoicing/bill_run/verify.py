"""The audit: a set of queries that each find rows breaking an invariant; none may find any (D28).

Run after every bill run over its own accounts, nightly and on demand over everything.
"""

from typing import NamedTuple

from django.db import connection, transaction

from accounts.currencies import currency_digits_sql
from invoicing.bill_run.verify_usage import USAGE_QUERIES
from invoicing.models.guards import COVERING_KINDS, credited_elsewhere


class Violation(NamedTuple):
    """What one check found: how many rows break which invariant, with an example."""

    check: str
    count: int  # type: ignore[assignment]  # nobody asks a violation for tuple.count()
    example: str


class Check(NamedTuple):
    """A query for offending rows; `{scope}` narrows it to one run, on the columns named by `narrowed`.

    A query that serves several checks in one pass gives each row the name of its check first.
    """

    names: str
    narrowed: str
    query: str


_OF_CHARGES = "{column} IN (SELECT i.charge_id FROM invoicing_invoiceitem i JOIN invoicing_invoice v ON v.id = i.invoice_id WHERE v.bill_run_id = %(run)s)"
_OF_RUN = "v.bill_run_id = %(run)s"
_OF_INVOICES = "{column} IN (SELECT id FROM invoicing_invoice WHERE bill_run_id = %(run)s)"

CHECKS: tuple[Check, ...] = (
    Check(
        "i1_overlap i2_hole",
        _OF_CHARGES.format(column="charge_id"),
        """SELECT CASE WHEN starts < before THEN 'i1_overlap' ELSE 'i2_hole' END, 'charge ' || charge_id FROM (
               SELECT charge_id, lower(period) AS starts, lag(upper(period)) OVER (PARTITION BY charge_id ORDER BY lower(period)) AS before
               FROM invoicing_coverage WHERE {scope}) c
           WHERE starts < before OR starts > before AND EXISTS (
               SELECT 1 FROM billing_chargesegment g WHERE g.charge_id = c.charge_id AND g.effective_start < starts
               AND (g.effective_end IS NULL OR g.effective_end > before AND g.effective_end > g.effective_start))""",
    ),
    Check(
        "i1_item_without_coverage",
        _OF_RUN,
        # Few items are not covered as they were written: those alone are looked up among the credits.
        f"""WITH uncovered AS MATERIALIZED (
               SELECT i.id, i.charge_id, i.period FROM invoicing_invoice v JOIN invoicing_invoiceitem i ON i.invoice_id = v.id
               LEFT JOIN invoicing_coverage c ON c.item_id = i.id AND c.charge_id = i.charge_id AND c.period = i.period
               WHERE {{scope}} AND v.status IN ('Draft', 'Posted') AND c.id IS NULL AND i.kind IN {COVERING_KINDS})
           SELECT 'item ' || i.id FROM uncovered i WHERE NOT {credited_elsewhere("i")}""",
    ),
    Check(
        "i1_credit_beyond_item",
        _OF_RUN,
        """SELECT 'item ' || i.id FROM invoicing_invoice v JOIN invoicing_invoiceitem k ON k.invoice_id = v.id AND k.kind = 'Credit'
           JOIN invoicing_invoiceitem i ON i.id = k.credits_id CROSS JOIN LATERAL (
               SELECT sum(o.amount) AS given FROM invoicing_invoiceitem o
               WHERE o.credits_id = i.id AND (SELECT w.status FROM invoicing_invoice w WHERE w.id = o.invoice_id) <> 'Canceled'
           ) all_credits
           WHERE {scope} AND v.status IN ('Draft', 'Posted')
             AND (i.charge_id <> k.charge_id OR NOT k.period <@ i.period OR abs(given) > abs(i.amount) OR given * i.amount > 0)""",
    ),
    Check(
        "i4_discount_beyond_line",
        _OF_RUN,
        """WITH reduced AS MATERIALIZED (
               SELECT DISTINCT coalesce(r.credits_id, r.id) AS id FROM invoicing_invoice v
               JOIN invoicing_invoiceitem d ON d.invoice_id = v.id AND d.kind = 'Discount' JOIN invoicing_invoiceitem r ON r.id = d.reduces_id
               WHERE {scope} AND v.status IN ('Draft', 'Posted')
           ), about AS MATERIALIZED (
               SELECT id, id AS line_id, 0 AS credited FROM reduced
               UNION ALL
               SELECT reduced.id, k.id, CASE w.status WHEN 'Canceled' THEN 0 ELSE k.amount END
               FROM reduced JOIN invoicing_invoiceitem k ON k.credits_id = reduced.id JOIN invoicing_invoice w ON w.id = k.invoice_id
           ), sums AS (
               SELECT about.id, sum(x.amount) AS taken FROM about JOIN invoicing_invoiceitem x ON x.reduces_id = about.line_id AND x.kind = 'Discount'
               JOIN invoicing_invoice w ON w.id = x.invoice_id AND w.status <> 'Canceled' GROUP BY about.id
           )
           SELECT 'item ' || i.id FROM sums JOIN invoicing_invoiceitem i ON i.id = sums.id
           JOIN (SELECT id, sum(credited) AS credited FROM about GROUP BY id) c ON c.id = i.id
           WHERE taken > 0 OR taken < -(i.amount + credited)""",
    ),
    Check(
        "i1_coverage_without_item",
        _OF_CHARGES.format(column="c.charge_id"),
        """SELECT 'coverage ' || c.id FROM invoicing_coverage c LEFT JOIN invoicing_invoiceitem i ON i.id = c.item_id
           LEFT JOIN invoicing_invoice v ON v.id = i.invoice_id
           WHERE {scope} AND c.item_id IS NOT NULL AND v.status IS DISTINCT FROM 'Draft' AND v.status IS DISTINCT FROM 'Posted'""",
    ),
    Check(
        "i4_sum",
        _OF_RUN,
        """SELECT coalesce(v.number, v.reference) FROM invoicing_invoice v
           LEFT JOIN invoicing_invoiceitem i ON i.invoice_id = v.id WHERE {scope}
           GROUP BY v.id HAVING sum(i.amount) IS DISTINCT FROM v.net OR v.total <> v.net + v.tax""",
    ),
    Check(
        "i4_digits",
        _OF_RUN,
        f"""SELECT 'item ' || i.id FROM invoicing_invoice v JOIN invoicing_invoiceitem i ON i.invoice_id = v.id
           WHERE {{scope}} AND scale(trim_scale(i.amount)) > {currency_digits_sql("v.currency")}""",
    ),
    Check(
        "i4_currency",
        _OF_RUN,
        """SELECT coalesce(v.number, v.reference) FROM invoicing_invoice v JOIN accounts_account a ON a.id = v.account_id
           WHERE {scope} AND v.currency <> a.currency AND v.status = 'Draft'""",
    ),
    Check(
        "i21_line_of_another_account",
        _OF_RUN,
        """SELECT 'item ' || i.id FROM invoicing_invoice v JOIN invoicing_invoiceitem i ON i.invoice_id = v.id
           LEFT JOIN billing_rateplancharge c ON c.id = i.charge_id LEFT JOIN billing_subscription s ON s.id = c.subscription_id
           WHERE {scope} AND v.status = 'Draft' AND s.invoice_owner_id IS DISTINCT FROM v.account_id""",
    ),
    Check(
        "i4_invoiced_totals",
        "false",  # a run makes drafts, which are in no total yet
        """SELECT to_char(month, 'YYYY-MM ') || currency FROM (
               SELECT month, currency, sum(invoices) AS kept, sum(total) AS kept_total FROM invoicing_invoicedtotal GROUP BY 1, 2) k
           FULL JOIN (
               SELECT date_trunc('month', invoice_date)::date AS month, currency, count(*) AS found, sum(total) AS found_total
               FROM invoicing_invoice WHERE status = 'Posted' GROUP BY 1, 2) f USING (month, currency)
           WHERE {scope} AND (kept IS DISTINCT FROM found OR kept_total IS DISTINCT FROM found_total)""",
    ),
    Check(
        "i10_gap",
        "true",
        """SELECT q.name FROM accounts_numbersequence q JOIN invoicing_invoice v ON v.number_sequence_id = q.id AND v.sequence_value IS NOT NULL
           GROUP BY q.id HAVING count(*) <> q.next_number - q.first_number OR min(v.sequence_value) <> q.first_number OR max(v.sequence_value) <> q.next_number - 1""",
    ),
    Check(
        "i13_outcome_missing",
        "r.id = %(run)s",
        """SELECT r.number || ' account ' || o.account_id FROM invoicing_billrun r JOIN invoicing_billrunaccount o ON o.run_id = r.id
           WHERE {scope} AND r.status IN ('Completed', 'PostInProgress', 'Posted') AND o.outcome = 'Pending'""",
    ),
    Check(
        "i18_document_hash",
        _OF_INVOICES.format(column="d.invoice_id"),
        "SELECT 'document ' || d.id FROM invoicing_invoicedocument d WHERE {scope} AND d.sha256 <> encode(sha256(d.content), 'hex')",
    ),
    Check(
        "i17_delivery_stuck",
        _OF_INVOICES.format(column="d.invoice_id"),
        """SELECT 'delivery ' || d.id FROM invoicing_invoicedelivery d
           WHERE {scope} AND d.state = 'Sending' AND d.claimed_at < now() - interval '1 hour'""",
    ),
    *(Check(*query) for query in USAGE_QUERIES),
)


CHECK_NAMES = tuple(name for check in CHECKS for name in check.names.split())

# From this many invoices on it is cheaper to read tables than to look rows up one by one.
_MANY_INVOICES = 2_000
# The planner has not heard of rows just written: it would look each of them up, and with one process. By now the other
# workers of the run are idle, so their processor is free to help.
_MANY_ROWS = """
SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB';
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0
"""


def audit(run_id: int | None = None) -> list[Violation]:
    """Return what breaks an invariant among a run's charges and invoices, or in the whole database without a run.

    The queries are read-only and see only committed rows.
    """
    found = []
    with transaction.atomic(), connection.cursor() as cursor:
        if run_id is None or _invoices(run_id) >= _MANY_INVOICES:
            cursor.execute(_MANY_ROWS)
        for names, narrowed, query in CHECKS:
            rows = query.format(scope="true" if run_id is None else narrowed)
            if " " not in names:
                rows = f"SELECT '{names}', offender FROM ({rows}) one(offender)"
            cursor.execute(
                f"SELECT name, count(*), min(offender) FROM ({rows}) x(name, offender) GROUP BY name ORDER BY name",
                {"run": run_id},
            )
            found += [Violation(*row) for row in cursor.fetchall()]
    return found


def _invoices(run_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(invoices), 0) FROM invoicing_billrunchunk WHERE run_id = %s", [run_id])
        return int(cursor.fetchone()[0])
