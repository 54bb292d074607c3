"""Reading what usage charges have to rate: a fixed number of flat queries, however many slices and records there are."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection

from billing.core.smoothing import OverageCalculation, Smoothing, SmoothingModel, UnusedUnitsCredit
from billing.core.types import Period, RatingGroup, UsageRating
from billing.core.units import RoundingMode, UnitOfMeasure
from billing.core.usage import RatedWindow, Slice, Usage, UsageTerms

# Every live row of days that have been rated, not of late usage.
LIVE = "r.is_live AND r.kind = 'Period'"

_TERMS = """
SELECT c.id, c.rating_group, c.usage_rating, c.smoothing_model, c.smoothing_periods, c.overage_calculation, c.unused_units_credit,
       c.unit, coalesce(u.decimals, 9), coalesce(u.rounding, 'Up')
FROM billing_rateplancharge c LEFT JOIN billing_unitofmeasure u ON u.name = c.unit WHERE c.id = ANY(%(charges)s)
"""

# The window rated last, with the state of whatever was rated last of all.
_LAST = f"""
SELECT c.id, last.counted_from, last.through,
       (SELECT r.state FROM usage_ratedusage r WHERE r.charge_id = c.id AND r.is_live ORDER BY r.id DESC LIMIT 1),
       sums.quantity, sums.amount
