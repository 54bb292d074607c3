"""What the subscription page says of the charges to come: days, service periods and amounts, or in words why none."""

import re
import uuid

import pytest

from accounts.models import Account
from billing.core.types import ChargeModel, DiscountLevel
from billing.models import RatePlanCharge, Subscription
from billing.services.orders import AddProduct, CancelSubscription, NewRatePlan, Resume, Suspend
from tests.billing.orders import TIERS, act, subscribed, update
from tests.factories import acme, bill, by_tiers, day, monthly, once, plan, seats, subscribe, user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]

HTMX = {"HX-Request": "true"}


@pytest.fixture
def vera(client):
    """Vera only looks; `vera` is her browser."""
    client.force_login(user("viewer"))
    return client


def url_of(subscription: Subscription) -> str:
    return f"/billing/subscription/{subscription.pk}/next-charges/"


def piece_of(client, subscription: Subscription) -> str:
    response = client.get(url_of(subscription), headers=HTMX)
    assert response.status_code == 200, response.content[:2000]
    return response.content.decode()


def rows(piece: str) -> list[str]:
    """Return the rows of the table as their texts."""
    found = re.findall(r"<tr(?: class=\"group\")?><t.*?</tr>", piece, re.DOTALL)[1:]
    return [re.sub(r"(\s*<[^>]+>\s*)+", "|", row).strip("|") for row in found]


def reasons(piece: str) -> list[str]:
    return re.findall(r"<li>(.*?)</li>", piece)


class TestWhatComes:
    def test_days_with_their_lines_and_amounts(self, vera):
        subscription = subscribed(plan("Team", seats("Seats", "10"), monthly("Fee", "300", billing_period="Quarter")))
        bill("2026-07-01")
        act(subscription, update(subscription, "2026-09-16", quantity="13"))
        assert rows(piece_of(vera, subscription)) == [
            "1 Aug 2026|$100.00",
            "Seats|1 Aug – 31 Aug 2026|$100.00",
            "1 Sep 2026|$115.00",
            "Seats – Proration|1 Sep – 15 Sep 2026|$50.00",
            "Seats – Proration|16 Sep – 30 Sep 2026|$65.00",
            "1 Oct 2026|$430.00",
            "Seats|1 Oct – 31 Oct 2026|$130.00",
            "Fee|1 Oct – 31 Dec 2026|$300.00",
            "1 Nov 2026|$130.00",
            "Seats|1 Nov – 30 Nov 2026|$130.00",
        ]

    def test_what_is_due_comes_first_and_the_total_counts_what_is_not_shown(self, vera):
        piece = piece_of(vera, subscribed(start="2026-01-01"))
        found = rows(piece)
        assert found[0] == "15 Jul 2026|due now|$350.00"
        assert len(found) == 8
        assert found[-1] == "and 1 more line"

    def test_of_many_lines_six_are_shown(self, vera):
        subscription = subscribed(plan("Large", *(seats(f"Seats {number:02d}", "1") for number in range(30))))
        bill("2026-07-01")
        found = rows(piece_of(vera, subscription))
        assert (found[0], len(found), found[-1]) == ("1 Aug 2026|$300.00", 8, "and 24 more lines")

    def test_discounts_and_credits_are_lines_of_their_own(self, vera):
        half = monthly(
            "Half",
            "50",
            charge_model=ChargeModel.DISCOUNT_PERCENTAGE,
            discount_level="Subscription",
            discount_applies_to=["Recurring"],
        )
        subscription = subscribed(plan("Team", seats("Seats", "10"), half))
        bill("2026-07-01")
        act(subscription, CancelSubscription(subscription, day("2026-07-20")))
        assert rows(piece_of(vera, subscription)) == [
            "20 Jul 2026|−$19.36",
            "Seats – Proration Credit|20 Jul – 31 Jul 2026|−$38.71",
            "Half on Seats – Proration Credit|20 Jul – 31 Jul 2026|$19.35",
        ]

    def test_without_scripts_it_is_a_page_of_its_own(self, vera):
        subscription = subscribed()
        page = vera.get(url_of(subscription)).content.decode()
        assert "<html" in page
        assert f'<a href="{subscription.get_absolute_url()}">{subscription.number}</a>' in page
        assert "<html" not in piece_of(vera, subscription)

    def test_the_subscription_page_asks_for_it(self, vera):
        subscription = subscribed()
        page = vera.get(subscription.get_absolute_url()).content.decode()
        assert f'hx-get="{url_of(subscription)}" hx-trigger="load"' in page
        assert f'<noscript><a href="{url_of(subscription)}">' in page


