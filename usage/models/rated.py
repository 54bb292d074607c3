"""Rated usage: which days of a usage charge have been priced, and at what; a row for every closed period (D14)."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now

from accounts.guards import untruncatable
from billing.core.types import RatedKind as CoreRatedKind
from billing.fields import NumericField, within_limits
from billing.models import RatePlanCharge
from usage.models import guards


class RatedKind(models.TextChoices):
    PERIOD = CoreRatedKind.PERIOD.value, "Period"
    LATE = CoreRatedKind.LATE.value, "Late usage"


class RatedUsage(models.Model):
    """Days of a charge whose usage was priced, with or without any usage; the amount is in the account's currency.

    Days are rated once, later ones after earlier ones; late usage of rated days comes as a row of its own. A row that
    is no longer live was given back: its draft was canceled, and its usage is pending again. `run` says which run made
    it; it means nothing to usage but that rows belong together.
    """

    charge = models.ForeignKey(RatePlanCharge, on_delete=models.PROTECT, db_index=False, related_name="rated_usage")
    kind = models.CharField(max_length=6, choices=RatedKind, default=RatedKind.PERIOD)
    period = DateRangeField(help_text="Days rated, end exclusive.")
    counted_from = models.DateField(
        help_text="Since when usage is counted together; earlier than the period on demand."
    )
    quantity = NumericField(help_text="Usage counted, rounded as its unit says.")
    amount = NumericField()
    state = models.TextField(blank=True, help_text="What the smoothing of the next period needs.")
    run = models.PositiveBigIntegerField(default=0, db_default=0)
    is_live = models.BooleanField(default=True, db_default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "rated usage"
        verbose_name_plural = "rated usage"
        ordering = ["charge", "id"]
        indexes = [
            models.Index(fields=["charge", "id"], name="rated_of_charge", condition=Q(is_live=True)),
            # All rows, not the live ones alone: after a run was canceled these would seem to be few, and be read through.
            models.Index(fields=["run"], name="rated_by_run"),
        ]
        constraints = [
            # Box form, as for coverage: no extension is needed, and it costs half of a range.
            ExclusionConstraint(
                name="i5_rated_once",
                expressions=[
                    (
                        Func(
                            F("charge"),
                            F("period"),
                            template="box(point(charge_id, lower(period) - '2000-01-01'::date), point(charge_id, upper(period) - '2000-01-01'::date - 1))",
                        ),
                        RangeOperators.OVERLAPS,
                    )
                ],
                condition=Q(is_live=True, kind="Period"),
            ),
            models.UniqueConstraint(
                "charge",
                Func(F("period"), function="upper"),
                name="i5_rated_through",
                condition=Q(is_live=True, kind="Period"),
            ),
            models.CheckConstraint(name="i5_rated_finite", condition=guards.finite_period()),
            models.CheckConstraint(name="i4_rated_numbers", condition=within_limits("quantity", "amount")),
            models.CheckConstraint(
                name="i5_rated_known",
                condition=Q(kind__in=RatedKind.values) & guards.counted_before_it_ends(),
            ),
        ]
        triggers = [*guards.rated_triggers(), untruncatable("i5_rated_no_truncate")]

    def __str__(self) -> str:
        return f"{self.charge_id} {self.period}"
