"""The page of a subscription: figures, time line, next charges, orders and charges, whatever became of it."""

import re
from collections import Counter
from html import unescape
from xml.etree import ElementTree

import pytest

from billing.core.types import ChargeModel
from billing.models import Order, OrderAction, Subscription
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    NewRatePlan,
    NewSubscription,
    Resume,
    Suspend,
    TermsAndConditions,
    create_order,
)
from tests.billing.orders import TIERS, act, subscribed, update
from tests.factories import acme, bill, by_tiers, day, monthly, once, plan, seats, subscribe, user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]


@pytest.fixture
def vera(client):
    """Vera only looks; `vera` is her browser."""
    client.force_login(user("viewer"))
    return client


def page_of(client, subscription: Subscription) -> str:
    response = client.get(subscription.get_absolute_url())
    assert response.status_code == 200, response.content[:2000]
    return response.content.decode()


def kpis(page: str) -> dict[str, tuple[str, str]]:
    """Return value and note of each figure on top of the page."""
    found = re.findall(
        r'<div class="label">([^<]*)</div><div class="value ">([^<]*)</div>(?:<div class="note">([^<]*)</div>)?', page
    )
    return {label: (value, unescape(note)) for label, value, note in found}


def texts(page: str, opening: str, closing: str) -> str:
    """Return what can be read between two pieces of a page, parted by bars."""
    part = page[page.index(opening) :]
    return re.sub(r"(\s*<[^>]+>\s*)+", "|", part[: part.index(closing)])


def everything() -> Subscription:
    """Return a subscription with tiers, a pause, a change to come, a plan that goes and another one that waits."""
    tiered = by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60")
    subscription = subscribed(
        plan("Team", seats("Seats", "10"), tiered, once("Onboarding")),
        term_months=12,
        auto_renew=True,
        name="Head office",
    )
    late = plan("Support", monthly("Support", "49.90", trigger_event="ServiceActivation"))
    act(subscription, Suspend(subscription, day("2026-03-01")), Resume(subscription, day("2026-04-01")))
    act(subscription, AddProduct(subscription, NewRatePlan(late), day("2026-05-01")))
    bill("2026-07-01")
    act(subscription, update(subscription, "2026-10-01", quantity="20"))
    return subscription


class TestFigures:
    def test_now_and_later_and_how_far_it_is_billed(self, vera):
        assert kpis(page_of(vera, everything())) == {
            "MRR now": ("$680.00", "and $49.90 once it has begun"),
            "MRR agreed on for later": ("$780.00", "from 1 Oct 2026"),
            "Billed through": ("31 Jul 2026", "all recurring charges"),
            "Term ends": ("31 Dec 2026", "from 1 Jan 2026, renews itself"),
        }

    def test_nothing_billed_and_no_end(self, vera):
        assert kpis(page_of(vera, subscribed())) == {
            "MRR now": ("$50.00", "before discounts"),
            "MRR agreed on for later": ("$50.00", "no change is agreed on"),
            "Billed through": ("–", "nothing is billed yet"),
            "Term": ("Evergreen", "until it is canceled"),
        }

    def test_two_changes_and_a_term_that_is_over(self, vera):
        subscription = subscribed(term_months=24, renewal_months=6)
        act(subscription, update(subscription, "2026-10-01", quantity="20"))
        act(subscription, update(subscription, "2026-11-01", quantity="30"))
        found = kpis(page_of(vera, subscription))
        assert found["MRR agreed on for later"] == ("$100.00", "from 1 Oct 2026, then $150.00 from 1 Nov 2026")
        assert found["Term ends"] == ("31 Dec 2027", "from 1 Jan 2026, does not renew itself")
        act(subscription, TermsAndConditions(subscription, day("2026-07-15"), auto_renew=True))
        assert kpis(page_of(vera, subscription))["Term ends"][1] == "from 1 Jan 2026, renews itself for 6 months"

    def test_the_end_of_the_term_is_a_change(self, vera):
        found = kpis(page_of(vera, subscribed(term_months=12)))
        assert found["MRR agreed on for later"] == ("$0.00", "from 1 Jan 2027, when the term is over")

    def test_canceled_suspended_and_waiting(self, vera):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-07-01")))
        assert kpis(page_of(vera, subscription))["MRR now"] == ("$0.00", "while it is suspended")
        act(subscription, CancelSubscription(subscription, day("2026-07-01")))
        found = kpis(page_of(vera, subscription))
        assert found["Canceled from"] == ("1 Jul 2026", "the first day not served")
        waiting = subscribe(acme(number="B"), plan("W", monthly(trigger_event="CustomerAcceptance")), "2026-07-01")
        assert kpis(page_of(vera, waiting))["MRR agreed on for later"] == ("$10.00", "once all of it has begun")

    def test_charges_billed_to_different_days(self, vera):
        subscription = subscribed(plan("Team", seats("Seats", "10"), monthly("Fee", billing_period="Quarter")))
        bill("2026-07-01")
        assert kpis(page_of(vera, subscription))["Billed through"] == ("31 Jul 2026", "others up to 30 Sep 2026")
        act(subscription, AddProduct(subscription, NewRatePlan(plan("New", monthly("New"))), day("2026-07-10")))
        assert kpis(page_of(vera, subscription))["Billed through"] == ("31 Jul 2026", "1 charge is not billed yet")


