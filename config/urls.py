"""Addresses: two for probes without login, and everything else behind the operators' site."""

from django.urls import path

from accounts.operator_admin import site
from config.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    # Last: the site answers every address that nothing else does.
    path("", site.urls),
]
