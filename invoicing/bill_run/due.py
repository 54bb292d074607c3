"""What the sweeper finds to do: schedules whose slot has come, and runs that nobody works on (I7, I16)."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from django.db import connection

from invoicing.models import BillRunSchedule

# A chunk takes well under a second; a run without a claim for this long has lost its workers or its doorbell.
_STALLED = """
SELECT r.id FROM invoicing_billrun r
WHERE r.status = 'Pending' AND r.created_at < now() - make_interval(secs => %(seconds)s)
   OR r.status = 'Processing' AND NOT EXISTS (
       SELECT 1 FROM invoicing_billrunchunk c WHERE c.run_id = r.id AND c.claimed_at > now() - make_interval(secs => %(seconds)s))
   OR r.status IN ('PostInProgress', 'CancelInProgress')
   OR r.status = 'Completed' AND r.auto_post AND r.posted_at IS NULL AND r.error = ''
ORDER BY r.id
"""


def stalled_runs(*, seconds: int) -> list[int]:
    """Return the runs that should be going on but show no sign of life for `seconds`."""
    with connection.cursor() as cursor:
        cursor.execute(_STALLED, {"seconds": seconds})
        return [row[0] for row in cursor.fetchall()]


def due_schedules(now: datetime) -> list[BillRunSchedule]:
    """Return the active schedules whose slot has come."""
    return list(
        BillRunSchedule.objects.filter(active=True, next_slot__lte=now)
        .prefetch_related("batches")
        .order_by("next_slot", "id")
    )


def claim_slot(schedule: BillRunSchedule, *, now: datetime, zone: ZoneInfo) -> datetime | None:
    """Move the schedule past every slot up to `now` and return the latest of them; None if another sweeper did.

    Missed slots coalesce into one run for the latest (I16).
    """
    claimed = schedule.next_slot
    if claimed is None:
        return None
    following = next_slot(schedule, after=claimed, zone=zone)
    while following is not None and following <= now:
        claimed, following = following, next_slot(schedule, after=following, zone=zone)
    moved = BillRunSchedule.objects.filter(pk=schedule.pk, next_slot=schedule.next_slot).update(next_slot=following)
    return claimed if moved else None


def next_slot(schedule: BillRunSchedule, *, after: datetime | None, zone: ZoneInfo) -> datetime | None:
    """Return the first slot of the schedule after a moment, or None when it has ended.

    Days are counted from the first day, never from the slot before, so month ends do not drift. An hour that the
    clocks skip becomes the next valid one; an hour that comes twice counts once.
    """
    step = 0 if after is None else _steps_until(schedule, after.astimezone(zone).date())
    while True:
        day = _day(schedule, step)
        if schedule.ends_on is not None and day >= schedule.ends_on:
            return None
        slot = datetime.combine(day, time(schedule.hour), tzinfo=zone).astimezone(ZoneInfo("UTC"))
        if after is None or slot > after:
            return slot
        step += 1


def _day(schedule: BillRunSchedule, step: int) -> date:
    if schedule.frequency == "Monthly":
        return schedule.starts_on + relativedelta(months=step)
    return schedule.starts_on + timedelta(days=step * (7 if schedule.frequency == "Weekly" else 1))


def _steps_until(schedule: BillRunSchedule, day: date) -> int:
    if schedule.frequency == "Monthly":
        months = (day.year - schedule.starts_on.year) * 12 + day.month - schedule.starts_on.month
        return max(0, months - 1)
    return max(0, (day - schedule.starts_on).days // (7 if schedule.frequency == "Weekly" else 1))
