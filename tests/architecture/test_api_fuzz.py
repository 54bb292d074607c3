"""Thousands of generated requests to every endpoint of the API: no server error, and nothing its document does not say."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from django.core.servers.basehttp import WSGIRequestHandler
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from accounts.api_tokens import Scope
from accounts.services import issue_token
from tests.architecture.site import company

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FEWEST = 5_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of refusals are asked for here; each would write a line to the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def address(live_server, settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return where the API is served, without limit, to a company's worth of data."""
    # Header and body come in two packets; the second would wait 40 ms for the first one's acknowledgement.
    monkeypatch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    company()
    return f"{live_server.url}/api/v1/openapi.json"


class Fuzzed(NamedTuple):
    """What a run of all phases found: requests sent, answers by status, and failures by endpoint."""

    sent: int
    statuses: Counter[int]
    failures: dict[str, object]


def fuzz(address: str, secret: str, *, examples: int) -> Fuzzed:
    """Send good and bad requests to every endpoint with this token, and compare every answer with the document."""
    headers = {"Authorization": f"Bearer {secret}"}
    generation = {"max-examples": examples, "database": "none", "deterministic": True}
    config = SchemathesisConfig.from_dict({"headers": headers, "workers": 1, "generation": generation})
    schema = schemathesis.openapi.from_url(address, config=config, headers=headers)
    sent, statuses, failures = 0, Counter[int](), dict[str, object]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures[f"error {event.id}"] = event
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorded = event.recorder
        sent += len(recorded.interactions)
        statuses.update(call.response.status_code for call in recorded.interactions.values() if call.response)
        for check in (check for checks in recorded.checks.values() for check in checks):
            if (found := check.failure_info) and not _is_of_a_repetition(found.failure.title, recorded):
                failures[f"{recorded.label}: {found.failure.title}"] = (found.failure.message, found.code_sample)
    return Fuzzed(sent, statuses, failures)


def _is_of_a_repetition(title: str, recorded: Any) -> bool:
    """Tell whether what is missed after a POST had been removed by then: the same key brought the first answer back."""
    if title != "Created resource not found":
        return False
    answers = [call.response for call in recorded.interactions.values() if call.response]
    return any(answer.headers.get("idempotency-replayed") == ["true"] for answer in answers)


def test_thousands_of_requests_break_nothing_and_surprise_nobody(address):
    secret = issue_token(name="Fuzzer", scopes=Scope.values).secret
    found = fuzz(address, secret, examples=280)
    print(f"{found.sent} requests, {dict(found.statuses)}")
    assert found.failures == {}
    assert found.sent >= FEWEST
    assert {200, 401, 404, 405, 422} <= found.statuses.keys()


def test_a_token_with_one_scope_gets_nowhere_else(address):
    secret = issue_token(name="Narrow", scopes=[Scope.BILL_RUNS_READ]).secret
    found = fuzz(address, secret, examples=20)
    assert found.failures == {}
    assert found.statuses[403] > 50
