"""How files are written and named, and what must not stand in them."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.source import APPS, ROOT, committed_files, python_files, text, tree

PRODUCT = python_files(*APPS)
EVERYTHING = python_files(*APPS, "tests", "manage.py")
SELF = Path("tests/architecture/test_source.py")

BANNED_NAMES = {
    "util",
    "utils",
    "helper",
    "helpers",
    "manager",
    "managers",
    "base",
    "common",
    "misc",
    "handler",
    "handlers",
    "lib",
    "tools",
    "stuff",
}
# Seconds are no money. Everything else in these apps that is not whole is a Decimal.
FLOATS = {"invoicing/tasks.py": {60.0}, "invoicing/bill_run/run.py": {0.2}}
NOT_MONEY = ("invoicing/rendering.py",)


def test_every_module_opens_with_a_sentence():
    missing = []
    for path in EVERYTHING:
        docstring = ast.get_docstring(tree(path)) or ""
        first = docstring.split("\n\n")[0]
        if not first or (first[0].islower() and not first.startswith("manage.py")) or first[-1] not in ".:`)?":
            missing.append(f"{path}: {first[:60]!r}")
    assert missing == []


def test_public_functions_of_the_product_say_what_they_do():
    found = []
    for path in PRODUCT:
        for node in tree(path).body:
            if (
                isinstance(node, ast.FunctionDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
                and "migrations" not in path.parts
            ):
                found.append(f"{path}:{node.lineno} {node.name}")
    assert found == []


def test_no_file_has_a_name_that_says_nothing():
    assert [str(path) for path in EVERYTHING if path.stem.lower() in BANNED_NAMES] == []


def test_no_float_in_money_code():
    found = []
    for path in python_files("billing", "usage", "invoicing"):
        if str(path) in NOT_MONEY:
            continue
        for node in ast.walk(tree(path)):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
            is_literal = (
                isinstance(node, ast.Constant)
                and isinstance(node.value, float)
                and node.value not in FLOATS.get(str(path), set())
            )
            if is_call or is_literal:
                found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found == []


MACHINE_DAYS = {"date.today", "datetime.today", "datetime.utcnow", "timezone.localdate", "datetime.date.today"}


def test_the_day_is_asked_for_in_one_place():
    """I12: `date.today()` and `datetime.now()` know the machine's day, not the tenant's."""
    found = [
        f"{path}:{node.lineno}"
        for path in PRODUCT
        if path != Path("accounts/clock.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in MACHINE_DAYS
    ]
    assert found == []


def test_numbers_are_never_the_greatest_so_far_plus_one():
    """F25: two at once would find the same."""
    pattern = re.compile(r"max\(\s*[\w.\"']*(number|sequence_value)[\w.\"']*\s*\)\s*\+", re.IGNORECASE)
    assert [str(path) for path in PRODUCT if pattern.search(text(path))] == []


def test_texts_of_users_are_always_escaped():
    found = [str(path) for path in PRODUCT if re.search(r"\bmark_safe\b|\bSafeString\(", text(path))]
    templates = [path for path in committed_files() if path.parts[0] == "templates"]
    found += [str(path) for path in templates if re.search(r"\|\s*safe\b|autoescape\s+off|safeseq", text(path))]
    # Help texts and descriptions of forms are ours, written in the models.
    assert set(found) <= {"templates/admin/includes/fieldset.html"}


def test_pages_load_nothing_from_elsewhere_and_hold_no_code():
    """The content security policy would stop it; here it is found earlier."""
    found = []
    for path in committed_files():
        if path.parts[0] != "templates" or path.suffix != ".html" or path.parts[1] in {"pdf", "email"}:
            continue
        if re.search(
            r"<script(?![^>]*\bsrc=)[^>]*>|<style\b|\sstyle=\"|\son[a-z]+=\"|javascript:|(?:src|href)=\"(?:https?:)?//",
            text(path),
        ):
            found.append(str(path))
    assert found == []


# Written in parts, so that this file does not find itself.
ELSEWHERE = "|".join(
    (
        r"/(?:work|root|home/[a-z]+|Users/[a-z]+)" + "/",
        "pypi" + r"\.org",
        "python" + r"hosted\.org",
        "arti" + "factory",
        "--index" + "-url",
        "npmjs" + r"\.",
        r"://[^\s\"'@/]+:[^\s\"'@/]{8,}@(?!(?:db|mail|broker)\.example)[\w-]+\." + r"(?:com|net|org|io)\b",
    )
)
SECRETS = "|".join(
    ("BEGIN [A-Z ]*PRIVATE" + " KEY", "AKIA" + "[0-9A-Z]{16}", "gh[pousr]_" + "[A-Za-z0-9]{36}", "xox[bp]-" + r"\d+-")
)


def test_no_file_names_a_machine_or_a_registry():
    found = [
        f"{path}: {match[0]}"
        for path in committed_files()
        if path != SELF and (match := re.search(ELSEWHERE, text(path)))
    ]
    assert found == []


def test_no_secret_is_committed():
    assert [str(path) for path in committed_files() if re.search(SECRETS, text(path))] == []
    assert not {Path(".env"), Path("var/secret_key")} & set(committed_files())
    for name in (".env", "var/secret_key", "var/mail/x.eml", ".venv/x", ".tools/x"):
        assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False).returncode == 0, name


def test_no_key_stands_in_the_settings():
    for node in ast.walk(tree(Path("config/settings.py"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            assert not [name for name in names if re.search("SECRET|PASSWORD|TOKEN", name)], names


def test_no_large_file_is_committed():
    sizes = {str(path): (ROOT / path).stat().st_size for path in committed_files()}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_what_people_look_for_first_is_there(name):
    assert len(text(Path(name))) > 200
