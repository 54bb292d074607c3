"""A small named world to test with: customers who have names, plans that have prices, and runs made by the real engine.

acme()      Acme Corporation, Springfield: US dollars, billed on the 1st, Net 30
globex()    Globex GmbH, Hamburg: euros, billed on the 15th, due upon receipt
sakura()    Sakura Trading K.K., Osaka: yen, billed at the month's end
team_plan() seats at 10 a month in advance (12 EUR, 1,500 JPY) with 100 (90 EUR, 15,000 JPY) for onboarding, once
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group, User
from factory.declarations import LazyFunction
from factory.declarations import Sequence as Numbered
from factory.django import DjangoModelFactory
from factory.helpers import post_generation

from accounts.models import Account, BillingBatch, Contact, PaymentTerm
from accounts.services import NewContact, create_account
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, Tier
from billing.models import Product, ProductRatePlan, Subscription, UnitOfMeasure
from billing.services.catalog import create_charge, create_product, create_rate_plan
from billing.services.orders import ChargeChoice, NewRatePlan, NewSubscription, create_order
from invoicing.bill_run import run as engine
from invoicing.models import BillRun, BillRunScope

USD_EUR_JPY = {"USD": Decimal(10), "EUR": Decimal(12), "JPY": Decimal(1500)}
PASSWORD = "correct horse battery staple"


def day(text: str) -> date:
    """Return the date written as 2026-01-31."""
    return date.fromisoformat(text)


# --- Who is billed ---------------------------------------------------------------------------------------------------


class ContactFactory(DjangoModelFactory):
    """One more contact of an account."""

    class Meta:
        model = Contact

    name = Numbered(lambda number: f"Contact {number}")
    email = Numbered(lambda number: f"contact{number}@customer.example")
    street = "1 Market Street"
    postal_code = "10115"
    city = "Berlin"
    country = "DE"


class AccountFactory(DjangoModelFactory):
    """An account of which only the number matters; tests that tell a story use the named ones below."""

    class Meta:
        model = Account
        skip_postgeneration_save = True

    number = Numbered(lambda number: f"T{number:05d}")
    name = Numbered(lambda number: f"Customer {number}")
    currency = "USD"
    bill_cycle_day = 1
    batch = LazyFunction(lambda: batch(1))
    payment_term = LazyFunction(lambda: PaymentTerm.objects.get(name="Net 30"))

    @post_generation
    def contacts(self: Account, create: bool, extracted: Any, **kwargs: Any) -> None:
        """Give the account a bill-to contact unless `contacts=False`."""
        if create and extracted is not False:
            self.bill_to = self.sold_to = ContactFactory(account=self)
            self.save(update_fields=["bill_to", "sold_to"])


def batch(number: int, alias: str = "") -> BillingBatch:
    """Return Batch1 to Batch50, made if need be."""
    return BillingBatch.objects.get_or_create(code=f"Batch{number}", defaults={"alias": alias})[0]


def acme(**changes: Any) -> Account:
    """Return Acme Corporation: US dollars, billed on the 1st, Net 30."""
    return _customer(
        "Acme Corporation",
        NewContact(
            "Ada Miller", "US", "billing@acme.example", "742 Evergreen Terrace", "", "97477", "Springfield", "OR"
        ),
        {"currency": "USD", "bill_cycle_day": 1, "payment_term": PaymentTerm.objects.get(name="Net 30"), **changes},
    )


def globex(**changes: Any) -> Account:
    """Return Globex GmbH: euros, billed on the 15th, due upon receipt."""
    return _customer(
        "Globex GmbH",
        NewContact("Jörg Vogel", "DE", "rechnung@globex.example", "Hafenstraße 7", "", "20457", "Hamburg"),
        {"currency": "EUR", "bill_cycle_day": 15, "vat_id": "DE999999999", **changes},
    )


def sakura(**changes: Any) -> Account:
    """Return Sakura Trading K.K.: yen, billed at the month's end."""
    return _customer(
        "Sakura Trading K.K.",
        NewContact("Yuki Tanaka", "JP", "keiri@sakura.example", "1-2-3 Kitahama, Chuo-ku", "", "541-0041", "Osaka"),
        {"currency": "JPY", "bill_cycle_day": 31, **changes},
    )


def _customer(name: str, bill_to: NewContact, values: dict[str, Any]) -> Account:
    values.setdefault("batch", None)
    values["batch"] = values["batch"] or batch(1)
    return create_account(**{"name": name, "bill_to": bill_to, **values})


