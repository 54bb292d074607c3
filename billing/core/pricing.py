"""Price everything an account owes by a target date: the one algorithm of run, preview, dry run and explanation.

The walk, for each charge: which periods are due (timing) → one part per segment (price) → what a segment costs
(charge_models) → how much of it the part covers (proration) → one rounding (money) → the line with its derivation.

If anything is wrong the account gets problems and no lines at all: a partial bill is worse than a late one (I15).
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from decimal import DecimalException
from typing import Final, assert_never

from billing.core.charge_models import UnpriceableError, base_months, rate_of
from billing.core.derivation import VERSION, share_text
from billing.core.money import EXACT, MoneyError, round_amount, round_quotient, scale_price
from billing.core.periods import MONTHS_IN, Cycle, cycle_from
from billing.core.proration import Share, months_covered
from billing.core.timing import SegmentOverlapError, due_periods, one_time_due, stretches
from billing.core.types import (
    Account,
    Alignment,
    BillingDayType,
    Charge,
    ChargeType,
    Line,
    LineKind,
    Period,
    Pricing,
    Problem,
    Rules,
    Segment,
)

MAX_LINES_PER_CHARGE: Final = 40
"""Safety bound of one run (I14): more than three years of overdue months are a mistake, not a bill."""

PRORATION_SUFFIX: Final = " – Proration"


class _AccountFlawError(UnpriceableError):
    """A charge cannot be priced for want of something that belongs to its account."""


_Part = tuple[Segment, Period, Share | None, Share | None]
"""The days of one due period that one segment prices: segment, days, the months they count for (None when charged in
full) and the months these are a part of (None when that is a full billing period)."""


def price(
    account: Account,
    charges: Sequence[Charge],
    *,
    rules: Rules,
    target_date: date,
    excluded: AbstractSet[ChargeType] = frozenset(),
    max_lines_per_charge: int = MAX_LINES_PER_CHARGE,
) -> Pricing:
    """Return every line of `charges` that is due by `target_date` and not yet covered, or the problems that forbid it.

    Lines follow the order of `charges`, each charge's oldest first. Usage charges are not priced here.
    """
    lines: list[Line] = []
    problems: list[Problem] = []
    for charge in charges:
        charge_type = charge.terms.charge_type
        if charge_type in excluded:
            continue
        try:
            if charge_type is ChargeType.RECURRING:
                lines += _recurring_lines(account, charge, rules, target_date, max_lines_per_charge)
            elif charge_type is ChargeType.ONE_TIME:
                lines += _one_time_lines(account, charge, target_date)
            elif charge_type is not ChargeType.USAGE:
                assert_never(charge_type)
        except _AccountFlawError as flaw:
            problem = Problem(flaw.code, account.number, f"Account {account.number} {flaw.message}.", f"{flaw.hint}.")
            # Every charge meets the same flaw; the operator needs to read it once.
            if problem not in problems:
                problems.append(problem)
        except MoneyError as error:
            message = f"Charge {charge.number} ({charge.name}) cannot be billed. {error}"
            problems.append(Problem("amount_too_large", charge.number, message, "Check its price and quantity."))
        except DecimalException:
            message = f"Charge {charge.number} ({charge.name}) has a price or quantity with too many digits."
            problems.append(Problem("too_many_digits", charge.number, message, "Shorten its price or quantity."))
        except UnpriceableError as flaw:
            message = f"Charge {charge.number} ({charge.name}) {flaw.message}."
            problems.append(Problem(flaw.code, charge.number, message, f"{flaw.hint}."))
    # An account that owes nothing is not asked for what only an invoice needs.
    if lines or problems:
        problems += _invoice_problems(account)
    return Pricing([], problems) if problems else Pricing(lines, problems)


def _one_time_lines(account: Account, charge: Charge, target_date: date) -> list[Line]:
    """Return the one line of a one-time charge that is due, or none."""
    due = one_time_due(charge, target_date=target_date)
    if due is None:
        return []
    segment, period = due
    rate = rate_of(charge.terms.charge_model, segment)
    amount = round_amount(rate.amount, account.currency)
    derivation = f'{{"v":{VERSION},"s":{segment.number},{rate.working},"r":{account.currency.digits}}}'
    return [
        Line(
            charge.charge_id,
            charge.subscription_id,
            segment.segment_id,
            LineKind.ONE_TIME,
            charge.name,
            period,
            rate.quantity,
            rate.unit_price,
            amount,
            derivation,
            charge.invoice_separately,
            charge.number,
        )
    ]


def _recurring_lines(account: Account, charge: Charge, rules: Rules, target_date: date, max_lines: int) -> list[Line]:
    """Return one line for each part of each due period of a recurring charge, oldest first."""
    if charge.trigger_date is None:
        return []
    terms, currency = charge.terms, account.currency
    cycle = _cycle(account, charge, charge.trigger_date)
    months = cycle.months
    base = base_months(terms.list_price_base, months)
    priced: Segment | None = None
    lines: list[Line] = []
    for segment, period, share, whole in _due_parts(charge, cycle, rules, target_date, max_lines):
        if segment is not priced:
            rate = rate_of(terms.charge_model, segment)
            unit_price = rate.unit_price
            if unit_price is not None and months != base:
                unit_price = scale_price(unit_price, months, base)
            priced = segment
        description = charge.name
        dividend, divisor, covered = months, base, ""
        if share is not None:
            dividend, divisor = _prorate(dividend, divisor, share, whole or Share(months, ()))
            covered = f',"part":{share_text(share)}' + (f',"of":{share_text(whole)}' if whole else "")
            # A price of nothing is nothing in part as well: there is no proration to tell the customer about.
            description += PRORATION_SUFFIX if rate.amount else ""
        if dividend == divisor:
            amount = round_amount(rate.amount, currency)
        else:
            amount = round_quotient(EXACT.multiply(rate.amount, dividend), divisor, currency)
        working = f'{rate.working},"f":[{months},{base}]{covered}'
        derivation = f'{{"v":{VERSION},"s":{segment.number},{working},"r":{currency.digits}}}'
        lines.append(
            Line(
                charge.charge_id,
                charge.subscription_id,
                segment.segment_id,
                LineKind.RECURRING,
                description,
                period,
                rate.quantity,
                unit_price,
                amount,
                derivation,
                charge.invoice_separately,
                charge.number,
            )
        )
    return lines


def _cycle(account: Account, charge: Charge, trigger_date: date) -> Cycle:
    """Return where the charge's periods begin and end, from its billing day and alignment settings."""
    terms = charge.terms
    if terms.billing_period is None:
        raise UnpriceableError(
            "missing_billing_period", "has no billing period", "Choose a billing period for the charge"
        )
    if terms.billing_day_type is BillingDayType.ACCOUNT:
        day = account.bill_cycle_day
        if not 1 <= day <= 31:
            raise _AccountFlawError(
                "unknown_bill_cycle_day", "has no bill cycle day", "Set the account's bill cycle day"
            )
    elif terms.billing_day_type is BillingDayType.CHARGE_TRIGGER_DAY:
        day = trigger_date.day
    else:
        assert_never(terms.billing_day_type)
    if terms.alignment is Alignment.CHARGE:
        origin = trigger_date
    elif terms.alignment is Alignment.SUBSCRIPTION_START:
        origin = charge.subscription_start
    else:
        assert_never(terms.alignment)
    return cycle_from(origin, day, MONTHS_IN[terms.billing_period])


