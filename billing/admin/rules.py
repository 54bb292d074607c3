"""The page of billing rules in the admin: one row, so the list is the page."""

from typing import Any

from django.contrib.admin import register
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.operator_admin import OperatorAdmin, site
from billing.models import BillingRules
from billing.views import rules as views


@register(BillingRules, site=site)
class BillingRulesAdmin(OperatorAdmin):
    """Billing rules: one row, changed on a page of its own that asks for a reason."""

    data_fix = False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """Go straight to the one set of rules."""
        return HttpResponseRedirect(self.url_to("change", 1))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page of the rules instead of the record's form."""
        if object_id != "1":
            raise Http404("There is one set of billing rules.")
        if request.method == "POST" and not self.has_change_permission(request):
            raise PermissionDenied("Your role may look at the billing rules but not change them.")
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return views.rules_page(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BillingRules | None = None) -> bool:
        return False


site.register_page(
    "billing/billingrules/examples/", views.examples, "billing_rules_examples", permission="billing.view_billingrules"
)
site.add_navigation(
    "Administration",
    "Billing rules",
    "admin:billing_billingrules_changelist",
    "rules",
    "billing.view_billingrules",
    order=10,
)
