"""The worked examples of the billing rules give the numbers of domain.md 3.2 and 3.3, for whatever is chosen."""

from itertools import product

import pytest

from billing.core.types import DaysInMonth, PartialMonths, ProrationUnit, RecurringStyle, Rules
from billing.forms.rules import EFFECTS, GROUPS, LABELS, OPTIONS, RULES
from billing.models import BillingRules
from billing.rule_effects import CONCERNED
from billing.rule_examples import STORIES, Choices, choices_from, examples_of, options_of

ACTUAL, A360, STRICT = DaysInMonth.ACTUAL, DaysInMonth.ASSUME_30, DaysInMonth.ASSUME_30_STRICT
MONTH_FIRST, BY_DAY = ProrationUnit.MONTH_FIRST, ProrationUnit.DAY


def chosen(**rules):
    """Return the usual choices but for these."""
    choices = Choices()
    for rule, value in rules.items():
        choices = choices.chosen(rule, value)
    return choices


def amounts(rule, *, story=0, **rules):
    """Return what the results of one example come to."""
    return [result.amount for result in examples_of(rule, chosen(**rules))[story].results]


@pytest.mark.parametrize(
    ("rule", "story", "rules", "expected"),
    [
        # $100 a month billed quarterly from 16 Jan 2018: 16 days, February, March
        ("prorate_partial_periods", 0, {}, ["$251.61"]),
        ("prorate_partial_periods", 0, {"prorate_partial_periods": False}, ["$300.00"]),
        ("days_in_month", 0, {"days_in_month": A360}, ["$253.33"]),
        ("days_in_month", 0, {"days_in_month": STRICT}, ["$250.00"]),
        ("days_in_month", 0, {"proration_unit": BY_DAY}, ["$250.00"]),
        ("days_in_month", 0, {"proration_unit": BY_DAY, "days_in_month": A360}, ["$250.00"]),
        # $25 a month from 11 Feb 2020, canceled on 1 Mar: 19 of 29 days kept
        ("days_in_month", 1, {}, ["$25.00", "−$8.62"]),
        # The third quarter of 2018 from 16 Jul, and the last one of 2014 canceled on 15 Oct
        ("proration_unit", 0, {}, ["$251.61"]),
        ("proration_unit", 0, {"proration_unit": BY_DAY}, ["$251.09"]),
        ("proration_unit", 1, {}, ["$300.00", "−$254.84"]),
        ("proration_unit", 1, {"proration_unit": BY_DAY}, ["$300.00", "−$254.35"]),
        # $100 a month billed on the 15th from 1 Jan 2018: 14 days first
        ("partial_months", 0, {}, ["$45.16", "$100.00"]),
        ("partial_months", 0, {"days_in_month": A360}, ["$46.67", "$100.00"]),
        ("partial_months", 0, {"days_in_month": STRICT}, ["$46.67", "$100.00"]),
        ("partial_months", 0, {"partial_months": PartialMonths.BILL_FULL}, ["$100.00", "$100.00"]),
        ("partial_months", 0, {"partial_months": PartialMonths.SKIP}, ["$0.00", "$100.00"]),
        ("bill_partial_weeks", 0, {}, ["$40.00", "$70.00"]),
        ("bill_partial_weeks", 0, {"bill_partial_weeks": False}, ["$0.00", "$70.00"]),
        ("credit_one_time", 0, {}, ["$100.00", "$0.00"]),
        ("credit_one_time", 0, {"credit_one_time": True}, ["$100.00", "−$100.00"]),
        # $100 a year in a term of 153 days
        ("bill_past_term_end", 0, {"proration_unit": BY_DAY}, ["$41.92", "$0.00"]),
        ("bill_past_term_end", 0, {"proration_unit": BY_DAY, "bill_past_term_end": True}, ["$100.00", "−$58.08"]),
        ("bill_to_term_end_when_auto_renew", 0, {}, ["$41.67", "$41.67"]),
        (
            "bill_to_term_end_when_auto_renew",
            0,
            {"bill_to_term_end_when_auto_renew": False},
            ["$100.00", "$0.00"],
        ),
        # $2 a GB from 1 Jan 2018, billed on the 15th: 10 GB before it, 25 GB in the month after
        ("bill_usage_partial_months", 0, {}, ["$20.00", "$50.00"]),
        ("bill_usage_partial_months", 0, {"bill_usage_partial_months": False}, ["$0.00", "$50.00"]),
        # 1.2 + 0.4 + 2.5 = 4.1 hours are 5 whole ones; 2 + 1 + 3 are 6
        ("rate_usage_individually", 0, {}, ["$50.00"]),
        ("rate_usage_individually", 0, {"rate_usage_individually": True}, ["$60.00"]),
        # 500 GB included, $0.10 above: 600 GB, and 300 GB of the child
        ("customer_hierarchy", 0, {}, ["$10.00", "$0.00"]),
        ("include_child_usage", 0, {}, ["$10.00", "$0.00"]),
        ("include_child_usage", 0, {"include_child_usage": True}, ["$40.00"]),
        ("customer_hierarchy", 0, {"include_child_usage": True}, ["$40.00"]),
        ("auto_renew_default", 0, {}, ["$100.00"]),
        ("auto_renew_default", 0, {"auto_renew_default": False}, ["$0.00"]),
        ("allow_auto_post", 0, {}, ["$100.00"]),
    ],
)
def test_examples_give_the_published_numbers(rule, story, rules, expected):
    assert amounts(rule, story=story, **rules) == expected


