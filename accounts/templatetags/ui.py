"""What operator templates draw with: formats, badges, icons, charts, the shell's sidebar and the cells of lists."""

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django import template
from django.conf import settings
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from structlog.contextvars import get_contextvars

from accounts import wording
from accounts.data_fixes import fix_details
from accounts.operator_admin import site

register = template.Library()

# Which colour says what: blue works, amber waits for a person, green is done, red is wrong, grey is everything else.
TONES = {
    "blue": "uploaded checking importing undoing processing generating sending queued posting running in_progress post_in_progress scheduled",
    "amber": "draft checked completed unknown due warning to_review paused partly_paid trial",
    "green": "posted imported processed active sent billed paid done delivered applied succeeded ok",
    "red": "error failed past_due overdue reversed bounced parked violated locked_out",
}
TONE_BY_STATUS = {status: tone for tone, statuses in TONES.items() for status in statuses.split()}

register.filter("num", wording.number)
register.filter("day", wording.day)
register.filter("moment", wording.moment)
register.filter("duration", wording.duration)
register.filter("money", wording.money)
register.filter("price", wording.unit_price)
register.simple_tag(wording.service_period)


# Small pieces ------------------------------------------------------------------------------------------------------


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon of the sprite; it is decoration, so put words beside it."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("ui/icons.svg"), name)


@register.simple_tag
def badge(status: Any, label: str = "", tone: str = "") -> SafeString:
    """Draw a status as a badge: {% badge run.status %}, with another text, or with a tone of its own."""
    if status is None or status == "":
        return format_html("{}", wording.NOTHING)
    shown = tone or TONE_BY_STATUS.get(str(status).lower().replace(" ", "_").replace("-", "_"), "")
    text = label or getattr(status, "label", None) or capfirst(str(status).replace("_", " "))
    return format_html('<span class="badge{}">{}</span>', f" badge-{shown}" if shown else "", text)


@register.simple_tag(takes_context=True)
def query_with(context: template.Context, **changes: Any) -> str:
    """Return the current address with some parameters set (None removes one): {% query_with sort="total" page=None %}."""
    query = context["request"].GET.copy()
    for key, value in changes.items():
        query.pop(key, None)
        if value is not None:
            query[key] = str(value)
    return f"?{query.urlencode()}"


@register.simple_tag(takes_context=True)
def sort_link(context: template.Context, key: str, label: str) -> SafeString:
    """Draw a column heading that sorts by `?sort=key`, and the other way round when pressed again."""
    current = context["request"].GET.get("sort", "")
    state = {key: "asc", f"-{key}": "desc"}.get(current, "")
    url = query_with(context, sort=f"-{key}" if state == "asc" else key, after=None, p=None)
    return format_html('<a href="{}"{}>{}</a>', url, format_html(' class="sorted-{}"', state) if state else "", label)


@register.simple_tag
def request_id() -> str:
    """Return the id under which the log knows this request, or nothing."""
    return str(get_contextvars().get("request_id", ""))


# Charts ------------------------------------------------------------------------------------------------------------

BAR_WIDTH, BAR_STEP, BAR_AREA, BAR_LEFT = 124, 210, 160, 43
GRID_LINES = (20, 60, 100, 140, 180)


@register.simple_tag
def bars(items: Iterable[Sequence[Any]], currency: str, title: str = "") -> SafeString:
    """Draw amounts of one currency as bars; `items` are (label, amount) or (label, amount, drafts drawn above it)."""
    rows = [(str(i[0]), Decimal(i[1] or 0), Decimal(i[2] or 0) if len(i) > 2 else Decimal(0)) for i in items]
    highest = max((max(done, Decimal(0)) + max(open_, Decimal(0)) for _, done, open_ in rows), default=Decimal(0))
    spoken = ", ".join(f"{label} {wording.money(amount, currency)}" for label, amount, _ in rows) or "nothing yet"
    width = max(len(rows), 1) * BAR_STEP
    grid = format_html_join("", '<line x1="0" x2="{}" y1="{}" y2="{}"/>', [(width, y, y) for y in GRID_LINES])
    drawn = format_html_join("", "{}", [(_bar(index, row, highest, currency),) for index, row in enumerate(rows)])
    chart = '<svg class="chart" viewBox="0 0 {} 204" role="img" aria-label="{}: {}">{}{}</svg>'
    return format_html(chart, width, title or currency, spoken, grid, drawn)


