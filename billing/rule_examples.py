"""Worked examples of the billing rules: small customers of fixed dates, billed by the pricing core under the rules chosen.

Nothing here is typed in but prices and dates: what a rule makes of them is what `price` returns, so that an example
cannot say anything else than a bill run does. The cases are those of domain.md 3.2 and 3.3.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from accounts.wording import day, service_period
from billing.core.pricing import price
from billing.core.types import (
    Alignment,
    Billed,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    Charge,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    Line,
    LineKind,
    ListPriceBase,
    RecurringStyle,
    Segment,
)
from billing.rule_choices import NOBODY, Choices, Result, choices_from, dollars
from billing.usage_examples import CHILD_OF_A_PARENT, partial_month_of_usage, records_rounded, usage_of_a_child

__all__ = ["STORIES", "Choices", "choices_from", "examples_of", "options_of"]


class Example(NamedTuple):
    """What a rule does to one customer as chosen, and in short with each other choice: (value, outcome)."""

    story: str
    results: list[Result]
    instead: list[tuple[Any, str]]


class Story(NamedTuple):
    """A customer's case in words, and the calculation of it."""

    text: str
    work: Callable[[Choices], list[Result]]


def options_of(rule: str) -> list[Any]:
    """Return everything that can be chosen for a rule."""
    usual = Choices().given(rule)
    kind: Any = type(usual)
    return [True, False] if kind is bool else list(kind)


def examples_of(rule: str, choices: Choices) -> list[Example]:
    """Return the worked examples of one rule, all other rules being as chosen."""
    others = [value for value in options_of(rule) if value != choices.given(rule)]
    found = []
    for story in STORIES[rule]:
        results = story.work(choices)
        instead = [(value, _difference(results, story.work(choices.chosen(rule, value)))) for value in others]
        found.append(Example(story.text, results, instead))
    return found


def _difference(results: Sequence[Result], others: Sequence[Result]) -> str:
    """Return in short what comes out otherwise: amounts where they differ, else the working."""
    if list(results) == list(others):
        return "the same"
    if [each.amount for each in results] != [each.amount for each in others]:
        return ", then ".join(each.amount for each in others)
    return "; ".join(dict.fromkeys(each.working for each in others))


# Customers ----------------------------------------------------------------------------------------------------------


def _charge(start: str, cost: str, **changes: Any) -> Charge:
    """Return a flat fee in advance; `changes` are fields of the charge or of its terms."""
    begin = date.fromisoformat(start)
    terms = ChargeTerms(
        ChargeType.RECURRING,
        ChargeModel.FLAT_FEE,
        BillingTiming.IN_ADVANCE,
        BillingPeriod.MONTH,
        ListPriceBase.PER_BILLING_PERIOD,
        BillingDayType.ACCOUNT,
        Alignment.CHARGE,
    )._replace(**{name: changes.pop(name) for name in ChargeTerms._fields if name in changes})
    segment = Segment(1, 1, begin, None, None, Decimal(cost))
    fields = {"subscription_start": begin, "trigger_date": begin, "billed_through": None, **changes}
    return Charge(1, "C-00000001", "Fee", 1, invoice_separately=False, terms=terms, segments=(segment,), **fields)


def _quarterly(start: str, subscription_start: str) -> Charge:
    return _charge(
        start,
        "100",
        billing_period=BillingPeriod.QUARTER,
        list_price_base=ListPriceBase.PER_MONTH,
        alignment=Alignment.SUBSCRIPTION_START,
        subscription_start=date.fromisoformat(subscription_start),
    )


def _due(choices: Choices, starts: str, ends: str) -> str:
    """Return the target date that bills a period: its first day, or where all is billed in arrears the day after it."""
    return ends if choices.rules.recurring_style is RecurringStyle.IN_ARREARS else starts


def _ended(charge: Charge, on: str) -> Charge:
    return charge._replace(segments=(charge.segments[0]._replace(end=date.fromisoformat(on)),))


def _run(charge: Charge, choices: Choices, target: str, billing_day: int = 1) -> tuple[list[Line], Charge]:
    """Bill the charge once; return the lines, and the charge as the next run finds it."""
    account = NOBODY._replace(bill_cycle_day=billing_day)
    pricing = price(account, [charge], rules=choices.rules, target_date=date.fromisoformat(target))
    lines = pricing.lines
    if lines:
        billed = tuple(Billed(1, 1, line.period, line.period, line.amount, line.kind) for line in lines)
        charge = charge._replace(billed_through=lines[-1].period.end, billed=(*charge.billed, *billed))
    return lines, charge


