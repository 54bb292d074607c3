"""What operators do with a bill run: watch it, post it, stop or cancel it, retry its failures, e-mail, export."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.clock import business_today
from accounts.csv_export import csv_response
from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import money, number
from invoicing import services
from invoicing.models import BillRun, BillRunStatus, InvoiceStatus
from invoicing.posting import CancelError
from invoicing.run_figures import ACTIVE, RETRYABLE, InvoiceCounts, displayed_runs, progress_of
from invoicing.views.bill_run_page import count_of, figures_context

OUTCOME_COLUMNS = (
    ("account", "account__number"),
    ("account_name", "account__name"),
    ("outcome", "outcome"),
    ("invoices", "invoices"),
    ("items", "items"),
    ("code", "code"),
    ("message", "message"),
    ("hint", "hint"),
)


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer the page's question how far the run is; once it has ended, have the page show the result."""
    run = get_object_or_404(BillRun, pk=pk)
    if not is_fragment_request(request):
        return HttpResponseRedirect(run.get_absolute_url())
    figures = progress_of(run) if run.status in ACTIVE else None
    said = request.GET.get("said", "")
    context = {"run": run, "shown_status": request.GET.get("status", ""), "said": int(said) if said.isdigit() else 0}
    context |= figures_context(run, figures, InvoiceCounts(0, 0, None)) if figures else {"progress": None}
    context["tenth"] = figures.percent // 10 * 10 if figures else 100
    return site.render(request, "invoicing/billrun/_live.html", context)


