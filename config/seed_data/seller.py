"""The selling side of the demo company: its brand on invoices, batches, payment terms, catalogue and people."""

import base64
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import Group, User

from accounts.models import BillingBatch, CustomField, InvoiceTemplate, PaymentTerm
from billing.core.types import (
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    ListPriceBase,
    PriceFormat,
    Tier,
)
from billing.models import Product, ProductRatePlan
from billing.models.terms import EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.catalog import create_charge, create_product, create_rate_plan
from config.seed_data.usage_products import add_usage_products

FIRST_SKU = "FJ-PLATFORM"
LOGO = Path(__file__).with_name("logo.png")
SOLD_SINCE = date(2020, 1, 1)

INDUSTRIES = ["Hospitality", "Logistics", "Manufacturing", "Professional services", "Retail"]
PEOPLE = {
    "viewer": ("Vera", "Lind"),
    "operator": ("Otto", "Brandt"),
    "approver": ("Aiko", "Mori"),
    "admin": ("Adele", "Marchand"),
}


class Sold(NamedTuple):
    """The rate plans of the demo company by name."""

    starter: ProductRatePlan
    team: ProductRatePlan
    business: ProductRatePlan
    enterprise: ProductRatePlan
    archive: ProductRatePlan
    standard_support: ProductRatePlan
    premium_support: ProductRatePlan
    gateway: ProductRatePlan
    reseller: ProductRatePlan
    non_profit: ProductRatePlan
    welcome: ProductRatePlan
    api: ProductRatePlan
    storage: ProductRatePlan
    mail: ProductRatePlan


class Batches(NamedTuple):
    """The three billing batches: who is billed together."""

    direct: BillingBatch
    key: BillingBatch
    partners: BillingBatch


def add_brand() -> InvoiceTemplate:
    """Put the seller's name, bank and logo on the default template; return a second one on US Letter paper.

    The IBAN is the one that banks print in documentation; no money can be sent to it.
    """
    brand: dict[str, Any] = {
        "legal_name": "Fjordlight Systems GmbH",
        "address": "Am Sandtorkai 1\n20457 Hamburg",
        "country": "DE",
        "vat_id": "DE999999999",
        "register": "Amtsgericht Hamburg, HRB 000000",
        "email": "billing@fjordlight.example",
        "website": "www.fjordlight.example",
        "phone": "+49 40 66969 100",
        "bank_name": "Example Bank",
        "iban": "DE89370400440532013000",
        "colour": "#0e7490",
        "logo": f"data:image/png;base64,{base64.b64encode(LOGO.read_bytes()).decode()}",
        "footer": "Fjordlight Systems GmbH · Managing directors: Ingrid Dahl, Matthias Kern",
        "late_payment_note": "Please quote the invoice number with your payment.",
        "explain_amounts": True,
    }
    standard = InvoiceTemplate.objects.get(is_default=True)
    for field, value in brand.items():
        setattr(standard, field, value)
    standard.full_clean()
    standard.save()
    letter = InvoiceTemplate(name="US Letter", page_size="Letter", **brand)
    letter.full_clean()
    letter.save()
    return letter


def add_batches() -> Batches:
    """Name the three billing batches."""
    found = []
    for code, alias in (
        ("Batch1", "Direct customers"),
        ("Batch2", "Key accounts"),
        ("Batch3", "Resellers and partners"),
    ):
        batch, _ = BillingBatch.objects.get_or_create(code=code)
        batch.alias = alias
        batch.save(update_fields=["alias"])
        found.append(batch)
    return Batches(*found)


def add_terms_and_fields() -> PaymentTerm:
    """Define the custom field “Industry” and return the payment term “15th of next month”."""
    CustomField.objects.create(entity="Account", name="Industry", label="Industry", kind="Picklist", choices=INDUSTRIES)
    return PaymentTerm.objects.create(name="15th of next month", kind="Prox", cutoff_day=31, months=1, due_day=15)