@pytest.mark.parametrize(
    ("style", "advance", "arrears"),
    [
        (RecurringStyle.RATE_PLAN, "1 Apr", "1 Jul"),
        (RecurringStyle.IN_ADVANCE, "1 Apr", "1 Apr"),
        (RecurringStyle.IN_ARREARS, "1 Jul", "1 Jul"),
    ],
)
def test_the_style_decides_by_which_target_date_a_quarter_is_billed(style, advance, arrears):
    (example,) = examples_of("recurring_style", chosen(recurring_style=style))
    assert [tuple(result) for result in example.results] == [
        ("Sold in advance: 1 Apr – 30 Jun 2024", "$300.00", f"by target dates from {advance} 2024 on"),
        ("Sold in arrears: 1 Apr – 30 Jun 2024", "$300.00", f"by target dates from {arrears} 2024 on"),
    ]


def test_an_example_says_what_the_other_choices_come_to():
    (example, credit) = examples_of("days_in_month", Choices())
    assert example.instead == [(A360, "$253.33"), (STRICT, "$250.00")]
    assert credit.instead == [(A360, "$25.00, then −$9.17"), (STRICT, "$25.00, then −$8.33")]
    (example, _) = examples_of("days_in_month", chosen(proration_unit=BY_DAY))
    assert example.instead == [(A360, "the same"), (STRICT, "the same")]


def test_an_example_says_which_share_is_billed():
    def working(rule, story=0, **rules):
        return [result.working for result in examples_of(rule, chosen(**rules))[story].results]

    assert working("proration_unit") == ["2 months + 16 of 31 days"]
    assert working("proration_unit", proration_unit=BY_DAY) == ["77 of 92 days"]
    assert working("proration_unit", story=1) == ["full price", "credit: $45.16 kept of $300.00"]
    assert working("partial_months", partial_months=PartialMonths.SKIP) == ["not billed", "full price"]


@pytest.mark.parametrize("style", list(RecurringStyle))
def test_every_rule_changes_its_own_example(style):
    """Where all is billed in arrears, no period reaches beyond its term, so those two rules change nothing there."""
    without_effect = {"bill_past_term_end", "bill_to_term_end_when_auto_renew"}
    for rule in RULES:
        found = [outcome for each in examples_of(rule, chosen(recurring_style=style)) for _, outcome in each.instead]
        changes = any(outcome != "the same" for outcome in found)
        assert changes != (style is RecurringStyle.IN_ARREARS and rule in without_effect), rule


def test_examples_exist_for_every_combination_of_rules():
    pricing = [rule for rule in RULES if rule in Rules._fields]
    combinations = list(product(*(options_of(rule) for rule in pricing)))
    assert len(combinations) == 3 * 3 * 3 * 2**8
    for values in combinations[::29]:
        choices = chosen(**dict(zip(pricing, values, strict=True)))
        for rule in RULES:
            # A problem leaves no line at all: then an example would say that nothing is billed.
            nothing = rule == "bill_to_term_end_when_auto_renew" and choices.rules.recurring_style == "Arrears"
            billed = [result.amount for each in examples_of(rule, choices) for result in each.results]
            assert nothing == (set(billed) == {"$0.00"}), (rule, choices)


def test_every_column_of_the_rules_is_on_the_page():
    columns = {field.name for field in BillingRules._meta.concrete_fields} - {"id"}
    assert set(RULES) == set(LABELS) == set(EFFECTS) == set(STORIES) == columns
    assert sorted(name for _, names in GROUPS for name in names) == sorted(columns)
    assert set(Rules._fields) <= columns
    assert CONCERNED.keys() <= columns


def test_every_choice_has_words_and_the_usual_ones_are_those_of_the_table():
    for rule in RULES:
        assert {value for value, _ in OPTIONS[rule]} == set(options_of(rule))
    usual = BillingRules()
    assert choices_from({rule: getattr(usual, rule) for rule in RULES}) == Choices()
