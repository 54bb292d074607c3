"""The same orders are billed the same, whenever, in however many parts and with whatever interruptions runs take place (I8).

every day     |||||||||||||||||||||||||||||||||||||
now and then  |    | |       |  |         |   |   |
once                                              |
interrupted   |    | x|      |x x|        |   xx| |     the same runs, broken off and taken up again
in parts      :    : :       :  :         :   :   :     the same runs, in chunks of one, three or all accounts
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection

from billing.core.types import ChargeType
from billing.models import BillingRules
from invoicing import services
from invoicing.bill_run import run as engine
from invoicing.bill_run.verify import audit
from invoicing.models import BillRun, BillRunStatus
from tests.factories import user
from tests.invoicing.facts import in_threads
from tests.simulation.books import billed, placed_lines, sold, written_lines
from tests.simulation.business import Business, business_days
from tests.simulation.catalogue import customers, offers

FIRST = date(2024, 1, 28)
LAST = FIRST + timedelta(days=120)
SETTLED = LAST + timedelta(days=1)
ACCOUNTS, SUBSCRIPTIONS, AMENDMENTS = 8, 24, 60

STEPS = ("lock_accounts", "load_accounts", "price", "group", "write_drafts", "write_outcomes", "finish_chunk")

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def company(source: Random) -> Business:
    """Return a company with customers and offers but without any contract.

    Terms that renew themselves are billed beyond their end: cut there, a period has two lines if it is billed before the
    renewal and one if it is billed after it.
    """
    BillingRules.objects.update(bill_to_term_end_when_auto_renew=False)
    offered = offers(source, 15, by_terms=False)
    return Business(source, LAST, customers(source, ACCOUNTS), offered, user("approver").pk)


def order_everything(business: Business) -> None:
    """Order all that will happen before anything is billed."""
    for number in range(SUBSCRIPTIONS):
        business.sell(FIRST, FIRST + timedelta(days=number % 5))
    for number in range(AMENDMENTS):
        business.amend(FIRST + timedelta(days=number * 120 // AMENDMENTS))


def shuffled_days() -> list[date]:
    """Return days of which some lie before those that come first, and the last one in the end."""
    source = Random(3)
    days = list(business_days(source, FIRST, LAST, longest=40))
    source.shuffle(days)
    return [*days, SETTLED]


DAYS: dict[str, Iterable[date]] = {
    "once": [SETTLED],
    "every day": list(business_days(Random(1), FIRST, SETTLED, longest=1)),
    "now and then": list(business_days(Random(2), FIRST, SETTLED, longest=15)),
    "now this day and then that": shuffled_days(),
}


def test_the_days_of_the_runs_change_no_letter_of_a_line(begin_anew):
    """What was ordered before the first run is billed in the same lines by one run and by a hundred and twenty."""
    found = {}
    for name, days in DAYS.items():
        begin_anew()
        business = company(Random(11))
        order_everything(business)
        for today in days:
            business.bill(today)
        assert audit() == []
        found[name] = written_lines()
        print(f"{name}: {business.figures['runs']} runs, {len(found[name])} lines")
    assert len(found["once"]) > 300
    for lines in found.values():
        assert lines == found["once"]


# --- Orders between the runs ------------------------------------------------------------------------------------------


def live(business: Business, run_days: Sequence[date], bill: Callable[[Business, date], object]) -> None:
    """Let customers order something every third day, and bill on the given days what is known by then."""
    due = list(run_days)
    for number in range(0, 121, 3):
        today = FIRST + timedelta(days=number)
        while due and due[0] < today:
            bill(business, due.pop(0))
        if number < 3 * SUBSCRIPTIONS // 4:
            business.sell(today, today + timedelta(days=number % 5 - 2))
            business.sell(today, today)
        business.amend(today)
    for today in due:
        bill(business, today)


def test_however_often_runs_take_place_orders_between_them_leave_the_same_days_and_cents(begin_anew):
    """Lines differ, since what was billed before an order is credited after it; what is left of them does not."""
    found, lines = {}, {}
    for name in ("once", "now and then", "every day"):
        begin_anew()
        business = company(Random(14))
        # A renewal by a run would let customers order something else than they do without that run.
        business.renewing = 0
        live(business, list(DAYS[name]), Business.bill)
        assert audit() == []
        found[name], lines[name] = left_of_lines(business), len(written_lines())
        print(f"{name}: {business.figures['runs']} runs, {lines[name]} lines")
    assert found["once"] == found["now and then"] == found["every day"]
    assert lines["once"] < lines["now and then"] < lines["every day"]


def left_of_lines(business: Business) -> list[tuple[Any, ...]]:
    """Return what recurring charges are billed in the end: charge, price, days, amount and discount of each line."""
    charges = {each.charge.charge_id: each.charge for each in sold(account.pk for account in business.accounts)}
    books = billed(charges)
    return sorted(
        (charges[charge].number, item.segment_number, item.start, item.end, item.left, item.discounted)
        for charge, items in books.items()
        if charges[charge].terms.charge_type is ChargeType.RECURRING
        for item in items
        if item.start
    )


# --- Interrupted runs and parts of runs -------------------------------------------------------------------------------


class Faults:
    """Breaks runs off at a random step: the worker dies, its connection is lost, or an account cannot be billed at first."""

    def __init__(self, source: Random) -> None:
        self.source, self.waiting, self.happened = source, 0, 0

    def strike(self, patch: pytest.MonkeyPatch) -> None:
        """Let the steps of the engine break, after having done their work, as long as the patch lasts."""
        patch.setattr("time.sleep", lambda seconds: None)
        for step in STEPS:
            patch.setattr(engine, step, self._breaking(getattr(engine, step)))

    def _breaking(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            result = honest(*args, **options)
            self.waiting -= 1
            if self.waiting == 0:
                self.happened += 1
                self.waiting = self.source.choice((0, 1, 4))
                self._break()
            return result

        return step

    def _break(self) -> None:
        what = self.source.choice(("dies", "is cut off", "fails"))
        if what == "dies":
            raise SystemExit
        if what == "fails":
            raise RuntimeError("once only")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def bill(self, business: Business, today: date) -> BillRun:
        """Bill as ever, but let steps of the run break; what was broken off is taken up, what failed is tried again."""
        run = business.new_run(today)
        self.waiting = self.source.randint(1, 20)
        while True:
            with contextlib.suppress(SystemExit):
                while engine.advance(run.pk, seconds=60):
                    pass
                run.refresh_from_db()
                if not run.accounts_failed:
                    break
                services.retry_failed_accounts(run)
        assert run.status == BillRunStatus.COMPLETED
        return run


def by_two_workers(business: Business, today: date) -> BillRun:
    """Bill as two workers do who take chunks from each other."""
    run = business.new_run(today)
    assert in_threads(2, lambda _: engine.advance(run.pk, seconds=60)) == [False, False]
    run.refresh_from_db()
    assert run.status == BillRunStatus.COMPLETED
    return run


def test_neither_chunks_nor_workers_nor_interruptions_change_a_letter(begin_anew, settings, monkeypatch):
    """The same orders between the same runs, posted, canceled or left: every line is on the same invoice of the same run."""
    found = {}
    faults = Faults(Random(5))

    def told(name: str, accounts: int, bill: Callable[[Business, date], BillRun] = Business.bill) -> None:
        begin_anew()
        settings.BILL_RUN_CHUNK_ACCOUNTS = accounts
        business = company(Random(13))
        live(business, list(DAYS["now and then"]), lambda known, day: known.settle_drafts(bill(known, day)))
        assert audit() == []
        found[name] = placed_lines()
        print(f"{name}: {business.figures['runs']} runs, {len(found[name])} lines, {faults.happened} faults")

    told("all at once", 500)
    told("one by one", 1)
    told("by threes", 3)
    told("two workers", 1, by_two_workers)
    with monkeypatch.context() as patch:
        faults.strike(patch)
        told("interrupted", 3, faults.bill)
    for lines in found.values():
        assert lines == found["all at once"]
    assert faults.happened >= 10
    assert {"Draft", "Posted", "Canceled"} == {line.status for line in found["interrupted"]}
    assert any(line.line.credits for line in found["interrupted"])
