"""Which cycle a charge follows: its billing period, billing day and alignment put together (domain.md 2.1, 3.1).

alignment                origin of the grid
AlignToCharge            trigger day of the charge
AlignToSubscriptionStart start of the subscription
AlignToTermStart, …End   start (end) of each term: one grid a term, from its anchor to the next term's anchor
any, subscription term   the term itself is the period
"""

from datetime import date
from typing import assert_never

from billing.core.charge_models import UnpriceableError
from billing.core.periods import (
    Cycle,
    DayCycle,
    Grid,
    TermCycle,
    cycle_from,
    daily_cycle,
    date_in_month,
    days_in,
    month_number,
    months_in,
    span_grid,
    weekly_cycle,
)
from billing.core.types import Account, Alignment, BillingDayType, BillingPeriod, Charge, Term


class AccountFlawError(UnpriceableError):
    """A charge cannot be priced for want of something that belongs to its account."""


def cycle_of(account: Account, charge: Charge, trigger_date: date) -> Cycle:
    """Return where the charge's periods begin and end; raise `UnpriceableError` when its settings do not say."""
    terms = charge.terms
    if terms.billing_period is None:
        raise UnpriceableError(
            "missing_billing_period", "has no billing period", "Choose a billing period for the charge"
        )
    if terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM:
        return _terms_as_periods(charge.subscription_terms)
    alignment = terms.alignment
    if alignment is Alignment.CHARGE:
        return _grid_from(account, charge, trigger_date, trigger_date)
    if alignment is Alignment.SUBSCRIPTION_START:
        return _grid_from(account, charge, trigger_date, charge.subscription_start)
    if alignment is Alignment.TERM_START or alignment is Alignment.TERM_END:
        return _grid_of_each_term(account, charge, trigger_date)
    assert_never(alignment)


def _terms_as_periods(subscription_terms: tuple[Term, ...]) -> TermCycle:
    pieces = tuple((term.start, span_grid(term.start, term.end)) for term in subscription_terms if term.end is not None)
    if not pieces:
        raise UnpriceableError(
            "evergreen_subscription",
            "is billed once a term, but its subscription has no term that ends",
            "Choose another billing period, or give the subscription a term",
        )
    return TermCycle(pieces)


def _grid_of_each_term(account: Account, charge: Charge, trigger_date: date) -> TermCycle:
    """Return a grid for each term that has the day it is aligned to; a grid holds from its anchor on."""
    pieces: list[tuple[date, Grid]] = []
    for term in charge.subscription_terms:
        origin = term.start if charge.terms.alignment is Alignment.TERM_START else term.end
        if origin is not None:
            grid = _grid_from(account, charge, trigger_date, origin, term)
            pieces.append((_anchor(grid, origin), grid))
    if not pieces:
        raise UnpriceableError(
            "missing_term", "is aligned to a term that its subscription does not have", "Choose another alignment"
        )
    return TermCycle(tuple(pieces))


def _anchor(grid: Grid, origin: date) -> date:
    """Return the first boundary of the grid on or after its origin; the billing day alone decides, not the phase."""
    if isinstance(grid, DayCycle):
        return date.fromordinal(origin.toordinal() + (grid.phase - origin.toordinal()) % grid.days)
    number = month_number(origin)
    anchor = date_in_month(number, grid.day)
    return anchor if anchor >= origin else date_in_month(number + 1, grid.day)


def _grid_from(account: Account, charge: Charge, trigger_date: date, origin: date, term: Term | None = None) -> Grid:
    """Return the grid whose anchor is the first billing day on or after `origin`."""
    terms = charge.terms
    months = months_in(terms)
    if months > 0:
        return cycle_from(origin, _day_of_month(account, charge, trigger_date, origin, term), months)
    days = days_in(terms)
    if days < 1:
        raise UnpriceableError(
            "missing_period_length",
            "has no length of its billing period",
            "Enter how many months, weeks or days a billing period has",
        )
    if terms.billing_period is BillingPeriod.SPECIFIC_DAYS:
        return daily_cycle(origin, days)
    return weekly_cycle(origin, _day_of_week(charge, trigger_date, origin, term), days)


def _day_of_month(account: Account, charge: Charge, trigger_date: date, origin: date, term: Term | None) -> int:
    day_type = charge.terms.billing_day_type
    if day_type is BillingDayType.ACCOUNT:
        day = account.bill_cycle_day
        if not 1 <= day <= 31:
            raise AccountFlawError(
                "unknown_bill_cycle_day", "has no bill cycle day", "Set the account's bill cycle day"
            )
        return day
    if day_type is BillingDayType.CHARGE_TRIGGER_DAY:
        return trigger_date.day
    if day_type is BillingDayType.SPECIFIC_DAY_OF_MONTH and 1 <= charge.terms.billing_day <= 31:
        return charge.terms.billing_day
    found = _day_it_follows(charge, trigger_date, origin, term)
    if found is None:
        raise _unfit_billing_day("a day of the month")
    return found.day


def _day_of_week(charge: Charge, trigger_date: date, origin: date, term: Term | None) -> int:
    if charge.terms.billing_day_type is BillingDayType.SPECIFIC_DAY_OF_WEEK and 1 <= charge.terms.billing_day <= 7:
        return charge.terms.billing_day
    found = _day_it_follows(charge, trigger_date, origin, term)
    if found is None:
        raise _unfit_billing_day("a day of the week")
    return found.isoweekday()


def _day_it_follows(charge: Charge, trigger_date: date, origin: date, term: Term | None) -> date | None:
    """Return the date whose day is the billing day, or None where the setting does not go with one.

    A charge that is not aligned to terms follows the term its origin lies in, whatever terms come later.
    """
    day_type = charge.terms.billing_day_type
    if day_type is BillingDayType.CHARGE_TRIGGER_DAY:
        return trigger_date
    if day_type is BillingDayType.SUBSCRIPTION_START_DAY:
        return charge.subscription_start
    if day_type is BillingDayType.TERM_START_DAY or day_type is BillingDayType.TERM_END_DAY:
        if term is None:
            begun = [known for known in charge.subscription_terms if known.start <= origin]
            term = begun[-1] if begun else next(iter(charge.subscription_terms), None)
        found = term and (term.start if day_type is BillingDayType.TERM_START_DAY else term.end)
        if found is None:
            raise UnpriceableError(
                "missing_term", "is billed on a day of a term that does not end", "Choose another billing day"
            )
        return found
    return None


def _unfit_billing_day(what: str) -> UnpriceableError:
    return UnpriceableError(
        "billing_day_does_not_fit", "has a billing day that its billing period does not know", f"Choose {what}"
    )