def add_people() -> dict[str, User]:
    """Make one user a role, all with the demo's password; outside a demo nobody, for such passwords are known.

    Users that exist already stay as they are.
    """
    if not settings.DEMO:
        return {}
    people = {}
    for role, (first, last) in PEOPLE.items():
        email = f"{first}.{last}@fjordlight.example".lower()
        person, new = User.objects.get_or_create(
            username=role, defaults={"first_name": first, "last_name": last, "email": email, "is_staff": True}
        )
        if new:
            person.set_password(settings.DEMO_PASSWORD)
            person.save()
            person.groups.add(Group.objects.get(name=role))
        people[role] = person
    return people


def _prices(usd: str, eur: str, jpy: str) -> dict[str, Decimal]:
    return {"USD": Decimal(usd), "EUR": Decimal(eur), "JPY": Decimal(jpy)}


def _tiers(**ladders: list[tuple[int | None, str]]) -> dict[str, tuple[Tier, ...]]:
    """Return tiers by currency from (end, price per unit); None is without end."""
    return {
        currency: tuple(
            Tier(None if end is None else Decimal(end), Decimal(price), PriceFormat.PER_UNIT) for end, price in ladder
        )
        for currency, ladder in ladders.items()
    }


_month = partial(create_charge, billing_period=BillingPeriod.MONTH)
_quarter = partial(create_charge, billing_period=BillingPeriod.QUARTER)
_seats = partial(_month, charge_model=ChargeModel.PER_UNIT, unit="seat")
_once = partial(create_charge, charge_type=ChargeType.ONE_TIME)


def add_catalogue() -> Sold:
    """Fill the catalogue: platform, archive, support, gateways, resellers' seats, discounts, usage; in three currencies."""
    platform = create_product(sku=FIRST_SKU, name="Fjord Platform", effective_start=SOLD_SINCE)
    support = create_product(sku="FJ-SUPPORT", name="Support", effective_start=SOLD_SINCE)
    return Sold(
        starter=_starter(platform),
        team=_team(platform),
        business=_business(platform),
        enterprise=_enterprise(platform),
        archive=_archive(),
        standard_support=_standard_support(support),
        premium_support=_premium_support(support),
        gateway=_gateway(),
        reseller=_reseller(),
        non_profit=_non_profit(platform),
        welcome=_welcome(),
        **add_usage_products(),
    )


