"""What an order action changed, in words: quantity, price and tiers from and to, plans, terms, pauses and their end."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal, DecimalException
from typing import Any, NamedTuple

from accounts.wording import NOTHING, day, number
from billing.core.types import ChargeModel, ChargeType, PriceFormat, Tier
from billing.models import OrderAction, OrderActionType, RatePlanCharge, SubscriptionStatus, TermType
from billing.services.charge_terms import includes_units
from billing.services.order_requests import CancelWhen
from billing.templatetags.charge_words import COUNTED_BY_UNIT, price_words, priced_for, tier_lines

CHANGES_SHOWN = 5
ARROW = "\N{RIGHTWARDS ARROW}"
UNREADABLE = "What it changed was edited by hand and cannot be told in words."

_WHEN = {
    CancelWhen.END_OF_TERM: "At the end of its term.",
    CancelWhen.END_OF_BILLED: "At the end of what is billed.",
}
_FIELDS = {
    "name": "Name",
    "term_type": "Term",
    "term_end": "Last day of the term",
    "auto_renew": "Renews itself",
    "renewal_months": "Each renewal",
    "invoice_separately": "Invoiced separately",
    "service_activation": "Service activation",
    "customer_acceptance": "Customer acceptance",
    "status": "Status",
}

# These do the same to all charges, whose prices stay what they were.
_OF_ALL = (OrderActionType.SUSPEND, OrderActionType.RESUME, OrderActionType.CANCEL_SUBSCRIPTION)

Charges = Mapping[str, RatePlanCharge]


class ToldAction(NamedTuple):
    """An order action with its changes, a line each; `more` counts charges that changed, too, but are not told."""

    action: OrderAction
    lines: list[str]
    more: int

    @property
    def sign(self) -> str:
        """Return the sign of the change of MRR, which the amount itself shows only below zero."""
        return "+" if self.action.delta_mrr > 0 else ""


def told(actions: Iterable[OrderAction], currency: str, known: Iterable[RatePlanCharge] = ()) -> list[ToldAction]:
    """Return actions in words; prices are in `currency`.

    `known` charges need not be read again; the others that are told of are read in one query.
    """
    found = list(actions)
    charges = {charge.number: charge for charge in known}
    wanted = {name for action in found for name in _charge_numbers(action)} - charges.keys()
    if wanted:
        charges |= {charge.number: charge for charge in RatePlanCharge.objects.filter(number__in=wanted)}
    return [_told(action, currency, charges) for action in found]


def _charge_numbers(action: OrderAction) -> list[str]:
    """Return the numbers of the charges whose changes are told."""
    entries = action.details.get("charges") if isinstance(action.details, dict) else None
    shown = entries[:CHANGES_SHOWN] if isinstance(entries, list) else []
    return [str(entry["charge"]) for entry in shown if isinstance(entry, dict) and "charge" in entry]


def _told(action: OrderAction, currency: str, charges: Charges) -> ToldAction:
    try:
        entries = action.details.get("charges", [])
        shown, lines = entries[:CHANGES_SHOWN], _facts(action)
        if action.kind in _OF_ALL and len(shown) > 1:
            lines += _together(shown)
        else:
            lines += [_change(entry, currency, charges.get(entry["charge"])) for entry in shown]
        return ToldAction(action, lines, max(0, len(entries) - CHANGES_SHOWN))
    except (AttributeError, KeyError, TypeError, ValueError, DecimalException):
        # An administrator may have repaired the details; whatever they are, the page must open.
        return ToldAction(action, [UNREADABLE], 0)


def _facts(action: OrderAction) -> list[str]:
    """Return what an action did apart from changing charges."""
    details, lines = action.details, []
    if "rate_plan" in details:
        verb = "removed" if action.kind == OrderActionType.REMOVE_PRODUCT else "added"
        lines.append(f"Plan “{details['rate_plan']}” {verb}.")
    if "when" in details and details["when"] in _WHEN:
        lines.append(_WHEN[details["when"]])
    if "suspended_days" in details:
        count = details["suspended_days"]
        days = "1 day" if count == 1 else f"{number(count)} days"
        lines.append(f"It was suspended for {days}, from {day(date.fromisoformat(details['suspended_from']))} on.")
    changed = details.get("changed", {})
    # JSON does not keep an order; people read the term before what becomes of it.
    for field in [*(known for known in _FIELDS if known in changed), *(changed.keys() - _FIELDS.keys())]:
        before, after = changed[field]
        lines.append(f"{_FIELDS.get(field, field)}: {_value(field, before)} {ARROW} {_value(field, after)}")
    return lines


def _value(field: str, value: Any) -> str:
    """Return a column of a subscription as people read it; the end of a term is told as its last day."""
    if field == "term_end":
        return "none" if value is None else _last_day(value)
    if field == "term_type":
        return TermType(value).label.lower()
    if field == "status":
        return SubscriptionStatus(value).label.lower()
    if field in ("service_activation", "customer_acceptance"):
        return "not known" if value is None else day(date.fromisoformat(value))
    if field == "renewal_months":
        months = "1 month" if value == 1 else f"{value} months"
        return "as long as the first term" if value is None else months
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"“{value}”" if value else "none"


def _change(entry: dict[str, Any], currency: str, charge: RatePlanCharge | None) -> str:
    """Return what became of one charge."""
    before, after, word = entry["from"], entry["to"], entry["change"]
    if word == "Added" and before:
        # It was sold before; what is new is the day on which it begins.
        return f"{entry['name']}: begins {day(date.fromisoformat(after['start']))}"
    if word in ("Added", "Resumed"):
        verb = "resumes with " if word == "Resumed" else ""
        return f"{entry['name']}: {verb}{_worth(after, currency, charge)}{_until(after)}"
    if word == "Changed":
        return f"{entry['name']}: {', '.join(_differences(before, after, currency, charge)) or 'stays as it was'}"
    if after["end"] == after["start"]:
        return f"{entry['name']}: will not begin ({_worth(before, currency, charge)})"
    verb = "suspended" if word == "Suspended" else "ends"
    return f"{entry['name']}: {verb} with {_worth(before, currency, charge)}, last day {_last_day(after['end'])}"


def _together(entries: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield what became of charges that all share one fate, those with the same last day in one line."""
    fates: dict[str, list[str]] = {}
    for entry in entries:
        after = entry["to"]
        if entry["change"] == "Resumed":
            fate = f"resumes{_until(after)}"
        elif after["end"] == after["start"]:
            fate = "will not begin"
        else:
            verb = "suspended" if entry["change"] == "Suspended" else "ends"
            fate = f"{verb}, last day {_last_day(after['end'])}"
        fates.setdefault(fate, []).append(entry["name"])
    for fate, names in fates.items():
        yield f"{', '.join(names)}: {fate}"


