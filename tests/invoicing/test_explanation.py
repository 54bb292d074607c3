"""How a line was calculated: each step's arithmetic is read back from its words and compared with the amount."""

import re
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from django.utils import translation

from billing.core.derivation import amount_of
from billing.core.discounts import discount_amount_of
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    Currency,
    DaysInMonth,
    ListPriceBase,
    PartialMonths,
    PriceFormat,
    ProrationUnit,
    Tier,
)
from billing.models import BillingRules
from invoicing.explanation import explain, proration_note
from invoicing.models import InvoiceItem
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, sakura, seats, subscribe

pytestmark = pytest.mark.django_db

STEPS = (
    Tier(Decimal(10), Decimal("5"), PriceFormat.PER_UNIT),
    Tier(Decimal(20), Decimal("4.5"), PriceFormat.PER_UNIT),
    Tier(None, Decimal("30"), PriceFormat.FLAT_FEE),
)
SYMBOLS = str.maketrans("−", "-", "$€¥,")
ARITHMETIC = re.compile(r"^(?:all )?([0-9./+×÷ ()-]+?)(?: \(price| rounded| billed|:|$)")


def line_of(charge, *, account=None, start="2026-07-01", target="2026-07-01", **changes):
    """Return the first line that a charge gives an account whose bill cycle day is the 1st."""
    account = account or acme()
    subscribe(account, plan(f"Sold to {account.number}", charge), start, **changes)
    run = bill(target, accounts=[account])
    return InvoiceItem.objects.filter(invoice__bill_run=run).order_by("period").first()


def worked_out(text):
    """Return the exact value of arithmetic such as “$150.00 × (2 + 12/31) ÷ 3: …”, or None where there is none."""
    found = ARITHMETIC.match(text.translate(SYMBOLS))
    if found is None or not re.search(r"[×÷]| - ", found[1]):
        return None
    sum_ = re.sub(r"\d+(\.\d+)?", lambda number: f"Fraction('{number[0]}')", found[1])
    return eval(sum_.replace("×", "*").replace("÷", "/"), {"Fraction": Fraction})


def check(item, *, digits=2):
    """Assert that each step follows from the one before and that the last is the line's amount; return the steps."""
    steps = explain(item, currency=item.invoice.currency)
    for step in steps:
        if "…" not in step.working and (value := worked_out(step.working)) is not None:
            assert value == step.value, step
        if not step.result.endswith("…"):
            assert Fraction(step.result.translate(SYMBOLS)) == step.value, step
    exact, last = steps[-2].value, steps[-1]
    quantum = Decimal(1).scaleb(-digits)
    rounded = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(quantum, ROUND_HALF_UP)
    assert rounded == item.amount == Decimal(last.value.numerator) / Decimal(last.value.denominator)
    return steps


def words(steps):
    return [(step.name, step.result) for step in steps]


def test_a_flat_fee():
    steps = check(line_of(monthly()))
    assert words(steps) == [("Flat fee", "$10.00"), ("Amount", "$10.00")]
    assert steps[0].working == "price of segment 1, for a month"
    assert steps[1].working == "nothing to round"


def test_a_price_per_unit():
    steps = check(line_of(seats(quantity="7")))
    assert steps[0].working == "7 × $10.00 (price of segment 1, for a month)"
    assert words(steps) == [("Per unit", "$70.00"), ("Amount", "$70.00")]


def test_tiers_are_walked_one_by_one():
    steps = check(line_of(by_tiers("Calls", ChargeModel.TIERED, STEPS, quantity="25")))
    assert [(step.name, step.working, step.result) for step in steps] == [
        ("Tiered, tier 1", "10 × $5.00", "$50.00"),
        ("Tiered, tier 2", "10 × $4.50", "$45.00"),
        ("Tiered, tier 3", "$30.00 flat, for 5", "$30.00"),
        ("All tiers", "sum, for a month (25 in all)", "$125.00"),
        ("Amount", "nothing to round", "$125.00"),
    ]
    assert sum((step.value for step in steps[:3]), Fraction(0)) == steps[3].value


