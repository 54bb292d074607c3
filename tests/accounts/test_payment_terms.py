"""Due dates: Net adds days, Prox names a day of a following month (domain.md 1)."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.payment_terms import Term, due_date


def _net(days: int) -> Term:
    return Term("Net", days, 31, 1, 1)


def _prox(cutoff: int, months: int, day: int) -> Term:
    return Term("Prox", 0, cutoff, months, day)


@pytest.mark.parametrize(
    ("term", "invoice_date", "due"),
    [
        (_net(0), "2026-01-31", "2026-01-31"),
        (_net(30), "2026-01-31", "2026-03-02"),
        (_net(30), "2024-01-31", "2024-03-01"),
        (_net(15), "2026-12-20", "2027-01-04"),
        # Prox: the 10th of the next month; after the 25th, of the month after that.
        (_prox(25, 1, 10), "2026-01-25", "2026-02-10"),
        (_prox(25, 1, 10), "2026-01-26", "2026-03-10"),
        (_prox(31, 1, 10), "2026-01-31", "2026-02-10"),
        (_prox(25, 1, 31), "2026-01-25", "2026-02-28"),
        (_prox(25, 1, 31), "2024-01-25", "2024-02-29"),
        (_prox(25, 1, 10), "2026-11-30", "2027-01-10"),
        (_prox(25, 0, 31), "2026-04-25", "2026-04-30"),
        (_prox(1, 12, 15), "2026-01-02", "2027-02-15"),
    ],
)
def test_due_date(term, invoice_date, due):
    assert due_date(term, date.fromisoformat(invoice_date)) == date.fromisoformat(due)


@given(st.integers(0, 366), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_net_is_that_many_days_later(days, invoice_date):
    assert (due_date(_net(days), invoice_date) - invoice_date).days == days


@given(st.integers(1, 31), st.integers(1, 12), st.integers(1, 31), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_prox_falls_on_its_day_or_the_months_last(cutoff, months, day, invoice_date):
    due = due_date(_prox(cutoff, months, day), invoice_date)
    apart = (due.year - invoice_date.year) * 12 + due.month - invoice_date.month
    assert apart == months + (invoice_date.day > cutoff)
    assert due > invoice_date
    assert due.day == day or (due.day < day and (due.replace(day=28).day <= due.day))