def _results(lines: Sequence[Line], otherwise: str = "Nothing is billed yet") -> list[Result]:
    if not lines:
        return [Result(otherwise, dollars(Decimal(0)), "")]
    return [Result(service_period(*line.period), dollars(line.amount), _working(line)) for line in lines]


def _working(line: Line) -> str:
    """Return the share of a period that a line is for, or what a credit is made of."""
    derivation = json.loads(line.derivation)
    if line.kind is LineKind.CREDIT:
        billed = Decimal(derivation["credit"]["billed"])
        return f"credit: {dollars(billed + line.amount)} kept of {dollars(billed)}"
    if "day" in derivation:
        return "{} of {} days".format(*derivation["day"])
    if "part" not in derivation:
        return "full price"
    full, *rest = derivation["part"]
    words = [f"{full} month{'' if full == 1 else 's'}"] if full else []
    words += [f"{days} of {of_days} days" for days, of_days in zip(rest[::2], rest[1::2], strict=True)]
    return " + ".join(words) or "not billed"


# Their cases --------------------------------------------------------------------------------------------------------


def _quarter_begun_late(choices: Choices) -> list[Result]:
    target = _due(choices, "2018-01-16", "2018-04-01")
    return _results(_run(_quarterly("2018-01-16", "2018-01-01"), choices, target)[0])


def _third_quarter_begun_late(choices: Choices) -> list[Result]:
    target = _due(choices, "2018-07-16", "2018-10-01")
    return _results(_run(_quarterly("2018-07-16", "2018-01-01"), choices, target)[0])


def _quarter_canceled(choices: Choices) -> list[Result]:
    lines, charge = _run(_quarterly("2014-10-01", "2014-10-01"), choices, "2014-10-01")
    return _results(lines) + _results(_run(_ended(charge, "2014-10-15"), choices, "2014-10-15")[0])


def _month_canceled(choices: Choices) -> list[Result]:
    lines, charge = _run(_charge("2020-02-11", "25"), choices, "2020-02-11", 11)
    given_back = _run(_ended(charge, "2020-03-01"), choices, "2020-03-01", 11)[0]
    return _results(lines) + _results(given_back, "Nothing is credited")


def _month_begun_late(choices: Choices) -> list[Result]:
    target = _due(choices, "2018-01-15", "2018-02-15")
    return _results(_run(_charge("2018-01-01", "100"), choices, target, 15)[0])


def _week_begun_late(choices: Choices) -> list[Result]:
    weekly = {"billing_period": BillingPeriod.WEEK, "billing_day_type": BillingDayType.SPECIFIC_DAY_OF_WEEK}
    target = _due(choices, "2024-01-08", "2024-01-15")
    return _results(_run(_charge("2024-01-04", "70", billing_day=1, **weekly), choices, target)[0])


def _setup_removed(choices: Choices) -> list[Result]:
    lines, charge = _run(_charge("2024-03-01", "100", charge_type=ChargeType.ONE_TIME), choices, "2024-03-01")
    given_back = _run(_ended(charge, "2024-03-01"), choices, "2024-03-02")[0]
    return _results(lines) + _results(given_back, "Nothing is credited")


def _advance_and_arrears(choices: Choices) -> list[Result]:
    """Return for a charge of each timing the first of two target dates that bills April to June."""
    results = []
    for timing, sold in ((BillingTiming.IN_ADVANCE, "in advance"), (BillingTiming.IN_ARREARS, "in arrears")):
        charge = _quarterly("2024-04-01", "2024-04-01")
        charge = charge._replace(terms=charge.terms._replace(billing_timing=timing))
        for target in ("2024-04-01", "2024-07-01"):
            lines, _ = _run(charge, choices, target)
            if lines:
                label = f"Sold {sold}: {service_period(*lines[0].period)}"
                when = f"by target dates from {day(date.fromisoformat(target))} on"
                results.append(Result(label, dollars(lines[0].amount), when))
                break
    return results


def _year_beyond_its_term(choices: Choices, *, auto_renew: bool) -> list[Result]:
    """Bill an annual charge in a term of five months when the term begins and when it has ended."""
    charge = _charge(
        "2018-03-23",
        "100",
        billing_period=BillingPeriod.ANNUAL,
        term_end=date(2018, 8, 23),
        auto_renew=auto_renew,
    )
    lines, charge = _run(charge, choices, "2018-03-23", 23)
    if auto_renew:
        charge = charge._replace(term_end=date(2019, 1, 23))
    then = _run(charge, choices, "2018-08-23", 23)[0]
    return _results(lines) + _results(then, f"{day(date(2018, 8, 23))}: nothing more")


def _term_not_renewed(choices: Choices) -> list[Result]:
    return _year_beyond_its_term(choices, auto_renew=False)