def test_one_tier_needs_no_sum():
    steps = check(line_of(by_tiers("Calls", ChargeModel.TIERED, STEPS, quantity="4")))
    assert words(steps) == [("Tiered, tier 1", "$20.00"), ("Amount", "$20.00")]


def test_no_units_reach_no_tier():
    assert words(check(line_of(by_tiers("Calls", ChargeModel.TIERED, STEPS, quantity="0")))) == [
        ("All tiers", "$0.00"),
        ("Amount", "$0.00"),
    ]


def test_volume_prices_all_units_by_the_tier_reached():
    steps = check(line_of(by_tiers("Calls", ChargeModel.VOLUME, STEPS, quantity="15")))
    assert (steps[0].name, steps[0].working, steps[0].result) == ("Volume, tier 2", "all 15 × $4.50", "$67.50")
    flat = check(line_of(by_tiers("Calls", ChargeModel.VOLUME, STEPS, quantity="25"), account=globex(bill_cycle_day=1)))
    assert (flat[0].name, flat[0].working) == ("Volume, tier 3", "€30.00 flat, for 25")


def test_a_price_for_another_span_than_the_billing_period():
    quarter = monthly(billing_period=BillingPeriod.QUARTER, list_price_base=ListPriceBase.PER_MONTH, price="10.01")
    steps = check(line_of(quarter))
    assert steps[1].working == "$10.01 × 3: billed is a quarter, the price is for a month"
    assert words(steps)[1:] == [("Billing period", "$30.03"), ("Amount", "$30.03")]
    yearly = check(
        line_of(monthly(list_price_base=ListPriceBase.PER_YEAR, price="100"), account=globex(bill_cycle_day=1))
    )
    assert yearly[1].working == "€100.00 ÷ 12: billed is a month, the price is for a year"
    assert yearly[1].result == "€8.333333…"
    assert yearly[2].working == "€8.333333… rounded half up to 2 digits, once, at the end"
    assert yearly[2].result == "€8.33"
    both = monthly(list_price_base=ListPriceBase.PER_YEAR, billing_period=BillingPeriod.QUARTER, price="100")
    assert "× 3 ÷ 12" in check(line_of(both, account=acme()))[1].working


def test_a_part_month_is_days_of_that_month():
    item = line_of(monthly(price="310"), start="2026-07-15", target="2026-07-15")
    steps = check(item)
    assert steps[1].working == "$310.00 × 17/31: 17 of 31 days of 1 month"
    assert words(steps)[1:] == [("Proration", "$170.00"), ("Amount", "$170.00")]
    assert proration_note(item) == "17 of 31 days"


def test_months_come_before_days():
    yearly = monthly(price="1000", billing_period=BillingPeriod.ANNUAL)
    item = line_of(yearly, term_end=day("2026-10-13"))
    steps = check(item)
    assert steps[1].working == "$1,000.00 × (3 + 12/31) ÷ 12: 3 months + 12 of 31 days of 12 months"
    assert steps[1].result.endswith("…")
    assert proration_note(item) == "3 months + 12 of 31 days"


def test_parts_of_two_months_and_of_a_part_period():
    derivation = {
        "v": 1,
        "s": 1,
        "m": "FlatFee",
        "p": "900",
        "f": [3, 3],
        "part": [0, 5, 31, 3, 30],
        "of": [1, 5, 31],
        "r": 2,
    }
    steps = explain(InvoiceItem(amount=Decimal("202.22"), derivation=derivation), currency="USD")
    assert (
        steps[1].working
        == "$900.00 × (5/31 + 3/30) ÷ (1 + 5/31): 5 of 31 days + 3 of 30 days of 1 month + 5 of 31 days"
    )
    assert steps[1].value == worked_out(steps[1].working)


