"""What bill runs will bill of a subscription on the days ahead: their own steps, carried on from run to run in memory.

    load once → on each day on which something falls due: renew → price → discount → go on as if it were billed

Nothing is written, and nothing is guessed: bill runs on those very days bill these very lines, unless something is
ordered or changed before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from billing.core.pricing import MAX_LINES_PER_CHARGE, price
from billing.core.types import (
    Account,
    Billed,
    Charge,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    Line,
    LineKind,
    Period,
    Pricing,
    Problem,
    Rules,
    Term,
)
from billing.models import Subscription, SubscriptionTerm
from billing.services.renewals import RENEWABLE
from billing.services.subscription_terms import next_term_end
from invoicing.bill_run.discount_loading import BilledItem, Derivation, Discounts
from invoicing.bill_run.discounting import discounted
from invoicing.bill_run.load import load_accounts

MONTHS = 12
# The farther a look ahead, the more periods it prices; most subscriptions have something due within a month.
LOOK_AHEAD = (1, 3, 6, MONTHS)
_ONE_DAY = timedelta(days=1)
# A look ahead counts no periods: only a run that is due now can be owed too many of them.
_MANY_LINES = 10_000

_Place = tuple[int, Period, LineKind]


class DayAhead(NamedTuple):
    """A day on which a bill run finds something due, and all it bills of the subscription then."""

    day: date
    lines: list[Line]

    @property
    def total(self) -> Decimal:
        return sum((line.amount for line in self.lines), Decimal(0))


class Forecast(NamedTuple):
    """The days ahead, in order; `problem` is what keeps the run after the last of them from billing the account.

    `until` is the last day that was looked at. `left_out` names the fixed discounts of the account, which other
    subscriptions use up as well, so that nobody can say what is left for this one; `has_usage` tells that there are
    charges for what is used.
    """

    days: list[DayAhead]
    until: date
    problem: Problem | None = None
    left_out: tuple[str, ...] = ()
    has_usage: bool = False


def forecast(subscription: Subscription, *, rules: Rules, today: date, lines: int) -> Forecast:
    """Return the days from `today` on on which the subscription is billed, over a year or until `lines` are found."""
    until = today + relativedelta(months=MONTHS)
    loaded = load_accounts(
        [subscription.invoice_owner_id], target_date=until, rules=rules, subscription_id=subscription.pk
    )
    if not loaded:
        return Forecast([], until)
    account, _, charges, discounts, _ = loaded[0]
    shared = _shared_discounts(subscription, charges, discounts)
    without = {charge.charge_id for charge in shared}
    kept = [charge for charge in charges if charge.charge_id not in without]
    ahead = _Ahead(account, kept, discounts, rules, subscription)
    days: list[DayAhead] = []
    problem = None
    day: date | None = today
    while day is not None:
        found, problems, _ = ahead.run(day)
        if problems:
            problem = problems[0]
            break
        if found:
            days.append(DayAhead(day, found))
            if sum(len(each.lines) for each in days) >= lines:
                break
            ahead.go_on(found)
        day = ahead.next_day(day, until)
    has_usage = any(charge.terms.charge_type is ChargeType.USAGE for charge in kept)
    return Forecast(days, until, problem, tuple(charge.name for charge in shared), has_usage)


def _shared_discounts(subscription: Subscription, charges: Sequence[Charge], known: Discounts) -> list[Charge]:
    """Return the account's fixed discounts, unless nothing else can use them up."""
    found = [
        charge
        for charge in charges
        if charge.terms.charge_model is ChargeModel.DISCOUNT_FIXED
        and known.terms[charge.charge_id].level is DiscountLevel.ACCOUNT
    ]
    if not found:
        return []
    others = Subscription.objects.filter(invoice_owner=subscription.invoice_owner_id).exclude(pk=subscription.pk)
    return found if others.exists() else []


