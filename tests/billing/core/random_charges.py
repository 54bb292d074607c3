"""Charges of every kind that the catalogue allows, drawn from a random source that a failing example names."""

import calendar
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from billing.core.types import (
    Account,
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    DaysInMonth,
    ListPriceBase,
    PartialMonths,
    PriceFormat,
    ProrationUnit,
    RecurringStyle,
    Rules,
    Segment,
    Term,
    Tier,
)
from tests.billing.core import BHD, BLUEFIN, JPY, USD

MODELS = (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT, ChargeModel.TIERED, ChargeModel.VOLUME)
ALIGNMENTS = tuple(Alignment)
TO_TERMS = (Alignment.TERM_START, Alignment.TERM_END)
MONTH_ENDS = (date(2023, 1, 31), date(2023, 11, 30), date(2024, 1, 31), date(2024, 2, 29), date(2024, 8, 31))
WEEKLY = (BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS)
BY_DAYS = (*WEEKLY, BillingPeriod.SPECIFIC_DAYS)
PERIODS = (*BillingPeriod, *[BillingPeriod.MONTH] * 6, BillingPeriod.QUARTER, BillingPeriod.ANNUAL)
DAYS_OF_MONTH: tuple[BillingDayType, ...] = (
    BillingDayType.ACCOUNT,
    BillingDayType.CHARGE_TRIGGER_DAY,
    BillingDayType.SPECIFIC_DAY_OF_MONTH,
    BillingDayType.SUBSCRIPTION_START_DAY,
    BillingDayType.TERM_START_DAY,
    BillingDayType.TERM_END_DAY,
)
DAYS_OF_WEEK: tuple[BillingDayType, ...] = (
    BillingDayType.SPECIFIC_DAY_OF_WEEK,
    BillingDayType.CHARGE_TRIGGER_DAY,
    BillingDayType.SUBSCRIPTION_START_DAY,
)
MONTH_BASES: tuple[ListPriceBase, ...] = tuple(base for base in ListPriceBase if base is not ListPriceBase.PER_WEEK)
WEEK_BASES: tuple[ListPriceBase, ...] = (ListPriceBase.PER_BILLING_PERIOD, ListPriceBase.PER_WEEK)


def random_account(source: Random) -> Account:
    """Return an account with any bill cycle day, in a currency of 0, 2 or 3 digits."""
    return BLUEFIN._replace(bill_cycle_day=source.randint(1, 31), currency=source.choice((USD, USD, JPY, BHD)))


def random_rules(source: Random, *, plain: bool = False) -> Rules:
    """Return any billing rules; `plain` ones prorate every partial period."""
    return Rules(
        days_in_month=source.choice(tuple(DaysInMonth)),
        proration_unit=source.choice(tuple(ProrationUnit)),
        prorate_partial_periods=plain or source.random() < 0.6,
        partial_months=PartialMonths.PRORATE if plain else source.choice(tuple(PartialMonths)),
        bill_partial_weeks=plain or source.random() < 0.6,
        credit_one_time=source.random() < 0.5,
        recurring_style=source.choice(tuple(RecurringStyle)),
        bill_past_term_end=source.random() < 0.3,
        bill_to_term_end_when_auto_renew=source.random() < 0.7,
    )


def random_date(source: Random, first: date = date(2023, 1, 1), days: int = 1100) -> date:
    """Return a day of about three years, the end of a month more often than not by chance."""
    return source.choice(MONTH_ENDS) if source.random() < 0.2 else first + timedelta(days=source.randrange(days))


def random_price(source: Random) -> Decimal:
    """Return a price with up to nine decimals, often a plain one, sometimes 0."""
    if source.random() < 0.5:
        return Decimal(source.choice((0, 1, 9, 10, 25, 99, 100, 250, 1200, 12000)))
    return Decimal(source.randrange(10 ** source.choice((4, 7, 10)))).scaleb(-source.choice((2, 4, 9)))


def random_tiers(source: Random) -> tuple[Tier, ...]:
    """Return up to four tiers without gap, the last without end."""
    ends: list[Decimal | None] = [
        *map(Decimal, sorted(source.sample(range(1, 40), source.randrange(4)))),
        None,
    ]
    return tuple(Tier(end, random_price(source), source.choice(tuple(PriceFormat))) for end in ends)


def random_segment(source: Random, number: int, start: date, end: date | None) -> Segment:
    """Return a segment with a price, a quantity and tiers, so that any model can price it."""
    quantity = Decimal(source.choice((0, 1, 3, 10, 12, 40)))
    if source.random() < 0.2:
        quantity = Decimal(source.randrange(4000)).scaleb(-2)
    return Segment(1000 + number, number, start, end, quantity, random_price(source), random_tiers(source))


