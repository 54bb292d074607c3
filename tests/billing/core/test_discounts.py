"""Discounts take off what domain.md 2.3 says, on the lines they are meant for, and no line falls below zero."""

import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.discounts import (
    Budget,
    Discount,
    DiscountedItem,
    DiscountFlawError,
    discount_amount_of,
    discount_lines,
)
from billing.core.net_revenue import Revenue, net_revenue
from billing.core.types import ChargeModel, ChargeType, Currency, DiscountLevel, Line, LineKind, Period
from tests.billing.core import JPY, USD, day, segment

EVERYTHING = frozenset(ChargeType)
JANUARY = ("2026-01-01", "2026-02-01")


def days(start: str, end: str) -> Period:
    """Return the period of two dates written as 2026-01-31."""
    return Period(day(start), day(end))


def line(amount: str, number: str = "C-00000100", period: tuple[str, str] = JANUARY, **changes: Any) -> Line:
    """Return a recurring line of charge 100 of plan 30, subscription 10."""
    values: dict[str, Any] = {
        "charge_id": int(number[2:]),
        "subscription_id": 10,
        "segment_id": 1,
        "kind": LineKind.RECURRING,
        "description": "Support",
        "quantity": None,
        "unit_price": None,
        "derivation": "{}",
        "invoice_separately": False,
        "rate_plan_id": 30,
        "segment_number": 1,
    }
    return Line(amount=Decimal(amount), charge_number=number, period=days(*period), **(values | changes))


def percentage(value: str, number: str = "C-00000001", *segments: Any, **changes: Any) -> Discount:
    """Return a percentage on the whole account since long ago."""
    values: dict[str, Any] = {
        "subscription_id": 10,
        "rate_plan_id": 31,
        "level": DiscountLevel.ACCOUNT,
        "applies_to": EVERYTHING,
        "model": ChargeModel.DISCOUNT_PERCENTAGE,
        "segments": segments or (segment("2020-01-01", price=value),),
    }
    return Discount(charge_id=int(number[2:]), number=number, name=f"{value} % off", **(values | changes))


def fixed(*budgets: Budget, number: str = "C-00000001", **changes: Any) -> Discount:
    """Return a fixed discount on the whole account."""
    values = {"model": ChargeModel.DISCOUNT_FIXED, "segments": (), "budgets": budgets}
    return percentage("0", number, **(values | changes))._replace(name="Voucher")


def budget(amount: str, period: tuple[str, str] = JANUARY, used: str = "0", **changes: Any) -> Budget:
    return Budget(days(*period), Decimal(amount), Decimal(used), **changes)


def taken(lines: list[Line]) -> list[tuple[str, str]]:
    """Return what is taken off which charge."""
    return [(f"C-{each.reduces[0]:08}" if each.reduces else "", str(each.amount)) for each in lines]


def discounted(
    lines: list[Line],
    *discounts: Discount,
    billed: Sequence[DiscountedItem] = (),
    target_date: str = "2026-01-31",
    currency: Currency = USD,
) -> list[Line]:
    """Return the discount lines, each of them checked against its derivation."""
    found = discount_lines(lines, discounts, currency=currency, target_date=day(target_date), billed=billed)
    for each in found:
        assert each.kind is LineKind.DISCOUNT
        assert discount_amount_of(each.derivation, currency) == each.amount
        assert json.dumps(json.loads(each.derivation), separators=(",", ":")) == each.derivation
    return found