class _Ahead:
    """An account's charges as they will be, run after run."""

    def __init__(
        self,
        account: Account,
        charges: Sequence[Charge],
        discounts: Discounts,
        rules: Rules,
        subscription: Subscription,
    ) -> None:
        self.account, self.rules, self.subscription = account, rules, subscription
        self.charges, self.discounts = list(charges), discounts
        self._first_term: SubscriptionTerm | None = None
        self._items = 0

    def run(self, day: date) -> Pricing:
        """Return what a bill run with this target date bills, after renewing what it would renew."""
        self.charges = self._renewed(day)
        return self._price(self.charges, day, MAX_LINES_PER_CHARGE)

    def next_day(self, after: date, until: date) -> date | None:
        """Return the first day after one on which something is due, none being due on that; None if not by `until`."""
        for months in LOOK_AHEAD:
            target = min(after + relativedelta(months=months), until)
            if target > after and self._finds(target):
                # What is due on a day is due on all later ones.
                low, high = after, target
                while high - low > _ONE_DAY:
                    middle = low + (high - low) // 2
                    low, high = (low, middle) if self._finds(middle) else (middle, high)
                return high
        return None

    def go_on(self, lines: Sequence[Line]) -> None:
        """Let everything be as it is once these lines are billed."""
        new: dict[_Place, int] = {}
        by_charge: dict[int, list[Line]] = {}
        for line in lines:
            by_charge.setdefault(line.charge_id, []).append(line)
            if line.kind in (LineKind.RECURRING, LineKind.ONE_TIME):
                self._items -= 1  # items that are not written yet have numbers of their own
                new[line.charge_id, line.period, line.kind] = self._items
        self._note_discounts(lines, new)
        self.charges = [
            _billed(charge, by_charge[charge.charge_id], new) if charge.charge_id in by_charge else charge
            for charge in self.charges
        ]

    def _price(self, charges: Sequence[Charge], target: date, limit: int) -> Pricing:
        account, rules = self.account, self.rules
        priced = price(account, charges, rules=rules, target_date=target, max_lines_per_charge=limit)
        if priced.problems or not self.discounts.terms:
            return priced
        return discounted(account, charges, priced.lines, self.discounts, rules=rules, target_date=target)

    def _finds(self, target: date) -> bool:
        found, problems, _ = self._price(self._renewed(target), target, _MANY_LINES)
        return bool(found or problems)

    def _renewed(self, target: date) -> list[Charge]:
        """Return the charges with the terms that a run with this target date has renewed before."""
        row = self.subscription
        if not row.auto_renew or row.status not in RENEWABLE:
            return self.charges
        return [
            self._renewed_charge(charge, target) if charge.subscription_id == row.pk else charge
            for charge in self.charges
        ]

    def _renewed_charge(self, charge: Charge, target: date) -> Charge:
        end, added = charge.term_end, list(charge.subscription_terms)
        while end is not None and end <= target:
            following = next_term_end(self._first(), end, self.subscription.renewal_months)
            if following is None:
                break
            added.append(Term(end, following))
            end = following
        return charge._replace(term_end=end, subscription_terms=tuple(added) if charge.subscription_terms else ())

    def _first(self) -> SubscriptionTerm:
        """Return the first term, which says how long renewals are and on which day of the month terms begin."""
        if self._first_term is None:
            row = self.subscription
            of_row = (charge.subscription_terms for charge in self.charges if charge.subscription_id == row.pk)
            loaded = next((terms[0] for terms in of_row if terms), None)
            known = Term(row.term_start, row.term_end) if loaded is None else loaded
            written = None if loaded else row.terms.order_by("number").first()
            self._first_term = written or SubscriptionTerm(number=1, start=known.start, end=known.end)
        return self._first_term

    def _note_discounts(self, lines: Sequence[Line], new: Mapping[_Place, int]) -> None:
        """Remember what discounts have taken off and given back, as the items of an invoice would."""
        if not self.discounts.terms:
            return
        places = {(line.charge_id, line.period, line.kind): line for line in lines if line.reduces is None}
        credited = {place: line.credits_item for place, line in places.items() if line.kind is LineKind.CREDIT}
        taken = {item: dict(by_charge) for item, by_charge in self.discounts.taken.items()}
        written = dict(self.discounts.lines)
        for line in lines:
            if line.reduces is None:
                continue
            item = line.credits_item or credited.get(line.reduces) or new[line.reduces]
            derivation: Derivation = json.loads(line.derivation)
            of_item = taken.setdefault(item, {})
            of_item[line.charge_id] = [*of_item.get(line.charge_id, ()), derivation]
            written[line.charge_id] = [*written.get(line.charge_id, ()), derivation]
        names = {charge.charge_id: charge.name for charge in self.charges}
        items = list(self.discounts.items.get(self.account.account_id, ()))
        items += [_item(new[place], line, names[line.charge_id]) for place, line in places.items() if place in new]
        by_account = {self.account.account_id: _after_credits(items, lines)}
        self.discounts = self.discounts._replace(items=by_account, taken=taken, lines=written)


def _item(item_id: int, line: Line, name: str) -> BilledItem:
    """Return a line as the item it becomes."""
    return BilledItem(
        item_id,
        line.charge_id,
        line.charge_number,
        name,
        line.subscription_id,
        line.rate_plan_id,
        line.invoice_separately,
        line.kind,
        line.amount,
        line.period,
        line.amount,
    )


def _after_credits(items: Iterable[BilledItem], lines: Iterable[Line]) -> list[BilledItem]:
    """Return the items that still cover days once these lines are billed, with what they still bill."""
    credits_of: dict[int | None, list[Line]] = {}
    for line in lines:
        if line.kind is LineKind.CREDIT:
            credits_of.setdefault(line.credits_item, []).append(line)
    found = []
    for item in items:
        given_back = credits_of.get(item.item_id, ())
        end = min((line.period.start for line in given_back), default=item.period.end)
        if item.period.start < end:
            amount = item.amount + sum((line.amount for line in given_back), Decimal(0))
            found.append(item._replace(period=Period(item.period.start, end), amount=amount))
    return found


def _billed(charge: Charge, lines: Sequence[Line], new: Mapping[_Place, int]) -> Charge:
    """Return a charge as it is once its lines are billed: what was credited is given back, and the new days covered."""
    credited = {line.credits_item for line in lines if line.kind is LineKind.CREDIT}
    given_back = [line.period.start for line in lines if line.kind is LineKind.CREDIT]
    written = [line for line in lines if (line.charge_id, line.period, line.kind) in new]
    billed = [each for each in charge.billed if each.item_id not in credited]
    for line in written:
        segment = next(each for each in charge.segments if each.number == line.segment_number)
        ends = [end for end in (segment.end, charge.term_end) if end is not None]
        if ends and line.period.end > min(ends):
            item = new[line.charge_id, line.period, line.kind]
            billed.append(Billed(item, line.segment_number, line.period, line.period, line.amount, line.kind))
    through = max((line.period.end for line in written), default=min(given_back, default=charge.billed_through))
    return charge._replace(billed_through=through, billed=tuple(billed))
