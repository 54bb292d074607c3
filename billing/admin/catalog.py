"""Pages of the catalogue: products with their rate plans, charges and prices."""

from typing import Any

from django.contrib.admin import display, register
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.clock import business_today
from accounts.list_filters import Chip
from accounts.operator_admin import OperatorAdmin, site
from accounts.operator_site import is_fragment_request
from accounts.wording import number, unit_price
from billing.core.types import ChargeModel
from billing.forms.charges import DISCOUNT_ONLY, USAGE_ONLY, ChargeForm
from billing.models import (
    Product,
    ProductRatePlan,
    ProductRatePlanCharge,
    ProductRatePlanChargePrice,
    ProductRatePlanChargeTier,
)
from billing.views import catalog as views
from billing.views.period_preview import preview_of


class CatalogueAdmin(OperatorAdmin):
    """Records of the catalogue: edited by right, and saving leads back to the product they belong to."""

    data_fix = False

    def product_of(self, obj: Any) -> Product:
        """Return the product a record belongs to."""
        raise NotImplementedError

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Return to the product, where the next step begins."""
        return HttpResponseRedirect(self.product_of(obj).get_absolute_url())

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Return to the product."""
        return HttpResponseRedirect(self.product_of(obj).get_absolute_url())

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Name what was sold of it before any lack of rights: no right would make the deletion possible."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set() if protected else lacking, protected


@register(Product, site=site)
class ProductAdmin(CatalogueAdmin):
    """Products: what is sold."""

    object_page = True
    object_template = "billing/product.html"
    list_display = ("name", "sku", "effective_start", "effective_end")
    search_fields = ("name__istartswith", "sku__istartswith")
    search_placeholder = "Name or SKU begins with"
    empty_text = "No products yet. A product has rate plans, a plan has charges with prices."
    fields = ("name", "sku", "description", ("effective_start", "effective_end"))

    def product_of(self, obj: Product) -> Product:
        return obj

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin to sell a new product today, unless told otherwise."""
        return {"effective_start": business_today(), **super().get_changeform_initial_data(request)}

    def object_context(self, request: HttpRequest, obj: Product, tab: str) -> dict[str, Any]:
        """Return the plans with their charges and prices."""
        return {"product": obj, "plans": obj.rate_plans.prefetch_related("charges__prices__tiers")}


@register(ProductRatePlan, site=site)
class ProductRatePlanAdmin(CatalogueAdmin):
    """Rate plans: ways to buy a product."""

    noun, nouns = "rate plan", "rate plans"
    list_display = ("name", "product")
    list_select_related = ("product",)
    search_fields = ("name__istartswith", "product__name__istartswith")
    search_placeholder = "Plan or product begins with"
    fields = ("product", "name", "description")

    def product_of(self, obj: ProductRatePlan) -> Product:
        return obj.product

    def get_readonly_fields(self, request: HttpRequest, obj: ProductRatePlan | None = None) -> tuple[str, ...]:
        """Leave a plan with its product."""
        return ("product",) if obj is not None else ()


@register(ProductRatePlanCharge, site=site)
class ProductRatePlanChargeAdmin(CatalogueAdmin):
    """Charges of the catalogue; added with their first price on a page of their own."""

    form = ChargeForm
    noun, nouns = "catalogue charge", "catalogue charges"
    list_display = ("name", "rate_plan", "charge_type", "charge_model", "billing_period", "billing_timing")
    list_select_related = ("rate_plan__product",)
    search_fields = ("name__istartswith",)
    search_placeholder = "Name begins with"
    chip_filters = ("charge_type", "charge_model")
    add_label = "New charge"
    add_url_name = "admin:billing_charge_new"
    change_form_template = "billing/charge.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "rate_plan",
                    "name",
                    ("charge_type", "charge_model"),
                    ("unit", "default_quantity"),
                    "trigger_event",
                    ("end_condition", "up_to_periods", "up_to_periods_type"),
                )
            },
        ),
        (
            "Recurring charges and usage",
            {
                "fields": (
                    ("billing_period", "period_length", "billing_timing"),
                    ("list_price_base", "price_base_months"),
                    ("billing_day_type", "billing_day"),
                    "alignment",
                )
            },
        ),
        ("Usage only", {"fields": USAGE_ONLY}),
        ("Discounts only", {"fields": DISCOUNT_ONLY}),
    )

    def product_of(self, obj: ProductRatePlanCharge) -> Product:
        return obj.rate_plan.product

    def get_readonly_fields(self, request: HttpRequest, obj: ProductRatePlanCharge | None = None) -> tuple[str, ...]:
        """Leave a charge with its plan."""
        return ("rate_plan",) if obj is not None else ()

    def get_fieldsets(self, request: HttpRequest, obj: ProductRatePlanCharge | None = None) -> Any:
        """Let those who may change a charge choose weekday and unit of usage by name; they are fields of the form alone."""
        shown: Any = super().get_fieldsets(request, obj)
        return (
            [*shown, (None, {"fields": ("weekday", "measure")})] if self.has_change_permission(request, obj) else shown
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form with the charge's first periods; htmx asks for the periods alone when something changes."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_view_permission(request, obj):
            return super().change_view(request, object_id, form_url, extra_context)
        if request.method == "GET" and is_fragment_request(request) and "starts_on" in request.GET:
            return site.render(request, "billing/_period_preview.html", preview_of(request.GET, obj))
        own = {"starts_on", "cycle_day", "currency"} & request.GET.keys()
        context = preview_of({name: request.GET[name] for name in own}, obj) | {"preview_url": request.path}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where a charge is created together with its price."""
        return HttpResponseRedirect(reverse(self.add_url_name))


