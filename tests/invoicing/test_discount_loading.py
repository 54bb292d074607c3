"""Of what discounts took off over the years a run reads what can still matter, and no account for a discount alone."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.core.types import BillingPeriod, ChargeModel
from billing.queries import current_rules
from billing.services.orders import AddProduct, NewRatePlan
from invoicing.bill_run.load import load_accounts
from invoicing.bill_run.select import _MAYBE_DUE
from invoicing.bill_run.verify import audit
from invoicing.models import InvoiceItem
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.discounts import act, change, lines, off, sold, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


def test_years_of_lines_are_not_read_again(superuser_connection):
    """Five years of a fee with a percentage and a fixed amount: 120 lines of discounts."""
    ten, five = off("Ten", "10"), off("Five", "5", model=ChargeModel.DISCOUNT_FIXED)
    subscription = sold(ten, five, start="2021-01-01")
    act(change(subscription, ten, "2021-06-01", "12"), on="2021-01-01")
    for target in ("2023-12-01", "2025-12-01"):
        bill(target)
    assert InvoiceItem.objects.filter(kind="Discount").count() == 120
    superuser_connection.execute(
        "VACUUM ANALYZE"
    )  # as autovacuum would; what earlier tests left must not choose the plan
    rules = current_rules()
    with CaptureQueriesContext(connection) as queries:
        [loaded] = load_accounts([subscription.account_id], target_date=day("2026-01-01"), rules=rules)
    assert sum(len(found) for found in loaded.discounts.lines.values()) <= 4
    assert len(queries) == 5  # accounts, charges, and three for discounts
    assert sum(_items_read(query["sql"]) for query in queries) < 20
    due = f"SELECT a.id, {_MAYBE_DUE} FROM accounts_account a"
    values = {"target": "2025-12-31", "excluded": [], "credit_one_time": False}
    assert _items_read(due, values) < 20
    made = lines(bill("2026-01-01"))
    assert [line[2] for line in made] == ["+100.00", "-12.00", "-5.00"]


def test_accounts_whose_discounts_have_nothing_to_reduce_are_not_loaded():
    sold(off("Ten", "10"))
    assert bill("2026-01-01").chunks.count() == 1
    assert bill("2026-01-31").chunks.count() == 0


def test_a_fixed_amount_that_was_used_before_a_late_charge_comes_stays_used():
    """25.00 a month: January's are used by the fee; in February 5.00 are left for what is added to January."""
    voucher = off("Off", "25", model=ChargeModel.DISCOUNT_FIXED)
    subscription = subscribed(make.acme(), make.plan("Fee", make.monthly("Fee", price="20")), voucher)
    bill("2026-01-01")
    bill("2026-02-01")
    extra = make.plan("Extra", make.monthly("Extra", price="31"))
    act(AddProduct(subscription, NewRatePlan(extra), day("2026-01-02")))
    made = lines(bill("2026-02-02"))
    assert [line for line in made if line[0].startswith("Off on")] == [
        ("Off on Extra – Proration", "2026-01-02", "-5.00"),
        ("Off on Extra", "2026-02-01", "-5.00"),
    ]
    assert audit() == []


def test_what_is_left_of_a_quarter_is_known_in_its_last_month():
    """25.00 a quarter off 10.00 a month: 10.00, 10.00, and the last 5.00 in March."""
    quarterly = {"model": ChargeModel.DISCOUNT_FIXED, "billing_period": BillingPeriod.QUARTER}
    fee = make.plan("Fee", make.monthly("Fee", price="10"))
    subscribed(make.acme(), fee, off("Off", "25", **quarterly))
    found = [lines(bill(target))[1] for target in ("2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01")]
    assert [amount for *_, amount in found] == ["-10.00", "-10.00", "-5.00", "-10.00"]


def _items_read(sql: str, values: dict[str, Any] | None = None) -> int:
    """Return how many invoice lines a query reads to come to its result."""

    def read(node: dict[str, Any]) -> float:
        own = 0.0
        if node.get("Relation Name") == "invoicing_invoiceitem":
            lost = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
            own = (node["Actual Rows"] + lost) * node["Actual Loops"]
        return own + sum(map(read, node.get("Plans", [])))

    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")  # as in a run
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
        plan: dict[str, Any] = cursor.fetchone()[0][0]["Plan"]
        cursor.execute("RESET enable_seqscan")
    return round(read(plan))
