"""The tenant's billing rules: one row (domain.md 3.3)."""

from django.db import models
from django.db.models import Q

from billing.core.types import DaysInMonth, PartialMonths, ProrationUnit, RecurringStyle
from billing.models.terms import choices_of


class BillingRules(models.Model):
    """How partial periods are billed and whether runs may post by themselves."""

    prorate_partial_periods = models.BooleanField(default=True, help_text="Off: a partial period is billed in full.")
    days_in_month = models.CharField(max_length=20, choices=choices_of(DaysInMonth), default=DaysInMonth.ACTUAL)
    proration_unit = models.CharField(
        max_length=20, choices=choices_of(ProrationUnit), default=ProrationUnit.MONTH_FIRST
    )
    partial_months = models.CharField(
        max_length=8,
        choices=choices_of(PartialMonths),
        default=PartialMonths.PRORATE,
        db_default=PartialMonths.PRORATE.value,
    )
    bill_partial_weeks = models.BooleanField(default=True, db_default=True)
    credit_one_time = models.BooleanField(default=False, db_default=False)
    recurring_style = models.CharField(
        max_length=17,
        choices=choices_of(RecurringStyle),
        default=RecurringStyle.RATE_PLAN,
        db_default=RecurringStyle.RATE_PLAN.value,
    )
    bill_past_term_end = models.BooleanField(default=False, db_default=False)
    bill_to_term_end_when_auto_renew = models.BooleanField(default=True, db_default=True)
    bill_usage_partial_months = models.BooleanField(default=True, db_default=True)
    rate_usage_individually = models.BooleanField(default=False, db_default=False)
    customer_hierarchy = models.BooleanField(default=False, db_default=False)
    include_child_usage = models.BooleanField(default=False, db_default=False)
    auto_renew_default = models.BooleanField(default=True, db_default=True)
    auto_post_default = models.BooleanField(default=False, db_default=False)
    allow_auto_post = models.BooleanField(
        default=True, help_text="Bill runs may post and e-mail their invoices without review."
    )

    class Meta:
        verbose_name = "billing rules"
        verbose_name_plural = "billing rules"
        constraints = [
            models.CheckConstraint(
                name="billing_rules_one_row",
                condition=Q(id=1),
                violation_error_message="There is one set of billing rules; change that one.",
            ),
            models.CheckConstraint(
                name="child_usage_needs_hierarchy",
                condition=Q(include_child_usage=False) | Q(customer_hierarchy=True),
                violation_error_message="Usage of child accounts needs the customer hierarchy.",
            ),
        ]

    def __str__(self) -> str:
        return "Billing rules"
