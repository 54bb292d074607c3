"""Triggers that tie usage lines to what was rated: billed as it was priced, and given back with their draft (I5).

That nothing is given back while an invoice bills it, and that no slice joins what is billed already, is kept by triggers
on tables of usage, which know nothing of invoices: migration 0008 puts them there.
"""

import pgtrigger

from accounts.guards import refusal


def item_trigger() -> pgtrigger.Trigger:
    """I5: a usage line bills live usage of its own charge at the amount it was rated with."""
    return pgtrigger.Trigger(
        name="i5_usage_as_rated",
        when=pgtrigger.After,
        operation=pgtrigger.Insert | pgtrigger.Update,
        condition=pgtrigger.Condition("NEW.kind = 'Usage'"),
        func=f"""
        IF NOT EXISTS (
            SELECT 1 FROM usage_ratedusage u
            WHERE u.id = NEW.rated_usage_id AND u.is_live AND u.charge_id = NEW.charge_id AND u.amount = NEW.amount AND u.period = NEW.period
        ) THEN {refusal("A line of charge % does not bill the usage that was rated", "NEW.charge_id")} END IF;
        RETURN NULL;
        """,
    )


def cancellation_trigger() -> pgtrigger.Trigger:
    """I5: when a draft is canceled, the usage that it billed is pending again."""
    return pgtrigger.Trigger(
        name="i5_usage_given_back",
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("OLD.status <> 'Canceled' AND NEW.status = 'Canceled'"),
        func=f"""
        IF EXISTS (
            SELECT 1 FROM invoicing_invoiceitem i JOIN usage_ratedusage u ON u.id = i.rated_usage_id
            WHERE i.invoice_id = NEW.id AND u.is_live
        ) THEN {refusal("Invoice % is canceled, but the usage that it billed is still Processed", "NEW.reference")} END IF;
        RETURN NULL;
        """,
    )