class TestTimeline:
    def test_it_is_a_picture_with_words_for_those_who_do_not_see_it(self, vera):
        page = page_of(vera, everything())
        assert 'role="img" aria-label="Charges, terms and what is billed from 1 Jan 2026 to 1 Aug 2027;' in page
        assert "Today, 15 Jul 2026" in page
        for words in ("billed", "not billed yet", "suspended", "end of what is billed"):
            assert f"</svg>{words}</li>" in page
        assert "billed, to be credited" not in page
        assert len(re.findall(r'class="pause" x=', page)) == 2

    def test_it_is_drawn_to_the_end(self, vera):
        """A browser shows what it can of a drawing that is not well-formed; this parser does not."""
        subscription = everything()
        act(subscription, CancelSubscription(subscription, day("2026-07-20")))
        page = page_of(vera, subscription)
        picture = ElementTree.fromstring(page[page.index('<svg width="100%"') : page.index('<ol class="life-names"')])
        kinds = Counter(element.get("class", element.tag).split()[0] for element in picture.iter())
        assert (kinds["segment"], kinds["pause"], kinds["to-credit"], kinds["once"]) == (5, 2, 2, 1)
        assert (kinds["today"], kinds["canceled"], kinds["through"]) == (2, 2, 2)

    def test_the_tables_say_the_same(self, vera):
        page = page_of(vera, everything())
        assert "|Seats|C-00000001 · Team|Record|of C-00000001|Per unit, a month · billed a month, in advance" in texts(
            page, '<table class="charges">', "</table>"
        )
        rows = texts(page, '<table class="charges">', "</table>")
        for row in (
            "|1|1 Jan – 28 Feb 2026|10 seat|$10.00|$100.00|",
            "|–|1 Mar – 31 Mar 2026|suspended|",
            "|2|1 Apr – 30 Sep 2026|now|10 seat|$10.00|$100.00|",
            "|3|from 1 Oct 2026|later|20 seat|$10.00|$200.00|",
            "|Billed up to and including 31 Jul 2026.|",
            "|waits for a date: service activation|",
        ):
            assert row in rows

    def test_what_is_to_be_credited_is_marked(self, vera):
        subscription = subscribed()
        bill("2026-07-01")
        act(subscription, CancelSubscription(subscription, day("2026-07-20")))
        page = page_of(vera, subscription)
        assert "billed, to be credited" in page
        assert "Canceled from 20 Jul 2026" in page

    def test_names_are_escaped(self, vera):
        page = page_of(vera, subscribed(plan("<b>Team</b>", seats("<i>Seats</i>", "10", unit="<u>"))))
        assert "<i>Seats</i>" not in page
        assert "&lt;i&gt;Seats&lt;/i&gt;" in page


