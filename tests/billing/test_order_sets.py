"""Orders in sets: as many statements for two thousand subscriptions as for two, and never beside a running bill run."""

import time
from datetime import date
from decimal import Decimal

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from billing.models import ChargeSegment, OrderAction, Subscription, SubscriptionTerm
from billing.models.terms import TriggerEvent
from billing.services.orders import (
    Action,
    AddProduct,
    CancelSubscription,
    ChargeChange,
    CreatedBy,
    NewRatePlan,
    NewSubscription,
    RenewSubscription,
    Resume,
    SetTriggerDates,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
    place_order,
)
from tests.factories import acme, globex, monthly, plan, subscribe, team_plan

START = date(2026, 3, 10)
FEBRUARY, MARCH, APRIL = date(2027, 2, 1), date(2027, 3, 1), date(2027, 4, 1)


def counted(account, actions):
    """Place an order; return the statements it took."""
    with CaptureQueriesContext(connection) as queries:
        place_order(account=account, order_date=START, actions=actions)
    return [query["sql"] for query in queries]


def every_action(subscription, change, support):
    """Return one action of each kind for a subscription with a year's term."""
    return [
        UpdateProduct(subscription, (change,), FEBRUARY),
        AddProduct(subscription, NewRatePlan(support), FEBRUARY),
        RenewSubscription(subscription),
        Suspend(subscription, MARCH),
        Resume(subscription, APRIL, extend_term=True),
        TermsAndConditions(subscription, APRIL, auto_renew=True),
        CancelSubscription(subscription, APRIL),
    ]


@pytest.mark.django_db
def test_statements_do_not_grow_with_the_order():
    account, rate_plan, support = acme(bill_cycle_day=0), team_plan(), plan("Support", monthly("Support"))
    change = ChargeChange(rate_plan.charges.get(name="Seats"), quantity=Decimal(9))
    new = NewSubscription((NewRatePlan(rate_plan),), START, term_months=12)
    found = []
    for count in (2, 40):
        created = counted(account, [new] * count)
        subscriptions = list(Subscription.objects.order_by("-id")[:count])
        amended = counted(account, [a for s in subscriptions for a in every_action(s, change, support)])
        found.append((len(created), len(amended)))
    assert found[0][1] == found[1][1]
    assert found[0][0] - found[1][0] in (0, 1)  # the first one sets the bill cycle day
    assert max(map(max, found)) < 50


@pytest.mark.django_db
def test_trigger_dates_of_many_subscriptions_take_as_many_statements_as_of_two():
    account = acme()
    live = plan("Live", monthly("Live", trigger_event=TriggerEvent.SERVICE_ACTIVATION))
    new = NewSubscription((NewRatePlan(live),), START)
    found = []
    for count in (2, 40):
        place_order(account=account, order_date=START, actions=[new] * count)
        waiting = Subscription.objects.order_by("-id")[:count]
        found.append(len(counted(account, [SetTriggerDates(s, service_activation=APRIL) for s in waiting])))
        assert set(Subscription.objects.values_list("status", "service_activation")) == {("Active", APRIL)}
    assert found[0] == found[1] < 30


@pytest.mark.django_db
def test_two_thousand_subscriptions_are_amended_in_seconds():
    account, rate_plan = acme(), team_plan()
    change = ChargeChange(rate_plan.charges.get(name="Seats"), quantity=Decimal(9))
    new = NewSubscription((NewRatePlan(rate_plan),), START, term_months=12)
    place_order(account=account, order_date=START, actions=[new] * 2000)
    subscriptions = list(Subscription.objects.all())
    began = time.monotonic()
    actions = [a for s in subscriptions for a in (UpdateProduct(s, (change,), FEBRUARY), RenewSubscription(s))]
    assert len(counted(account, actions)) < 50
    assert time.monotonic() - began < 60
    assert ChargeSegment.objects.filter(quantity=9).count() == 2000
    assert SubscriptionTerm.objects.count() == OrderAction.objects.count() - 2000 == 4000


@pytest.mark.django_db
def test_accounts_are_locked_in_the_order_of_their_ids_before_anything_is_read():
    parent, child = acme(), acme()
    rate_plan = team_plan()
    subscription = subscribe(child, rate_plan, "2026-03-10", invoice_owner=parent)
    statements = counted(child, [CancelSubscription(subscription, APRIL)])
    locks = [place for place, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql]
    assert len(locks) == 1
    assert f"IN ({parent.pk}, {child.pk})" in statements[locks[0]]
    assert 'ORDER BY "accounts_account"."id" ASC FOR NO KEY UPDATE' in statements[locks[0]]
    earlier = [sql for sql in statements[: locks[0]] if not sql.startswith("SAVEPOINT")]
    assert all('"invoice_owner_id"' in sql for sql in earlier), earlier  # whom to lock, and nothing else


@pytest.mark.django_db(transaction=True)
def test_an_order_waits_for_whoever_has_locked_the_account_that_is_billed(app_connection):
    """A bill run holds that lock from reading to writing; an order in between would be billed by halves."""
    parent, child = acme(), acme()
    rate_plan = team_plan()
    subscription = subscribe(child, rate_plan, "2026-03-10", invoice_owner=parent)
    with app_connection.transaction():
        app_connection.execute("SELECT id FROM accounts_account WHERE id = %s FOR NO KEY UPDATE", [parent.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '300ms'")
        of_the_parent = NewSubscription((NewRatePlan(rate_plan),), START, invoice_owner=parent)
        amended: list[Action] = [CancelSubscription(subscription, APRIL)]
        created: list[Action] = [of_the_parent, Suspend(CreatedBy(1), APRIL)]
        for actions in (amended, created):
            with pytest.raises(OperationalError, match="lock timeout"):
                place_order(account=child, order_date=START, actions=actions)
        place_order(account=globex(), order_date=START, actions=[NewSubscription((NewRatePlan(rate_plan),), START)])
    place_order(account=child, order_date=START, actions=[CancelSubscription(subscription, APRIL)])
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")
    subscription.refresh_from_db()
    assert subscription.status == "Canceled"
