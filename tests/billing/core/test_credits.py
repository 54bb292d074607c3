"""Days that were billed and are no longer served come back as a credit: billed less what the kept days cost (3.2)."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.derivation import amount_of
from billing.core.pricing import price
from billing.core.types import (
    Alignment,
    Billed,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    DaysInMonth,
    Line,
    LineKind,
    ListPriceBase,
    PartialMonths,
    Period,
    ProrationUnit,
    Rules,
)
from tests.billing.core import BLUEFIN, USD, charge, day, segment

ONE_DAY = timedelta(days=1)
BY_DAY = ProrationUnit.DAY


def item(
    start: str, end: str, amount: str, *, number: int = 1, item_id: int = 7, of: tuple[str, str] | None = None
) -> Billed:
    """Return an item of segment `number` that still covers these days; `of` are the days it was written for."""
    period = Period(day(start), day(end))
    written = Period(day(of[0]), day(of[1])) if of else period
    return Billed(item_id, number, period, written, Decimal(amount), LineKind.RECURRING)


def after(priced: Charge, *billed: Billed) -> Charge:
    """Return the charge with these items billed."""
    return priced._replace(billed=billed, billed_through=max(each.period.end for each in billed))


def lines_of(priced: Charge, target: str, rules: Rules, **changes: Any) -> list[Line]:
    """Return the lines, having re-added every one."""
    pricing = price(BLUEFIN._replace(**changes), [priced], rules=rules, target_date=day(target))
    assert pricing.problems == []
    assert all(amount_of(line.derivation, USD) == line.amount for line in pricing.lines)
    return pricing.lines


def bill(priced: Charge, target: str, rules: Rules | None = None, **changes: Any) -> list[str]:
    """Return the lines as an invoice shows them; what follows the charge's name in brief: C, PC, P."""
    marks = {"Support": "", "Support – Credit": " C", "Support – Proration Credit": " PC", "Support – Proration": " P"}
    return [
        f"{line.period.start:%m-%d}…{line.period.end - ONE_DAY:%m-%d} {line.amount}{marks[line.description]}"
        for line in lines_of(priced, target, rules or Rules(), **changes)
    ]


# ---- cancellations


@pytest.mark.parametrize(
    ("unit", "rule", "credit"),
    [
        # 10-01  10-15                        01-01
        #   |======|-------- given back --------|      300 billed
        (ProrationUnit.MONTH_FIRST, DaysInMonth.ACTUAL, "-254.84"),
        (BY_DAY, DaysInMonth.ACTUAL, "-254.35"),
        # 14 of 30 days are kept. (Published is −256.67, the given-back days alone; then nothing adds up to 300.)
        (ProrationUnit.MONTH_FIRST, DaysInMonth.ASSUME_30, "-253.33"),
        (ProrationUnit.MONTH_FIRST, DaysInMonth.ASSUME_30_STRICT, "-253.33"),
    ],
)
def test_a_cancelled_quarter(unit: ProrationUnit, rule: DaysInMonth, credit: str) -> None:
    terms: dict[str, Any] = {"billing_period": BillingPeriod.QUARTER, "list_price_base": ListPriceBase.PER_MONTH}
    cancelled = charge("2014-10-01", segment("2014-10-01", "2014-10-15"), **terms)
    priced = after(cancelled, item("2014-10-01", "2015-01-01", "300"))
    rules = Rules(proration_unit=unit, days_in_month=rule)
    assert bill(priced, "2014-10-15", rules) == [f"10-15…12-31 {credit} PC"]


@pytest.mark.parametrize(("unit", "credit"), [(ProrationUnit.MONTH_FIRST, "-600.00"), (BY_DAY, "-604.93")])
def test_a_cancelled_year(unit: ProrationUnit, credit: str) -> None:
    cancelled = charge(
        "2021-01-01", segment("2021-01-01", "2021-07-01", price="1200"), billing_period=BillingPeriod.ANNUAL
    )
    priced = after(cancelled, item("2021-01-01", "2022-01-01", "1200"))
    assert bill(priced, "2021-07-01", Rules(proration_unit=unit)) == [f"07-01…12-31 {credit} PC"]


