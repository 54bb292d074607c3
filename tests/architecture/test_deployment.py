"""A production installation is safe with what the settings choose by themselves (reliability.md 4, Deployment)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.architecture.source import ROOT

PRODUCTION = {
    "DATABASE_URL": "postgresql://app:secret-of-app@db.example/tallyrun",
    "MIGRATE_DATABASE_URL": "postgresql://owner:secret-of-owner@db.example/tallyrun",
    "BROKER_URL": "redis://:secret-of-broker@broker.example:6379/0",
    "EMAIL_URL": "smtp+tls://user:secret-of-mail@mail.example:587",
    "ALLOWED_HOSTS": "billing.example.com",
    "SECRET_KEY": "a-key-of-more-than-fifty-characters-that-nobody-else-has-0123456789",
}


def _run(arguments: list[str], tmp_path: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python in the environment of a production machine, with nothing of this test run in it."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH"}}
    asked = {**PRODUCTION, "DJANGO_SETTINGS_MODULE": "config.settings", "VAR_DIR": str(tmp_path), **changes}
    environment = kept | {name: value for name, value in asked.items() if value is not None}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _check(tmp_path: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return _run(["manage.py", "check", "--deploy", "--fail-level", "WARNING"], tmp_path, **changes)


def test_the_deployment_check_is_clean(tmp_path):
    done = _check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_the_deployment_check_finds_what_is_unsafe(tmp_path):
    """One installation with everything wrong that can be wrong at once, and one in debug mode."""
    unsafe = {"TALLYRUN_DEMO": "1", "HTTPS": "off", "SECRET_KEY": "short", "MIGRATE_DATABASE_URL": None}
    done = _check(tmp_path, **unsafe, BROKER_URL="redis://broker.example:6379/0")
    assert done.returncode != 0
    expected = {"tallyrun.W001", "tallyrun.W002", "tallyrun.W003", "security.W009", "security.W012"}
    assert {finding for finding in expected if finding not in done.stderr} == set()
    assert "security.W018" in _check(tmp_path, DEBUG="1").stderr


def test_the_defaults_of_a_production_installation(tmp_path):
    names = (
        "DEBUG", "DEMO", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "EMAIL_TIMEOUT",
        "SESSION_COOKIE_AGE", "PASSWORD_HASHERS", "AUTH_PASSWORD_VALIDATORS", "BUSINESS_DATE", "CELERY_ACCEPT_CONTENT", "USE_TZ", "LOG_FORMAT",
    )  # fmt: skip
    code = f"import json; from django.conf import settings as s; print(json.dumps({{n: getattr(s, n) for n in {names!r}}}, default=str))"
    done = _run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in (
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "SECURE_SSL_REDIRECT",
        "SESSION_COOKIE_HTTPONLY",
        "USE_TZ",
    ):
        assert found[name] is True, name
    assert (found["DEBUG"], found["DEMO"], found["BUSINESS_DATE"], found["LOG_FORMAT"]) == (False, False, None, "json")
    assert found["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert 0 < found["EMAIL_TIMEOUT"] <= 60
    assert found["SESSION_COOKIE_AGE"] <= 12 * 3600
    assert "Argon2" in found["PASSWORD_HASHERS"][0]
    assert len(found["AUTH_PASSWORD_VALIDATORS"]) >= 4
    assert found["CELERY_ACCEPT_CONTENT"] == ["json"]


def test_two_installations_have_different_keys(tmp_path):
    code = "from config import settings; print(settings.SECRET_KEY)"
    keys = set()
    for number in range(2):
        folder = tmp_path / str(number)
        keys.add(_run(["-c", code], folder, SECRET_KEY=None).stdout.strip())
        assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert len(keys) == 2
    assert min(map(len, keys)) > 50


def test_a_fixed_business_day_is_refused_in_production(tmp_path):
    done = _run(
        ["-c", "from config import settings; print(settings.BUSINESS_DATE)"], tmp_path, BUSINESS_DATE="2026-01-31"
    )
    assert done.returncode != 0 or done.stdout.strip() == "None"


@pytest.mark.django_db
def test_no_change_of_a_model_lacks_its_migration():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
