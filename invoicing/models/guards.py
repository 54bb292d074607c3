"""Triggers and checks that keep invoices, items and coverage true, whoever writes SQL.

Guards over many rows are statement-level with transition tables: they cost a few percent of a COPY where a
row trigger would cost several times as much. Guards on a single row carry a WHEN, so they fire only when
there is something to refuse.
"""

import pgtrigger
from django.db.models import BooleanField, ExpressionWrapper, F, Func, Q
from pgtrigger import Referencing

from accounts.currencies import currency_digits_sql
from accounts.guards import refusal

# Lines of these kinds bill days; credits give days back and discounts reduce other lines.
COVERING_KINDS = "('Recurring', 'OneTime')"
LIVE = "('Draft', 'Posted', 'Generating')"

LEGAL_MOVES = "(('Draft', 'Posted'), ('Draft', 'Canceled'), ('Generating', 'Draft'), ('Generating', 'Canceled'))"


def credited_elsewhere(item: str) -> str:
    """Return the condition that what an item no longer covers is exactly what live credits gave back.

    The state of a credit is looked up, not joined: where joins by index are off, as in an audit of the whole database,
    a join would read all invoices again for each item.
    """
    return f"""EXISTS (
        SELECT 1 FROM invoicing_invoiceitem k
        LEFT JOIN invoicing_coverage r ON r.item_id = {item}.id AND r.charge_id = {item}.charge_id AND lower(r.period) = lower({item}.period)
        WHERE k.credits_id = {item}.id AND (SELECT w.status FROM invoicing_invoice w WHERE w.id = k.invoice_id) IN {LIVE}
        GROUP BY r.period HAVING range_agg(k.period) + datemultirange(coalesce(r.period, 'empty')) = datemultirange({item}.period)
          AND sum(upper(k.period) - lower(k.period)) + coalesce(upper(r.period) - lower(r.period), 0) = upper({item}.period) - lower({item}.period)
    )"""


def finite_period() -> Q:
    """Return the condition that `period` is a non-empty range with two real dates."""
    return Q(
        ExpressionWrapper(
            Func(
                F("period"),
                # The bound of an open end is NULL, and a CHECK lets NULL pass: ask for open ends by themselves.
                template="(NOT isempty(period) AND NOT lower_inf(period) AND NOT upper_inf(period)"
                " AND isfinite(lower(period)) AND isfinite(upper(period)))",
                output_field=BooleanField(),
            ),
            output_field=BooleanField(),
        )
    )


def invoice_state_triggers() -> list[pgtrigger.Trigger]:
    """I11: an invoice begins as a draft (or Generating) and moves only along the legal states."""
    return [
        pgtrigger.Trigger(
            name="i11_invoice_starts_open",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            condition=pgtrigger.Condition("NEW.status NOT IN ('Draft', 'Generating')"),
            func=refusal("An invoice begins as a draft, not as %", "NEW.status"),
        ),
        pgtrigger.Trigger(
            name="i11_invoice_legal_states",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            condition=pgtrigger.Condition(
                f"OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN {LEGAL_MOVES}"
            ),
            func=refusal("Invoice % cannot go from % to %", "OLD.reference", "OLD.status", "NEW.status"),
        ),
    ]


def invoice_frozen_trigger() -> pgtrigger.Trigger:
    """I3: nothing on a posted or canceled invoice changes."""
    return pgtrigger.Trigger(
        name="i3_invoice_frozen",
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=pgtrigger.Condition("OLD.status IN ('Posted', 'Canceled')"),
        func=refusal(
            "Invoice % is % and locked; correct it with an adjustment",
            "coalesce(OLD.number, OLD.reference)",
            "OLD.status",
        ),
    )


def invoice_kept_trigger() -> pgtrigger.Trigger:
    """I3, I10: only a canceled draft may be deleted."""
    return pgtrigger.Trigger(
        name="i3_invoice_kept",
        when=pgtrigger.Before,
        operation=pgtrigger.Delete,
        condition=pgtrigger.Condition("OLD.status <> 'Canceled'"),
        func=refusal(
            "Invoice % is % and cannot be deleted; cancel the draft first",
            "coalesce(OLD.number, OLD.reference)",
            "OLD.status",
        ),
    )


# A row whose id changes along the way has no old row to find, and is posted newly as well.
# Not a join: transition tables have no statistics, and ten thousand rows would be compared pair by pair.
_NEWLY_POSTED = (
    "new_rows n WHERE n.status = 'Posted' AND n.id NOT IN (SELECT o.id FROM old_rows o WHERE o.status = 'Posted')"
)


def totals_trigger() -> pgtrigger.Trigger:
    """I4: what is posted is added to the invoiced totals in the same transaction."""
    return pgtrigger.Trigger(
        name="i4_invoiced_totals",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        referencing=Referencing(old="old_rows", new="new_rows"),
        func=f"""
        INSERT INTO invoicing_invoicedtotal (month, currency, invoices, total)
        SELECT date_trunc('month', n.invoice_date)::date, n.currency, count(*), sum(n.total) FROM {_NEWLY_POSTED} GROUP BY 1, 2;
        RETURN NULL;
        """,
    )


