"""Every guard refuses its attack as the application's role, which can neither switch guards off nor go round them."""

import psycopg
import pytest

from tests.integrity.attacks import ATTACKS, cancel, discount
from tests.integrity.guards import attempt, installed_guards, parameters, refused_by
from tests.integrity.usage_attacks import GIVE_BACK, RATE_MARCH
from tests.integrity.world import post

BY_NAME = parameters(ATTACKS)


@pytest.mark.parametrize("attack", [param for param in BY_NAME if not param.values[0].as_owner])
def test_the_application_is_refused(app_world, attack):
    error = attempt(app_world, attack)
    assert error is not None, "accepted"
    if attack.state is None:
        assert str(error) == "corrected"
        return
    assert refused_by(error) in {attack.guard, *attack.backed_by}, str(error)
    if not error.diag.constraint_name and error.diag.message_primary:
        # People read what a trigger says: a whole sentence with all its values filled in.
        assert error.diag.message_primary[0].isupper() or error.sqlstate == "22008"
        assert "%" not in error.diag.message_primary


@pytest.mark.parametrize("attack", [param for param in BY_NAME if param.values[0].as_owner])
def test_the_application_may_not_even_try(app_world, attack):
    error = attempt(app_world, attack)
    assert error is not None
    assert error.sqlstate == "42501"


@pytest.mark.parametrize(
    "honest",
    [
        pytest.param(post(1002, 2), id="posting a draft"),
        pytest.param("UPDATE invoicing_invoice SET status = 'Canceled', canceled_at = now() WHERE id = 1002; DELETE FROM invoicing_coverage WHERE item_id IN (1002, 1004)", id="canceling a draft"),
        pytest.param("DELETE FROM invoicing_invoiceitem WHERE id = 1003; DELETE FROM invoicing_invoice WHERE id = 1003", id="deleting a canceled draft"),
        pytest.param("INSERT INTO invoicing_coverage (charge_id, kind, period) VALUES (1001, 'Period', '[2026-03-01,2026-04-01)'), (1001, 'Period', '[2026-04-01,2026-05-01)')", id="covering the next days"),
        pytest.param("INSERT INTO invoicing_coverage (charge_id, kind, period) VALUES (1001, 'Period', '[2025-12-01,2026-01-01)')", id="covering the days before"),
        pytest.param("INSERT INTO billing_chargesegment (charge_id, number, effective_start, quantity, price, mrr) VALUES (1001, 2, '2027-01-01', 1, 5, 0)", id="a price from the day the last one ends"),
        pytest.param("UPDATE accounts_account SET parent_id = NULL WHERE id = 1002", id="leaving a parent"),
        pytest.param("UPDATE accounts_apitoken SET requests = requests + 1, last_used_at = now() WHERE id = 1001; UPDATE accounts_apitoken SET revoked_at = now() WHERE id = 1001", id="using and revoking a token"),
        pytest.param(GIVE_BACK, id="canceling a draft that bills usage"),
        pytest.param(post(1005, 2), id="posting a draft that bills usage"),
        pytest.param(RATE_MARCH, id="rating the next days"),
        pytest.param("UPDATE usage_usagerecord SET quantity = 4, start_date = '2026-03-09' WHERE id = 1002", id="correcting pending usage"),
        pytest.param("DELETE FROM usage_usagerecord WHERE id = 1002", id="deleting pending usage"),
        pytest.param(discount(1002, "-100") + discount(1002, "30", row=1903), id="taking all of a line off and giving part of it back"),
        pytest.param(discount(1001, "-10", invoice=1002) + discount(1001, "10", row=1903) + cancel(1004), id="canceling the latest change of a discount"),
    ],
)  # fmt: skip
def test_what_is_right_is_accepted(app_world, honest):
    with app_world.transaction(force_rollback=True):
        app_world.execute(honest)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE invoicing_invoice CASCADE",
        "ALTER TABLE invoicing_invoice DISABLE TRIGGER ALL",
        "ALTER TABLE invoicing_coverage DROP CONSTRAINT i1_no_overlap",
        "DROP INDEX i10_number_once",
        "SET session_replication_role = replica",
        "DROP FUNCTION {function} CASCADE",
        "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "DROP TRIGGER {trigger} ON invoicing_invoice",
        "ALTER TABLE invoicing_invoice OWNER TO CURRENT_USER",
        "CREATE RULE no_guard AS ON UPDATE TO invoicing_invoice DO INSTEAD NOTHING",
        "UPDATE pg_constraint SET convalidated = false",
        "LOCK TABLE pg_trigger",
    ],
)
def test_the_application_cannot_switch_guards_off(app_world, statement):
    names = installed_guards(app_world)["i3_invoice_frozen"].drop.split()
    filled = statement.format(trigger=names[2], function=f"{names[2]}()")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), app_world.transaction(force_rollback=True):
        app_world.execute(filled)