def _bar(index: int, row: tuple[str, Decimal, Decimal], highest: Decimal, currency: str) -> SafeString:
    """Return one bar: the amount, the drafts above it, its label below."""
    label, *amounts = row
    left, middle, base = BAR_LEFT + index * BAR_STEP, index * BAR_STEP + BAR_STEP // 2, GRID_LINES[-1]
    parts = []
    for amount, style, kind in zip(amounts, ("", "soft"), ("", " in drafts"), strict=True):
        if amount > 0:
            height = max(int(amount * BAR_AREA / highest), 1)
            base -= height
            parts.append((style, left, base, BAR_WIDTH, height, f"{label}: {wording.money(amount, currency)}{kind}"))
    rectangle = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3"><title>{}</title></rect>'
    return format_html('{}<text x="{}" y="198">{}</text>', format_html_join("", rectangle, parts), middle, label)


# The shell ---------------------------------------------------------------------------------------------------------


class Shell(NamedTuple):
    """What the frame around every page shows."""

    groups: list[Any]
    brand: str
    business_date: date | None
    user_name: str
    has_operator: bool


@register.simple_tag(takes_context=True)
def shell(context: template.Context) -> Shell:
    """Return the frame's content for this request; visitors and requests gone wrong get a frame without sidebar."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    has_operator = bool(user and user.is_active and user.is_staff)
    return Shell(
        groups=site.navigation(request) if request and has_operator else [],
        brand=str(site.site_header),
        business_date=getattr(settings, "BUSINESS_DATE", None),
        user_name=(user.get_short_name() or user.get_username()) if user and has_operator else "",
        has_operator=has_operator,
    )


# Lists and records -------------------------------------------------------------------------------------------------


class Heading(NamedTuple):
    """A column heading of a list."""

    text: SafeString | str
    url: str
    css: str
    sort: str


@register.simple_tag
def list_headings(cl: Any) -> list[Heading]:
    """Return the headings of a list; columns sort by one field at a time."""
    headings = []
    for name, head in zip(cl.list_display, result_headers(cl), strict=True):
        heading: dict[str, Any] = dict(head)
        state = ("asc" if heading["ascending"] else "desc") if heading.get("sorted") else ""
        css = "action-checkbox-column" if name == "action_checkbox" else "num" if _is_number(cl, name) else ""
        text = heading["text"] if name == "action_checkbox" else capfirst(str(heading["text"]))
        headings.append(Heading(text, heading["url_primary"] if heading["sortable"] else "", css, state))
    return headings


@register.simple_tag
def list_rows(cl: Any) -> list[SafeString]:
    """Return the rows of a list as table cells; the first column leads to the record."""
    columns = [(name, _column_class(cl, name)) for name in cl.list_display]
    return [_row(cl, obj, columns) for obj in cl.result_list]


def _row(cl: Any, obj: models.Model, columns: list[tuple[Any, str]]) -> SafeString:
    cells, linked = [], cl.list_display_links is None
    for name, css in columns:
        if name == "action_checkbox":
            cells.append(format_html('<td class="action-checkbox">{}</td>', cl.model_admin.action_checkbox(obj)))
            continue
        text = value_of(obj, name, cl.model_admin)
        if linked:
            cells.append(format_html('<td class="{}">{}</td>', css, text))
            continue
        linked = True
        opener = getattr(obj, cl.to_field or cl.pk_attname)
        popup = format_html(' data-popup-opener="{}"', opener) if cl.is_popup else ""
        link = format_html('<a href="{}"{}>{}</a>', _row_url(cl, obj), popup, text)
        cells.append(format_html('<th scope="row" class="{}">{}</th>', css, link))
    return format_html_join("", "{}", [(cell,) for cell in cells])


def _column_class(cl: Any, name: Any) -> str:
    """Return how a column is set: figures to the right, dates on one line."""
    if _is_number(cl, name):
        return "num"
    found = next((f for f in cl.opts.concrete_fields if f.name == name), None)
    return "nowrap" if isinstance(found, models.DateField) else ""


def _row_url(cl: Any, obj: models.Model) -> str:
    url = cl.url_for_result(obj)
    if cl.model_admin.object_page and not cl.is_popup:
        return url
    return add_preserved_filters({"preserved_filters": cl.preserved_filters, "opts": cl.opts}, url)


def _is_number(cl: Any, name: Any) -> bool:
    """Tell whether a column holds figures: an amount or count field, or a method marked with `numeric = True`."""
    if callable(name):
        return bool(getattr(name, "numeric", False))
    found = {f.name: f for f in cl.opts.get_fields() if isinstance(f, models.Field)}.get(name)
    if found is None:
        return bool(getattr(getattr(cl.model_admin, name, getattr(cl.model, name, None)), "numeric", False))
    return isinstance(found, models.DecimalField | models.IntegerField) and not (found.choices or found.primary_key)


@register.simple_tag
def value_of(obj: models.Model, name: Any, model_admin: Any = None) -> SafeString | str:
    """Return one field or admin method of a record as people read it: dates, money, badges, yes and no."""
    admin: Any = model_admin or site._registry.get(type(obj))
    try:
        found, attribute, value = lookup_field(name, obj, admin)
    except ObjectDoesNotExist:
        return wording.NOTHING
    if found is None:
        boolean = getattr(attribute, "boolean", False)
        return ("Yes" if value else "No") if boolean and value is not None else _shown(value)
    if "__" in name:
        return _shown(value)
    if isinstance(found, models.ForeignKey):
        return wording.plain(getattr(obj, found.name))
    if found.choices:
        label = str(dict(found.flatchoices).get(value, value if value is not None else ""))
        return badge(value, label) if found.name.endswith("status") and label else wording.plain(label)
    if found.name in getattr(admin, "money_fields", ()) and value is not None:
        currency: Any = obj
        for part in admin.currency_path.split("__"):
            currency = getattr(currency, part)
        return wording.money(value, currency)
    return _shown(value)


def _shown(value: Any) -> SafeString | str:
    """Return a value formatted by its type alone."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, datetime):
        return wording.moment(value)
    if isinstance(value, date):
        return wording.day(value)
    if isinstance(value, Decimal | int):
        return wording.number(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or wording.NOTHING
    if isinstance(value, dict):
        return conditional_escape(json.dumps(value, ensure_ascii=False, default=str))
    return conditional_escape(wording.plain(value))


class Fact(NamedTuple):
    """A label and a value on an object page."""

    label: str
    value: SafeString | str
    url: str


@register.simple_tag
def facts_of(obj: models.Model, *names: str) -> list[Fact]:
    """Return the named fields of a record, or all of them, with links to related records that have a page."""
    fields = [obj._meta.get_field(name) for name in names] if names else obj._meta.concrete_fields
    facts = []
    for found in fields:
        if not isinstance(found, models.Field) or found.primary_key:
            continue
        related = getattr(obj, found.name) if isinstance(found, models.ForeignKey) else None
        admin: Any = site._registry.get(type(related)) if related is not None else None
        url = admin.object_url(related.pk) if related is not None and hasattr(admin, "object_url") else ""
        facts.append(Fact(capfirst(str(found.verbose_name)), value_of(obj, found.name), url))
    return facts


@register.simple_tag
def readonly_of(field: Any) -> SafeString | str:
    """Return a read-only field of a form as people read it."""
    name = field.field["field"]
    if isinstance(name, str) and name not in field.form.fields:
        instance = field.form.instance
        known = {f.name for f in instance._meta.concrete_fields}
        if name in known and not isinstance(instance._meta.get_field(name), models.ForeignKey):
            return value_of(instance, name, field.model_admin)
    return field.contents()


@register.simple_tag
def fix_of(entry: Any) -> dict[str, Any]:
    """Return the reason and the changed values of an entry in a record's history."""
    return fix_details(entry)
