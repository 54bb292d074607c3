"""Triggers and checks that keep usage true: counted once, priced once, and unchanged when it has been (I5).

Records come first, then their slice: so nothing can be added to a slice that is there already, and a slice that is
written has just the sums of its records. Whatever changes records afterwards, a trigger sums up again.
"""

from collections.abc import Sequence

import pgtrigger
from django.db.models import BooleanField, ExpressionWrapper, F, Func, Q
from pgtrigger import Referencing

from accounts.guards import refusal

# Advisory lock key: whoever rates shares it until commit, whoever gives rated days back has it alone.
RELEASE_LOCK = 7414


def _condition(template: str) -> Q:
    # The bound of an open end is NULL, and a CHECK lets NULL pass: ask for open ends by themselves.
    inner = Func(F("period"), template=template, output_field=BooleanField())
    return Q(ExpressionWrapper(inner, output_field=BooleanField()))


def finite_period() -> Q:
    """Return the condition that `period` is a non-empty range with two real dates."""
    return _condition(
        "(NOT isempty(period) AND NOT lower_inf(period) AND NOT upper_inf(period)"
        " AND isfinite(lower(period)) AND isfinite(upper(period)))"
    )


def counted_before_it_ends() -> Q:
    """Return the condition that counting begins no later than the rated days do."""
    return _condition("(counted_from <= lower(period))")


def _statement(
    name: str, operation: pgtrigger.Operation, func: str, *, old: bool = False, new: bool = False, bad: str = "bigint"
) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=Referencing(old="old_rows" if old else None, new="new_rows" if new else None),
        declare=[("bad", bad)],
        func=f"{func} RETURN NULL;",
    )


# What slices must say, from their records.
_SUMS = """
    SELECT r.slice_id, sum(r.quantity) AS quantity, count(*) AS records, min(r.start_date) AS first_day, max(r.start_date) AS last_day
    FROM usage_usagerecord r WHERE r.slice_id IN ({slices}) GROUP BY r.slice_id
"""


def record_triggers() -> list[pgtrigger.Trigger]:
    """I5: records of a slice that is Processed stay as they are; those of a pending one take its sums with them."""

    def changed(rows: str) -> str:
        touched = " UNION ".join(f"SELECT slice_id FROM {name}" for name in rows.split())
        return f"""
        -- A run that is rating one of these slices right now has locked it: we wait, and then see that it is Processed.
        PERFORM 1 FROM usage_usageslice s WHERE s.id IN ({touched}) ORDER BY s.id FOR NO KEY UPDATE;
        SELECT s.id INTO bad FROM usage_usageslice s WHERE s.id IN ({touched}) AND s.rated_id IS NOT NULL LIMIT 1;
        IF FOUND THEN {refusal("This usage is Processed: it is on an invoice and cannot be changed")} END IF;
        UPDATE usage_usageslice s SET quantity = n.quantity, records = n.records, first_day = n.first_day, last_day = n.last_day
        FROM ({_SUMS.format(slices=touched)}) n WHERE n.slice_id = s.id
          AND (s.quantity, s.records, s.first_day, s.last_day) IS DISTINCT FROM (n.quantity, n.records, n.first_day, n.last_day);
        DELETE FROM usage_usageslice s WHERE s.id IN ({touched}) AND NOT EXISTS (SELECT 1 FROM usage_usagerecord r WHERE r.slice_id = s.id);
        """

    return [
        _statement(
            "i5_records_come_first",
            pgtrigger.Insert,
            f"""
            SELECT s.id INTO bad FROM usage_usageslice s WHERE s.id IN (SELECT DISTINCT slice_id FROM new_rows) LIMIT 1;
            IF FOUND THEN {refusal("Usage slice % is complete; new usage needs a slice of its own", "bad")} END IF;
            """,
            new=True,
        ),
        _statement("i5_records_not_changed", pgtrigger.Update, changed("old_rows new_rows"), old=True, new=True),
        _statement("i5_records_not_removed", pgtrigger.Delete, changed("old_rows"), old=True),
    ]


