"""API tokens: shown once, stored as a hash, valid until they expire or are revoked, and limited in a minute."""

import io
import logging
import re
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.api_tokens import MARK, PREFIX_LENGTH, ApiToken, Scope, caller_of, hash_of
from accounts.idempotency import FIELD, new_request_key
from accounts.services import issue_token, revoke_token
from config.logs import logging_config
from tests.factories import acme, user
from tests.programs import API, bearing, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

NEW = "/accounts/apitoken/new/"


def _admin() -> Client:
    client = Client()
    client.force_login(user("admin"))
    return client


def _form(**changes: object) -> dict[str, object]:
    return {FIELD: new_request_key(), "name": "Gateway", "scopes": ["usage:write"], "last_day": "", **changes}


def _secret_in(content: bytes) -> str:
    found = re.findall(rf'<code class="secret">({MARK}[\w-]{{43}})</code>', content.decode())
    assert len(found) == 1
    return found[0]


def _tables_with(text: str) -> list[str]:
    """Return the tables in which some row contains the text."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS r WHERE r::text LIKE %s', [f"%{text}%"])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


# Issuing --------------------------------------------------------------------------------------------------------------


def test_the_token_is_shown_once_and_stored_as_its_hash_only():
    admin, form = _admin(), _form()
    shown = admin.post(NEW, form)
    secret, token = _secret_in(shown.content), ApiToken.objects.get()
    assert "no-store" in shown.headers["Cache-Control"]
    assert (token.name, token.scopes, str(token.created_by)) == ("Gateway", ["usage:write"], "admin")
    assert (token.key_hash, token.prefix) == (hash_of(secret), secret[:PREFIX_LENGTH])
    assert _tables_with(secret) == []
    assert _tables_with(secret[PREFIX_LENGTH:]) == []
    # Sending the form again, as reloading the page does, leads to the token's page.
    again = admin.post(NEW, form)
    assert (again.status_code, again.headers["Location"]) == (302, token.get_absolute_url())
    assert ApiToken.objects.count() == 1


def test_no_page_shows_the_token_or_its_hash_again():
    admin = _admin()
    secret, token = _secret_in(admin.post(NEW, _form()).content), ApiToken.objects.get()
    stem = "/accounts/apitoken/"
    for path in ("", "export/", f"{token.pk}/", f"{token.pk}/change/", f"{token.pk}/history/", f"{token.pk}/revoke/"):
        answer: Any = admin.get(stem + path)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code == 200, path
        assert secret.encode() not in content, path
        assert token.key_hash.encode() not in content, path
        assert token.prefix.encode() in content or path.endswith("history/"), path


def test_no_log_line_contains_the_token(caplog):
    caplog.set_level(logging.DEBUG)
    acme()
    secret = issue_token(name="Gateway", scopes=["accounts:read"]).secret
    for headers in ({"Authorization": f"Bearer {secret}"}, {"Authorization": f"Token {secret}"}):
        for path in ("accounts", "invoices", "nowhere"):
            Client(headers=headers).get(f"{API}/{path}")
    assert "/api/v1/invoices" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_traceback_contains_the_token(log_format, monkeypatch):
    """The database fails just while the token is looked up, which is where it stands in local variables."""
    monkeypatch.setattr("accounts.api_tokens._COUNTED", "SELECT nothing")
    secret = issue_token(name="Gateway", scopes=["accounts:read"]).secret
    lines = logging.StreamHandler(written := io.StringIO())
    config = logging_config(log_format=log_format, level="INFO", quiet_requests=False)["formatters"]["line"]
    factory = config.pop("()")
    lines.setFormatter(factory(**config))
    logging.getLogger().addHandler(lines)
    try:
        problem(bearing(secret).get(f"{API}/accounts"), 500)
    finally:
        logging.getLogger().removeHandler(lines)
    assert "SyntaxError" in written.getvalue() or "ProgrammingError" in written.getvalue()
    assert "caller_of" in written.getvalue()
    assert secret not in written.getvalue()


def test_roles_of_an_older_installation_get_their_rights():
    of_tokens = Permission.objects.filter(content_type__model="apitoken")
    expected = {role.name: set(role.permissions.all() & of_tokens) for role in Group.objects.all()}
    assert {name: len(granted) for name, granted in expected.items()} == {
        "viewer": 1,
        "operator": 1,
        "approver": 1,
        "admin": 4,
    }
    for role in Group.objects.all():
        role.permissions.remove(*of_tokens)
    migration: Any = import_module("invoicing.migrations.0007_api_roles")
    migration.grant(apps, SimpleNamespace(connection=connection))
    assert {role.name: set(role.permissions.all() & of_tokens) for role in Group.objects.all()} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "This field is required."),
        ({"scopes": []}, "Choose at least one scope."),
        ({"scopes": ["everything"]}, "everything is not one of the available choices."),
        ({"last_day": "2026-07-14"}, "This day is over."),
    ],
)
def test_a_token_that_cannot_be_issued_is_explained(change, message):
    answer = _admin().post(NEW, _form(**change))
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_a_token_is_valid_to_the_end_of_its_last_day():
    _admin().post(NEW, _form(last_day="2026-12-24"))
    assert str(ApiToken.objects.get().expires_at) == "2026-12-24 23:59:59.999999+00:00"


def test_tokens_are_random_and_name_what_they_are():
    made = {issue_token(name="Gateway", scopes=["usage:write"]).secret for _ in range(20)}
    assert len(made) == 20
    assert {len(secret) for secret in made} == {len(MARK) + 43}


@pytest.mark.parametrize("scopes", [[], ["usage:write", "everything"]])
def test_the_service_refuses_what_is_no_scope(scopes):
    with pytest.raises(ValidationError):
        issue_token(name="Gateway", scopes=scopes)


# Using ----------------------------------------------------------------------------------------------------------------


def test_a_valid_token_with_the_scope_is_let_through():
    assert program(Scope.ACCOUNTS_READ).get(f"{API}/accounts").status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic {}", "Token {}", "{}", "Bearer x{}", "Bearer {}x"]
)
def test_a_request_without_a_known_token_is_refused(header):
    secret = issue_token(name="Gateway", scopes=["accounts:read"]).secret
    headers = {} if header is None else {"Authorization": header.format(secret)}
    refused = Client(headers=headers).get(f"{API}/accounts")
    assert "Send “Authorization: Bearer”" in problem(refused, 401)["detail"]
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_refused():
    soon = timezone.now() + timedelta(hours=1)
    client = bearing(issue_token(name="Gateway", scopes=["accounts:read"], expires_at=soon).secret)
    assert client.get(f"{API}/accounts").status_code == 200
    with time_machine.travel(soon, tick=False):
        problem(client.get(f"{API}/accounts"), 401)
    assert ApiToken(expires_at=timezone.now()).state == "Expired"


def test_a_revoked_token_is_refused_from_the_next_request_on():
    issued = issue_token(name="Gateway", scopes=["accounts:read"])
    client = bearing(issued.secret)
    assert client.get(f"{API}/accounts").status_code == 200
    assert revoke_token(issued.token)
    problem(client.get(f"{API}/accounts"), 401)
    assert not revoke_token(issued.token)


def test_refusals_do_not_tell_why_a_token_is_worthless():
    revoked = issue_token(name="Gateway", scopes=["accounts:read"])
    revoke_token(revoked.token)
    expired = issue_token(name="Old", scopes=["accounts:read"], expires_at=timezone.now())
    answers = {bearing(s).get(f"{API}/accounts").content for s in (revoked.secret, expired.secret, f"{MARK}unknown")}
    assert len(answers) == 1


def test_a_session_is_no_token():
    problem(_admin().get(f"{API}/accounts"), 401)


def test_a_token_without_the_scope_is_told_which_one_it_lacks():
    refused = program(Scope.USAGE_WRITE).get(f"{API}/accounts")
    assert "lacks the scope accounts:read" in problem(refused, 403)["detail"]
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="accounts:read"'


def test_use_is_noted_at_most_once_a_minute():
    secret = issue_token(name="Gateway", scopes=["accounts:read"]).secret
    start, noted = timezone.now(), []
    for seconds in (0, 30, 59, 60, 61, 119, 120, 500):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            caller_of(secret)
        used: Any = ApiToken.objects.get().last_used_at
        noted.append(round((used - start).total_seconds()))
    assert noted == [0, 0, 0, 60, 60, 60, 120, 500]


# Limit ----------------------------------------------------------------------------------------------------------------


def test_a_token_that_asks_too_often_waits_until_the_minute_is_over(settings):
    settings.API_REQUESTS_PER_MINUTE = 3
    greedy, other = program(Scope.ACCOUNTS_READ), program(Scope.ACCOUNTS_READ)
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        assert [greedy.get(f"{API}/accounts").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert other.get(f"{API}/accounts").status_code == 200
    with time_machine.travel(start + timedelta(seconds=45), tick=False):
        refused = greedy.get(f"{API}/accounts")
        assert "Wait as long as" in problem(refused, 429)["detail"]
        assert refused.headers["Retry-After"] == "15"
    with time_machine.travel(start + timedelta(seconds=60), tick=False):
        assert greedy.get(f"{API}/accounts").status_code == 200


# Revoking -------------------------------------------------------------------------------------------------------------


def test_revoking_asks_first_and_is_logged():
    admin, issued = _admin(), issue_token(name="Gateway", scopes=["accounts:read"])
    address = f"/accounts/apitoken/{issued.token.pk}/revoke/"
    assert "cannot be revived" in admin.get(address).content.decode()
    assert ApiToken.objects.get().state == "Active"
    done = admin.post(address, {FIELD: new_request_key()}, follow=True)
    assert "The API refuses it from now on." in done.content.decode()
    assert ApiToken.objects.get().state == "Revoked"
    assert LogEntry.objects.get().get_change_message() == "Revoked."
    assert address not in admin.get(issued.token.get_absolute_url()).content.decode()
    again = admin.post(address, {FIELD: new_request_key()}, follow=True)
    assert "was revoked before. Nothing was changed." in again.content.decode()
    assert LogEntry.objects.count() == 1
