"""The values that pricing takes and returns: plain tuples without database, clock or settings.

Everything that exists once per line is a NamedTuple (cheap to make by the hundred thousand). Money is
`Decimal` in the account's currency; dates are half-open `[start, end)`; `end=None` means open-ended.
The enumerations are those of domain.md 2.1.
"""

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


class ListPriceBase(StrEnum):
    PER_BILLING_PERIOD = "PerBillingPeriod"
    PER_MONTH = "PerMonth"
    PER_YEAR = "PerYear"


class BillingDayType(StrEnum):
    ACCOUNT = "DefaultFromCustomer"
    CHARGE_TRIGGER_DAY = "ChargeTriggerDay"


class Alignment(StrEnum):
    CHARGE = "AlignToCharge"
    SUBSCRIPTION_START = "AlignToSubscriptionStart"


class DaysInMonth(StrEnum):
    ACTUAL = "UseActualDays"


class ProrationUnit(StrEnum):
    MONTH_FIRST = "ProrateByMonthFirst"


class LineKind(StrEnum):
    RECURRING = "Recurring"
    ONE_TIME = "OneTime"


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
    """The tenant's billing rules, as far as pricing needs them."""

    days_in_month: DaysInMonth = DaysInMonth.ACTUAL
    proration_unit: ProrationUnit = ProrationUnit.MONTH_FIRST
    prorate_partial_periods: bool = True


class ChargeTerms(NamedTuple):
    """How a charge is billed; many charges share one value, so it is made once and cached."""

    charge_type: ChargeType
    charge_model: ChargeModel
    billing_timing: BillingTiming
    billing_period: BillingPeriod | None
    list_price_base: ListPriceBase
    billing_day_type: BillingDayType
    alignment: Alignment


class Segment(NamedTuple):
    """A stretch of a charge's life with one price and quantity; amendments open a new one.

    `price` serves flat fee and per unit, `tiers` the tiered models; prices are per list price base.
    """

    segment_id: int
    number: int
    start: date
    end: date | None
    quantity: Decimal | None
    price: Decimal | None
    tiers: tuple[Tier, ...] = ()


class Charge(NamedTuple):
    """One rate plan charge as the bill run sees it.

    `billed_through` is the end of what is already covered (exclusive) or None when nothing is.
    `trigger_date` is None while the triggering event has no date yet: such a charge is not due.
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


class Line(NamedTuple):
    """One priced invoice line.

    `amount` is rounded once to the account's currency. `derivation` is compact JSON text emitted by the
    computation that priced the line; re-adding it gives `amount` (D15).
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


class Problem(NamedTuple):
    """Why an account cannot be billed: data, not an exception, so that others go on (I13, I15)."""

    code: str
    subject: str
    message: str
    hint: str


class Pricing(NamedTuple):
    """What `price` returns: all lines of one account, or the problems that forbid billing it."""

    lines: list[Line]
    problems: list[Problem]


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
