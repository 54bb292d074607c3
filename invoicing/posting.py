"""Posting drafts and canceling them, in sets: the database checks every sum and number as they change state."""

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.refusals import explain_refusal
from invoicing.models import BillRun, BillRunStatus, Invoice, InvoiceStatus
from usage.rating import unrate

BATCH = 10_000  # invoices posted in one transaction; keeps the counter row's lock well under a second

_LOCK_DRAFTS = """
SELECT id, number_sequence_id FROM invoicing_invoice WHERE {chosen} AND status = 'Draft' ORDER BY id LIMIT %(limit)s FOR UPDATE
"""

# The counter row comes last in the lock order: it is held only for the statements that follow.
_TAKE_NUMBERS = """
UPDATE accounts_numbersequence q SET next_number = q.next_number + n.amount
FROM (SELECT unnest(%(sequences)s::bigint[]) AS id, unnest(%(amounts)s::bigint[]) AS amount ORDER BY 1) n WHERE q.id = n.id
RETURNING q.id, q.next_number - n.amount
"""

_POST = """
WITH numbered AS (
    SELECT v.id, f.first + row_number() OVER (PARTITION BY v.number_sequence_id ORDER BY v.id) - 1 AS value
    FROM invoicing_invoice v JOIN unnest(%(sequences)s::bigint[], %(firsts)s::bigint[]) AS f(id, first) ON f.id = v.number_sequence_id
    WHERE v.id = ANY(%(ids)s)
)
UPDATE invoicing_invoice v SET
    status = 'Posted', posted_at = now(), posted_by_id = %(user)s, sequence_value = n.value,
    number = q.prefix || lpad(n.value::text, greatest(q.digits::int, length(n.value::text)), '0'),
    template_version_id = tv.id,
    snapshot = jsonb_build_object(
        'account', jsonb_build_object('number', a.number, 'name', a.name, 'vat_id', a.vat_id, 'language', a.language, 'purchase_order', a.purchase_order),
        'bill_to', to_jsonb(b) - 'id' - 'account_id', 'sold_to', to_jsonb(s) - 'id' - 'account_id', 'payment_term', t.name,
        'charges', (
            SELECT jsonb_object_agg(c.id, jsonb_build_array(u.number, coalesce(nullif(u.name, ''), p.name), c.unit))
            FROM invoicing_invoiceitem i JOIN billing_rateplancharge c ON c.id = i.charge_id
            JOIN billing_subscription u ON u.id = c.subscription_id JOIN billing_rateplan p ON p.id = c.rate_plan_id
            WHERE i.invoice_id = v.id))
        || CASE WHEN it.explain_amounts THEN jsonb_build_object('price_versions', (
            SELECT coalesce(jsonb_object_agg(known.charge_id, known.starts), '{}') FROM (
                SELECT s.charge_id, jsonb_object_agg(s.number, s.effective_start) AS starts FROM billing_chargesegment s
                WHERE s.charge_id IN (SELECT i.charge_id FROM invoicing_invoiceitem i WHERE i.invoice_id = v.id) GROUP BY s.charge_id
            ) known)) ELSE '{}' END
FROM numbered n, accounts_numbersequence q, accounts_account a, accounts_contact b, accounts_paymentterm t,
     accounts_invoicetemplate it, accounts_invoicetemplateversion tv, invoicing_invoice w LEFT JOIN LATERAL (
        SELECT c.* FROM accounts_account o JOIN accounts_contact c ON c.id = o.sold_to_id AND c.id <> w.bill_to_id WHERE o.id = w.account_id
     ) s ON true
WHERE v.id = n.id AND w.id = v.id AND q.id = v.number_sequence_id AND a.id = v.account_id AND b.id = v.bill_to_id AND t.id = v.payment_term_id
  AND it.id = v.template_id AND tv.template_id = it.id AND tv.version = it.version
"""

_INCOMPLETE = """
SELECT v.reference FROM invoicing_invoice v LEFT JOIN accounts_contact b ON b.id = v.bill_to_id
LEFT JOIN accounts_paymentterm t ON t.id = v.payment_term_id LEFT JOIN accounts_numbersequence q ON q.id = v.number_sequence_id
LEFT JOIN accounts_invoicetemplate it ON it.id = v.template_id
WHERE v.id = ANY(%(ids)s) AND (b.id IS NULL OR t.id IS NULL OR q.id IS NULL OR it.id IS NULL) ORDER BY v.id
"""