def test_a_month_of_twenty_nine_days() -> None:
    """
    02-11               03-01     03-11
      |=== 16.38 kept ====|- 8.62 -|
    """
    cancelled = charge("2020-02-11", segment("2020-02-11", "2020-03-01", price="25"))
    priced = after(cancelled, item("2020-02-11", "2020-03-11", "25"))
    assert bill(priced, "2020-03-01", bill_cycle_day=11) == ["03-01…03-10 -8.62 PC"]


def test_a_credit_waits_for_the_day_on_which_service_ends() -> None:
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-16"))
    priced = after(cancelled, item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, "2026-01-15") == []
    assert bill(priced, "2026-01-16") == ["01-16…01-31 -51.61 PC"]


def test_months_billed_ahead_come_back_whole() -> None:
    """Newest first is how they are given back, oldest first how they are listed."""
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-16"))
    months = [("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-04-01")]
    billed = [item(start, end, "100", item_id=number) for number, (start, end) in enumerate(months, 1)]
    found = lines_of(after(cancelled, *billed), "2026-01-16", Rules())
    assert [(line.credits_item, line.amount, line.description) for line in found] == [
        (1, Decimal("-51.61"), "Support – Proration Credit"),
        (2, Decimal("-100.00"), "Support – Credit"),
        (3, Decimal("-100.00"), "Support – Credit"),
    ]


def test_a_second_cancellation_gives_back_from_what_is_left() -> None:
    """Cancelled for 01-21 (64.52 are left), then for 01-11."""
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-11"))
    priced = after(cancelled, item("2026-01-01", "2026-01-21", "64.52", of=("2026-01-01", "2026-02-01")))
    assert bill(priced, "2026-01-21") == ["01-11…01-20 -32.26 PC"]


def test_a_charge_cancelled_on_its_first_day_gives_back_everything() -> None:
    cancelled = charge("2026-01-10", segment("2026-01-10", "2026-01-10"))
    priced = after(cancelled, item("2026-01-10", "2026-02-01", "70.97"))
    assert bill(priced, "2026-01-10") == ["01-10…01-31 -70.97 C"]


def test_where_partial_periods_are_billed_in_full_nothing_comes_back_but_the_days() -> None:
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-16"))
    priced = after(cancelled, item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, "2026-01-16", Rules(prorate_partial_periods=False)) == ["01-16…01-31 0.00 C"]


def test_a_skipped_first_month_has_nothing_to_give_back() -> None:
    cancelled = charge("2026-01-10", segment("2026-01-10", "2026-01-16"))
    priced = after(cancelled, item("2026-01-10", "2026-02-01", "0"))
    assert bill(priced, "2026-01-16", Rules(partial_months=PartialMonths.SKIP)) == ["01-16…01-31 0.00 C"]


def test_what_is_still_served_is_left_alone() -> None:
    running = after(charge("2026-01-01"), item("2026-01-01", "2026-02-01", "100"))
    assert bill(running, "2026-01-31") == []
    ends_as_billed = after(
        charge("2026-01-01", segment("2026-01-01", "2026-02-01")), item("2026-01-01", "2026-02-01", "100")
    )
    assert bill(ends_as_billed, "2026-12-31") == []


# ---- changes


def test_a_changed_price_takes_the_days_that_were_given_back() -> None:
    """100 a month billed, 150 from January 16.

    01-01        01-16        02-01
      |= 48.39 ====|-- −51.61 --|
                   |== 77.42 ===|
    """
    changed = charge("2026-01-01", segment("2026-01-01", "2026-01-16"), segment("2026-01-16", number=2, price="150"))
    priced = after(changed, item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, "2026-01-15") == []
    assert bill(priced, "2026-01-16") == ["01-16…01-31 -51.61 PC", "01-16…01-31 77.42 P"]
    lines = lines_of(priced, "2026-02-01", Rules())
    assert [(line.segment_number, line.credits_item) for line in lines] == [(1, 7), (2, None), (2, None)]


def test_a_change_shares_the_full_price_where_partial_periods_are_not_prorated() -> None:
    """The period is a full one with two prices: each pays for its days, though nothing is prorated."""
    changed = charge("2026-01-01", segment("2026-01-01", "2026-01-16"), segment("2026-01-16", number=2, price="150"))
    priced = after(changed, item("2026-01-01", "2026-02-01", "100"))
    rules = Rules(prorate_partial_periods=False)
    assert bill(priced, "2026-01-16", rules) == ["01-16…01-31 -51.61 PC", "01-16…01-31 77.42 P"]


