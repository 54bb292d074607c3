"""The books against the oracle: item by item the days that are covered, the cents that are left of it, and its discounts."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction

from billing.core.types import ChargeModel, ChargeType, LineKind, Rules
from tests.billing.core.oracle import Owed, half_up, owed, rate
from tests.simulation.books import Item, Sold, billed

DISCOUNTS = (ChargeModel.DISCOUNT_FIXED, ChargeModel.DISCOUNT_PERCENTAGE)
ONE_DAY = timedelta(days=1)


def differences(charges: Sequence[Sold], rules: Rules, target: date, figures: Counter[str]) -> list[str]:
    """Return in words what is booked otherwise than the oracle says, by all that is known on the target date.

    Everything that was ordered must have taken effect by then. `figures` counts what was compared.
    """
    reductions: dict[int, list[Sold]] = defaultdict(list)
    for each in charges:
        if each.charge.terms.charge_model in DISCOUNTS:
            reductions[each.charge.rate_plan_id].append(each)
    priced = [each for each in charges if each.charge.terms.charge_model not in DISCOUNTS]
    books = billed(each.charge.charge_id for each in charges)
    found = []
    for each in priced:
        items = books[each.charge.charge_id]
        figures["charges"] += 1
        figures["items"] += len(items)
        figures["items credited"] += sum(item.credits > 0 for item in items)
        figures["discounted items"] += sum(item.discounted < 0 for item in items)
        flaws = [
            *_money_without_days(items),
            *_wrong_days(each, items),
            *_wrong_lines(each, items, rules, target),
            *_wrong_discounts(each, items, reductions[each.charge.rate_plan_id]),
        ]
        found += [f"{each.charge.number} {flaw}" for flaw in flaws]
    return found


def _money_without_days(items: Iterable[Item]) -> Iterable[str]:
    for item in items:
        if item.start is None and (item.left or item.discounted):
            yield f"has {item.left} left of item {item.item_id}, which covers no day"


def _wrong_days(sold: Sold, items: Iterable[Item]) -> Iterable[str]:
    """Count days one by one: none twice, and from the first to the last that is covered just those that are served."""
    days = Counter(
        item.start + ONE_DAY * number
        for item in items
        if item.start and item.end
        for number in range((item.end - item.start).days)
    )
    twice = [day for day, count in days.items() if count > 1]
    if twice:
        yield f"bills {len(twice)} days twice, first {min(twice)}"
    if not days or sold.charge.terms.charge_type is ChargeType.ONE_TIME:
        return
    first, last = sold.charge.segments[0].start, max(days)
    served = {
        day
        for segment in sold.charge.segments
        for day in _days(max(segment.start, first), min(segment.end or date.max, last + ONE_DAY))
    }
    missing, idle = served - days.keys(), days.keys() - served
    if missing or idle:
        yield f"leaves out {sorted(missing)[:3]} and bills {sorted(idle)[:3]}, which are not served"


def _days(start: date, end: date) -> Iterable[date]:
    return (start + ONE_DAY * number for number in range((end - start).days))


def _wrong_lines(sold: Sold, items: Sequence[Item], rules: Rules, target: date) -> Iterable[str]:
    account, charge, term_ends, _ = sold
    booked = sorted(
        Owed(item.kind, item.segment_number, item.start, item.end, item.left)
        for item in items
        if item.start and item.end
    )
    if charge.terms.charge_type is ChargeType.ONE_TIME:
        expected = _once(sold, booked, rules, target)
    else:
        # Days billed before a renewal, up to the end of the term, stay a line of their own.
        cuts = {line.start for line in booked} & term_ends
        expected = sorted(owed(account, charge, rules, target, cuts))
    if booked != expected:
        more = [_told(line) for line in booked if line not in expected]
        fewer = [_told(line) for line in expected if line not in booked]
        yield f"has {more[:4]} instead of {fewer[:4]}"


def _once(sold: Sold, booked: Sequence[Owed], rules: Rules, target: date) -> list[Owed]:
    """Return the line of a one-time charge: once billed it stays, at the price it had then, unless it is credited whole."""
    account, charge, *_ = sold
    day = charge.trigger_date
    assert day is not None
    removed = all(segment.end is not None and segment.end <= day for segment in charge.segments)
    if not booked or (removed and rules.credit_one_time):
        return owed(account, charge, rules, target)
    segment = next(each for each in charge.segments if each.number == booked[0].segment_number)
    amount = half_up(rate(charge.terms.charge_model, segment), account.currency.digits)
    return [Owed(LineKind.ONE_TIME, segment.number, day, day + ONE_DAY, amount)]


def _wrong_discounts(sold: Sold, items: Iterable[Item], reductions: Iterable[Sold]) -> Iterable[str]:
    """Take the percentages of the rate plan off what is left of each item, one after the other; each is rounded once."""
    ordered = sorted(reductions, key=lambda each: each.charge.number)
    for item in items:
        left = item.left
        for discount in ordered if item.kind is LineKind.RECURRING else ():
            (percentage,) = {segment.price for segment in discount.charge.segments}
            base = item.left if discount.stacked else left
            left -= min(left, half_up(base * Fraction(percentage or 0) / 100, sold.account.currency.digits))
        if item.discounted != left - item.left:
            yield f"is discounted by {item.discounted} instead of {left - item.left} on item {item.item_id}"


def _told(line: Owed) -> str:
    return f"{line.kind} of segment {line.segment_number} {line.start} to {line.end} for {float(line.amount)}"
