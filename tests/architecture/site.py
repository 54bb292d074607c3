"""Every address of the product, filled in with a small company's objects, for tests that visit them all."""

from collections.abc import Iterator
from typing import NamedTuple

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import CustomField
from invoicing.delivery import queue_invoice
from invoicing.models import BillRun, BillRunSchedule, Invoice
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.test_delivery import _store

# Patterns that are not one page of ours each: redirects of the admin that need a content type.
NOT_VISITED = {"view_on_site": "redirects to get_absolute_url of any object", "app_list": "one for each app, see below"}


class Target(NamedTuple):
    """An address with a real object in it; `name` is its pattern's."""

    name: str
    url: str


def company() -> None:
    """Make at least one row for every page: a customer, a posted run with PDF and mail, a run with drafts."""
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    bill("2026-01-01", auto_post=True)
    posted = Invoice.objects.get()
    _store(posted)
    queue_invoice(posted, user_id=None)
    bill("2026-02-01")
    BillRunSchedule.objects.create(name="Nightly", starts_on=day("2026-01-01"))
    CustomField.objects.create(entity="Account", name="Region", label="Region")


def patterns() -> Iterator[tuple[str, str]]:
    """Yield name and route of every pattern of the URL configuration."""
    yield from _walk(get_resolver(), "")


def _walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.name or "", prefix + str(pattern.pattern)
        else:
            yield from _walk(pattern, prefix + str(pattern.pattern))


def targets() -> list[Target]:
    """Return every address, with the newest object of its model where it needs one."""
    found = []
    for name, route in patterns():
        if name in NOT_VISITED:
            continue
        if "<" not in route:
            found.append(Target(name, "/" + route))
            continue
        for arguments in _arguments(name, route):
            namespaced = name if ":" in name else f"admin:{name}"
            found.append(Target(name, reverse(namespaced, args=arguments)))
    return found


def _arguments(name: str, route: str) -> list[list[object]]:
    app_label, model_name, *_ = route.split("/")
    model = apps.get_model(app_label, model_name)
    newest = model._default_manager.order_by("-pk").first()
    assert newest is not None or model_name in {"chargesegmenttier", "productrateplanchargetier", "logentry"}, f"{name}: company() has no {model_name}"
    key = newest.pk if newest is not None else 1
    if "<slug:tab>" in route:
        return [[key, "no-such-tab"]]
    return [[key]]


def runs_and_invoices() -> tuple[BillRun, Invoice]:
    """Return the newest run and its draft."""
    return BillRun.objects.latest("pk"), Invoice.objects.filter(status="Draft").latest("pk")
