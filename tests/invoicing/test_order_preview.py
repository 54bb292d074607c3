"""What an order would cause, said before it is placed: the lines, credits and drafts of the next run, and nothing written."""

import re
import uuid
from datetime import date
from decimal import Decimal

import pytest

from accounts.models import Account, NumberSequence
from billing.models import Order, OrderAction, Subscription
from billing.services.orders import (
    Action,
    AddProduct,
    CancelSubscription,
    ChargeChange,
    CreatedBy,
    NewRatePlan,
    NewSubscription,
    OrderRefusedError,
    Suspend,
    UpdateProduct,
    place_order,
)
from invoicing.models import Coverage, Invoice, InvoiceItem
from invoicing.order_preview import OrderPreview, preview_order
from tests.billing.orders import change, five_dollar_seats, subscribed
from tests.factories import acme, bill, monthly, plan, seats, subscribe, user

pytestmark = pytest.mark.django_db
TODAY = date(2026, 7, 15)
PREVIEW = "/billing/order/new/preview/"


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


def previewed(account, *actions, until=None) -> OrderPreview:
    before = written()
    found = preview_order(account=account, order_date=TODAY, actions=actions, today=TODAY, target_date=until)
    assert written() == before
    return found


def written():
    models = (Order, OrderAction, Subscription, Invoice, InvoiceItem, Coverage, NumberSequence, Account)
    return [list(model.objects.order_by("pk").values()) for model in models]


def lines(found):
    return [
        (line.description, str(line.period.start), str(line.period.end), f"{line.amount}")
        for invoice in found.invoices
        for line in invoice.lines
    ]


# What it says --------------------------------------------------------------------------------------------------------


def test_a_new_subscription_is_billed_at_once():
    found = previewed(acme(), NewSubscription((NewRatePlan(five_dollar_seats()),), date(2026, 7, 1)))
    assert lines(found) == [("Seats", "2026-07-01", "2026-08-01", "50.00")]
    assert (found.target_date, found.delta_mrr, found.total) == (TODAY, Decimal(50), Decimal(50))
    assert [action.number for action in found.actions] == [""]


def test_more_seats_in_a_billed_month_are_a_credit_and_a_charge():
    """July is billed at 50.00; from the 16th on there are 20 seats.

    billed    |========= 10 seats, 50.00 =========|
    credit                    |=== −25.81 (16/31) |
    change                    |=== 20 seats, 51.61|      + 25.80
    """
    subscription = subscribed()
    bill("2026-07-01", accounts=[subscription.account])
    more = UpdateProduct(subscription, (change(quantity="20"),), date(2026, 7, 16))
    found = previewed(subscription.account, more)
    assert found.target_date == date(2026, 7, 16)
    assert lines(found) == [
        ("Seats – Proration Credit", "2026-07-16", "2026-08-01", "-25.81"),
        ("Seats – Proration", "2026-07-16", "2026-08-01", "51.61"),
    ]
    assert (found.total, found.delta_mrr) == (Decimal("25.80"), Decimal(50))
    assert found.actions[0].number == subscription.number


def test_what_is_due_anyway_is_told_apart():
    """A second subscription is due as well: its line is counted, not shown as caused by the order."""
    account = acme()
    subscribe(account, plan("Fee", monthly(price="30")), "2026-07-01")
    new = NewSubscription((NewRatePlan(five_dollar_seats()),), date(2026, 7, 1))
    (invoice,) = previewed(account, new).invoices
    assert [line.description for line in invoice.lines] == ["Seats"]
    assert (invoice.others, invoice.total) == (1, Decimal(80))


def test_what_is_no_longer_billed_is_told():
    """Nothing of July is billed yet; canceled on the 11th, ten days are left of it.

    without the order   |============ 50.00 ============|
    with it             |== 16.13 ==|
    """
    subscription = subscribed(start="2026-07-01")
    found = previewed(subscription.account, CancelSubscription(subscription, date(2026, 7, 11)))
    assert lines(found) == [("Seats – Proration", "2026-07-01", "2026-07-11", "16.13")]
    assert [f"{line.amount}" for line in found.dropped] == ["50.00"]
    assert (found.total, found.delta_mrr) == (Decimal("16.13") - 50, Decimal(-50))


def test_a_later_target_date_shows_later_invoices():
    subscription = subscribed(start="2026-07-01")
    extra = AddProduct(subscription, NewRatePlan(plan("Extra", monthly("Hosting"))), date(2026, 9, 1))
    assert previewed(subscription.account, extra).target_date == date(2026, 9, 1)
    months = [line[1] for line in lines(previewed(subscription.account, extra, until=date(2026, 11, 1)))]
    assert months == ["2026-09-01", "2026-10-01", "2026-11-01"]
    assert lines(previewed(subscription.account, extra, until=date(2026, 8, 1))) == []


def test_a_renewal_that_the_run_would_make_is_part_of_both_sides():
    """The run renews on its own; the order only adds to what is billed then."""
    subscription = subscribed(start="2025-07-15", term_months=12, auto_renew=True)
    bill("2026-07-01", accounts=[subscription.account])
    extra = AddProduct(subscription, NewRatePlan(plan("Extra", monthly("Hosting"))), date(2026, 7, 1))
    found = previewed(subscription.account, extra, until=date(2026, 7, 15))
    assert {line[0].split(" –")[0] for line in lines(found)} == {"Hosting"}
    assert found.dropped == []


