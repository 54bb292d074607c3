"""How much of a period a run of days is, exactly: full billing months first, then days of a billing month.

    billing months   12-15        01-15        02-15        03-15        04-15
                       |------------|------------|------------|------------|
    covered                   [5 of 31 .. 1 full month .. 10 of 28)

Billing months run from billing day to billing day, so a month has as many days as lie between the two (domain.md 3.2,
actual days, month first). The shares of two adjoining runs add up to the share of both.
"""

from datetime import date
from math import prod
from typing import NamedTuple

from billing.core.periods import date_in_month, month_number
from billing.core.types import Period


class Share(NamedTuple):
    """Months covered: whole billing months and up to two part months, each as (days covered, days in that month)."""

    full_months: int
    part_months: tuple[tuple[int, int], ...]

    @property
    def fraction(self) -> tuple[int, int]:
        """The months covered as numerator and denominator."""
        denominator = prod(of_days for _, of_days in self.part_months)
        numerator = self.full_months * denominator
        return numerator + sum(days * denominator // of_days for days, of_days in self.part_months), denominator


def months_covered(period: Period, *, billing_day: int) -> Share:
    """Return the billing months the period covers, with the month grid on `billing_day` (31 is the month's end)."""
    first, skipped, first_days = _place(period.start, billing_day)
    last, served, last_days = _place(period.end, billing_day)
    if first == last:
        return Share(0, ((served - skipped, first_days),))
    part_months = []
    full_months = last - first
    if skipped:
        full_months -= 1
        part_months.append((first_days - skipped, first_days))
    if served:
        part_months.append((served, last_days))
    return Share(full_months, tuple(part_months))


def _place(day: date, billing_day: int) -> tuple[int, int, int]:
    """Return the number of the billing month the day lies in, the days of it before that day, and all its days."""
    number = month_number(day)
    opening = date_in_month(number, billing_day)
    if opening > day:
        number -= 1
        opening = date_in_month(number, billing_day)
    return number, (day - opening).days, (date_in_month(number + 1, billing_day) - opening).days
