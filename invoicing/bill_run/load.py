"""Reading a chunk: a fixed number of flat queries, turned into the values that the pricing core takes."""

from collections.abc import Iterator, Mapping
from datetime import date
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
    Billed,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Currency,
    LineKind,
    ListPriceBase,
    Period,
    PriceFormat,
    Rules,
    Segment,
    Tier,
)
from billing.core.types import Term as SubscriptionTerm
from billing.core.usage import Usage
from invoicing.bill_run.discount_loading import Discounts, load_discounts
from invoicing.bill_run.due_sql import BEGUN, BILLED_THROUGH, TO_CREDIT, TO_LOAD
from usage.loading import load_usage

# Which of these a chunk is about: its own accounts, or (for a preview) accounts given by id.
CHUNK_ACCOUNTS = "SELECT account_id FROM invoicing_billrunaccount WHERE chunk_id = %(scope)s AND outcome = 'Pending'"
GIVEN_ACCOUNTS = "SELECT unnest(%(scope)s::bigint[])"

# What an account's discounts take off does not ask whose subscription they belong to.
OF_SUBSCRIPTION = "c.trigger_date <= %(target)s AND (s.id = %(subscription)s OR c.discount_level = 'Account')"

# Some charges alone, due or not, once they have begun.
GIVEN_CHARGES = "c.trigger_date IS NOT NULL AND c.id = ANY(%(only)s)"

_LOCK_ACCOUNTS = "SELECT id FROM accounts_account WHERE id IN ({accounts}) ORDER BY id FOR NO KEY UPDATE"

_ACCOUNTS = """
SELECT a.id, a.number, a.currency, a.bill_cycle_day, a.bill_to_id, a.payment_term_id,
       coalesce(a.invoice_template_id, (SELECT id FROM accounts_invoicetemplate WHERE is_default)),
       coalesce(a.number_sequence_id, (SELECT min(id) FROM accounts_numbersequence WHERE purpose = 'Invoice')),
       t.kind, t.net_days, t.cutoff_day, t.months, t.due_day
FROM accounts_account a LEFT JOIN accounts_paymentterm t ON t.id = a.payment_term_id
WHERE a.id IN ({accounts}) ORDER BY a.id
"""

# One row per segment, of charges that may have something to bill or to credit: the periods of earlier segments say where
# those of later ones begin. A charge without any segment comes as a row without one: pricing must see it to say that its
# price is missing.
_SEGMENTS = f"""
SELECT s.invoice_owner_id, c.id, c.number, c.name, s.id, s.contract_effective, s.invoice_separately, c.trigger_date, billed.day,
       concat_ws(' ', c.charge_type, c.charge_model, c.billing_timing, c.list_price_base, c.billing_day_type, c.alignment, c.period_length,
                 c.price_base_months, c.billing_day, c.billing_period),
       c.rate_plan_id, s.term_end, s.auto_renew, {TO_CREDIT}, g.id, g.number, g.effective_start, g.effective_end, g.quantity, g.price, g.credit_rate
FROM billing_subscription s
JOIN billing_rateplancharge c ON c.subscription_id = s.id
LEFT JOIN billing_chargesegment g ON g.charge_id = c.id
{BILLED_THROUGH}
WHERE s.invoice_owner_id IN ({{accounts}}) AND {BEGUN} AND {{wanted}}
ORDER BY s.invoice_owner_id, s.id, c.id, g.number
"""

_TIERS = """
SELECT segment_id, up_to, price, price_format FROM billing_chargesegmenttier WHERE segment_id = ANY(%s) ORDER BY segment_id, number
"""

_TERMS_OF_SUBSCRIPTIONS = """
SELECT subscription_id, start, "end" FROM billing_subscriptionterm WHERE subscription_id = ANY(%s) ORDER BY subscription_id, number
"""

