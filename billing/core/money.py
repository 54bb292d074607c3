"""The only place that rounds: exact decimal arithmetic, one half-up rounding per amount, splits that add up."""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Clamped, Context, Decimal, DivisionByZero, FloatOperation, Inexact, InvalidOperation
from decimal import Overflow as DecimalOverflow
from typing import Final

from billing.core.types import Currency

AMOUNT_LIMIT: Final = Decimal(10) ** 12
"""No amount and no unit price may lie further from zero than this."""

PRICE_DECIMALS: Final = 9
"""Decimal places a price may carry; prices are never rounded, only refused beyond this (domain.md 2.5)."""

# Ninety digits hold any product of price, quantity and months exactly; if one ever did not fit, `Inexact` raises
# instead of losing a digit in silence.
_DIGITS = 90
_FAULTS = [InvalidOperation, DivisionByZero, DecimalOverflow, FloatOperation, Clamped]
EXACT: Final = Context(prec=_DIGITS, rounding=ROUND_HALF_UP, traps=[*_FAULTS, Inexact])
_ROUNDING = Context(prec=_DIGITS, rounding=ROUND_HALF_UP, traps=_FAULTS)

_STEPS = tuple(Decimal(1).scaleb(-digits) for digits in range(PRICE_DECIMALS + 1))
_ZEROS = tuple(Decimal(0).scaleb(-digits) for digits in range(PRICE_DECIMALS + 1))
_ZERO = Decimal(0)
_MINUS_LIMIT = -AMOUNT_LIMIT
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)


class MoneyError(ValueError):
    """A number that cannot be money; the text says why in an operator's words."""


def round_amount(amount: Decimal, currency: Currency) -> Decimal:
    """Return `amount` rounded half-up (away from zero at the half) to the currency's digits; never minus zero."""
    try:
        rounded = _ROUNDING.quantize(amount, _STEPS[currency.digits])
        if _MINUS_LIMIT <= rounded <= AMOUNT_LIMIT:
            return rounded if rounded else _ZEROS[currency.digits]
    except InvalidOperation:
        raise MoneyError("The amount is not a number that fits an invoice.") from None
    raise MoneyError(f"The amount is beyond the limit of {AMOUNT_LIMIT:,} {currency.code}.")


def round_quotient(dividend: Decimal, divisor: int, currency: Currency) -> Decimal:
    """Return `dividend / divisor` rounded half-up once: the quotient is never cut before it is rounded."""
    try:
        # `abs` and `+` would round to the thread's own context.
        whole, rest = EXACT.divmod(dividend.copy_abs().scaleb(currency.digits, EXACT), divisor)
        if EXACT.multiply(rest, 2) >= divisor:
            whole = EXACT.add(whole, 1)
    except InvalidOperation:
        raise MoneyError("The amount is not a number that fits an invoice.") from None
    return round_amount(whole.scaleb(-currency.digits, EXACT).copy_sign(dividend), currency)


def no_more_than(limit: Decimal, amount: Decimal) -> Decimal:
    """Return `amount`, or 0 or `limit` where it lies outside the two; a limit below zero bounds a negative amount."""
    low, high = (limit, _ZERO) if limit < 0 else (_ZERO, limit)
    return min(max(amount, low), high)


def scale_price(price: Decimal, multiplier: int, divisor: int) -> Decimal:
    """Return `price * multiplier / divisor` for display: exact, or nine decimals where the quotient has no end.

    Amounts are never computed from it.
    """
    multiple = EXACT.multiply(price, multiplier)
    try:
        scaled = EXACT.divide(multiple, divisor)
    except Inexact:
        scaled = _ROUNDING.quantize(_ROUNDING.divide(multiple, divisor), _STEPS[PRICE_DECIMALS])
    if _MINUS_LIMIT <= scaled <= AMOUNT_LIMIT:
        return scaled
    raise MoneyError(f"The price for a billing period is beyond the limit of {AMOUNT_LIMIT:,}.")


def allocate(total: Decimal, weights: Sequence[Decimal | int], currency: Currency) -> list[Decimal]:
    """Split `total` in proportion to `weights` so that the parts add up to it exactly.

    Every part is first cut towards zero; the units left over go one each to the largest remainders, and among equal
    remainders to the earlier weight. `total` must already be an amount of the currency.
    """
    if not total.is_finite() or round_amount(total, currency) != total:
        raise MoneyError(f"{total} is not an amount of {currency.code}.")
    ratios = [Decimal(weight).as_integer_ratio() for weight in weights]
    if any(numerator < 0 for numerator, _ in ratios) or not any(numerator for numerator, _ in ratios):
        raise MoneyError("Weights must not be negative, and one must be above zero.")
    scale = 1
    for _, denominator in ratios:
        scale *= denominator
    shares = [numerator * (scale // denominator) for numerator, denominator in ratios]
    whole = sum(shares)
    units = int(total.copy_abs().scaleb(currency.digits, EXACT))
    parts = [units * share // whole for share in shares]
    remainders = [units * share % whole for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[: units - sum(parts)]:
        parts[index] += 1
    sign = -1 if total < 0 else 1
    return [Decimal(sign * part).scaleb(-currency.digits, EXACT) for part in parts]


def parse_amount(text: str, currency: Currency) -> Decimal:
    """Read an amount as people type it (`1234.5`); refuse what the currency cannot hold."""
    amount = _parse(text, currency.digits, f"{currency.code} amounts have at most {currency.digits} decimal places")
    return _ROUNDING.quantize(amount, _STEPS[currency.digits])


def parse_price(text: str) -> Decimal:
    """Read a price, which may carry up to nine decimal places and is kept exactly as written."""
    return _parse(text, PRICE_DECIMALS, f"prices have at most {PRICE_DECIMALS} decimal places")


def _parse(text: str, decimals: int, rule: str) -> Decimal:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise MoneyError(f"“{text}” is not a number. Write it like 1234.50.")
    fraction = match.group(1) or "."
    if len(fraction.rstrip("0")) - 1 > decimals:
        raise MoneyError(f"“{text}” has too many decimal places: {rule}.")
    number = Decimal(match.group())
    if not _MINUS_LIMIT <= number <= AMOUNT_LIMIT:
        raise MoneyError(f"“{text}” is beyond the limit of {AMOUNT_LIMIT:,}.")
    return number or number.copy_abs()
