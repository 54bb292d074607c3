"""What a segment costs per list price base: one small function for each charge model (domain.md 2.2, 2.3)."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import NamedTuple, assert_never

from billing.core.derivation import number_text
from billing.core.money import EXACT
from billing.core.periods import DAYS_IN_WEEK, Grid, MonthCycle
from billing.core.tiers import AboveTiersError, Step, TierOrderError, tiered_steps, volume_step
from billing.core.types import BillingPeriod, ChargeModel, ChargeTerms, ListPriceBase, PriceFormat, Segment


class Rate(NamedTuple):
    """The exact price of a segment's whole quantity per list price base, with the derivation members that give it.

    `unit_price` is the list price where the model has exactly one; `quantity` is None where it plays no part.
    """

    amount: Decimal
    unit_price: Decimal | None
    quantity: Decimal | None
    working: str


class UnpriceableError(ValueError):
    """A segment lacks what its charge model needs; code, message and hint become a problem."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Factor(NamedTuple):
    """What a list price is multiplied by for a billing period: its length ÷ that of the list price base.

    Both count in the same unit: months, or `"w"` weeks, or `"d"` days.
    """

    length: int
    base: int
    unit: str


def price_factor(terms: ChargeTerms, grid: Grid, term_months: tuple[int, int] | None = None) -> Factor:
    """Return how the list price scales to a period of `grid` (domain.md 2.2).

    `term_months` (numerator, denominator) is the length of a subscription term that is not made of whole months. Raises
    `UnpriceableError` where list price base and billing period have no unit in common.
    """
    if isinstance(grid, MonthCycle):
        return _month_factor(grid.months, base_months(terms.list_price_base, terms.price_base_months, grid.months))
    base = terms.list_price_base
    weeks = terms.billing_period in (BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS)
    length, unit = (grid.days // DAYS_IN_WEEK, "w") if weeks else (grid.days, "d")
    if base is ListPriceBase.PER_BILLING_PERIOD:
        return Factor(length, length, unit)
    if base is ListPriceBase.PER_WEEK:
        return Factor(length, 1 if weeks else DAYS_IN_WEEK, unit)
    if term_months is None:
        raise _unfit_base()
    months, divisor = term_months
    return Factor(months, divisor * base_months(base, terms.price_base_months, 0), "")


def base_months(base: ListPriceBase, price_base_months: int, period_months: int) -> int:
    """Return the months a list price is for; `price_base_months` are those of “per specific months”."""
    if base is ListPriceBase.PER_BILLING_PERIOD:
        return period_months
    if base is ListPriceBase.PER_MONTH:
        return 1
    if base is ListPriceBase.PER_YEAR:
        return 12
    if base is ListPriceBase.PER_SPECIFIC_MONTHS:
        if price_base_months < 1:
            raise UnpriceableError(
                "missing_price_base",
                "has no number of months that its list price is for",
                "Enter the months of its list price base",
            )
        return price_base_months
    if base is ListPriceBase.PER_WEEK:
        raise _unfit_base()
    assert_never(base)


@cache
def _month_factor(length: int, base: int) -> Factor:
    return Factor(length, base, "")


def _unfit_base() -> UnpriceableError:
    return UnpriceableError(
        "list_price_base_does_not_fit",
        "has a list price base that cannot be counted in its billing period",
        "Choose a list price base of weeks for weekly periods and of months for monthly ones",
    )


def rate_of(model: ChargeModel, segment: Segment) -> Rate:
    """Return what the segment costs per list price base; raise `UnpriceableError` when its terms are incomplete."""
    price_by = _MODELS.get(model)
    if price_by is None:
        raise UnpriceableError("model_does_not_fit", "has a charge model for usage", "Choose another charge model")
    return price_by(segment)


def _flat_fee(segment: Segment) -> Rate:
    price = _price(segment)
    return Rate(price, price, None, f'"m":"FlatFee","p":"{number_text(price)}"')


def _per_unit(segment: Segment) -> Rate:
    price = _price(segment)
    quantity = _quantity(segment)
    working = f'"m":"PerUnit","p":"{number_text(price)}","q":"{number_text(quantity)}"'
    return Rate(EXACT.multiply(price, quantity), price, quantity, working)


def _tiered(segment: Segment) -> Rate:
    quantity = _tiered_quantity(segment)
    try:
        steps = tiered_steps(quantity, segment.tiers)
    except (TierOrderError, AboveTiersError) as flaw:
        raise _tier_flaw(flaw, segment, quantity) from flaw
    amount = Decimal(0)
    for step in steps:
        amount = EXACT.add(amount, step.amount)
    working = f'"m":"Tiered","q":"{number_text(quantity)}","t":[{",".join(map(_step_text, steps))}]'
    return Rate(amount, None, quantity, working)


def _volume(segment: Segment) -> Rate:
    quantity = _tiered_quantity(segment)
    try:
        step = volume_step(quantity, segment.tiers)
    except (TierOrderError, AboveTiersError) as flaw:
        raise _tier_flaw(flaw, segment, quantity) from flaw
    position = "" if step.number == 1 else f',"n":{step.number}'
    working = f'"m":"Volume","q":"{number_text(quantity)}"{position},"t":[{_step_text(step)}]'
    return Rate(step.amount, None, quantity, working)


_MODELS: dict[ChargeModel, Callable[[Segment], Rate]] = {
    ChargeModel.FLAT_FEE: _flat_fee,
    ChargeModel.PER_UNIT: _per_unit,
    ChargeModel.TIERED: _tiered,
    ChargeModel.VOLUME: _volume,
}


def _price(segment: Segment) -> Decimal:
    if segment.price is None or not segment.price.is_finite():
        raise UnpriceableError("missing_price", "has no price", f"Enter a price on segment {segment.number}")
    return segment.price


def _quantity(segment: Segment) -> Decimal:
    quantity = segment.quantity
    if quantity is None or not quantity.is_finite():
        raise UnpriceableError("missing_quantity", "has no quantity", f"Enter a quantity on segment {segment.number}")
    if quantity < 0:
        raise UnpriceableError(
            "negative_quantity",
            "has a quantity below zero",
            f"Enter a quantity of 0 or more on segment {segment.number}",
        )
    return quantity


def _tiered_quantity(segment: Segment) -> Decimal:
    if not segment.tiers:
        raise UnpriceableError(
            "missing_tiers", "has no price tiers", f"Enter at least one tier on segment {segment.number}"
        )
    if not all(tier.price.is_finite() and (tier.up_to is None or tier.up_to.is_finite()) for tier in segment.tiers):
        raise UnpriceableError(
            "missing_price", "has a tier without a price", f"Complete the tiers of segment {segment.number}"
        )
    return _quantity(segment)


def _tier_flaw(flaw: TierOrderError | AboveTiersError, segment: Segment, quantity: Decimal) -> UnpriceableError:
    if isinstance(flaw, AboveTiersError):
        return UnpriceableError(
            "quantity_above_tiers",
            f"has a quantity of {number_text(quantity)}, above the end of its last tier",
            f"Leave the end of the last tier of segment {segment.number} empty, or lower the quantity",
        )
    return UnpriceableError(
        "tiers_out_of_order",
        "has tiers with gaps or overlaps",
        f"On segment {segment.number}, let each tier end above the one before and leave only the last end empty",
    )


def _step_text(step: Step) -> str:
    mark = ',"FlatFee"' if step.price_format == PriceFormat.FLAT_FEE else ""
    return f'["{number_text(step.units)}","{number_text(step.price)}"{mark}]'
