"""Invariants of some accounts in SQL of their own, apart from the product's audit: each query finds what breaks one."""

from collections.abc import Sequence

from django.db import connection

from accounts.currencies import currency_digits_sql

_CHARGES = """
SELECT c.id FROM billing_rateplancharge c JOIN billing_subscription s ON s.id = c.subscription_id WHERE s.invoice_owner_id = ANY(%(accounts)s)
"""

BROKEN = {
    "I1 a day is billed twice": f"""
        SELECT a.charge_id, a.period * b.period FROM invoicing_coverage a
        JOIN invoicing_coverage b ON b.charge_id = a.charge_id AND b.id > a.id AND b.period && a.period
        WHERE a.charge_id IN ({_CHARGES})""",
    "I1 days are billed without a line that stands": f"""
        SELECT c.charge_id, c.period FROM invoicing_coverage c LEFT JOIN invoicing_invoiceitem i ON i.id = c.item_id AND c.period <@ i.period
        LEFT JOIN invoicing_invoice v ON v.id = i.invoice_id AND v.status IN ('Draft', 'Posted')
        WHERE c.charge_id IN ({_CHARGES}) AND v.id IS NULL""",
    # Days that are served are billed without a hole from the first to the last of them.
    "I2 a day between billed days is not billed": f"""
        SELECT charge_id, served * datemultirange(range_merge(billed)) - billed FROM (
            SELECT c.charge_id, range_agg(c.period) AS billed, (
                SELECT range_agg(daterange(g.effective_start, g.effective_end)) FROM billing_chargesegment g WHERE g.charge_id = c.charge_id
            ) AS served
            FROM invoicing_coverage c WHERE c.charge_id IN ({_CHARGES}) GROUP BY c.charge_id
        ) x WHERE NOT served * datemultirange(range_merge(billed)) <@ billed""",
    "I4 lines do not add up to their invoice": """
        SELECT v.id, v.net FROM invoicing_invoice v LEFT JOIN invoicing_invoiceitem i ON i.invoice_id = v.id
        WHERE v.account_id = ANY(%(accounts)s) GROUP BY v.id
        HAVING sum(i.amount) IS DISTINCT FROM v.net OR v.total <> v.net + v.tax OR v.balance <> v.total OR v.net = 'NaN'""",
    "I4 an amount has more digits than its currency": f"""
        SELECT i.id, i.amount FROM invoicing_invoice v JOIN invoicing_invoiceitem i ON i.invoice_id = v.id
        WHERE v.account_id = ANY(%(accounts)s) AND i.amount <> round(i.amount, {currency_digits_sql("v.currency")})""",
    "I4 more is credited than was billed": """
        SELECT i.id, sum(k.amount) FROM invoicing_invoice v JOIN invoicing_invoiceitem k ON k.invoice_id = v.id
        JOIN invoicing_invoiceitem i ON i.id = k.credits_id
        WHERE v.account_id = ANY(%(accounts)s) AND v.status IN ('Draft', 'Posted') GROUP BY i.id
        HAVING abs(sum(k.amount)) > abs(i.amount) OR sum(k.amount) * i.amount > 0""",
}

_POSTED = """
SELECT v.id, md5(v::text || (SELECT string_agg(i::text, ' ' ORDER BY i.id) FROM invoicing_invoiceitem i WHERE i.invoice_id = v.id))
FROM invoicing_invoice v WHERE v.account_id = ANY(%(accounts)s) AND v.status = 'Posted'
"""


def broken(accounts: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return what breaks an invariant of these accounts: which one, where, and what is wrong there."""
    every = " UNION ALL ".join(
        f"SELECT '{name}', one.a::text, one.b::text FROM ({query}) one(a, b)" for name, query in BROKEN.items()
    )
    with connection.cursor() as cursor:
        cursor.execute(every, {"accounts": list(accounts)})
        return [(name, where, what) for name, where, what in cursor.fetchall()]


def posted(accounts: Sequence[int]) -> dict[int, str]:
    """Return a fingerprint of every posted invoice with its lines (I3)."""
    with connection.cursor() as cursor:
        cursor.execute(_POSTED, {"accounts": list(accounts)})
        return dict(cursor.fetchall())
