"""A step of a calculation as people check it by hand, and how its numbers are written."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from accounts.wording import money, unit_price

# Results between the steps are exact; of those without an end this many digits are shown, and the dots say so.
SHOWN_DIGITS = 6
LAST_DIGIT = re.compile(r"\d(?=\D*$)")  # the currency may stand behind it


class Step(NamedTuple):
    """One step of a calculation: what it is, the arithmetic, what comes out, and the exact value of that."""

    name: str
    working: str
    result: str
    value: Fraction


def amount_step(name: str, working: str, value: Fraction, currency: str) -> Step:
    """Return a step whose result is an exact amount."""
    return Step(name, working, exact_text(value, currency), value)


def rounding_step(digits: int, amount: Decimal, before: Fraction, currency: str) -> Step:
    """Return the step that rounds to the currency's digits, or says that there is nothing to round."""
    if Fraction(amount) == before:
        working = "nothing to round"
    else:
        places = f"{digits} {'digit' if digits == 1 else 'digits'}" if digits else "whole numbers"
        working = f"{exact_text(before, currency)} rounded half up to {places}, once, at the end"
    return Step("Amount", working, money(amount, currency), Fraction(amount))


def exact_text(value: Fraction, currency: str) -> str:
    """Return a value with all its digits, or with the first few and dots where they do not end."""
    scaled = value * 10**SHOWN_DIGITS
    shown = Decimal(int(scaled)).scaleb(-SHOWN_DIGITS)
    text = unit_price(shown, currency)
    return text if scaled.denominator == 1 else LAST_DIGIT.sub("\\g<0>…", text)
