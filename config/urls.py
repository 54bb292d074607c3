"""Addresses: two for probes without login, the API for programs, and everything else behind the operators' site."""

from django.urls import path

from accounts.operator_admin import site
from config.api import api, api_docs, api_schema
from config.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("api/v1/openapi.json", api_schema, name="api_schema"),
    path("api/v1/docs", site.admin_view(api_docs), name="api_docs"),
    path("api/v1/", api.urls),
    # Last: the site answers every address that nothing else does.
    path("", site.urls),
]
