"""Django's `migrate`, run as the owner of the tables and followed by the grants the application's role needs."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from config.database_roles import as_owner, grant_app_role


class Command(migrate.Command):
    """Bring the database up to date as the role of MIGRATE_DATABASE_URL."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then grant; with --plan and --check nothing changes."""
        connection = connections[options["database"]]
        with as_owner(connection):
            super().handle(*args, **options)
            if not (options["plan"] or options["check_unapplied"]):
                grant_app_role(connection)
