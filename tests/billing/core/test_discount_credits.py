"""A credited item gives back its share of its discounts, and a changed percentage is billed anew for billed days."""

import json
from datetime import date
from decimal import Decimal

import pytest

from billing.core.discounts import DiscountedItem, budget_use, given_of
from billing.core.types import Line, LineKind, Period
from tests.billing.core import USD, segment
from tests.billing.core.test_discounts import JANUARY, budget, days, discounted, fixed, line, percentage


def billed(item: Line, reductions: list[Line], period: Period | None = None, amount: str = "") -> DiscountedItem:
    """Return a line as the item it becomes, with what reduces it."""
    ids = sorted({each.charge_id for each in reductions})
    return DiscountedItem(
        7,
        item.charge_id,
        item.charge_number,
        item.description,
        item.subscription_id,
        item.rate_plan_id,
        item.invoice_separately,
        first=item.amount,
        period=period or item.period,
        amount=Decimal(amount) if amount else item.amount,
        given=tuple(
            given_of(charge_id, [each.derivation for each in reductions if each.charge_id == charge_id], USD)
            for charge_id in ids
        ),
    )


def credit(amount: str, period: tuple[str, str], item_id: int = 7) -> Line:
    """Return a line that credits days of an item."""
    return line(
        amount, period=period, kind=LineKind.CREDIT, credits_item=item_id, description="Support – Proration Credit"
    )


