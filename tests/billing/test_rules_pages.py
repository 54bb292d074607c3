"""The page of billing rules: examples that follow the choice, a change that says whom it concerns, and its history."""

import json
import re
import uuid
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.forms.rules import RULES
from billing.models import BillingRules, ChargeSegment, Subscription
from tests.factories import acme as make_acme
from tests.factories import globex as make_globex
from tests.factories import monthly, once, plan, subscribe, team_plan, used, user

pytestmark = pytest.mark.django_db

PAGE = "/billing/billingrules/1/change/"
EXAMPLES = "/billing/billingrules/examples/"
HTMX = {"HX-Request": "true"}
QUERIES = 12


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


@pytest.fixture
def ada(client):
    """Ada administers; `ada` is her browser."""
    client.force_login(user("admin"))
    return client


def sent(**changes):
    """Return what the form sends: the rules as stored, but for `changes`."""
    rules = BillingRules.objects.get()
    values = {"request_key": str(uuid.uuid4())} | {name: str(getattr(rules, name)) for name in RULES}
    return values | changes


def words(response, status=200):
    """Return what a page says, without its tags and line breaks."""
    assert response.status_code == status, response.content[:2000]
    return " ".join(unescape(re.sub("<[^>]+>", " ", response.content.decode())).split())


# Examples ------------------------------------------------------------------------------------------------------------


def test_each_rule_has_choices_an_effect_and_an_example(ada):
    response = ada.get(PAGE)
    page = response.content.decode()
    for name in RULES:
        assert page.count(f'name="{name}"') >= 2
        assert f'id="example-{name}"' in page
    assert page.count('class="facts sums"') >= len(RULES)
    assert page.count('id="id_days_in_month_helptext"') == 1
    assert "16 Jan – 31 Mar 2018 2 months + 16 of 31 days $251.61" in words(response)


def test_a_choice_changes_the_examples_and_nothing_else(ada):
    for choice, amount in (
        ("UseActualDays", "$251.61"),
        ("Assume30Days", "$253.33"),
        ("Assume30DaysStrict", "$250.00"),
    ):
        response = ada.get(EXAMPLES, sent(days_in_month=choice), headers=HTMX)
        page = response.content.decode()
        begin = page.index('id="example-days_in_month"')
        example = page[begin : page.index("</dl>", begin)]
        assert amount in example
        assert page.count("hx-swap-oob") == len(RULES) + 1
    assert BillingRules.objects.get().days_in_month == "UseActualDays"


def test_an_unknown_choice_leaves_the_example_as_it_was(ada):
    page = words(ada.get(EXAMPLES, sent(days_in_month="Lunar", partial_months="Skip"), headers=HTMX))
    assert "$251.61" in page
    assert "1 Jan – 14 Jan 2018 not billed $0.00" in page


def test_without_scripts_a_button_shows_the_examples(ada):
    response = ada.post(PAGE, sent(days_in_month="Assume30Days", examples="1"))
    assert "2 months + 16 of 30 days $253.33" in words(response)
    assert 'value="Assume30Days" id="id_days_in_month_1" required checked' in response.content.decode()
    assert BillingRules.objects.get().days_in_month == "UseActualDays"
    assert ada.get(EXAMPLES).url == PAGE


# A change ------------------------------------------------------------------------------------------------------------


