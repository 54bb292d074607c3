"""The forecast of a subscription is what bill runs then do, line for line, and between its days they find nothing."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    ListPriceBase,
    RecurringStyle,
)
from billing.models import BillingRules, RatePlanCharge, Subscription, SubscriptionStatus
from billing.queries import current_rules
from billing.services.orders import (
    AddProduct,
    CancelSubscription,
    ChargeChoice,
    NewRatePlan,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
)
from invoicing.bill_run.verify import audit
from invoicing.forecast import Forecast, forecast
from invoicing.models import InvoiceItem
from tests.billing.orders import TIERS, act, five_dollar_seats, subscribed, update
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, seats, subscribe

pytestmark = pytest.mark.django_db

ARREARS = {"billing_timing": BillingTiming.IN_ARREARS}


def off(name: str, price: str, level: DiscountLevel = DiscountLevel.SUBSCRIPTION, **changes: Any) -> dict[str, Any]:
    """Return a percentage off what recurs, or with another model a fixed amount."""
    first = {
        "charge_model": ChargeModel.DISCOUNT_PERCENTAGE,
        "discount_level": level,
        "discount_applies_to": [ChargeType.RECURRING],
    }
    return monthly(name, price, **first) | changes


FIXED: dict[str, Any] = {"charge_model": ChargeModel.DISCOUNT_FIXED}


def foreseen(subscription: Subscription, today: str, *, lines: int = 10) -> Forecast:
    subscription.refresh_from_db()
    return forecast(subscription, rules=current_rules(), today=day(today), lines=lines)


def told(found: Forecast) -> list[tuple[str, str, str, str]]:
    """Return the lines of a forecast: the day of the run, the first and the last day served, the amount."""
    return [
        (
            str(ahead.day),
            str(line.period.start),
            str(line.period.end - timedelta(days=1)),
            f"{line.amount:.2f}",
        )
        for ahead in found.days
        for line in ahead.lines
    ]


def _facts(rows: Iterable[Any]) -> list[tuple[Any, ...]]:
    return sorted(rows)


def come_true(subscription: Subscription, today: str, *, lines: int = 10) -> None:
    """Assert that bill runs on the days foretold bill just that, and a run on each day before bills nothing."""
    found = foreseen(subscription, today, lines=lines)
    assert found.days, "nothing is foretold, so nothing is tested"
    assert found.problem is None
    for ahead in found.days:
        eve = ahead.day - timedelta(days=1)
        if eve >= day(today):
            assert bill(str(eve)).invoice_count == 0, f"something is due before {ahead.day}"
        run = bill(str(ahead.day))
        assert not run.has_errors
        items = InvoiceItem.objects.filter(invoice__bill_run=run).values_list(
            "charge_id", "kind", "description", "period", "amount"
        )
        written = [(c, kind, text, period.lower, period.upper, amount) for c, kind, text, period, amount in items]
        expected = [
            (line.charge_id, line.kind.value, line.description, *line.period, line.amount) for line in ahead.lines
        ]
        assert _facts(written) == _facts(expected), ahead.day
    assert audit() == []


# What comes true -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "charge",
    [
        monthly("Fee", "31"),
        monthly("Fee", "31", **ARREARS),
        seats("Seats", "7", billing_period=BillingPeriod.QUARTER),
        seats(
            "Seats", "7", billing_period=BillingPeriod.SEMI_ANNUAL, list_price_base=ListPriceBase.PER_MONTH, **ARREARS
        ),
        by_tiers("Calls", ChargeModel.TIERED, TIERS, quantity="60"),
        monthly("Fee", "7", billing_period=BillingPeriod.WEEK, billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY),
        monthly("Fee", "7", billing_period=BillingPeriod.SPECIFIC_DAYS, period_length=10, **ARREARS),
        monthly("Fee", "7", end_condition="FixedPeriod", up_to_periods=3, up_to_periods_type="Months"),
        once("Onboarding"),
    ],
)
def test_each_way_to_bill(charge):
    subscription = subscribe(acme(), plan("Sold", charge), "2026-01-20")
    come_true(subscription, "2026-01-10", lines=8)


def test_what_is_overdue_is_billed_today():
    subscription = subscribed(start="2026-01-01")
    found = foreseen(subscription, "2026-03-15", lines=4)
    assert [str(ahead.day) for ahead in found.days] == ["2026-03-15", "2026-04-01"]
    assert (len(found.days[0].lines), found.days[0].total) == (3, Decimal("150.00"))
    come_true(subscription, "2026-03-15", lines=4)


def test_changes_to_come():
    subscription = subscribed()
    act(subscription, update(subscription, "2026-02-11", quantity="13"), update(subscription, "2026-03-01", price="6"))
    come_true(subscription, "2026-01-01", lines=5)


@pytest.mark.parametrize("timing", [{}, ARREARS])
def test_a_change_within_billed_days_is_credited_and_charged_anew(timing):
    subscription = subscribed(five_dollar_seats(**timing))
    bill("2026-03-01")
    act(subscription, update(subscription, "2026-02-16", quantity="13"))
    come_true(subscription, "2026-03-05", lines=5)


def test_a_cancellation_to_come_is_credited_on_its_day():
    subscription = subscribed()
    bill("2026-02-01")
    act(subscription, CancelSubscription(subscription, day("2026-02-20")))
    found = foreseen(subscription, "2026-02-05")
    # 10 seats at 5.00, of which 19 of 28 days stay.
    assert told(found) == [("2026-02-20", "2026-02-20", "2026-02-28", "-16.07")]
    come_true(subscription, "2026-02-05")


def test_a_pause_to_come_and_its_end():
    subscription = subscribed()
    bill("2026-01-01")
    act(subscription, Suspend(subscription, day("2026-01-20")), Resume(subscription, day("2026-03-10")))
    come_true(subscription, "2026-01-05", lines=5)


def test_a_pause_within_billed_days_that_ends_within_them():
    """The days before the pause's end are given back first; those after it are charged anew when it ends."""
    subscription = subscribed(five_dollar_seats(billing_period=BillingPeriod.QUARTER))
    bill("2026-01-01")
    act(subscription, Suspend(subscription, day("2026-01-20")), Resume(subscription, day("2026-03-10")))
    found = foreseen(subscription, "2026-01-05", lines=3)
    assert [(str(ahead.day), [line.kind.value for line in ahead.lines]) for ahead in found.days] == [
        ("2026-01-20", ["Credit"]),
        ("2026-03-10", ["Recurring"]),
        ("2026-04-01", ["Recurring"]),
    ]
    come_true(subscription, "2026-01-05", lines=3)


