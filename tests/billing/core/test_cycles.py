"""Billing period, billing day and alignment together say where a charge's periods begin and end."""

from datetime import date, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest

from billing.core.charge_models import UnpriceableError
from billing.core.cycles import AccountFlawError, cycle_of
from billing.core.periods import natural_period, tiles
from billing.core.types import Alignment, BillingDayType, BillingPeriod, Charge, Term
from tests.billing.core import BLUEFIN, charge, day

ONE_DAY = timedelta(days=1)
TO_CHARGE, TO_SUBSCRIPTION = Alignment.CHARGE, Alignment.SUBSCRIPTION_START
TO_TERM_START, TO_TERM_END = Alignment.TERM_START, Alignment.TERM_END
EVERGREEN = (Term(day("2024-01-15"), None),)
TWO_YEARS = (Term(day("2024-01-15"), day("2025-01-15")), Term(day("2025-01-15"), day("2026-01-15")))


def terms_of(text: str) -> tuple[Term, ...]:
    """Return terms that follow each other, written as `2024-01-15 2025-01-15 2026-01-15`."""
    days = [day(each) for each in text.split()]
    return tuple(Term(*pair) for pair in pairwise(days))


def periods(priced: Charge, end: str | None = None, *, bill_cycle_day: int = 1, count: int = 4) -> list[str]:
    """Return the charge's first periods: first day…last day, with ! where they are partial."""
    start = priced.segments[0].start
    cycle = cycle_of(BLUEFIN._replace(bill_cycle_day=bill_cycle_day), priced, priced.trigger_date or start)
    return [
        f"{period.start:%y-%m-%d}…{period.end - ONE_DAY:%y-%m-%d}{'' if full else ' !'}"
        for period, full in islice(tiles(cycle, start, day(end) if end else None), count)
    ]


# ---- billing periods


@pytest.mark.parametrize(
    ("period", "length", "expected"),
    [
        ("Month", 0, ["24-01-31…24-02-28", "24-02-29…24-03-30", "24-03-31…24-04-29"]),
        ("Quarter", 0, ["24-01-31…24-04-29", "24-04-30…24-07-30", "24-07-31…24-10-30"]),
        ("SemiAnnual", 0, ["24-01-31…24-07-30", "24-07-31…25-01-30", "25-01-31…25-07-30"]),
        ("Annual", 0, ["24-01-31…25-01-30", "25-01-31…26-01-30", "26-01-31…27-01-30"]),
        ("EighteenMonths", 0, ["24-01-31…25-07-30", "25-07-31…27-01-30", "27-01-31…28-07-30"]),
        ("TwoYears", 0, ["24-01-31…26-01-30", "26-01-31…28-01-30", "28-01-31…30-01-30"]),
        ("ThreeYears", 0, ["24-01-31…27-01-30", "27-01-31…30-01-30", "30-01-31…33-01-30"]),
        ("FiveYears", 0, ["24-01-31…29-01-30", "29-01-31…34-01-30", "34-01-31…39-01-30"]),
        ("SpecificMonths", 1, ["24-01-31…24-02-28", "24-02-29…24-03-30", "24-03-31…24-04-29"]),
        ("SpecificMonths", 7, ["24-01-31…24-08-30", "24-08-31…25-03-30", "25-03-31…25-10-30"]),
        ("Week", 0, ["24-01-31…24-02-06", "24-02-07…24-02-13", "24-02-14…24-02-20"]),
        ("SpecificWeeks", 3, ["24-01-31…24-02-20", "24-02-21…24-03-12", "24-03-13…24-04-02"]),
        ("SpecificDays", 10, ["24-01-31…24-02-09", "24-02-10…24-02-19", "24-02-20…24-02-29"]),
    ],
)
def test_each_billing_period_runs_from_the_trigger_day(period: str, length: int, expected: list[str]) -> None:
    priced = charge(
        "2024-01-31",
        billing_period=BillingPeriod(period),
        period_length=length,
        billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
    )
    assert periods(priced, count=3) == expected


def test_days_have_no_billing_day() -> None:
    """Whatever the billing day says, ten days begin on the charge's first day, or where the alignment puts them."""
    tens: dict[str, Any] = {"billing_period": BillingPeriod.SPECIFIC_DAYS, "period_length": 10}
    priced = charge("2024-01-31", subscription_start="2024-01-25", **tens)
    assert periods(priced, count=2) == ["24-01-31…24-02-09", "24-02-10…24-02-19"]
    aligned = charge("2024-01-31", subscription_start="2024-01-25", alignment=TO_SUBSCRIPTION, **tens)
    assert periods(aligned, count=2) == ["24-01-31…24-02-03 !", "24-02-04…24-02-13"]


