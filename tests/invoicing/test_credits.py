"""Credits through the database: days are given back and billed anew in one transaction, and come back with a canceled draft.

2026        Jan           Feb           Mar
billed      |---- 5 seats, 50.00 ----|
change      |-- 5 --|---- 7 seats ------ …       16 Jan
next run            |-credit-|
                    |-charge-|------------|
"""

from decimal import Decimal

import pytest
from django.db.models import Max

from billing.models import ChargeSegment, RatePlanCharge
from invoicing.bill_run.verify import audit
from invoicing.models import Coverage, Invoice, InvoiceItem
from invoicing.posting import CancelError, cancel_drafts, post_run
from tests import factories as make
from tests.factories import bill, day

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seats() -> RatePlanCharge:
    """Acme's five seats at 10.00 a month in advance, from January on."""
    subscription = make.subscribe(make.acme(), make.plan("Team", make.seats()), "2026-01-01")
    return subscription.charges.get()


def change(charge: RatePlanCharge, on: str, *, quantity: str | None) -> None:
    """End the charge's last segment on a day and open the next with another quantity, or none when it is removed."""
    last = charge.segments.latest("number")
    last.effective_end = max(day(on), last.effective_start)
    last.save()
    if quantity is not None:
        ChargeSegment.objects.create(
            charge=charge, number=last.number + 1, effective_start=day(on), quantity=quantity, price=last.price
        )


def lines() -> list[tuple[str, str, str, str]]:
    """Return every live line: kind, first day, end and amount."""
    found = InvoiceItem.objects.filter(invoice__status__in=["Draft", "Posted"]).order_by("period", "kind", "id")
    return [(item.kind, str(item.period.lower), str(item.period.upper), f"{item.amount:.2f}") for item in found]


def covered() -> list[tuple[str, str]]:
    """Return the covered days in order."""
    return [(str(row.period.lower), str(row.period.upper)) for row in Coverage.objects.order_by("period")]


def test_a_change_within_a_billed_month_is_credited_and_charged_anew(seats):
    post_run(bill("2026-01-01").pk, user_id=None)
    change(seats, "2026-01-16", quantity="7")
    run = bill("2026-01-20")
    assert (run.status, run.has_errors) == ("Completed", False)
    # 50.00 · 16/31 = 25.81 given back; 70.00 · 16/31 = 36.13
    assert lines() == [
        ("Recurring", "2026-01-01", "2026-02-01", "50.00"),
        ("Credit", "2026-01-16", "2026-02-01", "-25.81"),
        ("Recurring", "2026-01-16", "2026-02-01", "36.13"),
    ]
    assert covered() == [("2026-01-01", "2026-01-16"), ("2026-01-16", "2026-02-01")]
    credit = InvoiceItem.objects.get(kind="Credit")
    assert credit.credits == InvoiceItem.objects.earliest("id")
    assert Invoice.objects.latest("id").total == Decimal("10.32")
    assert audit() == []
    post_run(run.pk, user_id=None)
    assert audit() == []


def test_the_same_run_again_finds_nothing_more(seats):
    bill("2026-01-01")
    change(seats, "2026-01-16", quantity="7")
    bill("2026-01-20")
    before = lines()
    assert bill("2026-01-20").invoice_count == 0
    assert lines() == before


def test_a_change_in_the_future_waits_for_its_day(seats):
    bill("2026-01-01")
    change(seats, "2026-01-16", quantity="7")
    assert bill("2026-01-15").invoice_count == 0
    assert bill("2026-01-16").invoice_count == 1


def test_a_canceled_draft_gives_its_credit_back(seats):
    bill("2026-01-01")
    change(seats, "2026-01-16", quantity="7")
    run = bill("2026-01-20")
    made = lines()
    assert cancel_drafts(list(run.invoices.values_list("pk", flat=True))) == 1
    assert covered() == [("2026-01-01", "2026-02-01")]
    assert audit() == []
    bill("2026-01-20")
    assert lines() == made
    assert audit() == []


def test_days_credited_as_a_whole_come_back_as_well(seats):
    for target in ("2026-01-01", "2026-02-01", "2026-03-01"):
        post_run(bill(target).pk, user_id=None)
    change(seats, "2026-01-16", quantity=None)
    run = bill("2026-03-02")
    assert [line for line in lines() if line[0] == "Credit"] == [
        ("Credit", "2026-01-16", "2026-02-01", "-25.81"),
        ("Credit", "2026-02-01", "2026-03-01", "-50.00"),
        ("Credit", "2026-03-01", "2026-04-01", "-50.00"),
    ]
    assert covered() == [("2026-01-01", "2026-01-16")]
    assert audit() == []
    cancel_drafts(list(run.invoices.values_list("pk", flat=True)))
    assert covered() == [("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-04-01")]
    assert audit() == []


