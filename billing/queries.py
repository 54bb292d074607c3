"""Reads of billing tables that other code shares."""

from collections.abc import Iterable
from datetime import date

from django.db.models import DateField, F, Func, Max

from billing.core.types import DaysInMonth, PartialMonths, ProrationUnit, RecurringStyle, Rules
from billing.models import BillingRules, RatePlanCharge


def current_rules() -> Rules:
    """Return the tenant's billing rules as the pricing core takes them."""
    rules = BillingRules.objects.get(pk=1)
    return Rules(
        DaysInMonth(rules.days_in_month),
        ProrationUnit(rules.proration_unit),
        rules.prorate_partial_periods,
        PartialMonths(rules.partial_months),
        rules.bill_partial_weeks,
        rules.credit_one_time,
        RecurringStyle(rules.recurring_style),
        rules.bill_past_term_end,
        rules.bill_to_term_end_when_auto_renew,
        rules.bill_usage_partial_months,
        rules.rate_usage_individually,
    )


def auto_post_allowed() -> bool:
    """Tell whether the tenant lets bill runs post without review."""
    return BillingRules.objects.values_list("allow_auto_post", flat=True).get(pk=1)


def bill_run_defaults() -> dict[str, bool]:
    """Return what a new bill run does unless the operator says otherwise: `auto_renew` and `auto_post`."""
    renew, post = BillingRules.objects.values_list("auto_renew_default", "auto_post_default").get(pk=1)
    return {"auto_renew": renew, "auto_post": post}


def billed_until(subscription_ids: Iterable[int]) -> dict[int, date]:
    """Return the first day that is not billed yet, by subscription; those of which nothing is billed are left out."""
    end = Func(F("coverage__period"), function="upper", output_field=DateField())
    found = RatePlanCharge.objects.filter(subscription__in=list(subscription_ids), coverage__isnull=False)
    return dict(found.order_by().values_list("subscription_id").annotate(until=Max(end)))


def child_usage_included() -> bool:
    """Tell whether usage of child accounts is billed by the charges of the accounts above them (domain.md 6.5)."""
    return BillingRules.objects.filter(customer_hierarchy=True, include_child_usage=True).exists()
