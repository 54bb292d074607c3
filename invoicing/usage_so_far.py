"""What usage charges come to so far, priced by the very core as if nothing were used after the last day of usage.

                      rated before | over, not rated yet |   current period   |
    usage          ····L···········|·····················|·······P····P·      |
                       late usage  |      due now        |  amount so far ^ as if nothing more were used

Nothing is written. Discounts take off what they take off once the usage is billed, so amounts here are before them.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet, Sum

from accounts.models import Account
from billing.core.charge_models import UnpriceableError
from billing.core.cycles import cycle_of
from billing.core.overage import OverageError
from billing.core.periods import natural_period
from billing.core.pricing import MAX_LINES_PER_CHARGE
from billing.core.timing import SegmentOverlapError, service_until, stretch_end, stretches
from billing.core.types import Account as PricedAccount
from billing.core.types import Charge, ChargeModel, ChargeType, Line, Period, RatedKind, Rules, UsageRating
from billing.core.usage import Slice, Usage, within
from billing.core.usage_rating import usage_lines
from billing.models import RatePlanCharge, Subscription
from billing.queries import current_rules
from invoicing.bill_run.load import load_accounts
from usage.models import UsageSlice

CHARGES_SHOWN = 25
# Usage may be dated later than today; whatever there is, is counted.
_EVER = date(9999, 1, 1)
_ONE_DAY = timedelta(days=1)
_ZERO = Decimal(0)


class Sums(NamedTuple):
    """Usage and what it costs; `quantity` is exact, as it was recorded."""

    quantity: Decimal = _ZERO
    amount: Decimal = _ZERO


class SoFar(NamedTuple):
    """A usage charge today.

    `period` is the current billing period (None where the charge is not served today), `current` the usage in it and
    what of it is not billed yet, `billed` what was billed of it on demand, `last_day` the last day of that usage. `due`
    belongs to periods that are over, `late` to days that were rated before; `other` is what lies beyond the current
    period, or across its bounds until a run cuts it. `of_account` is the part of the usage not
    billed yet that one account has used. `rated` are the days rated last, `next_rating` the first day on which a run
    rates. `problem` says why nothing can be priced.
    """

    charge: RatePlanCharge
    currency: str
    period: Period | None = None
    current: Sums = Sums()
    billed: Decimal = _ZERO
    last_day: date | None = None
    due: Sums | None = None
    late: Sums | None = None
    other: Decimal = _ZERO
    of_account: Decimal | None = None
    rated: Period | None = None
    next_rating: date | None = None
    problem: str = ""


def charges_of_account(account: Account) -> list[RatePlanCharge]:
    """Return the account's usage charges, then those of others that bill its usage; one more than are shown."""
    own = _metered().filter(subscription__invoice_owner=account)
    found = list(own.order_by("-id")[: CHARGES_SHOWN + 1])
    used = UsageSlice.objects.filter(account=account).values("charge")
    others = _metered().filter(pk__in=used).exclude(subscription__invoice_owner=account)
    return (found + list(others.order_by("-id")[: CHARGES_SHOWN + 1]))[: CHARGES_SHOWN + 1]


def charges_of_subscription(subscription: Subscription) -> list[RatePlanCharge]:
    """Return the subscription's usage charges, one more than are shown."""
    return list(_metered().filter(subscription=subscription).order_by("number")[: CHARGES_SHOWN + 1])


def _metered() -> QuerySet[RatePlanCharge]:
    charges = RatePlanCharge.objects.select_related("subscription__invoice_owner", "rate_plan")
    return charges.filter(charge_type=ChargeType.USAGE)


def usage_so_far(charges: Sequence[RatePlanCharge], *, today: date, account: Account | None = None) -> list[SoFar]:
    """Return for each charge what it comes to so far; `account` is whose part of shared usage is told."""
    if not charges:
        return []
    rules = current_rules()
    owners = sorted({charge.subscription.invoice_owner_id for charge in charges})
    loaded = load_accounts(owners, target_date=_EVER, rules=rules, only=[charge.pk for charge in charges])
    begun = {charge.charge_id: (each, charge) for each in loaded for charge in each.charges}
    parts = _of_account(charges, account) if account is not None else {}
    found = []
    for row in charges:
        currency = row.subscription.invoice_owner.currency
        if row.pk not in begun:
            found.append(SoFar(row, currency))
            continue
        each, charge = begun[row.pk]
        try:
            sums = _so_far(row, each.account, charge, each.usage[row.pk], rules, today)
        except (UnpriceableError, OverageError, SegmentOverlapError) as flaw:
            sums = SoFar(row, currency, problem=str(flaw))
        is_shared = account is not None and row.subscription.invoice_owner_id != account.pk
        found.append(sums._replace(of_account=parts.get(row.pk, _ZERO)) if is_shared else sums)
    return found


