"""What the demo company's customers bought: about three hundred accounts with some four thousand charges."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from django.db import transaction

from accounts.models import Account, InvoiceTemplate, PaymentTerm
from accounts.services import NewContact, create_account
from billing.models import Product, ProductRatePlanCharge
from billing.services.orders import ChargeChoice, NewRatePlan, NewSubscription, create_order
from config.seed_data.customers import COUNTRIES, Country, Customer, contact, customers
from config.seed_data.seller import (
    FIRST_SKU,
    INDUSTRIES,
    Batches,
    Sold,
    add_batches,
    add_brand,
    add_catalogue,
    add_people,
    add_terms_and_fields,
)
from config.seed_data.stories import KEY_ACCOUNTS, Stories

RESELLER = "Cloudbridge Distribution B.V."
RESELLER_SUBSCRIPTIONS = 2_000
PARTNERS = (
    "Byte & Bolt",
    "Copperline",
    "Datenkontor",
    "Hexagone",
    "Kumo Partners",
    "Lighthouse IT",
    "Polder Cloud",
    "Tramontana",
)
GROUP = "Meridian Hotels Group Inc."
HOTELS = ("Boston", "Chicago", "Denver", "Key West", "Seattle")

# Customers whose master data break after they were billed for some months, and what is wrong then.
WITHOUT_CONTACT, WITHOUT_PRICE, WITHOUT_TIERS = "Old Harbor Museum", "Nimbus Catering GmbH", "Atelier Lumière SARL"

# Since the first day of which month usage is counted; months before it were never used.
USED_SINCE_MONTHS = 2
CYCLE_DAYS = (1, 1, 0, 15, 1, 31, 0, 1, 15, 0)  # 0: from the first recurring charge
START_DAYS = (1, 15, 31, 10, 28, 5, 30, 20, 31, 12)  # 31: the month's last day


def exists() -> bool:
    """Tell whether the demo company is there already."""
    return Product.objects.filter(sku=FIRST_SKU).exists()


def add_company(*, today: date) -> None:
    """Create seller, catalogue, customers and orders as if they had come about over the two years up to `today`."""
    with transaction.atomic():
        people = add_people()
        letter = add_brand()
        world = _World(add_catalogue(), add_batches(), letter, add_terms_and_fields(), today)
        world.user_id = people["operator"].pk if people else None
        world.add_customers()
        world.add_hotels()
        world.add_partners()
        world.add_troubled()
        world.add_stories()


class _World:
    """The seller's rows that every customer refers to, and the ways in which customers come about."""

    def __init__(
        self, sold: Sold, batches: Batches, letter: InvoiceTemplate, next_month: PaymentTerm, today: date
    ) -> None:
        self.sold, self.batches, self.letter, self.today = sold, batches, letter, today
        self.charges = {charge.name: charge for charge in ProductRatePlanCharge.objects.all()}
        net = {term.name: term for term in PaymentTerm.objects.all()}
        self.terms = (net["Net 30"], net["Net 30"], net["Net 15"], next_month, net["Due Upon Receipt"], net["Net 60"])
        self.user_id: int | None = None

    def add_customers(self) -> None:
        """Three in ten are key accounts; one in four came within the last months; one in nine pays by use, too."""
        for index, customer in enumerate(customers()):
            is_key = index % 10 in (2, 5, 8)
            account = self.account(customer, index, is_key=is_key)
            start = self.start(index, months_ago=index // 4 % 4 if index % 4 == 3 else 4 + index * 7 % 20)
            wanted = self.key_subscriptions(index, start) if is_key else self.direct_subscriptions(index, start)
            self.order(account, wanted, on=start)
            if index % 12 == 0:
                later = self.start(index + 5, months_ago=index // 12 % 4)
                self.order(account, [self.gateway(index, later)], on=later)
            if index % 9 == 4:
                self.order(account, [self.metered(index)], on=self.month(USED_SINCE_MONTHS))

    def add_hotels(self) -> None:
        """A parent that pays for three of its five children; two pay for themselves."""
        us = COUNTRIES[0]
        parent = self.account(Customer(GROUP, us, contact(us, 3, "ap@meridian.customer.example")), 1, is_key=True)
        start = self.start(1, months_ago=9)
        self.order(parent, self.key_subscriptions(3, start), on=start)
        for index, town in enumerate(HOTELS):
            email = f"{town.lower().replace(' ', '')}@meridian.customer.example"
            hotel = Customer(f"Meridian Hotel {town} LLC", us, contact(us, index, email))
            child = self.account(hotel, index, is_key=True, parent=parent)
            bought = [self.team(index, start)._replace(invoice_owner=parent if index < 3 else None)]
            if index == 1:
                bought.append(self.gateway(index, start)._replace(invoice_owner=parent, invoice_separately=True))
            self.order(child, bought, on=start)

    def add_partners(self) -> None:
        """One reseller with two thousand subscriptions, who wants no PDF of them by e-mail, and some small ones."""
        names = [
            RESELLER,
            *(
                f"{name} {form}"
                for name, form in zip(
                    PARTNERS, ("LLC", "Inc.", "GmbH", "SAS", "K.K.", "LLC", "B.V.", "S.L."), strict=True
                )
            ),
        ]
        homes = [COUNTRIES[4], *(COUNTRIES[place] for place in (0, 0, 1, 2, 3, 0, 4, 5))]
        for index, (name, home) in enumerate(zip(names, homes, strict=True)):
            email = f"invoices@partner{index}.customer.example"
            account = create_account(
                name=name,
                currency=home.currency,
                batch=self.batches.partners,
                bill_to=contact(home, index, email),
                bill_cycle_day=1,
                payment_term=self.terms[0],
                email_invoices=index > 0,
                print_invoices=index == 0,
                custom_fields={"Industry": "Professional services"},
            )
            count = RESELLER_SUBSCRIPTIONS if index == 0 else 4 + index * 5
            first = self.month(6 + index)
            self.order(account, [self.seat_pool(number, first) for number in range(1, count + 1)], on=first)

    def add_troubled(self) -> None:
        """Three key accounts billed on the 1st, whose master data will be broken by `break_master_data`."""
        homes = {WITHOUT_CONTACT: COUNTRIES[0], WITHOUT_PRICE: COUNTRIES[1], WITHOUT_TIERS: COUNTRIES[2]}
        start = self.month(7)
        for index, (name, home) in enumerate(homes.items()):
            customer = Customer(name, home, contact(home, index, f"billing@trouble{index}.customer.example"))
            account = self.account(customer, 0, is_key=True)
            wanted = self.archive(index, start) if name == WITHOUT_TIERS else self.team(index, start)
            self.order(account, [wanted], on=start)

    def add_stories(self) -> None:
        """A dozen customers whose subscriptions will change between the bill runs."""
        homes = {country.code: country for country in COUNTRIES}
        for place, cast in enumerate(Stories(self.today).cast(), start=1):
            home = homes[cast.country]
            customer = Customer(cast.name, home, contact(home, place, f"billing@story{place}.customer.example"))
            account = self.account(customer, cast.habits, is_key=cast.name in KEY_ACCOUNTS)
            create_order(
                account=account,
                order_date=min(cast.ordered, self.today),
                subscriptions=[cast.bought],
                user_id=self.user_id,
            )

    # --- Accounts and dates ------------------------------------------------------------------------------------------

    def account(self, customer: Customer, index: int, *, is_key: bool, parent: Account | None = None) -> Account:
        """Return a new account with the habits of its country and of its place in the list."""
        country: Country = customer.country
        bill_to: NewContact = customer.bill_to
        return create_account(
            name=customer.name,
            currency=country.currency,
            batch=self.batches.key if is_key else self.batches.direct,
            bill_to=bill_to,
            bill_cycle_day=CYCLE_DAYS[index % len(CYCLE_DAYS)],
            payment_term=self.terms[index % len(self.terms)],
            parent=parent,
            language=country.language,
            invoice_template=self.letter if country.code == "US" else None,
            purchase_order=f"PO-{4000 + index}" if index % 6 == 1 else "",
            email_invoices=index % 17 != 16,
            custom_fields={"Industry": INDUSTRIES[index % len(INDUSTRIES)]},
        )

    def month(self, ago: int) -> date:
        """Return the first day of the month so many months ago."""
        return self.today.replace(day=1) - relativedelta(months=ago)

    def start(self, index: int, *, months_ago: int) -> date:
        """Return a day of that month, never one that is still to come."""
        first = self.month(months_ago)
        day = min(START_DAYS[index % len(START_DAYS)], monthrange(first.year, first.month)[1])
        return min(first.replace(day=day), self.today)

    def order(self, account: Account, wanted: Sequence[NewSubscription], *, on: date) -> None:
        """Place an order a few days before the contract begins."""
        ordered = min(on - timedelta(days=account.pk % 6), self.today)
        create_order(account=account, order_date=ordered, subscriptions=wanted, user_id=self.user_id)

    # --- What is bought ----------------------------------------------------------------------------------------------

    def direct_subscriptions(self, index: int, start: date) -> list[NewSubscription]:
        """Return what a direct customer buys."""
        offers = (
            [self.starter(start)],
            [self.team(index, start)],
            [self.team(index, start), self.archive(index, start)],
            [self.starter(start), self.support(start)],
            [self.team(index, start), self.gateway(index, start)],
        )
        return offers[index % len(offers)]

    def key_subscriptions(self, index: int, start: date) -> list[NewSubscription]:
        """Return what a key account buys; a few took a year's term that has run out since."""
        offers = (
            [self.business(index, start), self.archive(index, start)],
            [self.enterprise(index, start), self.archive(index, start)._replace(invoice_separately=True)],
            [self.team(index, start), self.premium(start)],
            [self.enterprise(index, start), self.premium(start)],
        )
        months = 12 if index % 40 == 22 else 36
        return [wanted._replace(term_months=months) for wanted in offers[index % len(offers)]]

    def choose(self, name: str, quantity: int) -> ChargeChoice:
        return ChargeChoice(self.charges[name], quantity=Decimal(quantity))

    def starter(self, start: date) -> NewSubscription:
        return NewSubscription((NewRatePlan(self.sold.starter),), start)

    def team(self, index: int, start: date) -> NewSubscription:
        seats = self.choose("Team seats", 3 + index * 5 % 40)
        return NewSubscription((NewRatePlan(self.sold.team, (seats,)),), start)

    def business(self, index: int, start: date) -> NewSubscription:
        seats = self.choose("Business seats", 10 + index * 11 % 90)
        return NewSubscription((NewRatePlan(self.sold.business, (seats,)),), start)

    def enterprise(self, index: int, start: date) -> NewSubscription:
        """Most pay the list price; one in three agreed on one of its own. Set-up is due when the service is live."""
        seats = self.choose("Enterprise seats", 60 + index * 13 % 700)
        platform = self.charges["Enterprise platform"]
        agreed = (ChargeChoice(platform, price=Decimal(9_600)),) if index % 3 == 1 else ()
        return NewSubscription(
            (NewRatePlan(self.sold.enterprise, (seats, *agreed)),), start, service_activation=start + timedelta(days=14)
        )

    def archive(self, index: int, start: date) -> NewSubscription:
        volume = self.choose("Archive storage", 120 + index * 97 % 9_000)
        return NewSubscription((NewRatePlan(self.sold.archive, (volume,)),), start)

    def support(self, start: date) -> NewSubscription:
        return NewSubscription((NewRatePlan(self.sold.standard_support),), start)

    def premium(self, start: date) -> NewSubscription:
        return NewSubscription((NewRatePlan(self.sold.premium_support),), start)

    def gateway(self, index: int, start: date) -> NewSubscription:
        devices = self.choose("Gateway rental", 1 + index % 6)
        return NewSubscription((NewRatePlan(self.sold.gateway, (devices,)),), start)

    def metered(self, index: int) -> NewSubscription:
        """Return one of the plans that are charged by use; some agreed on more storage than is usual."""
        start = self.month(USED_SINCE_MONTHS)
        plan = (self.sold.api, self.sold.storage, self.sold.mail)[index // 9 % 3]
        more = plan == self.sold.storage and index % 2 == 0
        chosen = (self.choose("Cloud storage", 1_000),) if more else ()
        return NewSubscription((NewRatePlan(plan, chosen),), start)

    def seat_pool(self, number: int, first: date) -> NewSubscription:
        seats = self.choose("Reseller seats", 1 + number % 9)
        start = first + timedelta(days=number % 60)
        return NewSubscription((NewRatePlan(self.sold.reseller, (seats,)),), start, name=f"Seat pool {number:04d}")