class PriceRecordAdmin(CatalogueAdmin):
    """Prices and tiers as records: looked at here, set on the price page, which checks them together."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: a price is given on the page of its charge."""
        return False

    def price_of(self, obj: Any) -> ProductRatePlanChargePrice:
        """Return the price a record belongs to."""
        raise NotImplementedError

    def product_of(self, obj: Any) -> Product:
        return self.price_of(obj).charge.rate_plan.product

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the page that sets the price; show the record to those who may only look."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_change_permission(request, obj):
            return super().change_view(request, object_id, form_url, extra_context)
        price = self.price_of(obj)
        page = reverse("admin:billing_charge_price", args=[price.charge_id])
        return HttpResponseRedirect(f"{page}?currency={price.currency}")


@register(ProductRatePlanChargePrice, site=site)
class ProductRatePlanChargePriceAdmin(PriceRecordAdmin):
    """Prices of catalogue charges."""

    noun, nouns = "catalogue price", "catalogue prices"
    list_display = ("charge", "currency", "shown_price")
    list_select_related = ("charge__rate_plan__product",)
    search_fields = ("charge__name__istartswith",)
    search_placeholder = "Charge begins with"
    chip_filters = (Chip("currency__exact", "Currency", kind="text"),)
    export_fields = (("charge", "charge__name"), ("rate_plan", "charge__rate_plan__name"), "currency", "price")

    @display(description="Price", ordering="price")
    def shown_price(self, row: ProductRatePlanChargePrice) -> str:
        if row.price is None:
            return "tiers"
        if row.charge.charge_model == ChargeModel.DISCOUNT_PERCENTAGE:
            return f"{number(row.price)}\N{NO-BREAK SPACE}%"
        return unit_price(row.price, row.currency)

    shown_price.numeric = True  # type: ignore[attr-defined]

    def price_of(self, obj: ProductRatePlanChargePrice) -> ProductRatePlanChargePrice:
        return obj


@register(ProductRatePlanChargeTier, site=site)
class ProductRatePlanChargeTierAdmin(PriceRecordAdmin):
    """Tiers of catalogue prices."""

    noun, nouns = "catalogue tier", "catalogue tiers"
    list_display = ("price_row", "number", "up_to", "price", "price_format")
    list_select_related = ("price_row__charge__rate_plan__product",)

    def price_of(self, obj: ProductRatePlanChargeTier) -> ProductRatePlanChargePrice:
        return obj.price_row


site.register_page(
    "billing/productrateplancharge/new/",
    views.new_charge,
    "billing_charge_new",
    permission="billing.add_productrateplancharge",
)
site.register_page(
    "billing/productrateplancharge/<int:pk>/price/",
    views.charge_price,
    "billing_charge_price",
    permission="billing.change_productrateplanchargeprice",
)
site.add_navigation(
    "Catalogue", "Products", "admin:billing_product_changelist", "product", "billing.view_product", order=10
)
