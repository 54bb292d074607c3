"""The business day: the tenant's, whatever zone server and process are in (I12)."""

import time
from datetime import UTC, date, datetime

import pytest
import time_machine

from accounts.clock import business_day_of, business_today, business_zone

LATE_ON_NEW_YEARS_EVE = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", "2025-12-31"),
        ("Europe/Berlin", "2026-01-01"),
        ("Pacific/Kiritimati", "2026-01-01"),
        ("America/Los_Angeles", "2025-12-31"),
        ("Asia/Kolkata", "2026-01-01"),
    ],
)
def test_today_is_the_tenants(settings, zone, day):
    settings.BILLING_TIME_ZONE, settings.BUSINESS_DATE = zone, None
    with time_machine.travel(LATE_ON_NEW_YEARS_EVE, tick=False):
        assert business_today() == date.fromisoformat(day)
    assert business_day_of(LATE_ON_NEW_YEARS_EVE) == date.fromisoformat(day)
    assert business_zone().key == zone


@pytest.mark.parametrize("process_zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_zone_of_the_process_does_not_matter(settings, monkeypatch, process_zone):
    settings.BILLING_TIME_ZONE, settings.BUSINESS_DATE = "Europe/Berlin", None
    monkeypatch.setenv("TZ", process_zone)
    time.tzset()
    try:
        with time_machine.travel(LATE_ON_NEW_YEARS_EVE, tick=False):
            assert business_today() == date(2026, 1, 1)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_fixed_day_stands_still(fixed_today):
    assert business_today() == fixed_today
    with time_machine.travel(LATE_ON_NEW_YEARS_EVE):
        assert business_today() == fixed_today