def random_segments(source: Random, start: date, *, most: int = 3) -> tuple[Segment, ...]:
    """Return prices in succession, some after a suspension, some for no day at all, the last often without end."""
    found: list[Segment] = []
    for number in range(1, source.randint(1, most) + 1):
        end = start + timedelta(days=source.choice((0, 1, 14, 31, 90, source.randrange(400), source.randrange(400))))
        found.append(random_segment(source, number, start, end))
        start = end + timedelta(days=source.choice((0, 0, 0, 1, 17, 45)))
    if source.random() < 0.6:
        found[-1] = found[-1]._replace(end=None)
    return tuple(found)


def add_months(start: date, months: int) -> date:
    """Return the same day so many months later; written for the days every month has."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def random_terms_of_subscription(source: Random, start: date, *, whole_months: bool) -> tuple[Term, ...]:
    """Return one to three terms that follow each other, of whole months or of any number of days."""
    found: list[Term] = []
    at = start
    passed = 0
    for _ in range(source.randint(1, 3)):
        passed += source.choice((1, 6, 12, 12, 12, 24, 7))
        end = add_months(start, passed) if whole_months else at + timedelta(days=source.randint(20, 800))
        found.append(Term(at, end))
        at = end
    return tuple(found)


def random_charge_terms(
    source: Random, charge_type: ChargeType = ChargeType.RECURRING, period: BillingPeriod | None = None
) -> ChargeTerms:
    """Return terms whose parts go together; any billing period where none is given."""
    period = period or source.choice(PERIODS)
    length = {
        BillingPeriod.SPECIFIC_MONTHS: source.choice((1, 2, 4, 5, 7, 10, 18)),
        BillingPeriod.SPECIFIC_WEEKS: source.choice((1, 2, 3, 4, 6, 13)),
        BillingPeriod.SPECIFIC_DAYS: source.choice((1, 5, 10, 30, 30, 90, 90, 365)),
    }.get(period, 0)
    if charge_type is ChargeType.ONE_TIME:
        period, length = None, 0
    weekly = period in WEEKLY
    base = source.choice(WEEK_BASES if weekly else MONTH_BASES)
    day_type = source.choice(DAYS_OF_WEEK if weekly else DAYS_OF_MONTH)
    day = source.randint(1, 7 if weekly else 31)
    if period is BillingPeriod.SPECIFIC_DAYS or charge_type is ChargeType.ONE_TIME:
        base = ListPriceBase.PER_BILLING_PERIOD
    return ChargeTerms(
        charge_type=charge_type,
        charge_model=source.choice(MODELS),
        billing_timing=source.choice(tuple(BillingTiming)),
        billing_period=period,
        list_price_base=base,
        billing_day_type=day_type,
        alignment=source.choice(ALIGNMENTS),
        period_length=length,
        price_base_months=source.choice((2, 4, 6)) if base is ListPriceBase.PER_SPECIFIC_MONTHS else 0,
        billing_day=day,
    )


def needs_terms(terms: ChargeTerms) -> bool:
    """Return whether the terms of the subscription decide where periods begin and end."""
    return (
        terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM
        or terms.alignment in TO_TERMS
        or terms.billing_day_type in (BillingDayType.TERM_START_DAY, BillingDayType.TERM_END_DAY)
    )


def random_charge(source: Random, *, one_time: bool | None = None, period: BillingPeriod | None = None) -> Charge:
    """Return a charge of any kind, one-time now and then where it is not said; nothing of it is billed yet."""
    if one_time is None:
        one_time = source.random() < 0.04
    terms = random_charge_terms(source, ChargeType.ONE_TIME if one_time else ChargeType.RECURRING, period)
    start = random_date(source)
    subscription_start = start - timedelta(days=source.choice((0, 0, source.randrange(500))))
    # Days that come in every month, so that all terms begin on the same one, where the day of a term is the billing day.
    by_term_day = terms.billing_day_type in (BillingDayType.TERM_START_DAY, BillingDayType.TERM_END_DAY)
    whole = by_term_day or terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM
    if whole and subscription_start.day > 28:
        subscription_start = subscription_start.replace(day=28)
    of_subscription = random_terms_of_subscription(source, subscription_start, whole_months=whole)
    termed = needs_terms(terms) or source.random() < 0.4
    return Charge(
        charge_id=1,
        number="C-00000001",
        name="Support",
        subscription_id=1,
        subscription_start=subscription_start,
        invoice_separately=False,
        trigger_date=start,
        billed_through=None,
        terms=terms,
        segments=random_segments(source, start),
        term_end=of_subscription[-1].end if termed else None,
        auto_renew=source.random() < 0.4,
        subscription_terms=of_subscription if needs_terms(terms) else (),
    )
