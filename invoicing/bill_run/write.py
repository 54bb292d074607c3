"""Writing a chunk: COPY of invoices, items and coverage, days given back by credits, then one outcome row per account.

The rows are formatted as COPY text here: that costs a third of handing them to the driver value by value.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from django.db import connection

from accounts.payment_terms import Term, due_date
from billing.core.grouping import GroupingKey
from billing.core.types import Draft, Line, LineKind, Period
from usage.rating import RatedKey, key_of

_ZERO = Decimal(0)
_RECURRING, _ONE_TIME, _CREDIT, _USAGE = LineKind.RECURRING, LineKind.ONE_TIME, LineKind.CREDIT, LineKind.USAGE
_BLOCK = 250  # rows a COPY block; large enough for few calls, small enough to let the server begin at once

INVOICE_COLUMNS = (
    "id, reference, account_id, bill_run_id, currency, status, invoice_date, due_date, bill_to_id, payment_term_id,"
    " template_id, number_sequence_id, subscription_id, group_value, net, tax, total, balance"
)
ITEM_COLUMNS = "id, invoice_id, charge_id, kind, description, period, quantity, unit_price, amount, credits_id, reduces_id, rated_usage_id, derivation"
COVERAGE_COLUMNS = "charge_id, item_id, kind, period"


class Outcome(NamedTuple):
    """What the run did for one account, in the words that operators read."""

    account_id: int
    outcome: str
    invoices: int
    items: int
    code: str
    message: str
    hint: str


class DraftInvoice(NamedTuple):
    """A draft with the payment term that makes its due date."""

    draft: Draft
    term: Term


def write_drafts(
    run_id: int, drafts: list[DraftInvoice], *, invoice_date: date, rated: Mapping[RatedKey, int]
) -> dict[str, Decimal]:
    """Write the drafts with their items and coverage, and return the total per currency.

    `rated` has the ids of the usage that was rated before.
    """
    totals: dict[str, Decimal] = {}
    if not drafts:
        return totals
    invoice_ids = _take_ids("invoicing_invoice_id_seq", len(drafts))
    item_ids = _take_ids("invoicing_invoiceitem_id_seq", sum([len(draft.lines) for draft, _ in drafts]))
    coverage: list[str] = []
    _copy("invoicing_invoice", INVOICE_COLUMNS, _invoice_rows(run_id, drafts, invoice_ids, invoice_date, totals))
    given_back: list[tuple[int, date]] = []
    _copy("invoicing_invoiceitem", ITEM_COLUMNS, _item_rows(drafts, invoice_ids, item_ids, rated, coverage, given_back))
    _give_back(given_back)
    _copy("invoicing_coverage", COVERAGE_COLUMNS, coverage)
    return totals


# A credit gives back the end of what its item covers: the days before it stay billed.
_SHORTEN = """
UPDATE invoicing_coverage c SET period = daterange(lower(c.period), k.start)
FROM unnest(%(items)s::bigint[], %(starts)s::date[]) AS k(item_id, start) WHERE c.item_id = k.item_id AND lower(c.period) < k.start
"""
_REMOVE = """
DELETE FROM invoicing_coverage c USING unnest(%(items)s::bigint[], %(starts)s::date[]) AS k(item_id, start)
WHERE c.item_id = k.item_id AND lower(c.period) >= k.start
"""


def _give_back(given_back: list[tuple[int, date]]) -> None:
    """Shorten the coverage of each credited item to the days before its credit, so that they can be billed anew (D8)."""
    if not given_back:
        return
    items, starts = map(list, zip(*given_back, strict=True))
    with connection.cursor() as cursor:
        for statement in (_REMOVE, _SHORTEN):
            cursor.execute(statement, {"items": items, "starts": starts})


def _invoice_rows(
    run_id: int,
    drafts: list[DraftInvoice],
    invoice_ids: Sequence[int],
    invoice_date: date,
    totals: dict[str, Decimal],
) -> Iterator[str]:
    """Yield the drafts as rows, adding them up in `totals`."""
    day = invoice_date.isoformat()
    for (draft, term), invoice_id in zip(drafts, invoice_ids, strict=True):
        key: GroupingKey = draft.key
        net = sum([line.amount for line in draft.lines], _ZERO)
        totals[key.currency] = totals.get(key.currency, _ZERO) + net
        yield (
            f"{invoice_id}\tDRAFT-{invoice_id}\t{key.account_id}\t{run_id}\t{key.currency}\tDraft\t{day}\t{_due_day(term, invoice_date)}"
            f"\t{key.bill_to_id}\t{key.payment_term_id}\t{_null(key.template_id)}\t{_null(key.sequence_id)}\t{_null(key.subscription_id)}"
            f"\t{_text(key.group_value)}\t{net}\t0\t{net}\t{net}\n"
        )


def _item_rows(
    drafts: list[DraftInvoice],
    invoice_ids: Sequence[int],
    item_ids: Sequence[int],
    rated: Mapping[RatedKey, int],
    coverage: list[str],
    given_back: list[tuple[int, date]],
) -> Iterator[str]:
    """Yield the lines as rows; append to `coverage` which days each covers, to `given_back` what credits release."""
    position = 0
    for (draft, _), invoice_id in zip(drafts, invoice_ids, strict=True):
        reduced = _places(draft.lines, item_ids, position)
        for line in draft.lines:
            item_id = item_ids[position]
            position += 1
            period = _range(line.period)
            kind, credited, reduces, rates = line.kind, None, None, None
            # Comparing with a constant is cheaper than asking an enumeration for its text.
            if kind is _RECURRING:
                coverage.append(f"{line.charge_id}\t{item_id}\tPeriod\t{period}\n")
            elif kind is _ONE_TIME:
                coverage.append(f"{line.charge_id}\t{item_id}\tOnce\t{period}\n")
            elif kind is _USAGE and line.rated is not None:
                rates = rated[key_of(line.rated)]
            elif line.credits_item is not None and kind is _CREDIT:
                credited = line.credits_item
                given_back.append((credited, line.period.start))
            elif line.reduces is not None:
                # The change of a discount is about a line of an earlier invoice.
                reduces = line.credits_item or reduced[line.reduces]
            yield (
                f"{item_id}\t{invoice_id}\t{line.charge_id}\t{kind}\t{_text(line.description)}\t{period}"
                f"\t{_null(line.quantity)}\t{_null(line.unit_price)}\t{line.amount}\t{_null(credited)}\t{_null(reduces)}\t{_null(rates)}\t{line.derivation}\n"
            )


def _places(lines: Sequence[Line], item_ids: Sequence[int], position: int) -> dict[tuple[int, Period, LineKind], int]:
    """Return the ids that the lines of a draft will have, by what discounts call them; empty if there are none."""
    if all(line.reduces is None for line in lines):
        return {}
    return {(line.charge_id, line.period, line.kind): item_ids[position + n] for n, line in enumerate(lines)}


# Most outcomes of a chunk read alike, so each wording is sent once and the accounts say which one is theirs.
_WRITE_OUTCOMES = """
UPDATE invoicing_billrunaccount o
SET outcome = w.outcome, invoices = w.invoices, items = w.items, code = w.code, message = w.message, hint = w.hint
FROM unnest(%s::bigint[], %s::int[]) AS n(account_id, wording)
JOIN unnest(%s::text[], %s::int[], %s::int[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
     AS w(outcome, invoices, items, code, message, hint, wording) USING (wording)
WHERE o.chunk_id = %s AND o.account_id = n.account_id
"""

# Another run that billed the same accounts while this one waited is the usual reason for “nothing due”.
_NAME_THE_OTHER_RUN = """
UPDATE invoicing_billrunaccount o SET code = 'billed_by_other_run', message = o.message || ' ' || other.number || ' has just billed it.'
FROM (
    SELECT DISTINCT ON (waiting.id) waiting.id, r.number
    FROM invoicing_billrunaccount waiting JOIN invoicing_billrun mine ON mine.id = waiting.run_id
    JOIN invoicing_invoice v ON v.account_id = waiting.account_id AND v.bill_run_id <> mine.id AND v.created_at >= mine.created_at
    JOIN invoicing_billrun r ON r.id = v.bill_run_id
    WHERE waiting.chunk_id = %s AND waiting.outcome = 'NothingDue' AND v.status IN ('Draft', 'Posted')
    ORDER BY waiting.id, v.id DESC
) other
WHERE other.id = o.id
"""

_FINISH_CHUNK = """
UPDATE invoicing_billrunchunk SET state = 'Done', finished_at = clock_timestamp(), invoices = %s, billed = %s, failed = %s, totals = %s::jsonb, error = ''
WHERE id = %s
"""


def write_outcomes(chunk_id: int, outcomes: list[Outcome]) -> None:
    """Record what happened to each account of the chunk."""
    if not outcomes:
        return
    wordings: dict[tuple[object, ...], int] = {}
    chosen = [wordings.setdefault(outcome[1:], len(wordings) + 1) for outcome in outcomes]
    accounts = [outcome.account_id for outcome in outcomes]
    columns = [list(column) for column in zip(*wordings, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_OUTCOMES, [_array(accounts), _array(chosen), *columns, chunk_id])
        if any(wording[0] == "NothingDue" for wording in wordings):
            cursor.execute(_NAME_THE_OTHER_RUN, [chunk_id])


def finish_chunk(chunk_id: int, *, invoices: int, billed: int, failed: int, totals: dict[str, Decimal]) -> None:
    """Mark the chunk done with its figures; they are the run's progress."""
    with connection.cursor() as cursor:
        as_json = "{" + ", ".join(f'"{currency}": "{amount:f}"' for currency, amount in sorted(totals.items())) + "}"
        cursor.execute(_FINISH_CHUNK, [invoices, billed, failed, as_json, chunk_id])


# Single values, not a block under a lock: such a lock would live until commit and put workers in a queue. They come
# out of the sequence in one run of numbers unless another worker takes some at the same time.
_TAKE_IDS = """
SELECT min(id), CASE WHEN max(id) - min(id) + 1 <> count(*) THEN array_agg(id) END
FROM (SELECT nextval(%s) AS id FROM generate_series(1, %s)) taken
"""


def _take_ids(sequence: str, count: int) -> Sequence[int]:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_IDS, [sequence, count])
        first, scattered = cursor.fetchone()
        return scattered or range(first, first + count)


def _copy(table: str, columns: str, rows: Iterable[str]) -> None:
    # Rows are made while the server stores the ones before.
    following = iter(rows)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        while block := list(islice(following, _BLOCK)):
            copy.write("".join(block))


@lru_cache(maxsize=65536)
def _text(value: str) -> str:
    """Return free text with what COPY treats specially escaped."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


@lru_cache(maxsize=65536)
def _range(period: Period) -> str:
    return f"[{period.start.isoformat()},{period.end.isoformat()})"


@lru_cache(maxsize=4096)
def _due_day(term: Term, invoice_date: date) -> str:
    return due_date(term, invoice_date).isoformat()


def _null(value: object) -> str:
    return "\\N" if value is None else str(value)


def _array(values: Iterable[int]) -> str:
    """Return numbers as PostgreSQL's text form of an array, which is quicker than adapting them one by one."""
    return "{" + ",".join(map(str, values)) + "}"
