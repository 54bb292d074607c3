"""Worked examples of the billing rules for usage: what was used by small customers, rated by the pricing core."""

import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from accounts.wording import number, service_period
from billing.core.pricing import price
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Line,
    ListPriceBase,
    Period,
    Segment,
)
from billing.core.units import RoundingMode, UnitOfMeasure
from billing.core.usage import Slice, Usage, UsageTerms
from billing.rule_choices import NOBODY, Choices, Result, dollars

GB = UnitOfMeasure("GB", 2, RoundingMode.UP)
HOUR = UnitOfMeasure("hours", 0, RoundingMode.UP)
CHILD_OF_A_PARENT = (
    "A charge of a parent account includes 500 GB a month and costs $0.10 for each GB above them. In January 2024 the"
    " parent uses 600 GB, and its child, which has no such charge, 300 GB."
)


def partial_month_of_usage(choices: Choices) -> list[Result]:
    """Return the days before the first billing day and the month after them."""
    used = [_used("2018-01-05", "10"), _used("2018-01-20", "25")]
    charge = _charge("2018-01-01", ChargeModel.PER_UNIT, "2")
    return _rated(charge, used, GB, choices, "2018-02-15", billing_day=15)


def records_rounded(choices: Choices) -> list[Result]:
    """Return a month of three records that are rounded one by one or together."""
    used = [_used("2024-01-10", "1.2", "0.4", "2.5")]
    return _rated(_charge("2024-01-01", ChargeModel.PER_UNIT, "10"), used, HOUR, choices, "2024-02-01")


def usage_of_a_child(choices: Choices) -> list[Result]:
    """Return a parent's month, with or without what its child used."""
    used = [_used("2024-01-10", "600")]
    if choices.customer_hierarchy and choices.include_child_usage:
        used.append(_used("2024-01-12", "300"))
    charge = _charge("2024-01-01", ChargeModel.OVERAGE, "0.10", included="500")
    results = _rated(charge, used, GB, choices, "2024-02-01")
    if len(used) == 1:
        allowed = (
            "counted once child usage is included" if choices.customer_hierarchy else "refused when it is imported"
        )
        results.append(Result("The child’s 300 GB", dollars(Decimal(0)), allowed))
    return results


def _charge(start: str, model: ChargeModel, cost: str, *, included: str | None = None) -> Charge:
    begin = date.fromisoformat(start)
    terms = ChargeTerms(
        ChargeType.USAGE,
        model,
        BillingTiming.IN_ARREARS,
        BillingPeriod.MONTH,
        ListPriceBase.PER_BILLING_PERIOD,
        BillingDayType.ACCOUNT,
        Alignment.CHARGE,
    )
    quantity = None if included is None else Decimal(included)
    return Charge(
        1,
        "C-00000001",
        "Usage",
        1,
        begin,
        invoice_separately=False,
        trigger_date=begin,
        billed_through=None,
        terms=terms,
        segments=(Segment(1, 1, begin, None, quantity, Decimal(cost)),),
    )


def _used(day: str, *quantities: str) -> Slice:
    """Return records of one day."""
    first = date.fromisoformat(day)
    records = tuple((Decimal(quantity), 1) for quantity in quantities)
    total = sum((quantity for quantity, _ in records), Decimal(0))
    days = Period(first, date.fromordinal(first.toordinal() + 1))
    return Slice(first.toordinal(), days, total, len(records), upload=1, quantities=records)


def _rated(
    charge: Charge, used: Sequence[Slice], unit: UnitOfMeasure, choices: Choices, target: str, *, billing_day: int = 1
) -> list[Result]:
    account = NOBODY._replace(bill_cycle_day=billing_day)
    usage = {charge.charge_id: Usage(UsageTerms(unit), tuple(used))}
    priced = price(account, [charge], rules=choices.rules, target_date=date.fromisoformat(target), usage=usage)
    return [
        Result(service_period(*line.period), dollars(line.amount), _working(line, unit.name)) for line in priced.lines
    ]


def _working(line: Line, unit: str) -> str:
    """Return what was counted, and what was used where that is something else."""
    values = json.loads(line.derivation)
    counted = f"{number(Decimal(values['q']))} {unit}"
    if "part" in values:
        return f"{counted}: not billed"
    if "inc" in values:
        counted += f", {number(Decimal(values['inc']))} of them included"
    return f"{counted} of {number(Decimal(values['raw']))} used" if "raw" in values else counted
