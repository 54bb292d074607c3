"""Monthly recurring revenue less discounts: what the charges of an account bring a month, net (domain.md 10)."""

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from billing.core.discounts import Discount, discount_lines
from billing.core.money import EXACT, PRICE_DECIMALS, round_amount
from billing.core.types import Currency, Line, LineKind, Period


class Revenue(NamedTuple):
    """What a recurring charge brings a month on some day, before discounts."""

    charge_id: int
    charge_number: str
    subscription_id: int
    rate_plan_id: int
    segment_number: int
    amount: Decimal


def net_revenue(revenues: Iterable[Revenue], discounts: Iterable[Discount], *, day: date) -> dict[int, Decimal]:
    """Return the monthly recurring revenue of each charge on `day` less its discounts, by charge id.

    A fixed discount comes with one budget that has `day` in its period and is what the discount is worth a month.
    Revenue and discounts are rounded to nine decimals.
    """
    currency = Currency("", PRICE_DECIMALS)
    only = Period(day, day + timedelta(days=1))
    lines = [
        Line(
            charge_id=each.charge_id,
            subscription_id=each.subscription_id,
            segment_id=0,
            kind=LineKind.RECURRING,
            description="",
            period=only,
            quantity=None,
            unit_price=None,
            amount=round_amount(each.amount, currency),
            derivation="",
            invoice_separately=False,
            charge_number=each.charge_number,
            rate_plan_id=each.rate_plan_id,
            segment_number=each.segment_number,
        )
        for each in revenues
    ]
    net = {line.charge_id: line.amount for line in lines}
    for line in discount_lines(lines, discounts, currency=currency, target_date=day):
        assert line.reduces is not None
        net[line.reduces[0]] = EXACT.add(net[line.reduces[0]], line.amount)
    return net
