"""What an order asks for, as plain values, and how it is told what is wrong with it."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

from accounts.models import Account
from billing.core.types import Tier
from billing.models import ProductRatePlan, ProductRatePlanCharge, RatePlan, RatePlanCharge, Subscription, TermType

MAX_TERM_MONTHS = 600
MAX_ACTIONS = 10_000
MAX_PROBLEMS = 20  # of two thousand subscriptions with the same mistake nobody reads more


class CancelWhen(StrEnum):
    """How the day of a cancellation was chosen; the last of these needs to know what is billed, so the caller does."""

    SPECIFIC_DATE = "SpecificDate"
    END_OF_TERM = "EndOfCurrentTerm"
    END_OF_BILLED = "EndOfLastInvoicePeriod"


class ChargeChoice(NamedTuple):
    """What an order says about one charge of a plan; None keeps what the catalogue says.

    `price` is per list price base in the account's currency (percent for a percentage discount); `trigger_date` serves
    charges that begin on a date of their own, `end_date` (first day no longer charged) those that end on one.
    """

    charge: ProductRatePlanCharge
    quantity: Decimal | None = None
    price: Decimal | None = None
    tiers: tuple[Tier, ...] | None = None
    trigger_date: date | None = None
    end_date: date | None = None


class NewRatePlan(NamedTuple):
    """A rate plan of the catalogue, as it is, or with other prices and quantities for some of its charges."""

    plan: ProductRatePlan
    charges: tuple[ChargeChoice, ...] = ()


class NewSubscription(NamedTuple):
    """A subscription to be created: evergreen, or with a term of `term_months` or up to (not including) `term_end`.

    Charges that wait for service activation or customer acceptance are not due while that date is unknown.
    `renewal_months` is the length of each renewal; None: as long as the first term.
    """

    rate_plans: tuple[NewRatePlan, ...]
    contract_effective: date
    service_activation: date | None = None
    customer_acceptance: date | None = None
    term_months: int | None = None
    term_end: date | None = None
    auto_renew: bool = False
    invoice_owner: Account | None = None
    invoice_separately: bool = False
    name: str = ""
    custom_fields: Mapping[str, Any] = {}
    renewal_months: int | None = None


class CreatedBy(NamedTuple):
    """The subscription that an earlier action of the same order creates; positions count from 1."""

    position: int


Target = Subscription | CreatedBy


class AddProduct(NamedTuple):
    """Add a rate plan to a subscription; charges that begin with the contract begin on `effective_date`.

    Without dates of their own, activation and acceptance are those of the subscription, but never before that day.
    """

    subscription: Target
    rate_plan: NewRatePlan
    effective_date: date
    service_activation: date | None = None
    customer_acceptance: date | None = None


class ChargeChange(NamedTuple):
    """What becomes of a charge; None keeps what it has.

    The charge may be named by the catalogue's charge it was made from, if the subscription has it once.
    """

    charge: RatePlanCharge | ProductRatePlanCharge
    quantity: Decimal | None = None
    price: Decimal | None = None
    tiers: tuple[Tier, ...] | None = None


class UpdateProduct(NamedTuple):
    """Change price, quantity or tiers of charges: each gets a new segment from `effective_date` on."""

    subscription: Target
    charges: tuple[ChargeChange, ...]
    effective_date: date


class RemoveProduct(NamedTuple):
    """Take a rate plan out of a subscription; `effective_date` is the first day without it.

    The plan may be named by the catalogue's plan it was made from, if the subscription has it once.
    """

    subscription: Target
    rate_plan: RatePlan | ProductRatePlan
    effective_date: date


class RenewSubscription(NamedTuple):
    """Let the next term begin where the current one ends; without `months` it is as long as renewals are."""

    subscription: Target
    months: int | None = None


class CancelSubscription(NamedTuple):
    """End a subscription; `effective_date` is the first day not served (not needed at the end of the term)."""

    subscription: Target
    effective_date: date | None = None
    when: CancelWhen = CancelWhen.SPECIFIC_DATE


class Suspend(NamedTuple):
    """Stop serving and charging from `effective_date` on, until it is resumed."""

    subscription: Target
    effective_date: date


class Resume(NamedTuple):
    """Serve and charge again from `effective_date` on; `extend_term` adds the suspended days to the term."""

    subscription: Target
    effective_date: date
    extend_term: bool = False


class SetTriggerDates(NamedTuple):
    """Say when the service was activated or the customer accepted it, or will; None leaves a date as it is.

    Charges that waited for the date begin on it. A date that is known already may still move while none of the charges
    that follow it has been billed.
    """

    subscription: Target
    service_activation: date | None = None
    customer_acceptance: date | None = None


class TermsAndConditions(NamedTuple):
    """Change what was agreed on apart from products; None keeps what it is.

    A termed subscription ends its current term after `term_months` from that term's start, or on `term_end` (first day
    after it). `renewal_months` 0 makes renewals as long as the first term.
    """

    subscription: Target
    effective_date: date
    term_type: TermType | None = None
    term_months: int | None = None
    term_end: date | None = None
    auto_renew: bool | None = None
    renewal_months: int | None = None
    invoice_separately: bool | None = None
    name: str | None = None


Amendment = (
    AddProduct
    | UpdateProduct
    | RemoveProduct
    | RenewSubscription
    | CancelSubscription
    | Suspend
    | Resume
    | SetTriggerDates
    | TermsAndConditions
)
Action = NewSubscription | Amendment


class OrderProblem(NamedTuple):
    """One thing that is wrong with an order: which action (from 1; None: the order itself), which field, in words."""

    position: int | None
    field: str
    message: str


class OrderRefusedError(ValidationError):
    """An order was refused and nothing was written; `problems` has everything that is wrong with it, by action."""

    def __init__(self, by_field: Mapping[str, list[str]], problems: list[OrderProblem]) -> None:
        super().__init__(dict(by_field))
        self.problems = problems


class Problems:
    """What is wrong with an order, by field; each message says which action it is about if there are several."""

    def __init__(self, actions: int) -> None:
        self.found: list[OrderProblem] = []
        self.actions = actions

    @property
    def count(self) -> int:
        return len(self.found)

    def add(self, field: str, message: str, *, position: int | None = None) -> None:
        self.found.append(OrderProblem(position, field, message))

    def refuse(self) -> None:
        """Raise OrderRefusedError if anything is wrong."""
        by_field: dict[str, list[str]] = {}
        for position, field, message in self.found:
            about = f"Action {position}: " if position and self.actions > 1 else ""
            by_field.setdefault(field, []).append(f"{about}{message}")
        if by_field:
            raise OrderRefusedError(by_field, self.found)


class Report:
    """Takes down what is wrong with one action."""

    def __init__(self, problems: Problems, position: int) -> None:
        self.problems, self.position = problems, position
        self._before = problems.count

    def add(self, field: str, message: str) -> None:
        """Add one problem; messages are whole sentences that say what is wrong."""
        self.problems.add(field, message, position=self.position)

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found wrong with this action so far."""
        return self.problems.count == self._before