def test_a_term_is_one_period() -> None:
    """
    24-01-15             25-01-15    26-01-15  26-03-01
      |=======|=============|===========|=========|
           24-05-20 the charge begins
    """
    terms = (*TWO_YEARS, Term(day("2026-01-15"), day("2026-03-01")))
    priced = charge("2024-05-20", billing_period=BillingPeriod.SUBSCRIPTION_TERM, subscription_terms=terms)
    assert periods(priced, "2026-03-01") == ["24-05-20…25-01-14 !", "25-01-15…26-01-14", "26-01-15…26-02-28"]


def test_month_end_terms_are_of_whole_months() -> None:
    priced = charge(
        "2024-01-31",
        billing_period=BillingPeriod.SUBSCRIPTION_TERM,
        subscription_terms=terms_of("2024-01-31 2024-02-29 2024-03-31"),
    )
    assert periods(priced, "2024-03-31") == ["24-01-31…24-02-28", "24-02-29…24-03-30"]


# ---- billing days


@pytest.mark.parametrize(
    ("day_type", "billing_day", "first_boundary"),
    [
        (BillingDayType.ACCOUNT, 0, "2024-06-07"),
        (BillingDayType.CHARGE_TRIGGER_DAY, 0, "2024-06-20"),
        (BillingDayType.SPECIFIC_DAY_OF_MONTH, 1, "2024-06-01"),
        (BillingDayType.SPECIFIC_DAY_OF_MONTH, 31, "2024-05-31"),
        (BillingDayType.SUBSCRIPTION_START_DAY, 0, "2024-06-10"),
        (BillingDayType.TERM_START_DAY, 0, "2024-06-12"),
        (BillingDayType.TERM_END_DAY, 0, "2024-06-03"),
    ],
)
def test_each_billing_day_of_the_month(day_type: BillingDayType, billing_day: int, first_boundary: str) -> None:
    priced = charge(
        "2024-05-20",
        subscription_start="2024-01-10",
        subscription_terms=terms_of("2024-01-12 2025-01-03 2026-01-03"),
        billing_day_type=day_type,
        billing_day=billing_day,
    )
    cycle = cycle_of(BLUEFIN._replace(bill_cycle_day=7), priced, day("2024-05-20"))
    assert natural_period(cycle, day("2024-05-20")).end == day(first_boundary)


@pytest.mark.parametrize(
    ("day_type", "billing_day", "first_boundary"),
    [
        (BillingDayType.SPECIFIC_DAY_OF_WEEK, 1, "2024-05-27"),  # Monday
        (BillingDayType.SPECIFIC_DAY_OF_WEEK, 7, "2024-05-26"),  # Sunday
        (BillingDayType.CHARGE_TRIGGER_DAY, 0, "2024-05-23"),  # Thursday, as May 16
        (BillingDayType.SUBSCRIPTION_START_DAY, 0, "2024-05-22"),  # Wednesday, as January 10
        (BillingDayType.TERM_START_DAY, 0, "2024-05-24"),  # Friday, as January 12
    ],
)
def test_each_billing_day_of_the_week(day_type: BillingDayType, billing_day: int, first_boundary: str) -> None:
    priced = charge(
        "2024-05-16",
        subscription_start="2024-01-10",
        subscription_terms=terms_of("2024-01-12 2025-01-12"),
        billing_period=BillingPeriod.WEEK,
        billing_day_type=day_type,
        billing_day=billing_day,
    )
    cycle = cycle_of(BLUEFIN, priced, day("2024-05-16"))
    assert natural_period(cycle, day("2024-05-20")).end == day(first_boundary)


def test_the_term_day_of_a_charge_is_that_of_the_term_it_begins_in() -> None:
    """Later terms never move it: the period of a day does not depend on what was renewed since."""
    settings: dict[str, Any] = {"billing_day_type": BillingDayType.TERM_START_DAY}
    for terms in ("2024-01-12 2025-01-03 2026-01-20", "2024-01-12 2025-01-03 2026-01-20 2027-01-09"):
        early = charge("2024-01-12", subscription_terms=terms_of(terms), **settings)
        assert periods(early, count=1) == ["24-01-12…24-02-11"]
        on_its_first_day = charge("2025-01-03", subscription_terms=terms_of(terms), **settings)
        assert periods(on_its_first_day, count=1) == ["25-01-03…25-02-02"]
        late = charge("2025-05-20", subscription_terms=terms_of(terms), **settings)
        assert periods(late, count=1) == ["25-05-20…25-06-02 !"]


