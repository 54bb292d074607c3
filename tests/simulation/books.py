"""What the database says was sold and billed, read row by row as values for the oracle; nothing of the product prices here.

sold      a charge with its segments and terms, as if nothing of it had been billed yet
billed    for each item the days it still covers, and its amount less the credits that live
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from django.db import connection

from accounts.currencies import currency_digits
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
    LineKind,
    ListPriceBase,
    PriceFormat,
    Segment,
    Term,
    Tier,
)
from tests.billing.core.random_charges import needs_terms

_CHARGES = """
SELECT c.id, c.number, c.name, s.id AS subscription, s.contract_effective, c.trigger_date, c.rate_plan_id, s.term_end, s.auto_renew,
       c.charge_type, c.charge_model, c.billing_timing, c.billing_period, c.list_price_base, c.billing_day_type, c.alignment,
       c.period_length, c.price_base_months, c.billing_day, c.discount_stacked,
       a.id AS account, a.number AS account_number, a.currency, a.bill_cycle_day
FROM billing_rateplancharge c JOIN billing_subscription s ON s.id = c.subscription_id
JOIN accounts_account a ON a.id = s.invoice_owner_id WHERE s.invoice_owner_id = ANY(%s) ORDER BY c.id
"""
_SEGMENTS = """
SELECT charge_id, id, number, effective_start, effective_end, quantity, price FROM billing_chargesegment
WHERE charge_id = ANY(%s) ORDER BY charge_id, number
"""
_TIERS = """
SELECT t.segment_id, t.up_to, t.price, t.price_format FROM billing_chargesegmenttier t JOIN billing_chargesegment g ON g.id = t.segment_id
WHERE g.charge_id = ANY(%s) ORDER BY t.segment_id, t.number
"""
_TERMS = """
SELECT subscription_id, start, "end" FROM billing_subscriptionterm WHERE subscription_id = ANY(%s) ORDER BY subscription_id, number
"""
_ITEMS = """
SELECT i.charge_id, i.id, i.kind, (i.derivation->>'s')::int AS segment, lower(v.period) AS start, upper(v.period) AS "end", i.amount, i.credits_id, i.reduces_id
FROM invoicing_invoiceitem i JOIN invoicing_invoice w ON w.id = i.invoice_id AND w.status IN ('Draft', 'Posted')
LEFT JOIN invoicing_coverage v ON v.item_id = i.id WHERE i.charge_id = ANY(%s) ORDER BY i.id
"""


class Sold(NamedTuple):
    """A charge with the account that is billed for it, and every day on which a term of its subscription has ended."""

    account: Account
    charge: Charge
    term_ends: frozenset[date]
    stacked: bool


class Item(NamedTuple):
    """A line that bills days: those it still covers (None: none), how many credits it has, what is left of its amount and
    what discounts take off that.
    """

    item_id: int
    kind: LineKind
    segment_number: int
    start: date | None
    end: date | None
    credits: int
    left: Fraction
    discounted: Fraction


def sold(account_ids: Iterable[int]) -> list[Sold]:
    """Return every charge that these accounts are billed for."""
    rows = _rows(_CHARGES, list(account_ids))
    charges = [row["id"] for row in rows]
    tiers = _grouped(_TIERS, charges, "segment_id")
    segments = _grouped(_SEGMENTS, charges, "charge_id")
    terms = _grouped(_TERMS, [row["subscription"] for row in rows], "subscription_id")
    found = []
    for row in rows:
        of_charge = tuple(
            Segment(
                each["id"], each["number"], each["effective_start"], each["effective_end"], each["quantity"], each["price"],
                tuple(Tier(t["up_to"], t["price"], PriceFormat(t["price_format"])) for t in tiers[each["id"]]),
            )
            for each in segments[row["id"]]
        )  # fmt: skip
        how = _terms_of(row)
        of_subscription = tuple(Term(term["start"], term["end"]) for term in terms[row["subscription"]])
        charge = Charge(
            row["id"], row["number"], row["name"], row["subscription"], row["contract_effective"], False, row["trigger_date"],
            None, how, of_charge, row["rate_plan_id"], row["term_end"], row["auto_renew"],
            of_subscription if needs_terms(how) else (),
        )  # fmt: skip
        currency = Currency(row["currency"], currency_digits(row["currency"]))
        account = Account(
            row["account"], row["account_number"], currency, row["bill_cycle_day"], None, None, None, None
        )
        ends = frozenset(term.end for term in of_subscription if term.end is not None)
        found.append(Sold(account, charge, ends, row["discount_stacked"]))
    return found


def _terms_of(row: dict[str, Any]) -> ChargeTerms:
    return ChargeTerms(
        ChargeType(row["charge_type"]),
        ChargeModel(row["charge_model"]),
        BillingTiming(row["billing_timing"]),
        BillingPeriod(row["billing_period"]) if row["billing_period"] else None,
        ListPriceBase(row["list_price_base"]),
        BillingDayType(row["billing_day_type"]),
        Alignment(row["alignment"]),
        row["period_length"],
        row["price_base_months"],
        row["billing_day"],
    )


def billed(charge_ids: Iterable[int]) -> dict[int, list[Item]]:
    """Return the items of each charge that still stand, in the order they were written."""
    rows = _rows(_ITEMS, list(charge_ids))
    credited: dict[int, list[Fraction]] = defaultdict(list)
    discounted: dict[int, Fraction] = defaultdict(Fraction)
    about = {row["id"]: row["credits_id"] or row["id"] for row in rows}
    for row in rows:
        if row["kind"] == LineKind.CREDIT:
            credited[row["credits_id"]].append(Fraction(row["amount"]))
        elif row["kind"] == LineKind.DISCOUNT:
            # What a discount takes off a credit belongs to the item that is credited.
            discounted[about[row["reduces_id"]]] += Fraction(row["amount"])
    found: dict[int, list[Item]] = defaultdict(list)
    for row in rows:
        if row["kind"] in (LineKind.RECURRING, LineKind.ONE_TIME):
            found[row["charge_id"]].append(
                Item(
                    row["id"], LineKind(row["kind"]), row["segment"], row["start"], row["end"], len(credited[row["id"]]),
                    Fraction(row["amount"]) + sum(credited[row["id"]]), discounted[row["id"]],
                )
            )  # fmt: skip
    return found


def _rows(query: str, ids: list[int]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, [ids])
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _grouped(query: str, ids: list[int], column: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(query, ids):
        found[row[column]].append(row)
    return found


_LINES = """
WITH named AS (
    SELECT i.*, c.number, concat_ws(' ', c.number, i.kind, i.period) AS name FROM invoicing_invoiceitem i
    JOIN billing_rateplancharge c ON c.id = i.charge_id
)
SELECT i.number, i.kind, i.period::text, i.description, i.quantity::text, i.unit_price::text, i.amount::text,
       credited.name AS credits, reduced.name AS reduces, v.period::text AS covers,
       (CASE WHEN i.derivation ? 'credit' THEN jsonb_set(i.derivation, '{credit,item}', to_jsonb(credited.name)) ELSE i.derivation END)::text,
       r.number AS run, w.status, w.total::text