def test_a_change_is_asked_about_in_words_with_whom_it_concerns(ada):
    acme, globex = make_acme(), make_globex()
    subscribe(acme, plan("Both", monthly(), monthly("Storage"), once()), "2026-07-01")
    subscribe(globex, team_plan(), "2026-07-01")
    page = words(ada.post(PAGE, sent(partial_months="Skip", credit_one_time="True")))
    assert "The first partial month of a monthly charge is" in page
    assert "from Like other partial periods → to Not billed: billing begins on the next billing day" in page
    assert "Concerns 3 active charges of 2 accounts: all monthly charges." in page
    assert "from Stays billed → to Is credited in full" in page
    assert "Concerns 2 active charges of 2 accounts: all one-time charges." in page
    assert "What is billed stays as it is" in page
    assert "from the next bill run on" in page
    assert "Reason Why the rules change." in page
    assert BillingRules.objects.get().partial_months == "Prorate"
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("change", "who", "charges"),
    [
        ({"prorate_partial_periods": "False"}, "recurring charges", 6),
        ({"partial_months": "BillFull"}, "monthly charges", 3),
        ({"bill_partial_weeks": "False"}, "weekly charges", 1),
        ({"days_in_month": "Assume30Days"}, "charges billed by months", 5),
        ({"proration_unit": "ProrateByDay"}, "charges billed by several months at a time", 2),
        ({"credit_one_time": "True"}, "one-time charges", 1),
        ({"recurring_style": "Advanced"}, "charges sold in arrears", 2),
        ({"recurring_style": "Arrears"}, "charges sold in advance", 4),
        ({"bill_past_term_end": "True"}, "recurring charges of termed subscriptions without automatic renewal", 2),
        (
            {"bill_to_term_end_when_auto_renew": "False"},
            "recurring charges of termed subscriptions with automatic renewal",
            1,
        ),
        ({"auto_renew_default": "False"}, "charges of termed subscriptions with automatic renewal", 1),
    ],
)
def test_each_rule_counts_the_charges_it_prices_otherwise(ada, change, who, charges):
    acme = make_acme()
    subscribe(acme, plan("Monthly", monthly(), once()), "2026-07-01")
    subscribe(
        acme,
        plan("Weekly", monthly("Cleaning", billing_period="Week", billing_day_type="ChargeTriggerDay")),
        "2026-07-01",
    )
    subscribe(
        acme,
        plan(
            "Longer",
            monthly("Support", billing_period="Quarter", billing_timing="InArrears"),
            monthly("Licence", billing_period="Annual"),
        ),
        "2026-07-01",
        term_months=12,
    )
    subscribe(acme, plan("Renewed", monthly("Storage")), "2026-07-01", term_months=12, auto_renew=True)
    ended = subscribe(acme, plan("Ended", monthly("Old fee")), "2026-07-01")
    ChargeSegment.objects.filter(charge__subscription=ended).update(effective_end="2026-07-15")
    later = subscribe(acme, plan("Later", monthly("Later fee", billing_timing="InArrears")), "2026-07-01")
    ChargeSegment.objects.filter(charge__subscription=later).update(effective_end="2026-07-16")
    # Replaced on its first day, in a month's time: it never has a day.
    gone = subscribe(acme, plan("Gone", monthly("Gone fee")), "2026-07-01")
    ChargeSegment.objects.filter(charge__subscription=gone).update(
        effective_start="2026-08-15", effective_end="2026-08-15"
    )
    draft = subscribe(acme, plan("Draft", monthly("Draft fee")), "2026-07-01")
    Subscription.objects.filter(pk=draft.pk).update(status="Draft")
    page = words(ada.post(PAGE, sent(**change)))
    plural = "charge" if charges == 1 else "charges"
    assert f"Concerns {charges} active {plural} of 1 account: all {who}." in page


@pytest.mark.parametrize(
    ("change", "who", "charges"),
    [
        ({"bill_usage_partial_months": "False"}, "usage charges billed monthly or by weeks", 4),
        ({"rate_usage_individually": "True"}, "usage charges that count records together", 3),
        ({"customer_hierarchy": "True"}, "usage charges of accounts that have child accounts", 4),
        (
            {"customer_hierarchy": "True", "include_child_usage": "True"},
            "usage charges of accounts that have child accounts",
            4,
        ),
    ],
)
def test_each_rule_of_usage_counts_the_charges_it_rates_otherwise(ada, change, who, charges):
    parent = make_acme()
    make_globex(parent=parent, currency="USD")
    metered = plan(
        "Metered",
        monthly(),
        used("Storage"),
        used("Mails", rating_group="ByUsageRecord"),
        used("Base", charge_model="FlatFee"),
        used("Traffic", billing_period="Quarter"),
    )
    subscribe(parent, metered, "2026-07-01")
    subscribe(make_acme(), plan("Alone", used("Calls")), "2026-07-01")
    page = words(ada.post(PAGE, sent(**change)))
    accounts = "1 account" if "child" in who else "2 accounts"
    assert f"Concerns {charges} active charges of {accounts}: all {who}." in page


def test_child_usage_needs_accounts_to_be_taken_together(ada):
    response = ada.post(PAGE, sent(include_child_usage="True"))
    assert "Child usage is counted only where accounts with a parent" in words(response, 422)
    assert not BillingRules.objects.get().include_child_usage
    both = sent(include_child_usage="True", customer_hierarchy="True", confirmed="1", fix_reason="Groups of hotels")
    assert ada.post(PAGE, both).url == PAGE
    rules = BillingRules.objects.get()
    assert (rules.customer_hierarchy, rules.include_child_usage) == (True, True)
    assert "need your attention" in words(ada.post(PAGE, sent(customer_hierarchy="False")), 422).replace(
        "needs", "need"
    )


def test_from_all_in_advance_to_all_in_arrears_concerns_every_recurring_charge(ada):
    subscribe(make_acme(), plan("Both", monthly(), monthly("Later", billing_timing="InArrears")), "2026-07-01")
    BillingRules.objects.update(recurring_style="Advanced")
    page = words(ada.post(PAGE, sent(recurring_style="Arrears")))
    assert "Concerns 2 active charges of 1 account: all recurring charges." in page


def test_a_rule_that_prices_nothing_says_so(ada):
    page = words(ada.post(PAGE, sent(allow_auto_post="False", bill_partial_weeks="False")))
    assert "Concerns the form of new bill runs. No charge is billed otherwise." in page
    assert "Concerns no active charge at present: there are no active weekly charges." in page


