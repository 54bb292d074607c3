"""`manage.py audit`: look for rows that break an invariant, in one bill run or in the whole database."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from invoicing.bill_run.verify import CHECK_NAMES, audit
from invoicing.models import BillRun


class Command(BaseCommand):
    """Print every violation; the exit code is 1 if there is any."""

    help = "Check that no day is billed twice, sums add up and numbers have no gap. Exit code 1 if something is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--run", metavar="NUMBER", help="only this bill run, for example BR-00000012")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Audit and report."""
        run_id = None
        if options["run"]:
            run = BillRun.objects.filter(number=options["run"]).only("pk").first()
            if run is None:
                raise CommandError(f"--run: there is no bill run {options['run']}.")
            run_id = run.pk
        found = audit(run_id)
        if options["json"]:
            violations = [violation._asdict() for violation in found]
            report = {"run": options["run"], "checks": len(CHECK_NAMES), "violations": violations}
            self.stdout.write(json.dumps(report))
        else:
            for violation in found:
                self.stdout.write(f"{violation.check}: {violation.count}, for example {violation.example}")
            self.stdout.write(f"{len(CHECK_NAMES)} checks, {len(found)} violated.")
        if found:
            raise CommandError(f"{len(found)} of {len(CHECK_NAMES)} checks found something wrong.", returncode=1)
