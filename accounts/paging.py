"""Paging that stays fast on any table: counts stop early, and object pages page by key instead of by offset."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.core.paginator import Paginator
from django.db.models import QuerySet

COUNT_LIMIT = 10_000
PAGE_LIMIT = 200


class CappedPaginator(Paginator):
    """Count at most COUNT_LIMIT + 1 rows and offer at most PAGE_LIMIT pages; beyond that people must filter."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or COUNT_LIMIT + 1 when there are more."""
        if isinstance(self.object_list, QuerySet):
            # The slice becomes a LIMIT inside the counted subquery, so a million rows cost no more than ten thousand.
            return self.object_list.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        return len(self.object_list)

    @cached_property
    def num_pages(self) -> int:
        """Return the number of pages that can be opened."""
        return min(-(-max(self.count, 1) // self.per_page), PAGE_LIMIT)

    @property
    def is_capped(self) -> bool:
        """Tell whether rows exist that no page shows."""
        return self.count > min(COUNT_LIMIT, PAGE_LIMIT * self.per_page)

    @property
    def count_text(self) -> str:
        """Return the count for people: "1,234", or "10,000+" when counting stopped."""
        return f"{COUNT_LIMIT:,}+" if self.count > COUNT_LIMIT else f"{self.count:,}"


class KeysetPage(NamedTuple):
    """One page of rows read by key: the rows and the keys that lead on and back (None: no such page)."""

    rows: Sequence[Any]
    next_key: Any | None
    is_first: bool


def keyset_page(
    queryset: QuerySet[Any], *, after: Any | None = None, size: int = 25, key: str = "pk", descending: bool = False
) -> KeysetPage:
    """Return the `size` rows that follow the key `after`; equally fast at any depth, one query, no count."""
    ordered = queryset.order_by(f"-{key}" if descending else key)
    if after is not None:
        ordered = ordered.filter(**{f"{key}__{'lt' if descending else 'gt'}": after})
    rows = list(ordered[: size + 1])
    next_key = getattr(rows[size - 1], key) if len(rows) > size else None
    return KeysetPage(rows[:size], next_key, after is None)