FROM unnest(%(charges)s::bigint[]) c(id)
JOIN LATERAL (
    SELECT r.counted_from, upper(r.period) AS through FROM usage_ratedusage r WHERE r.charge_id = c.id AND {LIVE} ORDER BY upper(r.period) DESC LIMIT 1
) last ON true
JOIN LATERAL (
    SELECT sum(r.quantity) AS quantity, sum(r.amount) AS amount FROM usage_ratedusage r
    WHERE r.charge_id = c.id AND r.is_live AND r.counted_from = last.counted_from
) sums ON true
"""

# A record may be corrected at this very moment: whoever rates waits for that, and whoever corrects finds it Processed.
_LOCK_PENDING = """
SELECT count(*) FROM (
    SELECT s.id FROM usage_usageslice s WHERE s.charge_id = ANY(%(charges)s) AND s.rated_id IS NULL AND s.first_day < %(target)s
    ORDER BY s.id FOR NO KEY UPDATE
) locked
"""

_PENDING = """
SELECT s.charge_id, s.id, s.first_day, s.last_day, s.quantity, s.records, s.usage_import_id FROM usage_usageslice s
WHERE s.charge_id = ANY(%(charges)s) AND s.rated_id IS NULL AND s.first_day < %(target)s ORDER BY s.charge_id, s.first_day, s.id
"""

_WINDOWS = f"""
SELECT r.charge_id, r.counted_from, max(upper(r.period)) FILTER (WHERE r.kind = 'Period'), sum(r.quantity), sum(r.amount)
FROM usage_ratedusage r WHERE r.charge_id = ANY(%(charges)s) AND r.is_live GROUP BY r.charge_id, r.counted_from
HAVING bool_or({LIVE}) ORDER BY r.charge_id, r.counted_from
"""

_RATED = """
SELECT s.charge_id, s.id, s.first_day, s.last_day, s.quantity, s.records, s.usage_import_id FROM usage_usageslice s
JOIN unnest(%(charges)s::bigint[], %(days)s::date[]) AS wanted(charge_id, day) ON wanted.charge_id = s.charge_id AND s.last_day >= wanted.day
WHERE s.rated_id IS NOT NULL ORDER BY s.charge_id, s.first_day, s.id
"""

_QUANTITIES = """
SELECT slice_id, quantity, count(*) FROM usage_usagerecord WHERE slice_id = ANY(%(slices)s) GROUP BY slice_id, quantity ORDER BY slice_id, quantity
"""

_charge_of = itemgetter(0)
_ONE_DAY = timedelta(days=1)


class _Last(NamedTuple):
    window: RatedWindow
    state: str


def load_usage(
    charge_ids: Collection[int], *, target_date: date, individually: bool, to_rate: bool = False
) -> dict[int, Usage]:
    """Return what each of these usage charges has to rate by `target_date`; `individually` as the billing rules say.

    With `to_rate` pending usage is locked, so that it is rated as it is read.
    """
    if not charge_ids:
        return {}
    values: dict[str, Any] = {"charges": list(charge_ids), "target": target_date}
    with connection.cursor() as cursor:
        cursor.execute(_TERMS, values)
        terms = {row[0]: _terms(*row[1:]) for row in cursor.fetchall()}
        cursor.execute(_LAST, values)
        last = {
            charge_id: _Last(RatedWindow(Period(since, through), quantity, amount), state or "")
            for charge_id, since, through, state, quantity, amount in cursor.fetchall()
        }
        if to_rate:
            cursor.execute(_LOCK_PENDING, values)
        cursor.execute(_PENDING, values)
        slices = _slices(cursor.fetchall(), is_rated=False)
        windows = _windows_of_late_usage(cursor, last, slices)
        _add_rated(cursor, slices, _since_when(terms, last, windows))
        _add_quantities(cursor, slices, terms, individually)
    found = {}
    for charge_id, counted in terms.items():
        known = last.get(charge_id)
        closed = windows.get(charge_id) or ((known.window,) if known else ())
        found[charge_id] = Usage(counted, tuple(slices.get(charge_id, ())), closed, known.state if known else "")
    return found


def _terms(
    group: str,
    rating: str,
    model: str,
    periods: int,
    calculation: str,
    unused: str,
    unit: str,
    decimals: int,
    rounding: str,
) -> UsageTerms:
    smoothing = None
    if model:
        smoothing = Smoothing(
            SmoothingModel(model), periods, OverageCalculation(calculation), UnusedUnitsCredit(unused)
        )
    measure = UnitOfMeasure(unit, decimals, RoundingMode(rounding))
    return UsageTerms(measure, RatingGroup(group), UsageRating(rating), smoothing)


def _slices(rows: Iterable[tuple[Any, ...]], *, is_rated: bool) -> dict[int, list[Slice]]:
    found: dict[int, list[Slice]] = defaultdict(list)
    for charge_id, pk, first, last, quantity, records, upload in rows:
        found[charge_id].append(Slice(pk, Period(first, last + _ONE_DAY), quantity, records, upload, is_rated))
    return found


def _windows_of_late_usage(
    cursor: Any, last: Mapping[int, _Last], slices: Mapping[int, list[Slice]]
) -> dict[int, tuple[RatedWindow, ...]]:
    """Return all windows of the charges that have usage of days rated before; few have any."""
    late = [
        charge_id
        for charge_id, known in last.items()
        if any(found.days.start < known.window.days.end for found in slices.get(charge_id, ()))
    ]
    if not late:
        return {}
    cursor.execute(_WINDOWS, {"charges": late})
    return {
        charge_id: tuple(
            RatedWindow(Period(since, through), quantity, amount) for _, since, through, quantity, amount in rows
        )
        for charge_id, rows in groupby(cursor.fetchall(), _charge_of)
    }


def _since_when(
    terms: Mapping[int, UsageTerms], last: Mapping[int, _Last], windows: Mapping[int, tuple[RatedWindow, ...]]
) -> dict[int, date]:
    """Return from which day on usage that is rated already is counted again, by charge."""
    since = {
        charge_id: known.window.days.start
        for charge_id, known in last.items()
        if terms[charge_id].rating is UsageRating.ON_DEMAND
    }
    return since | {charge_id: found[0].days.start for charge_id, found in windows.items()}


def _add_rated(cursor: Any, slices: dict[int, list[Slice]], since: Mapping[int, date]) -> None:
    if not since:
        return
    cursor.execute(_RATED, {"charges": list(since), "days": list(since.values())})
    for charge_id, found in _slices(cursor.fetchall(), is_rated=True).items():
        slices[charge_id] += found


def _add_quantities(
    cursor: Any, slices: dict[int, list[Slice]], terms: Mapping[int, UsageTerms], individually: bool
) -> None:
    """Give slices whose records are rounded or priced one by one the quantities of these."""
    by_record = [charge_id for charge_id in slices if individually or terms[charge_id].by_record]
    wanted = [found.slice_id for charge_id in by_record for found in slices[charge_id]]
    if not wanted:
        return
    cursor.execute(_QUANTITIES, {"slices": wanted})
    quantities = {
        slice_id: tuple((quantity, times) for _, quantity, times in rows)
        for slice_id, rows in groupby(cursor.fetchall(), _charge_of)
    }
    for charge_id in by_record:
        slices[charge_id] = [found._replace(quantities=quantities[found.slice_id]) for found in slices[charge_id]]
