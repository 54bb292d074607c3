"""A dozen customers whose subscriptions live: what they ordered at first, and what they ordered between the bill runs.

Everything is an order like any other, so that the posted runs after it show what it does to an invoice.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from accounts.models import Account
from billing.models import Order, ProductRatePlan, ProductRatePlanCharge, Subscription
from billing.services.orders import (
    Action,
    AddProduct,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    ChargeChoice,
    NewRatePlan,
    NewSubscription,
    RemoveProduct,
    RenewSubscription,
    Resume,
    SetTriggerDates,
    Suspend,
    UpdateProduct,
    place_order,
)

SEATS, ENTERPRISE_SEATS, NON_PROFIT = "Team seats", "Enterprise seats", "Non-profit discount"
KEY_ACCOUNTS = ("Rheintal Maschinenbau AG", "Marisma Puertos S.A.", "Solstice Festival B.V.")

# Places in the lists of bill cycle days and payment terms: billed on the 1st, and on the 15th.
FIRST, FIFTEENTH = 0, 3


class Cast(NamedTuple):
    """A customer of a story: where it lives, its place in the list of habits, and what it orders at first, and when."""

    name: str
    country: str
    habits: int
    ordered: date
    bought: NewSubscription


class Chapter(NamedTuple):
    """An order that changes the first subscription of a customer, and the words that are written on it."""

    name: str
    ordered: date
    words: str
    actions: tuple[Action, ...]


class Stories:
    """The customers and their orders, as seen from today."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.plans: dict[str, ProductRatePlan] = {plan.name: plan for plan in ProductRatePlan.objects.all()}
        self.charges = {charge.name: charge for charge in ProductRatePlanCharge.objects.all()}

    def day(self, months_ago: int, number: int = 1) -> date:
        """Return a day of the month so many months ago, or of one to come when that is below zero."""
        return self.today.replace(day=1) - relativedelta(months=months_ago) + timedelta(days=number - 1)

    def cast(self) -> list[Cast]:
        """Return the customers with their first orders; three of them are key accounts."""
        plan, day = self._plan, self.day

        def new(
            start: date, *plans: NewRatePlan, months: int | None = None, auto_renew: bool = False
        ) -> NewSubscription:
            return NewSubscription(plans, start, term_months=months, auto_renew=auto_renew)

        garden = new(day(3, 8), plan("Team", SEATS, 8), plan("Standard support"))
        support = new(day(3, 6), plan("Starter"), plan("Standard support"))
        vets = new(
            day(3), plan("Team", SEATS, 9), plan("Archive storage", "Archive storage", 900), plan("Welcome bonus")
        )
        machines = new(day(3, 10), plan("Enterprise", ENTERPRISE_SEATS, 180))._replace(service_activation=day(3, 24))
        harbour = new(day(2, 8), plan("Enterprise", ENTERPRISE_SEATS, 90))
        festival = new(day(0), plan("Enterprise", ENTERPRISE_SEATS, 120))
        return [
            Cast("Aurora Coffee Roasters LLC", "US", FIFTEENTH, day(7, 2), new(day(7, 5), plan("Team", SEATS, 12))),
            Cast("Waldmeister Gartenbau GmbH", "DE", FIFTEENTH, day(3, 6), garden),
            Cast("Librairie Beaumont SARL", "FR", FIFTEENTH, day(3, 3), support),
            Cast("Hotel Tsubaki K.K.", "JP", FIFTEENTH, day(6, 10), new(day(6, 15), plan("Team", SEATS, 20))),
            Cast("Harbor & Pine Architects LLC", "US", FIRST, day(14, 20), new(day(13), plan("Starter"), months=12)),
            Cast("Dijkstra & Zonen B.V.", "NL", FIRST, day(14, 25), new(day(13), plan("Starter"), months=12, auto_renew=True)),
            Cast("Cascade Outdoor Film Inc.", "US", FIRST, day(5, 1), new(day(5), plan("Team", SEATS, 30))),
            Cast("Bodega Rocafort S.L.", "ES", FIRST, day(5, 3), new(day(5, 10), plan("Team", SEATS, 14), months=12)),
            Cast("Open Shelter Foundation", "US", FIFTEENTH, day(5, 8), new(day(5, 15), plan("Team for non-profits", "Non-profit seats", 10))),
            Cast("Blue Heron Veterinary Group", "US", FIRST, day(4, 27), vets),
            Cast("Rheintal Maschinenbau AG", "DE", FIFTEENTH, day(3, 7), machines),
            Cast("Marisma Puertos S.A.", "ES", FIFTEENTH, day(2, 5), harbour),
            Cast("Solstice Festival B.V.", "NL", FIRST, day(1, 24), festival),
        ]  # fmt: skip

    def chapter(self, runs: int) -> list[Chapter]:
        """Return what is ordered after so many month-end runs, of three: before the next one bills it."""
        return (self._second_month, self._last_month, self._this_month)[runs - 1]()

    def _second_month(self) -> list[Chapter]:
        garden, hotel, architects = map(
            self._subscription, ("Waldmeister Gartenbau GmbH", "Hotel Tsubaki K.K.", "Harbor & Pine Architects LLC")
        )
        return [
            Chapter(
                "Waldmeister Gartenbau GmbH",
                self.day(2, 12),
                "A gateway for the second nursery",
                (AddProduct(garden, self._plan("Gateway rental", "Gateway rental", 1), self.day(2, 12)),),
            ),
            Chapter(
                "Hotel Tsubaki K.K.",
                self.day(2, 5),
                "Closed for renovation",
                (Suspend(hotel, self.day(2, 6)),),
            ),
            Chapter(
                "Harbor & Pine Architects LLC",
                self.day(2, 18),
                "Renewed for two years",
                (RenewSubscription(architects, months=24),),
            ),
        ]

    def _last_month(self) -> list[Chapter]:
        names = (
            "Aurora Coffee Roasters LLC",
            "Waldmeister Gartenbau GmbH",
            "Librairie Beaumont SARL",
            "Hotel Tsubaki K.K.",
            "Open Shelter Foundation",
            "Rheintal Maschinenbau AG",
            "Marisma Puertos S.A.",
        )
        coffee, garden, books, hotel, shelter, machines, harbour = map(self._subscription, names)
        day = self.day
        told: list[tuple[date, str, Action]] = [
            (day(1, 4), "Five more seats for the new roastery", self._update(coffee, day(1, 4), SEATS, quantity="17")),
            (day(1, 9), "Support is not needed any more", RemoveProduct(garden, self.plans["Standard support"], day(1, 10))),
            (day(1, 12), "The shop closes", CancelSubscription(books, day(1, 20))),
            (day(1, 8), "Open again", Resume(hotel, day(1, 9))),
            (day(1, 2), "Non-profit rate of 20 % from now on", self._update(shelter, day(1, 3), NON_PROFIT, price="20")),
            (day(1, 11), "Eighty more seats for the plant in Bregenz", self._update(machines, day(1, 12), ENTERPRISE_SEATS, quantity="260")),
            (day(1, 13), "Service is live", SetTriggerDates(harbour, service_activation=day(1, 11))),
        ]  # fmt: skip
        return [Chapter(name, on, words, (action,)) for name, (on, words, action) in zip(names, told, strict=True)]

    def _this_month(self) -> list[Chapter]:
        film, bodega = map(self._subscription, ("Cascade Outdoor Film Inc.", "Bodega Rocafort S.L."))
        later = self.day(-2)
        return [
            Chapter(
                "Cascade Outdoor Film Inc.",
                self.day(0),
                f"Six seats fewer from {later:%B} on",
                (self._update(film, later, SEATS, quantity="24"),),
            ),
            Chapter(
                "Bodega Rocafort S.L.",
                self.day(0),
                "Not renewed",
                (CancelSubscription(bodega, when=CancelWhen.END_OF_TERM),),
            ),
        ]

    def _plan(self, name: str, charge: str = "", quantity: int = 0) -> NewRatePlan:
        chosen = (ChargeChoice(self.charges[charge], quantity=Decimal(quantity)),) if charge else ()
        return NewRatePlan(self.plans[name], chosen)

    def _update(
        self,
        subscription: Subscription,
        on: date,
        charge: str,
        *,
        quantity: str | None = None,
        price: str | None = None,
    ) -> UpdateProduct:
        change = ChargeChange(
            self.charges[charge], Decimal(quantity) if quantity else None, Decimal(price) if price else None
        )
        return UpdateProduct(subscription, (change,), on)

    def _subscription(self, name: str) -> Subscription:
        return Subscription.objects.filter(account__name=name).earliest("pk")


def go_on(*, runs: int, today: date, user_id: int | None) -> int:
    """Place what is ordered after so many month-end runs, but for what an earlier call has placed; return how many."""
    chapters: Sequence[Chapter] = Stories(today).chapter(runs)
    placed = 0
    for name, ordered, words, actions in chapters:
        account = Account.objects.get(name=name)
        if not Order.objects.filter(account=account, description=words).exists():
            place_order(account=account, order_date=ordered, actions=actions, user_id=user_id, description=words)
            placed += 1
    return placed
