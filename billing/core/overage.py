"""Overage: what units beyond those included cost, alone or above the last of some tiers (domain.md 2.3).

The workings here re-add like any other: each step of `t` is [units, price], units that cost nothing have the price 0,
and the units of all steps add up to `q`. These members join those that `derivation` lists:

    k     what each step of t is, a word of `PartKind`             overage
    inc   units the billing period includes                        overage
    end   end of the last tier; units above it are overage         tiered with overage
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from billing.core.derivation import number_text
from billing.core.money import EXACT
from billing.core.tiers import Step, TierOrderError, tiered_steps
from billing.core.types import ChargeModel, PriceFormat, Tier

ZERO = Decimal(0)


class PartKind(StrEnum):
    """Why units of a working have the price they have.

    `INCLUDED`, `LOT` (rolled over from an earlier period), `WAITING` (the smoothing window is not full yet),
    `BILLED` (by an earlier period of the block) and `UNCOUNTED` (partial first period) cost nothing; `OVERAGE` is
    charged, `GIVEN_BACK` was charged before and is no longer due, `UNUSED` is credited at the credit rate.
    """

    INCLUDED = "Included"
    LOT = "Lot"
    WAITING = "Waiting"
    BILLED = "Billed"
    UNCOUNTED = "Uncounted"
    OVERAGE = "Overage"
    GIVEN_BACK = "GivenBack"
    UNUSED = "Unused"


class Part(NamedTuple):
    """Units of one kind at one price; units given back or unused are below zero."""

    kind: PartKind
    units: Decimal
    price: Decimal


class OverageRate(NamedTuple):
    """The exact price of the usage of one billing period, with the derivation members that give it.

    `quantity` is the usage of the period, `overage_units` how many units are billed (below zero: given back);
    `amount` is in the currency of the price and not yet rounded.
    """

    amount: Decimal
    quantity: Decimal
    overage_units: Decimal
    working: str


class OverageError(ValueError):
    """Terms or usage that cannot be priced; code, message and hint become a problem."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def overage(quantity: Decimal, included: Decimal, price: Decimal) -> OverageRate:
    """Return what `quantity` units cost when the first `included` are free: max(0, quantity − included) × price.

    Raises `OverageError` where a number is missing or below zero. Included units are never prorated.
    """
    check_usage(quantity, included, price)
    parts = overage_parts(quantity, included, price)
    working = f'"m":"{ChargeModel.OVERAGE}","q":"{number_text(quantity)}","inc":"{number_text(included)}"'
    return OverageRate(
        amount_of_parts(parts),
        quantity,
        units_of(parts, PartKind.OVERAGE),
        f'{working},"p":"{number_text(price)}",{parts_text(parts)}',
    )


def tiered_with_overage(quantity: Decimal, tiers: Sequence[Tier], overage_price: Decimal) -> OverageRate:
    """Return what `quantity` units cost: tiered up to the end of the last tier, `overage_price` a unit above it.

    Raises `OverageError` where a number is missing or below zero, where there are no tiers or they are out of order,
    and where the last tier has no end: nothing would ever lie above it.
    """
    end = _last_end(tiers)
    check_usage(quantity, end, overage_price)
    try:
        steps = tiered_steps(quantity, (*tiers, Tier(None, overage_price, PriceFormat.PER_UNIT)))
    except TierOrderError as flaw:
        raise OverageError(
            "tiers_out_of_order", "has tiers with gaps or overlaps", "Let each tier end above the one before"
        ) from flaw
    amount = ZERO
    for step in steps:
        amount = EXACT.add(amount, step.amount)
    texts = ",".join(map(_step_text, steps))
    working = f'"m":"{ChargeModel.TIERED_WITH_OVERAGE}","q":"{number_text(quantity)}","end":"{number_text(end)}"'
    return OverageRate(amount, quantity, max(ZERO, EXACT.subtract(quantity, end)), f'{working},"t":[{texts}]')


def overage_parts(quantity: Decimal, included: Decimal, price: Decimal) -> list[Part]:
    """Return the included units that are used, then those above them at `price`; empty parts are left out."""
    free = min(quantity, included)
    return filled([Part(PartKind.INCLUDED, free, ZERO), Part(PartKind.OVERAGE, EXACT.subtract(quantity, free), price)])


def filled(parts: Iterable[Part]) -> list[Part]:
    """Return the parts that have units."""
    return [part for part in parts if part.units]


def amount_of_parts(parts: Iterable[Part]) -> Decimal:
    """Return the exact sum of units × price."""
    amount = ZERO
    for part in parts:
        amount = EXACT.add(amount, EXACT.multiply(part.units, part.price))
    return amount


def units_of(parts: Iterable[Part], *kinds: PartKind) -> Decimal:
    """Return how many units the parts of these kinds have."""
    units = ZERO
    for part in parts:
        if part.kind in kinds:
            units = EXACT.add(units, part.units)
    return units


def parts_text(parts: Sequence[Part]) -> str:
    """Return the members t and k of a working."""
    steps = ",".join(f'["{number_text(part.units)}","{number_text(part.price)}"]' for part in parts)
    kinds = ",".join(f'"{part.kind}"' for part in parts)
    return f'"t":[{steps}],"k":[{kinds}]'


def check_usage(quantity: Decimal, included: Decimal, price: Decimal) -> None:
    """Raise `OverageError` unless usage and included units are 0 or more and the price is a number."""
    if not price.is_finite():
        raise OverageError("missing_price", "has no overage price", "Enter the price of a unit of overage")
    for units, code, words in (
        (quantity, "quantity", "a usage quantity"),
        (included, "included_units", "a number of included units"),
    ):
        if not units.is_finite():
            raise OverageError(f"missing_{code}", f"lacks {words}", f"Enter {words} of 0 or more")
        if units < 0:
            raise OverageError(f"negative_{code}", f"has {words} below zero", f"Enter {words} of 0 or more")


def _last_end(tiers: Sequence[Tier]) -> Decimal:
    if not tiers:
        raise OverageError("missing_tiers", "has no price tiers", "Enter at least one tier")
    if not all(tier.price.is_finite() and (tier.up_to is None or tier.up_to.is_finite()) for tier in tiers):
        raise OverageError("missing_price", "has a tier without a price", "Complete the tiers")
    end = tiers[-1].up_to
    if end is None:
        raise OverageError(
            "last_tier_without_end",
            "has a last tier without an end, so that nothing is overage",
            "Enter the end of the last tier, or choose tiered pricing",
        )
    return end


def _step_text(step: Step) -> str:
    mark = ',"FlatFee"' if step.price_format == PriceFormat.FLAT_FEE else ""
    return f'["{number_text(step.units)}","{number_text(step.price)}"{mark}]'
