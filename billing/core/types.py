"""The values that pricing takes and returns: plain tuples without database, clock or settings.

Everything that exists once per line is a NamedTuple (cheap to make by the hundred thousand). Money is
`Decimal` in the account's currency; dates are half-open `[start, end)`; `end=None` means open-ended.
The enumerations are those of domain.md 2.1.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class ChargeType(StrEnum):
    ONE_TIME = "OneTime"
    RECURRING = "Recurring"
    USAGE = "Usage"


class ChargeModel(StrEnum):
    FLAT_FEE = "FlatFee"
    PER_UNIT = "PerUnit"
    TIERED = "Tiered"
    VOLUME = "Volume"
    OVERAGE = "Overage"
    TIERED_WITH_OVERAGE = "TieredWithOverage"
    DISCOUNT_FIXED = "DiscountFixedAmount"
    DISCOUNT_PERCENTAGE = "DiscountPercentage"


class PriceFormat(StrEnum):
    FLAT_FEE = "FlatFee"
    PER_UNIT = "PerUnit"


class BillingTiming(StrEnum):
    IN_ADVANCE = "InAdvance"
    IN_ARREARS = "InArrears"


class BillingPeriod(StrEnum):
    MONTH = "Month"
    QUARTER = "Quarter"
    SEMI_ANNUAL = "SemiAnnual"
    ANNUAL = "Annual"
    EIGHTEEN_MONTHS = "EighteenMonths"
    TWO_YEARS = "TwoYears"
    THREE_YEARS = "ThreeYears"
    FIVE_YEARS = "FiveYears"
    SPECIFIC_MONTHS = "SpecificMonths"
    SUBSCRIPTION_TERM = "SubscriptionTerm"
    WEEK = "Week"
    SPECIFIC_WEEKS = "SpecificWeeks"
    SPECIFIC_DAYS = "SpecificDays"


class ListPriceBase(StrEnum):
    PER_BILLING_PERIOD = "PerBillingPeriod"
    PER_MONTH = "PerMonth"
    PER_YEAR = "PerYear"
    PER_WEEK = "PerWeek"
    PER_SPECIFIC_MONTHS = "PerSpecificMonths"


class BillingDayType(StrEnum):
    ACCOUNT = "DefaultFromCustomer"
    CHARGE_TRIGGER_DAY = "ChargeTriggerDay"
    SPECIFIC_DAY_OF_MONTH = "SpecificDayOfMonth"
    SUBSCRIPTION_START_DAY = "SubscriptionStartDay"
    SPECIFIC_DAY_OF_WEEK = "SpecificDayOfWeek"
    TERM_START_DAY = "TermStartDay"
    TERM_END_DAY = "TermEndDay"


class Alignment(StrEnum):
    CHARGE = "AlignToCharge"
    SUBSCRIPTION_START = "AlignToSubscriptionStart"
    TERM_START = "AlignToTermStart"
    TERM_END = "AlignToTermEnd"


class DaysInMonth(StrEnum):
    ACTUAL = "UseActualDays"
    ASSUME_30 = "Assume30Days"
    ASSUME_30_STRICT = "Assume30DaysStrict"


class ProrationUnit(StrEnum):
    MONTH_FIRST = "ProrateByMonthFirst"
    DAY = "ProrateByDay"


class PartialMonths(StrEnum):
    """What becomes of the partial first month of a monthly charge; a partial month at the end is always billed."""

    PRORATE = "Prorate"
    BILL_FULL = "BillFull"
    SKIP = "Skip"


class RecurringStyle(StrEnum):
    """Whether recurring charges are billed in advance or in arrears, or each as its rate plan says."""

    IN_ADVANCE = "Advanced"
    IN_ARREARS = "Arrears"
    RATE_PLAN = "DependsOnRatePlan"


class DiscountLevel(StrEnum):
    """Which lines a discount reduces: those of its rate plan, of its subscription, or of the whole account."""

    RATE_PLAN = "RatePlan"
    SUBSCRIPTION = "Subscription"
    ACCOUNT = "Account"


class RatingGroup(StrEnum):
    """Which usage of a billing period is counted together before it is priced (domain.md 6.4)."""

    BILLING_PERIOD = "ByBillingPeriod"
    START_DATE = "ByUsageStartDate"
    RECORD = "ByUsageRecord"
    UPLOAD = "ByUsageUpload"


class UsageRating(StrEnum):
    """When usage is billed: once its period is over, or by every run, what was used since the one before."""

    END_OF_PERIOD = "EndOfBillingPeriod"
    ON_DEMAND = "OnDemand"


class LineKind(StrEnum):
    RECURRING = "Recurring"
    ONE_TIME = "OneTime"
    USAGE = "Usage"
    CREDIT = "Credit"
    DISCOUNT = "Discount"


class Period(NamedTuple):
    """Days from `start` up to but not including `end`."""

    start: date
    end: date


class Currency(NamedTuple):
    """An ISO currency and the number of decimal digits its amounts are rounded to (JPY 0, USD 2)."""

    code: str
    digits: int


class Tier(NamedTuple):
    """Units above the previous tier's `up_to` and up to and including this one's; None is without limit."""

    up_to: Decimal | None
    price: Decimal
    price_format: PriceFormat


class Rules(NamedTuple):
    """The tenant's billing rules, as far as pricing needs them (domain.md 3.3).

    `credit_one_time`: a one-time charge that is removed after it was billed is credited. `bill_past_term_end`: while
    the term still runs, its last period is billed whole although the term ends within it (auto-renew off).
    `bill_to_term_end_when_auto_renew`: with auto-renew on, the last period of a term is cut at the term's end.
    `bill_usage_partial_months`: off, usage of a charge's partial first month (or week) costs nothing.
    `rate_usage_individually`: each usage record is rounded and priced by itself.
    """

    days_in_month: DaysInMonth = DaysInMonth.ACTUAL
    proration_unit: ProrationUnit = ProrationUnit.MONTH_FIRST
    prorate_partial_periods: bool = True
    partial_months: PartialMonths = PartialMonths.PRORATE
    bill_partial_weeks: bool = True
    credit_one_time: bool = False
    recurring_style: RecurringStyle = RecurringStyle.RATE_PLAN
    bill_past_term_end: bool = False
    bill_to_term_end_when_auto_renew: bool = True
    bill_usage_partial_months: bool = True
    rate_usage_individually: bool = False


class ChargeTerms(NamedTuple):
    """How a charge is billed; many charges share one value, so it is made once and cached.

    `period_length` is the number of months, weeks or days of a “specific” billing period, `price_base_months` that of
    the list price base “per specific months”, `billing_day` the day of the month (1…31) or of the week (1 Monday … 7
    Sunday) of a “specific” billing day; 0 where they play no part.
    """

    charge_type: ChargeType
    charge_model: ChargeModel
    billing_timing: BillingTiming
    billing_period: BillingPeriod | None
    list_price_base: ListPriceBase
    billing_day_type: BillingDayType
    alignment: Alignment
    period_length: int = 0
    price_base_months: int = 0
    billing_day: int = 0


class Term(NamedTuple):
    """One term of a subscription, `[start, end)`; an evergreen subscription has a single one without end."""

    start: date
    end: date | None


class Billed(NamedTuple):
    """Days that are covered by an item although the segment that priced them no longer has them: a credit is due.

    `period` are the days covered now, `item_period` those the item was written for, `amount` what is billed for
    `period` at present: the item's amount less what has been credited of it.
    """

    item_id: int
    segment_number: int
    period: Period
    item_period: Period
    amount: Decimal
    kind: LineKind


class Segment(NamedTuple):
    """A stretch of a charge's life with one price and quantity; amendments open a new one.

    `price` serves flat fee, per unit and overage, `tiers` the tiered models; prices are per list price base. Of overage,
    `quantity` is the units included; the last tier of tiered with overage is the overage. `credit_rate` is what a unit
    that a smoothed charge left unused is credited with.
    """

    segment_id: int
    number: int
    start: date
    end: date | None
    quantity: Decimal | None
    price: Decimal | None
    tiers: tuple[Tier, ...] = ()
    credit_rate: Decimal | None = None


class Charge(NamedTuple):
    """One rate plan charge as the bill run sees it.

    `billed_through` is the end of what is already covered (exclusive) or None when nothing is.
    `trigger_date` is None while the triggering event has no date yet: such a charge is not due.
    `term_end` is the end of the subscription's current term (None: evergreen). `subscription_terms` holds all its
    terms, oldest first, where billing period, billing day or alignment ask for them; it is empty otherwise. `billed` holds what may
    have to be credited, oldest first.
    """

    charge_id: int
    number: str
    name: str
    subscription_id: int
    subscription_start: date
    invoice_separately: bool
    trigger_date: date | None
    billed_through: date | None
    terms: ChargeTerms
    segments: tuple[Segment, ...]
    rate_plan_id: int = 0
    term_end: date | None = None
    auto_renew: bool = False
    subscription_terms: tuple[Term, ...] = ()
    billed: tuple[Billed, ...] = ()


class Account(NamedTuple):
    """The invoice owner with the attributes that group its invoices."""

    account_id: int
    number: str
    currency: Currency
    bill_cycle_day: int
    bill_to_id: int | None
    payment_term_id: int | None
    template_id: int | None
    sequence_id: int | None


class RatedKind(StrEnum):
    """How a rated period came about: `LATE` is usage of days that were rated before."""

    PERIOD = "Period"
    LATE = "Late"


class Rated(NamedTuple):
    """Usage of a charge that a run has priced: its days, and what was counted in them for the first time.

    `counted_from` is the day since which the price counts usage: that of the period, or where rating is on demand the
    beginning of the billing period. `quantity` and `amount` are what it adds to the rounded usage and to the price of its
    days, the amount in the account's currency. `state` is what the smoothing of the next period needs, as JSON text, else empty.
    `slices` are those that are Processed by it.
    """

    charge_id: int
    kind: RatedKind
    period: Period
    counted_from: date
    quantity: Decimal
    amount: Decimal
    state: str
    slices: tuple[int, ...]


class Line(NamedTuple):
    """One priced invoice line.

    `amount` is rounded once to the account's currency. `derivation` is compact JSON text emitted by the
    computation that priced the line; re-adding it gives `amount` (D15). A credit names in `credits_item` the item
    whose days it gives back; a discount names in `reduces` the charge, period and kind of the line that it
    reduces. A usage line comes with the `rated` period it bills.
    """

    charge_id: int
    subscription_id: int
    segment_id: int
    kind: LineKind
    description: str
    period: Period
    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal
    derivation: str
    invoice_separately: bool
    charge_number: str = ""
    rate_plan_id: int = 0
    segment_number: int = 0
    credits_item: int | None = None
    reduces: tuple[int, Period, LineKind] | None = None
    rated: Rated | None = None


class Problem(NamedTuple):
    """Why an account cannot be billed: data, not an exception, so that others go on (I13, I15)."""

    code: str
    subject: str
    message: str
    hint: str


class Pricing(NamedTuple):
    """What `price` returns: all lines of one account, or the problems that forbid billing it.

    `rated` are the periods whose usage was priced, those without a line included.
    """

    lines: list[Line]
    problems: list[Problem]
    rated: Sequence[Rated] = ()


class GroupingKey(NamedTuple):
    """Everything that keeps two lines apart; `subscription_id` only where that subscription is invoiced separately."""

    account_id: int
    currency: str
    bill_to_id: int | None
    payment_term_id: int | None
    template_id: int | None
    sequence_id: int | None
    subscription_id: int | None
    group_value: str


class Draft(NamedTuple):
    """The lines that belong on one invoice, with the key that put them there."""

    key: GroupingKey
    lines: list[Line]
