"""What the catalogue refuses: terms of a charge that do not fit together, and prices that nobody can be billed."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from billing.core.money import AMOUNT_LIMIT, PRICE_DECIMALS
from billing.core.tiers import TierOrderError, tiered_steps
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    ChargeModel,
    ChargeType,
    ListPriceBase,
    PriceFormat,
    Tier,
)
from billing.models.terms import DISCOUNTS, LENGTHY, BillingTermsModel, EndCondition, UpToPeriodsType
from billing.services.charge_terms import OVERAGE, has_quantity, includes_units, why_no_quantity
from billing.services.usage_checks import usage_flaws

LONGEST = {
    BillingPeriod.SPECIFIC_MONTHS: (600, "months"),
    BillingPeriod.SPECIFIC_WEEKS: (520, "weeks"),
    BillingPeriod.SPECIFIC_DAYS: (3650, "days"),
}
WEEKLY = (BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS)
MONTH_DAYS = (BillingDayType.ACCOUNT, BillingDayType.SPECIFIC_DAY_OF_MONTH)
MAX_UP_TO_PERIODS = 65_534
PERCENT = Decimal(100)

Flaw = tuple[str, str]


def charge_flaws(charge: BillingTermsModel) -> list[Flaw]:
    """Return what is wrong with the terms of a charge, as (field, message); the fields are those of the model."""
    return [
        *_period_flaws(charge),
        *_price_base_flaws(charge),
        *_billing_day_flaws(charge),
        *_end_flaws(charge),
        *_model_flaws(charge),
        *usage_flaws(charge),
    ]


def _period_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    if charge.charge_type == ChargeType.RECURRING and not charge.billing_period:
        yield "billing_period", "A recurring charge needs a billing period."
    if charge.charge_type == ChargeType.ONE_TIME and charge.billing_period:
        yield "billing_period", "A one-time charge has no billing period; leave it empty."
    length = charge.period_length or 0
    if charge.billing_period in LENGTHY:
        most, unit = LONGEST[BillingPeriod(charge.billing_period)]
        if not 1 <= length <= most:
            yield "period_length", f"How many {unit} does a period last? Give 1 to {most}."
    elif length:
        yield "period_length", "Only billing periods of specific months, weeks or days have a length of their own."


def _price_base_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    months = charge.price_base_months or 0
    if charge.list_price_base == ListPriceBase.PER_SPECIFIC_MONTHS:
        if not 1 <= months <= 600:
            yield "price_base_months", "For how many months is the price? Give 1 to 600."
    elif months:
        yield "price_base_months", "Only a price per specific months is for a number of months."
    if charge.list_price_base == ListPriceBase.PER_BILLING_PERIOD or not charge.billing_period:
        return
    if (charge.list_price_base == ListPriceBase.PER_WEEK) != (charge.billing_period in WEEKLY):
        yield (
            "list_price_base",
            "Prices per week go with periods of weeks, prices per month or year with those of months.",
        )
    elif charge.billing_period == BillingPeriod.SPECIFIC_DAYS:
        yield "list_price_base", "A charge billed every so many days has its price per billing period."


def _billing_day_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    day = charge.billing_day or 0
    if charge.billing_day_type == BillingDayType.SPECIFIC_DAY_OF_MONTH:
        if not 1 <= day <= 31:
            yield "billing_day", "Which day of the month? Give 1 to 31; 31 is the month's end."
    elif charge.billing_day_type == BillingDayType.SPECIFIC_DAY_OF_WEEK:
        if not 1 <= day <= 7:
            yield "billing_day", "Which day of the week? Give 1 (Monday) to 7 (Sunday)."
    elif day:
        yield "billing_day", "Only a specific day of the month or week is given as a number."
    if not charge.billing_period:
        return
    is_weekly = charge.billing_period in WEEKLY
    if is_weekly and charge.billing_day_type in MONTH_DAYS:
        yield (
            "billing_day_type",
            "A charge billed by weeks needs a day of the week, or that of its own or a term's start.",
        )
    if not is_weekly and charge.billing_day_type == BillingDayType.SPECIFIC_DAY_OF_WEEK:
        yield "billing_day_type", "Only a charge billed by weeks has a day of the week."


def _end_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    periods = charge.up_to_periods
    if charge.end_condition != EndCondition.FIXED_PERIOD:
        if periods is not None:
            yield "up_to_periods", "Only a charge for a fixed period runs for a number of periods."
    elif periods is None or not 1 <= periods <= MAX_UP_TO_PERIODS:
        yield "up_to_periods", f"How many periods does the charge run? Give 1 to {MAX_UP_TO_PERIODS:,}."
    elif charge.up_to_periods_type == UpToPeriodsType.BILLING_PERIODS and not charge.billing_period:
        yield "up_to_periods_type", "A charge without billing periods runs for days, weeks, months or years."
    if charge.charge_type == ChargeType.ONE_TIME and charge.end_condition != EndCondition.SUBSCRIPTION_END:
        yield "end_condition", "A one-time charge is due once; it has no end of its own."


def _model_flaws(charge: BillingTermsModel) -> Iterator[Flaw]:
    is_usage = charge.charge_type == ChargeType.USAGE
    if charge.charge_model in OVERAGE and not is_usage:
        yield "charge_model", "Overage is priced for usage only."
    if charge.charge_model in DISCOUNTS:
        if is_usage:
            yield "charge_model", "A discount is a one-time or a recurring charge."
        if not charge.discount_level:
            yield (
                "discount_level",
                "Which charges does the discount reduce: of its plan, its subscription or the account?",
            )
        if not charge.discount_applies_to:
            yield "discount_applies_to", "Choose at least one type of charge that the discount reduces."
        return
    if charge.discount_level or charge.discount_applies_to or charge.discount_stacked:
        yield "discount_level", "Only a discount reduces other charges."


def quantity_flaws(charge: BillingTermsModel, quantity: Decimal | None) -> Iterator[str]:
    """Yield what is wrong with a usual quantity, as what follows “the charge …”."""
    if quantity is None:
        return
    if not has_quantity(charge):
        yield f"is {why_no_quantity(charge)} and has no quantity"
        return
    what = "a number of included units" if includes_units(charge) else "a quantity"
    unfit = list(number_flaws(what, quantity))
    yield from unfit
    if not unfit and quantity < 0:
        yield f"has {what} below zero ({quantity})"


def price_flaws(model: str, price: Decimal) -> Iterator[str]:
    """Yield what is wrong with one price, as what follows “the charge …”."""
    unfit = list(number_flaws("a price", price))
    yield from unfit
    if unfit:
        return
    if price < 0:
        yield f"has a price below zero ({price:f})"
    if model == ChargeModel.DISCOUNT_PERCENTAGE and price > PERCENT:
        yield f"takes more than 100 % off ({price:f})"


def credit_rate_flaws(rate: Decimal | None, currency: str, *, is_needed: bool) -> Iterator[str]:
    """Yield what is wrong with what an unused unit is credited with, as what follows “the charge …”."""
    if rate is None:
        if is_needed:
            yield f"credits unused units and has no credit rate in {currency}"
        return
    if not is_needed:
        yield "does not credit unused units and has no credit rate"
        return
    unfit = list(number_flaws("a credit rate", rate))
    yield from unfit
    if not unfit and rate < 0:
        yield f"has a credit rate below zero ({rate:f})"


def tier_flaws(model: str, tiers: Sequence[Tier]) -> Iterator[str]:
    """Yield what is wrong with the tiers of a charge model, as what follows “the charge …”."""
    if not tiers:
        return
    unfit = [
        flaw
        for tier in tiers
        for number in (tier.price, tier.up_to)
        if number is not None
        for flaw in number_flaws("a tier", number)
    ]
    yield from unfit
    if unfit:
        return
    for place, tier in enumerate(tiers, start=1):
        if tier.price < 0:
            yield f"has a price below zero in tier {place} ({tier.price:f})"
    try:
        tiered_steps(Decimal(0), tiers)
    except TierOrderError:
        yield "has tiers with gaps or overlaps: each must end above the one before, and only the last may have no end"
        return
    if model == ChargeModel.TIERED_WITH_OVERAGE:
        yield from _overage_tier_flaws(tiers)


def _overage_tier_flaws(tiers: Sequence[Tier]) -> Iterator[str]:
    """Yield why the last tier cannot be the price of overage."""
    last = tiers[-1]
    if last.up_to is not None:
        yield "needs a last tier without an end: its price is that of overage"
    elif len(tiers) == 1:
        yield "needs a tier before that of overage: the last one, without an end, is what overage costs"
    elif last.price_format == PriceFormat.FLAT_FEE:
        yield "has a flat price in its last tier: overage is priced for each unit"


def number_flaws(what: str, value: Decimal) -> Iterator[str]:
    """Yield why a number cannot be stored as it is."""
    if not value.is_finite():
        yield f"has {what} that is not a number"
    elif abs(value) > AMOUNT_LIMIT:
        yield f"has {what} beyond the limit of {AMOUNT_LIMIT:,}"
    elif int(value.normalize().as_tuple().exponent) < -PRICE_DECIMALS:
        yield f"has {what} with more than {PRICE_DECIMALS} decimal places"
