"""Imports run one way: apps in one chain, a pure core, verbs above reads above tables (D2, D3)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import APPS, ROOT, python_files, tree

# What an AppConfig does when Django is ready cannot stand at the top of its module.
IMPORTS_INSIDE_FUNCTIONS = {"config/apps.py"}


def test_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("app", APPS)
def test_no_import_is_hidden_inside_a_function(app):
    found = [
        f"{path}:{node.lineno}"
        for path in python_files(app)
        if str(path) not in IMPORTS_INSIDE_FUNCTIONS
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_no_signals_between_apps():
    """What happens after what must be readable where it happens."""
    signals = {"django.dispatch", "django.db.models.signals", "django.core.signals", "blinker"}
    assert [str(path) for path in python_files(*APPS) if _imported(path) & signals] == []


CORE = [path for path in python_files("billing") if path.parts[:2] == ("billing", "core")]
IMPURE_MODULES = {
    "os",
    "io",
    "time",
    "random",
    "logging",
    "socket",
    "subprocess",
    "pathlib",
    "sys",
    "threading",
    "locale",
    "zoneinfo",
}
IMPURE_NAMES = {
    "now",
    "utcnow",
    "today",
    "open",
    "print",
    "input",
    "getenv",
    "environ",
    "float",
    "eval",
    "exec",
    "setattr",
    "globals",
}


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_knows_the_standard_library_and_itself_only(path):
    packages = {name.partition(".")[0] for name in _imported(path) if not name.startswith("billing.core")}
    assert packages <= set(sys.stdlib_module_names) - IMPURE_MODULES


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_asks_nobody_and_uses_no_float(path):
    found = []
    for node in ast.walk(tree(path)):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name in IMPURE_NAMES or (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)):
            found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_the_core_changes_nothing_that_outlives_a_call():
    """No module of the core has a name that is filled while it runs."""
    found = [
        f"{path}:{node.lineno}"
        for path in CORE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global | ast.Nonlocal)
    ]
    assert found == []


def test_the_core_is_there():
    assert {path.stem for path in CORE} >= {
        "types",
        "money",
        "periods",
        "proration",
        "timing",
        "tiers",
        "charge_models",
        "pricing",
        "grouping",
    }