_KEPT = ("id", "usage_import_id", "account_id", "charge_id")
_SUMMED = ("quantity", "records", "first_day", "last_day")


def _changed(columns: Sequence[str]) -> str:
    """Return the condition that an update changes one of these columns."""
    before, after = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    return f"ROW({after}) IS DISTINCT FROM ROW({before})"


def _row(name: str, condition: str, func: str) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=pgtrigger.Condition(condition),
        func=f"{func} RETURN NEW;",
    )


def slice_triggers() -> list[pgtrigger.Trigger]:
    """I5: a slice says what its records say, is rated once by what covers its days, and is kept once it is."""
    return [
        _statement(
            "i5_slice_sums",
            pgtrigger.Insert,
            f"""
            SELECT n.id INTO bad FROM new_rows n LEFT JOIN ({_SUMS.format(slices="SELECT id FROM new_rows")}) s ON s.slice_id = n.id
            WHERE n.rated_id IS NOT NULL
               OR (n.quantity, n.records, n.first_day, n.last_day) IS DISTINCT FROM (s.quantity, s.records::int, s.first_day, s.last_day) LIMIT 1;
            IF FOUND THEN {refusal("Usage slice % does not say what its records say", "bad")} END IF;
            """,
            new=True,
        ),
        # Row by row, but only where there is something to refuse; a join of old and new rows, which have no statistics,
        # would compare every slice of a run with every other.
        _row(
            "i5_slice_belongs",
            _changed(_KEPT),
            refusal("Usage slice % belongs to its upload, account and charge for good", "OLD.id"),
        ),
        _statement(
            "i5_slice_released",
            pgtrigger.Update,
            f"""
            SELECT o.id INTO bad FROM old_rows o JOIN usage_ratedusage r ON r.id = o.rated_id
            WHERE r.is_live AND NOT EXISTS (SELECT 1 FROM usage_usageslice s WHERE s.id = o.id AND s.rated_id = o.rated_id) LIMIT 1;
            IF FOUND THEN {refusal("Usage slice % is Processed; cancel its draft invoice first", "bad")} END IF;
            """,
            old=True,
        ),
        _row(
            "i5_slice_says_its_records",
            _changed(_SUMMED),
            f"""
            IF OLD.rated_id IS NOT NULL OR NOT EXISTS (
                SELECT 1 FROM ({_SUMS.format(slices="NEW.id")}) s
                WHERE (s.quantity, s.records, s.first_day, s.last_day) = (NEW.quantity, NEW.records, NEW.first_day, NEW.last_day)
            ) THEN {refusal("Usage slice % does not say what its records say", "NEW.id")} END IF;
            """,
        ),
        _statement(
            "i5_slice_rated_once",
            pgtrigger.Update,
            f"""
            SELECT n.id INTO bad FROM new_rows n LEFT JOIN usage_ratedusage r ON r.id = n.rated_id
            WHERE n.rated_id IS NOT NULL
              AND NOT coalesce(r.is_live AND r.charge_id = n.charge_id AND n.first_day >= r.counted_from AND n.last_day < upper(r.period), false) LIMIT 1;
            IF FOUND THEN {refusal("Usage slice % lies outside the days it is said to be rated with", "bad")} END IF;
            """,
            new=True,
        ),
        _statement(
            "i5_slice_kept",
            pgtrigger.Delete,
            f"""
            SELECT o.id INTO bad FROM old_rows o WHERE o.rated_id IS NOT NULL LIMIT 1;
            IF FOUND THEN {refusal("Usage slice % is Processed and cannot be deleted", "bad")} END IF;
            """,
            old=True,
        ),
    ]


