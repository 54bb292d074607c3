"""Terms of charges: what the catalogue refuses by field, where a charge ends by itself, and what it brings a month."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    ListPriceBase,
    PriceFormat,
    Tier,
)
from billing.models import ChargeSegment, ProductRatePlanCharge, RatePlanCharge, Subscription, SubscriptionTerm
from billing.models.terms import BillingTermsModel, EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.catalog import set_price
from billing.services.charge_terms import terms_of
from billing.services.orders import ChargeChoice, OrderRefusedError
from tests.factories import acme, by_tiers, day, monthly, once, plan, seats, subscribe

pytestmark = pytest.mark.django_db

TEN_PERCENT: dict[str, Any] = {
    "charge_model": ChargeModel.DISCOUNT_PERCENTAGE,
    "discount_level": DiscountLevel.SUBSCRIPTION,
    "discount_applies_to": [ChargeType.RECURRING],
}
TRIGGER_DAY = BillingDayType.CHARGE_TRIGGER_DAY


def tier(up_to, price):
    return Tier(None if up_to is None else Decimal(up_to), Decimal(price), PriceFormat.PER_UNIT)


@dataclass
class Refused:
    """A charge that the catalogue refuses, and the field that it names."""

    fields: list[str]
    words: str
    charge: dict[str, Any] = field(default_factory=dict)


REFUSED = [
    Refused(["billing_period"], "needs a billing period", monthly(billing_period=None)),
    Refused(["billing_period"], "has no billing period", once(billing_period=BillingPeriod.MONTH)),
    Refused(["period_length"], "How many months", monthly(billing_period=BillingPeriod.SPECIFIC_MONTHS)),
    Refused(["period_length"], "1 to 520", monthly(billing_period="SpecificWeeks", period_length=521, billing_day_type=TRIGGER_DAY)),
    Refused(["period_length"], "Only billing periods of specific", monthly(period_length=2)),
    Refused(["price_base_months"], "Give 1 to 600", monthly(list_price_base=ListPriceBase.PER_SPECIFIC_MONTHS)),
    Refused(["price_base_months"], "Only a price per", monthly(price_base_months=3)),
    Refused(["list_price_base"], "Prices per week go with", monthly(list_price_base=ListPriceBase.PER_WEEK)),
    Refused(["list_price_base"], "Prices per week go with", monthly(billing_period="Week", billing_day_type=TRIGGER_DAY, list_price_base="PerMonth")),
    Refused(["list_price_base"], "per billing period", monthly(billing_period="SpecificDays", period_length=10, list_price_base="PerMonth")),
    Refused(["billing_day"], "1 to 31", monthly(billing_day_type=BillingDayType.SPECIFIC_DAY_OF_MONTH, billing_day=32)),
    Refused(["billing_day"], "1 (Monday) to 7", monthly(billing_period="Week", billing_day_type="SpecificDayOfWeek", billing_day=8)),
    Refused(["billing_day"], "Only a specific day", monthly(billing_day=5)),
    Refused(["billing_day_type"], "needs a day of the week", monthly(billing_period="Week")),
    Refused(["billing_day_type"], "Only a charge billed by weeks", monthly(billing_day_type="SpecificDayOfWeek", billing_day=1)),
    Refused(["up_to_periods"], "How many periods", monthly(end_condition=EndCondition.FIXED_PERIOD)),
    Refused(["up_to_periods"], "1 to 65,534", monthly(end_condition=EndCondition.FIXED_PERIOD, up_to_periods=65_535)),
    Refused(["up_to_periods"], "Only a charge for a fixed period", monthly(up_to_periods=3)),
    Refused(["end_condition"], "due once", once(end_condition=EndCondition.SPECIFIC_END_DATE)),
    Refused(["charge_model"], "for usage only", monthly(charge_model=ChargeModel.OVERAGE)),
    Refused(["discount_level", "discount_applies_to"], "Choose at least one", monthly(charge_model="DiscountPercentage")),
    Refused(["discount_level"], "Only a discount", monthly(discount_stacked=True)),
    Refused(["default_quantity"], "is a flat fee and has no quantity", monthly(default_quantity=Decimal(1))),
    Refused(["default_quantity"], "is a discount and has no quantity", monthly(default_quantity=Decimal(1), **TEN_PERCENT)),
    Refused(["default_quantity"], "below zero (-1)", seats(quantity="-1")),
    Refused(["price"], "below zero (-1)", monthly(price="-1")),
    Refused(["price"], "not a number", monthly(price="NaN")),
    Refused(["price"], "more than 100 % off (100.1)", monthly(price="100.1", **TEN_PERCENT)),
    Refused(["price"], "in tier 2 (-1)", by_tiers("A", ChargeModel.TIERED, [tier(5, 1), tier(None, -1)], quantity="1")),
    Refused(["price"], "gaps or overlaps", by_tiers("A", ChargeModel.VOLUME, [tier(5, 1), tier(5, 2)], quantity="1")),
    Refused(["price"], "gaps or overlaps", by_tiers("A", ChargeModel.VOLUME, [tier(None, 1), tier(5, 2)], quantity="1")),
]  # fmt: skip


def test_the_catalogue_refuses_what_cannot_be_billed():
    for number, case in enumerate(REFUSED):
        with pytest.raises(ValidationError) as refused:
            plan(f"Plan {number}", case.charge)
        assert list(refused.value.message_dict) == case.fields, case
        assert case.words in str(refused.value), case
    assert not ProductRatePlanCharge.objects.exists()


ACCEPTED = [
    monthly(billing_period="SpecificMonths", period_length=5, list_price_base="PerSpecificMonths", price_base_months=2),
    monthly(billing_period="SpecificWeeks", period_length=2, billing_day_type="SpecificDayOfWeek", billing_day=1, list_price_base="PerWeek"),
    monthly(billing_period="SpecificDays", period_length=10),
    monthly(billing_period="FiveYears", billing_day_type="SpecificDayOfMonth", billing_day=31, alignment="AlignToTermStart"),
    monthly(end_condition="FixedPeriod", up_to_periods=3, up_to_periods_type="Weeks"),
    monthly(price="100", discount_stacked=True, **TEN_PERCENT),
    monthly(price="25", **{**TEN_PERCENT, "charge_model": ChargeModel.DISCOUNT_FIXED}),
]  # fmt: skip


def test_every_column_of_the_terms_is_stored_and_copied():
    columns = [column.name for column in BillingTermsModel._meta.get_fields()]
    for number, charge in enumerate(ACCEPTED):
        offered = plan(f"Plan {number}", charge).charges.get()
        for name, value in charge.items():
            if name != "prices":
                assert getattr(offered, name) == value, (name, charge)
        subscription = subscribe(acme(), offered.rate_plan, "2026-01-01")
        ordered = subscription.charges.get()
        assert [getattr(ordered, name) for name in columns] == [getattr(offered, name) for name in columns]
        assert terms_of(ordered) == terms_of(offered)
    assert terms_of(ProductRatePlanCharge.objects.order_by("id")[1])[-3:] == (2, 0, 1)


def test_prices_are_checked_when_they_change_too():
    charge = plan("Basic", monthly()).charges.get()
    with pytest.raises(ValidationError, match="below zero"):
        set_price(charge=charge, currency="USD", price=Decimal(-1))
    assert charge.prices.get(currency="USD").price == 10


class TestEndOfACharge:
    @pytest.mark.parametrize(
        ("count", "unit", "changes", "expected"),
        [
            (10, "Days", {}, "2026-02-10"),
            (2, "Weeks", {}, "2026-02-14"),
            (1, "Months", {}, "2026-02-28"),
            (2, "Years", {}, "2028-01-31"),
            (3, "BillingPeriods", {}, "2026-04-30"),
            (3, "BillingPeriods", {"billing_period": "Quarter"}, "2026-10-31"),
            (3, "BillingPeriods", {"billing_period": "Week", "billing_day_type": TRIGGER_DAY}, "2026-02-21"),
            (3, "BillingPeriods", {"billing_period": "SpecificDays", "period_length": 5}, "2026-02-15"),
            (2, "BillingPeriods", {"billing_period": "SpecificMonths", "period_length": 5}, "2026-11-30"),
            (2, "BillingPeriods", {"billing_period": "SubscriptionTerm"}, "2028-01-31"),
        ],
    )
    def test_fixed_period_is_counted_from_its_first_day(self, count, unit, changes, expected):
        charge = monthly(
            end_condition="FixedPeriod", up_to_periods=count, up_to_periods_type=UpToPeriodsType(unit), **changes
        )
        subscribe(acme(), plan("Fixed", charge), "2026-01-31", term_months=12)
        assert str(ChargeSegment.objects.get().effective_end) == expected

    def test_it_is_counted_from_the_trigger_day(self):
        charge = monthly(trigger_event=TriggerEvent.SERVICE_ACTIVATION, end_condition="FixedPeriod", up_to_periods=2)
        subscribe(acme(), plan("Fixed", charge), "2026-01-31", service_activation=day("2026-03-15"))
        segment = ChargeSegment.objects.get()
        assert (segment.effective_start, segment.effective_end) == (day("2026-03-15"), day("2026-05-15"))

    def test_it_has_no_end_while_its_first_day_is_unknown(self):
        charge = monthly(trigger_event=TriggerEvent.SERVICE_ACTIVATION, end_condition="FixedPeriod", up_to_periods=2)
        subscribe(acme(), plan("Fixed", charge), "2026-01-31")
        assert ChargeSegment.objects.get().effective_end is None

    def test_end_date_of_its_own(self):
        rate_plan = plan("Until", monthly(end_condition=EndCondition.SPECIFIC_END_DATE))
        choice = ChargeChoice(rate_plan.charges.get(), end_date=day("2026-05-05"))
        subscribe(acme(), rate_plan, "2026-01-31", charges=[choice])
        assert ChargeSegment.objects.get().effective_end == day("2026-05-05")

    @pytest.mark.parametrize(
        ("changes", "end", "words"),
        [
            ({"end_condition": "SpecificEndDate"}, None, "ends on a date of its own: give it."),
            ({"end_condition": "SpecificEndDate"}, "2026-01-01", "must end after it begins"),
            ({}, "2026-05-05", "has no end date of its own; leave it empty."),
            ({"end_condition": "FixedPeriod", "up_to_periods": 65_534}, None, "would run beyond the year 2199."),
        ],
    )
    def test_refused(self, changes, end, words):
        rate_plan = plan("Until", monthly(**changes))
        choice = ChargeChoice(rate_plan.charges.get(), end_date=end and day(end))
        with pytest.raises(OrderRefusedError) as refused:
            subscribe(acme(), rate_plan, "2026-01-01", charges=[choice])
        assert list(refused.value.message_dict) == ["end_date"]
        assert words in str(refused.value)


class TestTermsOfTheSubscription:
    @pytest.mark.parametrize(
        "changes",
        [
            {"billing_period": BillingPeriod.SUBSCRIPTION_TERM},
            {"alignment": Alignment.TERM_END},
            {"billing_day_type": BillingDayType.TERM_END_DAY},
        ],
    )
    def test_evergreen_has_no_end_of_term_to_count_from(self, changes):
        rate_plan = plan("Term", monthly(**changes))
        with pytest.raises(OrderRefusedError, match="an evergreen subscription has no end of term"):
            subscribe(acme(), rate_plan, "2026-01-01")
        subscribe(acme(), rate_plan, "2026-01-01", term_months=12)

    def test_first_term_and_renewal_are_written(self):
        subscription = subscribe(acme(), plan("Basic", monthly()), "2026-01-01", term_months=12, renewal_months=3)
        term = SubscriptionTerm.objects.get()
        assert (term.number, term.start, term.end) == (1, date(2026, 1, 1), date(2027, 1, 1))
        assert subscription.renewal_months == 3
        subscribe(acme(), plan("Other", monthly()), "2026-01-01")
        assert SubscriptionTerm.objects.latest("id").end is None

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"auto_renew": True}, "auto_renew"),
            ({"renewal_months": 3}, "renewal_months"),
            ({"term_months": 12, "renewal_months": 0}, "renewal_months"),
            ({"service_activation": date(9999, 1, 1)}, "service_activation"),
            ({"name": "x" * 101}, "name"),
        ],
    )
    def test_refused(self, values, field):
        with pytest.raises(OrderRefusedError) as refused:
            subscribe(acme(), plan("Basic", monthly()), "2026-01-01", **values)
        assert list(refused.value.message_dict) == [field]
        assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("charge", "expected"),
    [
        (monthly(price="140", billing_period="Week", billing_day_type=TRIGGER_DAY), "600"),
        (monthly(price="140", billing_period="SpecificWeeks", period_length=2, billing_day_type=TRIGGER_DAY), "300"),
        (monthly(price="1200", billing_period="SubscriptionTerm"), "100"),
        (monthly(price="10", **TEN_PERCENT), "0"),
        (once(), "0"),
    ],
)
def test_monthly_revenue_of_what_is_ordered(charge, expected):
    """domain.md 10; a discount brings nothing of its own, it depends on what it reduces."""
    subscription = subscribe(acme(), plan("Basic", charge), "2026-01-01", term_months=12)
    assert ChargeSegment.objects.get().mrr == Decimal(expected)
    assert subscription.order_actions.get().delta_mrr == Decimal(expected)
    assert RatePlanCharge.objects.get().trigger_date == date(2026, 1, 1)
