"""What an order asks for, and the check that all of it is sold, dated, priced and counted."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from dateutil.relativedelta import relativedelta
from django.core.exceptions import ValidationError

from accounts.models import Account, AccountStatus
from billing.core.charge_models import UnpriceableError
from billing.core.money import AMOUNT_LIMIT, PRICE_DECIMALS, MoneyError
from billing.core.mrr import monthly_revenue
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeTerms,
    ChargeType,
    ListPriceBase,
    PriceFormat,
    Segment,
    Tier,
)
from billing.models import ProductRatePlan, ProductRatePlanCharge
from billing.models.terms import TriggerEvent

MAX_TERM_MONTHS = 600
MAX_PROBLEMS = 20  # of two thousand subscriptions with the same mistake nobody reads more
TIERED = (ChargeModel.TIERED, ChargeModel.VOLUME)


class ChargeChoice(NamedTuple):
    """What an order says about one charge of a plan; None keeps what the catalogue says.

    `price` is per list price base in the account's currency; `trigger_date` serves charges that begin on a date of
    their own.
    """

    charge: ProductRatePlanCharge
    quantity: Decimal | None = None
    price: Decimal | None = None
    tiers: tuple[Tier, ...] | None = None
    trigger_date: date | None = None


class NewRatePlan(NamedTuple):
    """A rate plan of the catalogue, as it is, or with other prices and quantities for some of its charges."""

    plan: ProductRatePlan
    charges: tuple[ChargeChoice, ...] = ()


class NewSubscription(NamedTuple):
    """A subscription to be created: evergreen, or with a term of `term_months` or up to (not including) `term_end`.

    Charges that wait for service activation or customer acceptance are not due while that date is unknown.
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


class PlannedCharge(NamedTuple):
    """A charge ready to be written."""

    catalogue: ProductRatePlanCharge
    trigger_date: date | None
    segment: Segment
    mrr: Decimal


class PlannedSubscription(NamedTuple):
    """A subscription ready to be written."""

    request: NewSubscription
    owner: Account
    term_end: date | None
    plans: list[tuple[ProductRatePlan, list[PlannedCharge]]]

    @property
    def charges(self) -> list[PlannedCharge]:
        return [charge for _, charges in self.plans for charge in charges]


class Problems:
    """What is wrong with an order, by field; each message says which subscription it is about if there are several."""

    def __init__(self, subscriptions: int) -> None:
        self.by_field: dict[str, list[str]] = {}
        self.subscriptions = subscriptions
        self.count = 0

    def add(self, field: str, message: str, *, position: int | None = None) -> None:
        about = f"Subscription {position}: " if position and self.subscriptions > 1 else ""
        self.by_field.setdefault(field, []).append(f"{about}{message}")
        self.count += 1

    def refuse(self) -> None:
        if self.by_field:
            raise ValidationError(self.by_field)


def catalogue_of(subscriptions: Sequence[NewSubscription]) -> dict[int, list[ProductRatePlanCharge]]:
    """Return the charges of every plan in the order with their prices and tiers, in four queries however many."""
    plans = {plan.plan.pk for request in subscriptions for plan in request.rate_plans}
    charges = (
        ProductRatePlanCharge.objects.filter(rate_plan__in=plans)
        .select_related("rate_plan__product")
        .prefetch_related("prices__tiers")
        .order_by("id")
    )
    found: dict[int, list[ProductRatePlanCharge]] = {}
    for charge in charges:
        found.setdefault(charge.rate_plan_id, []).append(charge)
    return found


