"""Response headers that neither Django nor its packages set."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse


class PermissionsPolicyMiddleware:
    """Tell browsers that no page needs camera, microphone, position, payment or USB."""

    POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", self.POLICY)
        return response


class HtmxRedirectMiddleware:
    """Let htmx follow a redirect with the whole page: a browser would silently fetch it into the dialog instead."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.headers.get("HX-Request") != "true" or response.status_code not in (301, 302, 303):
            return response
        target = response.headers["Location"]
        if target.partition("?")[0] == reverse("admin:login"):
            # The session has ended: reload, so that logging in leads back to the page and not to the fragment.
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        return HttpResponse(status=204, headers={"HX-Redirect": target})
