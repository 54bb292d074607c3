"""To which charge usage belongs: its account's, by unit and day; several that would do are a question, not a guess.

A row belongs to exactly one charge (D13). It may name its subscription or charge; otherwise the charges of its account
that count its unit on its day are looked at, and where hierarchy and child usage are on, those of the nearest account
above that has any.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

from django.db import connection

from billing.core.charge_models import UnpriceableError
from billing.core.cycles import cycle_of
from billing.core.periods import Cycle, natural_period
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
    Currency,
    ListPriceBase,
    Term,
)
from billing.queries import child_usage_included
from usage.cells import Flaw

MOST_ACCOUNTS = 20_000
"""How many accounts are remembered at a time, so that memory does not grow with the file."""

_ACCOUNTS = """
SELECT a.number, a.id, a.status, a.parent_id FROM accounts_account a WHERE a.number = ANY(%(numbers)s)
"""
_PARENTS = """
WITH RECURSIVE above AS (
    SELECT a.id, a.parent_id FROM accounts_account a WHERE a.id = ANY(%(accounts)s)
    UNION SELECT p.id, p.parent_id FROM accounts_account p JOIN above ON above.parent_id = p.id
) SELECT id, parent_id FROM above
"""
_CHARGES = """
SELECT s.account_id, c.id, c.number, c.name, c.unit, s.number, s.status, c.trigger_date, s.contract_effective, o.bill_cycle_day,
       concat_ws(' ', c.alignment, c.billing_day_type, c.period_length, c.billing_day, c.billing_period),
       c.rating_group = 'ByUsageStartDate' OR c.usage_rating = 'OnDemand',
       (SELECT coalesce(array_agg(ARRAY[g.effective_start, coalesce(g.effective_end, '9999-12-31')] ORDER BY g.effective_start), '{}')
        FROM billing_chargesegment g WHERE g.charge_id = c.id AND g.effective_end IS DISTINCT FROM g.effective_start),
       (SELECT coalesce(array_agg(ARRAY[t.start, coalesce(t."end", '9999-12-31')] ORDER BY t.number), '{}')
        FROM billing_subscriptionterm t WHERE t.subscription_id = s.id)
FROM billing_subscription s JOIN billing_rateplancharge c ON c.subscription_id = s.id AND c.charge_type = 'Usage'
JOIN accounts_account o ON o.id = s.invoice_owner_id
WHERE s.account_id = ANY(%(accounts)s) ORDER BY s.account_id, c.id
"""


class UsageCharge(NamedTuple):
    """A usage charge that rows may belong to; `days` are those it runs, half-open."""

    charge_id: int
    number: str
    name: str
    unit: str
    subscription: str
    days: tuple[tuple[date, date], ...]
    cycle: Cycle | None
    by_day: bool

    def runs_on(self, day: date) -> bool:
        return any(start <= day < end for start, end in self.days)

    def slice_day(self, day: date) -> date:
        """Return the first day of the slice that usage of `day` goes to: its billing period's, or its own."""
        if self.by_day or self.cycle is None:
            return day
        return natural_period(self.cycle, day).start

    def slice_days(self, day: date) -> tuple[date, date]:
        """Return the days around `day`, half-open, that the charge runs and whose usage goes to the same slice."""
        alone = day, day + timedelta(days=1)
        if self.by_day or self.cycle is None:
            return alone
        period = natural_period(self.cycle, day)
        start, end = next(found for found in self.days if found[0] <= day < found[1])
        first, until = max(start, period.start), min(end, period.end)
        # Where the periods of one term give way to those of the next, a period may be cut.
        same = self.slice_day(first) == self.slice_day(until - timedelta(days=1)) == period.start
        return (first, until) if same else alone


class KnownAccount(NamedTuple):
    """An account that rows name; `charges` are its own and those of the accounts above, nearest first."""

    account_id: int
    is_active: bool
    charges: tuple[tuple[UsageCharge, ...], ...]


