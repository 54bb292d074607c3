"""Whatever actions follow each other: no two segments of a charge overlap, and no day before an action's date changes."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Account
from billing.models import RatePlan, RatePlanCharge, Subscription, SubscriptionStatus, SubscriptionTerm
from billing.services.amendments import Amender
from billing.services.order_requests import (
    CancelSubscription,
    ChargeChange,
    Problems,
    RemoveProduct,
    RenewSubscription,
    Report,
    Resume,
    Suspend,
    UpdateProduct,
)
from billing.services.order_state import ChargeState, PlacedSegment, PlanState, SubscriptionState

START = date(2026, 1, 1)
DAYS = [START + timedelta(days=number) for number in range(-2, 60)]
SEATS = RatePlanCharge(pk=1, name="Seats 1")
EXAMPLES = settings(max_examples=300, deadline=None)


def subscription(*, termed: bool) -> SubscriptionState:
    """Return a subscription in memory: two plans with a charge each, one of which begins later and ends by itself."""
    end = date(2026, 2, 5) if termed else None
    row = Subscription(
        pk=1,
        number="A-S1",
        status=SubscriptionStatus.ACTIVE,
        term_type="Termed" if termed else "Evergreen",
        contract_effective=START,
        term_start=START,
        term_end=end,
    )
    lives = [(START, None), (START + timedelta(days=12), START + timedelta(days=40))]
    plans = []
    for pk, (begin, until) in enumerate(lives, start=1):
        charge = RatePlanCharge(
            pk=pk, name=f"Seats {pk}", number=f"C-{pk}", charge_type="Recurring", charge_model="PerUnit",
            billing_period="Month", trigger_date=begin,
        )  # fmt: skip
        segment = PlacedSegment(1, begin, until, Decimal(10), Decimal(5), (), Decimal(50))
        plans.append(PlanState(RatePlan(pk=pk, name=f"Plan {pk}"), [ChargeState(charge, [segment])]))
    term = SubscriptionTerm(pk=1, number=1, start=START, end=end)
    return SubscriptionState(row, Account(currency="USD"), plans, [term])


days = st.sampled_from(DAYS)
charges = st.builds(
    ChargeChange,
    st.sampled_from([SEATS, RatePlanCharge(pk=2, name="Seats 2")]),
    quantity=st.integers(0, 30).map(Decimal),
)
anything: Any = st.just(Subscription(pk=1))
actions = st.one_of(
    st.builds(UpdateProduct, anything, st.tuples(charges), days),
    st.builds(UpdateProduct, anything, st.tuples(charges, charges), days),
    st.builds(RemoveProduct, anything, st.sampled_from([RatePlan(pk=1, name="1"), RatePlan(pk=2, name="2")]), days),
    st.builds(Suspend, anything, days),
    st.builds(Resume, anything, days, st.booleans()),
    st.builds(RenewSubscription, anything, st.none()),
    st.builds(CancelSubscription, anything, days),
)


of_seats = st.one_of(
    st.builds(
        UpdateProduct,
        anything,
        st.tuples(st.builds(ChargeChange, st.just(SEATS), quantity=st.integers(0, 30).map(Decimal))),
        days,
    ),
    st.builds(RemoveProduct, anything, st.just(RatePlan(pk=1, name="1")), days),
)


def by_day(state: SubscriptionState) -> list[dict[date, Any]]:
    """Return for each charge what a day costs, day by day; a day on which two segments run fails."""
    found = []
    for charge in state.charges:
        values: dict[date, Any] = {}
        for segment in charge.segments:
            assert segment.end is None or segment.end >= segment.start
            for day in DAYS:
                if segment.start <= day and (segment.end is None or day < segment.end):
                    assert day not in values, f"two segments on {day}"
                    values[day] = (segment.quantity, segment.price)
        found.append(values)
    return found


def before(day: date, values: list[dict[date, Any]]) -> list[dict[date, Any]]:
    return [{at: value for at, value in charge.items() if at < day} for charge in values]


@dataclass
class Told:
    """What a sequence of actions did."""

    state: SubscriptionState
    done: int = 0
    revenue: list[tuple[date, Decimal]] = field(default_factory=list)


def apply_all(sequence: list[Any], *, termed: bool) -> Told:
    told = Told(subscription(termed=termed))
    for action in sequence:
        was, problems = by_day(told.state), Problems(1)
        amender = Amender(told.state, Report(problems, 1), order_date=START, catalogue={})
        planned = amender.apply(action)
        assert (planned is None) == bool(problems.count)
        now = by_day(told.state)
        if planned is None:
            assert now == was, "a refused action changed something"
            continue
        told.done += 1
        told.revenue.append((planned.effective_date, planned.delta_mrr))
        assert before(planned.effective_date, now) == before(planned.effective_date, was)
    return told


@EXAMPLES
@given(st.lists(actions, max_size=12), st.booleans())
def test_segments_never_overlap_and_the_past_stays(sequence, termed):
    apply_all(sequence, termed=termed)


@EXAMPLES
@given(st.lists(actions, max_size=12), st.booleans())
def test_numbers_and_terms_stay_in_order(sequence, termed):
    state = apply_all(sequence, termed=termed).state
    for charge in state.charges:
        assert [segment.number for segment in charge.segments] == list(range(1, len(charge.segments) + 1))
        starts = [segment.start for segment in charge.segments if segment.has_days]
        assert starts == sorted(set(starts))
    ends = [term.end for term in state.terms]
    assert [term.start for term in state.terms[1:]] == ends[:-1]
    assert (state.row.term_start, state.row.term_end) == (state.terms[-1].start, state.terms[-1].end)


@EXAMPLES
@given(st.lists(of_seats, max_size=8))
def test_changes_of_revenue_add_up_where_orders_come_in_the_order_of_their_days(sequence):
    told = apply_all(sorted(sequence, key=attrgetter("effective_date")), termed=False)
    last = max((day for day, _ in told.revenue), default=START)
    assert sum((delta for _, delta in told.revenue), Decimal(50)) == next(told.state.charges).revenue_beyond(last)


def test_the_sequences_are_worth_it():
    """Most actions of a plain story are done, so that the properties above are about something."""
    seats = ChargeChange(SEATS, quantity=Decimal(13))
    story = [
        UpdateProduct(Subscription(pk=1), (seats,), date(2026, 1, 10)),
        Suspend(Subscription(pk=1), date(2026, 1, 15)),
        Resume(Subscription(pk=1), date(2026, 1, 20), extend_term=True),
        RenewSubscription(Subscription(pk=1)),
        CancelSubscription(Subscription(pk=1), date(2026, 2, 8)),
    ]
    told = apply_all(story, termed=True)
    assert told.done == len(story)
    assert [delta for _, delta in told.revenue] == [15, -115, 115, 0, -115]
