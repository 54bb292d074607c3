"""When a charge of the catalogue would be billed, and for how much: its first periods, from the pricing core itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice

from accounts.currencies import currency_digits
from accounts.wording import day
from billing.core.charge_models import UnpriceableError
from billing.core.cycles import cycle_of
from billing.core.periods import Tile, add_months, months_in, tiles
from billing.core.pricing import price as price_charges
from billing.core.smoothing import OverageCalculation, SmoothingModel
from billing.core.timing import timing_of
from billing.core.types import (
    Account,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    Currency,
    Period,
    Rules,
    Segment,
    Term,
    Tier,
    UsageRating,
)
from billing.core.units import UnitOfMeasure
from billing.core.usage import Usage, UsageTerms
from billing.models import ProductRatePlanCharge
from billing.models.terms import DISCOUNTS, EndCondition
from billing.services.charge_terms import fixed_period_end, needs_term_end, terms_of

SHOWN = 6
TERM_MONTHS = 12
# An account that could be invoiced: only its currency and bill cycle day matter here.
SOMEBODY = 1
NUMBER = "preview"


@dataclass(frozen=True)
class BilledPeriod:
    """One period: the target date that bills it, its days, its amount (None: not known yet), whether it is partial."""

    billed_on: date
    period: Period
    amount: Decimal | None
    is_partial: bool


@dataclass(frozen=True)
class PeriodPreview:
    """The first periods of a charge, or in `problem` why there are none; `notes` say what was taken for granted."""

    periods: tuple[BilledPeriod, ...] = ()
    ends_on: date | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sale:
    """The order a preview imagines: its first day, the account's bill cycle day and what the charge costs.

    `price` is a number or tiers; None where the price is not known yet.
    """

    start: date
    bill_cycle_day: int
    currency: str = ""
    price: Decimal | Sequence[Tier] | None = None


def first_periods(row: ProductRatePlanCharge, sale: Sale, rules: Rules) -> PeriodPreview:
    """Return the first six periods of a charge (saved or not) that would be sold like that.

    The same functions compute them that bill a subscription; nothing is read or written.
    """
    charge = _charge(row, sale)
    account = _account(sale)
    try:
        found = _tiles(row, account, charge)
    except UnpriceableError as flaw:
        return PeriodPreview(problem=f"It {flaw.message}. {flaw.hint}.")
    timing = _timing(row, charge, rules)
    due = [tile.period.end if timing is BillingTiming.IN_ARREARS else tile.period.start for tile in found]
    amounts, problem = _amounts(row, sale, account, charge, rules, target=max(due))
    periods = tuple(
        BilledPeriod(day, tile.period, amounts.get(tile.period), not tile.full)
        for day, tile in zip(due, found, strict=True)
    )
    ends_on = charge.segments[0].end if row.end_condition == EndCondition.FIXED_PERIOD else None
    return PeriodPreview(periods, ends_on, problem, tuple(_notes(row, charge, sale, found, rules)))


def _account(sale: Sale) -> Account:
    currency = Currency(sale.currency, currency_digits(sale.currency) if sale.currency else 2)
    return Account(SOMEBODY, NUMBER, currency, sale.bill_cycle_day, SOMEBODY, SOMEBODY, None, None)


def _charge(row: ProductRatePlanCharge, sale: Sale) -> Charge:
    # A term for each period shown, so that those that follow terms are cut where their terms begin.
    terms = tuple(
        Term(add_months(sale.start, TERM_MONTHS * count), add_months(sale.start, TERM_MONTHS * (count + 1)))
        for count in range(SHOWN + 1)
    )
    end = fixed_period_end(row, sale.start, terms[0]) if row.end_condition == EndCondition.FIXED_PERIOD else None
    plain = sale.price if isinstance(sale.price, Decimal) else None
    tiers = () if sale.price is None or isinstance(sale.price, Decimal) else tuple(sale.price)
    quantity = Decimal(1) if row.default_quantity is None else row.default_quantity
    segment = Segment(SOMEBODY, 1, sale.start, end, quantity, plain, tiers)
    return Charge(
        SOMEBODY,
        NUMBER,
        row.name,
        SOMEBODY,
        sale.start,
        invoice_separately=False,
        trigger_date=sale.start,
        billed_through=None,
        terms=terms_of(row),
        segments=(segment,),
        subscription_terms=terms,
    )


def _tiles(row: ProductRatePlanCharge, account: Account, charge: Charge) -> list[Tile]:
    start = charge.subscription_start
    if row.charge_type == ChargeType.ONE_TIME:
        return [Tile(Period(start, date.fromordinal(start.toordinal() + 1)), full=True)]
    return list(islice(tiles(cycle_of(account, charge, start), start, charge.segments[0].end), SHOWN))


def _timing(row: ProductRatePlanCharge, charge: Charge, rules: Rules) -> BillingTiming:
    """Return when a period is billed: usage is known when it is over, one-time charges are due on their day."""
    if row.charge_type == ChargeType.USAGE:
        return BillingTiming.IN_ARREARS
    return BillingTiming.IN_ADVANCE if row.charge_type == ChargeType.ONE_TIME else timing_of(charge.terms, rules)


def _amounts(
    row: ProductRatePlanCharge, sale: Sale, account: Account, charge: Charge, rules: Rules, *, target: date
) -> tuple[dict[Period, Decimal], str]:
    """Return the amount of each period billed by `target`, or none of them and in words what forbids it."""
    if sale.price is None or row.charge_model in DISCOUNTS:
        return {}, ""
    usage = {}
    if row.charge_type == ChargeType.USAGE:
        if row.charge_model != ChargeModel.FLAT_FEE:
            return {}, ""
        # A fee is known without any usage.
        usage = {charge.charge_id: Usage(UsageTerms(UnitOfMeasure(row.unit, 0)))}
    priced = price_charges(account, [charge], rules=rules, target_date=target, usage=usage)
    for problem in priced.problems:
        named = f"Charge {NUMBER} ({row.name}) "
        words = f"It {problem.message.removeprefix(named)} {problem.hint}"
        # There is only one segment, and nobody has seen it.
        return {}, words.replace(" of segment 1", "").replace("Segment 1 ", "")
    return {line.period: line.amount for line in priced.lines}, ""


def _usage_notes(row: ProductRatePlanCharge, found: Sequence[Tile], rules: Rules) -> list[str]:
    """Return when usage is billed: each period is over on its day, on demand runs bill it before, smoothing later."""
    is_fee = row.charge_model == ChargeModel.FLAT_FEE
    notes = ["It is billed whatever is used." if is_fee else "Its amount depends on the usage of each period."]
    if row.usage_rating == UsageRating.ON_DEMAND:
        notes.append("On demand: each bill run before these days bills what was used up to its target date.")
    is_partial = bool(found) and not found[0].full
    count = row.smoothing_periods or 0
    if row.smoothing_model == SmoothingModel.ROLLING_WINDOW and count:
        if row.overage_calculation == OverageCalculation.PER_BILLING_PERIOD:
            notes.append(f"{count} periods are counted together; overage is billed as soon as it occurs.")
        else:
            last = count - 1 + is_partial
            when = f": on {day(found[last].period.end)} at the earliest" if last < len(found) else ""
            notes.append(f"Overage is billed once {count} periods can be counted together{when}.")
    elif row.smoothing_model == SmoothingModel.ROLLOVER:
        notes.append("Units left unused are kept for later periods.")
    is_skipped = months_in(terms_of(row)) == 1 or row.billing_period in (
        BillingPeriod.WEEK,
        BillingPeriod.SPECIFIC_WEEKS,
    )
    if is_partial and is_skipped and not rules.bill_usage_partial_months:
        notes.append("The part of a period at the beginning is not billed, as the billing rules say.")
    elif is_partial and row.smoothing_model:
        notes.append("The part of a period at the beginning is not smoothed.")
    return notes


def _notes(row: ProductRatePlanCharge, charge: Charge, sale: Sale, found: Sequence[Tile], rules: Rules) -> list[str]:
    notes = []
    if row.charge_model in DISCOUNTS:
        notes.append("Its amount depends on the charges it reduces.")
    elif row.charge_type == ChargeType.USAGE:
        notes += _usage_notes(row, found, rules)
    elif sale.price is None:
        notes.append("Amounts appear once it has a price.")
    elif row.default_quantity is None and row.charge_model != ChargeModel.FLAT_FEE:
        notes.append("The amounts are for a quantity of 1.")
    words = (row.alignment, row.billing_day_type, row.billing_period)
    if needs_term_end(row) or any("Term" in word for word in words):
        notes.append(f"For a subscription with terms of {TERM_MONTHS} months that are renewed.")
    return notes