def _due_parts(charge: Charge, cycle: Cycle, rules: Rules, target_date: date, max_lines: int) -> list[_Part]:
    """Return the parts of all due periods, oldest first; only as many periods as could pass `max_lines` are looked at.

        billed through          price change                       target date (in advance)
    ----------|======= period ======|======= period ======|======= period ====:==|
              |===== part ====|part=|======== part =======|======== part =====:==|
    """
    if not charge.segments:
        raise UnpriceableError("missing_price", "has no price", "Enter a price for the charge")
    try:
        found = stretches(charge.segments)
    except SegmentOverlapError as flaw:
        hint = "Correct the dates of its segments so that each ends where the next begins"
        raise UnpriceableError("overlapping_segments", "has two prices for the same days", hint) from flaw
    timing = charge.terms.billing_timing
    parts: list[_Part] = []
    for stretch in found:
        start, end = stretch[0].start, stretch[-1].end
        if charge.billed_through is not None and charge.billed_through > start:
            start = charge.billed_through
        for period, full in due_periods(cycle, start, end, timing, target_date, max_lines + 1):
            if full and len(stretch) == 1:
                parts.append((stretch[0], period, None, None))
            else:
                parts += _split(stretch, period, cycle, full=full, prorate=rules.prorate_partial_periods)
        if len(parts) > max_lines:
            raise UnpriceableError(
                "too_many_periods",
                f"has more than {max_lines} lines to bill up to {target_date.isoformat()}",
                "Check when the charge starts and what has been billed; if all of it is due, bill it in several runs"
                " with earlier target dates",
            )
    return parts


def _split(stretch: Sequence[Segment], period: Period, cycle: Cycle, *, full: bool, prorate: bool) -> Iterator[_Part]:
    """Yield one part of the period for each segment that has days in it.

    Where partial periods are charged in full, the parts of a partial period share its full amount by their months.
    """
    covered = months_covered(period, billing_day=cycle.day)
    for segment in stretch:
        start = max(segment.start, period.start)
        end = period.end if segment.end is None else min(segment.end, period.end)
        part = Period(start, end)
        if part == period:
            yield segment, period, None if full or not prorate else covered, None
        elif start < end:
            whole = None if full or prorate else covered
            yield segment, part, months_covered(part, billing_day=cycle.day), whole


def _prorate(dividend: int, divisor: int, share: Share, whole: Share) -> tuple[int, int]:
    """Return the fraction multiplied by share ÷ whole, still in whole numbers."""
    share_months, share_scale = share.fraction
    whole_months, whole_scale = whole.fraction
    return dividend * share_months * whole_scale, divisor * share_scale * whole_months


def _invoice_problems(account: Account) -> list[Problem]:
    """Return what the account lacks for any invoice at all."""
    lacks = []
    if account.bill_to_id is None:
        lacks.append(("missing_bill_to", "no bill-to contact", "Choose a bill-to contact"))
    if account.payment_term_id is None:
        lacks.append(("missing_payment_term", "no payment term", "Choose a payment term"))
    if not account.currency.code:
        lacks.append(("missing_currency", "no currency", "Choose a currency"))
    return [
        Problem(code, account.number, f"Account {account.number} has {what}.", f"{hint} for the account.")
        for code, what, hint in lacks
    ]
