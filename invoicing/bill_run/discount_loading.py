"""Reading the discounts of a chunk: how they apply, which billed items they have reduced, and what they took off.

Of all that discounts ever took off, little can still matter, and only that is read:

    fixed amounts    lines that use periods of the discount which new lines may reach into
    percentages      lines about billed items whose days are credited, or for which the percentage has changed since
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from billing.core.periods import add_months, days_in, months_in
from billing.core.types import Charge, ChargeModel, ChargeType, DiscountLevel, LineKind, Period
from invoicing.bill_run.due_sql import CHANGED, discount_lines

MODELS = (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE)

_TERMS = """
SELECT id, discount_level, discount_applies_to, discount_stacked FROM billing_rateplancharge WHERE id = ANY(%s)
"""

_ITEMS = f"""
SELECT s.invoice_owner_id, i.id, i.charge_id, t.number, t.name, t.subscription_id, t.rate_plan_id, s.invoice_separately, i.kind, i.amount,
       lower(b.period), upper(b.period),
       i.amount + coalesce((SELECT sum(k.amount) FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id
                            WHERE k.credits_id = i.id AND w.status <> 'Canceled'), 0)
FROM (
    SELECT unnest(%(credited)s::bigint[]) AS item_id
    UNION
    SELECT x.item_id FROM billing_rateplancharge c CROSS JOIN LATERAL (SELECT v.item_id {CHANGED}) x WHERE c.id = ANY(%(percentages)s)
) wanted
JOIN invoicing_coverage b ON b.item_id = wanted.item_id JOIN invoicing_invoiceitem i ON i.id = b.item_id
JOIN billing_rateplancharge t ON t.id = i.charge_id JOIN billing_subscription s ON s.id = t.subscription_id ORDER BY i.id
"""

# What a discount takes off a credit belongs to the item that is credited.
_TAKEN = f"""
WITH wanted AS MATERIALIZED (
    SELECT unnest(%(items)s::bigint[]) AS item_id
    UNION
    SELECT coalesce(r.credits_id, r.id) FROM unnest(%(fixed)s::bigint[], %(sinces)s::date[]) AS q(charge_id, since)
    JOIN billing_chargesegment g ON g.charge_id = q.charge_id
    CROSS JOIN LATERAL {discount_lines("g", "q.since")} d JOIN invoicing_invoiceitem r ON r.id = d.reduces_id
), reduced AS (
    SELECT item_id AS id, item_id FROM wanted
    UNION ALL
    SELECT k.id, wanted.item_id FROM wanted JOIN invoicing_invoiceitem k ON k.credits_id = wanted.item_id
)
SELECT reduced.item_id, d.charge_id, d.derivation FROM reduced JOIN invoicing_invoiceitem d ON d.reduces_id = reduced.id
JOIN invoicing_invoice w ON w.id = d.invoice_id AND w.status <> 'Canceled' ORDER BY d.id
"""


Derivation = Mapping[str, Any]


class DiscountTerms(NamedTuple):
    """Which lines a discount reduces, and what of."""

    level: DiscountLevel
    applies_to: frozenset[ChargeType]
    stacked: bool


class BilledItem(NamedTuple):
    """A billed item that discounts may have reduced: written with `first`, it now bills `amount` for `period`."""

    item_id: int
    charge_id: int
    charge_number: str
    charge_name: str
    subscription_id: int
    rate_plan_id: int
    invoice_separately: bool
    kind: LineKind
    first: Decimal
    period: Period
    amount: Decimal


class Discounts(NamedTuple):
    """The discounts of a chunk's accounts.

    `terms` are by charge, `items` by account. The derivations of the lines that stand come by item and then by charge
    (`taken`), and by charge alone (`lines`): all about the items, and all that use an open period of a fixed amount.
    """

    terms: dict[int, DiscountTerms]
    items: dict[int, list[BilledItem]]
    taken: dict[int, dict[int, list[Derivation]]]
    lines: dict[int, list[Derivation]]


def load_discounts(cursor: Any, accounts: Iterable[Sequence[Charge]], *, target_date: date) -> Discounts:
    """Return the discounts among the charges of accounts with what they have taken off; three queries, or none."""
    discounts: dict[int, Charge] = {}
    credited: list[int] = []
    sinces: dict[int, date] = {}
    for charges in accounts:
        found = [charge for charge in charges if charge.terms.charge_model in MODELS]
        if found:
            discounts |= {charge.charge_id: charge for charge in found}
            credited += [billed.item_id for charge in charges for billed in charge.billed]
            sinces |= _open_since(charges, found)
    if not discounts:
        return Discounts({}, {}, {}, {})
    terms = _load_terms(cursor, list(discounts))
    percentages = [pk for pk, each in discounts.items() if each.terms.charge_model is ChargeModel.DISCOUNT_PERCENTAGE]
    cursor.execute(_ITEMS, {"credited": credited, "percentages": percentages, "target": target_date})
    items: dict[int, list[BilledItem]] = defaultdict(list)
    for account_id, *facts, kind, first, start, end, amount in cursor.fetchall():
        item = BilledItem._make((*facts, LineKind(kind), first, Period(start, end), amount))
        items[account_id].append(item)
    item_ids = [item.item_id for of_account in items.values() for item in of_account]
    cursor.execute(_TAKEN, {"items": item_ids, "fixed": list(sinces), "sinces": list(sinces.values())})
    taken: dict[int, dict[int, list[Derivation]]] = {}
    lines: dict[int, list[Derivation]] = {}
    for item_id, charge_id, derivation in cursor.fetchall():
        taken.setdefault(item_id, {}).setdefault(charge_id, []).append(derivation)
        lines.setdefault(charge_id, []).append(derivation)
    return Discounts(terms, items, taken, lines)


def _load_terms(cursor: Any, charge_ids: Collection[int]) -> dict[int, DiscountTerms]:
    cursor.execute(_TERMS, [charge_ids])
    return {
        charge_id: DiscountTerms(DiscountLevel(level), frozenset(map(ChargeType, types)), stacked)
        for charge_id, level, types, stacked in cursor.fetchall()
    }


def _open_since(charges: Sequence[Charge], discounts: Sequence[Charge]) -> dict[int, date]:
    """Return for each fixed discount a day by which none of its periods ends that new lines of the account reach into.

    Lines whose days end by then cannot have used those periods, for a period begins no earlier than one length before
    any of its days.
    """
    first = min((day for charge in charges for day in _first_days(charge)), default=None)
    if first is None:
        return {}
    return {
        charge.charge_id: _one_period_before(first, charge)
        for charge in discounts
        if charge.terms.charge_model is ChargeModel.DISCOUNT_FIXED
    }


def _first_days(charge: Charge) -> list[date]:
    """Return days, before the earliest of which no new line of the charge begins; none for a discount."""
    if charge.terms.charge_model in MODELS:
        return []
    days = [billed.period.start for billed in charge.billed]
    if charge.billed_through is not None:
        return [*days, charge.billed_through]
    return days + [segment.start for segment in charge.segments]


def _one_period_before(day: date, discount: Charge) -> date:
    months, days = months_in(discount.terms), days_in(discount.terms)
    if months and day.year > months // 12 + 1:
        return add_months(day, -months)
    if days:
        return day - timedelta(days=min(days, day.toordinal() - 1))
    # Once a term: its amount is open as long as the term runs.
    return max((term.start for term in discount.subscription_terms if term.start <= day), default=date.min)
