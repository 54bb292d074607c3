"""Ten years of a company in the real database: no day is billed twice or forgotten, and the money is the oracle's to the cent.

Two hundred subscriptions begin around month ends and on 29 February, are changed, suspended, renewed and canceled by
orders, and are billed on days with others left out; drafts are posted, canceled or left.

    28 Jan 2024                                                               31 Jan 2034
    |  sold for a year  |                                                          |
    |   ^  ^^ ^  ^  ^ ^ | ^  ^   orders, some of them dated back or ahead  ^    ^  |
    |  |  | ||  |  |   | |  |  |   runs   |   | |  |  |   |   |  |   |   |  |    | |
                        A          A          A           A         A    audits
"""

import os
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from django.core.management import call_command

from billing.core.types import PartialMonths, ProrationUnit
from billing.models import BillingRules, OrderActionType
from billing.queries import current_rules
from invoicing.bill_run.verify import audit
from invoicing.models import InvoiceItem
from tests.factories import user
from tests.simulation.books import sold
from tests.simulation.business import Business, business_days
from tests.simulation.catalogue import customers, offers
from tests.simulation.comparison import differences

# More subscriptions, or fewer days from one run to the next, make a longer night of it; another seed makes another decade.
SUBSCRIPTIONS = int(os.environ.get("DECADE_SUBSCRIPTIONS", "200"))
LONGEST_BREAK = int(os.environ.get("DECADE_LONGEST_BREAK", "60"))
SEED = os.environ.get("DECADE_SEED", "1")

FIRST, LAST = date(2024, 1, 28), date(2034, 1, 31)
SETTLED = LAST + timedelta(days=1)
START_DAYS = (
    date(2024, 1, 31),
    date(2024, 2, 29),
    date(2024, 3, 30),
    date(2024, 4, 30),
    date(2024, 5, 28),
    date(2024, 8, 29),
)

RULES: dict[str, dict[str, Any]] = {
    "by months, up to the end of the term": {},
    "by days, beyond the end of the term, partial months left out": {
        "proration_unit": ProrationUnit.DAY,
        "partial_months": PartialMonths.SKIP,
        "bill_partial_weeks": False,
        "credit_one_time": True,
        "bill_past_term_end": True,
        "bill_to_term_end_when_auto_renew": False,
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("rules", RULES)
def test_ten_years_in_the_database_leave_no_gap_no_overlap_and_no_cent(rules, superuser_connection, record_property):
    superuser_connection.execute("VACUUM ANALYZE")
    BillingRules.objects.update(**RULES[rules])
    source = Random(f"{SEED} {rules}")
    count = SUBSCRIPTIONS // len(RULES)
    # What is billed beyond the end of a term depends on which terms there were by then, if the terms make the periods.
    by_terms = current_rules().bill_to_term_end_when_auto_renew
    offered = offers(source, 25, by_terms=by_terms)
    business = Business(source, LAST, customers(source, max(count // 4, 1)), offered, user("approver").pk)
    year = FIRST.year
    for today in business_days(source, FIRST, LAST, longest=LONGEST_BREAK):
        if today.year > year:
            year = today.year
            # As autovacuum would.
            superuser_connection.execute("VACUUM ANALYZE")
            assert audit() == []
        sell_some(business, today, count)
        for _ in range(max(count // 25, 1)):
            business.amend(today)
        business.settle_drafts(business.bill(today))
    business.bill(SETTLED)
    call_command("audit")
    charges = sold(account.pk for account in business.accounts)
    assert differences(charges, current_rules(), SETTLED, business.figures) == []
    business.figures["lines"] = InvoiceItem.objects.count()
    print(f"{rules}: {dict(sorted(business.figures.items()))}")
    record_property("figures", dict(business.figures))
    if SUBSCRIPTIONS >= 200:
        # Nothing sold here waits for a trigger date; tests/billing/test_trigger_dates.py is about those.
        ordered = {*OrderActionType.values} - {OrderActionType.SET_TRIGGER_DATES}
        missing = {*ordered, "runs posted", "runs canceled", "drafts canceled", "discounted items"}
        assert missing - business.figures.keys() == set()
        assert business.figures["items credited"] > 50


def sell_some(business: Business, today: date, count: int) -> None:
    """Sell what the first year has to sell by today, from month ends and leap days on more often than not by chance."""
    wanted = min(count, count * (today - FIRST).days // 365 + 3)
    while business.figures["CreateSubscription"] < wanted:
        start = business.source.choice((*START_DAYS, today + timedelta(days=business.source.randint(-20, 20))))
        business.sell(today, min(max(start, today - timedelta(days=60)), today + timedelta(days=60)))
