"""Keeping the catalogue: products, their rate plans, and charges with a price for each currency."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction

from billing.core.smoothing import Smoothing
from billing.core.types import (
    Alignment,
    BillingDayType,
    BillingPeriod,
    BillingTiming,
    ChargeModel,
    ChargeType,
    DiscountLevel,
    ListPriceBase,
    RatingGroup,
    Tier,
    UsageRating,
)
from billing.models import (
    Product,
    ProductRatePlan,
    ProductRatePlanCharge,
    ProductRatePlanChargePrice,
    ProductRatePlanChargeTier,
    UnitOfMeasure,
)
from billing.models.terms import EndCondition, TriggerEvent, UpToPeriodsType
from billing.services.charge_checks import charge_flaws, credit_rate_flaws, price_flaws, quantity_flaws, tier_flaws
from billing.services.charge_terms import TIERED, credits_unused, includes_units
from billing.services.usage_checks import unit_flaw

__all__ = ["TIERED", "create_charge", "create_product", "create_rate_plan", "refuse_flaws", "set_price"]


def create_product(
    *, sku: str, name: str, effective_start: date, effective_end: date | None = None, description: str = ""
) -> Product:
    """Create a product that is sold from `effective_start` up to but not including `effective_end`."""
    product = Product(
        sku=sku, name=name, description=description, effective_start=effective_start, effective_end=effective_end
    )
    product.full_clean()
    product.save(force_insert=True)
    return product


def create_rate_plan(*, product: Product, name: str, description: str = "") -> ProductRatePlan:
    """Add a rate plan to a product."""
    plan = ProductRatePlan(product=product, name=name, description=description)
    plan.full_clean()
    plan.save(force_insert=True)
    return plan


def create_charge(
    *,
    rate_plan: ProductRatePlan,
    name: str,
    prices: Mapping[str, Decimal | Sequence[Tier]],
    charge_type: ChargeType = ChargeType.RECURRING,
    charge_model: ChargeModel = ChargeModel.FLAT_FEE,
    billing_period: BillingPeriod | None = None,
    billing_timing: BillingTiming = BillingTiming.IN_ADVANCE,
    list_price_base: ListPriceBase = ListPriceBase.PER_BILLING_PERIOD,
    billing_day_type: BillingDayType = BillingDayType.ACCOUNT,
    alignment: Alignment = Alignment.CHARGE,
    trigger_event: TriggerEvent = TriggerEvent.CONTRACT_EFFECTIVE,
    unit: str = "",
    default_quantity: Decimal | None = None,
    period_length: int = 0,
    price_base_months: int = 0,
    billing_day: int = 0,
    end_condition: EndCondition = EndCondition.SUBSCRIPTION_END,
    up_to_periods: int | None = None,
    up_to_periods_type: UpToPeriodsType = UpToPeriodsType.BILLING_PERIODS,
    discount_level: DiscountLevel | None = None,
    discount_applies_to: Sequence[ChargeType] = (),
    discount_stacked: bool = False,
    rating_group: RatingGroup = RatingGroup.BILLING_PERIOD,
    usage_rating: UsageRating = UsageRating.END_OF_PERIOD,
    smoothing: Smoothing | None = None,
) -> ProductRatePlanCharge:
    """Add a charge to a rate plan, with one price (flat fee, per unit, discount) or one set of tiers for each currency.

    The price of a percentage discount is its percentage; the usual quantity of overage is the units included. The
    credit rate of a smoothed charge holds for all its currencies. Usage is always billed in arrears. Raises ValidationError naming the field; then nothing
    was created.
    """
    charge = ProductRatePlanCharge(
        rate_plan=rate_plan,
        name=name,
        charge_type=charge_type,
        charge_model=charge_model,
        billing_period=billing_period or "",
        billing_timing=BillingTiming.IN_ARREARS if charge_type == ChargeType.USAGE else billing_timing,
        list_price_base=list_price_base,
        billing_day_type=billing_day_type,
        alignment=alignment,
        trigger_event=trigger_event,
        unit=unit,
        default_quantity=default_quantity,
        period_length=period_length,
        price_base_months=price_base_months,
        billing_day=billing_day,
        end_condition=end_condition,
        up_to_periods=up_to_periods,
        up_to_periods_type=up_to_periods_type,
        discount_level=discount_level or "",
        discount_applies_to=list(discount_applies_to),
        discount_stacked=discount_stacked,
        rating_group=rating_group,
        usage_rating=usage_rating,
    )
    if smoothing is not None:
        charge.smoothing_model = smoothing.model
        charge.smoothing_periods = smoothing.periods
        charge.overage_calculation = smoothing.calculation
        charge.unused_units_credit = smoothing.unused_units
    refuse_flaws(charge)
    charge.full_clean()
    with transaction.atomic():
        charge.save(force_insert=True)
        for currency, price in prices.items():
            rate = None if smoothing is None else smoothing.credit_rate
            set_price(charge=charge, currency=currency, price=price, credit_rate=rate)
    return charge


def set_price(
    *,
    charge: ProductRatePlanCharge,
    currency: str,
    price: Decimal | Sequence[Tier],
    credit_rate: Decimal | None = None,
) -> ProductRatePlanChargePrice:
    """Set what a charge costs in one currency; subscriptions keep the price they were sold at.

    Raises ValidationError if the charge's model needs the other kind of price, its tiers leave gaps, a price lies below
    zero or (a percentage) above 100, or a charge that credits unused units has no credit rate.
    """
    tiers = None if isinstance(price, Decimal) else tuple(price)
    _refuse_wrong_price(charge, price if isinstance(price, Decimal) else None, tiers)
    rate_flaws = list(credit_rate_flaws(credit_rate, currency, is_needed=credits_unused(charge)))
    if rate_flaws:
        raise ValidationError({"credit_rate": [f"“{charge.name}” {words}." for words in rate_flaws]})
    with transaction.atomic():
        row = ProductRatePlanChargePrice.objects.filter(charge=charge, currency=currency).first()
        row = row or ProductRatePlanChargePrice(charge=charge, currency=currency)
        row.price = price if isinstance(price, Decimal) else None
        row.credit_rate = credit_rate
        row.full_clean()
        row.save()
        row.tiers.all().delete()
        ProductRatePlanChargeTier.objects.bulk_create(
            ProductRatePlanChargeTier(price_row=row, number=number, **tier._asdict())
            for number, tier in enumerate(tiers or (), start=1)
        )
    return row


def refuse_flaws(charge: ProductRatePlanCharge) -> None:
    """Raise ValidationError by field if a charge cannot be billed as its terms say."""
    flaws: dict[str, list[str]] = {}
    for field, message in charge_flaws(charge):
        flaws.setdefault(field, []).append(message)
    is_usage = charge.charge_type == ChargeType.USAGE
    if is_usage and charge.unit and not UnitOfMeasure.objects.filter(name=charge.unit).exists():
        field, message = unit_flaw(charge.unit)
        flaws.setdefault(field, []).append(message)
    if includes_units(charge) and charge.default_quantity is None:
        flaws["default_quantity"] = ["How many units are included? Write 0 if none are."]
    for words in quantity_flaws(charge, charge.default_quantity):
        flaws.setdefault("default_quantity", []).append(f"“{charge.name}” {words}.")
    if flaws:
        raise ValidationError(flaws)


def _refuse_wrong_price(charge: ProductRatePlanCharge, price: Decimal | None, tiers: tuple[Tier, ...] | None) -> None:
    needs_tiers = charge.charge_model in TIERED
    if needs_tiers != (tiers is not None):
        wanted = "tiers instead of one price" if needs_tiers else "one price instead of tiers"
        raise ValidationError(
            {"price": f"“{charge.name}” is a {charge.get_charge_model_display()} charge: give {wanted}."}
        )
    if tiers is not None and not tiers:
        raise ValidationError({"price": f"“{charge.name}” needs at least one tier."})
    flaws = [
        *tier_flaws(charge.charge_model, tiers or ()),
        *(price_flaws(charge.charge_model, price) if price is not None else ()),
    ]
    if flaws:
        raise ValidationError({"price": [f"“{charge.name}” {words}." for words in flaws]})