class PostingError(Exception):
    """Why invoices were not posted, in words; nothing of the batch has changed."""


def post_drafts(*, run: BillRun | None = None, invoice_ids: list[int] | None = None, user_id: int | None) -> int:
    """Post up to `BATCH` drafts of a run, or the given ones, in one transaction; return how many were drafts.

    Two callers may post the same drafts at once: one posts them, the other finds none left.
    Raises PostingError when a draft cannot be posted; then none of this batch is.
    """
    chosen = "bill_run_id = %(run)s" if run is not None else "id = ANY(%(ids)s)"
    values: dict[str, Any] = {"run": run.pk if run else None, "ids": invoice_ids, "limit": BATCH, "user": user_id}
    ids: list[int] = []
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK_DRAFTS.format(chosen=chosen), values)
            drafts = cursor.fetchall()
            if not drafts:
                return 0
            ids += [draft_id for draft_id, _ in drafts]
            amounts: dict[int, int] = {}
            for draft_id, sequence_id in drafts:
                if sequence_id is None:
                    raise PostingError(
                        f"DRAFT-{draft_id} has no number sequence. Choose one for the account, cancel the draft and bill it again."
                    )
                amounts[sequence_id] = amounts.get(sequence_id, 0) + 1
            cursor.execute(_TAKE_NUMBERS, {"sequences": list(amounts), "amounts": list(amounts.values())})
            firsts = dict(cursor.fetchall())
            values |= {"ids": ids, "sequences": list(firsts), "firsts": list(firsts.values())}
            cursor.execute(_POST, values)
            if cursor.rowcount != len(drafts):
                raise PostingError(_incomplete_drafts(ids))
    except IntegrityError as error:
        # Drafts that lack something are left out by the statement, and the guard then sees a gap in the numbers.
        raise PostingError(_incomplete_drafts(ids) or explain_refusal(error)) from error
    return len(ids)


def _incomplete_drafts(ids: list[int]) -> str:
    """Return which of these drafts lack what every posted invoice needs, in words; empty if none does."""
    with connection.cursor() as cursor:
        cursor.execute(_INCOMPLETE, {"ids": ids})
        references = [row[0] for row in cursor.fetchall()]
    if not references:
        return ""
    return (
        f"{len(references)} of {len(ids)} drafts lack their bill-to contact, payment term, invoice template or number sequence, for example {', '.join(references[:3])}."
        " Nothing was posted. Complete the accounts, cancel those drafts and bill them again."
    )


def post_run(run_id: int, *, user_id: int | None, then: Callable[[BillRun], object] | None = None) -> int:
    """Post every draft of a Completed run batch by batch; return how many this call posted.

    `then` is done in the transaction that makes the run Posted, so that no crash can come between the two. A crash
    between batches leaves the run in PostInProgress, and the next call goes on. If a batch cannot be posted the run
    returns to Completed with the reason.
    """
    moved = BillRun.objects.filter(pk=run_id, status=BillRunStatus.COMPLETED).update(
        status=BillRunStatus.POST_IN_PROGRESS, error=""
    )
    run = BillRun.objects.get(pk=run_id)
    if not moved and run.status != BillRunStatus.POST_IN_PROGRESS:
        return 0
    posted = 0
    try:
        while batch := post_drafts(run=run, user_id=user_id):
            posted += batch
    except PostingError as error:
        BillRun.objects.filter(pk=run_id, status=BillRunStatus.POST_IN_PROGRESS).update(
            status=BillRunStatus.COMPLETED, error=str(error), has_errors=True
        )
        raise
    with transaction.atomic():
        finished = BillRun.objects.filter(pk=run_id, status=BillRunStatus.POST_IN_PROGRESS).update(
            status=BillRunStatus.POSTED, posted_at=timezone.now(), posted_by=user_id
        )
        if finished and then is not None:
            then(run)
    return posted


