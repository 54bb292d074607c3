"""Overage smoothing: heavy and light billing periods make up for each other before overage is charged (domain.md 2.4).

One closed period at a time: what is remembered of the periods before goes in, what the next one needs comes out. The
state is kept as JSON beside the rated period, so that late usage is re-rated from the state before its period.

    rolling window, end of period    n periods together have n × included units. While fewer are closed, nothing is
                                     charged; then what lies above is charged and the window starts anew, or the
                                     window moves on by one period.
    rolling window, per period       blocks of n periods; overage of the block is charged as soon as it occurs.
    rollover                         unused units live n further periods; the oldest are consumed first, the
                                     period's own last.

The workings have the members of `overage` and these; `exact_amount_of` re-computes the amount from them, not from t:

    p     price of a unit of overage
    sm    [calculation, n], the calculation “EndOfSmoothingPeriod”, “PerBillingPeriod” or “Rollover”
    w     closed periods of the window, this one last: [[usage, included], …]            end of period
          the block before this period, then this period: the same form                  per period
    at    position of the period in its block, from 1                                    per period
    done  units charged earlier in the block: [[units, price], …], oldest first          per period
    cr    price at which unused units are credited, where this period does so            per period
    inc   units the period itself includes                                               rollover
    lots  units left over from earlier periods: [[units, periods left], …], oldest first rollover
    first 1: a partial first period, which is not smoothed
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple, assert_never

from billing.core.derivation import number_text
from billing.core.money import EXACT
from billing.core.overage import (
    ZERO,
    OverageError,
    OverageRate,
    Part,
    PartKind,
    amount_of_parts,
    check_usage,
    filled,
    overage_parts,
    parts_text,
    units_of,
)
from billing.core.types import ChargeModel

STATE_VERSION = 1


class SmoothingModel(StrEnum):
    ROLLING_WINDOW = "RollingWindow"
    ROLLOVER = "Rollover"


class OverageCalculation(StrEnum):
    """When a rolling window charges: once it is full, or in the period in which the overage occurs."""

    END_OF_SMOOTHING_PERIOD = "EndOfSmoothingPeriod"
    PER_BILLING_PERIOD = "PerBillingPeriod"


class UnusedUnitsCredit(StrEnum):
    """What becomes of units that a block of periods left unused."""

    NO_CREDIT = "NoCredit"
    CREDIT_BY_SPECIFIC_RATE = "CreditBySpecificRate"


class Smoothing(NamedTuple):
    """How a charge is smoothed; `periods` is n, `credit_rate` the currency a unused unit is credited with."""

    model: SmoothingModel
    periods: int
    calculation: OverageCalculation = OverageCalculation.END_OF_SMOOTHING_PERIOD
    unused_units: UnusedUnitsCredit = UnusedUnitsCredit.NO_CREDIT
    credit_rate: Decimal | None = None


class PeriodUsage(NamedTuple):
    """A closed billing period: its usage (rounded as its unit says), included units and price of a unit of overage.

    `partial` marks a partial first period, which is not smoothed.
    """

    quantity: Decimal
    included: Decimal
    price: Decimal
    partial: bool = False


class Counted(NamedTuple):
    """Usage and included units that were counted together."""

    quantity: Decimal
    included: Decimal


class Charged(NamedTuple):
    """Units of overage charged at one price."""

    units: Decimal
    price: Decimal


class Lot(NamedTuple):
    """Units an earlier period left over, and in how many further periods they can be used."""

    units: Decimal
    periods_left: int


class Window(NamedTuple):
    """Periods closed since the window last started anew, oldest first; always fewer than n between two periods."""

    counted: tuple[Counted, ...] = ()


class Block(NamedTuple):
    """How many periods of the current block are closed, their sums, and what was charged, oldest first."""

    closed: int = 0
    before: Counted = Counted(ZERO, ZERO)
    charged: tuple[Charged, ...] = ()


class Lots(NamedTuple):
    """Units left over, oldest first."""

    lots: tuple[Lot, ...] = ()


State = Window | Block | Lots


class Smoothed(NamedTuple):
    """What one period is charged, and the state for the next one."""

    rate: OverageRate
    state: State


def smooth(smoothing: Smoothing, state: State | None, usage: PeriodUsage) -> Smoothed:
    """Return what a closed period is charged and the state after it; `state` is None for the charge's first period.

    Raises `OverageError` for terms that do not go together, a state of other terms, and numbers missing or below zero.
    """
    check_smoothing(smoothing)
    check_usage(usage.quantity, usage.included, usage.price)
    before = first_state(smoothing) if state is None else state
    if type(before) is not type(first_state(smoothing)):
        raise _foreign_state()
    if usage.partial:
        return _partial_period(smoothing, before, usage)
    if isinstance(before, Window):
        return _end_of_period(smoothing, before, usage)
    if isinstance(before, Block):
        return _per_period(smoothing, before, usage)
    if isinstance(before, Lots):
        return _rollover(smoothing, before, usage)
    assert_never(before)


def first_state(smoothing: Smoothing) -> State:
    """Return the state before a charge's first period."""
    if smoothing.model is SmoothingModel.ROLLOVER:
        return Lots()
    return Block() if smoothing.calculation is OverageCalculation.PER_BILLING_PERIOD else Window()


