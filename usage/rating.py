"""Rating in the database: cutting slices where periods end, writing what was rated, and giving it back (D14)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import islice

from django.db import OperationalError, connection

from billing.core.charge_models import UnpriceableError
from billing.core.types import Account, Charge, Period, Rated, RatedKind, Rules
from billing.core.usage import Slice, Usage, straddling
from billing.core.usage_rating import due_parts

RATED_COLUMNS = "id, charge_id, kind, period, counted_from, quantity, amount, state, run, is_live"
_BLOCK = 1000  # rows a COPY block

RatedKey = tuple[int, RatedKind, date]
"""What identifies a rated period within a run: charge, kind, and first day."""


def key_of(rated: Rated) -> RatedKey:
    """Return what a run knows a rated period by before it has an id."""
    return rated.charge_id, rated.kind, rated.period.start


# Records may be changed, or their import undone, while they are being priced: such a slice is not the one that was priced.
_MARK = """
UPDATE usage_usageslice s SET rated_id = m.rated_id
FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[], %s::int[]) AS m(slice_id, rated_id, quantity, records)
WHERE s.id = m.slice_id AND s.rated_id IS NULL AND s.quantity = m.quantity AND s.records = m.records
"""
_TAKE_IDS = "SELECT nextval('usage_ratedusage_id_seq') FROM generate_series(1, %s)"


class UsageChangedError(OperationalError):
    """Usage was changed while it was being priced; whoever priced it does so again."""


def write_rated(rated: Sequence[Rated], usage: Mapping[int, Usage], *, run_id: int) -> dict[RatedKey, int]:
    """Write what a run has rated of `usage`, make its slices Processed, and return the ids.

    The accounts must be locked. Raises `UsageChangedError` if a slice is no longer what was priced.
    """
    if not rated:
        return {}
    sums = {
        found.slice_id: (found.quantity, found.records)
        for charge_id in {each.charge_id for each in rated}
        for found in usage[charge_id].slices
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_IDS, [len(rated)])
        # Ids grow with the days of a charge, so that what was rated later is given back first.
        ids = sorted(pk for (pk,) in cursor.fetchall())
        rows = iter(_rows(rated, ids, run_id))
        with cursor.copy(f"COPY usage_ratedusage ({RATED_COLUMNS}) FROM STDIN") as copy:
            while block := list(islice(rows, _BLOCK)):
                copy.write("".join(block))
        slices = [slice_id for found in rated for slice_id in found.slices]
        if slices:
            marks = [pk for found, pk in zip(rated, ids, strict=True) for _ in found.slices]
            quantities, records = map(list, zip(*(sums[slice_id] for slice_id in slices), strict=True))
            cursor.execute(_MARK, [slices, marks, quantities, records])
            if cursor.rowcount != len(slices):
                raise UsageChangedError("Usage was changed while it was being priced.")
    return {key_of(found): pk for found, pk in zip(rated, ids, strict=True)}


def _rows(rated: Iterable[Rated], ids: Iterable[int], run_id: int) -> Iterable[str]:
    for found, pk in zip(rated, ids, strict=True):
        days = f"[{found.period.start},{found.period.end})"
        yield (
            f"{pk}\t{found.charge_id}\t{found.kind}\t{days}\t{found.counted_from}\t{found.quantity}\t{found.amount}"
            f"\t{found.state}\t{run_id}\ttrue\n"
        )


# A trigger makes its slices Pending again.
_RELEASE = "UPDATE usage_ratedusage SET is_live = false WHERE id = ANY(%(ids)s) AND is_live"


def unrate(rated_ids: Collection[int]) -> None:
    """Give rated usage back: its slices are Pending again and its days will be rated anew."""
    if not rated_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {"ids": list(rated_ids)})


def slices_to_cut(
    account: Account, charges: Iterable[Charge], usage: Mapping[int, Usage], rules: Rules, target_date: date, limit: int
) -> dict[int, list[date]]:
    """Return the pending slices that reach over the end of days rated together, with the days to cut them on.

    An import slices usage by the periods of its day; when orders or billing days have changed since, some slices reach
    over the periods of now. The charges that cannot be rated at all are left to pricing, which says why.
    """
    cuts: dict[int, list[date]] = {}
    for charge in charges:
        found = usage.get(charge.charge_id)
        if found is None or charge.trigger_date is None:
            continue
        pending = [each for each in found.slices if not each.is_rated and (each.days.end - each.days.start).days > 1]
        if not pending:
            continue
        windows = [window.days for window in found.windows]
        try:
            windows += [part.days for part in due_parts(account, charge, found, rules, target_date, limit)]
        except UnpriceableError:
            continue
        for each in straddling(pending, windows):
            cuts[each.slice_id] = _days_within(each, windows)
    return cuts


def _days_within(found: Slice, windows: Iterable[Period]) -> list[date]:
    days = {day for window in windows for day in window if found.days.start < day < found.days.end}
    return sorted(days)


# Records move to fresh slices, which are written after them; the sums of what stays are kept by a trigger.
_MOVE = """
UPDATE usage_usagerecord r SET slice_id = c.new_id
FROM unnest(%(slices)s::bigint[], %(days)s::date[], %(until)s::date[], %(new)s::bigint[]) AS c(slice_id, day, until, new_id)
WHERE r.slice_id = c.slice_id AND r.start_date >= c.day AND r.start_date < c.until
"""
_WRITE_SLICES = """
INSERT INTO usage_usageslice (id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records)
SELECT c.new_id, s.usage_import_id, s.account_id, s.charge_id, min(r.start_date), max(r.start_date), sum(r.quantity), count(*)
FROM unnest(%(slices)s::bigint[], %(new)s::bigint[]) AS c(slice_id, new_id)
JOIN usage_usageslice s ON s.id = c.slice_id JOIN usage_usagerecord r ON r.slice_id = c.new_id GROUP BY c.new_id, s.id
"""
_TAKE_SLICE_IDS = "SELECT nextval('usage_usageslice_id_seq') FROM generate_series(1, %s)"


def cut_slices(cuts: Mapping[int, Sequence[date]]) -> None:
    """Cut pending slices on the given days: records from each day on move to a slice of their own."""
    pieces = [
        (slice_id, day, until)
        for slice_id, days in cuts.items()
        for day, until in zip(days, [*days[1:], date.max], strict=True)
    ]
    if not pieces:
        return
    slices, days, until = map(list, zip(*pieces, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_SLICE_IDS, [len(pieces)])
        values = {"slices": slices, "days": days, "until": until, "new": [pk for (pk,) in cursor.fetchall()]}
        cursor.execute(_MOVE, values)
        cursor.execute(_WRITE_SLICES, values)