# ---- alignment


@pytest.mark.parametrize(
    ("alignment", "expected"),
    [
        # subscription and term start 01-15, billing day 1, quarterly, charge added 05-20, term end 2025-01-15
        #
        # to charge          05-20  06-01      09-01      12-01   01-15
        #                      |......|----------|----------|.......|
        # to subscription    05-20      08-01      11-01     01-15
        # and term start       |..........|----------|.........|
        # to term end        05-20      08-01      11-01     01-15      (anchor 2025-02-01)
        #                      |..........|----------|.........|
        (TO_CHARGE, ["24-05-20…24-05-31 !", "24-06-01…24-08-31", "24-09-01…24-11-30", "24-12-01…25-01-14 !"]),
        (TO_SUBSCRIPTION, ["24-05-20…24-07-31 !", "24-08-01…24-10-31", "24-11-01…25-01-14 !"]),
        (TO_TERM_START, ["24-05-20…24-07-31 !", "24-08-01…24-10-31", "24-11-01…25-01-14 !"]),
        (TO_TERM_END, ["24-05-20…24-07-31 !", "24-08-01…24-10-31", "24-11-01…25-01-14 !"]),
    ],
)
def test_four_alignments_of_one_charge(alignment: Alignment, expected: list[str]) -> None:
    priced = charge(
        "2024-05-20",
        subscription_start="2024-01-15",
        subscription_terms=TWO_YEARS[:1],
        billing_period=BillingPeriod.QUARTER,
        alignment=alignment,
    )
    assert periods(priced, "2025-01-15") == expected


@pytest.mark.parametrize(
    ("term_start", "first"), [("2018-04-10", "18-03-06…18-05-05 !"), ("2018-04-06", "18-03-06…18-04-05 !")]
)
def test_the_published_puzzle_of_a_term_that_starts_after_its_charge(term_start: str, first: str) -> None:
    """Annual, billing day 6, charge start 2018-03-06.

    03-06      04-06      05-06
      |..........|                  term start 04-06
      |.....................|       term start 04-10
    """
    priced = charge(
        "2018-03-06",
        subscription_terms=(Term(day(term_start), day(term_start).replace(year=2019)),),
        billing_period=BillingPeriod.ANNUAL,
        alignment=TO_TERM_START,
    )
    assert periods(priced, bill_cycle_day=6, count=1) == [first]


def test_a_new_term_begins_a_new_grid() -> None:
    """Half-years from the start of each term; the second term starts in the middle of one.

    24-01-15    24-07-15    25-01-15 25-03-15    25-09-15
      |-----------|-----------|........|-----------|
    """
    priced = charge(
        "2024-01-15",
        subscription_terms=terms_of("2024-01-15 2025-03-15 2026-03-15"),
        billing_period=BillingPeriod.SEMI_ANNUAL,
        billing_day_type=BillingDayType.TERM_START_DAY,
        alignment=TO_TERM_START,
    )
    assert periods(priced, count=5) == [
        "24-01-15…24-07-14",
        "24-07-15…25-01-14",
        "25-01-15…25-03-14 !",
        "25-03-15…25-09-14",
        "25-09-15…26-03-14",
    ]


def test_a_new_grid_waits_for_the_first_billing_day_of_its_term() -> None:
    """Years from the 6th; the second term starts on 2019-08-10, after the 6th of its month.

    18-05-06        19-05-06  19-09-06        20-09-06
      |----------------|.........|----------------|
    """
    priced = charge(
        "2018-05-06",
        subscription_terms=terms_of("2018-04-10 2019-08-10 2020-08-10"),
        billing_period=BillingPeriod.ANNUAL,
        alignment=TO_TERM_START,
    )
    assert periods(priced, bill_cycle_day=6, count=3) == [
        "18-05-06…19-05-05",
        "19-05-06…19-09-05 !",
        "19-09-06…20-09-05",
    ]


def test_periods_that_end_with_the_term_begin_with_a_partial_one() -> None:
    """Quarters counted back from the term's end on 2024-11-10; a renewal does not move them.

    24-01-15 24-02-10    24-05-10    24-08-10    24-11-10
      |.........|-----------|-----------|-----------|
    """
    for terms in ("2024-01-15 2024-11-10", "2024-01-15 2024-11-10 2025-12-24"):
        priced = charge(
            "2024-01-15",
            subscription_terms=terms_of(terms),
            billing_period=BillingPeriod.QUARTER,
            billing_day_type=BillingDayType.TERM_END_DAY,
            alignment=TO_TERM_END,
        )
        assert periods(priced, "2024-11-10") == [
            "24-01-15…24-02-09 !",
            "24-02-10…24-05-09",
            "24-05-10…24-08-09",
            "24-08-10…24-11-09",
        ]


