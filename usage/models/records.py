"""Usage records and the slices they hang on: a record is Pending or Processed as its slice is (D13)."""

from django.db import models
from django.db.models import F, Q

from accounts.guards import untruncatable
from accounts.models import Account
from billing.fields import NumericField, within_limits
from billing.models import RatePlanCharge
from billing.models.terms import SINGLE_LINE
from usage.models import guards
from usage.models.imports import UsageImport
from usage.models.rated import RatedUsage


class UsageSlice(models.Model):
    """The records of one upload that belong to one account, charge and billing period; finer where rating needs it.

    `account` used it, the charge's invoice owner pays it. `rated` says that the slice is Processed, and by what.
    Sums and days are kept by triggers whenever records change.
    """

    usage_import = models.ForeignKey(UsageImport, on_delete=models.PROTECT, related_name="slices")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="usage_slices")
    charge = models.ForeignKey(RatePlanCharge, on_delete=models.PROTECT, related_name="usage_slices")
    first_day = models.DateField()
    last_day = models.DateField()
    quantity = NumericField()
    records = models.PositiveIntegerField()
    rated = models.ForeignKey(
        RatedUsage, null=True, blank=True, on_delete=models.PROTECT, db_index=False, related_name="slices"
    )

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["charge", "last_day"], name="slice_pending", condition=Q(rated__isnull=True)),
            models.Index(fields=["rated"], name="slice_rated", condition=Q(rated__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                name="i5_slice_numbers",
                condition=Q(records__gte=1, quantity__gte=0, last_day__gte=F("first_day")) & within_limits("quantity"),
            ),
        ]
        triggers = [*guards.slice_triggers(), untruncatable("i5_slice_no_truncate")]

    def __str__(self) -> str:
        return f"{self.charge_id} {self.first_day}"


class UsageRecord(models.Model):
    """How much was used from `start_date` on; the day decides the billing period, `end_date` is for information."""

    slice = models.ForeignKey(UsageSlice, on_delete=models.PROTECT, related_name="records_set")
    line = models.PositiveIntegerField(help_text="Line of the file, or position in the call, that it came from.")
    quantity = NumericField()
    start_date = models.DateField()
    end_date = models.DateField(null=True, blank=True)
    description = models.CharField(max_length=200, blank=True, validators=[SINGLE_LINE])
    unique_key = models.CharField(max_length=100, null=True, blank=True, help_text="The sender's own id: taken once.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["unique_key"], condition=Q(unique_key__isnull=False), name="i5_unique_key_once"
            ),
            models.CheckConstraint(
                name="i5_record_numbers",
                condition=Q(quantity__gte=0)
                & within_limits("quantity")
                & (Q(end_date__isnull=True) | Q(end_date__gte=F("start_date"))),
            ),
        ]
        triggers = [*guards.record_triggers(), untruncatable("i5_record_no_truncate")]

    def __str__(self) -> str:
        return f"{self.quantity} from {self.start_date}"
