"""What the demo company charges by use: API calls, cloud storage and e-mails, with the units they are counted in."""

from datetime import date
from decimal import Decimal

from billing.core.smoothing import Smoothing, SmoothingModel
from billing.core.types import BillingDayType, BillingPeriod, ChargeModel, ChargeType, PriceFormat, RatingGroup, Tier
from billing.models import ProductRatePlan, UnitOfMeasure, UnitRounding
from billing.services.catalog import create_charge, create_product, create_rate_plan

SOLD_SINCE = date(2020, 1, 1)
API_CALL, GIGABYTE, MAIL = "API call", "GB", "e-mail"


def add_usage_products() -> dict[str, ProductRatePlan]:
    """Add the units of measure and one rate plan for each thing that is used; return the plans by their name in `Sold`."""
    UnitOfMeasure.objects.bulk_create(
        [
            UnitOfMeasure(name=API_CALL, decimals=0, rounding=UnitRounding.UP),
            UnitOfMeasure(name=GIGABYTE, decimals=2, rounding=UnitRounding.DOWN),
            UnitOfMeasure(name=MAIL, decimals=0, rounding=UnitRounding.UP),
        ],
        ignore_conflicts=True,
    )
    return {"api": _api_calls(), "storage": _cloud_storage(), "mail": _mails()}


def _tier(end: int | None, price: str, price_format: PriceFormat = PriceFormat.PER_UNIT) -> Tier:
    return Tier(None if end is None else Decimal(end), Decimal(price), price_format)


def _plan(sku: str, name: str) -> ProductRatePlan:
    return create_rate_plan(product=create_product(sku=sku, name=name, effective_start=SOLD_SINCE), name=name)


def _api_calls() -> ProductRatePlan:
    """Return a plan with a fee for the first calls, a price for further ones and a lower one for overage."""
    plan = _plan("FJ-API", "Fjord API")
    ladders = {"USD": ("20", "0.001", "0.0006"), "EUR": ("18", "0.0009", "0.0005"), "JPY": ("2900", "0.15", "0.09")}
    create_charge(
        rate_plan=plan,
        name="API calls",
        charge_type=ChargeType.USAGE,
        charge_model=ChargeModel.TIERED_WITH_OVERAGE,
        billing_period=BillingPeriod.MONTH,
        unit=API_CALL,
        prices={
            currency: (
                _tier(10_000, first, PriceFormat.FLAT_FEE),
                _tier(100_000, further),
                _tier(None, overage),
            )
            for currency, (first, further, overage) in ladders.items()
        },
    )
    return plan


def _cloud_storage() -> ProductRatePlan:
    """Return a plan whose quarter counts as one: a heavy month is made up for by light ones.

    It is billed from the day it begins, so that no first month is shorter than the others.
    """
    plan = _plan("FJ-CLOUD", "Fjord Cloud Storage")
    create_charge(
        rate_plan=plan,
        name="Cloud storage",
        charge_type=ChargeType.USAGE,
        charge_model=ChargeModel.OVERAGE,
        billing_period=BillingPeriod.MONTH,
        billing_day_type=BillingDayType.CHARGE_TRIGGER_DAY,
        unit=GIGABYTE,
        default_quantity=Decimal(500),
        smoothing=Smoothing(SmoothingModel.ROLLING_WINDOW, 3),
        prices={"USD": Decimal("0.10"), "EUR": Decimal("0.09"), "JPY": Decimal(14)},
    )
    return plan


def _mails() -> ProductRatePlan:
    """Return a plan that prices each mailing by its own size: all its e-mails at the price of the tier it reaches."""
    plan = _plan("FJ-MAIL", "Fjord Mail")
    ladders = {"USD": ("0.002", "0.0012"), "EUR": ("0.0018", "0.0011"), "JPY": ("0.3", "0.18")}
    create_charge(
        rate_plan=plan,
        name="E-mails sent",
        charge_type=ChargeType.USAGE,
        charge_model=ChargeModel.VOLUME,
        billing_period=BillingPeriod.MONTH,
        rating_group=RatingGroup.RECORD,
        unit=MAIL,
        prices={currency: (_tier(50_000, small), _tier(None, large)) for currency, (small, large) in ladders.items()},
    )
    return plan
