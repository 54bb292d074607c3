"""The business day: the only place that asks what day it is (I12)."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone


def business_zone() -> ZoneInfo:
    """Return the tenant's time zone, in which timestamps become dates."""
    return ZoneInfo(settings.BILLING_TIME_ZONE)


def business_today() -> date:
    """Return today's date in the tenant's zone, or the fixed BUSINESS_DATE of a demo or a test."""
    fixed: date | None = settings.BUSINESS_DATE
    return fixed or timezone.now().astimezone(business_zone()).date()


def business_day_of(moment: datetime) -> date:
    """Return the tenant's calendar date of an aware timestamp."""
    return moment.astimezone(business_zone()).date()