class Checker:
    """Checks one requested subscription and works out what would be written; collects what is wrong with it."""

    def __init__(
        self,
        account: Account,
        order_date: date,
        catalogue: dict[int, list[ProductRatePlanCharge]],
        problems: Problems,
        position: int,
    ) -> None:
        self.account, self.order_date, self.catalogue = account, order_date, catalogue
        self.problems, self.position = problems, position

    def add(self, field: str, message: str) -> None:
        self.problems.add(field, message, position=self.position)

    def subscription(self, request: NewSubscription) -> PlannedSubscription:
        owner = request.invoice_owner or self.account
        if owner.status != AccountStatus.ACTIVE:
            self.add("invoice_owner", f"Account {owner.number} is {owner.status}; only active accounts are billed.")
        if owner.currency != self.account.currency:
            self.add(
                "invoice_owner",
                f"Account {owner.number} is billed in {owner.currency}, account {self.account.number} in"
                f" {self.account.currency}.",
            )
        if not request.rate_plans:
            self.add("rate_plans", "A subscription needs at least one rate plan.")
        self.dates(request)
        term_end = self.term_end(request)
        plans = [(plan.plan, self.plan(request, plan, term_end)) for plan in request.rate_plans]
        return PlannedSubscription(request, owner, term_end, plans)

    def dates(self, request: NewSubscription) -> None:
        steps = [("contract effective", request.contract_effective)]
        for field in ("service_activation", "customer_acceptance"):
            day = getattr(request, field)
            if day is None:
                continue
            before, earlier = steps[-1]
            if day < earlier:
                words = field.replace("_", " ").capitalize()
                self.add(field, f"{words} ({day}) cannot come before the {before} date ({earlier}).")
            steps.append((field.replace("_", " "), day))

    def term_end(self, request: NewSubscription) -> date | None:
        start = request.contract_effective
        if request.term_months is not None and request.term_end is not None:
            self.add("term_end", "Give the term's months or its end, not both.")
        elif request.term_months is not None:
            if 1 <= request.term_months <= MAX_TERM_MONTHS:
                return start + relativedelta(months=request.term_months)
            self.add("term_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {request.term_months}.")
        elif request.term_end is not None and request.term_end <= start:
            self.add("term_end", f"The term must end after it starts: {request.term_end} is not after {start}.")
        return request.term_end

    def plan(self, request: NewSubscription, chosen: NewRatePlan, term_end: date | None) -> list[PlannedCharge]:
        offered = self.catalogue.get(chosen.plan.pk, [])
        if not offered:
            self.add("rate_plans", f"Rate plan “{chosen.plan}” has no charges.")
            return []
        product = offered[0].rate_plan.product
        on = self.order_date
        if on < product.effective_start or (product.effective_end is not None and on >= product.effective_end):
            self.add("rate_plans", f"“{product}” is not sold on {on}.")
        choices = {choice.charge.pk: choice for choice in chosen.charges}
        for stranger in choices.keys() - {charge.pk for charge in offered}:
            self.add("charges", f"“{choices[stranger].charge.name}” is not a charge of rate plan “{chosen.plan}”.")
        charges = (
            self.charge(request, charge, choices.get(charge.pk, ChargeChoice(charge)), term_end) for charge in offered
        )
        return [charge for charge in charges if charge is not None]

    def charge(
        self, request: NewSubscription, charge: ProductRatePlanCharge, choice: ChargeChoice, term_end: date | None
    ) -> PlannedCharge | None:
        already = self.problems.count
        trigger_date = self.trigger_date(request, charge, choice, term_end)
        price, tiers = self.price(charge, choice)
        quantity = self.quantity(charge, choice)
        if self.problems.count > already:
            return None
        start = trigger_date or request.contract_effective
        segment = Segment(0, 1, start, None, quantity, price, tiers)
        try:
            return PlannedCharge(charge, trigger_date, segment, monthly_revenue(_terms(charge), segment))
        except UnpriceableError as flaw:
            self.add("price", f"{_named(charge)} {flaw.message}.")
        except MoneyError as error:
            self.add("price", f"{_named(charge)} cannot be sold at that price. {error}")
        return None

    def trigger_date(
        self, request: NewSubscription, charge: ProductRatePlanCharge, choice: ChargeChoice, term_end: date | None
    ) -> date | None:
        if charge.trigger_event == TriggerEvent.SPECIFIC_DATE:
            day = choice.trigger_date
            if day is None:
                self.add("trigger_date", f"{_named(charge)} begins on a date of its own: give it.")
            elif day < request.contract_effective:
                self.add("trigger_date", f"{_named(charge)} cannot begin before the contract ({day}).")
        else:
            day = {
                TriggerEvent.CONTRACT_EFFECTIVE: request.contract_effective,
                TriggerEvent.SERVICE_ACTIVATION: request.service_activation,
                TriggerEvent.CUSTOMER_ACCEPTANCE: request.customer_acceptance,
            }[TriggerEvent(charge.trigger_event)]
        if day is not None and term_end is not None and day >= term_end:
            self.add("term_end", f"{_named(charge)} would begin on {day}, when the term is over.")
        return day

    def price(self, charge: ProductRatePlanCharge, choice: ChargeChoice) -> tuple[Decimal | None, tuple[Tier, ...]]:
        """Return the price or the tiers: those of the order, else the catalogue's in the account's currency."""
        currency = self.account.currency
        if charge.charge_model in TIERED:
            if choice.price is not None:
                self.add("price", f"{_named(charge)} is priced by tiers; give tiers instead of one price.")
            tiers = choice.tiers if choice.tiers is not None else _catalogue_tiers(charge, currency)
            if not tiers:
                self.add("price", f"{_named(charge)} has no price tiers in {currency}.")
            for number in (number for tier in tiers for number in (tier.price, tier.up_to) if number is not None):
                self.number("price", charge, "a tier", number)
            return None, tiers
        if choice.tiers is not None:
            self.add("price", f"{_named(charge)} has one price; give that instead of tiers.")
        price = choice.price
        if price is None:
            price = next((row.price for row in charge.prices.all() if row.currency == currency), None)
        if price is None:
            self.add("price", f"{_named(charge)} has no price in {currency}.")
        else:
            self.number("price", charge, "a price", price)
        return price, ()

    def quantity(self, charge: ProductRatePlanCharge, choice: ChargeChoice) -> Decimal | None:
        if charge.charge_model == ChargeModel.FLAT_FEE:
            if choice.quantity is not None:
                self.add("quantity", f"{_named(charge)} is a flat fee and has no quantity.")
            return None
        quantity = choice.quantity if choice.quantity is not None else charge.default_quantity
        if quantity is None:
            self.add("quantity", f"{_named(charge)} needs a quantity.")
        elif self.number("quantity", charge, "a quantity", quantity) and quantity < 0:
            self.add("quantity", f"{_named(charge)} has a quantity below zero ({quantity}).")
        return quantity

    def number(self, field: str, charge: ProductRatePlanCharge, what: str, value: Decimal) -> bool:
        """Tell whether a number can be stored as it is; if not, say why."""
        if not value.is_finite():
            self.add(field, f"{_named(charge)} has {what} that is not a number.")
        elif abs(value) > AMOUNT_LIMIT:
            self.add(field, f"{_named(charge)} has {what} beyond the limit of {AMOUNT_LIMIT:,}.")
        elif int(value.normalize().as_tuple().exponent) < -PRICE_DECIMALS:
            self.add(field, f"{_named(charge)} has {what} with more than {PRICE_DECIMALS} decimal places.")
        else:
            return True
        return False


def _named(charge: ProductRatePlanCharge) -> str:
    return f"Charge “{charge.name}” of rate plan “{charge.rate_plan.name}”"


def _catalogue_tiers(charge: ProductRatePlanCharge, currency: str) -> tuple[Tier, ...]:
    for row in charge.prices.all():
        if row.currency == currency:
            tiers = sorted(row.tiers.all(), key=lambda tier: tier.number)
            return tuple(Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in tiers)
    return ()


def _terms(charge: ProductRatePlanCharge) -> ChargeTerms:
    return ChargeTerms(
        ChargeType(charge.charge_type),
        ChargeModel(charge.charge_model),
        BillingTiming(charge.billing_timing),
        BillingPeriod(charge.billing_period) if charge.billing_period else None,
        ListPriceBase(charge.list_price_base),
        BillingDayType(charge.billing_day_type),
        Alignment(charge.alignment),
    )
