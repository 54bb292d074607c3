"""The attacks on usage: counted once, rated once without holes, billed as it was rated, and unchanged when it has been (I5)."""

from tests.integrity.attack import CHECK, EXCLUSION, UNIQUE, Attack, deferred, set_columns
from tests.integrity.world import post

RECORD, SLICE, RATED, IMPORT = "usage_usagerecord", "usage_usageslice", "usage_ratedusage", "usage_usageimport"
ITEM = "invoicing_invoiceitem"


def _record(slice_id: int, day: str = "2026-03-06") -> str:
    return f"INSERT INTO {RECORD} (id, slice_id, line, quantity, start_date, description) VALUES (1900, {slice_id}, 9, 1, '{day}', '');"


def _slice(*, rated: str = "NULL") -> str:
    return (
        f"INSERT INTO {SLICE} (id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records, rated_id)"
        f" VALUES (1900, 1001, 1001, 1004, '2026-02-05', '2026-02-05', 1, 1, {rated});"
    )


def rate(
    charge: int,
    period: str,
    *,
    kind: str = "Period",
    counted_from: str = "2020-01-01",
    amount: str = "0",
    live: str = "true",
    row: int = 1900,
) -> str:
    """Return the SQL that rates days of a charge."""
    return (
        f"INSERT INTO {RATED} (id, charge_id, kind, period, counted_from, quantity, amount, state, run, is_live)"
        f" VALUES ({row}, {charge}, '{kind}', '{period}', '{counted_from}', 0, {amount}, '', 0, {live});"
    )


def _release(*rows: int) -> str:
    return f"UPDATE {RATED} SET is_live = false WHERE id IN ({', '.join(map(str, rows))});"


def _line(rated: int, *, charge: int = 1004, amount: str = "0", period: str = "[2026-02-01,2026-03-01)") -> str:
    return (
        f"INSERT INTO {ITEM} (id, invoice_id, charge_id, kind, description, period, amount, rated_usage_id, derivation)"
        f" VALUES (1900, 1004, {charge}, 'Usage', 'Forged', '{period}', {amount}, {rated}, '{{}}');"
    )


CANCEL = "UPDATE invoicing_invoice SET status = 'Canceled', canceled_at = now() WHERE id = 1005;"
GIVE_BACK = deferred(
    CANCEL, _release(1001, 1002), f"UPDATE {SLICE} SET rated_id = NULL WHERE rated_id IN (1001, 1002);"
)
RATE_MARCH = rate(1004, "[2026-03-01,2026-04-01)") + set_columns(SLICE, "rated_id = 1900", 1002) + ";"

RECORDS = [
    Attack("i5_records_come_first", _record(1002), label="to a pending slice"),
    Attack("i5_records_come_first", _record(1001), label="to a Processed slice"),
    Attack("i5_records_not_changed", set_columns(RECORD, "quantity = 99"), label="quantity"),
    Attack("i5_records_not_changed", set_columns(RECORD, "start_date = '2026-01-06'"), label="day"),
    Attack("i5_records_not_changed", set_columns(RECORD, "slice_id = 1002"), label="taken out"),
    Attack("i5_records_not_changed", set_columns(RECORD, "slice_id = 1001", 1002), label="put in"),
    Attack(
        "i5_records_not_changed",
        set_columns(RECORD, "quantity = 25", 1002),
        None,
        harm=f"SELECT quantity <> 25 FROM {SLICE} WHERE id = 1002",
        label="behind the back of a pending slice",
    ),
    Attack("i5_records_not_removed", f"DELETE FROM {RECORD} WHERE id = 1001"),
    Attack("i5_record_numbers", set_columns(RECORD, "quantity = -1", 1002), backed_by=("i5_slice_numbers",)),
    Attack("i5_record_numbers", set_columns(RECORD, "quantity = 'NaN'", 1002), CHECK, ("i5_slice_numbers",), label="NaN"),
    Attack("i5_record_numbers", set_columns(RECORD, "end_date = '2026-03-04'", 1002), label="ends before it starts"),
    Attack("i5_unique_key_once", set_columns(RECORD, "unique_key = 'first'", 1002), UNIQUE),
    Attack("i5_record_no_truncate", f"TRUNCATE {RECORD}", as_owner=True),
]  # fmt: skip

