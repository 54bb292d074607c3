"""Reads of billing tables that other code shares."""

from billing.core.types import DaysInMonth, ProrationUnit, Rules
from billing.models import BillingRules


def current_rules() -> Rules:
    """Return the tenant's billing rules as the pricing core takes them."""
    rules = BillingRules.objects.get(pk=1)
    return Rules(DaysInMonth(rules.days_in_month), ProrationUnit(rules.proration_unit), rules.prorate_partial_periods)