class TestCredits:
    """A month of 100.00 is billed on its first day and canceled on the 15th: 45.16 for 14 days are kept."""

    KEPT_14_DAYS = credit("-54.84", ("2026-01-15", "2026-02-01"))

    def test_give_back_their_share_of_a_percentage(self) -> None:
        tenth = percentage("10")
        before = discounted([line("100")], tenth)
        (back,) = discounted([self.KEPT_14_DAYS], tenth, billed=[billed(line("100"), before)])
        assert str(back.amount) == "5.48"  # 10.00 less 4.52, which is 10 % of 45.16
        assert (back.period, back.credits_item) == (self.KEPT_14_DAYS.period, None)
        assert back.reduces == (100, self.KEPT_14_DAYS.period, LineKind.CREDIT)
        assert back.description == "10 % off on Support – Proration Credit"
        assert json.loads(back.derivation) == {
            "v": 1,
            "s": 1,
            "m": "DiscountPercentage",
            "g": "10",
            "k": {"b": "45.16", "w": [[1, "10", 14]], "n": 14},
            "r": 2,
        }

    @pytest.mark.parametrize(
        ("stacked", "amounts"),
        [
            (False, ["5.48", "9.87"]),  # 10.00 − 10 % of 45.16 (4.52); 18.00 − 20 % of what that leaves (8.13)
            (True, ["5.48", "10.97"]),  # 20.00 − 20 % of 45.16 (9.03)
        ],
    )
    def test_give_back_in_the_order_in_which_they_took_off(self, stacked: bool, amounts: list[str]) -> None:
        """By charge number; that the charge with the lower number has the higher id plays no part."""
        both = [
            percentage("10", stacked=stacked)._replace(charge_id=9),
            percentage("20", "C-00000002", stacked=stacked)._replace(charge_id=3),
        ]
        item = billed(line("100"), discounted([line("100")], *both))
        found = discounted([self.KEPT_14_DAYS], *reversed(both), billed=[item])
        assert [(each.charge_id, str(each.amount)) for each in found] == [(9, amounts[0]), (3, amounts[1])]

    def test_give_back_everything_with_the_whole_item(self) -> None:
        both = [percentage("10"), percentage("20", "C-00000002"), fixed(budget("30"), number="C-00000003")]
        item = billed(line("100"), discounted([line("100")], *both))
        found = discounted([credit("-100", JANUARY)], *both, billed=[item])
        assert [str(each.amount) for each in found] == ["10.00", "18.00", "30.00"]
        assert "k" not in json.loads(found[0].derivation)

    def test_in_two_steps_give_back_what_one_step_does(self) -> None:
        both = [percentage("10"), percentage("33.3", "C-00000002"), fixed(budget("9.99"), number="C-00000003")]
        first = discounted([line("100")], *both)
        step = discounted([credit("-38.71", ("2026-01-20", "2026-02-01"))], *both, billed=[billed(line("100"), first)])
        shorter = days("2026-01-01", "2026-01-20")
        rest = discounted(
            [credit("-16.13", ("2026-01-15", "2026-01-20"))],
            *both,
            billed=[billed(line("100"), [*step, *first], shorter, "61.29")],
        )
        (at_once) = discounted([self.KEPT_14_DAYS], *both, billed=[billed(line("100"), first)])
        two_at_once = discounted(
            [credit("-16.13", ("2026-01-15", "2026-01-20")), credit("-38.71", ("2026-01-20", "2026-02-01"))],
            *both,
            billed=[billed(line("100"), first)],
        )
        for discount in both:
            sums = [
                sum(each.amount for each in found if each.charge_id == discount.charge_id)
                for found in ([*step, *rest], at_once, two_at_once)
            ]
            assert sums[0] == sums[1] == sums[2] > 0

    def test_follow_the_percentages_of_the_days_that_are_kept(self) -> None:
        ending = percentage("10", "C-00000001", segment("2026-01-08", "2026-01-22", price="10"))
        before = discounted([line("100")], ending)
        assert [str(each.amount) for each in before] == ["-4.52"]  # 14 of 31 days
        (back,) = discounted([self.KEPT_14_DAYS], ending, billed=[billed(line("100"), before)])
        assert str(back.amount) == "2.26"  # 10 % of 45.16 for 7 of 14 days is kept

    def test_of_two_credits_go_with_the_days_of_each(self) -> None:
        """31 % from the 17th to the 23rd, 7 of 31 days: 7.00. The end of the month is given back first.

        01-01          01-15   01-20          02-01
          |== 45.16 =====|-16.13-|-- −38.71 ----|
                           01-17===01-24           4 of the 7 days with the one, 3 with the other
        """
        some_days = percentage("31", "C-00000001", segment("2026-01-17", "2026-01-24", price="31"))
        before = discounted([line("100")], some_days)
        assert [str(each.amount) for each in before] == ["-7.00"]
        found = discounted(
            [credit("-16.13", ("2026-01-15", "2026-01-20")), credit("-38.71", ("2026-01-20", "2026-02-01"))],
            some_days,
            billed=[billed(line("100"), before)],
        )
        # 31 % of 61.29 for 3 of 19 days are 3.00; of 45.16 for none of 14 days nothing.
        assert [(each.period.start.day, str(each.amount)) for each in found] == [(15, "3.00"), (20, "4.00")]

    def test_of_all_days_keep_nothing_whatever_the_amount(self) -> None:
        before = discounted([line("100")], percentage("10"))
        (back,) = discounted([credit("-60", JANUARY)], percentage("10"), billed=[billed(line("100"), before)])
        assert str(back.amount) == "10.00"
        assert "k" not in json.loads(back.derivation)
        before = discounted([line("100")], fixed(budget("25")))
        (back,) = discounted([credit("-60", JANUARY)], fixed(), billed=[billed(line("100"), before)])
        assert str(back.amount) == "25.00"

    def test_of_cents_keep_their_share(self) -> None:
        # 0.50 of 1.00 is kept, and 10 % of it.
        before = discounted([line("1")], percentage("10"))
        half = credit("-0.50", ("2026-01-16", "2026-02-01"))
        (back,) = discounted([half], percentage("10"), billed=[billed(line("1"), before)])
        assert str(back.amount) == "0.05"

    def test_name_the_segment_in_force_when_the_days_began(self) -> None:
        """Nothing is kept: of the segments that had begun by January 1 the last one is named, whatever follows."""
        changing = percentage(
            "10",
            "C-00000001",
            segment("2024-01-01", "2025-01-01", price="30", number=1),
            segment("2025-01-01", "2026-01-01", price="20", number=2),
            segment("2026-01-01", "2026-01-15", price="10", number=3),
            segment("2026-01-15", price="5", number=4),
        )
        before = discounted([line("100")], changing)
        (back,) = discounted([credit("-100", JANUARY)], changing, billed=[billed(line("100"), before)])
        assert (back.segment_number, back.segment_id) == (3, 1003)

    def test_of_a_fixed_amount_name_its_segment_where_it_is_known(self) -> None:
        before = discounted([line("100")], fixed(budget("25")))
        item = billed(line("100"), before)
        for segments, expected in (((), (0, 1)), ((segment("2025-01-01", number=2),), (1002, 2))):
            voucher = fixed(budget("25", used="25"), segments=segments)
            (back,) = discounted([self.KEPT_14_DAYS], voucher, billed=[item])
            assert (back.segment_id, back.segment_number) == expected

    def test_of_a_one_time_charge_give_back_all(self) -> None:
        setup = line("80", period=("2026-01-01", "2026-01-02"), kind=LineKind.ONE_TIME)
        before = discounted([setup], percentage("25"))
        (back,) = discounted(
            [credit("-80", ("2026-01-01", "2026-01-02"))], percentage("25"), billed=[billed(setup, before)]
        )
        assert str(back.amount) == "20.00"

    def test_of_nothing_give_back_nothing(self) -> None:
        before = discounted([line("100")], percentage("10"))
        free = credit("0", ("2026-01-15", "2026-02-01"))
        assert discounted([free], percentage("10"), billed=[billed(line("100"), before)]) == []

    def test_free_the_budget_for_the_line_that_takes_the_days(self) -> None:
        before = discounted([line("100")], fixed(budget("25")))
        replaced = line("80", period=("2026-01-15", "2026-02-01"), segment_number=2)
        voucher = fixed(budget("25", used="25"))
        back, again = discounted([replaced, self.KEPT_14_DAYS], voucher, billed=[billed(line("100"), before)])
        assert (str(back.amount), str(again.amount)) == ("13.71", "-13.71")
        assert json.loads(back.derivation) == {
            "v": 1,
            "s": 1,
            "m": "DiscountFixedAmount",
            "g": "25",
            "k": {"f": ["25", "45.16", "100"]},
            "w": [["2026-01-01", "13.71"]],
            "r": 2,
        }
        derivations = [each.derivation for each in (*before, back, again)]
        assert budget_use(derivations, USD) == {date(2026, 1, 1): Decimal("25.00")}
        assert (back.reduces, again.reduces) == tuple(
            (100, replaced.period, kind) for kind in (LineKind.CREDIT, LineKind.RECURRING)
        )

    def test_free_the_newest_budgets_first(self) -> None:
        quarter = line("90", period=("2026-01-01", "2026-04-01"))
        monthly = fixed(
            budget("10", ("2026-01-01", "2026-02-01")),
            budget("10", ("2026-02-01", "2026-03-01")),
            budget("10", ("2026-03-01", "2026-04-01")),
        )
        before = discounted([quarter], monthly)
        (back,) = discounted([credit("-45", ("2026-02-15", "2026-04-01"))], monthly, billed=[billed(quarter, before)])
        assert json.loads(back.derivation)["w"] == [["2026-03-01", "10"], ["2026-02-01", "5"]]
        assert budget_use([*(each.derivation for each in before), json.loads(back.derivation)], USD) == {
            date(2026, 1, 1): Decimal(10),
            date(2026, 2, 1): Decimal(5),
            date(2026, 3, 1): Decimal(0),
        }

    def test_free_each_budget_once(self) -> None:
        """90.00 for a quarter of 90 days under 10.00 a month; March is given back, then February.

        kept 59.00: 30 × 59 ÷ 90 = 19.67, given back 10.33: March's 10.00 and 0.33 of February
        kept 31.00: 30 × 31 ÷ 90 = 10.33, given back  9.34, all of February
        """
        quarter = line("90", period=("2026-01-01", "2026-04-01"))
        monthly = fixed(
            budget("10", ("2026-01-01", "2026-02-01")),
            budget("10", ("2026-02-01", "2026-03-01")),
            budget("10", ("2026-03-01", "2026-04-01")),
        )
        before = discounted([quarter], monthly)
        february, march = discounted(
            [credit("-31", ("2026-03-01", "2026-04-01")), credit("-28", ("2026-02-01", "2026-03-01"))],
            monthly,
            billed=[billed(quarter, before)],
        )
        assert (str(march.amount), str(february.amount)) == ("10.33", "9.34")
        assert json.loads(march.derivation)["w"] == [["2026-03-01", "10"], ["2026-02-01", "0.33"]]
        assert json.loads(february.derivation)["w"] == [["2026-02-01", "9.34"]]

    def test_never_leave_an_item_below_zero(self) -> None:
        # Half of 33.33 is 16.67, twice.
        half, voucher = percentage("50"), fixed(budget("50"), number="C-00000002")
        before = discounted([line("100")], half, voucher)
        found = discounted(
            [credit("-66.67", ("2026-01-11", "2026-02-01"))], half, voucher, billed=[billed(line("100"), before)]
        )
        assert [str(each.amount) for each in found] == ["33.33", "33.34"]
        assert json.loads(found[1].derivation)["k"]["l"] == "16.66"

    def test_of_an_unknown_discount_are_refused(self) -> None:
        item = billed(line("100"), discounted([line("100")], percentage("10")))
        with pytest.raises(KeyError):
            discounted([self.KEPT_14_DAYS], percentage("10", "C-00000002"), billed=[item])


