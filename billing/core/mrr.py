"""Monthly recurring revenue: what a segment brings a month while it runs, before discounts (domain.md 10)."""

from decimal import Decimal
from typing import Final

from billing.core.charge_models import Rate, UnpriceableError, base_months, price_factor, rate_of
from billing.core.money import EXACT, scale_price
from billing.core.periods import DayCycle, MonthCycle, days_in, months_in, span_grid
from billing.core.proration import months_covered
from billing.core.types import BillingPeriod, ChargeTerms, ChargeType, ListPriceBase, Period, Segment, Term

MONTH: Final = 30
"""The days of the month that weekly and daily prices are normalised to."""


def monthly_revenue(terms: ChargeTerms, segment: Segment, term: Term | None = None) -> Decimal:
    """Return the price of the segment's whole quantity for one month: exact, or nine decimals where it has no end.

    One-time and usage charges bring nothing that recurs. `term` is the subscription's, for a charge that is billed once
    a term. Raises `UnpriceableError` when the segment's price or the terms are incomplete and `MoneyError` when the
    price is beyond the limit.
    """
    rate = rate_of(terms.charge_model, segment)
    if terms.charge_type is not ChargeType.RECURRING or terms.billing_period is None:
        return Decimal(0)
    base = terms.list_price_base
    days = days_in(terms)
    if days:
        length, of_base, _ = price_factor(terms, DayCycle(0, days))
        return scale_price(rate.amount, MONTH * length, of_base * days)
    months = months_in(terms)
    if base is ListPriceBase.PER_BILLING_PERIOD and not months:
        return _per_month_of_term(terms, rate, term)
    return scale_price(rate.amount, 1, base_months(base, terms.price_base_months, months))


def _per_month_of_term(terms: ChargeTerms, rate: Rate, term: Term | None) -> Decimal:
    """Return a term's price divided by its months; those of a term of odd length are counted to the day."""
    if terms.billing_period is not BillingPeriod.SUBSCRIPTION_TERM:
        raise UnpriceableError("missing_period_length", "has no length of its billing period", "Enter its length")
    if term is None or term.end is None:
        raise UnpriceableError("evergreen_subscription", "is billed once a term, but the term has no end", "Set a term")
    grid = span_grid(term.start, term.end)
    if isinstance(grid, MonthCycle):
        return scale_price(rate.amount, 1, grid.months)
    months, divisor = months_covered(Period(term.start, term.end), billing_day=term.start.day).fraction
    return scale_price(EXACT.multiply(rate.amount, divisor), 1, months)
