"""What a calculation rests on, in words: days, price version, the line that is credited or reduced, the order of discounts."""

from decimal import Decimal
from typing import Any

import pytest

from billing.core.types import ChargeModel, ChargeType, DiscountLevel
from billing.models import ChargeSegment, RatePlanCharge
from billing.models.rules import BillingRules
from invoicing.documents import invoice_lines
from invoicing.explained import Explanation, explained
from invoicing.models import Invoice, InvoiceItem
from tests import factories as make
from tests.factories import acme, bill, day, globex, monthly, once, plan, sakura, seats, subscribe

pytestmark = pytest.mark.django_db


def of_last_invoice(**known: Any) -> dict[str, Explanation]:
    """Return the explanations of the newest invoice's lines by description."""
    invoice = Invoice.objects.latest("id")
    lines = list(invoice_lines(invoice))
    found = explained(lines, currency=invoice.currency, **known)
    return {item.description: each for item, each in zip(lines, found, strict=True)}


def facts_of(description: str, **known: Any) -> list[str]:
    return [f"{name}: {words}" for name, words in of_last_invoice(**known)[description].facts]


def reprice(charge: RatePlanCharge, since: str, **changes: Any) -> ChargeSegment:
    """End the charge's last segment on a day and begin the next one."""
    last = charge.segments.latest("number")
    ChargeSegment.objects.filter(pk=last.pk).update(effective_end=day(since))
    values = {"quantity": last.quantity, "price": last.price, **changes}
    return charge.segments.create(number=last.number + 1, effective_start=day(since), **values)


def percent(name: str, value: str, **changes: Any) -> dict[str, Any]:
    """Return a percentage off everything that recurs in its subscription."""
    first = {
        "charge_model": ChargeModel.DISCOUNT_PERCENTAGE,
        "discount_level": DiscountLevel.SUBSCRIPTION,
        "discount_applies_to": [ChargeType.RECURRING],
    }
    return make.monthly(name, price=value, **first) | changes


def fixed(name: str, value: str, **changes: Any) -> dict[str, Any]:
    return percent(name, value, charge_model=ChargeModel.DISCOUNT_FIXED, **changes)


def test_a_recurring_line_names_its_days_and_its_price_version():
    subscribe(acme(), plan("Fee", monthly("Fee")), "2026-07-15")
    bill("2026-07-15")
    assert facts_of("Fee – Proration") == [
        "Service period: 15 Jul – 31 Jul 2026, 17 days",
        "Price version: segment 1, in force since 15 Jul 2026",
    ]


def test_a_one_time_line_names_its_day():
    subscribe(sakura(), plan("Setup", once("Setup")), "2026-07-15")
    bill("2026-07-15")
    assert facts_of("Setup") == [
        "Charged: once, on 15 Jul 2026",
        "Price version: segment 1, in force since 15 Jul 2026",
    ]


def test_each_price_version_says_since_when_it_is_in_force():
    charge = subscribe(acme(), plan("Team", seats()), "2026-07-01").charges.get()
    reprice(charge, "2026-07-11", quantity=Decimal(9))
    bill("2026-07-11")
    lines = InvoiceItem.objects.order_by("period")
    found = explained(list(lines), currency="USD")
    assert [each.facts[-1].words for each in found] == [
        "segment 1, in force since 1 Jul 2026",
        "segment 2, in force since 11 Jul 2026",
    ]


def test_a_credit_names_the_line_and_the_days_that_it_gives_back():
    charge = subscribe(acme(), plan("Team", seats()), "2026-07-01").charges.get()
    bill("2026-07-01")
    billed = Invoice.objects.get()
    reprice(charge, "2026-07-11", quantity=Decimal(9))
    bill("2026-07-12")
    assert facts_of("Seats – Proration Credit") == [
        "Days given back: 11 Jul – 31 Jul 2026, 21 days",
        "Credited line: Seats, 1 Jul – 31 Jul 2026, $50.00",
        "Price version: segment 1, in force since 1 Jul 2026",
    ]
    assert of_last_invoice()["Seats – Proration Credit"].elsewhere == billed.pk
    assert of_last_invoice()["Seats – Proration"].elsewhere is None


def test_a_credit_of_a_one_time_charge_names_the_charge_alone():
    BillingRules.objects.update(credit_one_time=True)
    charge = subscribe(acme(), plan("Setup", once("Setup")), "2026-07-01").charges.get()
    bill("2026-07-01")
    charge.segments.update(effective_end=day("2026-07-01"))
    bill("2026-07-02")
    assert facts_of("Setup – Credit")[:1] == ["Credited line: Setup, 1 Jul 2026, $100.00"]