def test_a_plan_that_comes_and_goes():
    subscription = subscribed()
    support = plan("Support", monthly("Support", "28"), once("Set-up"))
    act(
        subscription,
        AddProduct(subscription, NewRatePlan(support), day("2026-02-10")),
        RemoveProduct(subscription, support, day("2026-04-20")),
    )
    come_true(subscription, "2026-01-01", lines=12)


def test_a_charge_with_a_day_of_its_own():
    audit_plan = plan("Audit", once("Audit", trigger_event="SpecificDate"))
    choice = ChargeChoice(audit_plan.charges.get(), trigger_date=day("2026-08-05"))
    come_true(subscribe(acme(), audit_plan, "2026-01-01", charges=[choice]), "2026-01-01")


@pytest.mark.parametrize("credit_one_time", [True, False])
def test_a_one_time_charge_that_is_removed_again(credit_one_time):
    BillingRules.objects.update(credit_one_time=credit_one_time)
    subscription = subscribed()
    setup = plan("Set-up", once("Set-up"))
    act(subscription, AddProduct(subscription, NewRatePlan(setup), day("2026-01-01")))
    bill("2026-01-01")
    act(subscription, RemoveProduct(subscription, setup, day("2026-01-01")))
    come_true(subscription, "2026-01-05", lines=3)


# Terms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("timing", [{}, ARREARS])
def test_a_term_that_renews_itself_within_a_period(cut, timing):
    BillingRules.objects.update(bill_to_term_end_when_auto_renew=cut)
    subscription = subscribed(five_dollar_seats(**timing), start="2026-01-16", term_months=2, auto_renew=True)
    come_true(subscription, "2026-01-16", lines=8)


@pytest.mark.parametrize("whole", [True, False])
def test_a_term_that_ends_within_a_period(whole):
    BillingRules.objects.update(bill_past_term_end=whole)
    subscription = subscribed(start="2026-01-16", term_months=2)
    come_true(subscription, "2026-01-16")
    assert foreseen(subscription, "2026-03-16").days == []