def _of_account(charges: Iterable[RatePlanCharge], account: Account) -> dict[int, Decimal]:
    """Return what an account used that other accounts are billed for and that is not billed yet, by charge."""
    shared = [charge.pk for charge in charges if charge.subscription.invoice_owner_id != account.pk]
    if not shared:
        return {}
    found = UsageSlice.objects.filter(Q(charge__in=shared), account=account, rated=None).order_by()
    return dict(found.values_list("charge").annotate(Sum("quantity")))


def _so_far(
    row: RatePlanCharge, account: PricedAccount, charge: Charge, usage: Usage, rules: Rules, today: date
) -> SoFar:
    on_demand = usage.terms.rating is UsageRating.ON_DEMAND
    period = _current_period(account, charge, rules, today)
    lines, _ = usage_lines(account, charge, usage, rules, today, MAX_LINES_PER_CHARGE)
    late = [line for line in lines if _kind(line) is RatedKind.LATE]
    over = [line for line in lines if _kind(line) is RatedKind.PERIOD]
    current: list[Line] = []
    counted: list[Slice] = []
    if period is not None:
        over = [line for line in over if line.period.start < period.start]
        counted = within(usage.slices, period)
        current = _current_lines(account, charge, usage, rules, period, counted)
    billed = [window for window in usage.windows if period is not None and window.days.start >= period.start]
    next_rating = today if on_demand or over or late else period.end if period is not None else None
    return SoFar(
        row,
        account.currency.code,
        period,
        Sums(_sum(found.quantity for found in counted), _sum(line.amount for line in current)),
        _sum(window.amount for window in billed),
        max((found.days.end for found in counted), default=today) - _ONE_DAY if counted else None,
        _sums(over),
        _sums(late),
        _other(usage, [*late, *over], counted),
        None,
        usage.windows[-1].days if usage.windows else None,
        next_rating,
    )


def _other(usage: Usage, lines: Iterable[Line], counted: Iterable[Slice]) -> Decimal:
    """Return the pending usage that is neither on these lines nor counted in the current period."""
    told = {found.slice_id for found in counted}
    told.update(slice_id for line in lines if line.rated is not None for slice_id in line.rated.slices)
    return _sum(found.quantity for found in usage.slices if not (found.is_rated or found.slice_id in told))


def _current_period(account: PricedAccount, charge: Charge, rules: Rules, today: date) -> Period | None:
    """Return the billing period that today lies in, as far as the charge is served in it."""
    assert charge.trigger_date is not None  # charges that have not begun are not loaded
    until = service_until(charge, rules, today)
    for stretch in stretches(charge.segments):
        end = stretch_end(stretch, until)
        if stretch[0].start <= today and (end is None or today < end):
            natural = natural_period(cycle_of(account, charge, charge.trigger_date), today)
            return Period(max(natural.start, stretch[0].start), natural.end if end is None else min(natural.end, end))
    return None


def _current_lines(
    account: PricedAccount, charge: Charge, usage: Usage, rules: Rules, period: Period, counted: Sequence[Slice]
) -> list[Line]:
    """Return what the usage there is in the current period will cost if nothing is added to it."""
    if not (counted or charge.terms.charge_model is ChargeModel.FLAT_FEE):
        return []
    lines, _ = usage_lines(account, charge, usage, rules, period.end, MAX_LINES_PER_CHARGE)
    return [line for line in lines if _kind(line) is RatedKind.PERIOD and line.period.start >= period.start]


def _kind(line: Line) -> RatedKind:
    assert line.rated is not None  # every usage line has what it bills
    return line.rated.kind


def _sums(lines: Sequence[Line]) -> Sums | None:
    if not lines:
        return None
    return Sums(_sum(line.quantity or _ZERO for line in lines), _sum(line.amount for line in lines))


def _sum(numbers: Iterable[Any]) -> Decimal:
    return sum(numbers, _ZERO)