# Runs lock accounts before they look at what is billed; so do we, or a run could bill the days after those that we
# are about to release.
_LOCK_ACCOUNTS = """
SELECT id FROM accounts_account WHERE id IN (SELECT account_id FROM invoicing_invoice WHERE id = ANY(%(ids)s)) ORDER BY id FOR NO KEY UPDATE
"""


def close_run(run_id: int) -> None:
    """End a Completed run whose drafts were all posted or canceled one by one: Posted if any was posted, else Canceled."""
    with transaction.atomic():
        run = BillRun.objects.select_for_update().get(pk=run_id)
        invoices = set(run.invoices.order_by().values_list("status", flat=True).distinct())
        if run.status != BillRunStatus.COMPLETED or not invoices or InvoiceStatus.DRAFT in invoices:
            return
        runs = BillRun.objects.filter(pk=run_id)
        if InvoiceStatus.POSTED in invoices:
            runs.update(status=BillRunStatus.POST_IN_PROGRESS)
            runs.update(status=BillRunStatus.POSTED, posted_at=timezone.now())
        else:
            runs.update(status=BillRunStatus.CANCEL_IN_PROGRESS)
            runs.update(status=BillRunStatus.CANCELED)


# Days are released from their end only: what bills later days, or credits or reduces these, has to go first. A credit's own
# days are billed again when it goes, so nobody else may have billed them meanwhile. What several invoices have credited or
# taken off one and the same item is taken back in the opposite order. And days that come back with a credit, though nothing
# bills them now, may not come back after days that go.
_LATER_BILLING = """
SELECT DISTINCT coalesce(v.number, v.reference) FROM (
    SELECT later.item_id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id
    JOIN invoicing_coverage mine ON mine.item_id = i.id
    JOIN invoicing_coverage later ON later.charge_id = mine.charge_id AND upper(later.period) > upper(mine.period) WHERE {mine}
    UNION ALL
    SELECT later.item_id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id AND i.kind = 'Credit'
    JOIN invoicing_coverage later ON later.charge_id = i.charge_id AND upper(later.period) > lower(i.period) WHERE {mine}
    UNION ALL
    SELECT k.id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id
    JOIN invoicing_invoiceitem k ON k.credits_id = i.id WHERE {mine}
    UNION ALL
    SELECT k.id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id AND i.kind = 'Credit'
    JOIN invoicing_invoiceitem k ON k.credits_id = i.credits_id AND lower(k.period) < lower(i.period) WHERE {mine}
    UNION ALL
    SELECT d.id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id AND i.kind = 'Discount'
    JOIN invoicing_invoiceitem r ON r.id = i.reduces_id CROSS JOIN LATERAL (
        SELECT coalesce(r.credits_id, r.id) AS id
        UNION ALL SELECT k.id FROM invoicing_invoiceitem k WHERE k.credits_id = coalesce(r.credits_id, r.id)
    ) about
    JOIN invoicing_invoiceitem d ON d.reduces_id = about.id AND d.charge_id = i.charge_id AND d.id > i.id WHERE {mine}
    UNION ALL
    SELECT i.id FROM invoicing_invoice w JOIN invoicing_invoiceitem k ON k.invoice_id = w.id AND k.kind = 'Credit'
    JOIN invoicing_invoiceitem i ON i.id = k.credits_id JOIN (
        SELECT m.charge_id, lower(m.period) AS start FROM invoicing_invoice w
        JOIN invoicing_invoiceitem m ON m.invoice_id = w.id AND m.kind = 'Recurring' WHERE {mine}
    ) gone ON gone.charge_id = k.charge_id AND gone.start < lower(k.period)
    WHERE {mine} AND NOT EXISTS (
        SELECT 1 FROM invoicing_invoice w JOIN invoicing_invoiceitem b ON b.invoice_id = w.id AND b.kind = 'Credit'
        JOIN invoicing_invoiceitem o ON o.id = b.credits_id JOIN invoicing_invoice v ON v.id = o.invoice_id
        WHERE {mine} AND b.charge_id = gone.charge_id AND b.period @> gone.start AND v.status <> 'Canceled' AND NOT {theirs}
    )
    UNION ALL
    SELECT later.id FROM invoicing_invoice w JOIN invoicing_invoiceitem i ON i.invoice_id = w.id AND i.kind = 'Usage'
    JOIN usage_ratedusage u ON u.charge_id = i.charge_id AND u.is_live AND u.id > i.rated_usage_id
    JOIN invoicing_invoiceitem later ON later.rated_usage_id = u.id WHERE {mine}
) found JOIN invoicing_invoiceitem li ON li.id = found.item_id JOIN invoicing_invoice v ON v.id = li.invoice_id
WHERE v.status <> 'Canceled' AND NOT {theirs} ORDER BY 1 LIMIT 3
"""
_LATER_THAN_INVOICES = _LATER_BILLING.format(mine="w.id = ANY(%(ids)s)", theirs="v.id = ANY(%(ids)s)")
_LATER_THAN_RUN = _LATER_BILLING.format(
    mine="w.bill_run_id = %(run)s AND w.status = 'Draft'", theirs="v.bill_run_id = %(run)s"
)

