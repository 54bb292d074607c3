"""Django's entry for the wiring: binds tasks to their application and adds the deployment checks."""

from django.apps import AppConfig
from django.core.checks import Tags, register

from config import celery, checks


class ConfigConfig(AppConfig):
    """Wiring without models; imported tasks need `celery.app` to know the broker."""

    name = "config"
    verbose_name = "Tallyrun"

    def ready(self) -> None:
        """Register the checks and make ours the application that tasks are sent through."""
        celery.app.set_default()
        register(checks.check_deployment, Tags.security, deploy=True)
