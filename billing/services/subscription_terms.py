"""The terms of a subscription one after the other: how long each lasts and where the next one ends."""

from datetime import date, timedelta
from typing import Any

from billing.core.periods import date_in_month, month_number
from billing.models import Subscription, SubscriptionTerm
from billing.services.charge_terms import LAST_DAY, whole_months


def next_term_end(first: SubscriptionTerm, end: date, months: int | None) -> date | None:
    """Return where the term ends that begins on `end`; None if that lies beyond LAST_DAY.

    It lasts `months`, else as long as the `first` term. As long as terms end on the day of the month on which the first
    began, so do the next ones: from 31 January by single months to 28 February, to 31 March.
    """
    if months is None:
        assert first.end is not None
        months = whole_months(first.start, first.end)
        if months is None:
            length = first.end - first.start
            return end + length if end <= LAST_DAY - length else None
    day = first.start.day
    number = month_number(end)
    day = day if date_in_month(number, day) == end else end.day
    found = date_in_month(number + months, day)
    return found if found <= LAST_DAY else None


def append_term(row: Subscription, terms: list[SubscriptionTerm], end: date) -> SubscriptionTerm:
    """Let the next term, up to `end`, begin where the current one ends, on the subscription's row as well."""
    current = terms[-1]
    assert current.end is not None
    term = SubscriptionTerm(subscription_id=row.pk, number=current.number + 1, start=current.end, end=end)
    terms.append(term)
    row.term_start, row.term_end = term.start, term.end
    return term


def extend_term(row: Subscription, terms: list[SubscriptionTerm], days: int) -> None:
    """Let the current term end so many days later, on the subscription's row as well."""
    current = terms[-1]
    assert current.end is not None
    current.end = row.term_end = current.end + timedelta(days=days)


def renewal_facts(before: date, after: date | None) -> dict[str, Any]:
    """Return how an order action tells that a term ends later."""
    return {"changed": {"term_end": [before.isoformat(), after and after.isoformat()]}}
