"""Tier walks: which tiers a quantity reaches and what each step costs (domain.md 2.3).

Tier i holds the units above the previous tier's end and up to and including its own, so that fractional quantities
fall between no two tiers; the first begins at zero.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from billing.core.money import EXACT
from billing.core.types import PriceFormat, Tier

_ZERO = Decimal(0)


class Step(NamedTuple):
    """One tier as far as it is reached: `number` counts from 1, `units` lie in it, `amount` is exact."""

    number: int
    units: Decimal
    price: Decimal
    price_format: PriceFormat
    amount: Decimal


class TierOrderError(ValueError):
    """A tier ends where an earlier one already does, or one follows a tier without an end."""


class AboveTiersError(ValueError):
    """The quantity lies above the end of the last tier."""


def tiered_steps(quantity: Decimal, tiers: Sequence[Tier]) -> list[Step]:
    """Return one step per tier reached: every unit is priced by the tier it lies in."""
    steps = []
    for number, begin, end, tier in _reached(quantity, tiers):
        if quantity > begin:
            steps.append(_step(number, EXACT.subtract(end, begin), tier))
    return steps


def volume_step(quantity: Decimal, tiers: Sequence[Tier]) -> Step:
    """Return the single step that prices all units by the one tier the quantity lies in."""
    number, _, _, tier = _reached(quantity, tiers)[-1]
    return _step(number, quantity, tier)


def _reached(quantity: Decimal, tiers: Sequence[Tier]) -> list[tuple[int, Decimal, Decimal, Tier]]:
    """Return (number, begin, end, tier) up to the tier the quantity lies in, whose end becomes the quantity."""
    found = []
    begin: Decimal | None = _ZERO
    inside = False
    # The whole list is walked, so that a list out of order is refused whatever the quantity.
    for number, tier in enumerate(tiers, start=1):
        if begin is None or (tier.up_to is not None and tier.up_to <= begin):
            raise TierOrderError
        if not inside:
            inside = tier.up_to is None or quantity <= tier.up_to
            end = quantity if inside or tier.up_to is None else tier.up_to
            found.append((number, begin, end, tier))
        begin = tier.up_to
    if not inside:
        raise AboveTiersError
    return found


def _step(number: int, units: Decimal, tier: Tier) -> Step:
    amount = tier.price if tier.price_format == PriceFormat.FLAT_FEE else EXACT.multiply(units, tier.price)
    return Step(number, units, tier.price, tier.price_format, amount)