class UsageCharges:
    """Looks accounts and their usage charges up, many at a time, and remembers a bounded number of them."""

    def __init__(self) -> None:
        self._accounts: dict[str, KnownAccount | None] = {}
        self.units: frozenset[str] = _units()

    def get(self, number: str) -> KnownAccount | None:
        """Return an account that was learned before; None where there is none of that number."""
        return self._accounts.get(number)

    @cached_property
    def _with_children(self) -> bool:
        return child_usage_included()

    def learn(self, numbers: Iterable[str]) -> bool:
        """Look up the accounts not known yet, in a fixed number of queries; tell whether others were forgotten for it."""
        wanted = set(numbers)
        new = wanted - self._accounts.keys()
        forgets = bool(new) and len(self._accounts) + len(new) > MOST_ACCOUNTS
        if forgets:
            self._accounts.clear()
            new = wanted
        if not new:
            return forgets
        with connection.cursor() as cursor:
            cursor.execute(_ACCOUNTS, {"numbers": list(new)})
            rows = cursor.fetchall()
            parents: dict[int, int | None] = {row[1]: None for row in rows}
            if self._with_children and rows:
                cursor.execute(_PARENTS, {"accounts": list(parents)})
                parents = dict(cursor.fetchall())
            cursor.execute(_CHARGES, {"accounts": list(parents)})
            charges: dict[int, list[UsageCharge]] = defaultdict(list)
            for row in cursor.fetchall():
                charges[row[0]].append(_usage_charge(*row[1:]))
        self._accounts.update(dict.fromkeys(new))
        for number, pk, status, _ in rows:
            chain = tuple(tuple(charges[above]) for above in _upwards(pk, parents))
            self._accounts[number] = KnownAccount(pk, status == "Active", chain)
        return forgets


def _upwards(account_id: int, parents: dict[int, int | None]) -> Iterator[int]:
    found: int | None = account_id
    while found is not None:
        yield found
        found = parents.get(found)


def _units() -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM billing_unitofmeasure")
        return frozenset(name for (name,) in cursor.fetchall())


