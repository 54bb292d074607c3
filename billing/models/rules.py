"""The tenant's billing rules: one row (domain.md 3.3)."""

from django.db import models
from django.db.models import Q

from billing.core.types import DaysInMonth, ProrationUnit
from billing.models.terms import choices_of


class BillingRules(models.Model):
    """How partial periods are billed and whether runs may post by themselves."""

    prorate_partial_periods = models.BooleanField(default=True, help_text="Off: a partial period is billed in full.")
    days_in_month = models.CharField(max_length=20, choices=choices_of(DaysInMonth), default=DaysInMonth.ACTUAL)
    proration_unit = models.CharField(
        max_length=20, choices=choices_of(ProrationUnit), default=ProrationUnit.MONTH_FIRST
    )
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
            )
        ]

    def __str__(self) -> str:
        return "Billing rules"