class TestPercentages:
    @pytest.mark.parametrize(
        ("stacked", "amounts"),
        [(False, ["-10.00", "-18.00"]), (True, ["-10.00", "-20.00"])],
        ids=["sequential leaves 72", "stacked leaves 70"],
    )
    def test_ten_then_twenty_percent_of_a_hundred(self, stacked: bool, amounts: list[str]) -> None:
        both = [percentage("20", "C-00000002", stacked=stacked), percentage("10", "C-00000001", stacked=stacked)]
        assert [str(each.amount) for each in discounted([line("100")], *both)] == amounts

    @pytest.mark.parametrize(
        ("start", "end", "amount"),
        [
            ("2026-01-01", "2026-02-01", "-10.00"),
            ("2026-01-17", None, "-4.84"),  # 15 of 31 days
            ("2025-06-01", "2026-01-02", "-0.32"),  # 1 of 31 days
            ("2026-01-31", "2026-03-01", "-0.32"),
        ],
    )
    def test_count_for_the_days_they_share_with_the_line(self, start: str, end: str | None, amount: str) -> None:
        (found,) = discounted([line("100")], percentage("10", "C-00000001", segment(start, end, price="10")))
        assert str(found.amount) == amount
        assert found.period == days(*JANUARY)

    @pytest.mark.parametrize(
        ("start", "end"), [("2026-02-01", None), ("2020-01-01", "2026-01-01"), ("2026-01-05", "2026-01-05")]
    )
    def test_take_nothing_off_other_days(self, start: str, end: str | None) -> None:
        assert discounted([line("100")], percentage("10", "C-00000001", segment(start, end, price="10"))) == []

    def test_that_change_within_a_line_are_rounded_once(self) -> None:
        # 10 % for one day and 10 % for the other of 0.10: twice half a cent is one cent.
        parts = (
            segment("2026-01-02", price="10", number=2),
            segment("2026-01-01", "2026-01-02", price="10", number=1),
        )
        (found,) = discounted(
            [line("0.10", period=("2026-01-01", "2026-01-03"))], percentage("10", "C-00000001", *parts)
        )
        assert str(found.amount) == "-0.01"
        assert (found.segment_number, found.segment_id) == (1, 1001)
        assert json.loads(found.derivation)["w"] == [[1, "10", 1], [2, "10", 1]]

    def test_count_only_segments_with_days_in_the_line(self) -> None:
        # Ended long before, ended on the line's first day, free of any percentage, in force (15 of 31 days).
        parts = (
            segment("2025-01-01", "2025-12-01", price="50", number=1),
            segment("2025-12-01", "2026-01-01", price="40", number=2),
            segment("2026-01-01", "2026-01-17", price="0", number=3),
            segment("2026-01-17", price="10", number=4),
        )
        (found,) = discounted([line("100")], percentage("10", "C-00000001", *parts))
        assert (str(found.amount), found.segment_number) == ("-4.84", 4)
        assert json.loads(found.derivation)["w"] == [[4, "10", 15]]

    @pytest.mark.parametrize(
        ("value", "amounts"),
        [("0", []), ("0.5", ["-0.50"]), ("99.5", ["-99.50"]), ("100", ["-100.00"])],
    )
    def test_are_anything_from_nothing_to_all(self, value: str, amounts: list[str]) -> None:
        found = discounted([line("100")], percentage(value))
        assert [str(each.amount) for each in found] == amounts
        # What is left of the line is told only where it is the smaller.
        assert all("l" not in json.loads(each.derivation) for each in found)

    def test_of_less_than_half_a_cent_leave_no_line(self) -> None:
        assert discounted([line("0.04")], percentage("10")) == []
        assert [str(each.amount) for each in discounted([line("0.05")], percentage("10"))] == ["-0.01"]

    def test_that_add_up_to_more_than_the_line_leave_nothing_of_it(self) -> None:
        found = discounted([line("9.99")], *(percentage("60", f"C-0000000{n}", stacked=True) for n in (1, 2, 3)))
        assert [str(each.amount) for each in found] == ["-5.99", "-4.00"]
        assert json.loads(found[1].derivation)["l"] == "4"

    def test_are_rounded_to_the_currency(self) -> None:
        assert [str(each.amount) for each in discounted([line("105")], percentage("10"), currency=JPY)] == ["-11"]

    @pytest.mark.parametrize(("price", "code"), [(None, "missing_price"), ("100.01", ""), ("-1", "")])
    def test_that_cannot_be_are_a_problem(self, price: str | None, code: str) -> None:
        with pytest.raises(DiscountFlawError) as caught:
            discounted([], percentage("10", "C-00000001", segment("2026-01-01", price=price)))
        assert caught.value.problem.code == (code or "impossible_percentage")
        assert caught.value.problem.subject == "C-00000001"
        flaw = "has no percentage" if price is None else f"takes off {price} %"
        assert caught.value.problem.message == f"Discount C-00000001 (10 % off) {flaw}."
        hint = "Enter a percentage" if price is None else "Enter a percentage between 0 and 100"
        assert caught.value.problem.hint == f"{hint} for the discount."


