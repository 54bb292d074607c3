"""Pages of the catalogue: products with their rate plans, charges and prices."""

from typing import Any

from django.contrib.admin import StackedInline, register
from django.http import HttpRequest

from accounts.operator_admin import OperatorAdmin, site
from billing.models import (
    Product,
    ProductRatePlan,
    ProductRatePlanCharge,
    ProductRatePlanChargePrice,
    ProductRatePlanChargeTier,
)


@register(Product, site=site)
class ProductAdmin(OperatorAdmin):
    """Products: what is sold."""

    object_page = True
    object_template = "billing/product.html"
    list_display = ("name", "sku", "effective_start", "effective_end")
    search_fields = ("name__startswith", "sku__startswith")
    data_fix = False
    empty_text = "No products yet. A product has rate plans, a plan has charges with prices."

    def object_context(self, request: HttpRequest, obj: Product, tab: str) -> dict[str, Any]:
        """Return the plans with their charges and prices."""
        return {"product": obj, "plans": obj.rate_plans.prefetch_related("charges__prices__tiers")}


class ChargeInline(StackedInline):
    """The charges of a plan."""

    model = ProductRatePlanCharge
    extra = 0
    show_change_link = True


@register(ProductRatePlan, site=site)
class ProductRatePlanAdmin(OperatorAdmin):
    """Rate plans: ways to buy a product."""

    list_display = ("name", "product")
    list_select_related = ("product",)
    search_fields = ("name__startswith", "product__name__startswith")
    data_fix = False
    inlines = (ChargeInline,)


class PriceInline(StackedInline):
    """The prices of a charge, one per currency."""

    model = ProductRatePlanChargePrice
    extra = 0
    show_change_link = True


@register(ProductRatePlanCharge, site=site)
class ProductRatePlanChargeAdmin(OperatorAdmin):
    """Charges of the catalogue."""

    list_display = ("name", "rate_plan", "charge_type", "charge_model", "billing_period", "billing_timing")
    list_select_related = ("rate_plan__product",)
    search_fields = ("name__startswith",)
    chip_filters = ("charge_type", "charge_model")
    data_fix = False
    inlines = (PriceInline,)


class TierInline(StackedInline):
    """The tiers of a price."""

    model = ProductRatePlanChargeTier
    extra = 0


@register(ProductRatePlanChargePrice, site=site)
class ProductRatePlanChargePriceAdmin(OperatorAdmin):
    """Prices of catalogue charges."""

    list_display = ("charge", "currency", "price")
    list_select_related = ("charge__rate_plan__product",)
    search_fields = ("charge__name__startswith",)
    data_fix = False
    inlines = (TierInline,)


@register(ProductRatePlanChargeTier, site=site)
class ProductRatePlanChargeTierAdmin(OperatorAdmin):
    """Tiers of catalogue prices."""

    list_display = ("price_row", "number", "up_to", "price", "price_format")
    list_select_related = ("price_row__charge__rate_plan__product",)
    data_fix = False


site.add_navigation(
    "Catalogue", "Products", "admin:billing_product_changelist", "product", "billing.view_product", order=10
)