def test_weeks_can_follow_terms() -> None:
    priced = charge(
        "2024-01-15",
        subscription_terms=terms_of("2024-01-17 2024-02-01 2024-03-01"),
        billing_period=BillingPeriod.WEEK,
        billing_day_type=BillingDayType.TERM_START_DAY,
        alignment=TO_TERM_START,
    )
    assert periods(priced, count=5) == [
        "24-01-15…24-01-16 !",  # the first grid reaches back
        "24-01-17…24-01-23",
        "24-01-24…24-01-30",
        "24-01-31…24-01-31 !",
        "24-02-01…24-02-07",
    ]


def test_runs_of_periods_over_terms_tile_without_gap() -> None:
    priced = charge(
        "2023-11-30",
        subscription_terms=terms_of("2024-01-31 2024-03-15 2024-04-01 2025-04-01"),
        billing_day_type=BillingDayType.TERM_END_DAY,
        alignment=TO_TERM_END,
    )
    reached = day("2023-11-30")
    cycle = cycle_of(BLUEFIN, priced, reached)
    for period, full in islice(tiles(cycle, reached, None), 60):
        assert period.start == reached < period.end
        assert full == (period == natural_period(cycle, reached))
        reached = period.end
    assert reached > date(2028, 1, 1)


# ---- what cannot be


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"billing_period": None}, "missing_billing_period"),
        ({"billing_period": BillingPeriod.SPECIFIC_MONTHS}, "missing_period_length"),
        ({"billing_period": BillingPeriod.SPECIFIC_WEEKS}, "missing_period_length"),
        ({"billing_period": BillingPeriod.SPECIFIC_DAYS}, "missing_period_length"),
        ({"billing_period": BillingPeriod.SUBSCRIPTION_TERM}, "evergreen_subscription"),
        (
            {"billing_period": BillingPeriod.SUBSCRIPTION_TERM, "subscription_terms": EVERGREEN},
            "evergreen_subscription",
        ),
        ({"alignment": TO_TERM_START}, "missing_term"),
        ({"alignment": TO_TERM_END, "subscription_terms": EVERGREEN}, "missing_term"),
        ({"billing_day_type": BillingDayType.TERM_START_DAY}, "missing_term"),
        ({"billing_day_type": BillingDayType.TERM_END_DAY, "subscription_terms": EVERGREEN}, "missing_term"),
        ({"billing_period": BillingPeriod.WEEK}, "billing_day_does_not_fit"),
        (
            {"billing_period": BillingPeriod.WEEK, "billing_day_type": BillingDayType.SPECIFIC_DAY_OF_WEEK},
            "billing_day_does_not_fit",
        ),
        (
            {
                "billing_period": BillingPeriod.WEEK,
                "billing_day_type": BillingDayType.SPECIFIC_DAY_OF_WEEK,
                "billing_day": 8,
            },
            "billing_day_does_not_fit",
        ),
        (
            {"billing_day_type": BillingDayType.SPECIFIC_DAY_OF_MONTH},
            "billing_day_does_not_fit",
        ),
        (
            {"billing_day_type": BillingDayType.SPECIFIC_DAY_OF_WEEK, "billing_day": 1},
            "billing_day_does_not_fit",
        ),
        (
            {"billing_day_type": BillingDayType.SPECIFIC_DAY_OF_MONTH, "billing_day": 32},
            "billing_day_does_not_fit",
        ),
    ],
)
def test_settings_that_do_not_say_when_are_named(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(UnpriceableError) as caught:
        cycle_of(BLUEFIN, charge("2024-01-15", **settings), day("2024-01-15"))
    assert caught.value.code == code


@pytest.mark.parametrize("bill_cycle_day", [0, 32])
def test_an_account_without_a_bill_cycle_day_is_its_own_flaw(bill_cycle_day: int) -> None:
    with pytest.raises(AccountFlawError):
        cycle_of(BLUEFIN._replace(bill_cycle_day=bill_cycle_day), charge("2024-01-15"), day("2024-01-15"))


def test_an_evergreen_subscription_has_a_term_start() -> None:
    priced = charge(
        "2024-05-20", subscription_terms=EVERGREEN, alignment=TO_TERM_START, billing_period=BillingPeriod.QUARTER
    )
    assert periods(priced, count=2) == ["24-05-20…24-07-31 !", "24-08-01…24-10-31"]
