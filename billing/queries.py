"""Reads of billing tables that other code shares."""

from billing.core.types import DaysInMonth, ProrationUnit, Rules
from billing.models import BillingRules


def current_rules() -> Rules:
    """Return the tenant's billing rules as the pricing core takes them."""
    rules = BillingRules.objects.get(pk=1)
    return Rules(DaysInMonth(rules.days_in_month), ProrationUnit(rules.proration_unit), rules.prorate_partial_periods)


def auto_post_allowed() -> bool:
    """Tell whether the tenant lets bill runs post without review."""
    return BillingRules.objects.values_list("allow_auto_post", flat=True).get(pk=1)