def check_smoothing(smoothing: Smoothing) -> None:
    """Raise `OverageError` unless the choices go together (domain.md 2.1)."""
    per_period = smoothing.calculation is OverageCalculation.PER_BILLING_PERIOD
    credits_unused = smoothing.unused_units is UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE
    rate = smoothing.credit_rate
    if smoothing.periods < 1:
        raise OverageError("smoothing_periods", "is smoothed over no periods", "Smooth over 1 period or more")
    if smoothing.model is SmoothingModel.ROLLOVER and per_period:
        raise OverageError(
            "smoothing_calculation",
            "rolls units over and charges overage per billing period",
            "Choose a rolling window, or leave the overage calculation as it is by default",
        )
    if credits_unused and not per_period:
        raise OverageError(
            "unused_units_credit",
            "credits unused units, although overage is not calculated per billing period",
            "Choose a rolling window that calculates overage per billing period, or no credit",
        )
    if credits_unused and (rate is None or not rate.is_finite() or rate < 0):
        raise OverageError(
            "missing_credit_rate", "has no rate for the credit of unused units", "Enter a credit rate of 0 or more"
        )


def _end_of_period(smoothing: Smoothing, window: Window, usage: PeriodUsage) -> Smoothed:
    """Charge what a full window has above its included units and start anew, or let the window move on."""
    if len(window.counted) >= smoothing.periods:
        raise _foreign_state()
    counted = (*window.counted, Counted(usage.quantity, usage.included))
    total = _sum(period.quantity for period in counted)
    members = f'"w":[{_pairs(counted)}]'
    if len(counted) < smoothing.periods:
        parts = filled([Part(PartKind.WAITING, total, ZERO)])
        return _smoothed(smoothing, usage, total, members, parts, Window(counted))
    parts = overage_parts(total, _sum(period.included for period in counted), usage.price)
    # Overage that costs nothing is overage, too: the window starts anew because of the units, not of the money.
    state = Window() if units_of(parts, PartKind.OVERAGE) else Window(counted[1:])
    return _smoothed(smoothing, usage, total, members, parts, state)


def _per_period(smoothing: Smoothing, block: Block, usage: PeriodUsage) -> Smoothed:
    """Charge the overage of the block so far, less what its earlier periods were charged."""
    position = block.closed + 1
    if position > smoothing.periods:
        raise _foreign_state()
    so_far = Counted(EXACT.add(block.before.quantity, usage.quantity), EXACT.add(block.before.included, usage.included))
    # The periods still to come are taken to include as many units as this one.
    to_come = EXACT.multiply(usage.included, smoothing.periods - position)
    included, over = _split(so_far.quantity, EXACT.add(so_far.included, to_come))
    charged, given_back = _keep_charged(block.charged, over)
    new = EXACT.subtract(over, _sum(part.units for part in charged))
    parts = [
        Part(PartKind.BILLED, _sum(part.units for part in block.charged), ZERO),
        *given_back,
        Part(PartKind.OVERAGE, new, usage.price),
    ]
    state = Block(position, so_far, _merged(charged, Charged(new, usage.price)))
    members = f'"w":[{_pairs([block.before, Counted(usage.quantity, usage.included)])}],"at":{position}'
    members += f',"done":[{_pairs(block.charged)}]' if block.charged else ""
    if position == smoothing.periods:
        state = Block()
        if smoothing.unused_units is UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE and smoothing.credit_rate is not None:
            members += f',"cr":"{number_text(smoothing.credit_rate)}"'
            unused = EXACT.subtract(so_far.included, included)
            included = so_far.included
            parts.append(Part(PartKind.UNUSED, unused.copy_negate(), smoothing.credit_rate))
    parts = filled([Part(PartKind.INCLUDED, included, ZERO), *parts])
    return _smoothed(smoothing, usage, so_far.quantity, members, parts, state)


