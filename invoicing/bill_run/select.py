"""Which accounts a run looks at: its work list, written by the database in one statement and cut into chunks."""

from datetime import date
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from accounts.models import Account, AccountStatus
from invoicing.bill_run.due_sql import BEGUN, BILLED_THROUGH, ON_WORK_LIST
from invoicing.models import BillRun, BillRunScope

_MAYBE_DUE = f"""
EXISTS (
    SELECT 1 FROM billing_subscription s
    JOIN billing_rateplancharge c ON c.subscription_id = s.id AND c.trigger_date <= %(target)s
    {BILLED_THROUGH}
    WHERE s.invoice_owner_id = a.id AND {BEGUN} AND {ON_WORK_LIST}
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


def accounts_in_scope(run: BillRun) -> QuerySet[Account] | None:
    """Return the accounts that a run is about; None for all there are."""
    found = Account.objects.filter(status=AccountStatus.ACTIVE)
    if run.scope == BillRunScope.ALL and run.bill_cycle_day is None:
        return None
    if run.scope == BillRunScope.BATCHES:
        found = found.filter(batch__in=run.batches.all())
    elif run.scope == BillRunScope.ACCOUNTS:
        found = found.filter(pk__in=run.accounts.all())
    return found if run.bill_cycle_day is None else found.filter(bill_cycle_day=run.bill_cycle_day)


def fill_work_list(run: BillRun, *, chunk_accounts: int, credit_one_time: bool) -> int:
    """Write one row per account in scope, cut what may be due into chunks, and return the number of accounts.

    Accounts that SQL alone can tell have nothing due get that outcome here and are never loaded.
    """
    values: dict[str, Any] = {
        "run": run.pk,
        "target": run.target_date,
        "excluded": run.excluded_charge_types,
        "credit_one_time": credit_one_time,
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
