"""What operators do with the catalogue beyond plain records: add a charge with its price, set prices, look ahead."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.idempotency import FIELD, new_request_key, once
from accounts.models import Account
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from billing.core.smoothing import UnusedUnitsCredit
from billing.core.types import ChargeModel, PriceFormat, Tier
from billing.forms.catalog import PriceForm, shown_number, with_edited_tiers
from billing.forms.charges import SMOOTHING, ChargeForm
from billing.models import ProductRatePlan, ProductRatePlanCharge, ProductRatePlanChargePrice
from billing.services.catalog import TIERED, create_charge, set_price
from billing.services.charge_terms import credits_unused
from billing.views.period_preview import preview_of

FIRST_VALUES = {"charge_type": "Recurring", "charge_model": "FlatFee", "billing_period": "Month"}


@require_http_methods(["GET", "POST"])
@once
def new_charge(request: HttpRequest) -> HttpResponse:
    """Show the form of a new charge with its first price, or create them; `starts_on` asks for its first periods."""
    if request.method != "POST":
        if "starts_on" in request.GET and is_fragment_request(request):
            return site.render(request, "billing/_period_preview.html", preview_of(request.GET))
        return _empty_charge_page(request)
    edited = with_edited_tiers(request.POST)
    if edited is not None or "preview" in request.POST:
        data, row = edited or (request.POST, None)
        # Unbound forms: what is not finished yet is not refused yet.
        form, price = ChargeForm(initial=_typed(data)), PriceForm(initial=_typed(data), tier_data=data, focus=row)
        return _charge_page(request, form, price, sent=data)
    form = ChargeForm(request.POST)
    is_valid = form.is_valid()
    credited = form.cleaned_data.get("unused_units_credit") == UnusedUnitsCredit.CREDIT_BY_SPECIFIC_RATE
    price = PriceForm(request.POST, model=request.POST.get("charge_model", ""), credits_unused=credited)
    if all([is_valid, price.is_valid()]):
        values = {name: form.cleaned_data[name] for name in ChargeForm.Meta.fields if name not in SMOOTHING}
        values["smoothing"] = form.smoothing(price.cleaned_data["credit_rate"])
        wanted = price.read(values["charge_model"])
        if wanted is not None:
            try:
                charge = create_charge(prices={price.cleaned_data["currency"]: wanted}, **values)
            except ValidationError as error:
                _spread(error, form, price, model=values["charge_model"])
            else:
                return _saved(request, charge, f"Charge “{charge.name}” is added.", is_new=True)
    return _charge_page(request, form, price, status=422)


def _typed(data: QueryDict) -> dict[str, Any]:
    """Return what was typed in so far, as a form begins with it."""
    return {**data.dict(), "discount_applies_to": data.getlist("discount_applies_to")}


def _empty_charge_page(request: HttpRequest) -> HttpResponse:
    plan = request.GET.get("plan", "")
    form = ChargeForm(initial={**FIRST_VALUES, "rate_plan": plan if plan.isdigit() else None})
    return _charge_page(request, form, PriceForm(initial={"currency": usual_currency()}))


def _charge_page(
    request: HttpRequest, form: ChargeForm, price: PriceForm, *, status: int = 200, sent: QueryDict | None = None
) -> HttpResponse:
    plans = ProductRatePlan.objects.select_related("product")
    form.fields["rate_plan"].queryset = plans  # type: ignore[attr-defined]
    chosen = str(form["rate_plan"].value() or "")
    context = {
        "title": "New charge",
        "form": form,
        "price": price,
        "plan": plans.filter(pk=chosen).first() if chosen.isdigit() else None,
        "quiet": sent is not None,
        "preview_url": reverse("admin:billing_charge_new"),
        **preview_of(sent or request.POST, ProductRatePlanCharge(**FIRST_VALUES)),
    }
    return _page(request, "billing/new_charge.html", context, status=status)


@require_http_methods(["GET", "POST"])
@once
def charge_price(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what a charge costs in one currency (`?currency=EUR`), or set it; htmx edits it within another page."""
    charge = get_object_or_404(ProductRatePlanCharge.objects.select_related("rate_plan__product"), pk=pk)
    if request.method != "POST":
        currency = request.GET.get("currency", "")
        if "shown" in request.GET:
            return _price_cell(request, charge, currency)
        return _price_page(request, charge, _current_price(charge, currency), currency=currency)
    edited = with_edited_tiers(request.POST)
    currency = request.POST.get("currency", "")
    if edited is not None:
        data, row = edited
        price = PriceForm(initial=_typed(data), tier_data=data, focus=row)
        return _price_page(request, charge, price, currency=currency, quiet=True)
    price = PriceForm(request.POST, model=charge.charge_model, credits_unused=credits_unused(charge))
    if price.is_valid():
        wanted = price.read(charge.charge_model)
        if wanted is not None:
            currency = price.cleaned_data["currency"]
            try:
                rate = price.cleaned_data["credit_rate"]
                set_price(charge=charge, currency=currency, price=wanted, credit_rate=rate)
            except ValidationError as error:
                price.add_refusal(error, model=charge.charge_model)
            else:
                return _saved(request, charge, f"The {currency} price of “{charge.name}” is set.", currency=currency)
    return _price_page(request, charge, price, status=422, currency=currency)


