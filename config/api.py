"""The REST API of all apps at /api/v1, its OpenAPI document and the page that shows it."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET
from ninja.responses import Response

from accounts.api import router as accounts
from accounts.operator_admin import site
from accounts.rest import Api, BearerToken
from billing.api import router as billing
from invoicing.api import router as invoicing
from usage.api import router as usage

DESCRIPTION = """
Send `Authorization: Bearer` and a token with every request. Lists come in pages: repeat the request with the
`next_cursor` of a page as `cursor`. Amounts are text, days ISO dates, and every error is an RFC 9457 problem.
"""

api = Api(title="Tallyrun", version="1", description=DESCRIPTION.strip(), urls_namespace="api")
api.add_router("", accounts)
api.add_router("", billing)
api.add_router("", usage)
api.add_router("", invoicing)

# After everything that operators do every day: the palette shows its first pages before anything is typed.
site.add_command("New API token", "admin:accounts_apitoken_new", "accounts.add_apitoken")
site.add_command("API documentation", "api_docs")


@require_GET
@login_not_required
def api_schema(request: HttpRequest) -> HttpResponse:
    """Answer with the OpenAPI document, to an operator who is logged in or to any valid token."""
    if not site.has_permission(request):
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
    return Response(api.get_openapi_schema())


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """Return what to answer a request without valid token, or None to let it through."""
    try:
        BearerToken()(request)
    except Exception as error:
        return api.on_exception(request, error)
    return None


@require_GET
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show the endpoints, where each can be tried with a token."""
    context = {"title": "API", "schema_url": reverse("api_schema")}
    return site.render(request, "api/docs.html", context)
