"""Rounding of quantities as their unit of measure says, and of amounts as a currency's own rule says (domain.md 2.5).

`money` rounds half-up to a currency's digits, which is the usual rule; what is here serves the others: up, down, and
increments such as the five centimes of a price paid in coins.
"""

from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from enum import StrEnum
from typing import Final, NamedTuple

from billing.core.money import AMOUNT_LIMIT, EXACT, MoneyError
from billing.core.types import Currency

UNIT_DECIMALS: Final = 9
"""Decimal places a unit of measure may have at most."""

_FAULTS = [InvalidOperation, DivisionByZero]


class RoundingMode(StrEnum):
    """Up is away from zero and down towards it, so that a credit mirrors its charge."""

    HALF_UP = "HalfUp"
    UP = "Up"
    DOWN = "Down"


_QUANTITIES = {
    RoundingMode.UP: Context(prec=90, rounding=ROUND_UP, traps=_FAULTS),
    RoundingMode.DOWN: Context(prec=90, rounding=ROUND_DOWN, traps=_FAULTS),
}


class UnitOfMeasure(NamedTuple):
    """What a quantity counts; `decimals` 0…9, `rounding` is up or down."""

    name: str
    decimals: int
    rounding: RoundingMode = RoundingMode.UP


class CurrencyRounding(NamedTuple):
    """How amounts of a currency are rounded: to multiples of `increment` (CHF 0.05), or to its digits when None."""

    mode: RoundingMode = RoundingMode.HALF_UP
    increment: Decimal | None = None


class QuantityError(ValueError):
    """A number that cannot be a quantity, or a unit that cannot round it; the text says why."""


def round_quantity(quantity: Decimal, unit: UnitOfMeasure) -> Decimal:
    """Return `quantity` with exactly the decimals of its unit; never minus zero.

    Raises `QuantityError` for what is no number, and for a unit with other than 0 to 9 decimals or rounded half-up.
    """
    if not 0 <= unit.decimals <= UNIT_DECIMALS:
        raise QuantityError(f"A unit has 0 to {UNIT_DECIMALS} decimal places, but {unit.name} has {unit.decimals}.")
    if unit.rounding not in _QUANTITIES:
        raise QuantityError(f"Quantities are rounded up or down, but {unit.name} says {unit.rounding}.")
    try:
        rounded = quantity.quantize(Decimal(1).scaleb(-unit.decimals), context=_QUANTITIES[unit.rounding])
    except InvalidOperation:
        raise QuantityError(f"{quantity} {unit.name} is not a quantity.") from None
    if not rounded.is_finite():
        raise QuantityError(f"{quantity} {unit.name} is not a quantity.")
    return rounded or rounded.copy_abs()


def round_to_increment(
    dividend: Decimal, currency: Currency, rounding: CurrencyRounding, *, divisor: int = 1
) -> Decimal:
    """Return `dividend / divisor` rounded once to a multiple of the increment, with the currency's digits.

    The quotient is never cut before it is rounded; `divisor` is above zero. Raises `MoneyError` for what is not money,
    and for an increment that is not a positive number of the currency's smallest coins.
    """
    increment = _increment(currency, rounding)
    step = EXACT.multiply(increment, divisor)
    try:
        whole, rest = EXACT.divmod(dividend.copy_abs(), step)
        if _goes_up(rest, step, rounding.mode):
            whole = EXACT.add(whole, 1)
        amount = EXACT.quantize(EXACT.multiply(whole, increment), Decimal(1).scaleb(-currency.digits))
    except (InvalidOperation, Inexact):
        raise MoneyError("The amount is not a number that fits an invoice.") from None
    if amount > AMOUNT_LIMIT:
        raise MoneyError(f"The amount is beyond the limit of {AMOUNT_LIMIT:,} {currency.code}.")
    return amount.copy_sign(dividend) if amount else amount


def _increment(currency: Currency, rounding: CurrencyRounding) -> Decimal:
    increment = rounding.increment
    if increment is None:
        return Decimal(1).scaleb(-currency.digits)
    coins = increment.scaleb(currency.digits, EXACT) if increment.is_finite() else increment
    if not coins.is_finite() or coins <= 0 or coins != coins.to_integral_value():
        raise MoneyError(f"{increment} is not an increment of {currency.code} with its {currency.digits} digits.")
    return increment


def _goes_up(rest: Decimal, step: Decimal, mode: RoundingMode) -> bool:
    if mode is RoundingMode.HALF_UP:
        return EXACT.multiply(rest, 2) >= step
    return mode is RoundingMode.UP and rest > 0
