"""After any amendment, what is billed and credited together is what should have been billed, to the cent (domain.md 3.2).

billed       |=========== item ===========|
ended at c   |======= kept =======|
credit                            |-------|   = −(billed − what the kept days cost today)
change                            |=======|   the next price takes the days that were given back
"""

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.derivation import amount_of
from billing.core.types import DaysInMonth, Line, LineKind, Period, Rules
from tests.billing.core.ledger import Item
from tests.billing.core.lives import Life, ended, random_amendment
from tests.billing.core.oracle import Owed, owed
from tests.billing.core.random_charges import random_account, random_charge, random_rules
from tests.billing.core.test_oracle_recurring import check_working, short

SEEDS = st.integers(0, 2**40)


def random_life(source: Random, rules: Rules) -> Life:
    """Return a recurring charge that has one price and no end yet."""
    charge = random_charge(source, one_time=False)
    return Life(random_account(source), rules, charge._replace(segments=(charge.segments[0]._replace(end=None),)))


def live(source: Random, life: Life, *, runs: int, back: int) -> date:
    """Amend and bill in turn; every run equals the oracle. Return the last target date, by which all is settled."""
    target = life.charge.segments[0].start
    for _ in range(runs):
        target += timedelta(days=source.choice((0, 1, 5, 20, 31, 60, 200)))
        if life.charge.auto_renew:
            life.renew(target)
        if source.random() < 0.7:
            life.amend(random_amendment(source, life.charge.segments, target, back=back))
        check_run(life, target)
    known = [each for segment in life.charge.segments for each in (segment.start, segment.end) if each]
    target = max([target, *known])
    check_run(life, target)
    return target


def check_run(life: Life, target: date) -> None:
    """Run once: the lines are those of the oracle and re-add; a second run on the same day finds nothing."""
    expected = owed(life.account, life.charge, life.rules, target)
    lines = life.run(target)
    assert [short(line) for line in lines] == expected
    check_working(life.account, life.charge, lines)
    for line in lines:
        if line.credits_item:
            check_name(life.ledger.items[line.credits_item - 1], line)
    assert life.lines_due(target) == []


def check_name(item: Item, credit: Line) -> None:
    """A credit says whether its item was given back in whole or in part; one of nothing does not speak of a part."""
    name = item.line.description.removesuffix(" – Proration")
    if item.covered is None:
        assert credit.description == f"{name} – Credit"
    elif credit.amount:
        assert credit.description == f"{name} – Proration Credit"


def joined(periods: Sequence[Period | Owed]) -> list[tuple[date, date]]:
    """Return the days of the periods as few stretches as there can be."""
    found: list[tuple[date, date]] = []
    for start, end in sorted((each.start, each.end) for each in periods):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=2_500, deadline=None)
def test_every_run_after_amendments_equals_the_oracle(seed: int) -> None:
    """Any rules; in the end the days covered are those that a single run would have covered."""
    source = Random(seed)
    life = random_life(source, random_rules(source))
    target = live(source, life, runs=4, back=120)
    afresh = owed(life.account, life.afresh(), life.rules, target)
    assert joined(life.ledger.covered()) == joined(afresh)


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=2_500, deadline=None)
def test_billed_and_credited_add_up_to_what_was_due_all_along(seed: int) -> None:
    """Where every partial period is prorated, the book holds to the cent what one run with hindsight would bill."""
    source = Random(seed)
    life = random_life(source, random_rules(source, plain=True))
    # A renewal continues a period that was cut at the end of the term, as a line of its own.
    life.charge = life.charge._replace(auto_renew=False)
    target = live(source, life, runs=4, back=120)
    assert life.booked() == sorted(owed(life.account, life.afresh(), life.rules, target))


@pytest.mark.parametrize("days_in_month", DaysInMonth)
@given(seed=SEEDS)
@settings(max_examples=400, deadline=None)
def test_a_credit_is_never_above_zero_nor_more_than_was_billed(days_in_month: DaysInMonth, seed: int) -> None:
    """Any rules, also ones that change between the runs; the terms are renewed and the billing day moves."""
    source = Random(seed)
    life = random_life(source, random_rules(source))
    target = life.charge.segments[0].start
    for _ in range(4):
        target += timedelta(days=source.choice((0, 1, 5, 20, 31, 60, 200)))
        if life.charge.auto_renew:
            life.renew(target)
        if source.random() < 0.3:
            life.account = life.account._replace(bill_cycle_day=source.randint(1, 31))
        life.amend(random_amendment(source, life.charge.segments, target, back=120))
        life.rules = random_rules(source)._replace(days_in_month=days_in_month)
        left = [item.left for item in life.ledger.items]
        for line in life.lines_due(target):
            assert amount_of(line.derivation, life.account.currency) == line.amount
            if line.credits_item:
                assert -left[line.credits_item - 1] <= line.amount <= 0
        life.run(target)


@given(SEEDS)
@settings(max_examples=2_000, deadline=None)
def test_a_one_time_charge_is_credited_whole_where_the_rules_say_so(seed: int) -> None:
    """Only when the charge is removed by its trigger day; otherwise it stays billed, whatever becomes of it."""
    source = Random(seed)
    charge = random_charge(source, one_time=True)
    segments = (charge.segments[0]._replace(end=None),)
    life = Life(random_account(source), random_rules(source), charge._replace(segments=segments))
    trigger = segments[0].start
    (line,) = life.run(trigger)
    removed = trigger + timedelta(days=source.choice((0, 0, 1, 30)))
    life.amend(ended(segments, removed))
    lines = life.run(removed + timedelta(days=source.randrange(40)))
    if removed == trigger and life.rules.credit_one_time:
        (credit,) = lines
        assert (credit.kind, credit.amount, credit.period) == (LineKind.CREDIT, -line.amount, line.period)
        assert amount_of(credit.derivation, life.account.currency) == credit.amount
        assert life.ledger.total() == 0
    else:
        assert lines == []
    assert life.lines_due(removed + timedelta(days=400)) == []
