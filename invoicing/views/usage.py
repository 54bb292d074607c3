"""The usage behind an invoice line: a page of its records, page by page, and their download."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.clock import business_today
from accounts.csv_export import csv_download
from accounts.operator_admin import site
from accounts.operator_site import is_fragment_request
from invoicing.usage_detail import (
    CSV_COLUMNS,
    SUBTOTALS_SHOWN,
    counted,
    csv_rows,
    earlier_lines,
    record_page,
    subtotals,
    usage_items,
)


def may_see_usage(user: Any) -> bool:
    """Tell whether a user may see both invoices and usage."""
    return bool(user.has_perms(("invoicing.view_invoice", "usage.view_usagerecord")))


@require_GET
def line_usage(request: HttpRequest, pk: int) -> HttpResponse:
    """List the usage records that a line bills; htmx gets the table alone."""
    item = get_object_or_404(usage_items(), pk=pk)
    assert item.rated_usage is not None  # usage_items() returns no others
    found = counted(item)
    context: dict[str, Any] = {
        "title": f"Usage of {item.description}",
        "item": item,
        "invoice": item.invoice,
        "counted": found,
        "page": record_page(item, after=request.GET.get("after", "")),
        "given_back": not item.rated_usage.is_live,
    }
    if is_fragment_request(request):
        return site.render(request, "invoicing/invoice/_usage_records.html", context)
    groups = subtotals(item)
    context |= {
        "subtotals": groups[:SUBTOTALS_SHOWN],
        "more_subtotals": len(groups) > SUBTOTALS_SHOWN,
        "earlier": earlier_lines(item),
    }
    return site.render(request, "invoicing/invoice/usage.html", context)


@require_GET
def line_usage_csv(request: HttpRequest, pk: int) -> Any:
    """Stream all records that a line bills."""
    item = get_object_or_404(usage_items(), pk=pk)
    name = f"usage-{item.invoice}-{item.charge.number}".replace("/", "-")
    header = [column for column, _ in CSV_COLUMNS]
    return csv_download(header=header, rows=csv_rows(item), file_stem=name, day=business_today())
