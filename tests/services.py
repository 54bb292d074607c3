"""Pytest plugin that starts the servers the tests need, before Django reads its settings (loaded with `-p tests.services`)."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from config import local_services

MOST_RUNS_AT_ONCE = 16


def _test_folder(stack: contextlib.ExitStack) -> Path:
    """Take a folder under var/ for this run alone: a second run at the same time gets servers of its own."""
    for number in range(1, MOST_RUNS_AT_ONCE + 1):
        folder = local_services.VAR_DIR / ("test" if number == 1 else f"test-{number}")
        try:
            stack.enter_context(local_services.exclusive(folder))
        except local_services.ServiceError:
            if number == MOST_RUNS_AT_ONCE:
                raise
        else:
            return folder
    raise AssertionError("unreachable")


def _start(stack: contextlib.ExitStack) -> dict[str, str]:
    """Start what no address is set for; return the environment that the tests and their workers need."""
    needed = {"TALLYRUN_TEST": "1", "SECRET_KEY": "only-for-tests", "BILL_RUN_SWEEP_SECONDS": "30"}
    folder = _test_folder(stack)
    if not {"DATABASE_URL", "MIGRATE_DATABASE_URL", "TEST_SUPERUSER_DATABASE_URL"} <= os.environ.keys():
        stack.enter_context(local_services.postgres(folder, durable=False, flags=("autovacuum=off",)))
        needed["DATABASE_URL"] = local_services.database_url(folder)
        needed["MIGRATE_DATABASE_URL"] = local_services.migrate_database_url(folder)
        needed["TEST_SUPERUSER_DATABASE_URL"] = local_services.superuser_database_url(folder)
    if "BROKER_URL" not in os.environ:
        stack.enter_context(local_services.valkey(folder))
        needed["BROKER_URL"] = local_services.broker_url(folder)
    # Mails, keys and stored files of a test run must not land beside real ones.
    needed["VAR_DIR"] = str(folder)
    return needed


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Start the servers ahead of pytest-django, which reads the settings in this same hook.

    A conftest would be too late. Parallel workers inherit the environment and with it the running servers.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stack = contextlib.ExitStack()
        early_config.add_cleanup(stack.close)
        try:
            os.environ.update(_start(stack))
        except local_services.ServiceError as error:
            raise pytest.UsageError(str(error)) from error
    return (yield)
