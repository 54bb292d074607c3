"""Whom a change of a billing rule concerns: which charges it prices otherwise, counted in the database."""

from datetime import date
from typing import Any, NamedTuple

from django.db.models import Count, Exists, F, OuterRef, Q

from accounts.models import Account
from billing.core.types import BillingPeriod, BillingTiming, ChargeModel, ChargeType, RatingGroup, RecurringStyle
from billing.models import ChargeSegment, RatePlanCharge, SubscriptionStatus
from billing.models.subscriptions import TermType

# Subscriptions in these states are not billed, whatever the rules say.
NOT_BILLED = (SubscriptionStatus.DRAFT, SubscriptionStatus.EXPIRED)
RECURRING = Q(charge_type=ChargeType.RECURRING)
ONE_MONTH = Q(billing_period=BillingPeriod.MONTH) | Q(billing_period=BillingPeriod.SPECIFIC_MONTHS, period_length=1)
WEEKS = Q(billing_period__in=[BillingPeriod.WEEK, BillingPeriod.SPECIFIC_WEEKS])
# Weeks, days and whole terms are never counted in months.
NO_MONTHS = WEEKS | Q(billing_period__in=[BillingPeriod.SPECIFIC_DAYS, BillingPeriod.SUBSCRIPTION_TERM])
TERMED = Q(subscription__term_type=TermType.TERMED)

USAGE = Q(charge_type=ChargeType.USAGE)
COUNTED_TOGETHER = USAGE & ~Q(rating_group=RatingGroup.RECORD) & ~Q(charge_model=ChargeModel.FLAT_FEE)
OF_PARENTS = (
    "usage charges of accounts that have child accounts",
    USAGE & Q(Exists(Account.objects.filter(parent=OuterRef("subscription__account")))),
)

CONCERNED: dict[str, tuple[str, Q]] = {
    "prorate_partial_periods": ("recurring charges", RECURRING),
    "partial_months": ("monthly charges", RECURRING & ONE_MONTH),
    "bill_partial_weeks": ("weekly charges", RECURRING & WEEKS),
    "days_in_month": ("charges billed by months", RECURRING & ~NO_MONTHS),
    "proration_unit": ("charges billed by several months at a time", RECURRING & ~NO_MONTHS & ~ONE_MONTH),
    "credit_one_time": ("one-time charges", Q(charge_type=ChargeType.ONE_TIME)),
    "bill_past_term_end": (
        "recurring charges of termed subscriptions without automatic renewal",
        RECURRING & TERMED & Q(subscription__auto_renew=False),
    ),
    "bill_to_term_end_when_auto_renew": (
        "recurring charges of termed subscriptions with automatic renewal",
        RECURRING & TERMED & Q(subscription__auto_renew=True),
    ),
    "bill_usage_partial_months": ("usage charges billed monthly or by weeks", USAGE & (ONE_MONTH | WEEKS)),
    "rate_usage_individually": ("usage charges that count records together", COUNTED_TOGETHER),
    "customer_hierarchy": OF_PARENTS,
    "include_child_usage": OF_PARENTS,
    "auto_renew_default": (
        "charges of termed subscriptions with automatic renewal",
        TERMED & Q(subscription__auto_renew=True),
    ),
}


class Concern(NamedTuple):
    """How many active charges of how many invoiced accounts a change concerns, and what they have in common."""

    charges: int
    accounts: int
    who: str


def concern_of(rule: str, before: Any, after: Any, *, today: date) -> Concern | None:
    """Count, in one query, the charges that a changed rule prices otherwise; None where a rule prices nothing.

    A charge is active while one of its segments has days from `today` on.
    """
    found = _differing(str(before), str(after)) if rule == "recurring_style" else CONCERNED.get(rule)
    if found is None:
        return None
    who, condition = found
    open_segments = ChargeSegment.objects.filter(
        Q(effective_end__isnull=True) | (Q(effective_end__gt=today) & Q(effective_end__gt=F("effective_start"))),
        charge=OuterRef("pk"),
    )
    charges = RatePlanCharge.objects.filter(condition, Exists(open_segments)).exclude(
        subscription__status__in=NOT_BILLED
    )
    counted = charges.aggregate(charges=Count("pk"), accounts=Count("subscription__invoice_owner_id", distinct=True))
    return Concern(counted["charges"], counted["accounts"], who)


def _differing(before: str, after: str) -> tuple[str, Q]:
    """Return which charges one recurring style bills at another time than the other does."""
    styles = {before, after}
    if styles == {RecurringStyle.RATE_PLAN.value, RecurringStyle.IN_ADVANCE.value}:
        return "charges sold in arrears", RECURRING & Q(billing_timing=BillingTiming.IN_ARREARS)
    if styles == {RecurringStyle.RATE_PLAN.value, RecurringStyle.IN_ARREARS.value}:
        return "charges sold in advance", RECURRING & Q(billing_timing=BillingTiming.IN_ADVANCE)
    return "recurring charges", RECURRING
