"""Tests of the pricing core, and the few words they build their examples with."""

from datetime import date
from decimal import Decimal
from typing import Any

from billing.core.types import (
    Account,
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Currency,
    ListPriceBase,
    PriceFormat,
    Segment,
    Tier,
)

USD = Currency("USD", 2)
JPY = Currency("JPY", 0)
BHD = Currency("BHD", 3)

BLUEFIN = Account(
    account_id=1,
    number="A00000001",
    currency=USD,
    bill_cycle_day=1,
    bill_to_id=11,
    payment_term_id=12,
    template_id=13,
    sequence_id=14,
)
"""Bluefin Coffee, billed in dollars on the first of the month."""

MONTHLY_FLAT_FEE = ChargeTerms(
    charge_type=ChargeType.RECURRING,
    charge_model=ChargeModel.FLAT_FEE,
    billing_timing=BillingTiming.IN_ADVANCE,
    billing_period=BillingPeriod.MONTH,
    list_price_base=ListPriceBase.PER_BILLING_PERIOD,
    billing_day_type=BillingDayType.ACCOUNT,
    alignment=Alignment.CHARGE,
)


def day(text: str) -> date:
    """Return the date written as 2026-01-31."""
    return date.fromisoformat(text)


def tiers(text: str) -> tuple[Tier, ...]:
    """Return tiers written as `9: 0, 20: 1, 30: flat 2, rest: 3`."""
    found = []
    for part in text.split(","):
        end, price = part.split(":")
        price_format = PriceFormat.FLAT_FEE if "flat" in price else PriceFormat.PER_UNIT
        up_to = None if end.strip() == "rest" else Decimal(end.strip())
        found.append(Tier(up_to, Decimal(price.replace("flat", "").strip()), price_format))
    return tuple(found)


def segment(start: str, end: str | None = None, *, number: int = 1, **changes: Any) -> Segment:
    """Return a segment of 100 a unit; `changes` are other fields, as text where they are numbers."""
    values: dict[str, Any] = {"price": Decimal(100), "quantity": None, "tiers": (), "segment_id": 1000 + number}
    for name, value in changes.items():
        values[name] = Decimal(value) if isinstance(value, str) else value
    return Segment(number=number, start=day(start), end=day(end) if end else None, **values)


def charge(start: str, *segments: Segment, **changes: Any) -> Charge:
    """Return a charge of 100 a month from `start`; `changes` are fields of the charge or of its terms."""
    terms = MONTHLY_FLAT_FEE._replace(**{name: changes.pop(name) for name in ChargeTerms._fields if name in changes})
    dates: dict[str, Any] = {
        name: day(changes[name]) for name in ("billed_through", "subscription_start") if name in changes
    }
    values: dict[str, Any] = {
        "charge_id": 100,
        "number": "C-00000001",
        "name": "Support",
        "subscription_id": 10,
        "subscription_start": day(start),
        "invoice_separately": False,
        "trigger_date": day(start),
        "billed_through": None,
        "terms": terms,
        "segments": segments or (segment(start),),
    }
    return Charge(**(values | changes | dates))
