"""Reading a chunk: a fixed number of flat queries, turned into the values that the pricing core takes."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection

from accounts.currencies import currency_digits
from accounts.payment_terms import Term
from billing.core.types import (
    Account,
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Currency,
    ListPriceBase,
    PriceFormat,
    Segment,
    Tier,
)

# Which of these a chunk is about: its own accounts, or (for a preview) accounts given by id.
CHUNK_ACCOUNTS = "SELECT account_id FROM invoicing_billrunaccount WHERE chunk_id = %(scope)s AND outcome = 'Pending'"
GIVEN_ACCOUNTS = "SELECT unnest(%(scope)s::bigint[])"

_LOCK_ACCOUNTS = "SELECT id FROM accounts_account WHERE id IN ({accounts}) ORDER BY id FOR NO KEY UPDATE"

_ACCOUNTS = """
SELECT a.id, a.number, a.currency, a.bill_cycle_day, a.bill_to_id, a.payment_term_id,
       coalesce(a.invoice_template_id, (SELECT id FROM accounts_invoicetemplate WHERE is_default)),
       coalesce(a.number_sequence_id, (SELECT min(id) FROM accounts_numbersequence WHERE purpose = 'Invoice')),
       t.kind, t.net_days, t.cutoff_day, t.months, t.due_day
FROM accounts_account a LEFT JOIN accounts_paymentterm t ON t.id = a.payment_term_id
WHERE a.id IN ({accounts}) ORDER BY a.id
"""

# One row per segment that may still have something to bill. A term that ends cuts its segments: out of term,
# nothing is due. LEAST ignores NULL, so evergreen subscriptions and open segments need no case of their own. A
# charge without any segment comes as a row without one: pricing must see it to say that its price is missing.
_SEGMENTS = """
SELECT s.invoice_owner_id, c.id, c.number, c.name, s.id, s.contract_effective, s.invoice_separately, c.trigger_date, billed.day,
       concat_ws(' ', c.charge_type, c.charge_model, c.billing_timing, c.list_price_base, c.billing_day_type, c.alignment, c.billing_period),
       g.id, g.number, g.effective_start, LEAST(g.effective_end, s.term_end), g.quantity, g.price
FROM billing_subscription s
JOIN billing_rateplancharge c ON c.subscription_id = s.id AND c.trigger_date <= %(target)s
LEFT JOIN billing_chargesegment g ON g.charge_id = c.id
LEFT JOIN LATERAL (
    SELECT upper(v.period) AS day FROM invoicing_coverage v WHERE v.charge_id = c.id ORDER BY upper(v.period) DESC LIMIT 1
) billed ON true
WHERE s.invoice_owner_id IN ({accounts}) AND s.status = 'Active'
  AND (billed.day IS NULL OR billed.day <= %(target)s)
  AND (g.id IS NULL OR LEAST(g.effective_end, s.term_end) IS NULL OR LEAST(g.effective_end, s.term_end) > GREATEST(billed.day, g.effective_start))
ORDER BY s.invoice_owner_id, s.id, c.id, g.number
"""

_TIERS = """
SELECT segment_id, up_to, price, price_format FROM billing_chargesegmenttier WHERE segment_id = ANY(%s) ORDER BY segment_id, number
"""

_account_of = itemgetter(0)
_charge_of = itemgetter(1)
_TERMS, _SEGMENT_ID = 9, 10  # columns of _SEGMENTS: those before are a Charge's, those after a Segment's
_UNTIERED = (ChargeModel.FLAT_FEE, ChargeModel.PER_UNIT)


class LoadedAccount(NamedTuple):
    """An account with its charges and the payment term that makes its due date (None while it has none)."""

    account: Account
    term: Term | None
    charges: list[Charge]


def lock_accounts(chunk_id: int) -> None:
    """Lock the chunk's accounts in id order; whatever is computed must be computed in a later statement."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_ACCOUNTS.format(accounts=CHUNK_ACCOUNTS), {"scope": chunk_id})


def load_accounts(scope: int | list[int], *, target_date: date) -> list[LoadedAccount]:
    """Return the accounts of a chunk (its id) or of a preview (account ids), in id order, with what may be due."""
    accounts = CHUNK_ACCOUNTS if isinstance(scope, int) else GIVEN_ACCOUNTS
    values = {"scope": scope, "target": target_date}
    with connection.cursor() as cursor:
        cursor.execute(_ACCOUNTS.format(accounts=accounts), values)
        account_rows = cursor.fetchall()
        cursor.execute(_SEGMENTS.format(accounts=accounts), values)
        segment_rows = cursor.fetchall()
        tiered = [row[_SEGMENT_ID] for row in segment_rows if _terms(row[_TERMS]).charge_model not in _UNTIERED]
        tiers = _load_tiers(cursor, tiered) if tiered else {}
    charges = {account_id: list(_charges(rows, tiers)) for account_id, rows in groupby(segment_rows, _account_of)}
    return [
        LoadedAccount(
            Account(row[0], row[1], _currency(row[2]), *row[3:8]),
            None if row[8] is None else Term(*row[8:13]),
            charges.get(row[0], []),
        )
        for row in account_rows
    ]


def _charges(rows: Iterator[tuple[Any, ...]], tiers: dict[int, tuple[Tier, ...]]) -> Iterator[Charge]:
    for _, segment_rows in groupby(rows, _charge_of):
        segments = []
        for row in segment_rows:
            segment_id = row[_SEGMENT_ID]
            if segment_id is not None:
                segments.append(Segment._make((*row[_SEGMENT_ID:], tiers.get(segment_id, ()))))
        yield Charge._make((*row[1:_TERMS], _terms(row[_TERMS]), tuple(segments)))


def _load_tiers(cursor: Any, segment_ids: list[int]) -> dict[int, tuple[Tier, ...]]:
    cursor.execute(_TIERS, [segment_ids])
    found: dict[int, list[Tier]] = {}
    for segment_id, up_to, tier_price, price_format in cursor.fetchall():
        found.setdefault(segment_id, []).append(Tier(up_to, Decimal(tier_price), PriceFormat(price_format)))
    return {segment_id: tuple(rows) for segment_id, rows in found.items()}


@lru_cache(maxsize=4096)
def _terms(words: str) -> ChargeTerms:
    charge_type, model, timing, base, day_type, alignment, period = words.split(" ")
    return ChargeTerms(
        ChargeType(charge_type),
        ChargeModel(model),
        BillingTiming(timing),
        BillingPeriod(period) if period else None,
        ListPriceBase(base),
        BillingDayType(day_type),
        Alignment(alignment),
    )


@lru_cache(maxsize=256)
def _currency(code: str) -> Currency:
    return Currency(code, currency_digits(code))
