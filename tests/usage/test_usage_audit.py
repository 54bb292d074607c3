"""Each check of the audit of usage is shown a planted violation, and nothing else when all is well (I5)."""

from collections.abc import Iterator

import psycopg
import pytest

from invoicing.bill_run.verify import audit
from invoicing.models import BillRun
from tests.factories import bill
from tests.usage.consumption import consume, sold

pytestmark = pytest.mark.django_db(transaction=True)

_MARCH = "period @> '2026-03-01'::date"
# What no guard would let pass, planted with the guards at rest.
PLANTED = {
    "i5_rated_overlap": f"UPDATE usage_ratedusage SET period = daterange(lower(period) - 1, upper(period)) WHERE {_MARCH}",
    "i5_rated_hole": f"UPDATE usage_ratedusage SET period = daterange(lower(period) + 1, upper(period)) WHERE {_MARCH}",
    "i5_slice_sum": "UPDATE usage_usagerecord SET quantity = quantity + 0.001 WHERE start_date = '2026-01-05'",
    "i5_slice_outside": "UPDATE usage_usageslice SET charge_id = (SELECT max(id) FROM billing_rateplancharge) WHERE first_day = '2026-01-05'",
    "i5_usage_not_billed": "DELETE FROM invoicing_invoiceitem WHERE period @> '2026-01-05'::date AND kind = 'Usage'",
    "i5_usage_line": "UPDATE invoicing_invoiceitem SET period = daterange(lower(period), upper(period) - 1) WHERE period @> '2026-01-05'::date",
}
# Other ways to the same; the second word says which.
MORE = {
    "i5_slice_sum day": "UPDATE usage_usagerecord SET start_date = start_date + 1 WHERE start_date = '2026-01-05'",
    "i5_slice_sum gone": "DELETE FROM usage_usagerecord WHERE start_date = '2026-01-05'",
    "i5_slice_outside days": "UPDATE usage_ratedusage SET counted_from = '2026-01-06' WHERE counted_from = '2026-01-01'",
    "i5_slice_outside later": "UPDATE usage_usageslice SET rated_id = (SELECT min(id) FROM usage_ratedusage) WHERE first_day = '2026-03-05'",
    "i5_usage_not_billed canceled": "UPDATE invoicing_invoice SET status = 'Canceled' WHERE bill_run_id = {first}",
    "i5_usage_not_billed joined": "UPDATE usage_usageslice SET rated_id = (SELECT id FROM usage_ratedusage WHERE period @> '2026-02-05'::date) WHERE first_day = '2026-02-06'",
    "i5_usage_line amount": "UPDATE invoicing_invoiceitem SET amount = amount + 1 WHERE period @> '2026-01-05'::date",
    "i5_usage_line charge": "UPDATE invoicing_invoiceitem SET charge_id = (SELECT max(id) FROM billing_rateplancharge) WHERE period @> '2026-01-05'::date",
    "i5_usage_line released": "UPDATE usage_ratedusage SET is_live = false WHERE period @> '2026-01-05'::date",
    "i5_usage_line nothing": "UPDATE invoicing_invoiceitem SET rated_usage_id = NULL WHERE period @> '2026-01-05'::date",
}
# Planting the one cannot but make these true as well.
ALSO = {
    "i5_rated_overlap": {"i5_usage_line"},
    "i5_rated_hole": {"i5_usage_line"},
    "i5_usage_not_billed": {"i4_sum"},
    "i5_usage_line amount": {"i4_sum"},
    "i5_usage_line charge": {"i21_line_of_another_account"},
    "i5_usage_line nothing": {"i5_usage_not_billed"},
    "i5_usage_line released": {"i5_slice_outside"},
    "i5_slice_outside days": set(),
}


@pytest.fixture
def story() -> dict[str, int]:
    """January and March have usage, February has none; late usage of February is Pending. Another customer has a charge."""
    charge = sold()
    consume(charge, ("2026-01-05", "10"), ("2026-01-06", "1"), ("2026-03-05", "7"))
    first, last = bill("2026-02-01"), bill("2026-04-01")
    consume(charge, ("2026-02-06", "4"))
    sold(start="2027-01-01", account=charge.subscription.account)
    return {"first": first.pk, "last": last.pk}


@pytest.fixture
def unguarded(superuser_connection) -> Iterator[psycopg.Connection]:
    """A superuser's connection for which triggers rest and constraints are away until the end of the test."""
    names = ("i5_rated_once", "i5_rated_known", "i5_usage_names_what_was_rated")
    definitions = {
        name: superuser_connection.execute(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name]
        ).fetchone()
        for name in names
    }
    superuser_connection.execute("SET session_replication_role = replica")
    for name, (table, _) in definitions.items():
        superuser_connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    yield superuser_connection
    for name, (table, definition) in definitions.items():
        superuser_connection.execute(f"DELETE FROM {table}")
        superuser_connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def test_nothing_is_found_where_all_is_well(story):
    assert audit() == audit(story["first"]) == audit(story["last"]) == []
    assert BillRun.objects.filter(status="Completed").count() == 2


@pytest.mark.parametrize("name", [*PLANTED, *MORE])
def test_a_violation_is_found_by_the_whole_audit_and_by_that_of_its_run(story, unguarded, name):
    check = name.split()[0]
    unguarded.execute((PLANTED | MORE)[name].format(**story))
    found = {violation.check: violation for violation in audit()}
    assert found.keys() - ALSO.get(name, set()) == {check}
    assert found[check].count >= 1 and found[check].example
    of_runs = [{violation.check for violation in audit(story[run])} for run in ("first", "last")]
    assert any(check in checks for checks in of_runs)


@pytest.mark.parametrize("name", ["i5_slice_sum", "i5_slice_outside", "i5_usage_not_billed", "i5_usage_line"])
def test_a_runs_own_audit_does_not_find_what_others_did(story, unguarded, name):
    unguarded.execute(PLANTED[name].format(**story))
    assert name in {violation.check for violation in audit(story["first"])}
    assert audit(story["last"]) == []
