"""The bill run as a whole: everything due is billed once, whenever and however often runs take place (I2, I6, I8)."""

import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from billing.core.types import BillingDayType, BillingPeriod, BillingTiming
from billing.queries import current_rules
from invoicing.bill_run import run as engine
from invoicing.bill_run.verify import audit
from invoicing.models import BillRunStatus, Invoice, InvoiceItem
from invoicing.posting import post_run
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import billed, crowd, customer, forget_drafts, in_threads, outcome, outcomes

pytestmark = pytest.mark.django_db


@pytest.fixture
def four_customers():
    """Customers whose charges differ in what moves their periods: billing day, timing, length, start at month ends."""
    make.batch(1)
    month = make.plan("Monthly", make.monthly(), make.once())
    arrears = make.plan("Arrears", make.monthly("Support", billing_timing=BillingTiming.IN_ARREARS))
    quarter = make.plan(
        "Quarterly",
        make.monthly(
            "Licence", billing_period=BillingPeriod.QUARTER, billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY
        ),
    )
    acme, globex, sakura = make.acme(), make.globex(), make.sakura()
    late = customer(number="LATE", bill_cycle_day=30)
    make.subscribe(acme, month, "2025-12-10")
    make.subscribe(globex, arrears, "2025-12-31")
    make.subscribe(sakura, month, "2026-01-31")
    make.subscribe(late, quarter, "2025-11-30")
    make.subscribe(late, month, "2026-02-28")
    return acme, globex, sakura, late


def test_second_run_bills_nothing(four_customers):
    first, second = bill("2026-03-31"), bill("2026-03-31")
    assert first.invoice_count == 4
    assert (second.invoice_count, second.totals, outcomes(second)) == (0, {}, {"NothingDue": 4})
    assert second.status == BillRunStatus.COMPLETED
    assert audit() == []


def test_second_run_says_why_nothing_was_billed(four_customers):
    first = bill("2026-03-31")
    word, code, message, _ = outcome(bill("2026-03-31"), four_customers[0])
    assert (word, code) == ("NothingDue", "billed_by_other_run")
    assert message == f"Nothing is due by 2026-03-31. {first.number} has billed it; its draft waits to be posted."
    post_run(first.pk, user_id=None)
    word, code, message, _ = outcome(bill("2026-03-31"), four_customers[0])
    assert (word, code, message) == ("NothingDue", "nothing_due", "Nothing is due by 2026-03-31.")


def test_the_run_that_comes_second_names_the_run_that_was_first(four_customers):
    """Both runs were created before either billed: the second finds the work done when its turn comes."""
    fields: dict[str, Any] = {"scope": "All", "target_date": day("2026-03-31"), "invoice_date": day("2026-03-31")}
    first, second = engine.create(**fields), engine.create(**fields)
    engine.start(first)
    engine.start(second)
    engine.advance(first.pk, seconds=60)
    engine.advance(second.pk, seconds=60)
    word, code, message, _ = outcome(second, four_customers[0])
    assert (word, code) == ("NothingDue", "billed_by_other_run")
    assert first.number in message
    assert outcomes(second) == {"NothingDue": 4}


def test_a_run_created_while_another_has_drafts_bills_only_what_became_due_since(four_customers):
    bill("2026-02-28")
    before = billed()
    bill("2026-03-31")
    assert billed() > before
    assert Invoice.objects.filter(status="Draft").count() > 4
    assert audit() == []


def _days(first: str, last: str, *, step: int = 1) -> list[str]:
    start, end = day(first), day(last)
    return [str(start + timedelta(days=offset)) for offset in range(0, (end - start).days + 1, step)]


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param([*_days("2026-01-25", "2026-03-20"), "2026-05-31"], id="every day for two months"),
        pytest.param([*_days("2025-12-01", "2026-05-31", step=11), "2026-05-31"], id="every eleventh day"),
        pytest.param(["2026-01-31", "2026-02-01", "2026-05-30", "2026-05-31"], id="with months missed"),
        pytest.param(["2026-05-31", "2026-01-31", "2026-03-31"], id="earlier targets after later ones"),
    ],
)
def test_the_lines_do_not_depend_on_the_days_of_the_runs(four_customers, targets):
    """I8: each way of getting to 31 May leaves the same charges, days, amounts and derivations as one run on 31 May."""
    for target in targets:
        bill(target)
    by_steps = billed()
    assert audit() == []
    forget_drafts()
    bill("2026-05-31")
    assert billed() == by_steps
    assert len(by_steps) == 26


