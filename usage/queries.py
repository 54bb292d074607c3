"""Reads of usage that pages share: pending, processed and late."""

from django.db.models import DateField, Exists, F, Func, OuterRef, QuerySet

from usage.models import RatedKind, RatedUsage, UsageRecord, UsageSlice


def late_slices() -> QuerySet[UsageSlice]:
    """Return the pending slices of days that have been rated already (domain.md 6.3)."""
    end = Func(F("period"), function="upper", output_field=DateField())
    later = RatedUsage.objects.annotate(end=end).filter(
        charge=OuterRef("charge"), is_live=True, kind=RatedKind.PERIOD, end__gt=OuterRef("last_day")
    )
    return UsageSlice.objects.filter(Exists(later), rated__isnull=True)


def records_by_status(records: QuerySet[UsageRecord], status: str) -> QuerySet[UsageRecord]:
    """Return the records that are pending, processed or late; all of them for any other word."""
    if status == "pending":
        return records.filter(slice__rated__isnull=True)
    if status == "processed":
        return records.filter(slice__rated__isnull=False)
    return records.filter(slice__in=late_slices()) if status == "late" else records