class TestOrders:
    def test_the_newest_comes_first_in_words(self, vera):
        subscription = everything()
        words = texts(page_of(vera, subscription), "Orders</h2>", "</section>")
        first, second = words.index("Update product"), words.index("Add product")
        assert first < second < words.index("Resume") < words.index("Suspend") < words.index("Create subscription")
        assert "|Update product|from 1 Oct 2026|+$100.00 MRR|Seats: quantity 10 → 20|" in words
        assert "Plan “Support” added." in words

    def test_many_are_folded_and_the_rest_linked(self, vera):
        subscription = subscribed(start="2020-01-01")
        act(subscription, *(update(subscription, f"{year}-01-01", quantity=str(year)) for year in range(2021, 2036)))
        page = page_of(vera, subscription)
        assert "7 more" in page
        link = f"/billing/orderaction/?subscription__id__exact={subscription.pk}"
        assert link in page
        assert vera.get(link).status_code == 200

    def test_without_an_order_the_page_says_so(self, vera):
        subscription = subscribed()
        OrderAction.objects.all().delete()
        Order.objects.all().delete()
        assert "No order is on record." in page_of(vera, subscription)


class TestEdges:
    def test_without_charges(self, vera):
        subscription = subscribed()
        for model in ("segments", "charges", "rate_plans"):
            if model == "segments":
                subscription.charges.get().segments.all().delete()
            else:
                getattr(subscription, model).all().delete()
        page = page_of(vera, subscription)
        assert "This subscription has no charges." in page
        assert "<svg width" not in page

    def test_a_charge_without_segments(self, vera):
        subscription = subscribed()
        subscription.charges.get().segments.all().delete()
        assert "Nothing of it is billed yet." in page_of(vera, subscription)

    def test_of_many_charges_the_first_are_shown(self, vera):
        subscription = subscribed(plan("Large", *(seats(f"Seats {number:02d}") for number in range(27))))
        page = page_of(vera, subscription)
        assert "The first 25 of 27 charges are shown." in page
        assert "Seats 24" in page
        assert "Seats 25" not in page

    def test_decades(self, vera):
        subscription = subscribed(plan("Old", seats("Seats", "1")), start="2020-01-01")
        act(subscription, *(update(subscription, f"{year}-01-01", quantity=str(year)) for year in range(2021, 2060)))
        page = page_of(vera, subscription)
        assert "30 earlier rows are not shown:" in page
        assert "/billing/chargesegment/?q=C-00000001" in page

    def test_terms_of_decades(self, vera):
        assert "31 Dec 2075" in page_of(vera, subscribed(term_months=600))


class TestWeight:
    def test_it_costs_few_queries_and_little_weight(self, vera, django_assert_max_num_queries):
        subscription = everything()
        page_of(vera, subscription)
        with django_assert_max_num_queries(12):
            page = page_of(vera, subscription)
        assert len(page.encode()) <= 40 * 1024
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=\"", page)

    def test_five_hundred_charges_cost_no_more(self, vera, django_assert_max_num_queries):
        subscription = subscribed(plan("Large", *(seats(f"Seats {number:03d}") for number in range(500))))
        bill("2026-07-01")
        page_of(vera, subscription)
        with django_assert_max_num_queries(12):
            page = page_of(vera, subscription)
        assert len(page.encode()) <= 40 * 1024

    def test_a_suspension_that_many_orders_followed_costs_no_more(self, vera, django_assert_max_num_queries):
        subscription = subscribed()
        act(subscription, Suspend(subscription, day("2026-07-01")))
        names = [TermsAndConditions(subscription, day("2026-07-01"), name=f"Name {number}") for number in range(15)]
        act(subscription, *names)
        page_of(vera, subscription)
        with django_assert_max_num_queries(12):
            page = page_of(vera, subscription)
        assert 'class="pause" x=' in page

    def test_thousands_beside_it_cost_no_more(self, vera, django_assert_max_num_queries):
        account, sold = acme(), plan("Small", seats())
        new = [NewSubscription((NewRatePlan(sold),), day("2026-01-01")) for _ in range(2000)]
        order = create_order(account=account, order_date=day("2026-01-01"), subscriptions=new)
        subscription = Subscription.objects.get(order_actions__order=order, order_actions__position=1)
        page_of(vera, subscription)
        with django_assert_max_num_queries(12):
            page_of(vera, subscription)