def test_a_change_back_over_several_billed_months_goes_with_its_draft(seats):
    """The new price serves the very days that come back: none of them may look like a hole on the way."""
    for target in ("2026-01-01", "2026-02-01", "2026-03-01"):
        post_run(bill(target).pk, user_id=None)
    change(seats, "2026-01-16", quantity="7")
    run = bill("2026-03-02")
    made = lines()
    assert cancel_drafts(list(run.invoices.values_list("pk", flat=True))) == 1
    assert covered() == [("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-04-01")]
    assert audit() == []
    bill("2026-03-02")
    assert lines() == made
    assert audit() == []


def test_credits_of_one_line_go_together_or_the_latest_first(seats):
    """The second change was dated back further than the first, so that both credit the month that was billed.

    billed         |======= January =======|
    first credit               |-----------|      16 Jan
    second credit  |-----------|                  1 Jan
    """
    bill("2026-01-01")
    change(seats, "2026-01-16", quantity=None)
    first = bill("2026-01-20").invoices.get()
    change(seats, "2026-01-01", quantity=None)
    second = bill("2026-01-20").invoices.get()
    assert covered() == []
    with pytest.raises(CancelError, match=second.reference):
        cancel_drafts([first.pk])
    assert cancel_drafts([first.pk, second.pk]) == 2
    assert covered() == [("2026-01-01", "2026-02-01")]
    assert audit() == []


@pytest.mark.parametrize("first", ["2026-01-01", "2026-02-01"])
def test_a_draft_stays_while_later_days_would_come_back_with_a_credit(seats, first):
    """March is given back by a credit, so that nothing bills it at the moment but the draft with the credit itself.

    billed    |== January ==|== February ==|== March ==|
    change                                 |-- credit and charge -- …     1 Mar
    """
    drafts = {target: bill(target).invoices.get() for target in ("2026-01-01", "2026-02-01", "2026-03-01")}
    change(seats, "2026-03-01", quantity="7")
    credit = bill("2026-03-01").invoices.get()
    before = covered()
    going = [draft.pk for target, draft in drafts.items() if target >= first]
    with pytest.raises(CancelError, match=drafts["2026-03-01"].reference):
        cancel_drafts([*going[:-1], credit.pk])
    assert covered() == before
    assert cancel_drafts([*going, credit.pk]) == len(going) + 1
    assert audit() == []


def test_a_draft_whose_lines_are_credited_stays_until_the_credit_goes(seats):
    first = bill("2026-01-01").invoices.get()
    change(seats, "2026-01-16", quantity=None)
    credit = bill("2026-01-20").invoices.get()
    assert credit.total == Decimal("-25.81")
    with pytest.raises(CancelError, match=credit.reference):
        cancel_drafts([first.pk])
    cancel_drafts([credit.pk])
    cancel_drafts([first.pk])
    assert covered() == []


def test_two_changes_within_one_month_credit_each_what_was_billed_last(seats):
    bill("2026-01-01")
    change(seats, "2026-01-16", quantity="7")
    bill("2026-01-16")
    change(seats, "2026-01-24", quantity="5")
    bill("2026-01-24")
    # 50.00 · 15/31 + 70.00 · 8/31 + 50.00 · 8/31, each rounded
    assert sum(Decimal(amount) for *_, amount in lines()) == Decimal("24.19") + Decimal("18.06") + Decimal("12.90")
    assert covered() == [("2026-01-01", "2026-01-16"), ("2026-01-16", "2026-01-24"), ("2026-01-24", "2026-02-01")]
    assert audit() == []


def test_a_pause_leaves_its_days_unbilled(seats):
    bill("2026-01-01")
    last = seats.segments.get()
    last.effective_end = day("2026-01-16")
    last.save()
    ChargeSegment.objects.create(
        charge=seats, number=2, effective_start=day("2026-03-10"), quantity=last.quantity, price=last.price
    )
    bill("2026-04-01")
    assert covered() == [("2026-01-01", "2026-01-16"), ("2026-03-10", "2026-04-01"), ("2026-04-01", "2026-05-01")]
    assert audit() == []


def test_what_was_replaced_on_its_first_day_is_credited_as_a_whole(seats):
    bill("2026-01-01")
    change(seats, "2026-01-01", quantity="8")
    bill("2026-01-02")
    assert lines() == [
        ("Credit", "2026-01-01", "2026-02-01", "-50.00"),
        ("Recurring", "2026-01-01", "2026-02-01", "50.00"),
        ("Recurring", "2026-01-01", "2026-02-01", "80.00"),
    ]
    assert Coverage.objects.aggregate(last=Max("item"))["last"] == InvoiceItem.objects.latest("id").pk
    assert audit() == []