@pytest.mark.parametrize(
    ("stacked", "order"),
    [
        (False, "2 of 3 on that line, of what is left after Ten ($10.00)"),
        (True, "2 of 3 on that line, after Ten ($10.00), but of the whole line"),
    ],
)
def test_discounts_say_in_which_order_and_what_of_they_are_taken(stacked, order):
    subscribe(
        acme(),
        plan("Fee", monthly("Fee", price="100"), percent("Ten", "10"), percent("Twenty", "20", discount_stacked=stacked), fixed("Off", "7.50")),
        "2026-07-01",
    )  # fmt: skip
    bill("2026-07-01")
    applied = "Applied to: Fee, 1 Jul – 31 Jul 2026, $100.00"
    version = "Price version: segment 1, in force since 1 Jul 2026"
    assert facts_of("Ten on Fee") == [applied, "Discount order: 1 of 3 on that line", version]
    assert facts_of("Twenty on Fee") == [applied, f"Discount order: {order}", version]
    second = "$20.00" if stacked else "$18.00"
    last = f"Discount order: 3 of 3 on that line, after Ten ($10.00), Twenty ({second})"
    assert facts_of("Off on Fee") == [applied, last, version]


def test_a_discount_that_is_alone_says_so_and_names_each_percentage():
    charges = subscribe(
        globex(bill_cycle_day=1), plan("Fee", monthly("Fee", price="100"), percent("Ten", "10")), "2026-07-01"
    ).charges
    reprice(charges.get(name="Ten"), "2026-07-12", price=Decimal(20))
    bill("2026-07-12")
    assert facts_of("Ten on Fee") == [
        "Applied to: Fee, 1 Jul – 31 Jul 2026, €100.00",
        "Discount order: the only one on that line",
        "Price version: segment 1, in force since 1 Jul 2026; segment 2, in force since 12 Jul 2026",
    ]


def test_what_a_discount_gives_back_names_the_credit():
    charges = subscribe(
        acme(), plan("Fee", monthly("Fee", price="100"), percent("Ten", "10"), fixed("Off", "7.50")), "2026-01-01"
    ).charges
    bill("2026-01-01")
    charges.get(name="Fee").segments.update(effective_end=day("2026-01-16"))
    bill("2026-01-20")
    for name in ("Ten", "Off"):
        assert facts_of(f"{name} on Fee – Proration Credit") == [
            "Given back with: Fee – Proration Credit, 16 Jan – 31 Jan 2026, −$51.61",
            "Price version: segment 1, in force since 1 Jan 2026",
        ]


def test_frozen_price_versions_speak_before_todays():
    charge = subscribe(acme(), plan("Fee", monthly("Fee")), "2026-07-01").charges.get()
    bill("2026-07-01")
    frozen = {str(charge.pk): {"1": "2026-07-01"}}
    charge.segments.update(effective_start=day("2026-06-15"))
    assert facts_of("Fee")[-1] == "Price version: segment 1, in force since 15 Jun 2026"
    assert facts_of("Fee", versions=frozen)[-1] == "Price version: segment 1, in force since 1 Jul 2026"
    assert facts_of("Fee", versions={})[-1] == "Price version: segment 1"


def test_a_line_of_another_version_is_not_guessed_at():
    subscribe(acme(), plan("Fee", monthly("Fee")), "2026-07-01")
    bill("2026-07-01")
    item = InvoiceItem.objects.get()
    item.derivation = {"v": 99}
    (found,) = explained([item], currency="USD")
    assert [fact.name for fact in found.facts] == ["Service period"]
    assert len(found.steps) == 1


@pytest.mark.parametrize("charges", [1, 12])
def test_explaining_costs_two_queries_however_many_lines_there_are(charges, django_assert_num_queries):
    many = [monthly(f"Fee {number}", price="100") for number in range(charges)]
    subscribe(acme(), plan("Fees", *many, percent("Ten", "10")), "2026-07-01")
    bill("2026-07-01")
    lines = list(invoice_lines(Invoice.objects.get()))
    assert len(lines) == 2 * charges
    with django_assert_num_queries(2):
        explained(lines, currency="USD")
    with django_assert_num_queries(1):
        explained([line for line in lines if line.kind != "Discount"], currency="USD")
    with django_assert_num_queries(0):
        explained([], currency="USD", versions={})
