"""The core alone: `lines_per_s` is how many lines `price` makes a second of processor time, without database or invoice.

Most lines are full months that follow what was billed before, as in a real run; the other figures are of charges whose
every line is prorated, and of charges that were changed after they were billed, so that each owes a credit and a new
line. `us_per_line` is the same as `lines_per_s`, the other way round.
"""

import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from billing.core.pricing import price
from billing.core.types import (
    Account,
    Alignment,
    Billed,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Currency,
    LineKind,
    ListPriceBase,
    Period,
    PriceFormat,
    Rules,
    Segment,
    Term,
    Tier,
)
from tests.benchmarks.measure import emit, median, say, scaled

ACCOUNTS = scaled(4_000, least=200)
ROUNDS = 7
TARGET = date(2026, 6, 30)
TARGETS = {"lines_per_s": (">=", 60_000.0)}

MODELS = (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT, ChargeModel.PER_UNIT, ChargeModel.TIERED, ChargeModel.VOLUME)
TIERS = (
    Tier(Decimal(10), Decimal(9), PriceFormat.PER_UNIT),
    Tier(Decimal(50), Decimal("7.5"), PriceFormat.PER_UNIT),
    Tier(None, Decimal(5), PriceFormat.PER_UNIT),
)


def terms_of(number: int) -> ChargeTerms:
    """Return the terms of the charge with that number; five models, mostly months."""
    period = BillingPeriod.QUARTER if number % 7 == 0 else BillingPeriod.MONTH
    return ChargeTerms(
        ChargeType.RECURRING,
        MODELS[number % len(MODELS)],
        BillingTiming.IN_ADVANCE,
        period,
        ListPriceBase.PER_MONTH,
        BillingDayType.ACCOUNT,
        Alignment.CHARGE,
    )


def charge_of(number: int, start: date, *segments: Segment, billed_through: date | None = None) -> Charge:
    """Return a charge of a subscription that runs until 2028 and renews itself."""
    return Charge(
        number,
        f"C-{number:08}",
        "Support",
        number // 5,
        start,
        False,
        start,
        billed_through,
        terms_of(number),
        segments or (segment_of(1, number, start),),
        number // 5,
        date(2028, 1, 1),
        True,
        (Term(start, date(2028, 1, 1)),),
    )


def segment_of(position: int, number: int, start: date, end: date | None = None) -> Segment:
    """Return a segment with price, quantity and tiers."""
    return Segment(number, position, start, end, Decimal(1 + number % 70), Decimal(position * 10 + number % 9), TIERS)


def full_months(number: int) -> Charge:
    """Return a charge that was billed on its billing day up to the month of the target date."""
    day = 1 + number // 5 % 28
    return charge_of(number, date(2024, 1, day), billed_through=TARGET.replace(month=4, day=day))


def first_days(number: int) -> Charge:
    """Return a charge that begins, and is all prorated, in the month of the target date."""
    return charge_of(number, TARGET - timedelta(days=number % 17))


def changed(number: int) -> Charge:
    """Return a charge whose quantity changed within the month that was billed."""
    start, through = date(2026, 5, 1), date(2026, 7, 1)
    on = date(2026, 6, 2) + timedelta(days=number % 20)
    segments = segment_of(1, number, start, on), segment_of(2, number, on)
    item = Billed(
        number, 1, Period(date(2026, 6, 1), through), Period(date(2026, 6, 1), through), Decimal(90), LineKind.RECURRING
    )
    terms = terms_of(number)._replace(billing_period=BillingPeriod.MONTH)
    return charge_of(number, start, *segments, billed_through=through)._replace(billed=(item,), terms=terms)


def portfolio(make: Callable[[int], Charge], *, own_day: bool) -> list[tuple[Account, list[Charge]]]:
    """Return accounts with five charges each, billed on a day of their own or all on the first."""
    usd = Currency("USD", 2)
    return [
        (
            Account(n, f"A{n:08}", usd, 1 + n % 28 if own_day else 1, 1, 1, 1, 1),
            [make(n * 5 + position) for position in range(5)],
        )
        for n in range(ACCOUNTS)
    ]


def measure(accounts: list[tuple[Account, list[Charge]]]) -> float:
    """Return the lines a second, the median of several rounds."""
    rules, found = Rules(), []
    for _ in range(ROUNDS):
        began, lines = time.process_time(), 0
        for account, charges in accounts:
            pricing = price(account, charges, rules=rules, target_date=TARGET)
            if pricing.problems:
                raise RuntimeError(pricing.problems[0].message)
            lines += len(pricing.lines)
        found.append(lines / (time.process_time() - began))
    return median(found)


def main() -> None:
    """Price each portfolio several times, print."""
    figures = {}
    for name, make, own_day in (
        ("lines_per_s", full_months, True),
        ("prorated_lines_per_s", first_days, True),
        ("changed_lines_per_s", changed, False),
    ):
        say(f"core: {name}")
        figures[name] = measure(portfolio(make, own_day=own_day))
    emit("core", {**figures, "us_per_line": 1_000_000 / figures["lines_per_s"], "accounts": ACCOUNTS}, TARGETS)