SLICES = [
    Attack("i5_slice_sums", _slice(), label="without records"),
    Attack("i5_slice_sums", deferred(_record(1900, "2026-02-06"), _slice()), label="with another day"),
    Attack("i5_slice_sums", deferred(_record(1900, "2026-02-05"), _slice(rated="1002")), label="rated at once"),
    Attack("i5_slice_released", set_columns(SLICE, "rated_id = NULL"), label="given back while its days are billed"),
    Attack("i5_slice_released", RATE_MARCH + set_columns(SLICE, "rated_id = 1002", 1002), CHECK, ("i5_slice_rated_once",), label="rated again"),
    Attack("i5_slice_rated_once", set_columns(SLICE, "rated_id = 1002", 1002), label="rated with other days"),
    Attack("i5_slice_rated_once", rate(1005, "[2026-03-01,2026-04-01)") + set_columns(SLICE, "rated_id = 1900", 1002), label="rated with another charge"),
    Attack("i5_slice_rated_once", rate(1004, "[2026-03-01,2026-04-01)") + _release(1900) + set_columns(SLICE, "rated_id = 1900", 1002), label="rated with what was given back"),
    Attack("i5_slice_belongs", set_columns(SLICE, "charge_id = 1005", 1002), label="moved to another charge"),
    Attack("i5_slice_says_its_records", set_columns(SLICE, "quantity = 99", 1002), label="a sum its records do not have"),
    Attack("i5_slice_says_its_records", set_columns(SLICE, "first_day = '2026-01-01'"), CHECK, ("i5_slice_rated_before_billed",), label="days of a Processed one"),
    Attack("i5_slice_belongs", deferred(set_columns(SLICE, "id = 1900", 1002) + f"; UPDATE {RECORD} SET slice_id = 1900 WHERE id = 1002;"), label="under another id"),
    Attack("i5_slice_rated_before_billed", set_columns(SLICE, "rated_id = 1001", 1003), label="late usage joins what is billed"),
    Attack(
        "i5_slice_kept",
        f"DELETE FROM {RECORD} WHERE id = 1001; DELETE FROM {SLICE} WHERE id = 1001",
        backed_by=("i5_records_not_removed",),
    ),
    Attack("i5_slice_numbers", set_columns(SLICE, "quantity = -1", 1002), backed_by=("i5_slice_says_its_records",)),
    Attack("i5_slice_no_truncate", f"TRUNCATE {SLICE} CASCADE", backed_by=("i5_record_no_truncate",), as_owner=True),
]  # fmt: skip

RATED_DAYS = [
    Attack("i5_rated_no_hole", rate(1004, "[2026-03-02,2026-04-01)"), label="one day left out"),
    Attack("i5_rated_no_hole", rate(1005, "[2026-01-01,2026-02-01)") + rate(1005, "[2026-03-01,2026-04-01)", row=1901), label="a month left out"),
    Attack("i5_rated_no_hole", rate(1004, "[2025-12-01,2026-01-01)"), label="before later days"),
    Attack("i5_rated_no_hole", rate(1004, "[2026-03-01,2026-04-01)", live="false"), label="given back from the start"),
    Attack("i5_rated_no_hole", rate(1005, "[2026-01-01,2026-02-01)", kind="Late"), label="late for days never rated"),
    Attack("i5_rated_once", rate(1004, "[2026-02-15,2026-03-15)"), EXCLUSION, label="a day inside"),
    Attack("i5_rated_once", rate(1004, "[2026-02-28,2026-04-01)"), EXCLUSION, label="its last day"),
    Attack("i5_rated_through", rate(1004, "[2026-02-01,2026-03-01)"), UNIQUE, ("i5_rated_once",)),
    Attack("i5_rated_finite", rate(1005, "[2026-01-01,)"), label="without end"),
    Attack("i5_rated_finite", rate(1005, "empty"), label="no day at all"),
    Attack("i5_rated_known", rate(1005, "[2026-01-01,2026-02-01)", kind="Maybe"), label="kind"),
    Attack("i5_rated_known", rate(1005, "[2026-01-01,2026-02-01)", counted_from="2026-01-02"), label="counted too late"),
    Attack("i4_rated_numbers", rate(1005, "[2026-01-01,2026-02-01)", amount="'NaN'"), label="NaN"),
    Attack("i4_rated_numbers", rate(1005, "[2026-01-01,2026-02-01)", amount="'Infinity'"), label="infinite"),
    Attack("i5_rated_not_rewritten", set_columns(RATED, "amount = 5", 1002), label="amount"),
    Attack("i5_rated_not_rewritten", set_columns(RATED, "period = '[2026-02-01,2026-02-15)'", 1002), label="days"),
    Attack("i5_rated_not_rewritten", set_columns(RATED, "state = 'x'", 1002), label="state"),
    Attack("i5_rated_not_rewritten", set_columns(RATED, "id = 1900", 1002), CHECK, ("i5_rated_from_the_end",), label="under another id"),
    Attack("i5_rated_not_rewritten", _release(1002) + set_columns(RATED, "is_live = true", 1002), label="revived"),
    Attack("i5_rated_from_the_end", rate(1004, "[2026-03-01,2026-04-01)") + _release(1002), label="given back before later days"),
    Attack(
        "i5_rated_gives_back",
        RATE_MARCH + _release(1900),
        None,
        harm=f"SELECT count(*) > 0 FROM {SLICE} s JOIN {RATED} r ON r.id = s.rated_id WHERE NOT r.is_live",
        label="Processed by what was given back",
    ),
    Attack("i5_rated_usage_billed", _release(1001, 1002)),
    Attack("i5_rated_kept", f"DELETE FROM {RATED} WHERE id = 1002"),
    Attack("i5_rated_no_truncate", f"TRUNCATE {RATED} CASCADE", backed_by=("i5_slice_no_truncate", "i5_record_no_truncate", "i3_item_no_truncate", "i1_coverage_no_truncate"), as_owner=True),
]  # fmt: skip