def _split(quantity: Decimal, included: Decimal) -> tuple[Decimal, Decimal]:
    """Return how much of a quantity is included, and how much is not."""
    free = min(quantity, included)
    return free, EXACT.subtract(quantity, free)


def _keep_charged(charged: Sequence[Charged], over: Decimal) -> tuple[list[Charged], list[Part]]:
    """Return what stays charged when `over` units are due in all, and what is given back, the newest first.

    Something is given back only when the included units rise within a block; it is returned at the very price that
    was charged.
    """
    kept, given_back = [], []
    room = over
    for units, price in charged:
        stays = min(units, room)
        room = EXACT.subtract(room, stays)
        if stays:
            kept.append(Charged(stays, price))
        given_back.append(Part(PartKind.GIVEN_BACK, EXACT.subtract(stays, units), price))
    return kept, given_back[::-1]


def _merged(charged: list[Charged], new: Charged) -> tuple[Charged, ...]:
    """Return what is charged with the new units; the list grows only when the price changes."""
    if not new.units:
        return tuple(charged)
    if charged and charged[-1].price == new.price:
        return (*charged[:-1], Charged(EXACT.add(charged[-1].units, new.units), new.price))
    return (*charged, new)


def _rollover(smoothing: Smoothing, state: Lots, usage: PeriodUsage) -> Smoothed:
    """Consume the oldest lots, then the period's own units; what is needed beyond them is charged at once."""
    if any(lot.periods_left > smoothing.periods for lot in state.lots):
        raise _foreign_state()
    # The period's own units can be used now and in n further periods, and come last.
    own = Lot(usage.included, smoothing.periods + 1)
    needed = usage.quantity
    parts, left = [], []
    for lot in (*state.lots, own):
        taken, needed = _split(needed, lot.units)
        parts.append(Part(PartKind.INCLUDED if lot is own else PartKind.LOT, taken, ZERO))
        if lot.units > taken and lot.periods_left > 1:
            left.append(Lot(EXACT.subtract(lot.units, taken), lot.periods_left - 1))
    parts.append(Part(PartKind.OVERAGE, needed, usage.price))
    members = f'"inc":"{number_text(usage.included)}"'
    if state.lots:
        members += f',"lots":[{",".join(_lot_text(lot) for lot in state.lots)}]'
    return _smoothed(smoothing, usage, usage.quantity, members, filled(parts), Lots(tuple(left)))


def _partial_period(smoothing: Smoothing, state: State, usage: PeriodUsage) -> Smoothed:
    """Leave the state alone: with rollover the period pays its own overage, a rolling window does not count it."""
    if smoothing.model is SmoothingModel.ROLLOVER:
        parts = overage_parts(usage.quantity, usage.included, usage.price)
    else:
        parts = filled([Part(PartKind.UNCOUNTED, usage.quantity, ZERO)])
    members = f'"inc":"{number_text(usage.included)}","first":1'
    return _smoothed(smoothing, usage, usage.quantity, members, parts, state)


