"""However often runs come and however small their chunks are, the same usage is billed to the letter, by every model (I8)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel
from billing.core.types import ChargeModel
from invoicing.bill_run.verify import audit
from invoicing.models import Invoice, InvoiceItem
from invoicing.posting import cancel_drafts
from tests import factories as make
from tests.factories import bill
from tests.usage.consumption import consume, metered, pending, smoothed, steps, usage_lines
from usage.models import RatedUsage

pytestmark = pytest.mark.django_db
LADDER = steps("10: 2, 20: 3, rest: 5")
MONTHS = ((700, 200, 333, 1000, 600, 1200), (300, 600, 650, 500, 0, 1))
TERMS: dict[str, dict[str, Any]] = {
    "per unit": {},
    "tiered": {"model": ChargeModel.TIERED, "price": LADDER},
    "volume": {"model": ChargeModel.VOLUME, "price": LADDER},
    "overage": {"model": ChargeModel.OVERAGE, "price": "0.10", "default_quantity": Decimal(500)},
    "tiered with overage": {"model": ChargeModel.TIERED_WITH_OVERAGE, "price": steps("100: 1, 200: 0.8, rest: 0.5")},
    "fee": {"model": ChargeModel.FLAT_FEE, "price": "99"},
    "window": {"smoothing": Smoothing(SmoothingModel.ROLLING_WINDOW, 3)},
    "per period": {"smoothing": Smoothing(SmoothingModel.ROLLING_WINDOW, 3, OverageCalculation.PER_BILLING_PERIOD)},
    "rollover": {"smoothing": Smoothing(SmoothingModel.ROLLOVER, 2)},
}


def _everything_sold() -> None:
    """Sell every model to Acme and Globex, with half a year of usage."""
    smoothed = {"model": ChargeModel.OVERAGE, "price": "0.10", "default_quantity": Decimal(500)}
    charges = [metered(name, **(smoothed | terms if "smoothing" in terms else terms)) for name, terms in TERMS.items()]
    plan = make.plan("All", *charges)
    for account, used in zip((make.acme(), make.globex(bill_cycle_day=1)), MONTHS, strict=True):
        for charge in make.subscribe(account, plan, "2026-01-01").charges.order_by("pk"):
            for month, units in enumerate(used, start=1):
                consume(charge, (f"2026-{month:02}-11", str(units)), (f"2026-{month:02}-28", "0.5"))


@pytest.mark.parametrize(
    "targets",
    [
        ["2026-07-01"],
        [f"2026-{month:02}-01" for month in range(2, 8)],
        [f"2026-{month:02}-{on:02}" for month in range(1, 7) for on in (1, 9, 17, 28)] + ["2026-07-01"],
    ],
    ids=["once", "monthly", "weekly"],
)
@pytest.mark.parametrize("chunk", [1, 500])
def test_however_often_it_runs_the_same_is_billed(targets, chunk, settings):
    settings.BILL_RUN_CHUNK_ACCOUNTS = chunk
    settings.BILL_RUN_STREAMS = 1
    _everything_sold()
    for target in targets:
        bill(target)
    found = InvoiceItem.objects.filter(kind="Usage").order_by("charge__number", "period")
    text = "\n".join(
        f"{i.charge.subscription.account.number} {i.charge.name} {i.period} {i.quantity} {i.amount} {i.derivation}"
        for i in found
    )
    expected = _ONCE.setdefault("text", text)
    assert text.count("\n") == 6 * 2 * len(TERMS) - 1
    assert text == expected
    assert audit() == []


_ONCE: dict[str, str] = {}


def test_smoothed_months_follow_the_published_tables_through_the_database():
    window, block, roll = (
        smoothed(SmoothingModel.ROLLING_WINDOW, 3),
        smoothed(SmoothingModel.ROLLING_WINDOW, 3, calculation=OverageCalculation.PER_BILLING_PERIOD),
        smoothed(SmoothingModel.ROLLOVER, 2),
    )
    used = {window: (700, 200, 333, 1000), block: (700, 200, 333, 1000, 600, 900), roll: (300, 600, 650, 500)}
    for charge, months in used.items():
        for month, units in enumerate(months, start=1):
            consume(charge, (f"2026-{month:02}-15", str(units)))
    for month in range(2, 8):
        bill(f"2026-{month:02}-01")
    found = {
        charge: [f"{i.amount:.2f}" for i in InvoiceItem.objects.filter(charge=charge).order_by("id")] for charge in used
    }
    assert found[window][:4] == ["0.00", "0.00", "0.00", "3.30"]
    assert found[block] == ["0.00", "0.00", "0.00", "0.00", "10.00", "90.00"]
    assert found[roll][:4] == ["0.00", "0.00", "5.00", "0.00"]


def test_late_usage_of_a_smoothed_charge_is_canceled_with_the_state_it_left():
    """What the months after it go on from is again what was before."""
    charge = smoothed(SmoothingModel.ROLLOVER, 2)
    for month, units in enumerate((300, 600, 650, 500), start=1):
        consume(charge, (f"2026-{month:02}-15", str(units)))
    bill("2026-04-01")
    before = RatedUsage.objects.latest("id").state
    consume(charge, ("2026-01-20", "100"))
    bill("2026-04-01")
    assert usage_lines()[-1][4] == "10.00"
    late = Invoice.objects.latest("pk")
    cancel_drafts([late.pk])
    assert pending() == ["2026-01-20", "2026-04-15"]
    assert RatedUsage.objects.filter(is_live=True).latest("id").state == before
    bill("2026-05-01")
    assert [line[4] for line in usage_lines()] == ["0.00", "0.00", "5.00", "10.00", "0.00"]
    assert audit() == []
