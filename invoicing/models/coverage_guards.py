"""Triggers that keep coverage true: added without holes, given back only by canceling or by a credit, restored with it.

A period of a charge is covered once. Canceling a draft removes its coverage; a credit shortens the coverage of the item
it credits by exactly the days it gives back; canceling the credit's draft lengthens it again (D8).
"""

import pgtrigger
from pgtrigger import Referencing

from accounts.guards import refusal
from invoicing.models.guards import COVERING_KINDS, LIVE

# Advisory lock key: whoever adds coverage shares it until commit, whoever releases coverage has it alone.
RELEASE_LOCK = 7413

CANCELED = "('Canceled')"


def credited(row: str, days: str, states: str) -> str:
    """Return the condition that a credit in one of these states gives back exactly these days of a coverage row."""
    return f"""EXISTS (
        SELECT 1 FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id
        WHERE k.credits_id = {row}.item_id AND k.charge_id = {row}.charge_id AND k.period = {days} AND w.status IN {states}
    )"""


_THROUGH_BEFORE = "SELECT max(upper(c.period)) FROM invoicing_coverage c WHERE c.charge_id = n.charge_id AND upper(c.period) < lower(n.period)"
_NEXT_AFTER = "SELECT min(lower(c.period)) FROM invoicing_coverage c WHERE c.charge_id = n.charge_id AND upper(c.period) > upper(n.period)"


def served(row: str, start: str, end: str) -> str:
    """Return the condition that a segment of the row's charge serves some day of `[start, end)`: a pause is no hole."""
    return f"""EXISTS (
        SELECT 1 FROM billing_chargesegment g WHERE g.charge_id = {row}.charge_id AND {start} < {end} AND g.effective_start < {end}
        AND (g.effective_end IS NULL OR g.effective_end > {start} AND g.effective_end > g.effective_start)
    )"""


def coverage_triggers() -> list[pgtrigger.Trigger]:
    """I1, I2: coverage is contiguous, and given back from its end, by canceling its invoice or by a credit for those days.

    Adding looks at the days before, releasing at the days after, and neither sees what the other has not committed
    yet. So the two wait for each other: one lock a statement, where a lock on each row would cost a tenth of a COPY.
    """
    return [
        pgtrigger.Trigger(
            name="i2_no_hole",
            level=pgtrigger.Statement,
            when=pgtrigger.After,
            operation=pgtrigger.Insert,
            referencing=Referencing(new="new_rows"),
            declare=[("bad", "bigint")],
            func=f"""
            PERFORM pg_advisory_xact_lock_shared({RELEASE_LOCK});
            SELECT n.charge_id INTO bad FROM new_rows n
            WHERE CASE WHEN EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.charge_id = n.charge_id AND upper(c.period) = lower(n.period)) THEN false
                WHEN NOT EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.charge_id = n.charge_id AND upper(c.period) < lower(n.period)) THEN false
                ELSE {served("n", f"({_THROUGH_BEFORE})", "lower(n.period)")} END LIMIT 1;
            IF FOUND THEN {refusal("Charge % would have unbilled days before the new ones", "bad")} END IF;
            SELECT n.charge_id INTO bad FROM new_rows n
            WHERE CASE WHEN NOT EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.charge_id = n.charge_id AND upper(c.period) > upper(n.period)) THEN false
                ELSE {served("n", "upper(n.period)", f"({_NEXT_AFTER})")} END LIMIT 1;
            IF FOUND THEN {refusal("Charge % would have unbilled days after the new ones", "bad")} END IF;
            RETURN NULL;
            """,
        ),
        pgtrigger.Trigger(
            name="i1_coverage_not_rewritten",
            level=pgtrigger.Statement,
            when=pgtrigger.After,
            operation=pgtrigger.Update,
            referencing=Referencing(old="old_rows", new="new_rows"),
            declare=[("bad", "bigint")],
            func=f"""
            PERFORM pg_advisory_xact_lock_shared({RELEASE_LOCK});
            SELECT o.charge_id INTO bad FROM old_rows o LEFT JOIN new_rows n ON n.id = o.id
            WHERE n.id IS NULL OR (n.charge_id, n.item_id, n.kind, lower(n.period)) IS DISTINCT FROM (o.charge_id, o.item_id, o.kind, lower(o.period))
              OR upper(n.period) < upper(o.period) AND NOT {credited("o", "daterange(upper(n.period), upper(o.period))", LIVE)}
              OR upper(n.period) > upper(o.period) AND NOT {credited("o", "daterange(upper(o.period), upper(n.period))", CANCELED)} LIMIT 1;
            IF FOUND THEN {refusal("Days that are billed cannot be rewritten (charge %)", "bad")} END IF;
            RETURN NULL;
            """,
        ),
        pgtrigger.Trigger(
            name="i1_coverage_released_only",
            level=pgtrigger.Statement,
            when=pgtrigger.After,
            operation=pgtrigger.Delete,
            referencing=Referencing(old="old_rows"),
            declare=[("bad", "text")],
            func=f"""
            PERFORM 1 FROM old_rows r WHERE NOT {credited("r", "r.period", LIVE)} LIMIT 1;
            IF NOT FOUND THEN
                -- Given back by credits, in a transaction that bills the same days anew or ends them for good.
                PERFORM pg_advisory_xact_lock_shared({RELEASE_LOCK});
                RETURN NULL;
            END IF;
            PERFORM pg_advisory_xact_lock({RELEASE_LOCK});
            SELECT coalesce(v.number, v.reference) INTO bad FROM old_rows r
            JOIN invoicing_invoiceitem i ON i.id = r.item_id JOIN invoicing_invoice v ON v.id = i.invoice_id
            WHERE v.status <> 'Canceled' AND NOT {credited("r", "r.period", LIVE)} LIMIT 1;
            IF FOUND THEN {refusal("Invoice % still bills these days; cancel it first", "bad")} END IF;
            SELECT r.charge_id::text INTO bad FROM old_rows r JOIN invoicing_coverage c ON c.charge_id = r.charge_id AND upper(c.period) > upper(r.period)
            WHERE r.kind = 'Period' LIMIT 1;
            IF FOUND THEN {refusal("Charge % has later days billed; releasing the earlier ones would leave a hole", "bad")} END IF;
            RETURN NULL;
            """,
        ),
    ]