def match(
    account: KnownAccount, *, unit: str, day: date, subscription: str = "", charge: str = ""
) -> UsageCharge | Flaw:
    """Return the one charge that usage of a unit on a day belongs to, or what keeps it from being found."""
    if charge:
        return _named_charge(account, unit, day, subscription, charge)
    seen = False
    for level in account.charges:
        if subscription:
            known = [found for found in level if found.subscription == subscription]
            seen = seen or bool(known)
            level = tuple(known)
        candidates = [found for found in level if found.unit == unit and found.runs_on(day)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            return _ambiguous(candidates, unit, day)
    if subscription and not seen:
        message = f"The account has no subscription {subscription} with a usage charge."
        return Flaw("SUBSCRIPTION_ID", subscription, "unknown_subscription", message)
    return _no_charge(account, unit, day, subscription)


def is_sole(account: KnownAccount, charge: UsageCharge, *, unit: str, subscription: str, charge_number: str) -> bool:
    """Tell whether rows of this account can belong to no other charge, whatever their day is."""
    if charge_number:
        return True
    of_unit = [
        found
        for level in account.charges
        for found in level
        if found.unit == unit and (not subscription or found.subscription == subscription)
    ]
    return of_unit == [charge]


def _named_charge(account: KnownAccount, unit: str, day: date, subscription: str, charge: str) -> UsageCharge | Flaw:
    known = next((found for level in account.charges for found in level if found.number == charge), None)
    if known is None:
        message = f"The account has no usage charge {charge}."
        return Flaw("CHARGE_ID", charge, "unknown_charge", message)
    if subscription and known.subscription != subscription:
        message = f"Charge {charge} belongs to subscription {known.subscription}, not to {subscription}."
        return Flaw("CHARGE_ID", charge, "charge_of_other_subscription", message)
    if known.unit != unit:
        message = f"Charge {charge} counts {known.unit or 'no unit'}, not {unit}."
        return Flaw("UOM", unit, "unit_of_other_charge", message)
    if not known.runs_on(day):
        return Flaw("STARTDATE", day.isoformat(), "charge_not_running", f"Charge {charge} {_when(known, day)}.")
    return known


def _ambiguous(candidates: Sequence[UsageCharge], unit: str, day: date) -> Flaw:
    named = ", ".join(f"{found.number} ({found.name}, {found.subscription})" for found in candidates[:5])
    more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""
    message = f"{len(candidates)} charges count {unit} on {day}: {named}{more}. Give one of them as CHARGE_ID."
    return Flaw("CHARGE_ID", "", "several_charges", message)


def _no_charge(account: KnownAccount, unit: str, day: date, subscription: str) -> Flaw:
    of_unit = [found for level in account.charges for found in level if found.unit == unit]
    if subscription:
        of_unit = [found for found in of_unit if found.subscription == subscription]
    if len(of_unit) == 1:
        message = f"Charge {of_unit[0].number} {_when(of_unit[0], day)}."
        return Flaw("STARTDATE", day.isoformat(), "charge_not_running", message)
    if of_unit:
        named = ", ".join(found.number for found in of_unit[:5])
        return Flaw(
            "STARTDATE", day.isoformat(), "charge_not_running", f"No charge for {unit} runs on {day} ({named})."
        )
    where = f"Subscription {subscription}" if subscription else "The account"
    return Flaw("UOM", unit, "no_charge_for_unit", f"{where} has no usage charge that counts {unit}.")


def _when(charge: UsageCharge, day: date) -> str:
    if not charge.days:
        return "has not begun"
    first, last = charge.days[0][0], charge.days[-1][1]
    if day < first:
        return f"begins on {first}, after {day}"
    if day >= last:
        return f"ended on {last}, before usage of {day}"
    return f"is suspended on {day}"


def _usage_charge(
    charge_id: int,
    number: str,
    name: str,
    unit: str,
    subscription: str,
    status: str,
    trigger_date: date | None,
    contract_effective: date,
    billing_day: int,
    words: str,
    by_day: bool,
    segments: Sequence[Sequence[date]],
    terms: Sequence[Sequence[date]],
) -> UsageCharge:
    began = trigger_date is not None and status not in ("Draft", "PendingActivation", "PendingAcceptance")
    days = tuple((start, end) for start, end in segments) if began else ()
    cycle = None
    if trigger_date is not None:
        cycle = _cycle(charge_id, trigger_date, contract_effective, billing_day, words, terms)
    return UsageCharge(charge_id, number, name, unit, subscription, days, cycle, by_day)


def _cycle(
    charge_id: int, trigger_date: date, start: date, billing_day: int, words: str, terms: Sequence[Sequence[date]]
) -> Cycle | None:
    """Return where the charge's periods begin; None where its settings do not say, which pricing will complain about."""
    alignment, day_type, length, day, *period = words.split(" ")
    charge_terms = ChargeTerms(
        ChargeType.USAGE,
        ChargeModel.PER_UNIT,
        BillingTiming.IN_ARREARS,
        BillingPeriod(period[0]) if period else None,
        ListPriceBase.PER_BILLING_PERIOD,
        BillingDayType(day_type),
        Alignment(alignment),
        int(length),
        0,
        int(day),
    )
    known = tuple(Term(begin, None if end == date(9999, 12, 31) else end) for begin, end in terms)
    charge = Charge(
        charge_id,
        "",
        "",
        0,
        start,
        invoice_separately=False,
        trigger_date=trigger_date,
        billed_through=None,
        terms=charge_terms,
        segments=(),
        subscription_terms=known,
    )
    account = Account(0, "", Currency("", 2), billing_day, None, None, None, None)
    try:
        return cycle_of(account, charge, trigger_date)
    except UnpriceableError:
        return None
