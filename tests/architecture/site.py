"""Every address of the product, filled in with a small company's objects, for tests that visit them all."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.api_tokens import Scope
from accounts.models import Account, CustomField
from accounts.operator_admin import site
from accounts.services import issue_token
from billing.core.types import BillingPeriod, ChargeModel, ChargeType, PriceFormat, Tier
from invoicing.delivery import queue_invoice
from invoicing.models import BillRunSchedule, Invoice
from tests import factories as make
from tests.factories import bill, day
from tests.invoicing.test_delivery import _store
from tests.usage.consumption import consume
from usage.models import UsageImport

# Not a page of ours: Django's redirect from a content type and an id to any object's page.
NOT_VISITED = {"view_on_site", "app_list"}
API = "api/v1/"
ROLES = ("anonymous", "viewer", "operator", "approver", "admin")


class Target(NamedTuple):
    """An address with a real object in it; `name` is its pattern's."""

    name: str
    url: str


def company() -> None:
    """Make at least one row for every page: a customer, a posted run with PDF and mail, a run with drafts."""
    acme = make.acme()
    make.subscribe(acme, make.team_plan(), "2026-01-01")
    tiers = (Tier(Decimal(10), Decimal(5), PriceFormat.PER_UNIT), Tier(None, Decimal(4), PriceFormat.PER_UNIT))
    metered = make.plan("Metered", make.by_tiers("Storage", ChargeModel.TIERED, tiers, quantity="12"))
    make.subscribe(acme, metered, "2026-01-01")
    make.unit("GB")
    bill("2026-01-01", auto_post=True)
    posted = Invoice.objects.get()
    _store(posted)
    queue_invoice(posted, user_id=None)
    _meter(acme)
    bill("2026-02-01")
    BillRunSchedule.objects.create(name="Nightly", starts_on=day("2026-01-01"))
    issue_token(name="Metering gateway", scopes=[Scope.USAGE_WRITE])
    CustomField.objects.create(entity="Account", name="Region", label="Region")
    for role in ROLES[1:]:
        make.user(role)
    admin = User.objects.get(username="admin")
    LogEntry.objects.log_actions(admin.pk, [acme], ADDITION, change_message="by hand")
    assert Group.objects.count() == 4


def _meter(account: Account) -> None:
    """Let an account use something; its line is the newest of all. A file with a bad row waits to be imported."""
    data = {"name": "Data", "charge_type": ChargeType.USAGE, "charge_model": ChargeModel.PER_UNIT, "unit": "GB"}
    used = make.plan("Data", {**data, "billing_period": BillingPeriod.MONTH, "prices": {"USD": Decimal("0.5")}})
    consume(make.subscribe(account, used, "2026-01-01").charges.get(), ("2026-01-05", "10"))
    waiting = UsageImport.objects.create(
        source="File", status="Checked", file_name="usage.csv", rows=2, good_rows=1, bad_rows=1
    )
    waiting.errors.create(line=3, column="QTY", value="ten", code="not_a_quantity", message="“ten” is not a quantity.")


def patterns() -> Iterator[tuple[str, str]]:
    """Yield name and route of every pattern of the URL configuration."""
    yield from _walk(get_resolver(), "")


def _walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.name or f"(unnamed) {prefix}{pattern.pattern}", prefix + str(pattern.pattern)
        else:
            yield from _walk(pattern, prefix + str(pattern.pattern))


def targets() -> list[Target]:
    """Return every address, with the newest object of its model where it needs one, and every tab of object pages."""
    found = []
    for name, route in patterns():
        if name in NOT_VISITED:
            continue
        if "<" not in route:
            found.append(Target(name, f"/{route}"))
            continue
        if route.startswith(API):
            # Whether there is such a number is not told to a request without token.
            found.append(Target(name, reverse(f"api:{name}", args=["1"])))
            continue
        found += [Target(name, reverse(f"admin:{name}", args=arguments)) for arguments in _arguments(route)]
    return found


def _arguments(route: str) -> list[list[object]]:
    app_label, model_name, *_ = route.split("/")
    model = apps.get_model(app_label, model_name)
    newest = model._default_manager.order_by("-pk").first()
    assert newest is not None, f"company() makes no {model_name}, so {route} cannot be visited"
    if "<slug:tab>" in route:
        tabs = site._registry[model].object_tabs  # type: ignore[attr-defined]
        return [[newest.pk, slug] for slug, _ in tabs if slug]
    return [[newest.pk]]
