"""What an invoice line's calculation rests on, in words, beside its steps: period, price version, what it credits or reduces.

The invoice page, the line's record and the appendix of the PDF all draw what `explained` returns.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from accounts.wording import day, money, number, service_period
from billing.core.derivation import VERSION
from billing.core.types import ChargeModel, LineKind
from billing.models import ChargeSegment
from invoicing.explanation import explain
from invoicing.models import InvoiceItem
from invoicing.steps import Step

# First days of price versions: by the charge's id as text, then by the segment's number as text; as JSON keeps them.
PriceVersions = Mapping[str, Mapping[str, str]]


class Fact(NamedTuple):
    """One thing that a calculation rests on: “Price version”, “segment 2, in force since 15 Jul 2026”."""

    name: str
    words: str


class Explanation(NamedTuple):
    """All that explains one line: what its calculation rests on, and the steps from price to amount.

    `elsewhere` is the id of another invoice, where the line stands that this one credits or changes.
    """

    facts: list[Fact]
    steps: list[Step]
    elsewhere: int | None


class Fellow(NamedTuple):
    """A discount on the same line of the same invoice."""

    item_id: int
    description: str
    amount: Decimal


def explained(
    items: Sequence[InvoiceItem], *, currency: str, versions: PriceVersions | None = None
) -> list[Explanation]:
    """Return an explanation for each item, with one query for price versions and one for discounts if there are any.

    `versions` are those frozen when the invoice was posted; without them, today's are read. The items' `credits` and
    `reduces` should be loaded.
    """
    since = price_versions({item.charge_id for item in items}) if versions is None else versions
    fellows = _fellows(items)
    return [
        Explanation(
            _facts(
                item, since.get(str(item.charge_id), {}), fellows.get((item.invoice_id, item.reduces_id), []), currency
            ),
            explain(item, currency=currency),
            _elsewhere(item),
        )
        for item in items
    ]


def price_versions(charge_ids: set[int]) -> dict[str, dict[str, str]]:
    """Return the first day of each price version of these charges, in one query."""
    found: dict[str, dict[str, str]] = {}
    rows = ChargeSegment.objects.filter(charge_id__in=charge_ids).values_list("charge_id", "number", "effective_start")
    for charge_id, segment, start in rows.order_by():
        found.setdefault(str(charge_id), {})[str(segment)] = start.isoformat()
    return found


def _elsewhere(item: InvoiceItem) -> int | None:
    other = item.credits or item.reduces
    return other.invoice_id if other is not None and other.invoice_id != item.invoice_id else None


def _fellows(items: Sequence[InvoiceItem]) -> dict[tuple[int, int | None], list[Fellow]]:
    """Return the discounts of each invoice and reduced line in the order in which they were taken off."""
    reduced = {item.reduces_id for item in items if item.reduces_id is not None}
    found: dict[tuple[int, int | None], list[Fellow]] = {}
    if not reduced:
        return found
    rows = InvoiceItem.objects.filter(reduces_id__in=reduced).order_by("id")
    for row in rows.values_list("invoice_id", "reduces_id", "id", "description", "amount", named=True):
        fellow = Fellow(row.id, row.description, row.amount)
        found.setdefault((row.invoice_id, row.reduces_id), []).append(fellow)
    return found


def _facts(item: InvoiceItem, since: Mapping[str, str], fellows: Sequence[Fellow], currency: str) -> list[Fact]:
    derivation: dict[str, Any] = item.derivation
    known = derivation.get("v") == VERSION
    facts = [_served(item), _other_line(item, currency)]
    if known and item.reduces_id is not None and "g" not in derivation:
        facts.append(_order(item, fellows, currency))
    if known:
        facts.append(_price_version(derivation, since))
    return [fact for fact in facts if fact is not None]


def _served(item: InvoiceItem) -> Fact | None:
    """Return the days that the line is about; those of a discount are the days of the line it reduces."""
    start, end = item.period.lower, item.period.upper
    if item.kind == LineKind.ONE_TIME:
        return Fact("Charged", f"once, on {day(start)}")
    credits_once = item.credits is not None and item.credits.kind == LineKind.ONE_TIME
    if item.kind == LineKind.DISCOUNT or credits_once:
        return None
    days = (end - start).days
    name = "Days given back" if item.kind == LineKind.CREDIT else "Service period"
    return Fact(name, f"{service_period(start, end)}, {number(days)} {'day' if days == 1 else 'days'}")


def _other_line(item: InvoiceItem, currency: str) -> Fact | None:
    """Return the line that a credit or a discount belongs to."""
    if item.credits is not None:
        return Fact("Credited line", _named(item.credits, currency))
    if item.reduces is None:
        return None
    goes_back = item.reduces.kind == LineKind.CREDIT
    return Fact("Given back with" if goes_back else "Applied to", _named(item.reduces, currency))


def _named(item: InvoiceItem, currency: str) -> str:
    when = (
        day(item.period.lower)
        if item.kind == LineKind.ONE_TIME
        else service_period(item.period.lower, item.period.upper)
    )
    return f"{item.description}, {when}, {money(item.amount, currency)}"


def _order(item: InvoiceItem, fellows: Sequence[Fellow], currency: str) -> Fact | None:
    """Return which discount on its line it is, and what its percentage is of when others came before it."""
    place = next((n for n, fellow in enumerate(fellows) if fellow.item_id == item.pk), None)
    if place is None:
        return None
    if len(fellows) == 1:
        return Fact("Discount order", "the only one on that line")
    words = f"{number(place + 1)} of {number(len(fellows))} on that line"
    if not place:
        return Fact("Discount order", words)
    before = ", ".join(f"{_short(each, item.reduces)} ({money(-each.amount, currency)})" for each in fellows[:place])
    if "b" not in item.derivation:
        return Fact("Discount order", f"{words}, after {before}")
    if item.reduces is not None and Decimal(item.derivation["b"]) == item.reduces.amount:
        return Fact("Discount order", f"{words}, after {before}, but of the whole line")
    return Fact("Discount order", f"{words}, of what is left after {before}")


def _short(fellow: Fellow, reduced: InvoiceItem | None) -> str:
    """Return a discount's name without the line it is on."""
    return fellow.description.removesuffix(f" on {reduced.description}" if reduced is not None else "")


def _price_version(derivation: Mapping[str, Any], since: Mapping[str, str]) -> Fact:
    """Return which segments' prices were used, and from which day on each is in force."""
    words = []
    for segment in _segments(derivation):
        start = since.get(str(segment))
        words.append(f"segment {segment}" + (f", in force since {day(date.fromisoformat(start))}" if start else ""))
    return Fact("Price version", "; ".join(words))


def _segments(derivation: Mapping[str, Any]) -> list[int]:
    """Return the numbers of all segments that a derivation names, each once."""
    found: list[int] = []
    if "credit" in derivation:
        found = [days["s"] for days in derivation["credit"].get("kept", [])]
    elif "again" in derivation:
        found = [days["s"] for days in derivation["again"]]
    elif derivation["m"] == ChargeModel.DISCOUNT_PERCENTAGE:
        found = [step[0] for step in derivation.get("k", derivation).get("w", [])]
    elif derivation["m"] == ChargeModel.DISCOUNT_FIXED and "g" not in derivation:
        found = [priced["s"] for _, _, _, _, *rest in derivation["w"] for priced in rest]
    return list(dict.fromkeys(found)) or [derivation["s"]]