def posting_trigger() -> pgtrigger.Trigger:
    """I1, I4, I10: what is posted adds up, is covered, and carries the next numbers of its sequence without a gap."""
    newly = _NEWLY_POSTED
    return pgtrigger.Trigger(
        name="i4_i10_posting",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        referencing=Referencing(old="old_rows", new="new_rows"),
        declare=[("bad", "text")],
        func=f"""
        SELECT n.reference INTO bad FROM (SELECT n.* FROM {newly}) n
        LEFT JOIN LATERAL (
            SELECT sum(i.amount) AS net, bool_or(scale(trim_scale(i.amount)) > {currency_digits_sql("n.currency")}) AS too_fine
            FROM invoicing_invoiceitem i WHERE i.invoice_id = n.id
        ) s ON true
        WHERE s.net IS DISTINCT FROM n.net OR n.tax <> 0 OR s.too_fine OR n.balance <> n.total LIMIT 1;
        IF FOUND THEN {refusal("The items of invoice % do not add up to its total, so it cannot be posted", "bad")} END IF;

        SELECT n.reference INTO bad FROM (SELECT n.* FROM {newly}) n
        JOIN invoicing_invoiceitem i ON i.invoice_id = n.id
        LEFT JOIN invoicing_coverage c ON c.item_id = i.id AND c.charge_id = i.charge_id AND c.period = i.period
        WHERE c.id IS NULL AND i.kind IN {COVERING_KINDS} AND NOT {credited_elsewhere("i")} LIMIT 1;
        IF FOUND THEN {refusal("Invoice % has a line whose days are not covered by it, so it cannot be posted", "bad")} END IF;

        SELECT n.reference INTO bad FROM (SELECT n.* FROM {newly}) n
        JOIN invoicing_invoiceitem i ON i.invoice_id = n.id AND i.kind = 'Credit'
        WHERE EXISTS (SELECT 1 FROM invoicing_coverage c WHERE c.item_id = i.credits_id AND c.period && i.period) LIMIT 1;
        IF FOUND THEN {refusal("Invoice % credits days that are still billed, so it cannot be posted", "bad")} END IF;

        SELECT n.reference INTO bad FROM (SELECT n.* FROM {newly}) n
        JOIN invoicing_invoiceitem i ON i.invoice_id = n.id AND i.kind = 'Usage' LEFT JOIN usage_ratedusage u ON u.id = i.rated_usage_id
        WHERE NOT coalesce(u.is_live AND u.charge_id = i.charge_id AND u.amount = i.amount, false) LIMIT 1;
        IF FOUND THEN {refusal("Invoice % bills usage that was given back or priced otherwise, so it cannot be posted", "bad")} END IF;

        SELECT q.name INTO bad FROM (
            SELECT n.number_sequence_id AS id, min(n.sequence_value) AS low, max(n.sequence_value) AS high, count(*) AS amount FROM {newly} GROUP BY 1
        ) g JOIN accounts_numbersequence q ON q.id = g.id
        WHERE g.high - g.low + 1 <> g.amount OR g.high + 1 <> q.next_number OR g.low < q.first_number
           OR NOT EXISTS (SELECT 1 FROM invoicing_invoice p WHERE p.number_sequence_id = g.id AND p.sequence_value = g.low - 1)
              AND (g.low > q.first_number OR EXISTS (SELECT 1 FROM invoicing_invoice p WHERE p.number_sequence_id = g.id AND p.sequence_value < g.low))
        LIMIT 1;
        IF FOUND THEN {refusal("Posting would leave a gap in number sequence %", "bad")} END IF;

        SELECT n.number INTO bad FROM (SELECT n.* FROM {newly}) n
        LEFT JOIN accounts_numbersequence q ON q.id = n.number_sequence_id
        WHERE q.id IS NULL OR n.number <> q.prefix || lpad(n.sequence_value::text, greatest(q.digits::int, length(n.sequence_value::text)), '0') LIMIT 1;
        IF FOUND THEN {refusal("Number % does not belong to its sequence", "bad")} END IF;
        RETURN NULL;
        """,
    )


def item_frozen_triggers() -> list[pgtrigger.Trigger]:
    """I3: items come, change and go only while their invoice is open.

    The guard first shares the invoices that another transaction made: without that lock an item could slip
    into an invoice that is being posted at the same moment.
    """

    def guard(rows: str, allowed: str) -> str:
        touched = " UNION ".join(f"SELECT invoice_id FROM {name}" for name in rows.split())
        return f"""
        PERFORM 1 FROM invoicing_invoice v WHERE v.id IN ({touched}) AND v.xmin <> pg_current_xact_id()::xid ORDER BY v.id FOR SHARE;
        SELECT coalesce(v.number, v.reference) INTO bad FROM invoicing_invoice v
        WHERE v.id IN ({touched}) AND v.status NOT IN ({allowed}) LIMIT 1;
        IF FOUND THEN {refusal("Invoice % is locked: its lines cannot be added, changed or removed", "bad")} END IF;
        RETURN NULL;
        """

    def trigger(
        name: str, operation: pgtrigger.Operation, referencing: Referencing, rows: str, allowed: str
    ) -> pgtrigger.Trigger:
        return pgtrigger.Trigger(
            name=name,
            level=pgtrigger.Statement,
            when=pgtrigger.After,
            operation=operation,
            referencing=referencing,
            declare=[("bad", "text")],
            func=guard(rows, allowed),
        )

    open_states = "'Draft', 'Generating'"
    return [
        trigger("i3_items_not_added", pgtrigger.Insert, Referencing(new="new_rows"), "new_rows", open_states),
        trigger(
            "i3_items_not_changed",
            pgtrigger.Update,
            Referencing(old="old_rows", new="new_rows"),
            "old_rows new_rows",
            open_states,
        ),
        trigger(
            "i3_items_not_removed",
            pgtrigger.Delete,
            Referencing(old="old_rows"),
            "old_rows",
            f"{open_states}, 'Canceled'",
        ),
    ]
