"""Units of measure in the operators' site: what usage counts, and what a change of one means for the charges that name it."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import display, register
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.operator_admin import OperatorAdmin, site
from accounts.wording import number
from billing.core.types import ChargeType
from billing.models import ProductRatePlanCharge, RatePlanCharge, UnitOfMeasure
from billing.unit_uses import rounding_words, uses_of

CHARGES_SHOWN = 25
STAYS = (
    "What was billed and rated stays as it is. From the next bill run on usage is rounded the new way; usage that comes"
    " late for days billed before has them rated anew, so that the difference is billed with it."
)


def _charges_of(model: type[ProductRatePlanCharge] | type[RatePlanCharge]) -> Any:
    named = model._default_manager.filter(unit=OuterRef("name"), charge_type=ChargeType.USAGE)
    counted = named.order_by().values("unit").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@register(UnitOfMeasure, site=site)
class UnitOfMeasureAdmin(OperatorAdmin):
    """Units of measure; one that charges name keeps its name and stays."""

    data_fix = False
    object_page = True
    object_template = "billing/unit.html"
    change_form_template = "billing/unit_form.html"
    list_display = ("name", "decimals", "rounding", "in_catalogue", "in_subscriptions")
    search_fields = ("name__istartswith",)
    search_placeholder = "Name begins with"
    chip_filters = ("rounding",)
    export_fields = ("name", "decimals", "rounding")
    empty_text = "No units of measure yet. A charge for usage names the unit that its usage is counted in."
    fields = ("name", ("decimals", "rounding"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[UnitOfMeasure]:
        """Return the units with the number of charges that name them."""
        counts = {"catalogue": _charges_of(ProductRatePlanCharge), "subscribed": _charges_of(RatePlanCharge)}
        return super().get_queryset(request).annotate(**counts)

    @display(description="Charges in the catalogue", ordering="catalogue")
    def in_catalogue(self, unit: Any) -> str:
        return number(unit.catalogue)

    @display(description="Charges of subscriptions", ordering="subscribed")
    def in_subscriptions(self, unit: Any) -> str:
        return number(unit.subscribed)

    in_catalogue.numeric = True  # type: ignore[attr-defined]
    in_subscriptions.numeric = True  # type: ignore[attr-defined]

    def object_context(self, request: HttpRequest, obj: UnitOfMeasure, tab: str) -> dict[str, Any]:
        """Return the charges of the catalogue that count in it, and how many of subscriptions do."""
        charges = ProductRatePlanCharge.objects.filter(unit=obj.name, charge_type=ChargeType.USAGE)
        return {
            "unit": obj,
            "uses": uses_of(obj),
            "rounding_words": rounding_words(obj),
            "charges": charges.select_related("rate_plan__product").order_by("rate_plan__product__name", "name")[
                :CHARGES_SHOWN
            ],
        }

    def get_readonly_fields(self, request: HttpRequest, obj: UnitOfMeasure | None = None) -> tuple[str, ...]:
        """Keep the name that charges know a unit by."""
        return ("name",) if obj is not None and uses_of(obj) else ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say above the form what a change means for the charges that count in the unit."""
        obj = self.get_object(request, object_id)
        uses = uses_of(obj) if obj is not None else None
        context = {"uses": uses, "stays": STAYS, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def response_post_save_add(self, request: HttpRequest, obj: UnitOfMeasure) -> HttpResponseRedirect:
        """Show the new unit with an example of its rounding."""
        return HttpResponseRedirect(obj.get_absolute_url())

    def save_model(self, request: HttpRequest, obj: UnitOfMeasure, form: Any, change: bool) -> None:
        """Save, and say whom another rounding concerns."""
        super().save_model(request, obj, form, change)
        if change and {"decimals", "rounding"} & set(form.changed_data):
            uses = uses_of(obj)
            if uses:
                messages.info(request, f"{uses.words} {uses.verb} in {obj.name}. {STAYS}")

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Name the charges that forbid it: they hold the unit's name, no key that Django knows of."""
        named = {"unit__in": [unit.name for unit in objs], "charge_type": ChargeType.USAGE}
        blocking: list[Any] = []
        for model in (ProductRatePlanCharge, RatePlanCharge):
            found: Any = model._default_manager.filter(**named)
            noun = "Catalogue charge" if model is ProductRatePlanCharge else "Charge"
            shown = found.select_related("rate_plan")[:6]
            blocking += [f"{noun}: {charge}" for charge in shown[:5]]
            blocking += [f"… and further {noun.lower()}s"] * (len(shown) > 5)
        return ([], {}, set(), blocking) if blocking else super().get_deleted_objects(objs, request)


site.add_navigation(
    "Catalogue",
    "Units of measure",
    "admin:billing_unitofmeasure_changelist",
    "usage",
    "billing.view_unitofmeasure",
    order=20,
)
