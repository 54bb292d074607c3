"""`manage.py import_usage FILE`: check a usage file and import it, all of it or its good rows."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from usage.models import UsageImport, UsageImportStatus
from usage.services import import_file

CHUNK = 1024 * 1024
ERRORS_SHOWN = 20


class Command(BaseCommand):
    """Import usage from a CSV file (also compressed with gzip) or an Excel workbook."""

    help = "Check a usage file row by row and import it: all of it, or with --leave-bad-rows-out its good rows."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and what becomes of bad rows."""
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--leave-bad-rows-out", action="store_true", help="import the good rows although others are bad"
        )
        parser.add_argument("--dry-run", action="store_true", help="only check; nothing is imported")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the file and say what became of it; ends with an error unless all that was asked for was done."""
        path: Path = options["file"]
        try:
            found = import_file(
                chunks=_chunks(path, quiet=options["json"]),
                file_name=path.name,
                leave_bad_rows_out=options["leave_bad_rows_out"],
                dry_run=options["dry_run"],
            )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        done = found.status == UsageImportStatus.IMPORTED or (
            options["dry_run"] and not found.error and not found.bad_rows
        )
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found, dry_run=options["dry_run"])))
        else:
            self._say(found, dry_run=options["dry_run"])
        if not done:
            raise CommandError(found.error or _why_not(found))

    def _say(self, found: UsageImport, *, dry_run: bool) -> None:
        self.stdout.write(f"{found.good_rows:,} rows can be imported, {found.bad_rows:,} are bad.")
        for error in found.errors.all()[:ERRORS_SHOWN]:
            where = f"line {error.line}" + (f", {error.column}" if error.column else "")
            self.stdout.write(f"  {where}: {error.message}")
        if found.bad_rows > ERRORS_SHOWN:
            self.stdout.write("  … with --json, or on the page of the import, they are all there.")
        if found.status == UsageImportStatus.IMPORTED:
            self.stdout.write(f"Imported {found.good_rows:,} records as import {found.pk}.")
        elif dry_run:
            self.stdout.write("Nothing was imported: this was a dry run.")


def _chunks(path: Path, *, quiet: bool) -> Iterator[bytes]:
    """Yield the file's bytes, showing how many have been read where somebody watches."""
    with (
        path.open("rb") as file,
        tqdm(
            total=path.stat().st_size,
            unit="B",
            unit_scale=True,
            desc="reading",
            disable=quiet or not sys.stderr.isatty(),
        ) as bar,
    ):
        while chunk := file.read(CHUNK):
            bar.update(len(chunk))
            yield chunk


def _why_not(found: UsageImport) -> str:
    if not found.good_rows:
        return "No row of the file can be imported. Nothing was changed."
    return f"{found.bad_rows:,} rows are bad, so nothing was imported. Correct them, or use --leave-bad-rows-out."


def _as_json(found: UsageImport, *, dry_run: bool) -> dict[str, Any]:
    errors = found.errors.values("line", "column", "value", "code", "message")
    return {
        "import": found.pk,
        "status": found.status,
        "dry_run": dry_run,
        "rows": found.rows,
        "good_rows": found.good_rows,
        "bad_rows": found.bad_rows,
        "first_day": found.first_day.isoformat() if found.first_day else None,
        "last_day": found.last_day.isoformat() if found.last_day else None,
        "quantities": found.quantities,
        "error": found.error,
        "errors": list(errors),
    }