def test_each_invoice_owner_gets_an_invoice():
    account, owner, rate_plan = acme(), acme(name="Acme Holding"), five_dollar_seats()
    mine = NewSubscription((NewRatePlan(rate_plan),), date(2026, 7, 1))
    found = previewed(account, mine, mine._replace(invoice_owner=owner))
    assert {invoice.account for invoice in found.invoices} == {account, owner}
    assert found.total == Decimal(100)


def test_an_action_about_a_subscription_of_the_same_order():
    new = NewSubscription((NewRatePlan(five_dollar_seats()),), date(2026, 7, 1))
    found = previewed(acme(), new, Suspend(CreatedBy(1), date(2026, 7, 11)))
    assert lines(found) == [("Seats – Proration", "2026-07-01", "2026-07-11", "16.13")]
    assert [action.row.delta_mrr for action in found.actions] == [Decimal(50), Decimal(-50)]


def test_an_account_that_cannot_be_billed_says_why():
    account = acme()
    Account.objects.filter(pk=account.pk).update(bill_to=None)
    found = previewed(account, NewSubscription((NewRatePlan(five_dollar_seats()),), date(2026, 7, 1)))
    assert found.invoices == []
    assert len(found.problems) == 1
    assert "bill-to" in found.problems[0]


def test_an_order_that_would_be_refused_is_refused():
    subscription = subscribed()
    with pytest.raises(OrderRefusedError, match="is before that"):
        previewed(subscription.account, CancelSubscription(subscription, date(2020, 1, 1)))


def test_placing_the_order_and_billing_gives_what_was_previewed():
    subscription = subscribed()
    account = subscription.account
    bill("2026-07-01", accounts=[account])
    charge = subscription.charges.get()
    actions: list[Action] = [
        UpdateProduct(subscription, (ChargeChange(charge, quantity=Decimal(17), price=Decimal("4.99")),), TODAY),
        AddProduct(subscription, NewRatePlan(plan("Extra", monthly("Hosting"))), TODAY),
    ]
    found = previewed(account, *actions)
    place_order(account=account, order_date=TODAY, actions=actions)
    run = bill(str(found.target_date), accounts=[account])
    billed = InvoiceItem.objects.filter(invoice__bill_run=run).order_by("pk")
    assert sorted(f"{item.amount}" for item in billed) == sorted(line[3] for line in lines(found))
    assert run.totals == {"USD": f"{found.total:f}"}


@pytest.mark.django_db(transaction=True)
def test_a_preview_does_not_wait_for_a_bill_run(app_connection, client):
    subscription = subscribed()
    client.force_login(user("operator"))
    with app_connection.transaction():
        app_connection.execute(
            "SELECT id FROM accounts_account WHERE id = %s FOR NO KEY UPDATE", [subscription.account_id]
        )
        page = client.post(PREVIEW, asked(subscription), headers={"HX-Request": "true"}).content.decode()
    assert "is being billed right now" in page


# The page ------------------------------------------------------------------------------------------------------------


def asked(subscription, **changes):
    """Return what the form of an order sends that cancels a subscription on 11 July."""
    values = {
        "request_key": str(uuid.uuid4()),
        "account": subscription.account_id,
        "order_date": "2026-07-15",
        "actions": [f"1:cancel:s{subscription.pk}"],
        "1-sent": "1",
        "1-when": "SpecificDate",
        "1-effective_date": "2026-07-11",
    }
    return values | changes


@pytest.fixture
def otto(client):
    """Otto is an operator; `otto` is his browser."""
    client.force_login(user("operator"))
    return client


def test_the_piece_of_the_page_says_it_in_figures(otto):
    subscription = subscribed(start="2026-07-01")
    page = otto.post(PREVIEW, asked(subscription), headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in page
    assert "−$50.00" in page
    assert "$16.13" in page
    assert "1 line is no longer billed" in page
    assert 'name="until"' in page
    assert not Order.objects.filter(actions__kind="CancelSubscription").exists()


def test_without_a_script_it_is_a_page_that_asks_to_place_the_order(otto):
    subscription = subscribed(start="2026-07-01")
    page = otto.post(PREVIEW, asked(subscription)).content.decode()
    assert "<html" in page
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert hidden["1-effective_date"] == "2026-07-11"
    del hidden["csrfmiddlewaretoken"]
    assert otto.post("/billing/order/new/", hidden | {"create": "1"}).status_code == 302
    subscription.refresh_from_db()
    assert subscription.status == "Canceled"


def test_flaws_are_listed_with_their_fields(otto):
    subscription = subscribed()
    sent = asked(subscription, **{"1-effective_date": "", "order_date": "soon"})
    page = otto.post(PREVIEW, sent, headers={"HX-Request": "true"}).content.decode()
    assert "Order date: Enter a valid date." in page
    assert "First day not served: Give the first day that is no longer served." in page


def test_a_charge_that_lacks_something_is_named(otto):
    account, sold = acme(), plan("Seats only", seats(quantity=None))
    sent = {"account": account.pk, "order_date": "2026-07-15", "actions": ["1:create:"], "1-sent": "1",
            "1-plans": [sold.pk], "1-starts_on": "2026-07-15", "1-term": "Evergreen"}  # fmt: skip
    page = otto.post(PREVIEW, sent, headers={"HX-Request": "true"}).content.decode()
    assert "Quantity of Seats (seat): How many? Write a number, 0 if none yet." in page


def test_a_preview_of_nothing_is_refused(otto):
    assert otto.post(PREVIEW, {"account": ""}).status_code == 400
    assert otto.get(PREVIEW).status_code == 405


def test_a_viewer_sees_no_preview(client):
    client.force_login(user("viewer"))
    assert client.post(PREVIEW, asked(subscribed())).status_code == 403