class TestChanges:
    """A percentage that ends or changes before billed days are over is billed anew for them, once, by the target date."""

    REMOVED = percentage("10", "C-00000001", segment("2020-01-01", "2026-01-15", price="10"))

    @pytest.fixture
    def before(self) -> list[Line]:
        return discounted([line("100")], percentage("10"))

    def test_what_a_removed_discount_had_taken_off_is_given_back(self, before: list[Line]) -> None:
        item = billed(line("100"), before)
        (back,) = discounted([], self.REMOVED, billed=[item], target_date="2026-01-15")
        assert str(back.amount) == "5.48"  # 10.00 less 14 of 31 days of it
        assert (back.reduces, back.credits_item) == ((100, days(*JANUARY), LineKind.RECURRING), 7)
        assert back.description == "10 % off on Support – Change"
        settled = billed(line("100"), [*before, back])
        assert discounted([], self.REMOVED, billed=[settled]) == []

    def test_not_before_the_target_date(self, before: list[Line]) -> None:
        assert discounted([], self.REMOVED, billed=[billed(line("100"), before)], target_date="2026-01-14") == []

    def test_a_higher_percentage_takes_off_more(self, before: list[Line]) -> None:
        raised = percentage(
            "10",
            "C-00000001",
            segment("2020-01-01", "2026-01-15", price="10"),
            segment("2026-01-15", price="20", number=2),
        )
        (more,) = discounted([], raised, billed=[billed(line("100"), before)])
        assert str(more.amount) == "-5.48"

    @pytest.mark.parametrize(
        ("end", "amounts"),
        [("2025-12-31", ["10.00"]), ("2026-01-01", ["10.00"]), ("2026-01-31", ["0.32"]), ("2026-02-01", [])],
    )
    def test_wherever_it_lies_before_the_end_of_the_days(
        self, before: list[Line], end: str, amounts: list[str]
    ) -> None:
        ended = percentage("10", "C-00000001", segment("2020-01-01", end, price="10"))
        found = discounted([], ended, billed=[billed(line("100"), before)], target_date="2026-03-01")
        assert [str(each.amount) for each in found] == amounts

    def test_the_percentages_that_stay_as_they_were_are_not_looked_at(self, before: list[Line]) -> None:
        """Billed at 10 %; the list says 20 % now, but no percentage ends within the days."""
        item = billed(line("100"), before)
        for end in (None, "2026-02-01"):
            edited = percentage("20", "C-00000001", segment("2020-01-01", end, price="20"))
            assert discounted([], edited, billed=[item], target_date="2026-03-01") == []

    def test_one_of_several_changes_is_enough(self, before: list[Line]) -> None:
        """Of two discounts the first one ends within the days; of its segments the first one does."""
        lasting = percentage("20", "C-00000002")
        both = discounted([line("100")], percentage("10"), lasting)
        ended_later = percentage(
            "10",
            "C-00000001",
            segment("2020-01-01", "2026-01-15", price="10"),
            segment("2026-01-15", "2027-01-01", price="0", number=2),
        )
        found = discounted([], ended_later, lasting, billed=[billed(line("100"), both)], target_date="2026-01-15")
        # 10.00 less 14 of 31 days of it; then 20 % of 95.48 instead of 90.00.
        assert [str(each.amount) for each in found] == ["5.48", "-1.10"]

    def test_a_fixed_amount_stays(self) -> None:
        before = discounted([line("100")], fixed(budget("25")))
        assert discounted([], fixed(), billed=[billed(line("100"), before)]) == []
        assert discounted([], fixed(), billed=[billed(line("100"), before, amount="50")]) == []