def test_a_change_of_the_first_partial_month_keeps_to_its_share_of_the_full_price() -> None:
    """Billed 100 for January 11 to 31; 200 from January 18: 7 and 14 of 21 days."""
    changed = charge("2026-01-11", segment("2026-01-11", "2026-01-18"), segment("2026-01-18", number=2, price="200"))
    priced = after(changed, item("2026-01-11", "2026-02-01", "100"))
    rules = Rules(partial_months=PartialMonths.BILL_FULL)
    assert bill(priced, "2026-01-18", rules) == ["01-18…01-31 -66.67 PC", "01-18…01-31 133.33 P"]


@pytest.mark.parametrize("rule", [DaysInMonth.ASSUME_30, DaysInMonth.ASSUME_30_STRICT])
def test_a_change_to_the_same_price_costs_nothing_in_months_of_thirty_days(rule: DaysInMonth) -> None:
    """
    01-01        01-16        02-01
      |= 50.00 ====|== −50.00 ==|      15 of 30 days are kept
                   |== 50.00 ===|      what is left of thirty
    """
    changed = charge("2026-01-01", segment("2026-01-01", "2026-01-16"), segment("2026-01-16", number=2))
    priced = after(changed, item("2026-01-01", "2026-02-01", "100"))
    rules = Rules(days_in_month=rule)
    assert bill(priced, "2026-01-16", rules) == ["01-16…01-31 -50.00 PC", "01-16…01-31 50.00 P"]
    # Changed and then cancelled for the 26th: 25 of 30 days in all, and so they cost if nothing had been billed before.
    ended = charge("2026-01-01", segment("2026-01-01", "2026-01-16"), segment("2026-01-16", "2026-01-26", number=2))
    second = item("2026-01-16", "2026-02-01", "50", number=2)
    assert bill(after(ended, second), "2026-01-26", rules) == ["01-26…01-31 -16.67 PC"]
    assert bill(ended, "2026-01-26", rules) == ["01-01…01-15 50.00 P", "01-16…01-25 33.33 P"]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-01-31", "01-31…01-31 0.00 C"),  # 30 of 30 days are kept
        ("2026-01-30", "01-30…01-31 -3.33 PC"),  # 29 of 30
        ("2026-01-02", "01-02…01-31 -96.67 PC"),  # 1 of 30
    ],
)
def test_the_thirty_first_day_gives_nothing_back(end: str, expected: str) -> None:
    priced = after(charge("2026-01-01", segment("2026-01-01", end)), item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, end, Rules(days_in_month=DaysInMonth.ASSUME_30)) == [expected]


@pytest.mark.parametrize("rule", [DaysInMonth.ASSUME_30, DaysInMonth.ASSUME_30_STRICT])
def test_a_year_by_day_is_full_after_360_days(rule: DaysInMonth) -> None:
    """Before December 31 the one has counted 364 days and the other twelve times thirty: nothing is left to give back."""
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-12-31"), billing_period=BillingPeriod.ANNUAL)
    priced = after(cancelled, item("2026-01-01", "2027-01-01", "100"))
    assert bill(priced, "2026-12-31", Rules(days_in_month=rule, proration_unit=BY_DAY)) == ["12-31…12-31 0.00 C"]


def test_days_that_became_dearer_than_all_that_was_billed_give_nothing_back() -> None:
    """Billed 22 of 31 days; then partial periods came to be billed in full, 100 for any days: 70.97 is all there is."""
    cancelled = charge("2026-01-10", segment("2026-01-10", "2026-01-16"))
    priced = after(cancelled, item("2026-01-10", "2026-02-01", "70.97"))
    assert bill(priced, "2026-01-16", Rules(prorate_partial_periods=False)) == ["01-16…01-31 0.00 C"]
    # A price below zero mirrors it.
    mirrored = charge("2026-01-10", segment("2026-01-10", "2026-01-16", price="-100"))
    priced = after(mirrored, item("2026-01-10", "2026-02-01", "-70.97"))
    assert bill(priced, "2026-01-16", Rules(prorate_partial_periods=False)) == ["01-16…01-31 0.00 C"]
    assert bill(priced, "2026-01-16") == ["01-16…01-31 51.62 PC"]


