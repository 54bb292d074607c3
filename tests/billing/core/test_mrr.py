"""Monthly recurring revenue brings every recurring price to one month (domain.md 10)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.core.charge_models import UnpriceableError
from billing.core.mrr import monthly_revenue
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, ListPriceBase, Term
from tests.billing.core import MONTHLY_FLAT_FEE, day, segment

A_YEAR = Term(day("2026-01-01"), day("2027-01-01"))


@pytest.mark.parametrize(
    ("price", "period", "length", "base", "monthly"),
    [
        ("12000", "Annual", 0, "PerBillingPeriod", "1000"),
        ("12000", "Quarter", 0, "PerYear", "1000"),
        ("300", "Quarter", 0, "PerBillingPeriod", "100"),
        ("100", "Month", 0, "PerBillingPeriod", "100"),
        ("100", "FiveYears", 0, "PerMonth", "100"),
        ("1800", "EighteenMonths", 0, "PerBillingPeriod", "100"),
        ("700", "SpecificMonths", 7, "PerBillingPeriod", "100"),
        ("500", "Month", 0, "PerSpecificMonths", "100"),
        # price ÷ days in the base × 30
        ("140", "Week", 0, "PerBillingPeriod", "600"),
        ("140", "SpecificWeeks", 2, "PerBillingPeriod", "300"),
        ("140", "SpecificWeeks", 2, "PerWeek", "600"),
        ("100", "SpecificDays", 10, "PerBillingPeriod", "300"),
        ("70", "SpecificDays", 10, "PerWeek", "300"),
        # total ÷ months of the term
        ("1200", "SubscriptionTerm", 0, "PerBillingPeriod", "100"),
        ("100", "SubscriptionTerm", 0, "PerMonth", "100"),
        ("100", "Week", 0, "PerBillingPeriod", "428.571428571"),
    ],
)
def test_every_price_is_brought_to_a_month(price: str, period: str, length: int, base: str, monthly: str) -> None:
    terms = MONTHLY_FLAT_FEE._replace(
        billing_period=BillingPeriod(period),
        period_length=length,
        list_price_base=ListPriceBase(base),
        price_base_months=5,
    )
    assert monthly_revenue(terms, segment("2026-01-01", price=price), A_YEAR) == Decimal(monthly)


def test_an_upsell_brings_what_its_units_cost() -> None:
    """10 → 13 units at 5: +15.00 a month."""
    terms = MONTHLY_FLAT_FEE._replace(charge_model=ChargeModel.PER_UNIT)
    before, after = (segment("2026-01-01", price="5", quantity=quantity) for quantity in ("10", "13"))
    assert monthly_revenue(terms, after) - monthly_revenue(terms, before) == Decimal("15.00")


def test_a_term_of_odd_length_counts_its_months_to_the_day() -> None:
    """From January 1 to February 15: one month and 14 of 28 days, 150 in all."""
    terms = MONTHLY_FLAT_FEE._replace(billing_period=BillingPeriod.SUBSCRIPTION_TERM)
    term = Term(day("2026-01-01"), day("2026-02-15"))
    assert monthly_revenue(terms, segment("2026-01-01", price="150"), term) == 100


@pytest.mark.parametrize("charge_type", [ChargeType.ONE_TIME, ChargeType.USAGE])
def test_what_does_not_recur_brings_nothing(charge_type: ChargeType) -> None:
    found = monthly_revenue(MONTHLY_FLAT_FEE._replace(charge_type=charge_type), segment("2026-01-01"))
    assert str(found) == "0" and isinstance(found, Decimal)


@pytest.mark.parametrize(
    ("changes", "term", "code"),
    [
        ({"billing_period": BillingPeriod.SUBSCRIPTION_TERM}, None, "evergreen_subscription"),
        (
            {"billing_period": BillingPeriod.SUBSCRIPTION_TERM},
            Term(day("2026-01-01"), None),
            "evergreen_subscription",
        ),
        ({"billing_period": BillingPeriod.SPECIFIC_MONTHS}, A_YEAR, "missing_period_length"),
        ({"billing_period": BillingPeriod.SPECIFIC_DAYS}, A_YEAR, "missing_period_length"),
        ({"list_price_base": ListPriceBase.PER_WEEK}, A_YEAR, "list_price_base_does_not_fit"),
        (
            {"billing_period": BillingPeriod.WEEK, "list_price_base": ListPriceBase.PER_MONTH},
            A_YEAR,
            "list_price_base_does_not_fit",
        ),
    ],
)
def test_an_unknown_or_unfit_length_is_refused(changes: dict[str, Any], term: Term | None, code: str) -> None:
    with pytest.raises(UnpriceableError) as caught:
        monthly_revenue(MONTHLY_FLAT_FEE._replace(**changes), segment("2026-01-01"), term)
    assert caught.value.code == code
