"""Discounts through the database: each is a line of its own that reduces another, and goes back with what is credited."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.core.types import BillingTiming, ChargeModel, ChargeType, DiscountLevel
from billing.models import RatePlanCharge
from invoicing.bill_run.verify import audit
from invoicing.explanation import explain
from invoicing.models import InvoiceItem
from invoicing.next_invoice import next_invoice
from invoicing.posting import cancel_drafts, post_run
from tests import factories as make
from tests.factories import bill, day

pytestmark = pytest.mark.django_db(transaction=True)


def percent(name: str, value: str, **changes: Any) -> dict[str, Any]:
    """Return a percentage off everything that recurs in its subscription."""
    return discount(name, ChargeModel.DISCOUNT_PERCENTAGE, value, **changes)


def discount(name: str, model: ChargeModel, value: str, **changes: Any) -> dict[str, Any]:
    first = {
        "charge_model": model,
        "discount_level": DiscountLevel.SUBSCRIPTION,
        "discount_applies_to": [ChargeType.RECURRING],
    }
    return make.monthly(name, price=value, **first) | changes


def sold(*charges: dict[str, Any], price: str = "100") -> RatePlanCharge:
    """Let Acme buy a fee of 100.00 a month with discounts from January on; return the fee."""
    subscription = make.subscribe(
        make.acme(), make.plan("Fee", make.monthly("Fee", price=price), *charges), "2026-01-01"
    )
    return subscription.charges.get(name="Fee")


def lines() -> list[tuple[str, str, str]]:
    """Return every live line: kind, first day and amount, in the order they were written."""
    found = InvoiceItem.objects.filter(invoice__status__in=["Draft", "Posted"]).order_by("id")
    return [(item.kind, str(item.period.lower), f"{item.amount:.2f}") for item in found]


def total() -> Decimal:
    return sum((Decimal(amount) for *_, amount in lines()), Decimal(0))


@pytest.mark.parametrize(("stacked", "rest"), [(False, "72.00"), (True, "70.00")])
def test_percentages_follow_one_another_or_stack(stacked, rest):
    sold(percent("Ten", "10"), percent("Twenty", "20", discount_stacked=stacked))
    run = bill("2026-01-01")
    assert (run.status, run.has_errors) == ("Completed", False)
    assert total() == Decimal(rest)
    fee = InvoiceItem.objects.get(kind="Recurring")
    assert {item.reduces for item in InvoiceItem.objects.filter(kind="Discount")} == {fee}
    assert audit() == []
    post_run(run.pk, user_id=None)
    assert audit() == []


def test_a_fixed_discount_is_used_up_once_a_month():
    sold(discount("Off", ChargeModel.DISCOUNT_FIXED, "25"), make.monthly("More", price="5"), price="15")
    bill("2026-01-01")
    # 15.00 and 5.00 are less than 25.00: nothing is left, and nothing goes below zero
    assert total() == Decimal(0)
    bill("2026-01-20")
    bill("2026-02-01")
    assert total() == Decimal(0)
    assert audit() == []


def test_the_same_run_again_discounts_nothing_twice():
    sold(percent("Ten", "10"))
    bill("2026-01-01")
    before = lines()
    assert bill("2026-01-01").invoice_count == 0
    assert lines() == before == [("Recurring", "2026-01-01", "100.00"), ("Discount", "2026-01-01", "-10.00")]


def test_a_credit_gives_back_its_share_of_the_discount():
    fee = sold(percent("Ten", "10"))
    bill("2026-01-01")
    fee.segments.update(effective_end=day("2026-01-16"))
    run = bill("2026-01-20")
    # 90.00 · 15/31 = 43.55 stay
    assert total() == Decimal("43.55")
    back = InvoiceItem.objects.latest("id")
    assert back.reduces is not None
    assert (back.kind, back.reduces.kind, back.credits) == ("Discount", "Credit", None)
    assert audit() == []
    cancel_drafts(list(run.invoices.values_list("pk", flat=True)))
    assert total() == Decimal("90.00")
    assert audit() == []
    bill("2026-01-20")
    assert total() == Decimal("43.55")


def test_the_next_invoice_foretells_the_discount():
    fee = sold(percent("Ten", "10"))
    bill("2026-01-01")
    assert next_invoice(fee.subscription.account_id, today=day("2026-01-15")).total == Decimal("90.00")


def test_the_next_invoice_foretells_the_discount_together_with_what_it_reduces():
    fee = make.plan(
        "Fee", make.monthly("Fee", price="100", billing_timing=BillingTiming.IN_ARREARS), percent("Ten", "10")
    )
    subscription = make.subscribe(make.acme(), fee, "2026-01-01")
    found = next_invoice(subscription.account_id, today=day("2026-01-15"))
    assert (found.day, found.total) == (day("2026-02-01"), Decimal("90.00"))


def test_an_impossible_percentage_parks_the_account():
    sold(percent("Ten", "10"))
    RatePlanCharge.objects.get(name="Ten").segments.update(price=Decimal(110))
    run = bill("2026-01-01")
    assert (run.accounts_failed, run.invoice_count) == (1, 0)
    assert "takes off 110 %" in run.account_outcomes.get().message


def test_each_discount_is_explained():
    fee = sold(percent("Ten", "10"), discount("Off", ChargeModel.DISCOUNT_FIXED, "7.50"))
    bill("2026-01-01")
    fee.segments.update(effective_end=day("2026-01-16"))
    bill("2026-01-20")
    words = []
    for item in InvoiceItem.objects.filter(kind="Discount").order_by("id"):
        steps = explain(item, currency="USD")
        assert steps[-1].value == Fraction(item.amount)
        words.append([f"{step.name}: {step.working}" for step in steps])
    assert any("Percentage: 10 % of $" in text for step in words for text in step)
    assert any("Fixed amount: $7.50 from 1 Jan 2026 on" in text for step in words for text in step)
    assert any("Taken off so far: of the billed line that this one is about" in text for step in words for text in step)
    assert any("÷ $100.00: in proportion to the line" in text for step in words for text in step)
