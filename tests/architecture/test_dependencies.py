"""What is installed: pinned with hashes, from nowhere in particular, and not older than the known holes."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, text

LOCK = text(Path("requirements.lock"))
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads(text(Path("pyproject.toml")))

# Older releases have a known hole (reliability.md 4).
FLOORS = {"django": (5, 2, 16), "weasyprint": (70,), "django-csp": (4, 0), "celery": (5, 7), "psycopg": (3, 3)}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def test_the_lock_file_names_no_address():
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_every_package_is_pinned_with_hashes():
    requirements = re.split(r"\n(?=[A-Za-z0-9])", LOCK[re.search(r"^[A-Za-z0-9]", LOCK, re.MULTILINE).start() :])  # type: ignore[union-attr]
    assert len(requirements) == len(PINS) > 50
    assert [block.partition(" ")[0] for block in requirements if "--hash=sha256:" not in block] == []


def test_everything_that_is_asked_for_is_locked():
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=!~ ;]", line)[0].lower() for line in asked}
    assert names - {name.lower() for name in PINS} == set()


@pytest.mark.parametrize("name", FLOORS)
def test_no_release_with_a_known_hole(name):
    assert _numbers(PINS[name]) >= FLOORS[name]
    assert _numbers(version(name)) >= FLOORS[name]
    asked = next(line for line in PROJECT["project"]["dependencies"] if re.match(rf"{name}\b", line))
    assert _numbers(asked.partition(">=")[2]) >= FLOORS[name]


def test_what_runs_here_is_what_is_locked():
    assert {name: (version(name), pin) for name, pin in PINS.items() if name in FLOORS and version(name) != pin} == {}


def test_the_licence_is_named():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