def _differences(
    before: dict[str, Any], after: dict[str, Any], currency: str, charge: RatePlanCharge | None
) -> Iterable[str]:
    if before["quantity"] != after["quantity"]:
        what = f"included {charge.unit}" if charge is not None and includes_units(charge) else "quantity"
        yield f"{what} {_number(before['quantity'])} {ARROW} {_number(after['quantity'])}"
    if before["price"] != after["price"]:
        first, then = (_price(values, currency, charge, per=False) for values in (before, after))
        yield f"price {first} {ARROW} {then}"
    if before.get("tiers") != after.get("tiers"):
        yield f"tiers {_price(before, currency, charge)} {ARROW} {_price(after, currency, charge)}"


def _worth(values: dict[str, Any], currency: str, charge: RatePlanCharge | None) -> str:
    """Return quantity and price of a segment: “10 × $5.00 a month”, “12, up to 10: $5.00 each; above 10: …”."""
    price = _price(values, currency, charge)
    if values["quantity"] is None:
        return price
    if charge is not None and includes_units(charge) and values["price"] is not None:
        included = Decimal(values["quantity"])
        return f"first {number(included)} {charge.unit} included, then {price}" if included else price
    return f"{_number(values['quantity'])}{', ' if values.get('tiers') else ' × '}{price}"


def _price(values: dict[str, Any], currency: str, charge: RatePlanCharge | None, *, per: bool = True) -> str:
    """Return the price of a segment, or its tiers one after the other; `per` adds what a price is for."""
    if values.get("tiers"):
        tiers = [
            Tier(
                None if tier["up_to"] is None else Decimal(tier["up_to"]),
                Decimal(tier["price"]),
                PriceFormat(tier["price_format"]),
            )
            for tier in values["tiers"]
        ]
        return "; ".join(tier_lines(tiers, currency, charge))
    if values["price"] is None:
        return "no price"
    words = price_words(charge, Decimal(values["price"]), currency)
    if charge is None or not per or charge.charge_model == ChargeModel.DISCOUNT_PERCENTAGE:
        return words
    if charge.charge_type == ChargeType.USAGE and charge.charge_model in COUNTED_BY_UNIT:
        return f"{words} per {charge.unit or 'unit'}"
    return f"{words} {priced_for(charge)}".rstrip()


def _until(values: dict[str, Any]) -> str:
    return f", last day {_last_day(values['end'])}" if values["end"] else ""


def _last_day(end: str) -> str:
    return day(date.fromisoformat(end) - timedelta(days=1))


def _number(value: str | None) -> str:
    return NOTHING if value is None else number(Decimal(value))