class TestFixedAmounts:
    def test_walk_the_charges_until_the_budget_is_used(self) -> None:
        bronze, support, overage, recurring, storage = (
            line(amount, f"C-0000010{n}") for n, amount in enumerate(["5", "10", "5", "5", "15"])
        )
        found = discounted([storage, overage, bronze, recurring, support], fixed(budget("25")))
        assert taken(found) == [
            ("C-00000100", "-5.00"),
            ("C-00000101", "-10.00"),
            ("C-00000102", "-5.00"),
            ("C-00000103", "-5.00"),
        ]

    def test_walk_by_segment_then_start_of_service_then_charge_number(self) -> None:
        second_segment = line("5", "C-00000101", segment_number=2)
        later = line("5", "C-00000102", ("2026-01-02", "2026-02-01"))
        high_number = line("5", "C-00000109")
        low_number = line("5", "C-00000108")
        lines = [second_segment, later, high_number, low_number]
        found = [{charge for charge, _ in taken(discounted(lines, fixed(budget(f"{5 * n}"))))} for n in (1, 2, 3, 4)]
        assert [sorted(now - before) for before, now in zip([set(), *found], found, strict=False)] == [
            ["C-00000108"],
            ["C-00000109"],
            ["C-00000102"],
            ["C-00000101"],
        ]

    def test_never_take_more_than_the_line_and_lose_the_rest(self) -> None:
        assert taken(discounted([line("5")], fixed(budget("25")))) == [("C-00000100", "-5.00")]

    def test_count_what_earlier_bills_used(self) -> None:
        assert taken(discounted([line("50")], fixed(budget("25", used="24.50")))) == [("C-00000100", "-0.50")]
        assert discounted([line("50")], fixed(budget("25", used="25"))) == []
        assert discounted([line("50")], fixed(budget("12.50", used="25"))) == []

    def test_take_off_only_the_days_of_their_period(self) -> None:
        # A quarter of 90 days under monthly budgets: January's 31 days are worth 31.00, and so on.
        quarter = line("90", period=("2026-01-01", "2026-04-01"))
        budgets = [
            budget("25", ("2026-01-01", "2026-02-01"), segment_number=3, segment_id=33),
            budget("40", ("2026-02-01", "2026-03-01"), used="10"),
            budget("40", ("2026-03-01", "2026-04-01")),
            budget("99", ("2026-04-01", "2026-05-01")),
        ]
        (found,) = discounted([quarter], fixed(*budgets))
        assert str(found.amount) == "-84.00"
        assert json.loads(found.derivation) == {
            "v": 1,
            "s": 3,
            "m": "DiscountFixedAmount",
            "w": [
                ["2026-01-01", "25", "0", "31"],
                ["2026-02-01", "40", "10", "28"],
                ["2026-03-01", "40", "0", "31"],
            ],
            "r": 2,
        }
        assert (found.segment_id, found.segment_number) == (33, 3)

    def test_take_off_no_more_days_than_the_line_has(self) -> None:
        # 01-01     01-10     01-15     01-20     02-01       half of the line's ten days lies in either budget
        #   |--------- budget ---|------- budget -----|
        #             |====== line, 10.00 ====|
        short = line("10", period=("2026-01-10", "2026-01-20"))
        halves = [budget("9", ("2026-01-01", "2026-01-15")), budget("9", ("2026-01-15", "2026-02-01"))]
        (found,) = discounted([short], fixed(*halves))
        assert json.loads(found.derivation)["w"] == [["2026-01-01", "9", "0", "5"], ["2026-01-15", "9", "0", "5"]]

    def test_of_no_known_segment_are_of_the_first(self) -> None:
        (found,) = discounted([line("100")], fixed(budget("25")))
        assert (found.segment_id, found.segment_number) == (0, 1)

    def test_budgets_that_adjoin_can_take_off_a_whole_line(self) -> None:
        # A third of 0.01 is nothing, yet the parts add up.
        short = line("0.01", period=("2026-01-01", "2026-01-04"))
        daily = [budget("9", (f"2026-01-0{n}", f"2026-01-0{n + 1}")) for n in (1, 2, 3)]
        assert taken(discounted([short], fixed(*daily))) == [("C-00000100", "-0.01")]

    def test_take_off_what_percentages_before_them_left(self) -> None:
        voucher = fixed(budget("95"), number="C-00000002")
        assert taken(discounted([line("100")], percentage("10"), voucher)) == [
            ("C-00000100", "-10.00"),
            ("C-00000100", "-90.00"),
        ]
        tenth = percentage("10", "C-00000003")
        assert [amount for _, amount in taken(discounted([line("100")], tenth, voucher))] == ["-95.00", "-0.50"]

    def test_tell_how_the_budget_came_about(self) -> None:
        priced = '{"v":1,"s":1,"m":"FlatFee","p":"25","f":[1,1],"part":[0,15,30],"r":2}'
        (found,) = discounted([line("50")], fixed(budget("12.50", derivation=priced)))
        assert json.loads(found.derivation)["w"] == [["2026-01-01", "12.5", "0", "50", json.loads(priced)]]
        with pytest.raises(ValueError, match="budget"):
            discount_amount_of(found.derivation.replace('"12.5"', '"12.4"'), USD)


