"""Synthetic customers for measurements, as `manage.py seed --accounts` makes them; nothing of theirs is billed yet."""

from datetime import date

import psycopg

from config.seed_data.load import LOAD_ALIAS, fill_load

TARGET_DATE = date(2026, 7, 31)
INVOICE_DATE = date(2026, 8, 1)

# Every tenth account moves to another batch, so that a run over a tenth of them has the same mix.
TENTH = "Batch1"
_MOVE_TENTH = """
UPDATE accounts_account SET batch_id = (SELECT id FROM accounts_billingbatch WHERE code = %s)
WHERE id %% 10 = 0 AND batch_id = (SELECT id FROM accounts_billingbatch WHERE alias = %s)
"""


def fill(superuser: psycopg.Connection, *, accounts: int) -> None:
    """Add `accounts` customers, each with something due at `TARGET_DATE`, and let the planner know them."""
    fill_load(accounts=accounts, target_date=TARGET_DATE)
    superuser.execute(_MOVE_TENTH, [TENTH, LOAD_ALIAS])
    superuser.execute("VACUUM (ANALYZE)")


def forget_bills(superuser: psycopg.Connection) -> None:
    """Remove every invoice, item, covered day and outcome, as if nothing had been billed; runs and chunks stay."""
    superuser.execute("TRUNCATE invoicing_invoice, invoicing_coverage, invoicing_billrunaccount CASCADE")
    superuser.execute("UPDATE accounts_numbersequence SET next_number = first_number WHERE purpose = 'Invoice'")
