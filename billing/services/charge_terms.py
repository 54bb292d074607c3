"""What follows from how a charge is billed: its terms for pricing, its own end, its monthly revenue."""

from datetime import date, timedelta
from decimal import Decimal

from billing.core.mrr import monthly_revenue
from billing.core.periods import add_months, days_in, months_in
from billing.core.smoothing import UnusedUnitsCredit
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    ListPriceBase,
    Segment,
    Term,
)
from billing.models.terms import DISCOUNTS, BillingTermsModel, UpToPeriodsType

TIERED = (ChargeModel.TIERED, ChargeModel.VOLUME, ChargeModel.TIERED_WITH_OVERAGE)
OVERAGE = (ChargeModel.OVERAGE, ChargeModel.TIERED_WITH_OVERAGE)
WITHOUT_QUANTITY = (ChargeModel.FLAT_FEE, *DISCOUNTS)
GROUPED = (ChargeModel.PER_UNIT, ChargeModel.VOLUME, ChargeModel.TIERED)
"""Models that can price usage by parts of a billing period."""
ON_DEMAND = (ChargeModel.PER_UNIT, ChargeModel.TIERED)
"""Models that can price usage before its billing period is over."""
LAST_DAY = date(2199, 12, 31)
"""No date of a contract may lie beyond this; whoever writes one has mistyped it."""
FIRST_DAY = date(1970, 1, 1)


def includes_units(row: BillingTermsModel) -> bool:
    """Tell whether the quantity of a charge is the units it includes, not the units it is charged for."""
    return row.charge_type == ChargeType.USAGE and row.charge_model == ChargeModel.OVERAGE


def has_quantity(row: BillingTermsModel) -> bool:
    """Tell whether an order says a quantity of a charge; usage is counted, but for the units it includes."""
    if row.charge_type == ChargeType.USAGE:
        return includes_units(row)
    return row.charge_model not in WITHOUT_QUANTITY


def why_no_quantity(row: BillingTermsModel) -> str:
    """Return what a charge without a quantity is, as what follows “the charge is …”."""
    if row.charge_type == ChargeType.USAGE:
        return "usage, whose quantity is what is used,"
    return "a discount" if row.charge_model in DISCOUNTS else "a flat fee"


def credits_unused(row: BillingTermsModel) -> bool:
    """Tell whether a charge credits units that are left unused, and so needs a credit rate in each currency."""
    return bool(row.smoothing_model) and row.unused_units_credit == UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE


def terms_of(row: BillingTermsModel) -> ChargeTerms:
    """Return how a charge of the catalogue or of a subscription is billed, as the pricing core takes it."""
    return ChargeTerms(
        ChargeType(row.charge_type),
        ChargeModel(row.charge_model),
        BillingTiming(row.billing_timing),
        BillingPeriod(row.billing_period) if row.billing_period else None,
        ListPriceBase(row.list_price_base),
        BillingDayType(row.billing_day_type),
        Alignment(row.alignment),
        row.period_length,
        row.price_base_months,
        row.billing_day,
    )


def needs_term_end(row: BillingTermsModel) -> bool:
    """Tell whether the periods of a charge are counted from the end of a term, which evergreen subscriptions lack."""
    return (
        row.billing_period == BillingPeriod.SUBSCRIPTION_TERM
        or row.billing_day_type == BillingDayType.TERM_END_DAY
        or row.alignment == Alignment.TERM_END
    )


def fixed_period_end(row: BillingTermsModel, start: date, term: Term) -> date | None:
    """Return the first day after a fixed period that begins on `start`; None when it lies beyond LAST_DAY.

    The period is that many days, weeks, months or years long, or that many lengths of a billing period, wherever the
    billing days lie: three months from the 10th end on the 10th, although the first invoice is for a part of a month.
    """
    count = row.up_to_periods or 0
    months, days = 0, 0
    if row.up_to_periods_type == UpToPeriodsType.DAYS:
        days = count
    elif row.up_to_periods_type == UpToPeriodsType.WEEKS:
        days = 7 * count
    elif row.up_to_periods_type == UpToPeriodsType.MONTHS:
        months = count
    elif row.up_to_periods_type == UpToPeriodsType.YEARS:
        months = 12 * count
    else:
        months, days = (count * length for length in _period_length(row, term))
    return later(start, months=months, days=days)


def _period_length(row: BillingTermsModel, term: Term) -> tuple[int, int]:
    """Return the months, or else the days, that one billing period lasts."""
    if row.billing_period == BillingPeriod.SUBSCRIPTION_TERM:
        whole = None if term.end is None else whole_months(term.start, term.end)
        if whole is not None:
            return whole, 0
        return 0, 0 if term.end is None else (term.end - term.start).days
    terms = terms_of(row)
    return months_in(terms), days_in(terms)


def later(start: date, *, months: int = 0, days: int = 0) -> date | None:
    """Return the day so many months (clamped to the month's end) or days later; None beyond LAST_DAY."""
    if months > 12 * (LAST_DAY.year - start.year) + 12 or days > (LAST_DAY - start).days:
        return None
    found = add_months(start, months) if months else start + timedelta(days=days)
    return found if found <= LAST_DAY else None


def whole_months(start: date, end: date) -> int | None:
    """Return how many months lie between two days; None if there are days over."""
    months = 12 * (end.year - start.year) + end.month - start.month
    return months if months > 0 and add_months(start, months) == end else None


def revenue_of(row: BillingTermsModel, segment: Segment, term: Term) -> Decimal:
    """Return the monthly revenue of a segment; discounts count none of their own, for they depend on what they reduce.

    Raises UnpriceableError or MoneyError as the pricing core does.
    """
    if row.charge_type == ChargeType.USAGE or row.charge_model in DISCOUNTS:
        return Decimal(0)
    return monthly_revenue(terms_of(row), segment, term)
