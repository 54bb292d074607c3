"""Asking for a bill run: the form, its live preview, and the search for accounts; nothing is written until it is sent."""

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.clock import business_today
from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import money
from invoicing.forms import BillRunForm, fields_beyond, initial_from
from invoicing.services import RunPreview, create_run, preview_run
from invoicing.views.bill_run_page import count_of


@require_http_methods(["GET", "POST"])
@once
def new_bill_run(request: HttpRequest) -> HttpResponse:
    """Show the form, or start the run it describes; a run that posts by itself is asked about once more."""
    today = business_today()
    if request.method != "POST":
        form = BillRunForm(user=request.user, today=today, initial=initial_from(request.GET))
        return _page(request, form, search=request.GET.get("find", ""))
    _refuse_what_was_not_offered(request)
    form = BillRunForm(request.POST, user=request.user, today=today)
    if "preview" in request.POST:
        return _page(request, form, search=request.POST.get("find", ""), with_preview=True)
    if not form.is_valid():
        return _page(request, form, status=422)
    asked = form.run_request()
    try:
        if asked.auto_post and "confirmed" not in request.POST:
            return _confirmation(request, preview_run(asked, today=today), emails=asked.auto_email)
        run = create_run(asked, today=today, user_id=request.user.pk)
    except ValidationError as error:
        form.add_refusal(error)
        return _page(request, form, status=422)
    return HttpResponseRedirect(run.get_absolute_url())


@require_GET
def preview(request: HttpRequest) -> HttpResponse:
    """Say what the run described by the form would bill."""
    if not is_fragment_request(request):
        return HttpResponseRedirect(f"{reverse('admin:invoicing_billrun_new')}?{request.GET.urlencode()}")
    form = BillRunForm(request.GET, user=request.user, today=business_today())
    return site.render(request, "invoicing/billrun/_preview.html", {**_preview(form), "is_fragment": True})


@require_GET
def account_choices(request: HttpRequest) -> HttpResponse:
    """Answer the search for accounts: those chosen so far stay, those found can be ticked."""
    if not is_fragment_request(request):
        return HttpResponseRedirect(f"{reverse('admin:invoicing_billrun_new')}?{request.GET.urlencode()}")
    form = BillRunForm(request.GET, user=request.user, today=business_today())
    search = request.GET.get("find", "")[:2_000]
    chosen, found = form.account_choices(search)
    context = {"chosen": chosen, "found": found, "search": search.strip()}
    return site.render(request, "invoicing/billrun/_account_choices.html", context)


def _refuse_what_was_not_offered(request: HttpRequest) -> None:
    beyond = [name for name in fields_beyond(request.user) if name in request.POST]
    if beyond:
        raise PermissionDenied("Your role, or the billing rules, do not allow runs that post or e-mail by themselves.")


def _page(
    request: HttpRequest, form: BillRunForm, *, search: str = "", with_preview: bool = False, status: int = 200
) -> HttpResponse:
    chosen, found = form.account_choices(search)
    context: dict[str, Any] = {
        "title": "New bill run",
        "form": form,
        "request_key": new_request_key(),
        "chosen": chosen,
        "found": found,
        "search": search,
    }
    if with_preview:
        context |= _preview(form)
    response = site.render(request, "invoicing/billrun/new.html", context)
    response.status_code = status
    return response


def _preview(form: BillRunForm) -> dict[str, Any]:
    """Return the preview of a form's run, or what is wrong with the form."""
    if form.is_valid():
        asked = form.run_request()
        try:
            figures = preview_run(asked, today=business_today())
        except ValidationError as error:
            form.add_refusal(error)
        else:
            return {"preview": figures, "verb": verb(figures, posts=asked.auto_post), **_figures(figures)}
    return {"flaws": [text for texts in form.errors.values() for text in texts], "verb": "Run"}


def _figures(figures: RunPreview) -> dict[str, Any]:
    return {
        "is_exact": figures.priced == figures.accounts,
        "amounts": [(currency, money(amount, currency)) for currency, amount in figures.totals.items()],
    }


def verb(figures: RunPreview, *, posts: bool) -> str:
    """Return the words of the button: “Run for 240 accounts”."""
    return f"{'Run and post' if posts else 'Run'} for {count_of(figures.accounts, 'account')}"


def _confirmation(request: HttpRequest, figures: RunPreview, *, emails: bool) -> HttpResponse:
    sent: QueryDict = request.POST
    kept = {"csrfmiddlewaretoken", FIELD, "confirmed", "preview", "find"}
    about = "" if figures.priced == figures.accounts else f" (first {figures.priced:,} accounts)"
    context = {
        "title": "Run and post without review?",
        "facts": [
            ("Accounts", f"{figures.accounts:,}"),
            (f"Invoices{about}", f"{figures.invoices:,}"),
            *((f"Total {currency}{about}", money(amount, currency)) for currency, amount in figures.totals.items()),
        ],
        "emails": emails,
        "verb": verb(figures, posts=True),
        "hidden": [
            (FIELD, new_request_key()),
            *((k, v) for k, values in sent.lists() if k not in kept for v in values),
        ],
    }
    return site.render(request, "invoicing/billrun/confirm_run.html", context)