def _served(row: str, start: str, end: str) -> str:
    """Return the condition that a segment of the row's charge serves some day of `[start, end)`: a pause is no hole."""
    return f"""EXISTS (
        SELECT 1 FROM billing_chargesegment g WHERE g.charge_id = {row}.charge_id AND {start} < {end} AND g.effective_start < {end}
        AND (g.effective_end IS NULL OR g.effective_end > {start} AND g.effective_end > g.effective_start)
    )"""


_WRITTEN = ("id", "charge_id", "kind", "period", "counted_from", "quantity", "amount", "state", "run", "created_at")
_LIVE = "r.is_live AND r.kind = 'Period'"
_BEFORE = f"(SELECT max(upper(r.period)) FROM usage_ratedusage r WHERE r.charge_id = n.charge_id AND {_LIVE} AND upper(r.period) < upper(n.period))"


def rated_triggers() -> list[pgtrigger.Trigger]:
    """I2, I5: days are rated without holes, each row stays as it was written, and is given back from the end."""
    return [
        _statement(
            "i5_rated_no_hole",
            pgtrigger.Insert,
            f"""
            PERFORM pg_advisory_xact_lock_shared({RELEASE_LOCK});
            SELECT n.charge_id INTO bad FROM new_rows n WHERE NOT n.is_live LIMIT 1;
            IF FOUND THEN {refusal("Rated usage of charge % begins as live", "bad")} END IF;
            SELECT n.charge_id INTO bad FROM new_rows n WHERE n.kind = 'Period' AND {_served("n", _BEFORE, "lower(n.period)")} LIMIT 1;
            IF FOUND THEN {refusal("Charge % would have days whose usage is never rated before the new ones", "bad")} END IF;
            -- A single value a row, by index: asked whether there are any, the planner may compare all pairs of rows.
            SELECT n.charge_id INTO bad FROM new_rows n WHERE n.kind = 'Period'
              AND upper(n.period) <= (SELECT lower(r.period) FROM usage_ratedusage r WHERE r.charge_id = n.charge_id AND {_LIVE} AND r.id NOT IN (SELECT id FROM new_rows)
                ORDER BY upper(r.period) DESC LIMIT 1) LIMIT 1;
            IF FOUND THEN {refusal("Charge % has later days rated already", "bad")} END IF;
            SELECT n.charge_id INTO bad FROM new_rows n WHERE n.kind = 'Late' AND NOT EXISTS (
                SELECT 1 FROM usage_ratedusage r WHERE r.charge_id = n.charge_id AND {_LIVE} AND r.period && n.period OFFSET 0) LIMIT 1;
            IF FOUND THEN {refusal("Charge % has late usage of days that were never rated", "bad")} END IF;
            """,
            new=True,
        ),
        _row(
            "i5_rated_not_rewritten",
            f"NOT OLD.is_live OR NEW.is_live OR {_changed(_WRITTEN)}",
            refusal("Usage that was rated cannot be rewritten (charge %)", "OLD.charge_id"),
        ),
        _statement(
            "i5_rated_from_the_end",
            pgtrigger.Update,
            f"""
            PERFORM pg_advisory_xact_lock({RELEASE_LOCK});
            SELECT o.charge_id INTO bad FROM old_rows o JOIN usage_ratedusage r ON r.charge_id = o.charge_id AND r.is_live AND r.id > o.id LIMIT 1;
            IF FOUND THEN {refusal("Charge % has usage that was rated later; that is given back first", "bad")} END IF;
            """,
            old=True,
        ),
        _statement(
            "i5_rated_gives_back",
            pgtrigger.Update,
            "UPDATE usage_usageslice s SET rated_id = NULL WHERE s.rated_id IN (SELECT o.id FROM old_rows o WHERE o.is_live);",
            old=True,
        ),
        _statement(
            "i5_rated_kept",
            pgtrigger.Delete,
            f"""
            SELECT o.charge_id INTO bad FROM old_rows o LIMIT 1;
            IF FOUND THEN {refusal("Usage that was rated is never deleted (charge %)", "bad")} END IF;
            """,
            old=True,
        ),
    ]
