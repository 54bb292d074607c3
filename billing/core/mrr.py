"""Monthly recurring revenue: what a segment brings a month while it runs, before discounts (domain.md 10)."""

from decimal import Decimal

from billing.core.charge_models import base_months, rate_of
from billing.core.money import scale_price
from billing.core.periods import MONTHS_IN
from billing.core.types import ChargeTerms, ChargeType, Segment


def monthly_revenue(terms: ChargeTerms, segment: Segment) -> Decimal:
    """Return the price of the segment's whole quantity for one month: exact, or nine decimals where it has no end.

    One-time and usage charges bring nothing that recurs. Raises `UnpriceableError` when the segment's price is
    incomplete and `MoneyError` when it is beyond the limit.
    """
    rate = rate_of(terms.charge_model, segment)
    if terms.charge_type is not ChargeType.RECURRING or terms.billing_period is None:
        return Decimal(0)
    return scale_price(rate.amount, 1, base_months(terms.list_price_base, MONTHS_IN[terms.billing_period]))
