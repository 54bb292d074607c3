"""Choosing rate plans of the catalogue in an order: what is on offer, what it costs, and what the order says about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.http import QueryDict

from billing.forms.charge_values import ChargeValuesForm, PricedCharge, from_catalogue
from billing.models import ProductRatePlan
from billing.services.order_requests import ChargeChoice, NewRatePlan

PLANS_SHOWN = 12


@dataclass(frozen=True)
class PlanOnOffer:
    """A rate plan that may be chosen, with the inputs of its charges; `missing` names those without a price."""

    plan: ProductRatePlan
    is_chosen: bool
    charges: list[ChargeValuesForm]
    missing: list[str]

    @property
    def problem(self) -> str:
        """Return why the plan cannot be sold to this account, or nothing."""
        if not self.charges:
            return "This plan has no charges yet."
        return f"No price in the account's currency: {', '.join(self.missing)}." if self.missing else ""

    @property
    def has_flaws(self) -> bool:
        return any(form.has_flaws for form in self.charges)

    @property
    def has_other_prices(self) -> bool:
        """Tell whether prices of their own were entered for it, or something is wrong with them."""
        return self.is_chosen and any(form.has_own_price for form in self.charges)

    def requested(self) -> NewRatePlan:
        """Return the plan as the order takes it; only with valid inputs."""
        return NewRatePlan(self.plan, tuple(_choice(form) for form in self.charges))


def _choice(form: ChargeValuesForm) -> ChargeChoice:
    values = form.values()
    return ChargeChoice(
        form.charge.row,
        quantity=values.quantity,
        price=values.price,
        tiers=values.tiers,
        trigger_date=values.trigger_date,
        end_date=values.end_date,
    )


def on_offer(
    offered: Iterable[ProductRatePlan],
    *,
    chosen: Sequence[int],
    currency: str,
    data: QueryDict | None,
    key: str,
    quiet: bool,
) -> list[PlanOnOffer]:
    """Return the chosen plans and those on offer beside them; only the answers about chosen ones are checked."""
    found = []
    for plan in offered:
        is_chosen = plan.pk in chosen
        charges: list[PricedCharge] = [from_catalogue(charge, currency) for charge in plan.charges.all()]
        forms = [
            ChargeValuesForm(
                _answers(data, key, charge, quiet=quiet or not is_chosen),
                prefix=f"{key}-{charge.key}",
                charge=charge,
                quiet=quiet or not is_chosen,
            )
            for charge in charges
        ]
        missing = [charge.row.name for charge in charges if not charge.words]
        found.append(PlanOnOffer(plan, is_chosen, forms, missing))
    found.sort(key=lambda offer: not offer.is_chosen)
    return found


def _answers(data: QueryDict | None, key: str, charge: PricedCharge, *, quiet: bool) -> QueryDict | None:
    """Return what was sent if it is to be checked or says something of this charge; else it begins with usual values."""
    start = f"{key}-{charge.key}-"
    return data if data is not None and (not quiet or any(name.startswith(start) for name in data)) else None


def plans_for(
    *, day: date, find: str = "", chosen: Iterable[int] = (), limit: int = PLANS_SHOWN
) -> list[ProductRatePlan]:
    """Return the plans sold on a day whose product or own name begins with `find`, the chosen ones first in any case."""
    chosen = list(chosen)
    sold = Q(product__effective_start__lte=day) & (Q(product__effective_end=None) | Q(product__effective_end__gt=day))
    text = find.strip()[:100]
    named = Q(name__istartswith=text) | Q(product__name__istartswith=text) | Q(product__sku__istartswith=text)
    first = Case(When(pk__in=chosen, then=Value(0)), default=Value(1), output_field=IntegerField())
    found: QuerySet[ProductRatePlan] = ProductRatePlan.objects.filter(
        Q(pk__in=chosen) | (sold & named if text else sold)
    )
    return list(
        found.select_related("product")
        .prefetch_related("charges__prices__tiers")
        .order_by(first, F("product__name"), F("name"))[: limit + len(chosen)]
    )


def chosen_plans(data: Any, name: str) -> list[int]:
    """Return the ids of the plans ticked under a name, as far as they are numbers."""
    return [int(value) for value in data.getlist(name) if value.isascii() and value.isdigit()][:100]
