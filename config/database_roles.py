"""The two roles on the database: the owner, who may change tables, and the application, which may only use them (D9)."""

import contextlib
from collections.abc import Iterator

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

# Deliberately missing: TRUNCATE (passes by row triggers), REFERENCES, TRIGGER, and with them everything an owner may do.
GRANTS = (
    "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO {role}",
    # Which migrations have run is the owner's record, not the application's.
    "REVOKE INSERT, UPDATE, DELETE ON TABLE {schema}.django_migrations FROM {role}",
)


def roles_are_separate() -> bool:
    """Return whether the application connects as another user than the owner of the tables."""
    return str(settings.OWNER_DATABASE["USER"]) != str(settings.DATABASES["default"]["USER"])


@contextlib.contextmanager
def as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let `connection` sign in as the owner inside the block; the name of the database stays what it is (tests rename it)."""
    application = connection.settings_dict
    connection.close()
    # A new dictionary: Django shares the old one between the connections of all threads.
    connection.settings_dict = {**application, **_sign_in(settings.OWNER_DATABASE)}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = application


def _sign_in(database: dict[str, object]) -> dict[str, object]:
    return {name: database[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}


def grant_app_role(connection: BaseDatabaseWrapper) -> None:
    """Give the application's role the use of all present and future tables; `connection` must be the owner's.

    Can be repeated, and does nothing where both are the same user.
    """
    if not roles_are_separate():
        return
    names = {
        "role": sql.Identifier(str(settings.DATABASES["default"]["USER"])),
        "database": sql.Identifier(connection.settings_dict["NAME"]),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        names["schema"] = sql.Identifier(cursor.fetchone()[0])
        for statement in GRANTS:
            cursor.execute(sql.SQL(statement).format(**names))
