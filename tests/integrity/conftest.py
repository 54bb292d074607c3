"""The attacked world, seen by the application's role and by the owner of the tables; nothing is ever committed."""

from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings

from tests.integrity import world


def _in_the_world(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, dbname=str(settings.DATABASES["default"]["NAME"])) as connection:
        world.build(connection)
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def app_world(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """The world in an open transaction of the application; a test works in a savepoint of it."""
    yield from _in_the_world(settings.DATABASE_URL)


@pytest.fixture(scope="module")
def owner_world(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """The world in an open transaction of the owner, who may drop guards; a test works in a savepoint of it."""
    yield from _in_the_world(settings.MIGRATE_DATABASE_URL)