def _term_renewed(choices: Choices) -> list[Result]:
    return _year_beyond_its_term(choices, auto_renew=True)


def _renewal_due(choices: Choices) -> list[Result]:
    """Bill the month after a term; the run renews it first where it is told to."""
    term_end = date(2025 if choices.auto_renew_default else 2024, 1, 1)
    charge = _charge("2023-01-01", "100", billed_through=date(2024, 1, 1), term_end=term_end, auto_renew=True)
    lines, _ = _run(charge, choices, _due(choices, "2024-01-01", "2024-02-01"))
    return _results(lines, "Out of term: nothing is billed")


def _invoice(choices: Choices, state: str) -> list[Result]:
    """Return a month's invoice and what becomes of it."""
    lines, _ = _run(_charge("2024-01-01", "100"), choices, _due(choices, "2024-01-01", "2024-02-01"))
    return [result._replace(working=state) for result in _results(lines)]


def _posting_allowed(choices: Choices) -> list[Result]:
    if choices.allow_auto_post:
        return _invoice(choices, "a draft, or posted and e-mailed by the run if it is told to")
    return _invoice(choices, "a draft until somebody posts it")


def _posting_by_default(choices: Choices) -> list[Result]:
    if not choices.allow_auto_post:
        return _invoice(choices, "a draft until somebody posts it: runs may not post by themselves")
    if choices.auto_post_default:
        return _invoice(choices, "posted by the run unless its form says otherwise")
    return _invoice(choices, "a draft unless the run's form says otherwise")


_ADDED = "A charge of $100 a month, billed quarterly on the 1st, begins on 16 {month} 2018, within its quarter."
_TERM = "A charge of $100 a year begins with a term of five months, 23 Mar – 22 Aug 2018, {renewed}. It is billed on 23 Mar and, when the term has ended, on 23 Aug 2018."
_MONTH = "A bill run makes an invoice of $100 for January 2024."

STORIES: dict[str, tuple[Story, ...]] = {
    "prorate_partial_periods": (Story(_ADDED.format(month="Jan"), _quarter_begun_late),),
    "partial_months": (
        Story("A charge of $100 a month, billed on the 15th, begins on 1 Jan 2018.", _month_begun_late),
    ),
    "bill_partial_weeks": (
        Story("A charge of $70 a week, billed on Mondays, begins on Thursday, 4 Jan 2024.", _week_begun_late),
    ),
    "days_in_month": (
        Story(_ADDED.format(month="Jan"), _quarter_begun_late),
        Story(
            "A charge of $25 a month, billed on the 11th, begins on 11 Feb 2020 and is canceled from 1 Mar on.",
            _month_canceled,
        ),
    ),
    "proration_unit": (
        Story(_ADDED.format(month="Jul"), _third_quarter_begun_late),
        Story(
            "A charge of $100 a month, billed quarterly on the 1st, begins on 1 Oct 2014 and is canceled from 15 Oct on.",
            _quarter_canceled,
        ),
    ),
    "credit_one_time": (
        Story("A setup fee of $100 is billed on 1 Mar 2024 and removed from that day on afterwards.", _setup_removed),
    ),
    "recurring_style": (
        Story(
            "Two charges of $100 a month, billed quarterly, cover April to June 2024; one is sold in advance, one in arrears.",
            _advance_and_arrears,
        ),
    ),
    "bill_usage_partial_months": (
        Story(
            "A charge of $2 for each GB used in a month, billed on the 15th, begins on 1 Jan 2018."
            " 10 GB are used before the 15th, 25 GB in the month after.",
            partial_month_of_usage,
        ),
    ),
    "rate_usage_individually": (
        Story(
            "A charge of $10 for each hour, counted in whole hours that are rounded up. In January 2024 there are three"
            " records of 1.2, 0.4 and 2.5 hours.",
            records_rounded,
        ),
    ),
    "customer_hierarchy": (Story(CHILD_OF_A_PARENT, usage_of_a_child),),
    "include_child_usage": (Story(CHILD_OF_A_PARENT, usage_of_a_child),),
    "bill_past_term_end": (Story(_TERM.format(renewed="and is not renewed"), _term_not_renewed),),
    "bill_to_term_end_when_auto_renew": (
        Story(_TERM.format(renewed="renewed automatically for five more"), _term_renewed),
    ),
    "auto_renew_default": (
        Story(
            "A subscription at $100 a month, to be renewed automatically, has a term that ended with 2023. January 2024 comes to:",
            _renewal_due,
        ),
    ),
    "allow_auto_post": (Story(_MONTH, _posting_allowed),),
    "auto_post_default": (Story(_MONTH, _posting_by_default),),
}
"""Each rule's customers; the rules are the columns of `BillingRules`."""