def test_whole_months_of_a_longer_period():
    quarter = monthly(price="300", billing_period=BillingPeriod.QUARTER)
    steps = check(line_of(quarter, term_end=day("2026-09-01")))
    assert steps[1].working == "$300.00 × 2 ÷ 3: 2 months of 3 months"
    assert steps[-1].result == "$200.00"


def test_proration_after_tiers_and_span():
    charge = by_tiers(
        "Calls", ChargeModel.TIERED, STEPS, quantity="25", billing_period=BillingPeriod.QUARTER,
        list_price_base=ListPriceBase.PER_MONTH,
    )  # fmt: skip
    steps = check(line_of(charge, start="2026-07-11", target="2026-07-11", term_end=day("2026-08-05")))
    assert [step.name for step in steps] == [
        "Tiered, tier 1", "Tiered, tier 2", "Tiered, tier 3", "All tiers", "Billing period", "Proration", "Amount",
    ]  # fmt: skip


def test_a_one_time_charge():
    item = line_of(once())
    assert words(check(item)) == [("Flat fee", "$100.00"), ("Amount", "$100.00")]
    assert explain(item, currency="USD")[0].working == "price of segment 1"
    assert proration_note(item) == ""


def test_arrears_read_like_advance():
    item = line_of(monthly(billing_timing=BillingTiming.IN_ARREARS), target="2026-08-01")
    assert words(check(item)) == [("Flat fee", "$10.00"), ("Amount", "$10.00")]


def test_yen_are_rounded_to_whole_numbers():
    item = line_of(monthly(price="1000"), account=sakura(bill_cycle_day=1), start="2026-07-15", target="2026-07-15")
    steps = check(item, digits=0)
    assert steps[-1].result == "¥548"
    assert "rounded half up to whole numbers" in steps[-1].working


def test_a_price_finer_than_the_currency_keeps_its_digits():
    steps = check(line_of(seats(quantity="3") | {"prices": {"USD": Decimal("0.0045")}}))
    assert steps[0].working.startswith("3 × $0.0045")
    assert (steps[0].result, steps[1].result) == ("$0.0135", "$0.01")


def test_a_derivation_of_an_unknown_version_is_not_guessed_at():
    item = InvoiceItem(amount=Decimal(5), derivation={"v": 99})
    assert [step.result for step in explain(item, currency="EUR")] == ["€5.00"]


def test_a_credit_tells_what_was_billed_and_what_is_kept():
    charge = line_of(seats()).charge
    first = charge.segments.get()
    first.effective_end = day("2026-07-11")
    first.save()
    charge.segments.create(number=2, effective_start=day("2026-07-11"), quantity=7, price=first.price)
    bill("2026-07-12")
    credit = InvoiceItem.objects.get(kind="Credit")
    steps = explain(credit, currency="USD")
    assert [(step.name, step.result) for step in steps] == [
        ("Billed so far", "$50.00"),
        ("Kept days: Per unit", "$50.00"),
        ("Kept days: Proration", "$16.129032…"),
        ("Kept days: amount", "$16.13"),
        ("Credit", "−$33.87"),
        ("Amount", "−$33.87"),
    ]
    assert "10 of 31 days" in steps[2].working
    assert Decimal("16.13") - Decimal("50.00") == credit.amount


def test_a_credit_of_everything_says_so():
    charge = line_of(seats()).charge
    charge.segments.update(effective_end=day("2026-07-01"))
    bill("2026-07-02")
    steps = explain(InvoiceItem.objects.get(kind="Credit"), currency="USD")
    assert [(step.name, step.working) for step in steps[:2]] == [
        ("Billed so far", "by the line that this one credits"),
        ("Credit", "everything billed is given back"),
    ]


