"""What an account owes by a target date, told with worked numbers; anything wrong means problems and no lines."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.pricing import price
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeType,
    Line,
    LineKind,
    ListPriceBase,
    Rules,
)
from tests.billing.core import BLUEFIN, JPY, USD, charge, day, segment, tiers

QUARTER, ANNUAL = BillingPeriod.QUARTER, BillingPeriod.ANNUAL
PER_MONTH, PER_YEAR = ListPriceBase.PER_MONTH, ListPriceBase.PER_YEAR
ARREARS = BillingTiming.IN_ARREARS


def lines_of(*charges: Charge, target: str, **changes: Any) -> list[Line]:
    """Return the lines up to `target`, which must come without a problem; `changes` are fields of the account."""
    rules = changes.pop("rules", Rules())
    excluded = changes.pop("excluded", frozenset())
    pricing = price(BLUEFIN._replace(**changes), charges, rules=rules, target_date=day(target), excluded=excluded)
    assert pricing.problems == []
    return pricing.lines


def bill(*charges: Charge, target: str, **changes: Any) -> list[str]:
    """Return the lines as an invoice shows them: first day…last day, amount and a P where it was prorated."""
    return [
        f"{line.period.start:%m-%d}…{line.period.end - timedelta(days=1):%m-%d} {line.amount}"
        + (" P" if line.description.endswith(" – Proration") else "")
        for line in lines_of(*charges, target=target, **changes)
    ]


def codes(*charges: Charge, target: str = "2026-01-01", **changes: Any) -> list[tuple[str, str]]:
    """Return code and subject of every problem, having checked that there are no lines beside them."""
    bound = {"max_lines_per_charge": changes.pop("max_lines")} if "max_lines" in changes else {}
    pricing = price(BLUEFIN._replace(**changes), charges, rules=Rules(), target_date=day(target), **bound)
    assert pricing.lines == []
    assert all(problem.message.endswith(".") and problem.hint.endswith(".") for problem in pricing.problems)
    return [(problem.code, problem.subject) for problem in pricing.problems]


# ---- amounts of full periods


@pytest.mark.parametrize(
    ("terms", "quantity", "amount", "unit_price"),
    [
        ({"billing_period": QUARTER, "list_price_base": PER_YEAR, "price": "12000"}, None, "3000.00", "3000"),
        ({"billing_period": QUARTER, "list_price_base": PER_MONTH, "price": "100"}, None, "300.00", "300"),
        ({"billing_period": QUARTER, "price": "100"}, None, "100.00", "100"),
        ({"billing_period": ANNUAL, "list_price_base": PER_YEAR, "price": "1200"}, None, "1200.00", "1200"),
        ({"list_price_base": PER_YEAR, "price": "100"}, None, "8.33", "8.333333333"),
        (
            {"list_price_base": PER_YEAR, "price": "100", "charge_model": ChargeModel.PER_UNIT},
            "3",
            "25.00",
            "8.333333333",
        ),
        ({"price": "59.99", "charge_model": ChargeModel.PER_UNIT}, "4", "239.96", "59.99"),
        ({"price": "0.333333333", "charge_model": ChargeModel.PER_UNIT}, "3", "1.00", "0.333333333"),
        ({"price": "99"}, "160", "99.00", "99"),
        ({"price": "0"}, None, "0.00", "0"),
    ],
)
def test_amount_of_a_full_period(terms: dict[str, Any], quantity: str | None, amount: str, unit_price: str) -> None:
    priced = segment("2026-01-01", price=terms.pop("price"), quantity=quantity)
    (line,) = lines_of(charge("2026-01-01", priced, **terms), target="2026-01-01")
    assert str(line.amount) == amount
    assert line.unit_price == Decimal(unit_price)
    assert line.quantity == (Decimal(quantity) if quantity and "charge_model" in terms else None)
    assert line.description == "Support"


def test_tiered_models_scale_the_whole_walk_to_the_billing_period() -> None:
    walk = segment("2026-01-01", quantity="120", tiers=tiers("50: 10, 100: 8, rest: 5"))
    terms: dict[str, Any] = {"billing_period": QUARTER, "list_price_base": PER_MONTH}
    tiered = charge("2026-01-01", walk, charge_model=ChargeModel.TIERED, **terms)
    volume = charge("2026-01-01", walk, charge_model=ChargeModel.VOLUME, **terms)
    found = lines_of(tiered, volume, target="2026-01-01")
    assert [(line.amount, line.quantity, line.unit_price) for line in found] == [
        (Decimal("3000.00"), Decimal(120), None),
        (Decimal("1800.00"), Decimal(120), None),
    ]


def test_amounts_have_the_digits_of_the_currency() -> None:
    yen = segment("2026-01-01", price="1234.5")
    assert [str(line.amount) for line in lines_of(charge("2026-01-01", yen), target="2026-01-01", currency=JPY)] == [
        "1235"
    ]


# ---- part periods


@pytest.mark.parametrize(
    ("start", "bill_cycle_day", "terms", "target", "expected"),
    [
        # 01-01         01-15              02-15
        #   |=============|==================|        145.16 in all
        ("2018-01-01", 15, {}, "2018-02-14", ["01-01…01-14 45.16 P", "01-15…02-14 100.00"]),
        # 01-01 01-16                      04-01
        #   |.....|==========================|        16 of 31 days + 2 months
        ("2018-01-16", 1, {"alignment": "quarter grid"}, "2018-01-16", ["01-16…03-31 251.61 P"]),
        ("2018-07-16", 1, {"alignment": "quarter grid"}, "2018-07-16", ["07-16…09-30 251.61 P"]),
        # 05-01 05-20                      08-01
        #   |.....|==========================|        12 of 31 days + 2 months
        ("2024-05-20", 1, {"alignment": "subscription 01-15"}, "2024-05-20", ["05-20…07-31 238.71 P"]),
        # 05-20 06-01                      09-01
        #   |=====|==========================|        the charge's own quarters
        ("2024-05-20", 1, {"alignment": "charge"}, "2024-06-01", ["05-20…05-31 38.71 P", "06-01…08-31 300.00"]),
    ],
)
def test_first_period_is_prorated_to_the_billing_day(
    start: str, bill_cycle_day: int, terms: dict[str, Any], target: str, expected: list[str]
) -> None:
    alignments: dict[str, dict[str, Any]] = {
        "quarter grid": {"alignment": Alignment.SUBSCRIPTION_START, "subscription_start": f"{start[:4]}-01-01"},
        "subscription 01-15": {"alignment": Alignment.SUBSCRIPTION_START, "subscription_start": "2024-01-15"},
        "charge": {},
    }
    if terms:
        terms = {"billing_period": QUARTER, "list_price_base": PER_MONTH} | alignments[terms["alignment"]]
    assert bill(charge(start, **terms), target=target, bill_cycle_day=bill_cycle_day) == expected


def test_a_month_from_billing_day_to_billing_day_has_its_own_length() -> None:
    """Cancelled on March 1, 2020: 19 of the 29 days from February 11, not 19 of 31.

    02-11               03-01     03-11
      |===================|.........|
    """
    cancelled = charge("2020-02-11", segment("2020-02-11", "2020-03-01", price="25"))
    assert bill(cancelled, target="2020-02-11", bill_cycle_day=11) == ["02-11…02-29 16.38 P"]


def test_month_ends_are_full_periods_for_a_charge_that_follows_its_trigger_day() -> None:
    """
    01-31      02-29      03-31
      |==========|==========|
    """
    monthly = charge("2024-01-31", billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY)
    assert bill(monthly, target="2024-02-29") == ["01-31…02-28 100.00", "02-29…03-30 100.00"]


def test_partial_periods_are_billed_in_full_when_the_rule_says_so() -> None:
    """
    01-10     02-01          03-01   03-11
      |=========|==============|=======|
    """
    short = charge("2026-01-10", segment("2026-01-10", "2026-03-11"))
    rules = Rules(prorate_partial_periods=False)
    assert bill(short, target="2026-03-01", rules=rules) == [
        "01-10…01-31 100.00",
        "02-01…02-28 100.00",
        "03-01…03-10 100.00",
    ]
    assert bill(short, target="2026-03-01") == ["01-10…01-31 70.97 P", "02-01…02-28 100.00", "03-01…03-10 32.26 P"]


# ---- segments


def test_a_price_change_inside_a_period_makes_two_prorated_lines() -> None:
    """100 a month, 150 from January 16.

    01-01     01-16      02-01
      |=========|==========|=== …
         48.39     77.42       150
    """
    changing = charge(
        "2026-01-01",
        segment("2026-01-01", "2026-01-16", number=1),
        segment("2026-01-16", number=2, price="150"),
    )
    assert bill(changing, target="2026-02-01") == ["01-01…01-15 48.39 P", "01-16…01-31 77.42 P", "02-01…02-28 150.00"]
    assert [line.segment_id for line in lines_of(changing, target="2026-02-01")] == [1001, 1002, 1002]


def test_a_price_change_on_a_boundary_prorates_nothing() -> None:
    changing = charge(
        "2026-01-01", segment("2026-01-01", "2026-02-01", number=1), segment("2026-02-01", number=2, price="150")
    )
    assert bill(changing, target="2026-02-01") == ["01-01…01-31 100.00", "02-01…02-28 150.00"]


def test_both_parts_of_a_split_period_are_billed_on_the_same_day() -> None:
    """In arrears the first part waits for the end of its period, in advance the second does not wait for its start."""
    segments = segment("2026-01-01", "2026-01-16", number=1), segment("2026-01-16", number=2)
    in_arrears = charge("2026-01-01", *segments, billing_timing=ARREARS)
    assert bill(in_arrears, target="2026-01-31") == []
    assert bill(in_arrears, target="2026-02-01") == ["01-01…01-15 48.39 P", "01-16…01-31 51.61 P"]
    assert len(bill(charge("2026-01-01", *segments), target="2026-01-01")) == 2


def test_a_partial_period_billed_in_full_shares_its_amount_between_two_prices() -> None:
    """Starts on January 11 at 100, costs 200 from January 18: 7 and 14 of the 21 days billed as a full month.

    01-11     01-18      02-01
      |=========|==========|
    """
    changing = charge(
        "2026-01-11",
        segment("2026-01-11", "2026-01-18", number=1),
        segment("2026-01-18", number=2, price="200"),
    )
    found = bill(changing, target="2026-01-11", rules=Rules(prorate_partial_periods=False))
    assert found == ["01-11…01-17 33.33 P", "01-18…01-31 133.33 P"]


def test_a_suspension_is_not_billed_and_service_resumes_on_its_first_day() -> None:
    """
    01-01    01-11     02-21   03-01
      |========|         |=======|=== …
    """
    resumed = charge("2026-01-01", segment("2026-01-01", "2026-01-11", number=1), segment("2026-02-21", number=2))
    assert bill(resumed, target="2026-02-20") == ["01-01…01-10 32.26 P"]
    assert bill(resumed, target="2026-03-01") == ["01-01…01-10 32.26 P", "02-21…02-28 28.57 P", "03-01…03-31 100.00"]


def test_the_last_period_is_cut_where_the_charge_ends() -> None:
    ending = charge("2026-01-01", segment("2026-01-01", "2026-02-15"))
    assert bill(ending, target="2026-12-31") == ["01-01…01-31 100.00", "02-01…02-14 50.00 P"]


# ---- what is already covered


def test_billing_goes_on_where_it_stopped() -> None:
    assert bill(charge("2020-01-01", billed_through="2026-03-01"), target="2026-04-01") == [
        "03-01…03-31 100.00",
        "04-01…04-30 100.00",
    ]
    assert bill(charge("2020-01-01", billed_through="2026-03-01"), target="2026-02-28") == []


def test_a_new_bill_cycle_day_begins_with_a_part_period_from_the_frontier() -> None:
    """Billed on the first so far, from now on the fifteenth.

    01-01       02-01 02-15          03-15
      |-covered---|=====|==============|
    """
    moved = charge("2026-01-01", billed_through="2026-02-01")
    assert bill(moved, target="2026-02-15", bill_cycle_day=15) == ["02-01…02-14 45.16 P", "02-15…03-14 100.00"]


def test_an_ended_and_billed_charge_owes_nothing() -> None:
    ended = charge("2026-01-01", segment("2026-01-01", "2026-02-01"), billed_through="2026-02-01")
    assert bill(ended, target="2027-01-01") == []


def test_seven_years_unbilled_in_arrears_are_caught_up_exactly() -> None:
    found = lines_of(charge("2019-03-31", billing_period=ANNUAL, billing_timing=ARREARS), target="2026-04-01")
    assert [line.period.start for line in found] == [day("2019-03-31")] + [
        day(f"{year}-04-01") for year in range(2019, 2026)
    ]


# ---- one-time, usage and what is left out


def test_a_one_time_charge_is_billed_on_its_trigger_day() -> None:
    setup = charge("2026-03-10", charge_type=ChargeType.ONE_TIME, billing_period=None)
    assert bill(setup, target="2026-03-09") == []
    (line,) = lines_of(setup, target="2026-03-10")
    assert line.period == (day("2026-03-10"), day("2026-03-11"))
    assert (line.kind, line.amount, line.description) == (LineKind.ONE_TIME, Decimal("100.00"), "Support")


def test_a_one_time_price_does_not_depend_on_a_list_price_base() -> None:
    setup = charge("2026-03-10", charge_type=ChargeType.ONE_TIME, billing_period=ANNUAL, list_price_base=PER_MONTH)
    assert bill(setup, target="2026-03-10") == ["03-10…03-10 100.00"]


def test_charges_of_excluded_types_usage_and_untriggered_charges_are_left_alone() -> None:
    setup = charge("2026-01-01", charge_type=ChargeType.ONE_TIME)
    monthly = charge("2026-01-01")
    usage = charge("2026-01-01", segment("2026-01-01", price=None), charge_type=ChargeType.USAGE)
    waiting = charge("2026-01-01", trigger_date=None)
    kinds = [line.kind for line in lines_of(setup, monthly, usage, waiting, target="2026-01-01")]
    assert kinds == [LineKind.ONE_TIME, LineKind.RECURRING]
    excluded = frozenset({ChargeType.RECURRING})
    found = lines_of(setup, monthly, target="2026-01-01", excluded=excluded, bill_cycle_day=0)
    assert [line.kind for line in found] == [LineKind.ONE_TIME]


def test_a_line_carries_what_the_writer_needs() -> None:
    (line,) = lines_of(charge("2026-01-01", invoice_separately=True), target="2026-01-01")
    assert line[:3] == (100, 10, 1001)
    assert (line.kind, line.invoice_separately, line.charge_number) == (LineKind.RECURRING, True, "C-00000001")


# ---- problems


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (charge("2026-01-01", segment("2026-01-01", price=None)), "missing_price"),
        (charge("2026-01-01", segment("2026-01-01", price=None), charge_type=ChargeType.ONE_TIME), "missing_price"),
        (charge("2026-01-01")._replace(segments=()), "missing_price"),
        (charge("2026-01-01", charge_model=ChargeModel.PER_UNIT), "missing_quantity"),
        (charge("2026-01-01", charge_model=ChargeModel.TIERED), "missing_tiers"),
        (charge("2026-01-01", charge_model=ChargeModel.VOLUME), "missing_tiers"),
        (charge("2026-01-01", billing_period=None), "missing_billing_period"),
        (charge("2026-01-01", segment("2026-01-01"), segment("2026-02-01", number=2)), "overlapping_segments"),
        (charge("2026-01-01", segment("2026-01-01", price="1000000000000.01")), "amount_too_large"),
        (charge("2026-01-01", segment("2026-01-01", price="1" * 91)), "amount_too_large"),
        (
            charge(
                "2026-01-01",
                segment("2026-01-01", price="0." + "3" * 60, quantity="0." + "3" * 60),
                charge_model=ChargeModel.PER_UNIT,
            ),
            "too_many_digits",
        ),
    ],
)
def test_one_broken_charge_stops_the_whole_account(broken: Charge, code: str) -> None:
    sound = charge("2026-01-01", number="C-00000002")
    assert codes(sound, broken) == [(code, "C-00000001")]


def test_every_broken_charge_is_reported() -> None:
    first = charge("2026-01-01", segment("2026-01-01", price=None), number="C-1")
    second = charge("2026-01-01", charge_model=ChargeModel.TIERED, number="C-2")
    assert codes(first, second) == [("missing_price", "C-1"), ("missing_tiers", "C-2")]


def test_what_the_account_lacks_is_reported_once() -> None:
    charges = [charge("2026-01-01", number=f"C-{n}") for n in range(3)]
    assert codes(*charges, bill_cycle_day=0) == [("unknown_bill_cycle_day", "A00000001")]
    assert codes(*charges, bill_to_id=None, payment_term_id=None, currency=USD._replace(code="")) == [
        ("missing_bill_to", "A00000001"),
        ("missing_payment_term", "A00000001"),
        ("missing_currency", "A00000001"),
    ]


def test_an_account_that_owes_nothing_has_no_problems() -> None:
    assert codes(charge("2026-01-01"), target="2025-12-31", bill_to_id=None) == []
    assert codes(charge("2026-01-01", segment("2026-01-01", price=None)), target="2025-12-31") == []


def test_an_account_without_bill_cycle_day_can_have_charges_that_follow_their_own_day() -> None:
    own_day = charge("2026-01-20", billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY)
    assert bill(own_day, target="2026-01-20", bill_cycle_day=0) == ["01-20…02-19 100.00"]


@pytest.mark.parametrize(("target", "stopped"), [("2029-04-01", False), ("2029-05-01", True), ("2226-01-01", True)])
def test_forty_lines_of_one_charge_in_one_run_are_the_most(target: str, stopped: bool) -> None:
    monthly = charge("2026-01-01")
    if stopped:
        assert codes(monthly, target=target) == [("too_many_periods", "C-00000001")]
    else:
        assert len(lines_of(monthly, target=target)) == 40


def test_the_safety_bound_counts_lines_not_periods_and_can_be_set() -> None:
    split = charge("2026-01-01", segment("2026-01-01", "2026-01-16", number=1), segment("2026-01-16", number=2))
    assert codes(split, target="2026-01-01", max_lines=1) == [("too_many_periods", "C-00000001")]
    assert price(BLUEFIN, [split], rules=Rules(), target_date=day("2026-01-01"), max_lines_per_charge=2).problems == []


def test_a_free_part_period_is_kept_and_not_called_prorated() -> None:
    free = charge("2026-01-10", segment("2026-01-10", price="0"))
    assert bill(free, target="2026-01-10") == ["01-10…01-31 0.00"]


def test_a_weekly_price_for_a_month_is_a_problem_that_names_the_charge() -> None:
    weekly = charge(
        "2026-01-05",
        billing_period=BillingPeriod.WEEK,
        billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
        list_price_base=PER_MONTH,
    )
    (problem,) = price(BLUEFIN, [weekly], rules=Rules(), target_date=day("2026-01-05")).problems
    assert problem == (
        "list_price_base_does_not_fit",
        "C-00000001",
        "Charge C-00000001 (Support) has a list price base that cannot be counted in its billing period.",
        "Choose a list price base of weeks for weekly periods and of months for monthly ones.",
    )
