"""What the sweeper finds: one run for each slot whatever the clocks do, and every run that nobody works on (I7, I16)."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from invoicing.bill_run import run as engine
from invoicing.bill_run.due import claim_slot, due_schedules, next_slot, stalled_runs
from invoicing.models import BillRun, BillRunSchedule, BillRunStatus
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.facts import in_threads

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Africa/Cairo",
)
BERLIN = ZoneInfo("Europe/Berlin")


def _schedule(**values) -> BillRunSchedule:
    return BillRunSchedule(
        **{"name": "Nightly", "frequency": "Daily", "hour": 2, "starts_on": date(2024, 1, 1), **values}
    )


def _slots(schedule: BillRunSchedule, count: int, *, zone: ZoneInfo, after: datetime | None = None) -> list[datetime]:
    found = []
    for _ in range(count):
        after = next_slot(schedule, after=after, zone=zone)
        if after is None:
            break
        found.append(after)
    return found


class TestSlots:
    @pytest.mark.parametrize("zone", ZONES)
    def test_every_local_day_has_one_slot_around_every_change_of_clocks(self, zone):
        """2024 to 2034: an hour that is skipped becomes the next valid one, an hour that comes twice counts once."""
        tz = ZoneInfo(zone)
        days = [date(2024, 1, 1) + timedelta(days=number) for number in range(366 * 11)]
        noon = [datetime(d.year, d.month, d.day, 12, tzinfo=tz).utcoffset() for d in days]
        changes = [days[place] for place in range(1, len(days)) if noon[place] != noon[place - 1]]
        for change in changes:
            for hour in range(5):
                schedule = _schedule(hour=hour)
                begin = datetime(change.year, change.month, change.day, tzinfo=tz) - timedelta(days=2)
                slots = _slots(schedule, 4, zone=tz, after=begin.astimezone(UTC))
                local = [slot.astimezone(tz) for slot in slots]
                assert [moment.date() for moment in local] == [local[0].date() + timedelta(days=n) for n in range(4)]
                assert all(moment.hour - hour in (0, 1) for moment in local)
                assert slots == sorted(set(slots))
        assert changes or zone in {"UTC", "Asia/Kolkata", "America/Sao_Paulo"}

    def test_an_hour_that_is_skipped_becomes_the_next_valid_one(self):
        """Berlin, 31 March 2024: 02:00 does not exist, the slot is 03:00 summer time."""
        (slot,) = _slots(_schedule(), 1, zone=BERLIN, after=datetime(2024, 3, 30, 12, tzinfo=UTC))
        assert slot.astimezone(BERLIN).isoformat() == "2024-03-31T03:00:00+02:00"

    def test_an_hour_that_comes_twice_counts_once(self):
        """Berlin, 27 October 2024: the first 02:00 is the slot, the second is not."""
        first, second = _slots(_schedule(), 2, zone=BERLIN, after=datetime(2024, 10, 26, 12, tzinfo=UTC))
        assert first.astimezone(BERLIN).isoformat() == "2024-10-27T02:00:00+02:00"
        assert second.astimezone(BERLIN).isoformat() == "2024-10-28T02:00:00+01:00"

    def test_month_ends_do_not_drift(self):
        slots = _slots(_schedule(frequency="Monthly", starts_on=date(2024, 1, 31)), 5, zone=BERLIN)
        assert [str(slot.astimezone(BERLIN).date()) for slot in slots] == [
            "2024-01-31",
            "2024-02-29",
            "2024-03-31",
            "2024-04-30",
            "2024-05-31",
        ]

    def test_weeks_are_counted_from_the_first_day(self):
        slots = _slots(_schedule(frequency="Weekly", starts_on=date(2024, 2, 28)), 3, zone=BERLIN)
        assert [str(slot.astimezone(BERLIN).date()) for slot in slots] == ["2024-02-28", "2024-03-06", "2024-03-13"]

    def test_the_last_day_is_not_included(self):
        assert len(_slots(_schedule(ends_on=date(2024, 1, 4)), 9, zone=BERLIN)) == 3
        assert _slots(_schedule(ends_on=date(2024, 1, 1)), 1, zone=BERLIN) == []

    @pytest.mark.parametrize("frequency", ["Daily", "Weekly", "Monthly"])
    def test_the_next_slot_is_found_from_any_moment(self, frequency):
        schedule = _schedule(frequency=frequency, starts_on=date(2024, 1, 31), hour=23)
        slots = _slots(schedule, 40, zone=BERLIN)
        for earlier, later in pairwise(slots):
            for moment in (earlier, earlier + timedelta(seconds=1), later - timedelta(seconds=1)):
                assert next_slot(schedule, after=moment, zone=BERLIN) == later


def _saved(**values) -> BillRunSchedule:
    schedule = _schedule(**values)
    schedule.next_slot = next_slot(schedule, after=None, zone=BERLIN)
    schedule.save()
    return schedule


@pytest.mark.django_db
class TestRuns:
    def test_missed_slots_become_one_run_for_the_latest(self):
        schedule = _saved()
        (run_id,) = engine.start_due_schedules(now=datetime(2024, 1, 10, 12, tzinfo=UTC), zone=BERLIN)
        run = BillRun.objects.get(pk=run_id)
        assert (run.target_date, run.invoice_date) == (date(2024, 1, 10), date(2024, 1, 10))
        assert (run.schedule, run.name) == (schedule, "Nightly")
        schedule.refresh_from_db()
        assert schedule.next_slot is not None
        assert schedule.next_slot.astimezone(BERLIN).isoformat() == "2024-01-11T02:00:00+01:00"

    def test_nothing_is_due_before_its_slot(self):
        _saved()
        assert engine.start_due_schedules(now=datetime(2024, 1, 1, 0, 59, 59, tzinfo=UTC), zone=BERLIN) == []
        assert len(engine.start_due_schedules(now=datetime(2024, 1, 1, 1, tzinfo=UTC), zone=BERLIN)) == 1

    def test_ten_days_of_ticks_from_three_sweepers_make_ten_runs(self):
        """F10: every sweeper ticks every ten minutes through ten days, a change of clocks among them."""
        _saved(starts_on=date(2024, 3, 25))
        moment, started = datetime(2024, 3, 24, 23, tzinfo=UTC), []
        while moment < datetime(2024, 4, 3, 22, tzinfo=UTC):
            for _ in range(3):
                started += engine.start_due_schedules(now=moment, zone=BERLIN)
            moment += timedelta(minutes=30)
        days = [run.target_date for run in BillRun.objects.order_by("pk")]
        assert days == [date(2024, 3, 25) + timedelta(days=number) for number in range(10)]
        assert len(started) == 10

    def test_a_schedule_says_what_its_runs_do(self):
        schedule = _saved(auto_post=True, auto_email=True)
        schedule.batches.set([make.batch(3), make.batch(4)])
        (run_id,) = engine.start_due_schedules(now=datetime(2024, 1, 1, 12, tzinfo=UTC), zone=BERLIN)
        run = BillRun.objects.get(pk=run_id)
        assert (run.scope, run.auto_post, run.auto_email) == ("Batches", True, True)
        assert {batch.code for batch in run.batches.all()} == {"Batch3", "Batch4"}

    def test_schedules_that_rest_or_are_over_start_nothing(self):
        _saved(active=False)
        _saved(name="Over", ends_on=date(2024, 1, 1))
        assert due_schedules(datetime(2030, 1, 1, tzinfo=UTC)) == []

    def test_the_last_slot_ends_a_schedule(self):
        schedule = _saved(ends_on=date(2024, 1, 2))
        assert len(engine.start_due_schedules(now=datetime(2024, 6, 1, tzinfo=UTC), zone=BERLIN)) == 1
        schedule.refresh_from_db()
        assert schedule.next_slot is None

    def test_a_run_that_cannot_be_created_leaves_the_slot_for_the_next_tick(self, monkeypatch):
        schedule = _saved()
        before = schedule.next_slot
        with monkeypatch.context() as broken:
            broken.setattr(engine, "take_numbers", lambda purpose: (_ for _ in ()).throw(LookupError))
            with pytest.raises(LookupError):
                engine.start_due_schedules(now=datetime(2024, 1, 1, 12, tzinfo=UTC), zone=BERLIN)
        schedule.refresh_from_db()
        assert schedule.next_slot == before
        assert len(engine.start_due_schedules(now=datetime(2024, 1, 1, 12, tzinfo=UTC), zone=BERLIN)) == 1


@pytest.mark.django_db(transaction=True)
class TestSweepersAtOnce:
    def test_three_sweepers_start_one_run(self):
        _saved()
        now = datetime(2024, 1, 10, 12, tzinfo=UTC)
        started = in_threads(3, lambda _: engine.start_due_schedules(now=now, zone=BERLIN))
        assert sorted(map(len, started)) == [0, 0, 1]
        assert BillRun.objects.count() == 1

    def test_a_sweeper_that_read_the_schedule_before_another_moved_it_claims_nothing(self):
        schedule = _saved()
        stale = BillRunSchedule.objects.get()
        now = datetime(2024, 1, 10, 12, tzinfo=UTC)
        assert claim_slot(schedule, now=now, zone=BERLIN) is not None
        assert claim_slot(stale, now=now, zone=BERLIN) is None


@pytest.mark.django_db
class TestStalled:
    @pytest.fixture
    def run(self) -> BillRun:
        account = make.acme()
        make.subscribe(account, make.team_plan(), "2026-01-01")
        return engine.create(scope="All", target_date=day("2026-01-01"), invoice_date=day("2026-01-01"))

    def _age(self, seconds: int) -> None:
        BillRun.objects.update(created_at=F("created_at") - timedelta(seconds=seconds))
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE invoicing_billrunchunk SET claimed_at = claimed_at - make_interval(secs => %s)", [seconds]
            )

    def test_a_pending_run_nobody_started(self, run):
        assert stalled_runs(seconds=60) == []
        self._age(61)
        assert stalled_runs(seconds=60) == [run.pk]

    def test_a_processing_run_is_left_alone_while_chunks_are_claimed(self, run):
        engine.start(run)
        assert stalled_runs(seconds=60) == [run.pk]
        run.chunks.update(claimed_at=timezone.now())
        assert stalled_runs(seconds=60) == []
        self._age(61)
        assert stalled_runs(seconds=60) == [run.pk]

    def test_what_is_over_is_never_rung_for(self, run):
        engine.advance(run.pk, seconds=60)
        self._age(10_000)
        assert stalled_runs(seconds=60) == []

    def test_a_run_that_should_post_by_itself_is_rung_for_until_it_has(self, run):
        BillRun.objects.update(auto_post=True)
        engine.work(run.pk, seconds=60)
        assert BillRun.objects.get().status == BillRunStatus.COMPLETED
        assert stalled_runs(seconds=60) == [run.pk]
        engine.advance(run.pk, seconds=60)
        assert stalled_runs(seconds=60) == []


@pytest.mark.django_db(transaction=True)
def test_a_run_completes_though_no_message_ever_arrives(monkeypatch):
    """F30: without a single doorbell the sweeper takes a run from Pending to Posted with its mails queued."""
    account = make.acme()
    make.subscribe(account, make.team_plan(), "2026-01-01")
    run = engine.create(
        scope="All", target_date=day("2026-01-01"), invoice_date=day("2026-01-01"), auto_post=True, auto_email=True
    )
    BillRun.objects.update(created_at=F("created_at") - timedelta(minutes=5))
    for _ in range(3):
        for run_id in stalled_runs(seconds=30):
            engine.advance(run_id, seconds=60)
    run.refresh_from_db()
    assert run.status == BillRunStatus.POSTED
    assert run.invoices.get().deliveries.count() == 1
    assert bill("2026-01-01").invoice_count == 0