def credit_trigger() -> pgtrigger.Trigger:
    """I1, I2: at the end of its transaction a credit has given back the days it says, within its item, leaving no hole."""
    return pgtrigger.Trigger(
        name="i1_credit_gives_back",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("NEW.kind = 'Credit'"),
        declare=[("credited", "invoicing_invoiceitem"), ("given", "numeric"), ("through", "date"), ("later", "date")],
        func=f"""
        SELECT i.* INTO credited FROM invoicing_invoiceitem i WHERE i.id = NEW.credits_id;
        SELECT sum(k.amount) INTO given FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id
        WHERE k.credits_id = NEW.credits_id AND w.status IN {LIVE};
        IF credited.charge_id IS DISTINCT FROM NEW.charge_id OR credited.kind NOT IN {COVERING_KINDS} OR NOT NEW.period <@ credited.period
           OR abs(given) > abs(credited.amount) OR given * credited.amount > 0 THEN
            {refusal("A credit must lie within the line that it credits (charge %)", "NEW.charge_id")}
        END IF;
        IF EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.item_id = NEW.credits_id AND c.period && NEW.period) THEN
            {refusal("Charge % is credited for days that are still billed", "NEW.charge_id")}
        END IF;
        SELECT max(upper(c.period)) INTO through FROM invoicing_coverage c WHERE c.charge_id = NEW.charge_id AND lower(c.period) < lower(NEW.period);
        SELECT min(lower(c.period)) INTO later FROM invoicing_coverage c WHERE c.charge_id = NEW.charge_id AND lower(c.period) >= lower(NEW.period);
        IF later IS NOT NULL AND {served("NEW", "coalesce(through, lower(NEW.period))", "later")} THEN
            {refusal("Charge % would be left with days that are neither billed nor due", "NEW.charge_id")}
        END IF;
        RETURN NULL;
        """,
    )


def cancellation_trigger() -> pgtrigger.Trigger:
    """I1: when a draft is canceled, days that its credits gave back are billed again, and nothing credits its own lines."""
    return pgtrigger.Trigger(
        name="i1_credit_taken_back",
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("OLD.status <> 'Canceled' AND NEW.status = 'Canceled'"),
        func=f"""
        IF EXISTS (
            SELECT 1 FROM invoicing_invoiceitem k JOIN invoicing_invoiceitem i ON i.id = k.credits_id JOIN invoicing_invoice v ON v.id = i.invoice_id
            WHERE k.invoice_id = NEW.id AND k.kind = 'Credit' AND v.status IN {LIVE}
            AND NOT EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.item_id = i.id AND c.period @> k.period)
        ) THEN {refusal("Invoice % is canceled, but days that it credited are not billed again", "NEW.reference")} END IF;
        IF EXISTS (
            SELECT 1 FROM invoicing_invoiceitem i JOIN invoicing_invoiceitem k ON k.credits_id = i.id JOIN invoicing_invoice w ON w.id = k.invoice_id
            WHERE i.invoice_id = NEW.id AND w.status IN {LIVE}
        ) THEN {refusal("Lines of invoice % are credited by another invoice; cancel that one first", "NEW.reference")} END IF;
        RETURN NULL;
        """,
    )
