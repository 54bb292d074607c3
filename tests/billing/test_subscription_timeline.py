"""What a subscription looks like on its time line and in the table of its charges: words, marks, pauses and ends."""

from typing import Any

import pytest

from billing.admin.subscriptions import _charges
from billing.core.types import ChargeModel
from billing.models import Subscription
from billing.services.orders import (
    CancelSubscription,
    ChargeChoice,
    RenewSubscription,
    Resume,
    Suspend,
)
from billing.subscription_timeline import SEGMENTS_SHOWN, Drawing, drawing_of, segment_rows, segment_words
from tests.billing.orders import TIERS, act, subscribed, update
from tests.factories import acme, bill, by_tiers, day, monthly, once, plan, product, seats, subscribe

pytestmark = pytest.mark.django_db

TODAY = day("2026-07-15")


def drawing(subscription: Subscription, paused_from: str = "") -> Drawing:
    subscription.refresh_from_db()
    terms = list(subscription.terms.order_by("number"))
    paused = day(paused_from) if paused_from else None
    return drawing_of(subscription, _charges(subscription), terms, paused_from=paused, today=TODAY)


def rows(subscription: Subscription, paused_from: str = "") -> list[tuple[Any, str, str, str]]:
    """Return the rows of the only charge: number of the segment, first day, end, state."""
    subscription.refresh_from_db()
    paused = day(paused_from) if paused_from else None
    found, _ = segment_rows(subscription.charges.get(), subscription, paused_from=paused, today=TODAY)
    return [(row.segment and row.segment.number, str(row.start), str(row.end or ""), row.state) for row in found]


