"""Ten years of 2,000 subscriptions: no day is billed twice or forgotten, and the money is the oracle's to the cent.

Runs come daily or with days left out; prices change, service is suspended, resumed and cancelled, terms are renewed.
Start days gather at the ends of months and on 29 February.

    runs        | || |    |||      |  |         ||        |
    amendments      ^            ^         ^                    some take effect before the last run, some after the next
    the book    |====|=====|=====|===|     |====|=====|===|     as one run with hindsight would have billed
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from random import Random

import pytest

from billing.core.types import Alignment, BillingDayType, BillingPeriod, Charge, Line, PartialMonths, Period
from tests.billing.core.ledger import Item
from tests.billing.core.lives import Life, random_amendment
from tests.billing.core.oracle import owed
from tests.billing.core.random_charges import BY_DAYS, add_months, random_account, random_charge, random_rules

SUBSCRIPTIONS = 2000
SHARES = 8
YEARS = 10

pytestmark = pytest.mark.slow


def random_life(source: Random) -> Life:
    """Return a charge in its first days, under rules that make the price of a day independent of what follows it.

    (Where a partial period is billed in full, the days of its first price cost less once a second one shares it.)
    """
    rules = random_rules(source, plain=source.random() < 0.5)
    rules = rules._replace(prorate_partial_periods=True)
    if rules.partial_months is PartialMonths.BILL_FULL:
        rules = rules._replace(partial_months=PartialMonths.PRORATE)
    charge = random_charge(source, one_time=False)._replace(auto_renew=False)
    if source.random() < 0.5 and charge.terms.billing_period not in BY_DAYS:
        charge = renewing_yearly(source, charge)
    segments = (charge.segments[0]._replace(end=None),)
    return Life(random_account(source), rules, charge._replace(segments=segments))


def renewing_yearly(source: Random, charge: Charge) -> Charge:
    """Return the charge in a subscription that renews itself, billed on the day its terms begin on."""
    start = charge.subscription_start.replace(day=min(charge.subscription_start.day, 28))
    terms = charge.terms._replace(
        billing_period=source.choice((BillingPeriod.MONTH, BillingPeriod.QUARTER, BillingPeriod.ANNUAL)),
        billing_day_type=BillingDayType.SUBSCRIPTION_START_DAY,
        alignment=Alignment.SUBSCRIPTION_START,
        period_length=0,
    )
    return charge._replace(
        terms=terms, subscription_start=start, subscription_terms=(), term_end=add_months(start, 12), auto_renew=True
    )


def random_targets(source: Random, start: date) -> Iterator[date]:
    """Yield the target dates of ten years: every day for some, otherwise with days and months left out."""
    last = date(start.year + YEARS, 12, 31)
    longest = source.choice((1, 20, 20, 45, 45, 100, 100, 100))
    target = start - timedelta(days=3)
    while target < last:
        yield target
        target += timedelta(days=source.randint(1, longest))
    yield last


def live(source: Random, life: Life) -> None:
    """Let ten years pass."""
    amendments = sorted(source.randrange(3650) for _ in range(source.randrange(10)))
    first = life.charge.segments[0].start
    back = source.choice((0, 0, 40))
    due = [first + timedelta(days=wait) for wait in amendments]
    for target in random_targets(source, first):
        if life.charge.auto_renew:
            life.renew(target)
        while due and due[0] <= target:
            due.pop(0)
            life.amend(random_amendment(source, life.charge.segments, target, back=back))
        life.run(target)


def settle(life: Life, start: date) -> date:
    """Bill once more after all that is known has taken effect; return that day."""
    known = [each for segment in life.charge.segments for each in (segment.start, segment.end) if each]
    target = max([date(start.year + YEARS, 12, 31), *known])
    if life.charge.auto_renew:
        life.renew(target)
    life.run(target)
    return target


@pytest.mark.parametrize("share", range(SHARES))
def test_ten_years_leave_no_gap_no_overlap_and_no_cent(share: int) -> None:
    for seed in range(share, SUBSCRIPTIONS, SHARES):
        source = Random(seed)
        life = random_life(source)
        start = life.charge.segments[0].start
        live(source, life)
        target = settle(life, start)
        expected = sorted(owed(life.account, life.afresh(), life.rules, target))
        # The book itself refuses a day that is billed twice; equal periods leave no gap either.
        assert life.booked() == expected, f"subscription {seed}"
        assert gaps(life, target) == [], f"subscription {seed}"


def gaps(life: Life, target: date) -> list[Period]:
    """Return the days between the first and the last day covered that are served, but by no item."""
    covered = life.ledger.covered()
    found = []
    for before, after in pairwise(covered):
        day = before.end
        while day < after.start:
            if any(each.start <= day and (each.end is None or day < each.end) for each in life.charge.segments):
                found.append(Period(day, day + timedelta(days=1)))
            day += timedelta(days=1)
    return found


def content(items: list[Item]) -> list[Line]:
    return [item.line for item in items]


@pytest.mark.parametrize("share", range(2))
def test_daily_runs_bill_what_one_run_at_the_end_bills(share: int) -> None:
    """Where no amendment is back-dated, each line is the same to the last letter of its derivation (I8)."""
    for seed in range(share, 120, 2):
        source = Random(seed)
        daily = random_life(source)
        # Billing past the end of a term is taken back once the term has ended: that alone depends on when a run is.
        daily.rules = random_rules(source)._replace(bill_past_term_end=False)
        daily.charge = daily.charge._replace(auto_renew=False)
        segments = daily.charge.segments
        first = segments[0].start
        for wait in sorted(source.randrange(700) for _ in range(source.randrange(5))):
            segments = tuple(random_amendment(source, segments, first + timedelta(days=wait), back=0))
        daily.amend(segments)
        once = Life(daily.account, daily.rules, daily.charge)
        for wait in range(900):
            daily.run(first + timedelta(days=wait))
        once.run(first + timedelta(days=899))
        assert content(daily.ledger.items) == content(once.ledger.items), f"subscription {seed}"
