"""The start page: what waits, what was invoiced in the last three months, and the latest bill runs."""

from typing import Any, NamedTuple

from babel.dates import format_date
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django.views.decorators.http import require_GET

from accounts.clock import business_today
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from accounts.wording import NOTHING, locale
from invoicing.dashboard import (
    Attention,
    CurrencyFigures,
    Figures,
    attention,
    dashboard_figures,
    first_steps,
    usage_attention,
)
from invoicing.views.bill_run_page import run_lines


class Waiting(NamedTuple):
    """One tile of the strip that says what waits for somebody."""

    amount: int
    label: str
    url: str


class CurrencyCard(NamedTuple):
    """One currency's figures with its bars: (month, posted, drafts)."""

    figures: CurrencyFigures
    bars: list[tuple[str, Any, Any]]


def dashboard(request: HttpRequest) -> HttpResponse:
    """Show the dashboard, or the checklist of a new installation until its first bill run."""
    context: dict[str, Any] = {"title": "Dashboard", "may_run": request.user.has_perm("invoicing.add_billrun")}
    if not request.user.has_perm("invoicing.view_invoice"):
        return site.render(request, "invoicing/dashboard.html", {**context, "no_figures": True})
    figures = dashboard_figures(business_today())
    if not figures.recent_runs:
        steps = first_steps()
        context["steps"] = [(step, reverse(step.url_name)) for step in steps]
        context["steps_done"] = sum(step.done for step in steps)
    return site.render(request, "invoicing/dashboard.html", {**context, **_figures(figures)})


@require_GET
def usage_waiting(request: HttpRequest) -> HttpResponse:
    """Say which usage waits, as tiles of the start page's strip or as a page of its own."""
    context = {"title": "Usage that waits", "waiting": [waiting(item) for item in usage_attention(business_today())]}
    piece = "_waiting" if is_fragment_request(request) else "usage_waiting"
    return site.render(request, f"invoicing/{piece}.html", context)


def _figures(figures: Figures) -> dict[str, Any]:
    labels = [format_date(month, "LLL y", locale=locale()) for month in figures.months]
    cards = [
        CurrencyCard(
            currency,
            [(label, month.invoiced, month.drafts) for label, month in zip(labels, currency.months, strict=True)],
        )
        for currency in figures.currencies
    ]
    months = [
        (format_date(month, "LLLL y", locale=locale()), [currency.months[index] for currency in figures.currencies])
        for index, month in enumerate(figures.months)
    ]
    return {
        "figures": figures,
        "cards": cards,
        "currencies": [currency.currency for currency in figures.currencies],
        "months": [
            (label, sum(cell.invoices for cell in cells), list(zip(figures.currencies, cells, strict=True)))
            for label, cells in months
        ],
        "waiting": [waiting(item) for item in figures.attention],
        "runs": run_lines(figures.recent_runs),
        "period": f"{labels[0]} {NOTHING} {labels[-1]}",
    }


def waiting(item: Attention) -> Waiting:
    """Return a tile with its address."""
    return Waiting(item.count, item.label, f"{resolve_url(item.url_name)}?{item.query}")


def work_waiting(_user: Any) -> int:
    """Return how many bill runs wait for somebody, for the sidebar: to be reviewed, or failed."""
    review, failed, *_ = attention()
    return review.count + failed.count
