"""Fixtures for all tests: tables made by the owner, tests signed in as the application, cleaning as the superuser (D9)."""

import os
from collections.abc import Callable, Iterator
from datetime import date

import hypothesis
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.test import TransactionTestCase

from tests import database

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("tallyrun", deadline=None)
hypothesis.settings.load_profile("tallyrun")

DEFAULT_TODAY = date(2026, 7, 15)


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker
) -> Iterator[database.Cleaner]:
    """Provide the test database; tests sign in as the application, so that guards made of missing rights are tested, too."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    name = f"test_tallyrun_{worker}" if worker else "test_tallyrun"
    with django_db_blocker.unblock():
        database.create(name, rebuild=bool(request.config.getvalue("create_db")))
    cleaner = database.Cleaner(name)

    def clean_up(test_case: TransactionTestCase) -> None:
        connections.close_all()
        cleaner.clean()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", clean_up)
        yield cleaner
    with django_db_blocker.unblock():
        connections.close_all()
        database.drop(name)


@pytest.fixture
def begin_anew(django_db_setup: database.Cleaner, transactional_db: None) -> Callable[[], None]:
    """Bring the database back to where migrations left it, in the middle of a test that tells one story several times."""
    return django_db_setup.clean


def _raw(url: str) -> psycopg.Connection:
    return psycopg.connect(url, dbname=str(settings.DATABASES["default"]["NAME"]), autocommit=True)


@pytest.fixture
def app_connection(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """A connection without Django as the application, like an attacker with its password; sees committed rows only."""
    with _raw(settings.DATABASE_URL) as raw:
        yield raw


@pytest.fixture
def owner_connection(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """A connection without Django as the owner of the tables; sees committed rows only."""
    with _raw(settings.MIGRATE_DATABASE_URL) as raw:
        yield raw


@pytest.fixture
def superuser_connection(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """A connection without Django as the superuser; sees committed rows only."""
    with _raw(os.environ["TEST_SUPERUSER_DATABASE_URL"]) as raw:
        yield raw


@pytest.fixture
def fixed_today(request: pytest.FixtureRequest, settings) -> date:
    """Make the business day 15 July 2026, or the date given by `parametrize(..., indirect=True)`; return it."""
    today: date = getattr(request, "param", DEFAULT_TODAY)
    settings.BUSINESS_DATE = today
    return today