def test_the_lines_do_not_depend_on_the_size_of_chunks(four_customers, settings):
    made = []
    for size in (1, 2, 3, 1000):
        settings.BILL_RUN_CHUNK_ACCOUNTS = size
        assert bill("2026-05-31").chunks.count() == -(-4 // size)
        made.append(billed())
        forget_drafts()
    assert made[0] == made[1] == made[2] == made[3]


def test_missed_days_are_caught_up_by_the_next_run(four_customers):
    """I2: there is no billing day to miss; what was not billed is billed, each period with its own line."""
    acme = four_customers[0]
    bill("2026-01-01", accounts=[acme])
    bill("2026-04-01", accounts=[acme])
    starts = sorted(fact.starts for fact in billed() if fact.amount == "10.00")
    assert starts == ["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"]
    assert audit() == []


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_no_zone_of_server_or_process_changes_a_line(four_customers, settings, monkeypatch, zone):
    """I12: process, Django and PostgreSQL in one zone bill what they bill in UTC."""
    bill("2026-05-31")
    in_utc = billed()
    forget_drafts()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        settings.TIME_ZONE = zone
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])
        for target in ("2026-02-28", "2026-03-31", "2026-05-31"):
            bill(target)
        assert billed() == in_utc
    finally:
        monkeypatch.undo()
        time.tzset()
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', 'UTC', false)")


def test_the_clock_of_the_machine_changes_no_line(four_customers):
    made = []
    for moment in ("2020-02-29T23:59:59+00:00", "2031-12-31T00:00:01+00:00"):
        with time_machine.travel(datetime.fromisoformat(moment), tick=False):
            bill("2026-05-31")
        made.append(billed())
        forget_drafts()
    assert made[0] == made[1]


def test_scope_bill_cycle_day_and_charge_types_narrow_a_run(four_customers):
    acme, globex, sakura, _ = four_customers
    by_account = bill("2026-05-31", accounts=[globex])
    assert list(by_account.account_outcomes.values_list("account", flat=True)) == [globex.pk]
    by_day = bill("2026-05-31", bill_cycle_day=31)
    assert list(by_day.account_outcomes.values_list("account", flat=True)) == [sakura.pk]
    bill("2026-05-31", accounts=[acme], excluded_charge_types=["OneTime"])
    assert {item.kind for item in InvoiceItem.objects.filter(invoice__account=acme)} == {"Recurring"}
    bill("2026-05-31", accounts=[acme])
    assert InvoiceItem.objects.filter(invoice__account=acme, kind="OneTime").count() == 1


def test_accounts_of_a_batch_that_are_not_active_are_left_out(four_customers):
    acme = four_customers[0]
    acme.batch = make.batch(7)
    acme.save()
    resting = customer(batch=make.batch(7), status="Canceled")
    run = bill("2026-05-31", batches=[make.batch(7)])
    assert list(run.account_outcomes.values_list("account", flat=True)) == [acme.pk]
    assert not run.account_outcomes.filter(account=resting).exists()


def test_totals_of_a_run_are_kept_by_currency(four_customers):
    run = bill("2026-05-31")
    by_currency = Invoice.objects.values("currency").annotate(sum=Sum("total")).values_list("currency", "sum")
    assert {currency: Decimal(text) for currency, text in run.totals.items()} == dict(by_currency)
    assert run.totals.keys() == {"USD", "EUR", "JPY"}
    assert (run.accounts_total, run.accounts_billed, run.accounts_failed, run.invoice_count) == (4, 4, 0, 4)


def test_the_number_of_queries_of_a_chunk_does_not_grow_with_its_accounts(settings):
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    crowd(acme, 209)
    settings.BILL_RUN_CHUNK_ACCOUNTS = 10
    run = engine.create(scope="All", target_date=day("2026-03-01"), invoice_date=day("2026-03-01"))
    settings.BILL_RUN_CHUNK_ACCOUNTS = 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    engine.start(run)
    small = run.chunks.create(accounts=10)
    rows = list(run.account_outcomes.order_by("-account").values_list("pk", flat=True)[:10])
    big = run.chunks.earliest("pk")
    run.account_outcomes.filter(pk__in=rows).update(chunk=small)
    terms = engine.Terms(run.pk, run.target_date, run.invoice_date, frozenset(), current_rules())
    counts = []
    for chunk in (small, big):
        with CaptureQueriesContext(connection) as captured:
            engine.bill_chunk(chunk.pk, terms)
        counts.append(len(captured))
    assert Invoice.objects.filter(bill_run=run).count() == 10 + 200 - 10
    assert counts[0] == counts[1] <= 16


@pytest.mark.django_db(transaction=True)
def test_overlapping_runs_bill_each_day_once(settings):
    """I6: four workers on two runs over the same accounts, in chunks of different sizes."""
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    crowd(acme, 59)
    runs = []
    for size in (7, 13):
        settings.BILL_RUN_CHUNK_ACCOUNTS = size
        run = engine.create(scope="All", target_date=day("2026-03-01"), invoice_date=day("2026-03-01"))
        engine.start(run)
        runs.append(run)
    results = in_threads(4, lambda number: engine.advance(runs[number % 2].pk, seconds=60))
    assert results == [False] * 4
    assert len(billed()) == 60 * 4
    for run in runs:
        run.refresh_from_db()
        assert run.status == BillRunStatus.COMPLETED
        assert outcomes(run).keys() <= {"Billed", "NothingDue"}
    assert sum(outcomes(run)["Billed"] for run in runs if "Billed" in outcomes(run)) == 60
    waiting = [row for run in runs for row in run.account_outcomes.filter(outcome="NothingDue")]
    assert {row.code for row in waiting} == {"billed_by_other_run"}
    assert audit() == []
