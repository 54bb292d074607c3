"""The test database: migrated once per state of the models into a template, then copied for each run and each worker.

The template also keeps a second copy of the rows that migrations inserted (schema `pristine`), so that tests which commit can be
cleaned up after: Django would TRUNCATE, which the application's role may not do, and would lose those rows.
"""

import hashlib
import os
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from config.database_roles import as_owner, grant_app_role

BUILD_LOCK = 7_411_001
# What decides how a freshly migrated database looks.
SOURCES = ("*/migrations/*.py", "*/models.py", "*/models/*.py", "*/guards.py", "config/*.py", "requirements.lock")

TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    ORDER BY relname
"""
PRISTINE = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'pristine'::regnamespace AND relkind = 'r' ORDER BY relname"
)
COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
# The text of all rows in a fixed order, as one short value.
FINGERPRINT = "SELECT coalesce(md5(string_agg(r::text, ' ' ORDER BY r::text)), '') FROM public.{table} AS r"


def superuser(database: str) -> psycopg.Connection:
    """Open a connection to `database` as the superuser, committing each statement by itself."""
    return psycopg.connect(os.environ["TEST_SUPERUSER_DATABASE_URL"], dbname=database, autocommit=True)


def _use(database: str) -> None:
    """Let Django's connection mean this database from now on."""
    connection.close()
    settings.DATABASES["default"]["NAME"] = database
    connection.settings_dict["NAME"] = database


def _template_name() -> str:
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(Path(settings.BASE_DIR).glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return f"template_{digest.hexdigest()[:16]}"


def create(name: str, *, rebuild: bool) -> None:
    """Create the test database `name` and let Django use it; `rebuild` migrates afresh even if nothing changed."""
    template = _template_name()
    with superuser("postgres") as admin:
        # Parallel workers start at once: one builds, the others wait and then copy.
        admin.execute("SELECT pg_advisory_lock(%s)", [BUILD_LOCK])
        known = {row[0] for row in admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'template\\_%'")}
        for outdated in known - ({template} if not rebuild else set()):
            _drop(admin, outdated)
        if rebuild or template not in known:
            _build(admin, template)
        _drop(admin, name)
        admin.execute(
            _creation("CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}", name=name, template=template)
        )
    _use(name)
    with as_owner(connection):
        grant_app_role(connection)


def _creation(statement: str, **names: str) -> sql.Composed:
    owner = str(settings.OWNER_DATABASE["USER"])
    return sql.SQL(statement).format(owner=sql.Identifier(owner), **{k: sql.Identifier(v) for k, v in names.items()})


def _drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _build(admin: psycopg.Connection, template: str) -> None:
    """Migrate a new template; it gets its name only when complete."""
    unfinished = f"{template}_new"
    admin.execute(_creation("CREATE DATABASE {name} OWNER {owner}", name=unfinished))
    _use(unfinished)
    call_command("migrate", verbosity=0, interactive=False)
    connection.close()
    with superuser(unfinished) as database:
        database.execute("CREATE SCHEMA pristine")
        for table in _filled_tables(database):
            database.execute(
                sql.SQL("CREATE TABLE pristine.{table} AS TABLE public.{table}").format(table=sql.Identifier(table))
            )
    admin.execute(_creation("ALTER DATABASE {name} RENAME TO {template}", name=unfinished, template=template))


def drop(name: str) -> None:
    """Remove the test database."""
    connection.close()
    with superuser("postgres") as admin:
        _drop(admin, name)


def _filled_tables(database: psycopg.Connection) -> list[str]:
    """Return the names of all tables that have rows."""
    names = [name for (name,) in database.execute(TABLES)]
    filled = sql.SQL("SELECT {name} WHERE EXISTS (SELECT FROM public.{table})")
    parts = [filled.format(name=sql.Literal(name), table=sql.Identifier(name)) for name in names]
    return [name for (name,) in database.execute(sql.SQL(" UNION ALL ").join(parts))]


class Cleaner:
    """Brings the database back to the state in which migrations left it."""

    def __init__(self, name: str) -> None:
        self.name = name
        with superuser(name) as database:
            self.fingerprints = {
                table: _fingerprint(database, table) for (table,) in database.execute(PRISTINE).fetchall()
            }

    def clean(self) -> None:
        """Empty the tables that tests filled, and restore those that migrations filled and tests changed."""
        with superuser(self.name) as database:
            # Triggers and foreign keys rest meanwhile; only a superuser may ask for that.
            database.execute("SET session_replication_role = replica")
            for table in sorted(self.fingerprints.keys() | _filled_tables(database)):
                if table not in self.fingerprints or _fingerprint(database, table) != self.fingerprints[table]:
                    self._restore(database, table)

    def _restore(self, database: psycopg.Connection, table: str) -> None:
        named = sql.Identifier(table)
        database.execute(sql.SQL("DELETE FROM public.{table}").format(table=named))
        if table not in self.fingerprints:
            return
        rows = database.execute(COLUMNS, [f'public."{table}"']).fetchall()
        columns = sql.SQL(", ").join(sql.Identifier(column) for (column,) in rows)
        insert = "INSERT INTO public.{table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM pristine.{table}"
        database.execute(sql.SQL(insert).format(table=named, columns=columns))


def _fingerprint(database: psycopg.Connection, table: str) -> str:
    row = database.execute(sql.SQL(FINGERPRINT).format(table=sql.Identifier(table))).fetchone()
    return str(row[0]) if row else ""