def test_a_credit_of_days_that_became_dearer_than_all_that_was_billed_says_where_it_stops():
    """July 16 to 31 billed by the day, 16 of 31; then partial months came to be billed in full, $10.00 for any days."""
    charge = line_of(monthly(), start="2026-07-16", target="2026-07-16").charge
    BillingRules.objects.update(prorate_partial_periods=False)
    charge.segments.update(effective_end=day("2026-07-20"))
    bill("2026-07-21")
    credit = InvoiceItem.objects.get(kind="Credit")
    steps = explain(credit, currency="USD")
    assert [(step.name, step.result) for step in steps] == [
        ("Billed so far", "$5.16"),
        ("Kept days: Flat fee", "$10.00"),
        ("Kept days: amount", "$10.00"),
        ("Kept days: limit", "$5.16"),
        ("Credit", "$0.00"),
        ("Amount", "$0.00"),
    ]
    assert steps[3].working == "$10.00 today, but no more than was billed"
    assert steps[4].working == "$5.16 − $5.16"
    assert credit.amount == 0


def test_a_part_of_thirty_days_counts_what_it_adds():
    """A February split on the 15th: 14 of 30 days before, and the 16 that are left of thirty after."""
    BillingRules.objects.update(days_in_month=DaysInMonth.ASSUME_30)
    charge = line_of(monthly(), start="2026-02-01", target="2026-02-01").charge
    charge.segments.update(effective_end=day("2026-02-15"))
    charge.segments.create(number=2, effective_start=day("2026-02-15"), price=Decimal(10))
    bill("2026-02-15")
    credit, anew = InvoiceItem.objects.get(kind="Credit"), InvoiceItem.objects.filter(kind="Recurring").latest("period")
    assert (credit.amount, anew.amount) == (Decimal("-5.33"), Decimal("5.33"))
    assert check(anew)[1].working == "$10.00 × 16/30: 16 of 30 days of 1 month"


def test_proration_by_day_names_the_days_of_the_period():
    BillingRules.objects.update(proration_unit=ProrationUnit.DAY)
    item = line_of(monthly(billing_period=BillingPeriod.QUARTER, price="300"), start="2026-07-16", target="2026-07-16")
    assert proration_note(item) == "16 of 92 days"
    proration = next(step for step in explain(item, currency="USD") if step.name == "Proration")
    assert worked_out(proration.working) == proration.value


def test_weeks_are_called_weeks():
    item = line_of(
        monthly(
            billing_period=BillingPeriod.WEEK,
            list_price_base=ListPriceBase.PER_WEEK,
            billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
            price="7",
        )
    )
    words = " ".join(step.working for step in explain(item, currency="USD"))
    assert "a week" in words
    assert "month" not in words


def test_a_skipped_partial_month_says_why_it_costs_nothing():
    BillingRules.objects.update(partial_months=PartialMonths.SKIP)
    item = line_of(monthly(), start="2026-07-16", target="2026-07-16")
    assert item.amount == 0
    assert "the billing rules skip it" in " ".join(step.working for step in explain(item, currency="USD"))
    assert proration_note(item) == ""


# --- Words, as a table -----------------------------------------------------------------------------------------------


def told(derivation, currency="USD"):
    """Return the steps of a derivation as text; each step's arithmetic and the amount are checked on the way."""
    values = {"v": 1, "s": 1, "r": 2, **derivation}
    is_discount = values.get("m") in ("DiscountPercentage", "DiscountFixedAmount")
    amount = (discount_amount_of if is_discount else amount_of)(values, Currency(currency, values["r"]))
    steps = explain(InvoiceItem(amount=amount, derivation=values), currency=currency)
    for step in steps:
        if "…" not in step.working and (value := worked_out(step.working)) is not None:
            assert value == step.value, step
    assert steps[-1].value == Fraction(amount)
    return [f"{step.name} | {step.working} | {step.result}" for step in steps]


FLAT = {"m": "FlatFee", "p": "100"}