# What an item still bills is its amount less the credits that live; canceled ones have been taken back.
_BILLED = """
SELECT c.id, v.item_id, g.number, lower(v.period), upper(v.period), lower(i.period), upper(i.period),
       i.amount + coalesce((SELECT sum(k.amount) FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id
                            WHERE k.credits_id = i.id AND w.status <> 'Canceled'), 0), i.kind
FROM billing_rateplancharge c JOIN billing_subscription s ON s.id = c.subscription_id
JOIN invoicing_coverage v ON v.charge_id = c.id JOIN invoicing_invoiceitem i ON i.id = v.item_id
JOIN billing_chargesegment g ON g.charge_id = c.id AND g.number = (i.derivation->>'s')::int
WHERE c.id = ANY(%(charges)s) AND upper(v.period) > LEAST(g.effective_end, s.term_end) ORDER BY c.id, lower(v.period)
"""

_account_of = itemgetter(0)
_charge_of = itemgetter(1)
# Columns of _SEGMENTS: those before the terms are a Charge's, those from the segment's id on a Segment's.
_CHARGE_ID, _SUBSCRIPTION_ID, _TERMS, _TO_CREDIT, _SEGMENT_ID = 1, 4, 9, 13, 14
_TIERED = (ChargeModel.TIERED, ChargeModel.VOLUME, ChargeModel.TIERED_WITH_OVERAGE)


class LoadedAccount(NamedTuple):
    """An account with its charges and the payment term that makes its due date (None while it has none)."""

    account: Account
    term: Term | None
    charges: list[Charge]
    discounts: Discounts
    usage: Mapping[int, Usage]


class _Beside(NamedTuple):
    """What few charges need beside their segments: tiers by segment, terms by subscription, billed days by charge."""

    tiers: dict[int, tuple[Tier, ...]]
    terms: dict[int, tuple[SubscriptionTerm, ...]]
    billed: dict[int, tuple[Billed, ...]]