def user(role: str, **changes: Any) -> User:
    """Return a user of one of the four roles, named like it, who signs in with PASSWORD."""
    person = User.objects.create_user(role, f"{role}@tallyrun.example", PASSWORD, is_staff=True, **changes)
    person.groups.add(Group.objects.get(name=role))
    return person


# --- What is sold ----------------------------------------------------------------------------------------------------


def product(name: str = "Platform", *, start: str = "2020-01-01", end: str | None = None) -> Product:
    """Return the product of that name, made if need be."""
    sku = name.upper().replace(" ", "-")
    found = Product.objects.filter(sku=sku).first()
    return found or create_product(
        sku=sku, name=name, effective_start=day(start), effective_end=day(end) if end else None
    )


def plan(name: str, *charges: Mapping[str, Any], of: Product | None = None) -> ProductRatePlan:
    """Return a rate plan with charges, each written as the arguments of `create_charge`."""
    made = create_rate_plan(product=of or product(), name=name)
    for charge in charges:
        if charge.get("charge_type") == ChargeType.USAGE and charge.get("unit"):
            unit(str(charge["unit"]))
        create_charge(rate_plan=made, **charge)
    return made


def unit(name: str = "GB", decimals: int = 2, rounding: str = "Up") -> UnitOfMeasure:
    """Return the unit of measure of that name, made if need be."""
    return UnitOfMeasure.objects.get_or_create(name=name, defaults={"decimals": decimals, "rounding": rounding})[0]


def used(name: str = "Storage", price: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a charge for each GB that is used in a month."""
    usage = {"charge_type": ChargeType.USAGE, "charge_model": ChargeModel.PER_UNIT, "unit": "GB"}
    return monthly(name, price) | usage | changes


def monthly(name: str = "Platform fee", price: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a flat fee a month in advance: `price` in each currency, else 10 USD, 12 EUR, 1,500 JPY."""
    prices: Any = USD_EUR_JPY if price is None else dict.fromkeys(USD_EUR_JPY, Decimal(price))
    return {"name": name, "billing_period": BillingPeriod.MONTH, "prices": prices, **changes}


def seats(name: str = "Seats", quantity: str | None = "5", **changes: Any) -> dict[str, Any]:
    """Return a charge per seat a month in advance."""
    count = None if quantity is None else Decimal(quantity)
    return monthly(name, charge_model=ChargeModel.PER_UNIT, unit="seat", default_quantity=count) | changes


def once(name: str = "Onboarding", **changes: Any) -> dict[str, Any]:
    """Return a one-time fee of 100 USD, 90 EUR or 15,000 JPY."""
    prices = {"USD": Decimal(100), "EUR": Decimal(90), "JPY": Decimal(15_000)}
    return {"name": name, "charge_type": ChargeType.ONE_TIME, "prices": prices, **changes}


def by_tiers(name: str, model: ChargeModel, tiers: Sequence[Tier], *, quantity: str, **changes: Any) -> dict[str, Any]:
    """Return a charge a month in advance that is priced by the same tiers in each currency."""
    prices = dict.fromkeys(USD_EUR_JPY, tuple(tiers))
    return monthly(name, charge_model=model, prices=prices, default_quantity=Decimal(quantity)) | changes


def team_plan() -> ProductRatePlan:
    """Return the plan “Team”: five seats a month in advance and onboarding once."""
    return plan("Team", seats(), once())


def subscribe(
    account: Account, to: ProductRatePlan, start: str, *, charges: Sequence[ChargeChoice] = (), **changes: Any
) -> Subscription:
    """Let an account order one plan from a day on; return the subscription."""
    new = NewSubscription((NewRatePlan(to, tuple(charges)),), day(start), **changes)
    order = create_order(account=account, order_date=day(start), subscriptions=[new])
    subscription = order.actions.get().subscription
    assert subscription is not None
    return subscription


# --- What is charged -------------------------------------------------------------------------------------------------


def bill(
    target: str,
    *,
    accounts: Sequence[Account] = (),
    batches: Sequence[BillingBatch] = (),
    invoice_date: str | None = None,
    **changes: Any,
) -> BillRun:
    """Run a bill run to its end in this process and return it; without accounts and batches over everybody."""
    scope = BillRunScope.ACCOUNTS if accounts else BillRunScope.BATCHES if batches else BillRunScope.ALL
    run = engine.create(
        accounts=accounts,
        batches=batches,
        scope=scope,
        target_date=day(target),
        invoice_date=day(invoice_date or target),
        **changes,
    )
    while engine.advance(run.pk, seconds=60):
        pass
    run.refresh_from_db()
    return run