def test_a_price_that_changed_its_sign_gives_back_what_was_billed_and_no_more() -> None:
    cancelled = charge("2026-01-10", segment("2026-01-10", "2026-01-16", price="-100"))
    priced = after(cancelled, item("2026-01-10", "2026-02-01", "70.97"))
    assert bill(priced, "2026-01-16") == ["01-16…01-31 -70.97 PC"]


def test_the_first_month_stays_the_first_whatever_follows() -> None:
    """Billed in full for January 10 to 31 at two prices; the second ends on the 25th, and service resumes in March.

    01-10       01-18          01-25   02-01        03-01
      |= 8 of 15 ==|== 7 of 15 ===|------|            |===
    """
    ended = charge(
        "2026-01-10",
        segment("2026-01-10", "2026-01-18"),
        segment("2026-01-18", "2026-01-25", number=2),
        segment("2026-03-01", number=3),
    )
    priced = after(ended, item("2026-01-18", "2026-02-01", "63.64", number=2))
    # 46.67 is kept of the 63.64 that 14 of 22 days cost.
    assert bill(priced, "2026-01-25", Rules(partial_months=PartialMonths.BILL_FULL)) == ["01-25…01-31 -16.97 PC"]


def test_an_item_of_the_other_kind_is_left_alone() -> None:
    """A charge does not change its type, but if it did, nothing would be credited by rules that are not the item's."""
    once = item("2026-01-01", "2026-01-02", "100")._replace(kind=LineKind.ONE_TIME)
    ended = charge("2026-01-01", segment("2026-01-01", "2026-01-01"))
    assert bill(after(ended, once), "2026-01-02") == []
    removed = charge("2026-01-01", segment("2026-01-01", "2026-01-01"), charge_type=ChargeType.ONE_TIME)
    recurring = item("2026-01-01", "2026-01-02", "100")
    assert bill(after(removed, recurring), "2026-01-02", Rules(credit_one_time=True)) == []


def test_a_suspension_gives_back_and_the_resumption_bills_anew() -> None:
    """
    01-01    01-11    01-21    02-01
      |=32.26==|---------------|
                        |=35.48=|
    """
    suspended = charge("2026-01-01", segment("2026-01-01", "2026-01-11"), segment("2026-01-21", number=2))
    priced = after(suspended, item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, "2026-01-11") == ["01-11…01-31 -67.74 PC"]
    assert bill(priced, "2026-01-21") == ["01-11…01-31 -67.74 PC", "01-21…01-31 35.48 P"]


def test_in_arrears_the_new_part_waits_for_the_end_of_its_period() -> None:
    """An earlier part was billed by mistake of its plan's timing: it comes back at once, the rest is due on 02-01."""
    changed = charge(
        "2026-01-01",
        segment("2026-01-01", "2026-01-16"),
        segment("2026-01-16", number=2, price="150"),
        billing_timing=BillingTiming.IN_ARREARS,
    )
    priced = after(changed, item("2026-01-01", "2026-02-01", "100"))
    assert bill(priced, "2026-01-31") == ["01-16…01-31 -51.61 PC"]
    assert bill(priced, "2026-02-01") == ["01-16…01-31 -51.61 PC", "01-16…01-31 77.42 P"]


def test_the_kept_days_are_priced_on_today_s_grid() -> None:
    """Billed on the first; the billing day moved to the fifteenth before the charge was cancelled.

    01-01    01-15        01-25  02-01
      |=14/31==|== 10/31 ===|------|
    """
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-25"))
    priced = after(cancelled, item("2026-01-01", "2026-02-01", "100"))
    (line,) = lines_of(priced, "2026-01-25", Rules(), bill_cycle_day=15)
    assert line.amount == Decimal("45.16") + Decimal("32.26") - 100
    assert len(json.loads(line.derivation)["credit"]["kept"]) == 2


# ---- the end of the term


