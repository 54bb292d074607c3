"""What operators do with the catalogue beyond plain records: add a charge with its price, set prices."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.idempotency import FIELD, new_request_key, once
from accounts.models import Account
from accounts.operator_admin import site
from billing.core.types import PriceFormat, Tier
from billing.forms.catalog import RECURRING_ONLY, ChargeForm, PriceForm, with_more_tiers
from billing.models import ProductRatePlan, ProductRatePlanCharge, ProductRatePlanChargePrice
from billing.services.catalog import TIERED, create_charge, set_price


@require_http_methods(["GET", "POST"])
@once
def new_charge(request: HttpRequest) -> HttpResponse:
    """Show the form of a new charge with its first price, or create them."""
    if request.method != "POST":
        plan = request.GET.get("plan", "")
        first = {"charge_type": "Recurring", "billing_period": "Month", "rate_plan": plan if plan.isdigit() else None}
        return _charge_page(request, ChargeForm(initial=first), PriceForm(initial={"currency": usual_currency()}))
    if "more_tiers" in request.POST:
        data = with_more_tiers(request.POST)
        return _charge_page(request, ChargeForm(data), PriceForm(data), quiet=True)
    form = ChargeForm(request.POST)
    price = PriceForm(request.POST, model=request.POST.get("charge_model", ""))
    if all([form.is_valid(), price.is_valid()]):
        values = {name: form.cleaned_data[name] for name in ChargeForm.Meta.fields}
        wanted = price.read(values["charge_model"])
        if wanted is not None:
            try:
                charge = create_charge(prices={price.cleaned_data["currency"]: wanted}, **values)
            except ValidationError as error:
                _spread(error, form, price, model=values["charge_model"])
            else:
                return _saved(request, charge, f"Charge “{charge.name}” is added.", is_new=True)
    return _charge_page(request, form, price, status=422)


def _charge_page(
    request: HttpRequest, form: ChargeForm, price: PriceForm, *, status: int = 200, quiet: bool = False
) -> HttpResponse:
    plans = ProductRatePlan.objects.select_related("product")
    form.fields["rate_plan"].queryset = plans  # type: ignore[attr-defined]
    chosen = str(form["rate_plan"].value() or "")
    context = {
        "title": "New charge",
        "form": form,
        "price": price,
        "plan": plans.filter(pk=chosen).first() if chosen.isdigit() else None,
        "recurring": [form[name] for name in RECURRING_ONLY],
        "quiet": quiet,
    }
    return _page(request, "billing/new_charge.html", context, status=status)


@require_http_methods(["GET", "POST"])
@once
def charge_price(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what a charge costs in one currency (`?currency=EUR`), or set it."""
    charge = get_object_or_404(ProductRatePlanCharge.objects.select_related("rate_plan__product"), pk=pk)
    if request.method != "POST":
        return _price_page(request, charge, _current_price(charge, request.GET.get("currency", "")))
    if "more_tiers" in request.POST:
        return _price_page(request, charge, PriceForm(with_more_tiers(request.POST)), quiet=True)
    price = PriceForm(request.POST, model=charge.charge_model)
    if price.is_valid():
        wanted = price.read(charge.charge_model)
        if wanted is not None:
            currency = price.cleaned_data["currency"]
            try:
                set_price(charge=charge, currency=currency, price=wanted)
            except ValidationError as error:
                price.add_refusal(error, model=charge.charge_model)
            else:
                return _saved(request, charge, f"The {currency} price of “{charge.name}” is set.")
    return _price_page(request, charge, price, status=422)


def _current_price(charge: ProductRatePlanCharge, currency: str) -> PriceForm:
    row = ProductRatePlanChargePrice.objects.filter(charge=charge, currency=currency).first()
    if row is None:
        return PriceForm(initial={"currency": currency})
    tiers = [Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in row.tiers.all()]
    plain = None if row.price is None else row.price.normalize()
    return PriceForm(initial={"currency": currency, "price": plain if plain is None else f"{plain:f}"}, tiers=tiers)


def _price_page(
    request: HttpRequest, charge: ProductRatePlanCharge, price: PriceForm, *, status: int = 200, quiet: bool = False
) -> HttpResponse:
    context = {
        "title": f"Price of {charge.name}",
        "charge": charge,
        "price": price,
        "is_tiered": charge.charge_model in TIERED,
        "product": charge.rate_plan.product,
        "quiet": quiet,
    }
    return _page(request, "billing/price.html", context, status=status)


def _page(request: HttpRequest, template: str, context: dict[str, Any], *, status: int) -> HttpResponse:
    context |= {"request_key": new_request_key(), "key_field": FIELD}
    response = site.render(request, template, context)
    response.status_code = status
    return response


def _spread(error: ValidationError, form: ChargeForm, price: PriceForm, *, model: str) -> None:
    """Show what the service objects to where it belongs: the charge's fields, or its price."""
    problems = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for name, texts in problems.items():
        if name in form.fields:
            form.add_error(name, texts)
        else:
            price.add_refusal(ValidationError({name: texts} if name else texts), model=model)


def _saved(request: HttpRequest, charge: ProductRatePlanCharge, said: str, *, is_new: bool = False) -> HttpResponse:
    admin: Any = site.get_model_admin(ProductRatePlanCharge)
    if is_new:
        admin.log_addition(request, charge, [{"added": {}}])
    else:
        admin.log_change(request, charge, said)
    messages.success(request, said)
    if "another_currency" in request.POST:
        return HttpResponseRedirect(reverse("admin:billing_charge_price", args=[charge.pk]))
    return HttpResponseRedirect(charge.rate_plan.product.get_absolute_url())


def usual_currency() -> str:
    """Return the currency of the latest account, in which the next price is most likely given."""
    return Account.objects.order_by("-pk").values_list("currency", flat=True).first() or ""
