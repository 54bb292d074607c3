"""What the catalogue refuses of usage charges: how usage is counted, when it is rated, how overage is smoothed (domain.md 2.1)."""

from collections.abc import Iterator

from billing.core.smoothing import OverageCalculation, SmoothingModel, UnusedUnitsCredit
from billing.core.types import BillingTiming, ChargeModel, ChargeType, ListPriceBase, RatingGroup, UsageRating
from billing.models.terms import BillingTermsModel
from billing.services.charge_terms import GROUPED, ON_DEMAND

MAX_SMOOTHING_PERIODS = 60

Flaw = tuple[str, str]


def usage_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    """Yield what is wrong with how usage is billed, as (field, message), and usage terms on what is no usage."""
    if charge.charge_type != ChargeType.USAGE:
        yield from _no_usage_flaws(charge)
        return
    if not charge.billing_period:
        yield "billing_period", "A usage charge needs a billing period."
    if not charge.unit:
        yield "unit", "Choose the unit of measure that the usage is counted in."
    if charge.billing_timing != BillingTiming.IN_ARREARS:
        yield "billing_timing", "Usage is billed in arrears: what is used is known when it is over."
    if charge.list_price_base != ListPriceBase.PER_BILLING_PERIOD:
        yield (
            "list_price_base",
            "The price of usage is for what is used in a billing period; it is not per month or year.",
        )
    yield from _rating_flaws(charge)
    yield from _smoothing_flaws(charge)


def unit_flaw(unit: str) -> Flaw:
    """Return what is wrong with a usage charge that names no unit of measure there is."""
    return "unit", f"“{unit}” is not one of the units of measure: choose one of them, or add it there first."


def _no_usage_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    if charge.rating_group != RatingGroup.BILLING_PERIOD:
        yield "rating_group", "Only usage is counted in groups."
    if charge.usage_rating != UsageRating.END_OF_PERIOD:
        yield "usage_rating", "Only usage is rated on demand."
    if charge.smoothing_model:
        yield "smoothing_model", "Only overage of usage is smoothed."


def _rating_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    by_period = charge.rating_group == RatingGroup.BILLING_PERIOD
    if not by_period and charge.charge_model not in GROUPED:
        what = "A flat fee counts no usage" if charge.charge_model == ChargeModel.FLAT_FEE else "Overage is counted"
        rest = (
            ": it has no rating group." if charge.charge_model == ChargeModel.FLAT_FEE else " by billing period only."
        )
        yield "rating_group", f"{what}{rest}"
    if charge.usage_rating != UsageRating.ON_DEMAND:
        return
    if charge.charge_model not in ON_DEMAND:
        yield "usage_rating", "Only usage priced per unit or by tiers can be rated on demand."
    elif not by_period:
        yield "usage_rating", "Usage that is rated on demand is counted by billing period."
    if charge.smoothing_model:
        yield "usage_rating", "Smoothed overage is known at the end of a period; it cannot be rated on demand."


def _smoothing_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    calculated = charge.overage_calculation == OverageCalculation.PER_BILLING_PERIOD
    credited = charge.unused_units_credit == UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE
    periods = charge.smoothing_periods or 0
    if not charge.smoothing_model:
        if periods:
            yield "smoothing_periods", "Only smoothed overage has a number of periods."
        if calculated:
            yield "overage_calculation", "Only overage in a rolling window can be calculated in each billing period."
    else:
        if charge.charge_model != ChargeModel.OVERAGE:
            yield "smoothing_model", "Only overage is smoothed: choose that model, or no smoothing."
        if not 1 <= periods <= MAX_SMOOTHING_PERIODS:
            yield "smoothing_periods", f"Over how many periods is overage smoothed? Give 1 to {MAX_SMOOTHING_PERIODS}."
        if charge.smoothing_model == SmoothingModel.ROLLOVER and calculated:
            yield "overage_calculation", "With rollover, overage is calculated at the end of each period; choose that."
    if credited and not (charge.smoothing_model == SmoothingModel.ROLLING_WINDOW and calculated):
        yield (
            "unused_units_credit",
            "Unused units are credited only with a rolling window whose overage is calculated in each billing period.",
        )
