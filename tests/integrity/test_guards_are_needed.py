"""Each attack succeeds once its guard is dropped, so it really tests that guard; and no guard is without an attack."""

import pytest

from tests.integrity.attacks import ATTACKS
from tests.integrity.guards import attempt, installed_guards, parameters, refused_by

BY_NAME = parameters(ATTACKS)


@pytest.mark.parametrize("attack", BY_NAME)
def test_without_the_guard_the_attack_succeeds(owner_world, attack):
    guards = installed_guards(owner_world)
    with owner_world.transaction(force_rollback=True):
        for name in attack.backed_by:
            owner_world.execute(guards[name].drop)
        # Alone, the guard is enough …
        error = attempt(owner_world, attack)
        assert error is not None, "accepted although the guard is there"
        if attack.state is not None:
            assert (error.sqlstate, refused_by(error)) == (attack.state, attack.guard), str(error)
        # … and without it nothing else stops the attack.
        owner_world.execute(guards[attack.guard].drop)
        error = attempt(owner_world, attack)
        assert error is None, (
            f"still refused by {refused_by(error)}: the attack does not show that {attack.guard} works"
        )
    if attack.backed_by:
        with owner_world.transaction(force_rollback=True):
            owner_world.execute(guards[attack.guard].drop)
            error = attempt(owner_world, attack)
            assert error is not None, "backed_by names guards that are not needed"
            assert refused_by(error) in attack.backed_by


def test_every_guard_has_an_attack(owner_world):
    installed, attacked = set(installed_guards(owner_world)), {attack.guard for attack in ATTACKS}
    assert installed - attacked == set(), "guards without an attack in tests/integrity/attacks.py"
    assert attacked - installed == set(), "attacks on guards that do not exist (any more)"


def test_a_new_guard_without_an_attack_is_noticed(owner_world):
    attacked = {attack.guard for attack in ATTACKS}
    with owner_world.transaction(force_rollback=True):
        owner_world.execute("ALTER TABLE invoicing_invoice ADD CONSTRAINT i99_new CHECK (net < 1e12)")
        owner_world.execute("CREATE UNIQUE INDEX i98_new ON invoicing_invoice (reference)")
        assert set(installed_guards(owner_world)) - attacked == {"i99_new", "i98_new"}
