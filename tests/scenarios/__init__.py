"""Stories told in the users' own tables: each docstring holds what is expected, the test compares it word by word."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta

from invoicing.models import Invoice


def rows(story: Callable[..., object]) -> list[tuple[str, ...]]:
    """Return the rows of the table in a story's docstring without its heading; columns stand two spaces apart."""
    table = [line.strip() for line in (story.__doc__ or "").splitlines() if "  " in line.strip()]
    return [tuple(re.split(r" {2,}", line)) for line in table[1:]]


def invoice_rows(invoices: Iterable[Invoice]) -> list[tuple[str, ...]]:
    """Return one row a line: invoice, account, date, due date, what for, service period as printed, amount."""
    found: list[tuple[str, ...]] = []
    for invoice in invoices:
        for item in invoice.items.order_by("id"):
            last = item.period.upper - timedelta(days=1)
            days = f"{item.period.lower}" if item.kind == "OneTime" else f"{item.period.lower} to {last}"
            head = (
                invoice.number or invoice.status,
                invoice.account.name,
                f"{invoice.invoice_date}",
                f"{invoice.due_date}",
            )
            found.append((*head, item.description, days, f"{item.amount:,f} {invoice.currency}"))
    return found
