"""The list page of the operator admin: capped counts, tabs, chips and rows that lead to object pages."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.http import HttpRequest
from django.utils.text import capfirst

from accounts.list_filters import ChipView, FilterLink, chip_view, tab_links


class OperatorChangeList(ChangeList):
    """A list whose count is capped, whose rows lead to object pages and whose empty filters are ignored."""

    model_admin: Any

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(request, *args, **kwargs)
        self.title = f"Choose {self.model_admin.noun}" if self.is_popup else capfirst(self.model_admin.nouns)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Return the filters of the address; a small form sends its empty inputs too, and those filter nothing."""
        found = super().get_filters_params(params)
        cleaned = {key: [value.strip() for value in values if value.strip()] for key, values in found.items()}
        return {key: values for key, values in cleaned.items() if values}

    def get_results(self, request: HttpRequest) -> None:
        """Read one page; a page number outside the range means the nearest page, not an error."""
        paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        self.page_num = min(max(1, self.page_num), paginator.num_pages)
        super().get_results(request)

    def url_for_result(self, result: models.Model) -> str:
        """Return the address a row leads to: its object page, or its form where there is none."""
        return self.model_admin.object_url(getattr(result, self.pk_attname))

    @property
    def tabs(self) -> list[FilterLink]:
        """Return the tabs over the list."""
        return list(tab_links(self.request.GET, self.model_admin.tabs))

    @property
    def chips(self) -> list[ChipView]:
        """Return the filter chips, including those of classic `list_filter` entries."""
        own = [chip_view(self.request, self.model, chip) for chip in self.model_admin.chips]
        for spec in self.filter_specs:
            links = [
                FilterLink(str(c["display"]), str(c["query_string"]), bool(c["selected"])) for c in spec.choices(self)
            ]
            value = next((link.label for link in links[1:] if link.is_current), "")
            own.append(ChipView(capfirst(str(spec.title)), value, links[1:], [], [], links[0].url if links else ""))
        return own

    @property
    def page_numbers(self) -> list[Any]:
        """Return the page numbers to offer, with an ellipsis for those left out."""
        return list(self.paginator.get_elided_page_range(self.page_num, on_each_side=2, on_ends=1))

    @property
    def filters_in_words(self) -> str:
        """Return what the list is narrowed to, for the sentence that says nothing matches."""
        parts = [f"{chip.label}: {chip.value}" for chip in self.chips if chip.value]
        tab = next((tab.label for tab in self.tabs if tab.is_current), "")
        return ", ".join(
            [*([tab] if tab and tab != "All" else []), *parts, *([f"“{self.query}”"] if self.query else [])]
        )