@pytest.mark.parametrize(
    "aligned",
    [
        {"billing_period": BillingPeriod.SUBSCRIPTION_TERM},
        {"alignment": Alignment.TERM_END, "billing_day_type": BillingDayType.TERM_END_DAY},
        {"alignment": Alignment.TERM_START, "billing_period": BillingPeriod.QUARTER},
    ],
)
def test_periods_that_follow_terms(aligned):
    sold = plan("Sold", monthly("Fee", "30", **aligned))
    subscription = subscribe(acme(), sold, "2026-01-10", term_months=5, auto_renew=True, renewal_months=4)
    come_true(subscription, "2026-01-10", lines=5)


def test_a_term_that_nobody_wrote_down():
    subscription = subscribed(start="2026-01-16", term_months=2, auto_renew=True)
    subscription.terms.all().delete()
    come_true(subscription, "2026-01-16", lines=6)


def test_renewals_are_as_long_as_the_first_term():
    subscription = subscribed(start="2026-01-16", term_months=2, auto_renew=True)
    act(subscription, RenewSubscription(subscription, months=1))
    come_true(subscription, "2026-01-16", lines=9)


def test_what_is_suspended_is_not_renewed():
    subscription = subscribed(start="2026-01-16", term_months=2, auto_renew=True)
    bill("2026-01-16")
    act(subscription, Suspend(subscription, day("2026-01-20")))
    come_true(subscription, "2026-01-20")


def test_what_has_expired_is_not_renewed():
    subscription = subscribed(start="2026-01-16", term_months=2, auto_renew=True)
    Subscription.objects.update(status=SubscriptionStatus.EXPIRED)
    come_true(subscription, "2026-01-16")
    assert foreseen(subscription, "2026-03-16").days == []


def test_a_rule_may_bill_everything_in_arrears():
    BillingRules.objects.update(recurring_style=RecurringStyle.IN_ARREARS)
    subscription = subscribed()
    act(subscription, update(subscription, "2026-02-16", quantity="13"))
    assert [str(ahead.day) for ahead in foreseen(subscription, "2026-01-01", lines=3).days] == [
        "2026-02-01",
        "2026-03-01",
    ]
    come_true(subscription, "2026-01-01", lines=3)


# Discounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "discounts",
    [
        [off("Ten", "10")],
        [off("Ten", "10"), off("Twenty", "20", discount_stacked=True)],
        [off("Less", "70", **FIXED)],
        [off("Less", "70", billing_period=BillingPeriod.QUARTER, **FIXED), off("Ten", "10")],
        [off("Half", "50", DiscountLevel.ACCOUNT), off("Less", "70", DiscountLevel.ACCOUNT, **FIXED)],
    ],
)
def test_discounts_are_taken_off_and_given_back(discounts):
    subscription = subscribed(plan("Seats", seats("Seats", "10"), monthly("Fee", "20"), *discounts))
    bill("2026-01-01")
    act(
        subscription,
        update(subscription, "2026-01-16", quantity="1"),
        update(subscription, "2026-03-10", quantity="13"),
        CancelSubscription(subscription, day("2026-05-20")),
    )
    come_true(subscription, "2026-01-20", lines=30)


def test_a_percentage_that_ends_within_billed_days_is_charged_back_on_its_day():
    """July to September are billed with ten percent off, which end on 11 August.

    billed     |= July ==== August ==== September =|
    ten off    |============|                           11 Aug: charged back
    """
    quarter = monthly("Fee", "90", billing_period=BillingPeriod.QUARTER)
    subscription = subscribed(plan("Quarter", quarter), start="2026-07-01")
    act(subscription, AddProduct(subscription, NewRatePlan(plan("Less", off("Ten", "10"))), day("2026-07-01")))
    bill("2026-07-01")
    less = subscription.rate_plans.get(name="Less")
    act(subscription, RemoveProduct(subscription, less, day("2026-08-11")))
    assert str(foreseen(subscription, "2026-07-02", lines=1).days[0].day) == "2026-08-11"
    come_true(subscription, "2026-07-02", lines=6)


@pytest.mark.parametrize("discount", [off("Ten", "10"), off("Less", "7", **FIXED)])
def test_what_is_only_foretold_is_given_back_as_well(discount):
    """The last period is billed whole while the term runs, and credited with its discount when the term is over."""
    BillingRules.objects.update(bill_past_term_end=True)
    subscription = subscribed(
        plan("Seats", seats("Seats", "10"), monthly("Fee", "20"), discount), start="2026-01-16", term_months=2
    )
    found = foreseen(subscription, "2026-01-16", lines=30)
    assert {line.kind.value for line in found.days[-1].lines} == {"Credit", "Discount"}
    come_true(subscription, "2026-01-16", lines=30)


