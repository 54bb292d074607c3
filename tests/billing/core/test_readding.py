"""The derivation of 10,000 random lines, of every kind there is, adds up to the amount of its line (D15).

The lines come from lives full of amendments, under any rules: full periods, parts of periods, periods left unbilled,
one-time charges, credits in whole and in part.
"""

import json
from collections import Counter
from decimal import Decimal
from random import Random

import pytest

from billing.core.derivation import amount_of
from billing.core.types import ChargeModel, Currency, Line, LineKind
from tests.billing.core.lives import Life, random_amendment
from tests.billing.core.random_charges import random_account, random_charge, random_rules

LINES = 10_000


def lines_of_one_life(seed: int) -> tuple[list[Line], Currency]:
    """Return what a charge was billed and credited in some years, and the currency of its account."""
    source = Random(seed)
    life = Life(random_account(source), random_rules(source), random_charge(source))
    lines = []
    target = life.charge.segments[0].start
    for _ in range(6):
        target += (target.replace(year=target.year + 1, day=1) - target) * source.random()
        life.amend(random_amendment(source, life.charge.segments, target, back=90))
        lines += life.run(target)
    return lines, life.account.currency


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Line, Currency]]:
    found: list[tuple[Line, Currency]] = []
    seed = 0
    while len(found) < LINES:
        lines, currency = lines_of_one_life(seed)
        # A few from each life, so that no weekly charge fills the sample.
        found += [(line, currency) for line in lines[-12:]]
        seed += 1
    return found


def test_derivations_of_all_lines_add_up_to_their_amounts(drawn: list[tuple[Line, Currency]]) -> None:
    wrong = [line for line, currency in drawn if amount_of(line.derivation, currency) != line.amount]
    assert wrong == []


def test_the_lines_are_of_every_kind(drawn: list[tuple[Line, Currency]]) -> None:
    """Otherwise the test above would prove less than it says."""
    kinds = Counter(line.kind for line, _ in drawn)
    assert min(kinds[kind] for kind in (LineKind.RECURRING, LineKind.ONE_TIME, LineKind.CREDIT)) >= 30
    derivations = [json.loads(line.derivation) for line, _ in drawn]
    members = Counter(member for values in derivations for member in values)
    assert min(members[name] for name in ("p", "q", "t", "n", "f", "u", "part", "of", "day", "credit")) >= 50, members
    models = Counter(values["m"] for values in derivations if "m" in values)
    assert all(
        models[model] >= 500
        for model in (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT, ChargeModel.TIERED, ChargeModel.VOLUME)
    )
    assert sum("kept" in values.get("credit", {}) for values in derivations) >= 50


def test_a_changed_number_no_longer_adds_up(drawn: list[tuple[Line, Currency]]) -> None:
    """A derivation holds what the amount came from and nothing that plays no part: other numbers, another amount."""
    checked = 0
    for line, currency in drawn[:3000]:
        values = json.loads(line.derivation)
        if "p" not in values or abs(line.amount) < 10 or "of" in values:
            continue
        values["p"] = str(Decimal(values["p"]) * 2)
        assert amount_of(values, currency) != line.amount
        checked += 1
    assert checked >= 500