class TestScope:
    LINES = [
        line("100", "C-00000100"),
        line("100", "C-00000101", rate_plan_id=31),
        line("100", "C-00000102", subscription_id=11, rate_plan_id=32),
    ]

    @pytest.mark.parametrize(
        ("level", "charges"),
        [
            (DiscountLevel.RATE_PLAN, ["C-00000101"]),
            (DiscountLevel.SUBSCRIPTION, ["C-00000100", "C-00000101"]),
            (DiscountLevel.ACCOUNT, ["C-00000100", "C-00000101", "C-00000102"]),
        ],
    )
    def test_a_discount_reduces_the_lines_of_its_level(self, level: DiscountLevel, charges: list[str]) -> None:
        for discount in (percentage("10", level=level), fixed(budget("999"), level=level)):
            assert [charge for charge, _ in taken(discounted(self.LINES, discount))] == charges

    @pytest.mark.parametrize(
        ("applies_to", "charges"),
        [
            ({ChargeType.ONE_TIME}, ["C-00000101"]),
            ({ChargeType.RECURRING}, ["C-00000100"]),
            ({ChargeType.USAGE}, []),
            (set(), []),
            (EVERYTHING, ["C-00000100", "C-00000101"]),
        ],
    )
    def test_a_discount_reduces_the_types_it_applies_to(self, applies_to: set[ChargeType], charges: list[str]) -> None:
        lines = [line("100"), line("100", "C-00000101", kind=LineKind.ONE_TIME)]
        for discount in (percentage("10"), fixed(budget("999"))):
            found = discounted(lines, discount._replace(applies_to=frozenset(applies_to)))
            assert [charge for charge, _ in taken(found)] == charges

    def test_discounts_and_lines_not_above_zero_are_left_alone(self) -> None:
        lines = [line("0"), line("-5", "C-00000101"), line("5", "C-00000102", kind=LineKind.DISCOUNT)]
        assert discounted(lines, percentage("10"), fixed(budget("999"), number="C-00000002")) == []

    def test_a_credit_of_an_item_without_discounts_is_left_alone(self) -> None:
        assert discounted([line("-50", kind=LineKind.CREDIT, credits_item=7)], percentage("10")) == []


