"""Tabs and filter chips over a list: every choice is a link with a real address, and none needs a query to be drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.http import HttpRequest, QueryDict
from django.utils.text import capfirst

Choices = Sequence[tuple[Any, Any]]
RANGE_KINDS = ("date", "amount")


@dataclass(frozen=True)
class Chip:
    """One filter: `kind` is "choice" (a list of values), "text" (one exact value), "date" or "amount" (from, to)."""

    lookup: str
    label: str = ""
    kind: str = "choice"
    choices: Choices | Callable[[HttpRequest], Choices] | None = None

    @property
    def lookups(self) -> list[str]:
        """Return the query-string keys that this chip owns."""
        return [f"{self.lookup}__gte", f"{self.lookup}__lte"] if self.kind in RANGE_KINDS else [self.lookup]


class FilterLink(NamedTuple):
    """A choice inside a chip, or a tab."""

    label: str
    url: str
    is_current: bool


class ChipView(NamedTuple):
    """A chip as drawn: its links, or the inputs (key, label, type, value) of its small form."""

    label: str
    value: str
    links: list[FilterLink]
    inputs: list[tuple[str, str, str, str]]
    hidden: list[tuple[str, str]]
    clear_url: str


def resolve_tab(lookups: Mapping[str, Any]) -> dict[str, str]:
    """Return a tab's lookups as they stand in the address; callables such as business_today are asked now."""
    return {key: str(value() if callable(value) else value) for key, value in lookups.items()}


def tab_links(query: QueryDict, tabs: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[FilterLink]:
    """Yield the tabs; the current one is the longest whose lookups all stand in the address."""
    resolved = [(label, resolve_tab(lookups)) for label, lookups in tabs]
    matching = [i for i, (_, wanted) in enumerate(resolved) if all(query.get(k) == v for k, v in wanted.items())]
    current = max(matching, key=lambda i: len(resolved[i][1]), default=None)
    owned = {key for _, wanted in resolved for key in wanted}
    for index, (label, wanted) in enumerate(resolved):
        yield FilterLink(label, address(query, remove=owned, add=wanted), index == current)


def address(query: QueryDict, *, remove: set[str] | frozenset[str] = frozenset(), add: Mapping[str, Any]) -> str:
    """Return the query string without some keys and the page number, and with others set."""
    changed = query.copy()
    for key in {*remove, "p", "e"}:
        changed.pop(key, None)
    for key, value in add.items():
        changed[key] = str(value)
    return f"?{changed.urlencode()}"


def chip_view(request: HttpRequest, model: type[models.Model], chip: Chip) -> ChipView:
    """Return one chip as drawn for the current address."""
    label = chip.label or _label(model, chip.lookup)
    query = request.GET
    owned = set(chip.lookups)
    clear_url = address(query, remove=owned, add={})
    hidden = [(k, v) for k, values in query.lists() if k not in owned | {"p", "e"} for v in values]
    if chip.kind == "choice":
        choices = [(str(value), str(text)) for value, text in _choices(request, model, chip)]
        now = query.get(chip.lookup, "")
        links = [FilterLink(text, address(query, remove=owned, add={chip.lookup: v}), v == now) for v, text in choices]
        return ChipView(label, dict(choices).get(now, now), links, [], [], clear_url)
    if chip.kind in RANGE_KINDS:
        first, last = (query.get(key, "") for key in chip.lookups)
        kind = "date" if chip.kind == "date" else "text"
        inputs = [(chip.lookups[0], "From", kind, first), (chip.lookups[1], "To", kind, last)]
        value = f"{first or '…'} – {last or '…'}" if first or last else ""
        return ChipView(label, value, [], inputs, hidden, clear_url)
    value = query.get(chip.lookup, "")
    return ChipView(label, value, [], [(chip.lookup, label, "text", value)], hidden, clear_url)


def _field(model: type[models.Model], lookup: str) -> Any:
    found: Any = None
    for name in lookup.split("__"):
        try:
            found = model._meta.get_field(name)
        except FieldDoesNotExist:
            break
        model = found.related_model or model
    return found


def _label(model: type[models.Model], lookup: str) -> str:
    found = _field(model, lookup)
    return capfirst(str(found.verbose_name)) if found is not None else capfirst(lookup.replace("_", " "))


def _choices(request: HttpRequest, model: type[models.Model], chip: Chip) -> Choices:
    """Return a chip's values without ever asking a big table which ones occur in it."""
    if chip.choices is not None:
        return chip.choices(request) if callable(chip.choices) else chip.choices
    found = _field(model, chip.lookup)
    if isinstance(found, models.BooleanField):
        return [("True", "Yes"), ("False", "No")]
    flat = getattr(found, "flatchoices", None)
    if not flat:
        raise ValueError(f"Chip {chip.lookup!r} needs choices: its field has none.")
    return flat