@require_http_methods(["GET", "POST"])
@once
def post(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before posting all drafts of a run; post them if they are still the ones that were shown."""
    run = _run(pk)
    if request.method == "POST":
        try:
            services.post_run(run, expected=request.POST.get("expected", ""), user_id=_user_id(request))
        except ValidationError as error:
            if error.code == "changed" and run.status == BillRunStatus.COMPLETED:
                return _ask_to_post(request, run, changed=" ".join(error.messages))
            return _say(request, run, error)
        return _done(request, run, "Asked to post all drafts", "The drafts are being posted.")
    if run.status != BillRunStatus.COMPLETED:
        return _say(request, run, f"{run} is {run.get_status_display().lower()}, so there is nothing to post.")
    return _ask_to_post(request, run)


def _ask_to_post(request: HttpRequest, run: BillRun, *, changed: str = "") -> HttpResponse:
    figures = services.posting_figures(run)
    if not figures.invoices:
        return _say(request, run, f"{run} has no drafts to post.")
    facts = [("Draft invoices", number(figures.invoices))]
    facts += [(f"Total {currency}", money(amount, currency)) for currency, amount in figures.totals.items()]
    if figures.zero_totals:
        facts.append(("With a zero total, included", number(figures.zero_totals)))
    if figures.failed_accounts:
        facts.append(("Accounts with errors, left out", number(figures.failed_accounts)))
    context = {
        "heading": "Post this bill run?",
        "text": "Posting numbers and locks every invoice below. It cannot be undone; later corrections are made with adjustments.",
        "facts": facts,
        "verb": f"Post {count_of(figures.invoices, 'invoice')}",
        "keep": "Keep as draft",
        "changed": changed,
        "expected": figures.check,
    }
    return _dialog(request, run, context)


@require_http_methods(["GET", "POST"])
@once
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before stopping a run or canceling a finished one; either way its drafts are canceled."""
    run = _run(pk)
    is_working = run.status in (BillRunStatus.PENDING, BillRunStatus.PROCESSING)
    if request.method == "POST":
        try:
            services.cancel_run(run)
        except (ValidationError, CancelError) as error:
            return _say(request, run, error)
        return _done(request, run, "Asked to stop the run" if is_working else "Asked to cancel the run", "")
    if not is_working and run.status not in RETRYABLE:
        return _say(request, run, f"{run} is {run.get_status_display().lower()}, so it cannot be canceled.")
    drafts = run.invoices.filter(status=InvoiceStatus.DRAFT).count()
    context = {
        "heading": f"{'Stop' if is_working else 'Cancel'} {run}?",
        "text": "Its drafts are canceled and kept on record as such. What they billed becomes due again and is billed by the next run.",
        "facts": [("Drafts so far" if is_working else "Drafts", number(drafts))],
        "verb": "Stop this run"
        if is_working
        else f"Cancel {count_of(drafts, 'draft')}"
        if drafts
        else "Cancel this run",
        "keep": "Let it work" if is_working else "Keep the drafts",
        "danger": True,
    }
    return _dialog(request, run, context)


@require_http_methods(["GET", "POST"])
@once
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Bill the failed accounts of a finished run again, after asking."""
    run = _run(pk)
    if request.method == "POST":
        try:
            retried = services.retry_failed_accounts(run)
        except ValidationError as error:
            return _say(request, run, error)
        return _done(request, run, f"Asked to retry {count_of(retried, 'failed account')}", "")
    if run.status not in RETRYABLE or not run.accounts_failed:
        return _say(request, run, f"{run} has no failed accounts to retry.")
    context = {
        "heading": f"Retry {count_of(run.accounts_failed, 'account')}?",
        "text": "They are billed once more on this run's terms. Accounts that are billed already are left alone.",
        "facts": [("Failed accounts", number(run.accounts_failed))],
        "verb": f"Retry {count_of(run.accounts_failed, 'account')}",
        "keep": "Not now",
    }
    return _dialog(request, run, context)


@require_http_methods(["GET", "POST"])
@once
def email(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue an e-mail for every posted invoice of the run that was never sent, after asking."""
    run = _run(pk)
    if request.method == "POST":
        queued = services.email_run(run, user_id=_user_id(request))
        if not queued:
            return _say(request, run, "Every invoice that may be e-mailed was sent already.")
        return _done(request, run, "", f"{count_of(queued, 'e-mail')} queued.")
    unsent = services.unsent_invoices(run).count()
    if not unsent:
        return _say(request, run, "Every invoice that may be e-mailed was sent already.")
    context = {
        "heading": f"E-mail {count_of(unsent, 'invoice')}?",
        "text": "Each customer gets the stored PDF. Accounts that want no e-mail and invoices sent before are left out.",
        "facts": [("Posted and not sent yet", number(unsent))],
        "verb": f"E-mail {count_of(unsent, 'invoice')}",
        "keep": "Do not send",
    }
    return _dialog(request, run, context)


@require_GET
def outcomes(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream what the run did for every account in its scope as CSV."""
    run = _run(pk)
    rows = run.account_outcomes.order_by("pk")
    return csv_response(
        queryset=rows, columns=OUTCOME_COLUMNS, file_stem=f"{run.number}-accounts", day=business_today()
    )


def find_bill_runs(query: str, _user: Any) -> Iterable[tuple[str, str]]:
    """Yield the bill runs whose number begins with the query, or ends with it when it is a bare number."""
    wanted = {"number__endswith": query} if query.isdigit() else {"number__startswith": query.upper()}
    for run in BillRun.objects.filter(**wanted).order_by("-id")[:8]:
        yield f"{run.number} · {run.get_status_display()} · {run.target_date:%Y-%m-%d}", run.get_absolute_url()


def _run(pk: int) -> BillRun:
    run = displayed_runs().filter(pk=pk).first()
    if run is None:
        raise Http404("There is no such bill run.")
    return run


def _dialog(request: HttpRequest, run: BillRun, context: dict[str, Any]) -> HttpResponse:
    changed = context.get("changed", "")
    hidden = [(FIELD, new_request_key())]
    if "expected" in context:
        hidden.append(("expected", context.pop("expected")))
    shared = {"title": context["heading"], "action": request.path, "back_url": run.get_absolute_url(), "hidden": hidden}
    response = site.render_dialog(request, "components/confirm.html", {**shared, **context})
    # htmx shows only answers that succeeded; without it the status says that nothing was done.
    response.status_code = 409 if changed and not is_fragment_request(request) else 200
    return response


def _done(request: HttpRequest, run: BillRun, logged: str, said: str) -> HttpResponse:
    if logged:
        LogEntry.objects.log_actions(_user_id(request), [run], CHANGE, logged)
    if said:
        messages.success(request, said)
    return HttpResponseRedirect(run.get_absolute_url())


def _say(request: HttpRequest, run: BillRun, problem: str | Exception) -> HttpResponse:
    """Return to the run with the reason why nothing happened."""
    text = " ".join(problem.messages) if isinstance(problem, ValidationError) else str(problem)
    messages.error(request, text)
    return HttpResponseRedirect(reverse("admin:invoicing_billrun_object", args=[run.pk]))


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