@pytest.mark.parametrize(
    ("derivation", "words"),
    [
        (FLAT, ["Flat fee | price of segment 1 | $100.00", "Amount | nothing to round | $100.00"]),
        (
            {**FLAT, "s": 3, "f": [18, 18]},
            ["Flat fee | price of segment 3, for 18 months | $100.00", "Amount | nothing to round | $100.00"],
        ),
        (
            {**FLAT, "f": [24, 12]},
            [
                "Flat fee | price of segment 1, for a year | $100.00",
                "Billing period | $100.00 × 24 ÷ 12: billed is two years, the price is for a year | $200.00",
                "Amount | nothing to round | $200.00",
            ],
        ),
        (
            {**FLAT, "f": [2, 1], "u": "w", "day": [12, 14]},
            [
                "Flat fee | price of segment 1, for a week | $100.00",
                "Billing period | $100.00 × 2: billed is 2 weeks, the price is for a week | $200.00",
                "Proration | $200.00 × 12 ÷ 14: 12 of 14 days | $171.428571…",
                "Amount | $171.428571… rounded half up to 2 digits, once, at the end | $171.43",
            ],
        ),
        (
            {**FLAT, "f": [10, 7], "u": "d"},
            [
                "Flat fee | price of segment 1, for 7 days | $100.00",
                "Billing period | $100.00 × 10 ÷ 7: billed is 10 days, the price is for 7 days | $142.857142…",
                "Amount | $142.857142… rounded half up to 2 digits, once, at the end | $142.86",
            ],
        ),
        (
            {**FLAT, "f": [40, 40], "u": "d"},
            ["Flat fee | price of segment 1, for 40 days | $100.00", "Amount | nothing to round | $100.00"],
        ),
        # a subscription's term of 45 days: at a price a month, and at a price a year with 36 of its days served
        (
            {**FLAT, "f": [42, 28], "term": [1, 14, 28]},
            [
                "Flat fee | price of segment 1, for a month | $100.00",
                "Billing period | $100.00 × (1 + 14/28): billed is a term of 1 month + 14 of 28 days, the price is for a month | $150.00",
                "Amount | nothing to round | $150.00",
            ],
        ),
        (
            {**FLAT, "p": "1200", "f": [42, 336], "term": [1, 14, 28], "day": [36, 45]},
            [
                "Flat fee | price of segment 1, for a year | $1,200.00",
                "Billing period | $1,200.00 × (1 + 14/28) ÷ 12: billed is a term of 1 month + 14 of 28 days, the price is for a year | $150.00",
                "Proration | $150.00 × 36 ÷ 45: 36 of 45 days | $120.00",
                "Amount | nothing to round | $120.00",
            ],
        ),
        (
            {**FLAT, "f": [20, 30], "term": [0, 20, 30]},
            [
                "Flat fee | price of segment 1, for a month | $100.00",
                "Billing period | $100.00 × (20/30): billed is a term of 20 of 30 days, the price is for a month | $66.666666…",
                "Amount | $66.666666… rounded half up to 2 digits, once, at the end | $66.67",
            ],
        ),
    ],
)
def test_periods_and_days_in_words(derivation, words):
    assert told(derivation) == words


BUDGET = {"v": 1, "s": 2, "m": "FlatFee", "p": "25", "f": [1, 1], "part": [0, 17, 31], "r": 2}
WHOLE_BUDGET = {"v": 1, "s": 2, "m": "FlatFee", "p": "25", "f": [1, 1], "r": 2}
PERCENT, FIXED = {"m": "DiscountPercentage"}, {"m": "DiscountFixedAmount"}
OFF = "Taken off | as a negative amount"