def test_a_discount_of_the_account_counts_wherever_it_was_sold():
    account = acme()
    subscription = subscribe(account, plan("Fee", monthly("Fee", "100")), "2026-01-01")
    subscribe(account, plan("Ten off", off("Ten", "10", DiscountLevel.ACCOUNT)), "2026-01-01")
    subscribe(account, plan("Other", monthly("Other", "55"), off("All", "100")), "2026-01-01")
    assert foreseen(subscription, "2026-01-01", lines=2).days[0].total == Decimal("90.00")
    found = foreseen(subscription, "2026-01-01", lines=4)
    assert [str(ahead.day) for ahead in found.days] == ["2026-01-01", "2026-02-01"]
    assert found.left_out == ()


def test_an_amount_that_others_use_up_as_well_is_left_out_and_named():
    account = acme()
    subscription = subscribe(account, plan("Fee", monthly("Fee", "100")), "2026-01-01")
    subscribe(account, plan("Off", off("Loyalty", "30", DiscountLevel.ACCOUNT, **FIXED)), "2026-01-01")
    found = foreseen(subscription, "2026-01-01", lines=1)
    assert (found.days[0].total, found.left_out) == (Decimal("100.00"), ("Loyalty",))


# What keeps it from being billed -------------------------------------------------------------------------------------


def test_other_subscriptions_play_no_part():
    account = acme()
    subscription = subscribe(account, five_dollar_seats(), "2026-01-01")
    broken = subscribe(account, plan("Broken", monthly("Broken", "9")), "2026-01-01")
    broken.charges.get().segments.all().delete()
    subscribe(globex(), plan("Far", monthly("Far", "9")), "2026-01-01")
    assert told(foreseen(subscription, "2026-01-01", lines=1)) == [("2026-01-01", "2026-01-01", "2026-01-31", "50.00")]


def test_a_problem_is_told_after_what_can_be_billed():
    sold = plan("Seats", seats("Seats", "10"))
    subscription = subscribed(sold)
    late = plan("Late", monthly("Late", "9", trigger_event="SpecificDate"))
    choice = ChargeChoice(late.charges.get(), trigger_date=day("2026-02-10"))
    act(subscription, AddProduct(subscription, NewRatePlan(late, (choice,)), day("2026-01-01")))
    RatePlanCharge.objects.get(name="Late").segments.update(price=None)
    found = foreseen(subscription, "2026-01-01")
    assert [str(ahead.day) for ahead in found.days] == ["2026-01-01", "2026-02-01"]
    assert found.problem is not None
    assert "Late" in found.problem.message


def test_far_too_much_at_once_is_a_problem():
    subscription = subscribed(start="2020-01-01")
    found = foreseen(subscription, "2026-01-01")
    assert found.days == []
    assert found.problem is not None
    assert found.problem.code == "too_many_periods"


@pytest.mark.parametrize("event", ["ServiceActivation", "CustomerAcceptance"])
def test_what_waits_has_nothing_ahead(event):
    subscription = subscribed(plan("Wait", monthly("Fee", "9", trigger_event=event), monthly("Now", "9")))
    assert foreseen(subscription, "2026-01-01") == Forecast([], day("2027-01-01"))


def test_what_comes_later_than_a_year_is_not_looked_for():
    subscription = subscribed(plan("Years", monthly("Fee", "9", billing_period=BillingPeriod.TWO_YEARS)))
    bill("2026-01-01")
    assert foreseen(subscription, "2026-01-02") == Forecast([], day("2027-01-02"))


def test_the_number_of_queries_does_not_grow(django_assert_max_num_queries):
    account = acme()
    subscription = subscribe(
        account,
        plan("Large", *(seats(f"Seats {number}") for number in range(30)), off("Ten", "10")),
        "2026-01-01",
        term_months=6,
        auto_renew=True,
    )
    for number in range(20):
        subscribe(account, plan(f"Other {number}", monthly("Fee", "9")), "2026-01-01")
    rules = current_rules()
    with django_assert_max_num_queries(6):
        found = forecast(subscription, rules=rules, today=day("2026-01-01"), lines=500)
    assert sum(len(ahead.lines) for ahead in found.days) >= 500
