"""`manage.py seed`: fill an empty database with a believable company, or with synthetic accounts for load."""

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.clock import business_today
from accounts.models import Account
from config.database_roles import as_owner
from config.seed_data import company, history
from config.seed_data.load import LOAD_ALIAS, fill_load
from config.seed_data.seller import PEOPLE


class Command(BaseCommand):
    """Seed the demo company; with --accounts, add that many synthetic accounts instead."""

    help = "Fill an empty database with a demo company, or add synthetic accounts with --accounts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--accounts", type=int, help="add this many synthetic accounts instead of the company")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed what was asked for."""
        began = time.monotonic()
        if options["accounts"] is not None:
            self._load(options["accounts"])
        elif company.exists() and history.is_complete():
            self.stdout.write("The demo company is there already; nothing was changed.")
            return
        else:
            self._company()
        self.stdout.write(f"Done in {time.monotonic() - began:.1f} s.")

    def _load(self, accounts: int) -> None:
        if accounts < 1:
            raise CommandError(f"--accounts: at least 1 is needed, not {accounts}.")
        added = fill_load(accounts=accounts, target_date=business_today(), progress=True)
        # Without fresh statistics the first queries over the new rows would be planned for empty tables; only the
        # owner may gather them.
        with as_owner(connection), connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        self.stdout.write(f"Added {added.accounts} accounts with {added.charges} charges to batch “{LOAD_ALIAS}”.")

    def _company(self) -> None:
        today = business_today()
        if not company.exists():
            if Account.objects.exclude(batch__alias=LOAD_ALIAS).exists():
                raise CommandError(
                    "This database has accounts of its own; the demo company only goes into an empty one."
                )
            company.add_company(today=today)
            self.stdout.write(f"Added Fjordlight Systems GmbH with {Account.objects.count()} customers.")
            self._tell_people()
        try:
            for step in history.add_history(today=today, mail=settings.DEMO):
                self.stdout.write(step)
        except history.SeedError as error:
            raise CommandError(str(error)) from error

    def _tell_people(self) -> None:
        if settings.DEMO:
            self.stdout.write(f"Users {', '.join(PEOPLE)}: the password of each is {settings.DEMO_PASSWORD}")
        else:
            self.stdout.write(
                "No users were added: their passwords would be known. manage.py createsuperuser makes one."
            )
