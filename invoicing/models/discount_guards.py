"""Triggers that keep discounts true: never more than their line, never below nothing, taken back last in first out.

A line's discounts are those that reduce it or reduce a credit of it; what is given back later is one of them, with the
opposite sign, on an invoice of its own.
"""

import pgtrigger

from accounts.guards import refusal
from invoicing.models.guards import LIVE


def discounts_of(item: str) -> str:
    """Return the query of the live discounts of a line, the column or value `item`, as `x`."""
    return f"""SELECT x.* FROM invoicing_invoiceitem x JOIN invoicing_invoice xv ON xv.id = x.invoice_id
        WHERE xv.status IN {LIVE} AND x.kind = 'Discount' AND x.reduces_id IN (
            SELECT {item} UNION ALL SELECT k.id FROM invoicing_invoiceitem k WHERE k.credits_id = {item}
        )"""


def discount_trigger() -> pgtrigger.Trigger:
    """I4: at the end of its transaction a discount reduces a line of the same account that is billed, and all the line's
    discounts together take off neither less than nothing nor more than what the line bills after its credits.
    """
    return pgtrigger.Trigger(
        name="i4_discount_within_line",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("NEW.kind = 'Discount'"),
        declare=[("reduced", "invoicing_invoiceitem"), ("item", "bigint"), ("worth", "numeric"), ("taken", "numeric")],
        func=f"""
        SELECT r.* INTO reduced FROM invoicing_invoiceitem r
        JOIN invoicing_invoice v ON v.id = r.invoice_id AND v.status IN {LIVE}
        JOIN invoicing_invoice w ON w.id = NEW.invoice_id AND w.account_id = v.account_id WHERE r.id = NEW.reduces_id AND r.kind <> 'Discount';
        IF NOT FOUND THEN {refusal("A discount must reduce a line of its account that is billed (charge %)", "NEW.charge_id")} END IF;
        item := coalesce(reduced.credits_id, reduced.id);
        SELECT i.amount + coalesce((
            SELECT sum(k.amount) FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id
            WHERE k.credits_id = i.id AND w.status IN {LIVE}), 0)
        INTO worth FROM invoicing_invoiceitem i WHERE i.id = item;
        SELECT sum(d.amount) INTO taken FROM ({discounts_of("item")}) d;
        IF taken > 0 OR taken < -worth THEN
            {refusal("The discounts of a line must lie between nothing and what it bills (charge %)", "NEW.charge_id")}
        END IF;
        RETURN NULL;
        """,
    )


def cancellation_trigger() -> pgtrigger.Trigger:
    """I4: a draft is not canceled while another invoice reduces its lines, or has changed a discount after it did."""
    return pgtrigger.Trigger(
        name="i4_discount_taken_back",
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("OLD.status <> 'Canceled' AND NEW.status = 'Canceled'"),
        func=f"""
        IF EXISTS (
            SELECT 1 FROM invoicing_invoiceitem i JOIN invoicing_invoiceitem x ON x.reduces_id = i.id JOIN invoicing_invoice w ON w.id = x.invoice_id
            WHERE i.invoice_id = NEW.id AND w.status IN {LIVE}
        ) THEN {refusal("Lines of invoice % are reduced by another invoice; cancel that one first", "NEW.reference")} END IF;
        IF EXISTS (
            SELECT 1 FROM invoicing_invoiceitem d JOIN invoicing_invoiceitem r ON r.id = d.reduces_id
            CROSS JOIN LATERAL ({discounts_of("coalesce(r.credits_id, r.id)")}) later
            WHERE d.invoice_id = NEW.id AND d.kind = 'Discount' AND later.charge_id = d.charge_id AND later.id > d.id
        ) THEN {refusal("Invoice % changed a discount that another invoice has changed since; cancel that one first", "NEW.reference")} END IF;
        RETURN NULL;
        """,
    )
