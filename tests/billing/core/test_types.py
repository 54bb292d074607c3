"""The words of the domain are stored, sent and typed as they are here, and what is not said has its stated default."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

import pytest

from billing.core.discounts import Budget
from billing.core.overage import PartKind
from billing.core.smoothing import OverageCalculation, SmoothingModel, UnusedUnitsCredit
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    DaysInMonth,
    DiscountLevel,
    Line,
    LineKind,
    ListPriceBase,
    PartialMonths,
    Period,
    PriceFormat,
    ProrationUnit,
    RatedKind,
    RatingGroup,
    RecurringStyle,
    Rules,
    Segment,
    UsageRating,
)
from billing.core.units import RoundingMode
from tests.billing.core import MONTHLY_FLAT_FEE


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (ChargeType, "OneTime Recurring Usage"),
        (
            ChargeModel,
            "FlatFee PerUnit Tiered Volume Overage TieredWithOverage DiscountFixedAmount DiscountPercentage",
        ),
        (PriceFormat, "FlatFee PerUnit"),
        (BillingTiming, "InAdvance InArrears"),
        (
            BillingPeriod,
            (
                "Month Quarter SemiAnnual Annual EighteenMonths TwoYears ThreeYears FiveYears SpecificMonths"
                " SubscriptionTerm Week SpecificWeeks SpecificDays"
            ),
        ),
        (ListPriceBase, "PerBillingPeriod PerMonth PerYear PerWeek PerSpecificMonths"),
        (
            BillingDayType,
            (
                "DefaultFromCustomer ChargeTriggerDay SpecificDayOfMonth SubscriptionStartDay SpecificDayOfWeek"
                " TermStartDay TermEndDay"
            ),
        ),
        (Alignment, "AlignToCharge AlignToSubscriptionStart AlignToTermStart AlignToTermEnd"),
        (DaysInMonth, "UseActualDays Assume30Days Assume30DaysStrict"),
        (ProrationUnit, "ProrateByMonthFirst ProrateByDay"),
        (PartialMonths, "Prorate BillFull Skip"),
        (RecurringStyle, "Advanced Arrears DependsOnRatePlan"),
        (DiscountLevel, "RatePlan Subscription Account"),
        (LineKind, "Recurring OneTime Usage Credit Discount"),
        (RatingGroup, "ByBillingPeriod ByUsageStartDate ByUsageRecord ByUsageUpload"),
        (UsageRating, "EndOfBillingPeriod OnDemand"),
        (RatedKind, "Period Late"),
        (RoundingMode, "HalfUp Up Down"),
        (SmoothingModel, "RollingWindow Rollover"),
        (OverageCalculation, "EndOfSmoothingPeriod PerBillingPeriod"),
        (UnusedUnitsCredit, "NoCredit CreditBySpecificRate"),
        (PartKind, "Included Lot Waiting Billed Uncounted Overage GivenBack Unused"),
    ],
)
def test_the_words_of_the_domain(words: type[StrEnum], values: str) -> None:
    """Rows, derivations and files hold them: another spelling would no longer be understood (domain.md 2.1, 3.3)."""
    assert [str(word) for word in words] == values.split()


def test_rules_that_nobody_has_set() -> None:
    """The defaults of domain.md 3.3."""
    assert Rules() == (
        DaysInMonth.ACTUAL,
        ProrationUnit.MONTH_FIRST,
        True,  # partial periods are prorated
        PartialMonths.PRORATE,
        True,  # partial weeks are billed
        False,  # one-time charges are not credited
        RecurringStyle.RATE_PLAN,
        False,  # not billed past the end of the term
        True,  # billed to the end of the term with auto-renew on
        True,  # usage of partial months is billed
        False,  # usage is rated together, not record by record
    )


def test_what_a_charge_and_its_lines_need_not_say() -> None:
    terms = ChargeTerms(*MONTHLY_FLAT_FEE[:7])
    assert terms[7:] == (0, 0, 0)
    start = date(2026, 1, 1)
    segment = Segment(1, 1, start, None, None, Decimal(100))
    assert segment.tiers == ()
    charge = Charge(1, "C-00000001", "Support", 10, start, False, start, None, terms, (segment,))
    assert charge[10:] == (0, None, False, (), ())
    period = Period(start, date(2026, 2, 1))
    line = Line(1, 10, 1, LineKind.RECURRING, "Support", period, None, None, Decimal(100), "{}", False)
    assert line[11:] == ("", 0, 0, None, None, None)
    assert Budget(period, Decimal(25))[2:] == (0, 0, 1, "")
