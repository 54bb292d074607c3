"""`manage.py import_usage`: the same checks as in the browser, with a result for people and for programs."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.factories import acme
from tests.usage.consumption import sold
from usage.models import UsageImport, UsageRecord

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two good rows and a bad one of Acme's gigabytes."""
    number = sold(account=acme()).subscription.account.number
    path = tmp_path / "usage.csv"
    rows = [f"{number},GB,10,2026-01-05", f"{number},GB,ten,2026-01-06", f"{number},GB,2.5,2026-02-05"]
    path.write_text("\n".join(["ACCOUNT_ID,UOM,QTY,STARTDATE", *rows]))
    return path


def run(*arguments: object) -> str:
    """Run the command and return what it prints; a refusal is raised."""
    output = StringIO()
    call_command("import_usage", *map(str, arguments), stdout=output)
    return output.getvalue()


def test_one_bad_row_keeps_all_others_out(file):
    with pytest.raises(CommandError, match="1 rows are bad, so nothing was imported"):
        run(file)
    assert UsageRecord.objects.count() == 0


def test_the_good_rows_are_imported_when_asked_for(file):
    said = run(file, "--leave-bad-rows-out")
    assert "2 rows can be imported, 1 are bad." in said
    assert "line 3, QTY: “ten” is not a quantity" in said
    assert f"Imported 2 records as import {UsageImport.objects.get().pk}." in said
    assert UsageRecord.objects.count() == 2


def test_the_result_as_json_names_every_bad_cell(file):
    found = json.loads(run(file, "--leave-bad-rows-out", "--json"))
    assert (found["status"], found["rows"], found["good_rows"], found["bad_rows"]) == ("Imported", 3, 2, 1)
    assert found["quantities"] == {"GB": "12.5"}
    assert (found["first_day"], found["last_day"]) == ("2026-01-05", "2026-02-05")
    assert [(e["line"], e["column"], e["code"]) for e in found["errors"]] == [(3, "QTY", "not_a_quantity")]


def test_a_dry_run_imports_nothing_and_lets_the_file_be_imported_later(file):
    with pytest.raises(CommandError):
        run(file, "--dry-run")
    file.write_text(file.read_text().replace("ten", "1"))
    assert "this was a dry run" in run(file, "--dry-run")
    assert UsageRecord.objects.count() == 0
    assert "Imported 3 records" in run(file)


def test_the_same_file_again_is_refused_with_the_import_that_has_it(file):
    run(file, "--leave-bad-rows-out")
    with pytest.raises(CommandError, match=f"as import {UsageImport.objects.get().pk}"):
        run(file, "--leave-bad-rows-out")
    assert UsageRecord.objects.count() == 2


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), (b"", "empty"), (b"%PDF-1.7", "")])
def test_what_is_no_usage_file_is_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "usage.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CommandError, match=reason) as refused:
        run(path)
    assert str(refused.value).endswith(".")
    assert UsageRecord.objects.count() == 0