USAGE_LINES = [
    Attack("i5_usage_as_rated", _line(1002, amount="5"), label="another amount"),
    Attack("i5_usage_as_rated", _line(1002, charge=1005), label="another charge"),
    Attack("i5_usage_as_rated", _line(1002, period="[2026-03-01,2026-04-01)"), label="other days"),
    Attack("i5_usage_as_rated", _release(1002) + _line(1002), label="given back"),
    Attack("i5_usage_as_rated", set_columns(ITEM, "amount = 9", 1005), label="changed afterwards"),
    Attack("i5_rated_usage_billed_once", _line(1001, amount="10", period="[2026-01-01,2026-02-01)"), UNIQUE),
    Attack("i5_usage_names_what_was_rated", set_columns(ITEM, "rated_usage_id = NULL", 1005), backed_by=("i5_usage_as_rated",)),
    Attack("i5_usage_names_what_was_rated", set_columns(ITEM, "rated_usage_id = 1002", 1004), label="a line that is not for usage"),
    Attack("i5_usage_given_back", CANCEL),
    Attack("i4_i10_posting", _release(1001, 1002) + post(1005, 2), backed_by=("i5_rated_usage_billed", "i5_rated_gives_back"), label="usage given back"),
]  # fmt: skip

IMPORTS = [
    Attack("i5_file_once", f"INSERT INTO {IMPORT} (id, source, status, file_name, size, sha256, leave_bad_rows_out, rows, good_rows, bad_rows, bytes_done, quantities, error, attempts) VALUES (1900, 'File', 'Uploaded', 'again.csv', 1, 'abc', false, 0, 0, 0, 0, '{{}}', '', 0)", UNIQUE),
    Attack("i5_file_part_once", "INSERT INTO usage_usagefilepart (usage_import_id, number, content) VALUES (1001, 0, 'UOM')", UNIQUE),
    Attack("i5_import_known", set_columns(IMPORT, "source = 'Fax'"), label="source"),
    Attack("i5_import_known", set_columns(IMPORT, "status = 'Lost'"), CHECK, ("i11_import_legal_states",), label="status"),
    Attack("i11_import_legal_states", set_columns(IMPORT, "status = 'Importing'"), label="back"),
    Attack("unit_known", set_columns("billing_unitofmeasure", "decimals = 10")),
    Attack("child_usage_needs_hierarchy", set_columns("billing_billingrules", "include_child_usage = true, customer_hierarchy = false", 1)),
]  # fmt: skip

USAGE_ATTACKS = [*RECORDS, *SLICES, *RATED_DAYS, *USAGE_LINES, *IMPORTS]