def _smoothed(
    smoothing: Smoothing, usage: PeriodUsage, counted: Decimal, members: str, parts: list[Part], state: State
) -> Smoothed:
    """Return the result whose working is for `counted` units: those of all periods that were counted together."""
    word = smoothing.model if smoothing.model is SmoothingModel.ROLLOVER else smoothing.calculation
    working = (
        f'"m":"{ChargeModel.OVERAGE}","q":"{number_text(counted)}","sm":["{word}",{smoothing.periods}],{members}'
        f',"p":"{number_text(usage.price)}",{parts_text(parts)}'
    )
    units = units_of(parts, PartKind.OVERAGE, PartKind.GIVEN_BACK)
    return Smoothed(OverageRate(amount_of_parts(parts), usage.quantity, units, working), state)


def exact_amount_of(derivation: str | Mapping[str, Any]) -> Fraction:
    """Return the exact amount of an overage derivation, re-computed from usage and allowance instead of its steps."""
    values = json.loads(derivation) if isinstance(derivation, str) else derivation
    price = Fraction(values["p"])
    word, periods = values.get("sm", (None, 1))
    if word == OverageCalculation.END_OF_SMOOTHING_PERIOD and "w" in values:
        used, included = (sum(map(Fraction, column)) for column in zip(*values["w"], strict=True))
        return max(used - included, Fraction(0)) * price if len(values["w"]) == periods else Fraction(0)
    if word == OverageCalculation.PER_BILLING_PERIOD and "w" in values:
        return _exact_amount_of_block(values, periods)
    if word in set(OverageCalculation):
        return Fraction(0)
    free = Fraction(values["inc"]) + sum(Fraction(units) for units, _ in values.get("lots", []))
    return max(Fraction(values["q"]) - free, Fraction(0)) * price


def _exact_amount_of_block(values: Mapping[str, Any], periods: int) -> Fraction:
    """Return what the block costs so far less what it cost before; the units charged first are the last given back."""
    (used_before, included_before), (used, included) = ([Fraction(n) for n in pair] for pair in values["w"])
    done = [(Fraction(units), Fraction(price)) for units, price in values.get("done", [])]
    allowance = included_before + included * (periods - values["at"] + 1)
    due = max(used_before + used - allowance, Fraction(0))
    before = sum((units * price for units, price in done), Fraction(0))
    after, rest = Fraction(0), due
    for units, price in [*done, (due, Fraction(values["p"]))]:
        after += min(units, rest) * price
        rest -= min(units, rest)
    unused = max(allowance - used_before - used, Fraction(0))
    return after - before - unused * Fraction(values.get("cr", 0))


def state_text(state: State) -> str:
    """Return the state as compact JSON, numbers as strings, to be kept beside the rated period."""
    if isinstance(state, Window):
        return f'{{"v":{STATE_VERSION},"w":[{_pairs(state.counted)}]}}'
    if isinstance(state, Block):
        before = _pairs([state.before])
        return f'{{"v":{STATE_VERSION},"closed":{state.closed},"before":{before},"done":[{_pairs(state.charged)}]}}'
    lots = ",".join(_lot_text(lot) for lot in state.lots)
    return f'{{"v":{STATE_VERSION},"lots":[{lots}]}}'


def state_of(text: str | Mapping[str, Any]) -> State:
    """Return the state that `state_text` wrote, from its text or its values; raise `ValueError` for another version."""
    values = json.loads(text) if isinstance(text, str) else text
    if values["v"] != STATE_VERSION:
        raise ValueError(f"Smoothing states of version {values['v']} are not known.")
    if "w" in values:
        return Window(tuple(Counted(Decimal(used), Decimal(included)) for used, included in values["w"]))
    if "closed" in values:
        used, included = map(Decimal, values["before"])
        charged = tuple(Charged(Decimal(units), Decimal(price)) for units, price in values["done"])
        return Block(values["closed"], Counted(used, included), charged)
    return Lots(tuple(Lot(Decimal(units), periods_left) for units, periods_left in values["lots"]))


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def _pairs(rows: Iterable[tuple[Decimal, Decimal]]) -> str:
    return ",".join(f'["{number_text(first)}","{number_text(second)}"]' for first, second in rows)


def _lot_text(lot: Lot) -> str:
    return f'["{number_text(lot.units)}",{lot.periods_left}]'


def _foreign_state() -> OverageError:
    return OverageError(
        "smoothing_state",
        "was smoothed in another way before",
        "Choose the smoothing its earlier periods were rated with, or end the charge and add a new one",
    )
