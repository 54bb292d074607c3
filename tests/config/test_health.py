"""The probes: what they answer without login, and what they say when something is wrong."""

import pytest
from django.db import OperationalError
from django.urls import reverse
from kombu import Connection


def test_healthz_answers_without_database(client):
    response = client.get(reverse("healthz"))
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.django_db
def test_readyz_is_content_when_nothing_is_wrong(client):
    response = client.get(reverse("readyz"))
    assert response.json() == {"ready": True, "reasons": []}


@pytest.mark.django_db
def test_readyz_names_a_broker_that_does_not_answer(client, monkeypatch, tmp_path):
    monkeypatch.setattr("config.celery.app.connection_for_write", _connection_to(tmp_path / "nobody.sock"))
    response = client.get(reverse("readyz"))
    assert (response.status_code, response.json()["reasons"]) == (503, ["the broker does not answer"])


@pytest.mark.django_db
def test_readyz_tells_nothing_about_a_database_error(client, monkeypatch):
    def refuse(*_):
        raise OperationalError("password of billing@secret-host is wrong")

    monkeypatch.setattr("config.health.connection.cursor", refuse)
    response = client.get(reverse("readyz"))
    assert response.status_code == 503
    assert b"secret-host" not in response.content


def _connection_to(socket):
    return lambda **options: Connection(f"redis+socket://{socket}", **options)