def test_a_confirmed_change_is_saved_once_and_kept_in_the_history(ada):
    form = sent(days_in_month="Assume30Days", bill_past_term_end="True", confirmed="1", fix_reason="New terms of 2026")
    assert ada.post(PAGE, form).url == PAGE
    assert ada.post(PAGE, form).url == PAGE
    rules = BillingRules.objects.get()
    assert (rules.days_in_month, rules.bill_past_term_end, rules.proration_unit) == (
        "Assume30Days",
        True,
        "ProrateByMonthFirst",
    )
    (entry,) = LogEntry.objects.all()
    assert json.loads(entry.change_message)[-1] == {
        "reason": "New terms of 2026",
        "values": {"days_in_month": ["UseActualDays", "Assume30Days"], "bill_past_term_end": ["False", "True"]},
    }
    assert "They hold from the next bill run on." in words(ada.get(PAGE))
    history = words(ada.get("/billing/billingrules/1/history/"))
    assert "New terms of 2026" in history
    assert "days_in_month: UseActualDays → Assume30Days" in history


def test_a_change_without_a_reason_is_asked_about_again(ada):
    response = ada.post(PAGE, sent(days_in_month="Assume30Days", confirmed="1", fix_reason="  "))
    page = words(response, 422)
    assert "Write down why the rules change. Nothing was saved." in page
    assert "Always 30" in page
    assert BillingRules.objects.get().days_in_month == "UseActualDays"


def test_a_change_on_top_of_somebody_elses_is_refused(ada):
    seen = ada.post(PAGE, sent(days_in_month="Assume30Days")).context["form"]["fix_seen"].value()
    assert not seen
    seen = ada.get(PAGE).context["form"]["fix_seen"].value()
    BillingRules.objects.update(proration_unit="ProrateByDay")
    form = sent(days_in_month="Assume30Days", proration_unit="ProrateByMonthFirst", fix_seen=seen)
    for step in ({}, {"confirmed": "1", "fix_reason": "Mine"}):
        again = form | step | {"request_key": str(uuid.uuid4())}
        assert "Somebody changed this record after you opened it." in words(ada.post(PAGE, again), 422)
    rules = BillingRules.objects.get()
    assert (rules.days_in_month, rules.proration_unit) == ("UseActualDays", "ProrateByDay")


def test_going_back_from_the_question_keeps_what_was_chosen(ada):
    response = ada.post(PAGE, sent(partial_months="Skip", examples="1", fix_reason=""))
    assert 'value="Skip" id="id_partial_months_2" required checked' in response.content.decode()
    assert "need your attention" not in words(response)


def test_nothing_chosen_otherwise_changes_nothing(ada):
    assert ada.post(PAGE, sent()).url == PAGE
    assert "Nothing was changed." in words(ada.get(PAGE))
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("days_in_month", "Lunar"), ("credit_one_time", "maybe"), ("recurring_style", "")]
)
def test_a_choice_that_does_not_exist_is_refused_at_its_rule(ada, name, value):
    response = ada.post(PAGE, sent(**{name: value}))
    assert "One field needs your attention. Nothing was saved." in words(response, 422)
    assert list(response.context["form"].errors) == [name]


# Who may -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
def test_others_read_the_rules_with_their_examples(client, role):
    client.force_login(user(role))
    response = client.get(PAGE)
    page = response.content.decode()
    assert "$251.61" in page
    assert "As many as it has" in words(response)
    assert 'type="radio"' not in page
    assert "Review the change" not in page
    refused = client.post(PAGE, sent(days_in_month="Assume30Days", confirmed="1", fix_reason="Mine"))
    assert refused.status_code == 403
    assert BillingRules.objects.get().days_in_month == "UseActualDays"


def test_there_is_no_other_set_of_rules(ada):
    assert ada.get("/billing/billingrules/").url == PAGE
    assert ada.get("/billing/billingrules/2/change/").status_code == 404


# Budgets -------------------------------------------------------------------------------------------------------------


def test_the_page_stays_in_its_budget(ada, django_assert_max_num_queries):
    with django_assert_max_num_queries(QUERIES):
        ada.get(PAGE)
    with django_assert_max_num_queries(QUERIES):
        ada.get(EXAMPLES, sent(), headers=HTMX)


def test_whom_a_change_concerns_takes_one_query_a_rule(ada):
    def queries(**changes):
        form = sent(**changes)
        with CaptureQueriesContext(connection) as found:
            ada.post(PAGE, form)
        return len(found)

    one = queries(days_in_month="Assume30Days")
    assert one <= QUERIES + 5
    assert queries(days_in_month="Assume30Days", credit_one_time="True", partial_months="Skip") == one + 2
    assert queries(days_in_month="Assume30Days", allow_auto_post="False") == one