_RELEASE = """
DELETE FROM invoicing_coverage WHERE item_id IN (SELECT id FROM invoicing_invoiceitem WHERE invoice_id = ANY(%(ids)s))
"""


# What the canceled credits gave back is billed again by the items that they credited: first by those that still cover
# some days, then at once by those that covered none any more, so that the days before the next item are never missing.
_LENGTHEN = """
UPDATE invoicing_coverage c SET period = daterange(lower(c.period), upper(k.period))
FROM invoicing_invoiceitem k JOIN invoicing_invoiceitem i ON i.id = k.credits_id JOIN invoicing_invoice v ON v.id = i.invoice_id
WHERE k.invoice_id = ANY(%(ids)s) AND k.kind = 'Credit' AND v.status <> 'Canceled' AND c.item_id = i.id AND upper(c.period) = lower(k.period)
"""
_RESTORE = """
INSERT INTO invoicing_coverage (charge_id, item_id, kind, period)
SELECT i.charge_id, i.id, CASE i.kind WHEN 'OneTime' THEN 'Once' ELSE 'Period' END, daterange(lower(i.period), max(upper(k.period)))
FROM invoicing_invoiceitem k JOIN invoicing_invoiceitem i ON i.id = k.credits_id JOIN invoicing_invoice v ON v.id = i.invoice_id
WHERE k.invoice_id = ANY(%(ids)s) AND k.kind = 'Credit' AND v.status <> 'Canceled'
GROUP BY i.id HAVING min(lower(k.period)) = lower(i.period) ORDER BY i.charge_id, lower(i.period)
"""


# What was rated of the same charges after the usage of these drafts, on no invoice because there was none, goes with it.
_USAGE_OF_DRAFTS = """
SELECT u.id FROM usage_ratedusage u JOIN (
    SELECT i.charge_id, min(i.rated_usage_id) AS first FROM invoicing_invoiceitem i
    WHERE i.invoice_id = ANY(%(ids)s) AND i.kind = 'Usage' GROUP BY i.charge_id
) gone ON gone.charge_id = u.charge_id AND u.id >= gone.first WHERE u.is_live ORDER BY u.id FOR UPDATE OF u
"""

# Days without any usage are on no invoice. They go with the run that found none, unless later ones have been rated since.
_USAGE_OF_RUN = """
SELECT u.id FROM usage_ratedusage u WHERE u.run = %(run)s AND u.is_live
  AND NOT EXISTS (SELECT 1 FROM usage_ratedusage later WHERE later.charge_id = u.charge_id AND later.is_live AND later.id > u.id AND later.run <> u.run)
  AND NOT EXISTS (
    SELECT 1 FROM usage_ratedusage other JOIN invoicing_invoiceitem i ON i.rated_usage_id = other.id
    WHERE other.charge_id = u.charge_id AND other.is_live AND other.run = u.run)
ORDER BY u.id FOR UPDATE OF u
"""
_LOCK_ACCOUNTS_OF_USAGE = """
SELECT id FROM accounts_account WHERE id IN (
    SELECT s.invoice_owner_id FROM usage_ratedusage u JOIN billing_rateplancharge c ON c.id = u.charge_id
    JOIN billing_subscription s ON s.id = c.subscription_id WHERE u.run = %(run)s AND u.is_live
) ORDER BY id FOR NO KEY UPDATE
"""


