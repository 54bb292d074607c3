"""Terms and bill runs: what has auto-renew goes on beyond its term, the rest ends there; a preview tells the same without a trace."""

from decimal import Decimal

import pytest

from billing.models import BillingRules, Order, OrderActionType, Subscription, SubscriptionTerm
from billing.services.orders import ChargeChange, UpdateProduct, place_order
from invoicing.bill_run.verify import audit
from invoicing.models import BillRunScope, Coverage, InvoiceItem
from invoicing.services import RunRequest, preview_run
from tests import factories as make
from tests.factories import bill, day

pytestmark = pytest.mark.django_db(transaction=True)


def sold(*, auto_renew: bool) -> Subscription:
    """Acme's seats for three months from January on."""
    return make.subscribe(
        make.acme(), make.plan("Team", make.seats()), "2026-01-01", term_months=3, auto_renew=auto_renew
    )


def months_billed() -> list[str]:
    return [str(item.period.lower) for item in InvoiceItem.objects.order_by("period")]


def test_a_run_renews_what_its_target_date_has_reached():
    subscription = sold(auto_renew=True)
    bill("2026-03-31")
    assert SubscriptionTerm.objects.count() == 1
    bill("2026-04-01")
    subscription.refresh_from_db()
    assert (subscription.term_start, subscription.term_end) == (day("2026-04-01"), day("2026-07-01"))
    assert months_billed() == ["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"]
    order = Order.objects.latest("id")
    assert [action.kind for action in order.actions.all()] == [OrderActionType.RENEW_SUBSCRIPTION]
    assert audit() == []


def test_missed_terms_are_renewed_one_after_the_other():
    sold(auto_renew=True)
    bill("2026-11-15")
    assert SubscriptionTerm.objects.count() == 4
    assert months_billed() == [f"2026-{month:02}-01" for month in range(1, 12)]


@pytest.mark.parametrize(("auto_renew", "renews"), [(False, True), (True, False)])
def test_what_is_not_renewed_ends_with_its_term(auto_renew, renews):
    """Neither the subscription without auto-renew nor the run that leaves renewing out goes beyond the term."""
    sold(auto_renew=auto_renew)
    run = bill("2026-06-01", auto_renew=renews)
    assert months_billed() == ["2026-01-01", "2026-02-01", "2026-03-01"]
    assert run.status == "Completed"
    assert bill("2026-06-01", auto_renew=renews).accounts_billed == 0


def test_a_change_takes_back_a_month_that_was_billed_term_by_term_and_bills_it_as_one():
    """Terms ended within January, so January has three lines; the new price reaches over all of them.

    billed    |---- 1 to 15 ----|---- 16 to 30 ----|31|---- February ----|
    change           |------------ 7 seats ----------------------------- …     10 Jan
    """
    subscription = make.subscribe(
        make.acme(), make.plan("Team", make.seats()), "2026-01-01", term_end=day("2026-01-16"), auto_renew=True
    )
    for target in ("2026-01-01", "2026-01-16", "2026-02-01"):
        bill(target)
    assert months_billed() == ["2026-01-01", "2026-01-16", "2026-01-31", "2026-02-01"]
    change = ChargeChange(subscription.charges.get(), quantity=Decimal(7))
    action = UpdateProduct(subscription, (change,), day("2026-01-10"))
    place_order(account=subscription.account, order_date=day("2026-02-01"), actions=[action])
    run = bill("2026-02-01")
    assert (run.status, run.has_errors) == ("Completed", False)
    covered = Coverage.objects.order_by("period").values_list("period", flat=True)
    assert [str(period.lower) for period in covered] == ["2026-01-01", "2026-01-10", "2026-02-01"]
    assert audit() == []


def test_a_preview_counts_what_renewing_would_add_and_changes_nothing():
    sold(auto_renew=True)
    bill("2026-03-31")
    asked = RunRequest(scope=BillRunScope.ALL, target_date=day("2026-05-01"), invoice_date=day("2026-05-01"))
    preview = preview_run(asked, today=day("2026-05-01"))
    assert (preview.invoices, preview.totals) == (1, {"USD": Decimal("100.00")})
    assert SubscriptionTerm.objects.count() == 1
    assert preview_run(asked._replace(auto_renew=False), today=day("2026-05-01")).invoices == 0


def test_only_accounts_in_scope_are_renewed():
    subscription = sold(auto_renew=True)
    bill("2026-08-01", accounts=[make.globex()])
    subscription.refresh_from_db()
    assert subscription.term_end == day("2026-04-01")


def test_the_rules_say_what_a_new_run_does_by_default(client, django_user_model):
    BillingRules.objects.update(auto_renew_default=False, auto_post_default=True)
    make.user("approver")
    client.force_login(django_user_model.objects.get(username="approver"))
    form = client.get("/invoicing/billrun/new/").context["form"]
    assert (form["auto_renew"].value(), form["auto_post"].value()) == (False, True)