class TestWhyNothing:
    def test_it_waits(self, vera):
        event = {"trigger_event": "ServiceActivation"}
        subscription = subscribed(plan("Wait", monthly("Fee", **event), once("Setup")))
        piece = piece_of(vera, subscription)
        assert rows(piece) == []
        assert reasons(piece) == ["It waits for its service activation; bill runs leave it out until then."]

    def test_charges_wait_in_a_subscription_that_runs(self, vera):
        subscription = subscribed()
        event = {"trigger_event": "CustomerAcceptance"}
        late = plan("Late", *(monthly(f"Late {number}", **event) for number in range(5)))
        act(subscription, AddProduct(subscription, NewRatePlan(late), day("2026-02-01")))
        found = reasons(piece_of(vera, subscription))
        assert found[0] == "“Late 0” waits for its customer acceptance and is billed from then on."
        assert (len(found), found[-1]) == (4, "And so do others.")

    def test_it_is_suspended_or_canceled(self, vera):
        subscription = subscribed()
        bill("2026-07-01")
        act(subscription, Suspend(subscription, day("2026-08-01")))
        piece = piece_of(vera, subscription)
        assert rows(piece) == []
        assert reasons(piece) == [
            "It is suspended from 1 Aug 2026 on; nothing is billed for later days until it resumes."
        ]
        act(subscription, Resume(subscription, day("2026-08-01")))
        act(subscription, CancelSubscription(subscription, day("2026-08-01")))
        piece = piece_of(vera, subscription)
        assert reasons(piece) == ["It is canceled from 1 Aug 2026 on; no later day is billed."]

    @pytest.mark.parametrize(
        ("term", "words"),
        [
            ({"term_months": 6}, "Its term ended on 30 Jun 2026 and was not renewed; no later day is billed."),
            ({"term_months": 12}, "Its term ends on 31 Dec 2026 and does not renew itself; no later day is billed."),
            (
                {"term_months": 12, "auto_renew": True},
                "Its term ends on 31 Dec 2026 and renews itself; later days are billed in the next one.",
            ),
        ],
    )
    def test_its_term_ends(self, vera, term, words):
        assert reasons(piece_of(vera, subscribed(**term))) == [words]

    def test_a_term_that_ends_later_is_not_spoken_of(self, vera):
        assert reasons(piece_of(vera, subscribed(term_months=36))) == []

    def test_nothing_falls_due_within_a_year(self, vera):
        subscription = subscribed(plan("Years", monthly("Fee", billing_period="ThreeYears")))
        bill("2026-01-01")
        assert reasons(piece_of(vera, subscription)) == ["Nothing falls due up to 15 Jul 2027."]

    def test_a_problem_comes_with_a_hint(self, vera):
        subscription = subscribed()
        RatePlanCharge.objects.get().segments.update(price=None)
        piece = piece_of(vera, subscription)
        assert "banner-warning" in piece
        assert re.search(r"Charge C-00000001 \(Seats\) has no price.*?\. [A-Z].*?\.</span>", piece)
        assert reasons(piece) == []

    def test_what_the_account_lacks_is_a_problem(self, vera):
        subscription = subscribed()
        Account.objects.update(bill_to=None)
        assert "has no bill-to contact. Choose a bill-to contact for the account." in piece_of(vera, subscription)

    def test_an_account_that_is_not_active_is_left_out(self, vera):
        subscription = subscribed()
        Account.objects.update(status="Canceled")
        piece = piece_of(vera, subscription)
        assert rows(piece) == []
        assert reasons(piece) == [f"Account {subscription.account.number} is canceled, so bill runs leave it out."]

    def test_usage_and_amounts_that_are_shared_are_spoken_of(self, vera):
        shared = monthly(
            "Loyalty",
            "30",
            charge_model=ChargeModel.DISCOUNT_FIXED,
            discount_level=DiscountLevel.ACCOUNT,
            discount_applies_to=["Recurring"],
        )
        subscription = subscribed(plan("Team", monthly("Fee"), shared, seats("Calls", None, charge_type="Usage")))
        subscribe(subscription.account, plan("Other", monthly("Other")), "2026-01-01")
        assert reasons(piece_of(vera, subscription)) == [
            "Usage is billed when its period is over, by what was used then.",
            "Without “Loyalty”: what it takes off is shared with the account's other subscriptions.".replace(
                "'", "&#x27;"
            ),
        ]


def test_there_is_none_of_a_subscription_that_does_not_exist(vera):
    assert vera.get("/billing/subscription/999999/next-charges/").status_code == 404
    assert vera.post(url_of(subscribed()), {"request_key": str(uuid.uuid4())}).status_code == 405


def test_it_costs_few_queries(vera, django_assert_max_num_queries):
    """Tiers, discounts, credits, terms and a renewal all at once."""
    half = monthly(
        "Half",
        "50",
        charge_model=ChargeModel.DISCOUNT_PERCENTAGE,
        discount_level="Subscription",
        discount_applies_to=["Recurring"],
    )
    sold = plan(
        "Everything",
        by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60"),
        seats("Seats", "10"),
        monthly("Term fee", "120", billing_period="SubscriptionTerm"),
        half,
    )
    subscription = subscribe(acme(), sold, "2026-01-01", term_months=9, auto_renew=True)
    bill("2026-07-01")
    act(subscription, update(subscription, "2026-07-10", quantity="13"))
    piece_of(vera, subscription)
    with django_assert_max_num_queries(14):  # one more than either alone: discounts and what they took off
        found = rows(piece_of(vera, subscription))
    assert found[0].startswith("15 Jul 2026|due now|")
    # Mostly there is less to ask for.
    plain = subscribe(acme(number="B"), plan("Plain", monthly()), "2026-01-01")
    with django_assert_max_num_queries(8):
        piece_of(vera, plain)