def _current_price(charge: ProductRatePlanCharge, currency: str) -> PriceForm:
    row = ProductRatePlanChargePrice.objects.filter(charge=charge, currency=currency).first()
    model = charge.charge_model
    if row is None:
        return PriceForm(model=model, credits_unused=credits_unused(charge), initial={"currency": currency})
    tiers = [Tier(tier.up_to, tier.price, PriceFormat(tier.price_format)) for tier in row.tiers.all()]
    first = {
        "currency": currency,
        "price": None if row.price is None else shown_number(row.price),
        "credit_rate": shown_number(row.credit_rate),
    }
    return PriceForm(model=model, credits_unused=credits_unused(charge), initial=first, tiers=tiers, focus=0)


def _price_page(
    request: HttpRequest,
    charge: ProductRatePlanCharge,
    price: PriceForm,
    *,
    currency: str,
    status: int = 200,
    quiet: bool = False,
) -> HttpResponse:
    context = {
        "title": f"Price of {charge.name}",
        "charge": charge,
        "price": price,
        "currency": currency,
        "is_tiered": charge.charge_model in TIERED,
        "has_overage_tier": charge.charge_model == ChargeModel.TIERED_WITH_OVERAGE,
        "credits_unused": credits_unused(charge),
        "product": charge.rate_plan.product,
        "quiet": quiet,
    }
    template = "billing/_price_editor.html" if is_fragment_request(request) else "billing/price.html"
    return _page(request, template, context, status=status)


def _price_cell(request: HttpRequest, charge: ProductRatePlanCharge, currency: str) -> HttpResponse:
    """Answer with a price as the product page shows it, where htmx puts it back in place of the editor."""
    row = get_object_or_404(charge.prices, currency=currency)
    if not is_fragment_request(request):
        return HttpResponseRedirect(charge.rate_plan.product.get_absolute_url())
    return site.render(request, "billing/_price_cell.html", {"charge": charge, "row": row, "is_answer": True})


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


def _saved(
    request: HttpRequest, charge: ProductRatePlanCharge, said: str, *, is_new: bool = False, currency: str = ""
) -> HttpResponse:
    admin: Any = site.get_model_admin(ProductRatePlanCharge)
    if is_new:
        admin.log_addition(request, charge, [{"added": {}}])
    else:
        admin.log_change(request, charge, said)
    messages.success(request, said)
    page = reverse("admin:billing_charge_price", args=[charge.pk])
    if is_fragment_request(request):
        response = _price_cell(request, charge, currency)
        # Not a redirect, which would load the whole page; `once` takes note of where it leads all the same.
        response.headers["Location"] = f"{page}?currency={currency}&shown=1"
        return response
    if "another_currency" in request.POST:
        return HttpResponseRedirect(page)
    return HttpResponseRedirect(charge.rate_plan.product.get_absolute_url())


def usual_currency() -> str:
    """Return the currency of the latest account, in which the next price is most likely given."""
    return Account.objects.order_by("-pk").values_list("currency", flat=True).first() or ""