def _starter(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Starter")
    _month(rate_plan=plan, name="Starter plan", prices=_prices("59", "49", "7900"))
    return plan


def _team(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Team")
    _seats(rate_plan=plan, name="Team seats", prices=_prices("14", "12", "1800"), default_quantity=Decimal(5))
    _once(rate_plan=plan, name="Onboarding workshop", prices=_prices("290", "250", "38000"))
    return plan


def _business(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Business")
    per_year = partial(_quarter, charge_model=ChargeModel.PER_UNIT, unit="seat", list_price_base=ListPriceBase.PER_YEAR)
    per_year(rate_plan=plan, name="Business seats", prices=_prices("198", "168", "26400"), default_quantity=Decimal(25))
    _quarter(
        rate_plan=plan,
        name="Single sign-on",
        prices=_prices("90", "80", "12000"),
        list_price_base=ListPriceBase.PER_MONTH,
    )
    return plan


def _enterprise(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Enterprise")
    create_charge(
        rate_plan=plan,
        name="Enterprise platform",
        billing_period=BillingPeriod.ANNUAL,
        prices=_prices("14400", "12000", "1800000"),
    )
    _quarter(
        rate_plan=plan,
        name="Enterprise seats",
        charge_model=ChargeModel.TIERED,
        list_price_base=ListPriceBase.PER_MONTH,
        unit="seat",
        default_quantity=Decimal(180),
        prices=_tiers(
            USD=[(100, "11"), (500, "9"), (None, "7.5")],
            EUR=[(100, "9.5"), (500, "8"), (None, "6.5")],
            JPY=[(100, "1450"), (500, "1200"), (None, "990")],
        ),
    )
    _once(
        rate_plan=plan,
        name="Implementation",
        prices=_prices("4800", "4200", "620000"),
        trigger_event=TriggerEvent.SERVICE_ACTIVATION,
    )
    return plan


def _archive() -> ProductRatePlan:
    product = create_product(sku="FJ-ARCHIVE", name="Fjord Archive", effective_start=SOLD_SINCE)
    plan = create_rate_plan(product=product, name="Archive storage")
    _month(
        rate_plan=plan,
        name="Archive storage",
        billing_timing=BillingTiming.IN_ARREARS,
        charge_model=ChargeModel.VOLUME,
        unit="GB",
        default_quantity=Decimal(250),
        prices=_tiers(
            USD=[(500, "0.20"), (5000, "0.15"), (None, "0.10")],
            EUR=[(500, "0.18"), (5000, "0.135"), (None, "0.09")],
            JPY=[(500, "28"), (5000, "21"), (None, "14")],
        ),
    )
    return plan


def _standard_support(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Standard support")
    create_charge(
        rate_plan=plan,
        name="Standard support",
        billing_period=BillingPeriod.SEMI_ANNUAL,
        prices=_prices("600", "540", "80000"),
    )
    return plan


def _premium_support(product: Product) -> ProductRatePlan:
    plan = create_rate_plan(product=product, name="Premium support")
    _quarter(
        rate_plan=plan,
        name="Premium support",
        billing_timing=BillingTiming.IN_ARREARS,
        prices=_prices("1350", "1200", "180000"),
    )
    return plan


def _gateway() -> ProductRatePlan:
    product = create_product(sku="FJ-GATEWAY", name="Fjord Gateway", effective_start=SOLD_SINCE)
    plan = create_rate_plan(product=product, name="Gateway rental")
    # Rented from the day of delivery, and billed on that day of each month whatever the account's cycle is.
    _month(
        rate_plan=plan,
        name="Gateway rental",
        charge_model=ChargeModel.PER_UNIT,
        unit="device",
        billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
        default_quantity=Decimal(2),
        prices=_prices("39", "35", "5200"),
    )
    _once(rate_plan=plan, name="Delivery and set-up", prices=_prices("120", "110", "16000"))
    return plan


def _reseller() -> ProductRatePlan:
    product = create_product(sku="FJ-RESELLER", name="Fjord Reseller", effective_start=SOLD_SINCE)
    plan = create_rate_plan(product=product, name="Reseller seats")
    _seats(rate_plan=plan, name="Reseller seats", prices=_prices("6.50", "5.80", "900"), default_quantity=Decimal(3))
    return plan


def _non_profit(product: Product) -> ProductRatePlan:
    """Return the team plan with a percentage off all that recurs in it."""
    plan = create_rate_plan(product=product, name="Team for non-profits")
    _seats(rate_plan=plan, name="Non-profit seats", prices=_prices("14", "12", "1800"), default_quantity=Decimal(5))
    _month(
        rate_plan=plan,
        name="Non-profit discount",
        charge_model=ChargeModel.DISCOUNT_PERCENTAGE,
        discount_level=DiscountLevel.RATE_PLAN,
        discount_applies_to=[ChargeType.RECURRING],
        prices=_prices("25", "25", "25"),
    )
    return plan


def _welcome() -> ProductRatePlan:
    """Return a plan that takes an amount off the first six months of whatever the account is billed."""
    product = create_product(sku="FJ-WELCOME", name="Welcome bonus", effective_start=SOLD_SINCE)
    plan = create_rate_plan(product=product, name="Welcome bonus")
    _month(
        rate_plan=plan,
        name="Welcome bonus",
        charge_model=ChargeModel.DISCOUNT_FIXED,
        discount_level=DiscountLevel.ACCOUNT,
        discount_applies_to=[ChargeType.RECURRING],
        end_condition=EndCondition.FIXED_PERIOD,
        up_to_periods=6,
        up_to_periods_type=UpToPeriodsType.MONTHS,
        prices=_prices("50", "45", "7000"),
    )
    return plan