class TestOrder:
    """By the line that is reduced; of the same days first what is given back, then what is taken off; then by discount."""

    def test_what_a_credit_gives_back_stands_before_what_the_new_line_loses(self) -> None:
        both = [percentage("10"), percentage("20", "C-00000002")]
        item = billed(line("100"), discounted([line("100")], *both))
        rest = ("2026-01-15", "2026-02-01")
        found = discounted([line("80", period=rest), credit("-54.84", rest)], *both, billed=[item])
        kinds = [(each.reduces[2], each.charge_id) for each in found if each.reduces]
        credited, new = LineKind.CREDIT, LineKind.RECURRING
        assert kinds == [(credited, 1), (credited, 2), (new, 1), (new, 2)]

    def test_what_a_change_gives_back_stands_there_too_by_item(self) -> None:
        removed = percentage("10", "C-00000002", segment("2020-01-01", "2026-01-15", price="10"))
        reductions = discounted([line("100")], percentage("10", "C-00000002"))
        seven = billed(line("100"), reductions)
        eight = seven._replace(item_id=8)
        for items in ([seven, eight], [eight, seven]):
            found = discounted([line("100")], percentage("1"), removed, billed=items)
            assert [(each.credits_item, each.charge_id) for each in found] == [(7, 2), (8, 2), (None, 1), (None, 2)]