def lock_accounts(chunk_id: int) -> None:
    """Lock the chunk's accounts in id order; whatever is computed must be computed in a later statement."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_ACCOUNTS.format(accounts=CHUNK_ACCOUNTS), {"scope": chunk_id})


def load_accounts(
    scope: int | list[int],
    *,
    target_date: date,
    rules: Rules,
    subscription_id: int | None = None,
    only: list[int] | None = None,
) -> list[LoadedAccount]:
    """Return the accounts of a chunk (its id) or of a preview (account ids), in id order, with what may be due.

    With a `subscription_id` they come with all charges of that subscription, due or not, and with the discounts of the
    account that may reduce them; with `only`, they come with just these charges.
    """
    accounts = CHUNK_ACCOUNTS if isinstance(scope, int) else GIVEN_ACCOUNTS
    wanted = TO_LOAD if subscription_id is None else OF_SUBSCRIPTION
    wanted = wanted if only is None else GIVEN_CHARGES
    values = {
        "scope": scope,
        "target": target_date,
        "credit_one_time": rules.credit_one_time,
        "subscription": subscription_id,
        "only": only,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ACCOUNTS.format(accounts=accounts), values)
        account_rows = cursor.fetchall()
        cursor.execute(_SEGMENTS.format(accounts=accounts, wanted=wanted), values)
        segment_rows = cursor.fetchall()
        more = _Beside(
            _load_tiers(
                cursor, [row[_SEGMENT_ID] for row in segment_rows if _terms(row[_TERMS]).charge_model in _TIERED]
            ),
            _load_terms(cursor, {row[_SUBSCRIPTION_ID] for row in segment_rows if _follows_terms(row[_TERMS])}),
            _load_billed(cursor, {row[_CHARGE_ID] for row in segment_rows if row[_TO_CREDIT]}),
        )
        charges = {account_id: list(_charges(rows, more)) for account_id, rows in groupby(segment_rows, _account_of)}
        discounts = load_discounts(cursor, charges.values(), target_date=target_date)
    usage = load_usage(
        {row[_CHARGE_ID] for row in segment_rows if _terms(row[_TERMS]).charge_type is ChargeType.USAGE},
        target_date=target_date,
        individually=rules.rate_usage_individually,
        to_rate=isinstance(scope, int),
    )
    return [
        LoadedAccount(
            Account(row[0], row[1], _currency(row[2]), *row[3:8]),
            None if row[8] is None else Term(*row[8:13]),
            charges.get(row[0], []),
            discounts,
            usage,
        )
        for row in account_rows
    ]


def _charges(rows: Iterator[tuple[Any, ...]], more: _Beside) -> Iterator[Charge]:
    for charge_id, segment_rows in groupby(rows, _charge_of):
        segments = []
        for row in segment_rows:
            segment_id = row[_SEGMENT_ID]
            if segment_id is not None:
                segments.append(Segment._make((*row[_SEGMENT_ID:-1], more.tiers.get(segment_id, ()), row[-1])))
        terms = more.terms.get(row[_SUBSCRIPTION_ID], ()) if more.terms else ()
        billed = more.billed.get(charge_id, ()) if row[_TO_CREDIT] else ()
        yield Charge._make(
            (*row[1:_TERMS], _terms(row[_TERMS]), tuple(segments), *row[_TERMS + 1 : _TO_CREDIT], terms, billed)
        )


def _load_tiers(cursor: Any, segment_ids: list[int]) -> dict[int, tuple[Tier, ...]]:
    if not segment_ids:
        return {}
    cursor.execute(_TIERS, [segment_ids])
    return {
        segment_id: tuple(Tier(up_to, tier_price, PriceFormat(words)) for _, up_to, tier_price, words in rows)
        for segment_id, rows in groupby(cursor.fetchall(), _account_of)
    }


def _load_terms(cursor: Any, subscription_ids: set[int]) -> dict[int, tuple[SubscriptionTerm, ...]]:
    if not subscription_ids:
        return {}
    cursor.execute(_TERMS_OF_SUBSCRIPTIONS, [list(subscription_ids)])
    return {
        subscription_id: tuple(SubscriptionTerm(start, end) for _, start, end in rows)
        for subscription_id, rows in groupby(cursor.fetchall(), _account_of)
    }


def _load_billed(cursor: Any, charge_ids: set[int]) -> dict[int, tuple[Billed, ...]]:
    if not charge_ids:
        return {}
    cursor.execute(_BILLED, {"charges": list(charge_ids)})
    return {
        charge_id: tuple(
            Billed(item, segment, Period(start, end), Period(item_start, item_end), amount, LineKind(kind))
            for _, item, segment, start, end, item_start, item_end, amount, kind in rows
        )
        for charge_id, rows in groupby(cursor.fetchall(), _account_of)
    }


def _follows_terms(words: str) -> bool:
    """Tell whether the periods of such a charge depend on the terms that its subscription has had."""
    terms = _terms(words)
    return (
        terms.billing_period is BillingPeriod.SUBSCRIPTION_TERM
        or terms.alignment in (Alignment.TERM_START, Alignment.TERM_END)
        or terms.billing_day_type in (BillingDayType.TERM_START_DAY, BillingDayType.TERM_END_DAY)
    )


@lru_cache(maxsize=4096)
def _terms(words: str) -> ChargeTerms:
    charge_type, model, timing, base, day_type, alignment, length, base_months, day, period = words.split(" ")
    return ChargeTerms(
        ChargeType(charge_type),
        ChargeModel(model),
        BillingTiming(timing),
        BillingPeriod(period) if period else None,
        ListPriceBase(base),
        BillingDayType(day_type),
        Alignment(alignment),
        int(length),
        int(base_months),
        int(day),
    )


@lru_cache(maxsize=256)
def _currency(code: str) -> Currency:
    return Currency(code, currency_digits(code))