FROM named i JOIN invoicing_invoice w ON w.id = i.invoice_id JOIN invoicing_billrun r ON r.id = w.bill_run_id
LEFT JOIN named credited ON credited.id = i.credits_id LEFT JOIN named reduced ON reduced.id = i.reduces_id
LEFT JOIN invoicing_coverage v ON v.item_id = i.id
"""


class WrittenLine(NamedTuple):
    """Everything that an invoice line says, as text; other lines are named by charge, kind and days instead of their ids."""

    charge: str
    kind: str
    period: str
    description: str
    quantity: str | None
    unit_price: str | None
    amount: str
    credits: str | None
    reduces: str | None
    covers: str | None
    derivation: str


class Placed(NamedTuple):
    """A line with the run and the invoice that it is on: its state and its total."""

    line: WrittenLine
    run: str
    status: str
    total: str


def placed_lines() -> list[Placed]:
    """Return every line there is, canceled ones as well, sorted."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES)
        return sorted((Placed(WrittenLine(*row[:-3]), *row[-3:]) for row in cursor.fetchall()), key=str)


def written_lines() -> list[WrittenLine]:
    """Return every line that stands, sorted, wherever it is."""
    return sorted((placed.line for placed in placed_lines() if placed.status != "Canceled"), key=str)
