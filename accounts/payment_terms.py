"""When an invoice falls due: pure arithmetic on dates (domain.md 1)."""

import calendar
from datetime import date, timedelta
from typing import NamedTuple


class Term(NamedTuple):
    """A payment term's numbers: Net adds days; Prox names a day of a following month."""

    kind: str
    net_days: int
    cutoff_day: int
    months: int
    due_day: int


def due_date(term: Term, invoice_date: date) -> date:
    """Return the day on which an invoice of `invoice_date` falls due.

    Prox: an invoice dated after the cut-off day counts for the next month; the due day is cut to the month's end.
    """
    if term.kind == "Net":
        return invoice_date + timedelta(days=term.net_days)
    months = term.months + (1 if invoice_date.day > term.cutoff_day else 0)
    year, month = divmod(invoice_date.year * 12 + invoice_date.month - 1 + months, 12)
    return date(year, month + 1, min(term.due_day, calendar.monthrange(year, month + 1)[1]))
