"""Grouping is a partition: every line lands on exactly one draft, whatever order the lines come in."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.core.grouping import GroupingKey, group
from billing.core.types import Line, LineKind, Period
from tests.billing.core import BLUEFIN


def line(subscription_id: int, number: str = "C-1", offset: int = 0, *, separately: bool = False) -> Line:
    start = date(2026, 1, 1) + timedelta(days=offset)
    return Line(
        charge_id=subscription_id * 100 + int(number[2:]),
        subscription_id=subscription_id,
        segment_id=1,
        kind=LineKind.RECURRING,
        description="Support",
        period=Period(start, start + timedelta(days=1)),
        quantity=None,
        unit_price=None,
        amount=Decimal("1.00"),
        derivation="{}",
        invoice_separately=separately,
        charge_number=number,
    )


# A subscription is invoiced separately or not; its lines never disagree.
LINES = st.lists(
    st.builds(
        lambda subscription_id, number, offset: line(
            subscription_id, f"C-{number}", offset, separately=subscription_id % 3 == 0
        ),
        st.integers(1, 9),
        st.integers(1, 3),
        st.integers(0, 40),
    ),
    unique=True,
    max_size=30,
)


def test_lines_of_one_account_share_an_invoice() -> None:
    (draft,) = group(BLUEFIN, [line(2), line(1)])
    assert draft.key == GroupingKey(1, "USD", 11, 12, 13, 14, None, "")
    assert [each.subscription_id for each in draft.lines] == [1, 2]


def test_a_subscription_that_is_invoiced_separately_gets_its_own() -> None:
    drafts = group(
        BLUEFIN, [line(7, separately=True), line(8), line(3, separately=True), line(7, "C-2", separately=True)]
    )
    assert [(draft.key.subscription_id, len(draft.lines)) for draft in drafts] == [(None, 1), (3, 1), (7, 2)]


def test_lines_stand_by_subscription_then_charge_number_then_period() -> None:
    (draft,) = group(BLUEFIN, [line(1, "C-2", 5), line(1, "C-2", 3), line(1, "C-1", 9)])
    assert [(each.charge_number, each.period.start.day) for each in draft.lines] == [
        ("C-1", 10),
        ("C-2", 4),
        ("C-2", 6),
    ]


def test_no_lines_make_no_drafts() -> None:
    assert group(BLUEFIN, []) == []


@given(LINES)
def test_every_line_lands_on_exactly_one_draft(lines: list[Line]) -> None:
    drafts = group(BLUEFIN, lines)
    assert Counter(each for draft in drafts for each in draft.lines) == Counter(lines)
    assert len({draft.key for draft in drafts}) == len(drafts)
    assert all(draft.lines for draft in drafts)
    for draft in drafts:
        assert {each.subscription_id if each.invoice_separately else None for each in draft.lines} == {
            draft.key.subscription_id
        }


@given(st.data(), LINES)
def test_drafts_do_not_depend_on_the_order_of_lines(data: st.DataObject, lines: list[Line]) -> None:
    assert group(BLUEFIN, data.draw(st.permutations(lines))) == group(BLUEFIN, lines)
