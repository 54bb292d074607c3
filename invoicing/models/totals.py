"""What was invoiced, added up as it is posted: the dashboard reads a few rows instead of every invoice of three months."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from accounts.guards import immutable, untruncatable
from billing.fields import NumericField

LARGEST_TOTAL = Decimal(10) ** 18


class InvoicedTotal(models.Model):
    """What one posting added to the total of a month and currency; rows are only ever added.

    Written by the trigger `i4_invoiced_totals` of the invoices, in the transaction that posts them. One row a
    posting, not one a month: postings at the same time do not wait for each other.
    """

    month = models.DateField(help_text="First day of the month of the invoice date.")
    currency = models.CharField(max_length=3)
    invoices = models.PositiveIntegerField()
    total = NumericField()

    class Meta:
        ordering = ["-month", "currency", "id"]
        indexes = [models.Index(fields=["month"], include=["currency", "invoices", "total"], name="invoiced_by_month")]
        constraints = [
            # A posting may add up many invoices, each within the limit of an amount.
            models.CheckConstraint(
                name="i4_invoiced_total_sane", condition=Q(total__range=(-LARGEST_TOTAL, LARGEST_TOTAL), month__day=1)
            )
        ]
        triggers = [
            immutable("i4_invoiced_total_kept", "Invoiced totals are added to and never changed"),
            untruncatable("i4_invoiced_total_no_truncate"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.currency}"
