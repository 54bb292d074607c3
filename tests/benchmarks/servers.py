"""Servers of our own for measuring and breaking: real settings of durability, a fresh database, the two roles.

Imports no Django, so that addresses can be set before its settings are read.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from config import local_services

# Checkpoints would fall into one round and not into the next; every commit still waits for the disk.
STEADY_FLAGS = ("shared_buffers=1GB", "max_wal_size=16GB", "checkpoint_timeout=1h")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which Django uses the servers under `folder`."""
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": local_services.database_url(folder),
        "MIGRATE_DATABASE_URL": local_services.migrate_database_url(folder),
        "TEST_SUPERUSER_DATABASE_URL": local_services.superuser_database_url(folder),
        "BROKER_URL": local_services.broker_url(folder),
        "VAR_DIR": str(folder),
        "TALLYRUN_TEST": "1",
        "SECRET_KEY": "only-for-measurements",
        "LOG_LEVEL": "ERROR",
    }


@contextlib.contextmanager
def database_server(folder: Path, *, flags: Sequence[str] = STEADY_FLAGS) -> Iterator[int]:
    """Run PostgreSQL under `folder`, set the environment and migrate a fresh database; yield the server's process id."""
    folder.mkdir(parents=True, exist_ok=True)
    with local_services.exclusive(folder), local_services.postgres(folder, flags=flags) as pid:
        os.environ.update(environment(folder))
        fresh_database(folder)
        yield pid


def fresh_database(folder: Path) -> None:
    """Replace the database by an empty one, migrated by the owner."""
    with psycopg.connect(local_services.superuser_database_url(folder, "postgres"), autocommit=True) as admin:
        name, owner = sql.Identifier(local_services.DATABASE), sql.Identifier(local_services.OWNER_ROLE)
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], check=True, cwd=local_services.BASE_DIR)


def superuser() -> psycopg.Connection:
    """Open a connection on which triggers and foreign keys rest, for filling and emptying tables; commits each statement."""
    connection = psycopg.connect(os.environ["TEST_SUPERUSER_DATABASE_URL"], autocommit=True)
    connection.execute("SET session_replication_role = replica")
    return connection


def owner() -> psycopg.Connection:
    """Open a connection as the owner of the tables; commits each statement."""
    return psycopg.connect(os.environ["MIGRATE_DATABASE_URL"], autocommit=True)