def test_the_published_example_of_a_year_billed_past_its_term() -> None:
    """153 of 365 days were in the term: 100.00, then −58.08."""
    priced = charge(
        "2018-03-23",
        billing_period=BillingPeriod.ANNUAL,
        billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
        term_end=day("2018-08-23"),
    )
    rules = Rules(bill_past_term_end=True, proration_unit=BY_DAY)
    assert bill(priced, "2018-03-23", rules) == ["03-23…03-22 100.00"]
    billed = after(priced, item("2018-03-23", "2019-03-23", "100"))
    assert bill(billed, "2018-08-22", rules) == []
    assert bill(billed, "2018-08-23", rules) == ["08-23…03-22 -58.08 PC"]
    # Renewed in time: the days are served, and the next year goes on.
    renewed = billed._replace(term_end=day("2019-08-23"))
    assert bill(renewed, "2018-08-23", rules) == []
    assert bill(renewed, "2019-03-23", rules) == ["03-23…03-22 100.00"]
    # The rule was switched off meanwhile: the cut holds, but its day has not come.
    assert bill(billed, "2018-08-22", rules._replace(bill_past_term_end=False)) == []


# ---- one-time charges


@pytest.mark.parametrize(
    ("end", "allowed", "target", "expected"),
    [
        ("2026-03-10", True, "2026-03-10", ["03-10…03-10 -100.00 C"]),
        ("2026-03-09", True, "2026-04-01", ["03-10…03-10 -100.00 C"]),
        ("2026-03-10", False, "2026-04-01", []),
        ("2026-03-11", True, "2026-04-01", []),  # removed after it came about
        (None, True, "2026-04-01", []),
        ("2026-03-10", True, "2026-03-09", []),
    ],
)
def test_a_one_time_charge_comes_back_when_removed_by_its_day(
    end: str | None, allowed: bool, target: str, expected: list[str]
) -> None:
    removed = charge("2026-03-10", segment("2026-03-01", end), charge_type=ChargeType.ONE_TIME, billing_period=None)
    billed = item("2026-03-10", "2026-03-11", "100")._replace(kind=LineKind.ONE_TIME)
    assert bill(after(removed, billed), target, Rules(credit_one_time=allowed)) == expected


def test_a_one_time_charge_whose_price_changed_is_not_removed() -> None:
    """The first price had ended by its day, the one that followed had not."""
    changed = charge(
        "2026-03-10",
        segment("2026-03-01", "2026-03-05"),
        segment("2026-03-05", number=2),
        charge_type=ChargeType.ONE_TIME,
        billing_period=None,
    )
    billed = item("2026-03-10", "2026-03-11", "100")._replace(kind=LineKind.ONE_TIME)
    assert bill(after(changed, billed), "2026-04-01", Rules(credit_one_time=True)) == []


# ---- what a credit line carries


def test_a_credit_line_carries_what_the_writer_needs() -> None:
    cancelled = charge(
        "2026-01-01",
        segment("2026-01-01", "2026-01-16", quantity="4", price="25"),
        charge_model=ChargeModel.PER_UNIT,
        rate_plan_id=31,
        invoice_separately=True,
    )
    (line,) = lines_of(after(cancelled, item("2026-01-01", "2026-02-01", "100")), "2026-01-16", Rules())
    assert line[:3] == (100, 10, 1001)
    assert (line.kind, line.quantity, line.credits_item, line.reduces) == (LineKind.CREDIT, Decimal(4), 7, None)
    assert (line.charge_number, line.rate_plan_id, line.segment_number) == ("C-00000001", 31, 1)
    assert line.invoice_separately
    assert line.derivation == (
        '{"v":1,"s":1,"credit":{"item":7,"billed":"100","kept":'
        '[{"v":1,"s":1,"m":"PerUnit","p":"25","q":"4","f":[1,1],"part":[0,15,31],"r":2}]},"r":2}'
    )


def test_an_item_of_an_unknown_segment_is_a_problem() -> None:
    priced = after(charge("2026-01-01"), item("2026-01-01", "2026-02-01", "100", number=9))
    pricing = price(BLUEFIN, [priced], rules=Rules(), target_date=day("2026-02-01"))
    assert [problem.code for problem in pricing.problems] == ["missing_segment"]


def test_excluded_charges_are_not_credited() -> None:
    cancelled = charge("2026-01-01", segment("2026-01-01", "2026-01-16"))
    priced = after(cancelled, item("2026-01-01", "2026-02-01", "100"))
    excluded = frozenset({ChargeType.RECURRING})
    assert price(BLUEFIN, [priced], rules=Rules(), target_date=day("2026-02-01"), excluded=excluded).lines == []


def test_discounts_are_left_to_others() -> None:
    for model in (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE):
        assert bill(charge("2026-01-01", charge_model=model, alignment=Alignment.CHARGE), "2026-02-01") == []
