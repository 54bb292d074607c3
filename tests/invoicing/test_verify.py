"""The audit finds what it is there to find: each check is shown a planted violation, and nothing else when all is well."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from billing.models import ChargeSegment
from invoicing.bill_run.verify import _MANY_ROWS, CHECK_NAMES, CHECKS, audit
from invoicing.delivery import queue_invoice
from invoicing.models import Coverage, Invoice, InvoiceDocument, InvoiceItem
from invoicing.posting import post_run
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import crowd, customer
from tests.invoicing.test_delivery import _store
from tests.usage.test_usage_audit import PLANTED as PLANTED_USAGE

pytestmark = pytest.mark.django_db(transaction=True)

# What no guard would let pass, planted with the guards at rest. {draft} and {posted} are invoices.
PLANTED = {
    "i1_overlap": "UPDATE invoicing_coverage SET period = daterange(lower(period) - 1, upper(period)) WHERE period @> '2026-02-01'::date AND kind = 'Period'",
    "i2_hole": "UPDATE invoicing_coverage SET period = daterange(lower(period) + 1, upper(period)) WHERE period @> '2026-02-01'::date AND kind = 'Period'",
    "i1_item_without_coverage": "DELETE FROM invoicing_coverage WHERE period @> '2026-02-01'::date AND kind = 'Period'",
    "i1_coverage_without_item": "UPDATE invoicing_invoice SET status = 'Canceled' WHERE id = {draft}",
    "i1_credit_beyond_item": "INSERT INTO invoicing_invoiceitem (invoice_id, charge_id, kind, description, period, amount, credits_id, derivation) SELECT {draft}, i.charge_id, 'Credit', 'x', i.period, -i.amount - 1, i.id, '{{}}' FROM invoicing_invoiceitem i WHERE i.invoice_id = {posted} LIMIT 1",
    "i4_discount_beyond_line": "INSERT INTO invoicing_invoiceitem (invoice_id, charge_id, kind, description, period, amount, reduces_id, derivation) SELECT {draft}, i.charge_id, 'Discount', 'x', i.period, 1, i.id, '{{}}' FROM invoicing_invoiceitem i WHERE i.invoice_id = {posted} LIMIT 1",
    "i4_sum": "UPDATE invoicing_invoice SET net = net + 1, total = total + 1, balance = balance + 1 WHERE id = {posted}",
    "i4_digits": "UPDATE invoicing_invoiceitem SET amount = amount + 0.001 WHERE invoice_id = {posted}; UPDATE invoicing_invoice SET net = (SELECT sum(amount) FROM invoicing_invoiceitem WHERE invoice_id = {posted}), total = (SELECT sum(amount) FROM invoicing_invoiceitem WHERE invoice_id = {posted}) WHERE id = {posted}",
    "i4_currency": "UPDATE invoicing_invoice SET currency = 'CHF' WHERE id = {draft}",
    "i21_line_of_another_account": "UPDATE invoicing_invoice SET account_id = (SELECT max(id) FROM accounts_account) WHERE id = {draft}",
    "i4_invoiced_totals": "UPDATE invoicing_invoicedtotal SET total = total + 1",
    "i10_gap": "UPDATE accounts_numbersequence SET next_number = next_number + 1 WHERE purpose = 'Invoice'",
    "i13_outcome_missing": "UPDATE invoicing_billrunaccount SET outcome = 'Pending' WHERE run_id = {run}",
    "i18_document_hash": "UPDATE invoicing_invoicedocument SET content = content || 'x'",
    "i17_delivery_stuck": "UPDATE invoicing_invoicedelivery SET state = 'Sending', claimed_at = now() - interval '2 hours'",
}
# Planting the one cannot but make the other true as well.
ALSO = {
    "i1_item_without_coverage": {"i2_hole"},
    "i1_overlap": {"i1_item_without_coverage"},
    "i2_hole": {"i1_item_without_coverage"},
    "i1_credit_beyond_item": {"i4_sum"},
    "i4_discount_beyond_line": {"i4_sum"},
    "i4_sum": {"i4_invoiced_totals"},
    "i4_digits": {"i4_invoiced_totals"},
}


@pytest.fixture
def story() -> dict[str, int]:
    """Acme: January posted, with PDF and mail; February and March drafts. There is a second customer without anything."""
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    customer()
    run = bill("2026-01-01")
    post_run(run.pk, user_id=None)
    posted = Invoice.objects.get()
    _store(posted)
    queue_invoice(posted, user_id=None)
    bill("2026-02-01")
    bill("2026-03-01")
    return {"posted": posted.pk, "draft": Invoice.objects.latest("pk").pk, "run": run.pk}


def test_every_check_is_shown_a_violation():
    assert set(CHECK_NAMES) == PLANTED.keys() | PLANTED_USAGE.keys()


def test_nothing_is_found_where_all_is_well(story):
    assert audit() == []
    assert audit(story["run"]) == []
    assert InvoiceDocument.objects.exists()


@pytest.fixture
def unguarded(superuser_connection) -> Iterator[psycopg.Connection]:
    """A superuser's connection for which triggers rest and two constraints are away until the end of the test."""
    definitions = {
        name: superuser_connection.execute(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name]
        ).fetchone()
        for name in ("i1_no_overlap", "i18_hash_matches")
    }
    superuser_connection.execute("SET session_replication_role = replica")
    for name, (table, _) in definitions.items():
        superuser_connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    yield superuser_connection
    for name, (table, definition) in definitions.items():
        superuser_connection.execute(f"DELETE FROM {table}")
        superuser_connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


@pytest.mark.parametrize("check", PLANTED)
def test_a_violation_is_found(story, unguarded, check):
    unguarded.execute(PLANTED[check].format(**story))
    found = {violation.check: violation for violation in audit()}
    assert found.keys() - ALSO.get(check, set()) == {check}
    assert found[check].count >= 1
    assert found[check].example


@pytest.mark.parametrize("check", ["i4_sum", "i13_outcome_missing", "i18_document_hash", "i17_delivery_stuck"])
def test_a_runs_own_audit_finds_its_violation_and_not_that_of_others(story, unguarded, check):
    unguarded.execute(PLANTED[check].format(**story))
    assert [violation.check for violation in audit(story["run"])] == [check]
    assert audit(story["run"] + 1) == []


CREDITED = 120


def test_the_whole_audit_reads_no_table_again_for_each_credit():
    """Its work grows with the rows there are, not with rows times credits: a night would not be enough for that."""
    acme = make.acme()
    make.subscribe(acme, make.plan("Team", make.seats()), "2026-01-01")
    crowd(acme, CREDITED - 1)
    bill("2026-01-01")
    ChargeSegment.objects.update(effective_end=day("2026-01-16"))
    assert bill("2026-01-16").invoice_count == CREDITED
    rows = sum(model.objects.count() for model in (Invoice, InvoiceItem, Coverage))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MANY_ROWS)
        for check in CHECKS:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {check.query.format(scope='true')}", {"run": None})
            assert _rows_read(cursor.fetchone()[0][0]["Plan"]) < 10 * rows, check.names


def _rows_read(node: dict[str, Any]) -> float:
    """Return how many rows the scans of a plan have handed on or thrown away."""
    passed = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    own = node["Actual Loops"] * passed if "Relation Name" in node else 0
    return own + sum(_rows_read(child) for child in node.get("Plans", ()))
