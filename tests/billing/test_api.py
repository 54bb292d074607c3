"""The subscriptions of the API: with the numbers that usage is sent for, in a fixed number of queries."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.api_tokens import Scope
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.models import ChargeSegment, ProductRatePlan, RatePlanCharge
from tests import factories as make
from tests.factories import day
from tests.programs import API, pages, problem, program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

TIERS = (Tier(Decimal(10), Decimal("0.125"), PriceFormat.PER_UNIT), Tier(None, Decimal(4), PriceFormat.PER_UNIT))


def _metered() -> ProductRatePlan:
    return make.plan("Metered", make.by_tiers("Storage", ChargeModel.TIERED, TIERS, quantity="12"))


def test_a_subscription_names_its_charges_and_what_they_cost_today():
    acme = make.acme()
    sold = make.subscribe(acme, make.team_plan(), "2026-01-01")
    found = program(Scope.SUBSCRIPTIONS_READ).get(f"{API}/subscriptions/{sold.number}").json()
    assert (found["account"], found["invoice_owner"], found["currency"]) == (acme.number, acme.number, "USD")
    assert (found["status"], found["term_type"], found["term_end"]) == ("Active", "Evergreen", None)
    assert found["contract_effective"] == "2026-01-01"
    seats, onboarding = found["charges"]
    assert seats["number"] == RatePlanCharge.objects.get(name="Seats").number
    assert (seats["rate_plan"], seats["charge_model"], seats["unit"]) == ("Team", "PerUnit", "seat")
    assert seats["segments"] == [
        {
            "number": 1,
            "effective_start": "2026-01-01",
            "effective_end": None,
            "quantity": "5",
            "price": "10",
            "mrr": "50",
            "tiers": [],
        }
    ]
    assert (onboarding["charge_type"], onboarding["billing_period"]) == ("OneTime", "")


def test_tiers_are_amounts_as_text():
    sold = make.subscribe(make.acme(), _metered(), "2026-01-01")
    [charge] = program().get(f"{API}/subscriptions/{sold.number}").json()["charges"]
    assert charge["segments"][0]["price"] is None
    assert charge["segments"][0]["tiers"] == [
        {"up_to": "10", "price": "0.125", "price_format": "PerUnit"},
        {"up_to": None, "price": "4", "price_format": "PerUnit"},
    ]


@pytest.mark.parametrize(
    ("ended", "numbers"), [("2026-07-15", [2]), ("2026-07-16", [1, 2]), ("2026-12-01", [1, 2])], ids=str
)
def test_segments_that_have_ended_are_left_out(ended, numbers):
    sold = make.subscribe(make.acme(), make.plan("Basic", make.monthly()), "2026-01-01")
    ChargeSegment.objects.update(effective_end=day(ended))
    charge = RatePlanCharge.objects.get()
    ChargeSegment.objects.create(charge=charge, number=2, effective_start=day(ended), price=Decimal(9), mrr=9)
    [found] = program().get(f"{API}/subscriptions/{sold.number}").json()["charges"]
    assert [segment["number"] for segment in found["segments"]] == numbers


def test_the_subscriptions_of_one_account_are_listed_to_the_end():
    acme, globex, team = make.acme(), make.globex(), make.team_plan()
    mine = [make.subscribe(acme, team, "2026-01-01").number for _ in range(5)]
    theirs = make.subscribe(globex, team, "2026-01-01").number
    client = program()
    found = [row["number"] for page in pages(client, "subscriptions", limit=2, account=acme.number) for row in page]
    assert found == mine
    everything = [row["number"] for page in pages(client, "subscriptions", limit=2) for row in page]
    assert everything == [*mine, theirs]


def test_an_account_that_does_not_exist_is_named():
    refused = problem(program().get(f"{API}/subscriptions?account=A404"), 404)
    assert refused["errors"] == [{"field": "account", "message": "There is no account with the number A404."}]


def test_an_unknown_subscription_is_not_found():
    assert "no subscription" in problem(program().get(f"{API}/subscriptions/S404"), 404)["detail"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("subscriptions", 2), ("subscriptions?account={account}", 3), ("subscriptions/{number}", 5)],
)
def test_the_number_of_queries_does_not_grow(path, expected):
    acme, metered, team = make.acme(), _metered(), make.team_plan()
    sold, client, counts = make.subscribe(acme, metered, "2026-01-01"), program(), []
    larger = make.subscribe(
        acme,
        make.plan("Large", *(make.by_tiers(f"Storage {n}", ChargeModel.TIERED, TIERS, quantity="2") for n in range(5))),
        "2026-01-01",
    )
    for subscription in (sold, larger):
        with CaptureQueriesContext(connection) as queries:
            address = path.format(account=acme.number, number=subscription.number)
            assert client.get(f"{API}/{address}").status_code == 200
        counts.append(len(queries))
        for _ in range(3):
            make.subscribe(acme, team, "2026-01-01")
    assert counts == [expected, expected]
