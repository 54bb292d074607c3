"""Reads the guards from the database's own catalogue: which there are, how to drop one, and which one refused an attack."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.integrity.attack import Attack

OUR_TABLES = "^(accounts|billing|usage|invoicing)_"

# Constraints and unique indexes that Django names by itself guard single columns and are left to it.
_GUARDS = f"""
SELECT conname, conrelid::regclass::text, 'CONSTRAINT' FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text ~ '{OUR_TABLES}' AND contype IN ('c', 'u', 'x')
  AND conname !~ '(_check|_key|_uniq)$'
UNION ALL
SELECT i.relname, t.relname, 'INDEX' FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = 'public'::regnamespace AND t.relname ~ '{OUR_TABLES}' AND x.indisunique
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid)
UNION ALL
SELECT tgname, tgrelid::regclass::text, 'TRIGGER' FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text ~ '{OUR_TABLES}'
"""
_TRIGGER_NAME = re.compile(r"^pgtrigger_(\w+)_[0-9a-f]{5}$")
_RAISED_IN = re.compile(r"function (?:public\.)?(pgtrigger_\w+)\(")


class Guard(NamedTuple):
    """A constraint, unique index or trigger of one of our tables."""

    name: str
    table: str
    drop: str


def _plain(name: str) -> str:
    found = _TRIGGER_NAME.match(name)
    return found[1] if found else name


def installed_guards(connection: psycopg.Connection) -> dict[str, Guard]:
    """Return all guards by the name they have in the models."""
    statements = {
        "CONSTRAINT": "ALTER TABLE {table} DROP CONSTRAINT {name}",
        "INDEX": "DROP INDEX {name}",
        "TRIGGER": "DROP TRIGGER {name} ON {table}",
    }
    return {
        _plain(name): Guard(_plain(name), table, statements[kind].format(name=name, table=table))
        for name, table, kind in connection.execute(_GUARDS)
    }


def refused_by(error: psycopg.Error) -> str:
    """Return the name of the guard that raised this error."""
    if error.diag.constraint_name:
        return error.diag.constraint_name
    if "cannot subtract infinite dates" in str(error):
        return "i1_no_overlap"  # the expression of its index cannot even be computed
    found = _RAISED_IN.search(error.diag.context or "")
    return _plain(found[1]) if found else f"none ({error})"


def attempt(connection: psycopg.Connection, attack: Attack) -> psycopg.Error | None:
    """Run the attack in a savepoint that is always rolled back; return the refusal, or None when it took effect."""
    try:
        with connection.transaction(force_rollback=True):
            done = connection.execute(attack.sql)
            while done.nextset():
                pass
            if attack.harm:
                row = connection.execute(attack.harm).fetchone()
                return None if row and row[0] else psycopg.IntegrityError("corrected")
            assert done.rowcount != 0, "the attack hit no row, so it proves nothing"
    except psycopg.Error as error:
        return error
    return None


def parameters(attacks: Iterable[Attack]) -> list[Any]:
    """Return pytest parameters named after guard and attack."""
    return [pytest.param(attack, id=attack.name) for attack in attacks]
