"""Runs one module of the measurements in a process with Django ready: `python -m tests.benchmarks.child tests.benchmarks.bill_run`."""

import importlib
import sys

import django
from django.apps import apps


def prepare_django() -> None:
    """Set Django up unless that has been done."""
    if not apps.ready:
        django.setup()


def main() -> None:
    """Set Django up, then call the named module's `main` with the remaining arguments."""
    prepare_django()
    importlib.import_module(sys.argv[1]).main(*sys.argv[2:])


if __name__ == "__main__":
    main()
