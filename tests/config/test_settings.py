"""What an installation gets from its environment."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.checks import run_checks

PRODUCTION = {
    "DATABASE_URL": "postgresql://app@db.example/tallyrun",
    "MIGRATE_DATABASE_URL": "postgresql://owner@db.example/tallyrun",
    "BROKER_URL": "redis://:secret@broker.example/0",
    "ALLOWED_HOSTS": "billing.example.com",
}


def _python(code: str, folder, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, *code.split()] if code.startswith("manage.py") else [sys.executable, "-c", code],
        cwd=settings.BASE_DIR, env={**clean, "VAR_DIR": str(folder), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _values(folder, *names: str, **environment: str) -> dict:
    code = f"import json; from config import settings as s; print(json.dumps({{n: getattr(s, n) for n in {names!r}}}, default=str))"
    done = _python(code, folder, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_deployment_checks_are_clean_with_production_settings(tmp_path):
    done = _python("manage.py check --deploy --fail-level WARNING", tmp_path, **PRODUCTION)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"OWNER_DATABASE": {"USER": "tallyrun_app"}}, "tallyrun.W002"),
        ({"CELERY_BROKER_URL": "redis://broker.example/0"}, "tallyrun.W003"),
        ({"DEMO": True}, "tallyrun.W001"),
        ({"DEBUG": True}, "security.W018"),
        ({"ALLOWED_HOSTS": []}, "security.W020"),
    ],
)
def test_deployment_checks_name_what_is_unsafe(settings, change, warning):
    for name, value in change.items():
        setattr(settings, name, value)
    assert warning in {found.id for found in run_checks(tags=["security"], include_deployment_checks=True)}


def test_each_installation_makes_its_own_secret_key_and_keeps_it(tmp_path):
    first = _values(tmp_path / "a", "SECRET_KEY")
    assert first == _values(tmp_path / "a", "SECRET_KEY")
    assert first != _values(tmp_path / "b", "SECRET_KEY")
    assert (tmp_path / "a" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_nothing_set_means_demo_and_a_database_means_production(tmp_path):
    names = ("DEMO", "HTTPS", "SESSION_COOKIE_SECURE", "EMBEDDED_DATABASE", "DEBUG")
    assert _values(tmp_path, *names) == dict(zip(names, (True, False, False, True, False), strict=True))
    assert _values(tmp_path, *names, **PRODUCTION) == dict(zip(names, (False, True, True, False, False), strict=True))


def test_only_pages_have_a_statement_time_limit(tmp_path):
    def limit(**environment: str) -> bool:
        return (
            "statement_timeout=30s"
            in _values(tmp_path, "DATABASES", **environment)["DATABASES"]["default"]["OPTIONS"]["options"]
        )

    assert limit(TALLYRUN_PROCESS="web")
    assert not limit()


def test_the_clock_cannot_be_set_in_production(tmp_path):
    assert _values(tmp_path, "BUSINESS_DATE", BUSINESS_DATE="2026-01-31") == {"BUSINESS_DATE": "2026-01-31"}
    refused = _python("import config.settings", tmp_path, **PRODUCTION, BUSINESS_DATE="2026-01-31")
    assert "BUSINESS_DATE is for demos and tests" in refused.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://127.0.0.1:2525", ("127.0.0.1", 2525, False, False)),
        ("smtp+tls://me:secret@mail.example", ("mail.example", 587, True, False)),
        ("smtp+ssl://me:secret@mail.example", ("mail.example", 465, False, True)),
    ],
)
def test_mail_addresses(tmp_path, url, expected):
    found = _values(
        tmp_path, "EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_USE_SSL", "EMAIL_BACKEND", EMAIL_URL=url
    )
    assert tuple(found.values()) == (*expected, "django.core.mail.backends.smtp.EmailBackend")
