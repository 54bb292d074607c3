"""The page of billing rules."""

from django.contrib.admin import register
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.operator_admin import OperatorAdmin, site
from billing.models import BillingRules


@register(BillingRules, site=site)
class BillingRulesAdmin(OperatorAdmin):
    """Billing rules: one row, so the list is the form."""

    data_fix = False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """Go straight to the one set of rules."""
        return HttpResponseRedirect(self.url_to("change", 1))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BillingRules | None = None) -> bool:
        return False


site.add_navigation(
    "Administration",
    "Billing rules",
    "admin:billing_billingrules_changelist",
    "rules",
    "billing.view_billingrules",
    order=10,
)