class TestCharges:
    def test_each_segment_is_a_bar_with_what_fits_on_it(self):
        subscription = subscribed()
        act(subscription, update(subscription, "2026-04-01", quantity="13"))
        act(subscription, update(subscription, "2026-10-01", quantity="20", price="4.5"))
        [row] = drawing(subscription).rows
        assert (row.name, row.note) == ("Seats", "nothing billed yet")
        assert [bar.label for bar in row.bars] == ["10 × $5.00", "13 × $5.00 a month", "20 × $4.50 a month"]
        assert row.bars[0].title == "1 Jan – 31 Mar 2026: 10 × $5.00 a month, MRR $50.00"
        assert [bar.css for bar in row.bars] == ["", "", " goes-on"]

    def test_a_label_stands_on_one_side_of_where_the_billed_part_ends(self):
        subscription = subscribed()
        bill("2026-02-01")
        [bar] = drawing(subscription).rows[0].bars
        assert (bar.label, bar.label_x, bar.billed) == ("10 × $5.00 a month", bar.billed, "10.22%")
        bill("2026-07-01")
        [bar] = drawing(subscription).rows[0].bars
        assert (bar.label_x, drawing(subscription).rows[0].note) == ("0", "billed up to 31 Jul 2026")

    @pytest.mark.parametrize(
        ("charge", "words"),
        [
            (seats("Seats", "10"), ["10 × $10.00 a month", "10 × $10.00", "10"]),
            (monthly("Fee", "30"), ["$30.00 a month", "$30.00", "$30.00"]),
            (once("Once"), ["$100.00", "$100.00"]),
            (by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60"), ["60, 2 tiers", "60"]),
            (
                monthly(
                    "Half",
                    "50",
                    charge_model=ChargeModel.DISCOUNT_PERCENTAGE,
                    discount_level="Account",
                    discount_applies_to=["Recurring"],
                ),
                ["50\N{NO-BREAK SPACE}% off", "50\N{NO-BREAK SPACE}% off"],
            ),
        ],
    )
    def test_words_get_shorter(self, charge, words):
        made = subscribed(plan("Sold", charge)).charges.get()
        assert segment_words(made, made.segments.get(), "USD") == words

    def test_a_price_that_is_missing_is_said(self):
        charge = subscribed(plan("Sold", monthly("Fee", "30"))).charges.get()
        charge.segments.update(price=None)
        assert segment_words(charge, charge.segments.get(), "USD")[0] == "no price"

    def test_what_comes_once_is_a_mark(self):
        sold = plan("Sold", once("Setup"), once("Audit", trigger_event="SpecificDate"))
        late = ChargeChoice(sold.charges.get(name="Audit"), trigger_date=day("2026-10-05"))
        subscription = subscribe(acme(), sold, "2026-01-01", charges=[late])
        bill("2026-01-01")
        setup, audit = drawing(subscription).rows
        assert setup.once is not None
        assert audit.once is not None
        assert (setup.note, setup.once.css) == ("billed, 1 Jan 2026", " billed at-edge")
        assert (audit.note, audit.once.css) == ("not billed yet, 5 Oct 2026", "")
        assert (audit.once.label, audit.bars, audit.mark) == ("$100.00", [], "")

    def test_what_came_once_long_ago_is_only_told(self):
        sold = plan("Sold", once("Setup"), of=product("Old", start="2000-01-01"))
        [row] = drawing(subscribe(acme(), sold, "2020-01-01")).rows
        assert (row.once, row.note) == (None, "not billed yet, 1 Jan 2020")

    def test_what_waits_is_drawn_so(self):
        sold = plan(
            "Sold", monthly("Fee", trigger_event="ServiceActivation"), once("Go", trigger_event="CustomerAcceptance")
        )
        fee, go = drawing(subscribed(sold)).rows
        assert (fee.note, fee.bars[0].css) == ("waits for service activation", " goes-on waits")
        assert (go.note, go.bars[0].css) == ("waits for customer acceptance", " goes-on waits")


class TestPausesAndEnds:
    def test_pauses_lie_between_segments(self):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-03-01")), Resume(subscription, day("2026-04-01")))
        found = drawing(subscription)
        assert found.has_pauses
        assert len(found.rows[0].row.pauses) == 1
        assert rows(subscription) == [
            (1, "2026-01-01", "2026-03-01", ""),
            (None, "2026-03-01", "2026-04-01", ""),
            (2, "2026-04-01", "", "now"),
        ]

    def test_a_pause_goes_on_while_it_is_suspended(self):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-03-01")))
        [pause] = drawing(subscription, "2026-03-01").rows[0].row.pauses
        assert pause.to == "100.00%"
        # Nothing is over: the window reaches as far as without the pause.
        assert drawing(subscription, "2026-03-01").window.end == day("2027-08-01")
        assert rows(subscription, "2026-03-01")[-1] == (None, "2026-03-01", "", "")

    def test_a_cancellation_is_marked_and_ends_the_term(self):
        subscription = subscribed(term_months=24, auto_renew=True)
        bill("2026-07-01")
        act(subscription, CancelSubscription(subscription, day("2026-07-20")))
        found = drawing(subscription)
        assert found.canceled is not None
        assert found.canceled.label == "Canceled from 20 Jul 2026"
        assert found.today is not None
        assert found.today.label == "Today, 15 Jul 2026"
        assert [term.label for term in found.terms] == ["Term 1: 1 Jan – 19 Jul 2026"]
        assert found.borders == []
        assert found.has_credits
        assert int(found.height) > int(drawing(subscribe(acme(number="B"), plan("B", monthly()), "2026-01-01")).height)

    def test_without_renewal_nothing_is_served_after_the_term(self):
        subscription = subscribed(term_months=5)
        found = drawing(subscription)
        [bar] = found.rows[0].bars
        assert (bar.css, bar.stripe.to) == ("", found.borders[0])
        assert rows(subscription) == [(1, "2026-01-01", "", "")]

    def test_terms_follow_one_another_and_the_next_is_hinted_at(self):
        subscription = subscribed(term_months=6, auto_renew=True)
        act(subscription, RenewSubscription(subscription))
        found = drawing(subscription)
        assert [(term.label, term.css) for term in found.terms] == [
            ("Term 1: 1 Jan – 30 Jun 2026", ""),
            ("Term 2: 1 Jul – 31 Dec 2026", ""),
            ("renews itself", " ghost goes-on"),
        ]
        assert len(found.borders) == 2
        assert found.rows[0].bars[0].css == " goes-on"

    def test_evergreen_has_one_term_without_end(self):
        [term] = drawing(subscribed()).terms
        assert (term.label, term.css) == ("Evergreen: from 1 Jan 2026", " goes-on")

    def test_a_canceled_evergreen_one_ends(self):
        subscription = subscribed()
        act(subscription, CancelSubscription(subscription, day("2026-07-20")))
        assert [term.title for term in drawing(subscription).terms] == ["Evergreen: 1 Jan – 19 Jul 2026"]

    def test_a_term_that_nobody_wrote_down_is_drawn(self):
        subscription = subscribed(term_months=12)
        subscription.terms.all().delete()
        assert [term.label for term in drawing(subscription).terms] == ["Term 1: 1 Jan – 31 Dec 2026"]


class TestTime:
    def test_ticks_name_months_and_the_year_where_it_changes(self):
        labels = [label for _, label in drawing(subscribed(start="2026-03-01")).ticks]
        assert labels == ["Apr 2026", "Jul", "Oct", "Jan 2027", "Apr", "Jul"]

    def test_where_there_is_little_room_the_year_stands_for_january(self):
        subscription = subscribed(start="2026-01-01")
        act(subscription, CancelSubscription(subscription, day("2026-05-01")))
        labels = [label for _, label in drawing(subscription).ticks]
        assert labels == ["Jan 2026", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug"]
        subscription = subscribe(acme(number="B"), plan("B", monthly()), "2025-09-01")
        act(subscription, CancelSubscription(subscription, day("2026-07-01")))
        labels = [label for _, label in drawing(subscription).ticks]
        assert labels[:6] == ["Sep", "Oct", "Nov", "Dec", "2026", "Feb"]

    def test_years_mark_what_is_long(self):
        subscription = subscribed(term_months=60)
        assert [label for _, label in drawing(subscription).ticks] == ["2026", "2027", "2028", "2029", "2030", "2031"]

    def test_no_charges_make_an_empty_drawing(self):
        subscription = subscribed()
        found = drawing_of(subscription, [], [], paused_from=None, today=TODAY)
        assert (found.rows, found.height) == ([], "72")


class TestTable:
    def test_states_are_told(self):
        subscription = subscribed(start="2026-01-01")
        act(subscription, update(subscription, "2026-01-01", quantity="13"))
        act(subscription, update(subscription, "2026-10-01", quantity="20"))
        assert rows(subscription) == [
            (1, "2026-01-01", "2026-01-01", "empty"),
            (2, "2026-01-01", "2026-10-01", "now"),
            (3, "2026-10-01", "", "later"),
        ]

    def test_what_comes_once_has_no_state_and_no_pauses(self):
        subscription = subscribed(plan("Sold", once("Setup")))
        act(subscription, Suspend(subscription, day("2026-03-01")), Resume(subscription, day("2026-04-01")))
        assert [row[3] for row in rows(subscription)] == ["", ""]

    def test_the_latest_rows_are_shown_and_the_others_counted(self):
        subscription = subscribed(start="2020-01-01")
        act(subscription, *(update(subscription, f"{year}-01-01", quantity=str(year)) for year in range(2021, 2036)))
        found, earlier = segment_rows(subscription.charges.get(), subscription, paused_from=None, today=TODAY)
        assert (len(found), earlier) == (SEGMENTS_SHOWN, 6)
        assert str(found[-1].start) == "2035-01-01"
