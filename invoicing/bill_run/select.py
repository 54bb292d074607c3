"""Which accounts a run looks at: its work list, written by the database in one statement and cut into chunks."""

from datetime import date
from typing import Any

from django.db import connection

from invoicing.models import BillRun, BillRunScope

# An account can only have something due if a charge has begun and is not covered beyond the target date; in
# arrears a period ends even later, so the same test holds for both. Everything else is decided by pricing.
_MAYBE_DUE = """
EXISTS (
    SELECT 1 FROM billing_subscription s
    JOIN billing_rateplancharge c ON c.subscription_id = s.id AND c.trigger_date <= %(target)s
    LEFT JOIN LATERAL (
        SELECT upper(v.period) AS day FROM invoicing_coverage v WHERE v.charge_id = c.id ORDER BY upper(v.period) DESC LIMIT 1
    ) billed ON true
    WHERE s.invoice_owner_id = a.id AND s.status = 'Active' AND c.charge_type <> ALL(%(excluded)s)
      AND (billed.day IS NULL OR (billed.day <= %(target)s AND c.charge_type <> 'OneTime'))
)
"""

# Everything about an account's row is known when it is inserted, so no row is written twice. Foreign keys are checked
# at the end, which lets one statement write the chunks and the rows that point to them.
_FILL = f"""
WITH in_scope AS MATERIALIZED (
    SELECT a.id, {_MAYBE_DUE} AS maybe_due FROM accounts_account a
    WHERE a.status = 'Active' AND ({{scope}}) AND (%(cycle_day)s::int IS NULL OR a.bill_cycle_day = %(cycle_day)s)
), numbered AS MATERIALIZED (
    SELECT id, CASE WHEN maybe_due THEN (row_number() OVER (PARTITION BY maybe_due ORDER BY id) - 1) / %(size)s END AS part FROM in_scope
), parts AS MATERIALIZED (
    SELECT part, accounts, nextval('invoicing_billrunchunk_id_seq') AS id
    FROM (SELECT part, count(*) AS accounts FROM numbered WHERE part IS NOT NULL GROUP BY part ORDER BY part) p
), chunks AS (
    INSERT INTO invoicing_billrunchunk (id, run_id, state, accounts, attempts, invoices, failed, billed, totals, error)
    SELECT id, %(run)s, 'Pending', accounts, 0, 0, 0, 0, '{{{{}}}}', '' FROM parts
)
INSERT INTO invoicing_billrunaccount (run_id, account_id, chunk_id, outcome, invoices, items, code, message, hint)
SELECT %(run)s, n.id, p.id, CASE WHEN p.id IS NULL THEN 'NothingDue' ELSE 'Pending' END, 0, 0,
    CASE WHEN p.id IS NOT NULL THEN '' WHEN last.number IS NULL THEN 'nothing_due' ELSE 'billed_by_other_run' END,
    CASE WHEN p.id IS NULL THEN concat_ws(' ', %(message)s, last.number || %(waits)s) ELSE '' END, ''
FROM numbered n LEFT JOIN parts p USING (part) LEFT JOIN LATERAL (
    SELECT r.number FROM (
        SELECT v.bill_run_id, v.status FROM invoicing_invoice v WHERE v.account_id = n.id ORDER BY v.id DESC LIMIT 1
    ) v JOIN invoicing_billrun r ON r.id = v.bill_run_id WHERE v.status = 'Draft' AND p.id IS NULL
) last ON true ORDER BY n.id
"""
# An operator who repeats a run wonders first of all whether the drafts of the one before are the reason.
_WAITS = " has billed it; its draft waits to be posted."

_SCOPES = {
    BillRunScope.ALL: "true",
    BillRunScope.BATCHES: "a.batch_id IN (SELECT billingbatch_id FROM invoicing_billrun_batches WHERE billrun_id = %(run)s)",
    BillRunScope.ACCOUNTS: "a.id IN (SELECT account_id FROM invoicing_billrun_accounts WHERE billrun_id = %(run)s)",
}


def fill_work_list(run: BillRun, *, chunk_accounts: int) -> int:
    """Write one row per account in scope, cut what may be due into chunks, and return the number of accounts.

    Accounts that SQL alone can tell have nothing due get that outcome here and are never loaded.
    """
    values: dict[str, Any] = {
        "run": run.pk,
        "target": run.target_date,
        "excluded": run.excluded_charge_types,
        "cycle_day": run.bill_cycle_day,
        "size": chunk_accounts,
        "message": nothing_due_message(run.target_date),
        "waits": _WAITS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FILL.format(scope=_SCOPES[BillRunScope(run.scope)]), values)
        return cursor.rowcount


def nothing_due_message(target_date: date) -> str:
    """Return the words for an account without anything to bill."""
    return f"Nothing is due by {target_date.isoformat()}."
