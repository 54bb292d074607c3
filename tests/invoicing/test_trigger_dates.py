"""Subscriptions that wait for a date are not billed; once it is set, the next run bills from that day on.

2026         Jan           Feb           Mar
one run      nothing       nothing
activated                      |10 Feb
next run                       |- 19/28 -|============|
"""

from decimal import Decimal

import pytest

from billing.models import RatePlanCharge
from billing.models.terms import TriggerEvent
from billing.services.orders import OrderRefusedError, SetTriggerDates, place_order
from invoicing.bill_run.verify import audit
from invoicing.models import InvoiceItem
from invoicing.posting import cancel_drafts
from tests import factories as make
from tests.factories import bill, day

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def subscription():
    """Acme's subscription of January: seats that wait for activation, a fee that does not, a handover to be accepted."""
    live = make.seats("Seats", "10", trigger_event=TriggerEvent.SERVICE_ACTIVATION)
    handover = make.once("Handover", trigger_event=TriggerEvent.CUSTOMER_ACCEPTANCE)
    return make.subscribe(make.acme(), make.plan("Live", live, make.monthly("Fee"), handover), "2026-01-01")


def set_dates(subscription, **dates):
    action = SetTriggerDates(subscription, **{field: day(on) for field, on in dates.items()})
    return place_order(account=subscription.account, order_date=day("2026-02-10"), actions=[action])


def lines():
    """Return the live lines: charge, first day, end and amount."""
    found = InvoiceItem.objects.filter(invoice__status="Draft").order_by("charge__name", "period")
    return [
        (item.charge.name, str(item.period.lower), str(item.period.upper), f"{item.amount:.2f}")
        for item in found.select_related("charge")
    ]


def test_a_run_bills_from_the_day_of_activation_on(subscription):
    for target in ("2026-01-01", "2026-02-01"):
        assert bill(target).invoice_count == 0
    set_dates(subscription, service_activation="2026-02-10")
    assert bill("2026-03-01").invoice_count == 0  # not accepted yet
    set_dates(subscription, customer_acceptance="2026-02-20")
    assert bill("2026-03-01").invoice_count == 1
    assert lines() == [
        ("Fee", "2026-01-01", "2026-02-01", "10.00"),
        ("Fee", "2026-02-01", "2026-03-01", "10.00"),
        ("Fee", "2026-03-01", "2026-04-01", "10.00"),
        ("Handover", "2026-02-20", "2026-02-21", "100.00"),
        ("Seats", "2026-02-10", "2026-03-01", "67.86"),  # 100.00 · 19/28
        ("Seats", "2026-03-01", "2026-04-01", "100.00"),
    ]
    assert audit() == []


def test_a_day_in_the_future_waits_for_its_run(subscription):
    set_dates(subscription, service_activation="2026-06-10", customer_acceptance="2026-06-20")
    bill("2026-06-09")
    assert {charge for charge, *_ in lines()} == {"Fee"}
    bill("2026-06-10")
    assert {charge for charge, *_ in lines()} == {"Fee", "Seats"}


def test_the_date_moves_while_nothing_is_billed_and_stays_afterwards(subscription):
    set_dates(subscription, service_activation="2026-02-10", customer_acceptance="2026-02-10")
    draft = bill("2026-02-10").invoices.get()
    with pytest.raises(OrderRefusedError, match="is billed from 2026-02-10 on"):
        set_dates(subscription, service_activation="2026-02-05")
    assert RatePlanCharge.objects.get(name="Seats").trigger_date == day("2026-02-10")
    cancel_drafts([draft.pk])
    set_dates(subscription, service_activation="2026-02-05")
    bill("2026-02-10")
    seats = InvoiceItem.objects.filter(invoice__status="Draft", charge__name="Seats").get()
    assert (str(seats.period.lower), seats.amount) == ("2026-02-05", Decimal("85.71"))  # 100.00 · 24/28
    assert audit() == []
