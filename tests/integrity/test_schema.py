"""The schema as the database has it: exact numbers, no NaN, unique indexes that hold for NULL, and indexed foreign keys."""

import psycopg
import pytest

from tests.integrity.guards import OUR_TABLES

# A unique index lets any number of NULLs in, so each nullable column in one needs a reason.
NULLABLE_IN_UNIQUE = {
    "i10_number_once.number": "drafts have no number, and the index holds only rows with one",
    "i10_sequence_value_once.number_sequence_id": "i10_posted_has_number: a row with a value has a sequence",
    "i10_sequence_value_once.sequence_value": "drafts have none, and the index holds only rows with one",
    "i16_one_run_per_slot.schedule_id": "ad hoc runs have no schedule, and the index holds only rows with one",
    "i16_one_run_per_slot.slot": "i16_slot_with_schedule: a row with a schedule has a slot",
    "i5_rated_usage_billed_once.rated_usage_id": "only usage lines name what was rated, and the index holds only those",
    "i5_unique_key_once.unique_key": "few senders give keys, and the index holds only rows with one",
    "i1_item_covers_once.item_id": "days billed elsewhere have no item, and the index holds only rows with one",
}
# Deleting what is pointed to looks for the rows that point to it; without an index that reads the whole table.
FOREIGN_KEYS_WITHOUT_INDEX = {
    "invoicing_coverage.charge_id": "the unique index on charge and end begins with it",
    "invoicing_invoiceitem.credits_id": "the index item_credits holds all rows that credit a line",
    "invoicing_invoiceitem.reduces_id": "the index item_reduces holds all rows that reduce a line",
    "invoicing_invoiceitem.rated_usage_id": "the unique index i5_rated_usage_billed_once holds all rows that name one",
    "usage_usageslice.rated_id": "the index slice_rated holds all rows that are rated",
    "usage_ratedusage.charge_id": "rated_of_charge holds the live rows; a charge that was ever rated is not deleted",
    "invoicing_coverage.item_id": "the unique index i1_item_covers_once holds all rows with an item",
}
# Columns that hold ids without a foreign key in the database, with what implies that they point somewhere.
IDS_WITHOUT_FOREIGN_KEY = {
    "accounts_idempotencykey.user_id": "kept for a week, whatever becomes of the user; 0 is nobody",
    "invoicing_invoice.bill_to_id": "copied from the account, which has the key; posting joins it",
    "invoicing_invoice.payment_term_id": "copied from the account, which has the key; posting joins it",
    "invoicing_invoice.template_id": "copied from the account, which has the key; posting joins it",
    "invoicing_invoice.template_version_id": "set at posting by a join; versions cannot be deleted",
    "invoicing_invoice.number_sequence_id": "copied from the account, which has the key; the posting guard joins it",
    "invoicing_invoice.subscription_id": "its items' charges have the key",
    "invoicing_invoice.posted_by_id": "kept as it was, whatever becomes of the user",
    "invoicing_billrunaccount.run_id": "inserted by a statement of the very run that it names",
    "invoicing_invoiceitem.charge_id": "its Coverage row has the key",
}


def _ours(query: str) -> str:
    return query.replace(
        "{ours}", f"k.relnamespace = 'public'::regnamespace AND k.relkind = 'r' AND k.relname ~ '{OUR_TABLES}'"
    )


def _named(connection: psycopg.Connection, query: str) -> set[str]:
    return {name for (name,) in connection.execute(_ours(query))}


def test_nullable_columns_of_unique_indexes_are_justified(app_world):
    found = _named(
        app_world,
        """
        SELECT i.relname || '.' || a.attname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class k ON k.oid = x.indrelid
        JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum = ANY (x.indkey::int2[])
        WHERE {ours} AND x.indisunique AND NOT x.indnullsnotdistinct AND NOT a.attnotnull
        """,
    )
    assert found == NULLABLE_IN_UNIQUE.keys()


def test_every_foreign_key_is_indexed(app_world):
    """The first column of some index is the foreign key's."""
    found = _named(
        app_world,
        """
        SELECT k.relname || '.' || a.attname FROM pg_constraint c JOIN pg_class k ON k.oid = c.conrelid
        JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum = c.conkey[1]
        WHERE {ours} AND c.contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index x WHERE x.indrelid = k.oid AND x.indkey[0] = a.attnum AND x.indpred IS NULL)
        """,
    )
    assert found - FOREIGN_KEYS_WITHOUT_INDEX.keys() == set()


def test_ids_without_a_foreign_key_are_justified(app_world):
    found = _named(
        app_world,
        """
        SELECT k.relname || '.' || a.attname FROM pg_class k JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum > 0
        WHERE {ours} AND a.attname ~ '_id$' AND a.atttypid IN ('int4'::regtype, 'int8'::regtype)
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = k.oid AND c.contype = 'f' AND a.attnum = ANY (c.conkey))
        """,
    )
    assert found == IDS_WITHOUT_FOREIGN_KEY.keys()


def test_no_column_holds_inexact_numbers(app_world):
    assert not _named(
        app_world,
        """
        SELECT k.relname || '.' || a.attname FROM pg_class k JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum > 0
        WHERE {ours} AND a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'money'::regtype)
        """,
    )


MONEY = "(amount|price|total|net|tax|balance|mrr|quantity)$"


def test_every_money_column_is_numeric(app_world):
    wrong = _named(
        app_world,
        f"""
        SELECT k.relname || '.' || a.attname FROM pg_class k JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum > 0
        WHERE {{ours}} AND a.attname ~ '{MONEY}' AND a.attname !~ '^accounts_' AND a.atttypid <> 'numeric'::regtype
        """,
    )
    assert wrong == set()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1000000000000.01"])
def test_no_numeric_column_takes_what_is_not_an_amount(app_world, value):
    columns = app_world.execute(
        _ours(
            "SELECT k.relname, a.attname FROM pg_class k JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE {ours} AND a.atttypid = 'numeric'::regtype"
        )
    ).fetchall()
    assert len(columns) > 15
    accepted = []
    for table, column in columns:
        # The draft may change; the world has a row in each of these tables.
        row = {"invoicing_invoice": "1002", "invoicing_invoiceitem": "1002"}.get(table, "1001")
        if table == "invoicing_invoicedtotal":
            row = "(SELECT max(id) FROM invoicing_invoicedtotal)"
        try:
            with app_world.transaction(force_rollback=True):
                hit = app_world.execute(f"UPDATE {table} SET {column} = '{value}' WHERE id = {row}").rowcount
                accepted.append(f"{table}.{column} ({hit} rows)")
        except psycopg.errors.CheckViolation:
            pass
    assert accepted == []


def test_every_table_with_an_immutable_row_is_locked_against_truncation(app_world):
    """TRUNCATE passes by row triggers; the application has no right to it, and for these tables the owner neither."""
    guarded = _named(
        app_world,
        "SELECT k.relname FROM pg_class k JOIN pg_trigger t ON t.tgrelid = k.oid WHERE {ours} AND t.tgtype & 32 <> 0",
    )
    assert guarded >= {"invoicing_invoice", "invoicing_invoiceitem", "invoicing_coverage", "invoicing_invoicedocument"}


def test_the_application_owns_nothing(app_world):
    owned = app_world.execute(
        "SELECT relname FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = session_user)"
        " UNION ALL SELECT proname FROM pg_proc WHERE proowner = (SELECT oid FROM pg_roles WHERE rolname = session_user)"
    ).fetchall()
    assert owned == []
    assert app_world.execute(
        "SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = session_user"
    ).fetchone() == (False, False, False)