class CancelError(Exception):
    """Why drafts were not canceled, in words; nothing has changed."""


def cancel_drafts(invoice_ids: list[int]) -> int:
    """Cancel drafts and release the days they billed, so that the next run bills them again; return how many.

    Raises CancelError if a later invoice bills later days of the same charges: releasing these would leave a hole.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_ACCOUNTS, {"ids": invoice_ids})
        ids = list(
            Invoice.objects.filter(pk__in=invoice_ids, status=InvoiceStatus.DRAFT)
            .order_by("pk")
            .select_for_update()
            .values_list("pk", flat=True)
        )
        if not ids:
            return 0
        _refuse_if_billed_later(_LATER_THAN_INVOICES, ids=ids)
        Invoice.objects.filter(pk__in=ids).update(status=InvoiceStatus.CANCELED, canceled_at=timezone.now())
        cursor.execute(_USAGE_OF_DRAFTS, {"ids": ids})
        unrate([row[0] for row in cursor.fetchall()])
        cursor.execute(_RELEASE, {"ids": ids})
        # Several of them may have shortened the same item, one after the other.
        cursor.execute(_LENGTHEN, {"ids": ids})
        while cursor.rowcount:
            cursor.execute(_LENGTHEN, {"ids": ids})
        cursor.execute(_RESTORE, {"ids": ids})
        return len(ids)


def _refuse_if_billed_later(query: str, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        later = [row[0] for row in cursor.fetchall()]
    if later:
        raise CancelError(
            f"Later days of the same charges are billed or credited by {', '.join(later)}, or their discounts changed. Cancel those drafts first; posted invoices need an adjustment instead."
        )


def begin_cancel_run(run_id: int) -> bool:
    """Move a run to CancelInProgress; workers stop at their next chunk. Returns False if its state forbids it.

    Raises CancelError when the run has posted invoices, or when later invoices bill later days of its charges.
    """
    with transaction.atomic():
        run = BillRun.objects.select_for_update().get(pk=run_id)
        if run.status == BillRunStatus.PENDING:
            BillRun.objects.filter(pk=run_id).update(status=BillRunStatus.CANCELED, finished_at=timezone.now())
            return True
        if run.status not in (BillRunStatus.PROCESSING, BillRunStatus.COMPLETED, BillRunStatus.ERROR):
            return False
        if run.invoices.filter(status=InvoiceStatus.POSTED).exists():
            raise CancelError(
                f"{run.number} has posted invoices, so it cannot be canceled. Cancel its remaining drafts one by one."
            )
        _refuse_if_billed_later(_LATER_THAN_RUN, run=run_id)
        BillRun.objects.filter(pk=run_id).update(status=BillRunStatus.CANCEL_IN_PROGRESS)
        return True


def cancel_run(run_id: int) -> int:
    """Cancel all drafts of a run in CancelInProgress and complete its cancellation; return how many drafts there were.

    Works batch by batch from the newest draft backwards; a crash in between is taken up by the next call. If a later
    invoice has come in between, the run says so and is taken up again when that one is gone.
    """
    canceled = 0
    run = BillRun.objects.get(pk=run_id)
    if run.status != BillRunStatus.CANCEL_IN_PROGRESS:
        return 0
    while ids := list(
        run.invoices.filter(status=InvoiceStatus.DRAFT).order_by("-pk").values_list("pk", flat=True)[:BATCH]
    ):
        try:
            canceled += cancel_drafts(ids)
        except CancelError as error:
            BillRun.objects.filter(pk=run_id, status=BillRunStatus.CANCEL_IN_PROGRESS).update(error=str(error))
            return canceled
    _give_back_days_without_usage(run_id)
    BillRun.objects.filter(pk=run_id, status=BillRunStatus.CANCEL_IN_PROGRESS).update(
        status=BillRunStatus.CANCELED, finished_at=timezone.now(), error=""
    )
    return canceled


def _give_back_days_without_usage(run_id: int) -> None:
    """Let days in which a run found no usage be rated anew: usage may have come meanwhile."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_ACCOUNTS_OF_USAGE, {"run": run_id})
        cursor.execute(_USAGE_OF_RUN, {"run": run_id})
        unrate([row[0] for row in cursor.fetchall()])