@pytest.mark.parametrize(
    ("derivation", "words"),
    [
        (
            {**PERCENT, "b": "100", "w": [[1, "10", 31]], "n": 31},
            ["Percentage | 10 % of $100.00 | $10.00", f"{OFF} | −$10.00", "Amount | nothing to round | −$10.00"],
        ),
        (
            {**PERCENT, "b": "100", "w": [[1, "10", 11], [2, "12.5", 20]], "n": 31},
            [
                "Percentage of segment 1 | 10 % of $100.00 × 11 ÷ 31: 11 of 31 days | $3.548387…",
                "Percentage of segment 2 | 12.5 % of $100.00 × 20 ÷ 31: 20 of 31 days | $8.064516…",
                "All together | sum | $11.612903…",
                f"{OFF} | −$11.612903…",
                "Amount | −$11.612903… rounded half up to 2 digits, once, at the end | −$11.61",
            ],
        ),
        (
            {**PERCENT, "b": "100", "w": [[1, "60", 31]], "n": 31, "l": "45"},
            [
                "Percentage | 60 % of $100.00 | $60.00",
                "Limit | no more than is left of the line | $45.00",
                f"{OFF} | −$45.00",
                "Amount | nothing to round | −$45.00",
            ],
        ),
        (
            {**FIXED, "w": [["2026-07-01", "25", "0", "100", WHOLE_BUDGET]]},
            [
                "Fixed amount | $25.00 from 1 Jul 2026 on; at most $100.00 of this line | $25.00",
                f"{OFF} | −$25.00",
                "Amount | nothing to round | −$25.00",
            ],
        ),
        (
            {**FIXED, "w": [["2026-07-15", "13.71", "5", "100", BUDGET], ["2026-08-01", "25", "0", "20"]]},
            [
                "Budget: Flat fee | price of segment 2, for a month | $25.00",
                "Budget: Proration | $25.00 × 17/31: 17 of 31 days of 1 month | $13.709677…",
                "Budget: amount | $13.709677… rounded half up to 2 digits, once, at the end | $13.71",
                "Fixed amount | $13.71 from 15 Jul 2026 on, of which $5.00 is used; at most $100.00 of this line | $8.71",
                "Fixed amount | $25.00 from 1 Aug 2026 on; at most $20.00 of this line | $20.00",
                "All together | sum | $28.71",
                f"{OFF} | −$28.71",
                "Amount | nothing to round | −$28.71",
            ],
        ),
        # what is given back when days of the line are credited
        (
            {**PERCENT, "g": "10", "k": {"b": "48.39", "w": [[1, "10", 15]], "n": 15}},
            [
                "Taken off so far | of the billed line that this one is about | $10.00",
                "Still taken off: Percentage | 10 % of $48.39 | $4.839",
                "Still taken off | $4.839 rounded half up to 2 digits, once, at the end | $4.84",
                "Given back | $10.00 − $4.84 | $5.16",
                "Amount | nothing to round | $5.16",
            ],
        ),
        (
            {**FIXED, "g": "7.5", "k": {"f": ["7.5", "48.39", "100"]}, "w": [["2026-01-01", "3.87"]]},
            [
                "Taken off so far | of the billed line that this one is about | $7.50",
                "Still taken off: Share | $7.50 × $48.39 ÷ $100.00: in proportion to the line | $3.62925",
                "Still taken off | $3.62925 rounded half up to 2 digits, once, at the end | $3.63",
                "Given back | $7.50 − $3.63; may be used again: $3.87 from 1 Jan 2026 on | $3.87",
                "Amount | nothing to round | $3.87",
            ],
        ),
        (
            {**PERCENT, "g": "10"},
            [
                "Taken off so far | of the billed line that this one is about | $10.00",
                "Given back | all of it | $10.00",
                "Amount | nothing to round | $10.00",
            ],
        ),
    ],
)
def test_discounts_in_words(derivation, words):
    assert told(derivation) == words


def test_yen_have_no_digits_and_other_languages_put_the_currency_last():
    assert told({**FLAT, "p": "1000", "f": [1, 12], "r": 0}, "JPY")[-2:] == [
        "Billing period | ¥1,000 ÷ 12: billed is a month, the price is for a year | ¥83.333333…",
        "Amount | ¥83.333333… rounded half up to whole numbers, once, at the end | ¥83",
    ]
    with translation.override("de"):
        steps = explain(
            InvoiceItem(amount=Decimal("8.33"), derivation={"v": 1, "s": 1, "r": 2, **FLAT, "f": [1, 12]}),
            currency="EUR",
        )
    assert [step.result.replace("\xa0", " ") for step in steps] == ["100,00 €", "8,333333… €", "8,33 €"]
