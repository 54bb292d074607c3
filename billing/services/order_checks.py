"""The check that what an order adds to subscriptions is sold, dated, priced and counted, and the rows it becomes."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Exists, OuterRef

from billing.core.charge_models import UnpriceableError
from billing.core.money import MoneyError
from billing.core.types import ChargeType, PriceFormat, Term, Tier
from billing.models import ProductRatePlan, ProductRatePlanCharge, RatePlan, RatePlanCharge, UnitOfMeasure
from billing.models.terms import BillingTermsModel, EndCondition, TriggerEvent
from billing.services.charge_checks import charge_flaws, credit_rate_flaws, price_flaws, quantity_flaws, tier_flaws
from billing.services.charge_terms import (
    FIRST_DAY,
    LAST_DAY,
    TIERED,
    credits_unused,
    fixed_period_end,
    has_quantity,
    includes_units,
    needs_term_end,
    revenue_of,
    why_no_quantity,
)
from billing.services.order_requests import ChargeChoice, NewRatePlan, Report
from billing.services.order_state import ChargeState, PlacedSegment, PlanState
from billing.services.usage_checks import unit_flaw

Catalogue = dict[int, list[ProductRatePlanCharge]]

TERMS = [field.name for field in BillingTermsModel._meta.get_fields()]


class Starts(NamedTuple):
    """The days on which new charges may begin, `earliest` being the first that makes sense at all."""

    contract_effective: date
    service_activation: date | None
    customer_acceptance: date | None
    earliest: date


def catalogue_of(plans: Iterable[NewRatePlan]) -> Catalogue:
    """Return the charges of every plan in the order with their prices and tiers, in three queries however many."""
    charges = (
        ProductRatePlanCharge.objects.filter(rate_plan__in={plan.plan.pk for plan in plans})
        .annotate(has_unit=Exists(UnitOfMeasure.objects.filter(name=OuterRef("unit"))))
        .select_related("rate_plan__product")
        .prefetch_related("prices__tiers")
        .order_by("id")
    )
    found: Catalogue = {}
    for charge in charges:
        found.setdefault(charge.rate_plan_id, []).append(charge)
    return found


def plausible(report: Report, **days: date | None) -> bool:
    """Tell whether days can be days of a contract; if not, say so for each field."""
    before = report.problems.count
    for field, day in days.items():
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            report.add(field, f"{day} cannot be right: give a day from {FIRST_DAY.year} to {LAST_DAY.year}.")
    return report.problems.count == before


class PlanCheck:
    """Checks one rate plan that an action sells, and makes the rows it becomes."""

    def __init__(self, report: Report, *, currency: str, order_date: date, catalogue: Catalogue) -> None:
        self.report, self.currency, self.order_date, self.catalogue = report, currency, order_date, catalogue

    def plan(self, chosen: NewRatePlan, starts: Starts, term: Term) -> PlanState:
        """Return the plan with its charges; those that something is wrong with are left out."""
        made = PlanState(RatePlan(product_rate_plan=chosen.plan, name=chosen.plan.name), [])
        offered = self.catalogue.get(chosen.plan.pk, [])
        if not offered:
            self.report.add("rate_plans", f"Rate plan “{chosen.plan}” has no charges.")
            return made
        self._sold(offered[0].rate_plan)
        choices = {choice.charge.pk: choice for choice in chosen.charges}
        for stranger in choices.keys() - {charge.pk for charge in offered}:
            words = f"“{choices[stranger].charge.name}” is not a charge of rate plan “{chosen.plan}”."
            self.report.add("charges", words)
        for charge in offered:
            state = self._charge(charge, choices.get(charge.pk, ChargeChoice(charge)), starts, term)
            if state is not None:
                made.charges.append(state)
        return made

    def _sold(self, plan: ProductRatePlan) -> None:
        product, on = plan.product, self.order_date
        if on < product.effective_start or (product.effective_end is not None and on >= product.effective_end):
            self.report.add("rate_plans", f"“{product}” is not sold on {on}.")

    def _charge(
        self, charge: ProductRatePlanCharge, choice: ChargeChoice, starts: Starts, term: Term
    ) -> ChargeState | None:
        pricing = ChargeCheck(charge, named(charge, charge.rate_plan.name), self.currency, self.report)
        before = self.report.problems.count
        pricing.terms(term)
        if charge.charge_type == ChargeType.USAGE and charge.unit and not getattr(charge, "has_unit", True):
            pricing.add("charges", f"cannot be billed. {unit_flaw(charge.unit)[1]}")
        trigger_date = self._trigger_date(pricing, charge, choice, starts, term)
        start = trigger_date or starts.contract_effective
        end = self._end(pricing, charge, choice, trigger_date, start, term)
        price, tiers = pricing.price(choice.price, choice.tiers, *self._catalogue_price(charge))
        quantity = pricing.quantity(choice.quantity, charge.default_quantity)
        credit_rate = self._credit_rate(pricing, charge)
        if self.report.problems.count > before:
            return None
        placed = PlacedSegment(1, start, end, quantity, price, tiers, credit_rate=credit_rate)
        segment = pricing.revenue(placed, term)
        if segment is None:
            return None
        row = RatePlanCharge(
            product_charge=charge,
            name=charge.name,
            trigger_date=trigger_date,
            **{name: getattr(charge, name) for name in TERMS},
        )
        return ChargeState(row, [segment], earliest=starts.contract_effective)

    def _credit_rate(self, pricing: "ChargeCheck", charge: ProductRatePlanCharge) -> Decimal | None:
        """Return what unused units are credited with; None for all charges that do not credit them."""
        if not credits_unused(charge):
            return None
        rate = next((row.credit_rate for row in charge.prices.all() if row.currency == self.currency), None)
        for flaw in credit_rate_flaws(rate, self.currency, is_needed=True):
            pricing.add("price", f"{flaw}.")
        return rate

    def _catalogue_price(self, charge: ProductRatePlanCharge) -> tuple[Decimal | None, tuple[Tier, ...]]:
        for row in charge.prices.all():
            if row.currency == self.currency:
                tiers = sorted(row.tiers.all(), key=lambda tier: tier.number)
                return row.price, tuple(Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in tiers)
        return None, ()

    def _trigger_date(
        self, pricing: "ChargeCheck", charge: ProductRatePlanCharge, choice: ChargeChoice, starts: Starts, term: Term
    ) -> date | None:
        if charge.trigger_event == TriggerEvent.SPECIFIC_DATE:
            day = choice.trigger_date
            if day is None:
                pricing.add("trigger_date", "begins on a date of its own: give it.")
            elif plausible(self.report, trigger_date=day) and day < starts.earliest:
                pricing.add("trigger_date", f"cannot begin before the contract ({day}).")
        else:
            day = {
                TriggerEvent.CONTRACT_EFFECTIVE: starts.contract_effective,
                TriggerEvent.SERVICE_ACTIVATION: starts.service_activation,
                TriggerEvent.CUSTOMER_ACCEPTANCE: starts.customer_acceptance,
            }[TriggerEvent(charge.trigger_event)]
        if day is not None and term.end is not None and day >= term.end:
            pricing.add("term_end", f"would begin on {day}, when the term is over.")
        return day

    def _end(
        self,
        pricing: "ChargeCheck",
        charge: ProductRatePlanCharge,
        choice: ChargeChoice,
        trigger_date: date | None,
        start: date,
        term: Term,
    ) -> date | None:
        """Return the first day after a charge that has an end of its own; the subscription's end is not its own.

        A fixed period has no end yet while nobody knows when it begins.
        """
        if charge.end_condition == EndCondition.SPECIFIC_END_DATE:
            if choice.end_date is None:
                pricing.add("end_date", "ends on a date of its own: give it.")
            elif plausible(self.report, end_date=choice.end_date) and choice.end_date <= start:
                pricing.add("end_date", f"must end after it begins: {choice.end_date} is not after {start}.")
            return choice.end_date
        if choice.end_date is not None:
            pricing.add("end_date", "has no end date of its own; leave it empty.")
        if charge.end_condition == EndCondition.FIXED_PERIOD and trigger_date is not None:
            end = fixed_period_end(charge, trigger_date, term)
            if end is None:
                pricing.add("end_date", f"would run beyond the year {LAST_DAY.year}.")
            return end
        return None


class ChargeCheck:
    """Checks price, tiers and quantity of one charge, be it new or changed."""

    def __init__(self, charge: BillingTermsModel, name: str, currency: str, report: Report) -> None:
        self.charge, self.name, self.currency, self.report = charge, name, currency, report

    def add(self, field: str, words: str) -> None:
        """Report what is wrong, in words that follow the charge's name."""
        self.report.add(field, f"{self.name} {words}")

    def terms(self, term: Term) -> None:
        """Refuse terms that cannot be billed, and periods counted from a term's end where there is none."""
        for _, message in charge_flaws(self.charge):
            self.add("charges", f"cannot be billed. {message}")
        if term.end is None and needs_term_end(self.charge):
            self.add(
                "term_end", "is billed by terms, and an evergreen subscription has no end of term: give it a term."
            )

    def price(
        self,
        given: Decimal | None,
        given_tiers: tuple[Tier, ...] | None,
        usual: Decimal | None,
        usual_tiers: tuple[Tier, ...],
    ) -> tuple[Decimal | None, tuple[Tier, ...]]:
        """Return the price or the tiers, whichever the model has: those given, else the usual ones."""
        if self.charge.charge_model in TIERED:
            if given is not None:
                self.add("price", "is priced by tiers; give tiers instead of one price.")
            tiers = given_tiers if given_tiers is not None else usual_tiers
            if not tiers:
                self.add("price", f"has no price tiers in {self.currency}.")
            for flaw in tier_flaws(self.charge.charge_model, tiers):
                self.add("price", f"{flaw}.")
            return None, tiers
        if given_tiers is not None:
            self.add("price", "has one price; give that instead of tiers.")
        price = given if given is not None else usual
        if price is None:
            self.add("price", f"has no price in {self.currency}.")
            return None, ()
        for flaw in price_flaws(self.charge.charge_model, price):
            self.add("price", f"{flaw}.")
        return price, ()

    def quantity(self, given: Decimal | None, usual: Decimal | None) -> Decimal | None:
        """Return the quantity given, else the usual one."""
        if not has_quantity(self.charge):
            if given is not None:
                self.add("quantity", f"is {why_no_quantity(self.charge)} and has no quantity.")
            return None
        quantity = given if given is not None else usual
        if quantity is None:
            what = "a number of included units; 0 if none are" if includes_units(self.charge) else "a quantity"
            self.add("quantity", f"needs {what}.")
            return None
        for flaw in quantity_flaws(self.charge, quantity):
            self.add("quantity", f"{flaw}.")
        return quantity

    def revenue(self, segment: PlacedSegment, term: Term) -> PlacedSegment | None:
        """Return the segment with its monthly revenue; None, with a problem, if it cannot be priced."""
        try:
            return segment._replace(mrr=revenue_of(self.charge, segment.for_core(), term))
        except UnpriceableError as flaw:
            self.add("price", f"{flaw.message}.")
        except MoneyError as error:
            self.add("price", f"cannot be sold at that price. {error}")
        return None


def named(charge: ProductRatePlanCharge | RatePlanCharge, plan_name: str) -> str:
    """Return how problems name a charge."""
    return f"Charge “{charge.name}” of rate plan “{plan_name}”"