class TestLines:
    def test_go_where_the_reduced_line_goes(self) -> None:
        reduced = line("100", subscription_id=12, rate_plan_id=77, invoice_separately=True)
        (found,) = discounted([reduced], percentage("10"))
        assert found == Line(
            charge_id=1,
            subscription_id=12,
            segment_id=1001,
            kind=LineKind.DISCOUNT,
            description="10 % off on Support",
            period=reduced.period,
            quantity=None,
            unit_price=None,
            amount=Decimal("-10.00"),
            derivation='{"v":1,"s":1,"m":"DiscountPercentage","b":"100","w":[[1,"10",31]],"n":31,"r":2}',
            invoice_separately=True,
            charge_number="C-00000001",
            rate_plan_id=77,
            segment_number=1,
            credits_item=None,
            reduces=(100, reduced.period, LineKind.RECURRING),
        )

    def test_have_names_an_invoice_has_room_for(self) -> None:
        (found,) = discounted([line("100", description="s" * 119)], percentage("10")._replace(name="d" * 100))
        assert found.description == "d" * 100 + " on " + "s" * 95 + "…"
        (found,) = discounted([line("100", description="s" * 96)], percentage("10")._replace(name="d" * 100))
        assert found.description == "d" * 100 + " on " + "s" * 96

    def test_stand_by_reduced_line_then_discount(self) -> None:
        lines = [
            line("100", "C-00000102"),
            line("100", "C-00000101", ("2026-02-01", "2026-03-01")),
            line("100", "C-00000101"),
            line("100", "C-00000109", subscription_id=9),
        ]
        found = discounted(lines, percentage("20", "C-00000002"), percentage("10"))
        assert [(each.subscription_id, each.reduces and each.reduces[0], each.period.start.month) for each in found][
            ::2
        ] == [(9, 109, 1), (10, 101, 1), (10, 101, 2), (10, 102, 1)]
        assert [each.charge_id for each in found] == [1, 2] * 4


@pytest.mark.parametrize(
    "derivation",
    [
        '{"v":2,"s":1,"m":"DiscountPercentage","b":"100","w":[[1,"10",31]],"n":31,"r":2}',
        '{"v":1,"s":1,"m":"DiscountPercentage","b":"100","w":[[1,"10",31]],"n":31,"r":0}',
        '{"v":1,"s":1,"m":"FlatFee","b":"100","w":[[1,"10",31]],"n":31,"r":2}',
        '{"v":1,"s":1,"m":"DiscountFixedAmount","g":"25","w":[["2026-01-01","24"]],"r":2}',
    ],
)
def test_a_derivation_that_cannot_be_true_is_refused(derivation: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        discount_amount_of(derivation, USD)


def test_revenue_is_net_of_discounts_in_force() -> None:
    revenues = [
        Revenue(100, "C-00000100", 10, 30, 1, Decimal("1000")),
        Revenue(101, "C-00000101", 11, 31, 1, Decimal("33.333333333")),
        Revenue(102, "C-00000102", 12, 32, 1, Decimal(0)),
    ]
    ended = percentage("50", "C-00000003", segment("2026-01-01", "2026-01-20", price="50"))
    voucher = fixed(budget("100"), number="C-00000002", level=DiscountLevel.SUBSCRIPTION)
    found = net_revenue(revenues, [percentage("10"), voucher, ended], day=day("2026-01-20"))
    assert found == {100: Decimal(800), 101: Decimal("30"), 102: Decimal(0)}
    assert net_revenue(revenues, [ended], day=day("2026-01-20") - timedelta(days=1))[100] == 500
    recurring = percentage("10", applies_to=frozenset({ChargeType.RECURRING}))
    assert net_revenue(revenues, [recurring], day=day("2026-01-20"))[100] == 900
    assert (
        net_revenue(revenues, [recurring._replace(applies_to=frozenset({ChargeType.ONE_TIME}))], day=day("2026-01-20"))[
            100
        ]
        == 1000
    )
