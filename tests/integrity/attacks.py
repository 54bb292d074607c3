"""The attacks: for each guard of the database at least one piece of SQL that it must refuse, in the world of `world.py`."""

from tests.integrity.attack import CHECK, EXCLUSION, UNIQUE, Attack
from tests.integrity.attack import deferred as _deferred
from tests.integrity.attack import set_columns as _set
from tests.integrity.usage_attacks import USAGE_ATTACKS
from tests.integrity.world import post


def _item(invoice: int, *, amount: str = "1", period: str = "[2026-03-01,2026-04-01)", kind: str = "Recurring") -> str:
    return (
        "INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, quantity, unit_price, amount, derivation)"
        f" VALUES (1900, {invoice}, 1001, '{kind}', 'Forged', '{period}', 1, 1, {amount}, '{{}}');"
    )


def _cover(charge: int, period: str, *, kind: str = "Period", item: str = "NULL") -> str:
    return f"INSERT INTO invoicing_coverage (charge_id, item_id, kind, period) VALUES ({charge}, {item}, '{kind}', '{period}');"


def _credit(item: int, period: str, *, amount: str = "-1") -> str:
    return (
        "INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, amount, credits_id, derivation)"
        f" VALUES (1901, 1004, 1001, 'Credit', 'Forged', '{period}', {amount}, {item}, '{{}}');"
    )


def discount(item: int, amount: str, *, invoice: int = 1004, row: int = 1902) -> str:
    return (
        "INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, amount, reduces_id, derivation)"
        f" VALUES ({row}, {invoice}, 1003, 'Discount', 'Forged', '[2026-02-01,2026-03-01)', {amount}, {item}, '{{}}');"
    )


def cancel(invoice: int, *items: int) -> str:
    """Return the SQL that cancels a draft and gives back what its lines cover."""
    covered = ", ".join(map(str, items)) or "NULL"
    return (
        f"UPDATE invoicing_invoice SET status = 'Canceled', canceled_at = now() WHERE id = {invoice};"
        f" DELETE FROM invoicing_coverage WHERE item_id IN ({covered});"
    )


def _shorten(item: int, end: str) -> str:
    return f"UPDATE invoicing_coverage SET period = daterange(lower(period), '{end}') WHERE item_id = {item};"


def _invoice(status: str, number: str = "NULL") -> str:
    posted = status == "Posted"
    return f"""
    INSERT INTO invoicing_invoice (id, reference, account_id, bill_run_id, currency, status, invoice_date, due_date, bill_to_id, payment_term_id, template_id, number_sequence_id,
        group_value, net, tax, total, balance, number, sequence_value, posted_at, snapshot, template_version_id)
    VALUES (1900, 'FORGED', 1001, 1001, 'EUR', '{status}', '2026-02-01', '2026-02-11', 1001, 1001, 1001, 1001, '', 5, 0, 5, 5,
        {number}, {"99" if posted else "NULL"}, {"now()" if posted else "NULL"}, '{{}}', 1)
    """


def _delivery(invoice: int, *, state: str = "Queued", recipients: str = "{ada@ada.example}") -> str:
    return (
        "INSERT INTO invoicing_invoicedelivery (invoice_id, request_key, recipients, state, message_id, attempts, error)"
        f" VALUES ({invoice}, gen_random_uuid(), '{recipients}', '{state}', '', 0, '')"
    )


def _token(*, key: str = "repeat('c', 64)", scopes: str = "{usage:write}") -> str:
    return (
        "INSERT INTO accounts_apitoken (name, prefix, key_hash, scopes, created_at)"
        f" VALUES ('Forged', 'tally_forged', {key}, '{scopes}', now())"
    )


ITEM, COVERAGE, INVOICE, RUN = "invoicing_invoiceitem", "invoicing_coverage", "invoicing_invoice", "invoicing_billrun"
DELIVERY, DOCUMENT, SEQUENCE = "invoicing_invoicedelivery", "invoicing_invoicedocument", "accounts_numbersequence"
TOKEN = "accounts_apitoken"
TRUNCATABLE = ("i1_coverage_no_truncate", "i3_item_no_truncate", "i18_document_no_truncate")

DAYS_BILLED_ONCE = [
    Attack("i1_no_overlap", _cover(1001, "[2026-02-15,2026-03-15)"), EXCLUSION, ("i2_no_hole",), label="a day inside"),
    Attack("i1_no_overlap", _cover(1001, "[2026-02-28,2026-03-31)"), EXCLUSION, ("i2_no_hole",), label="its last day"),
    Attack("i1_no_overlap", _cover(1001, "[2025-12-15,2026-01-02)"), EXCLUSION, label="its first day"),
    Attack("i1_no_overlap", _cover(1001, "[2026-01-01,2026-03-15)"), EXCLUSION, label="from the very start"),
    Attack("i1_covered_through", _cover(1001, "[2026-01-15,2026-02-01)"), UNIQUE, ("i1_no_overlap", "i2_no_hole")),
    Attack("i1_one_time_once", _cover(1002, "[2026-01-02,2026-01-03)", kind="Once"), UNIQUE),
    Attack("i1_item_covers_once", _cover(1001, "[2026-03-01,2026-04-01)", item="1002"), UNIQUE),
    Attack("i1_coverage_finite", _cover(1003, "[2026-01-01,)"), label="without end"),
    Attack(
        "i1_coverage_finite",
        _cover(1003, "[2026-01-01,infinity)"),
        backed_by=("i1_no_overlap",),
        label="until infinity",
    ),
    Attack("i1_coverage_finite", _cover(1003, "empty"), label="no day at all"),
    Attack("i1_coverage_kind_known", _cover(1003, "[2026-01-01,2026-02-01)", kind="Maybe")),
    Attack("i1_coverage_not_rewritten", _set(COVERAGE, "period = '[2026-01-01,2026-01-15)'"), backed_by=()),
    Attack("i1_coverage_not_rewritten", _set(COVERAGE, "item_id = NULL"), label="taken from its line"),
    Attack("i1_coverage_released_only", "DELETE FROM invoicing_coverage WHERE id = 1002", label="of a draft"),
    Attack(
        "i1_coverage_released_only", "DELETE FROM invoicing_coverage WHERE charge_id = 1001", label="of a posted one"
    ),
    Attack(
        "i1_coverage_released_only",
        _cover(1003, "[2026-01-01,2026-02-01)", item="1003")
        + _cover(1003, "[2026-02-01,2026-03-01)")
        + "DELETE FROM invoicing_coverage WHERE item_id = 1003",
        label="before later days",
    ),
    Attack("i1_item_period_finite", _item(1002, period="[2026-03-01,)")),
    Attack("i1_item_period_finite", _item(1002, period="empty"), label="no day at all"),
    Attack("i2_no_hole", _cover(1001, "[2026-03-02,2026-04-01)"), label="one day left out"),
    Attack(
        "i2_no_hole",
        _cover(1003, "[2026-03-01,2026-04-01)") + _cover(1003, "[2026-01-01,2026-02-28)"),
        label="one day left out before",
    ),
    Attack("i1_credit_gives_back", _credit(1002, "[2026-02-15,2026-03-01)"), label="for days that stay billed"),
    Attack(
        "i1_credit_gives_back",
        _deferred(_credit(1002, "[2026-02-15,2026-03-01)", amount="-100.01"), _shorten(1002, "2026-02-15")),
        label="of more than was billed",
    ),
    Attack(
        "i1_credit_gives_back",
        _deferred(
            _cover(1001, "[2026-03-01,2026-04-01)"),
            _credit(1002, "[2026-02-15,2026-03-01)"),
            _shorten(1002, "2026-02-15"),
        ),
        label="leaving a hole",
    ),
    Attack(
        "i1_credit_taken_back",
        _deferred(
            _credit(1002, "[2026-02-15,2026-03-01)"),
            _shorten(1002, "2026-02-15"),
            _set(INVOICE, "status = 'Canceled', canceled_at = now()", 1004) + ";",
        ),
        label="without billing the days again",
    ),
    Attack(
        "i1_credit_taken_back",
        _deferred(
            _credit(1002, "[2026-02-15,2026-03-01)"),
            _shorten(1002, "2026-02-15"),
            _set(INVOICE, "status = 'Canceled', canceled_at = now()", 1002) + ";",
        ),
        label="of an invoice that another credits",
    ),
    Attack(
        "i2_no_hole",
        "INSERT INTO invoicing_coverage (charge_id, kind, period) VALUES (1003, 'Period', '[2026-01-01,2026-02-01)'), (1003, 'Period', '[2026-03-01,2026-04-01)')",
        label="two at once",
    ),
    Attack(
        "i1_segments_no_overlap",
        "INSERT INTO billing_chargesegment (charge_id, number, effective_start, quantity, price, mrr) VALUES (1001, 2, '2026-12-31', 1, 5, 0)",
        EXCLUSION,
    ),
]

POSTED_IS_FROZEN = [
    Attack("i3_invoice_frozen", _set(INVOICE, "due_date = '2030-01-01'"), label="due date"),
    Attack("i3_invoice_frozen", _set(INVOICE, "snapshot = '{}'"), label="snapshot"),
    Attack("i3_invoice_frozen", _set(INVOICE, "net = 1, total = 1, balance = 1"), label="amount"),
    Attack("i3_invoice_frozen", _set(INVOICE, "group_value = 'x'", 1003), label="canceled"),
    Attack("i3_invoice_kept", "DELETE FROM invoicing_invoice WHERE id = 1004", label="a draft"),
    Attack(
        "i3_items_not_added",
        _item(1001) + _cover(1001, "[2026-03-01,2026-04-01)", item="1900"),
        label="to a posted invoice",
    ),
    Attack("i3_items_not_added", _item(1003), label="to a canceled invoice"),
    Attack("i3_items_not_changed", _set(ITEM, "amount = 1"), label="amount"),
    Attack("i3_items_not_changed", _set(ITEM, "description = 'x'"), label="text"),
    Attack("i3_items_not_changed", _set(ITEM, "invoice_id = 1002"), label="taken out"),
    Attack("i3_items_not_changed", _set(ITEM, "invoice_id = 1001", 1004), label="put in"),
    Attack(
        "i3_items_not_removed",
        "DELETE FROM invoicing_coverage WHERE item_id = 1001; DELETE FROM invoicing_invoiceitem WHERE id = 1001",
        backed_by=("i1_coverage_released_only",),
        label="with its coverage",
    ),
    Attack("i3_invoice_no_truncate", "TRUNCATE invoicing_invoice CASCADE", backed_by=TRUNCATABLE, as_owner=True),
    Attack(
        "i3_item_no_truncate",
        "TRUNCATE invoicing_invoiceitem CASCADE",
        backed_by=("i1_coverage_no_truncate",),
        as_owner=True,
    ),
    Attack("i1_coverage_no_truncate", "TRUNCATE invoicing_coverage", as_owner=True),
    Attack("i4_invoiced_total_no_truncate", "TRUNCATE invoicing_invoicedtotal", as_owner=True),
    Attack("i18_document_no_truncate", "TRUNCATE invoicing_invoicedocument", as_owner=True),
]

SUMS_AND_NUMBERS = [
    Attack("i4_i10_posting", post(1002, 2, also="net = 1, total = 1, balance = 1"), label="wrong total"),
    Attack("i4_i10_posting", post(1004, 2), label="without lines"),
    Attack("i4_i10_posting", post(1002, 2, also="balance = 0"), label="already paid"),
    Attack("i4_i10_posting", post(1002, 2, also="tax = 9, total = 159, balance = 159"), label="tax without tax lines"),
    Attack("i4_i10_posting", _set(ITEM, "amount = 100.001", 1002) + ";" + post(1002, 2, also="net = 150.001, total = 150.001, balance = 150.001"), label="tenths of a cent"),
    Attack("i4_i10_posting", _item(1002) + post(1002, 2, also="net = 151, total = 151, balance = 151"), label="days not covered"),
    Attack("i4_i10_posting", post(1002, 3), label="a number left out"),
    Attack("i4_i10_posting", post(1002, 1, number="W0001b", next_number=2), CHECK, ("i10_sequence_value_once",), label="a number again"),
    Attack("i4_i10_posting", post(1002, 2, next_number=3, number="W0009"), label="another number"),
    Attack("i4_i10_posting", post(1002, 2, next_number=9), label="counter ahead"),
    Attack(
        "i4_i10_posting",
        "UPDATE accounts_numbersequence SET first_number = 50, next_number = 50 WHERE id = 1001;" + post(1002, 50),
        label="sequence restarted higher",
    ),
    Attack("i4_i10_posting", post(1004, 2, also="id = 1905, net = 77, total = 77, balance = 77"), label="under another id"),
    Attack("i4_invoice_amounts", _set(INVOICE, "total = 151", 1002), label="total is not net plus tax"),
    Attack("i4_invoice_amounts", _set(INVOICE, "balance = 'NaN'", 1002), label="NaN"),
    Attack("i4_invoice_amounts", _set(INVOICE, "net = 'Infinity', total = 'Infinity'", 1002), label="infinite"),
    Attack("i4_invoice_currency_code", _set(INVOICE, "currency = 'eu'", 1002)),
    Attack("i4_item_amounts", _set(ITEM, "amount = 'NaN'", 1002), label="NaN"),
    Attack("i4_item_amounts", _set(ITEM, "quantity = '-Infinity'", 1002), label="infinite"),
    Attack("i4_item_kind_known", _item(1002, kind="Gift")),
    Attack("i10_number_once", post(1002, 2, number="W0001"), UNIQUE, ("i4_i10_posting",)),
    Attack("i10_sequence_value_once", post(1002, 1, next_number=2), UNIQUE, ("i10_number_once", "i4_i10_posting")),
    Attack("i10_posted_has_number", post(1002, 2, also="posted_by_id = NULL").replace("number = 'W0002',", ""), label="posted without"),
    Attack("i10_posted_has_number", _set(INVOICE, "number = 'W0002'", 1002), label="draft with"),
    Attack("i10_posted_has_number", post(1002, 2).replace("posted_at = now(),", ""), label="posted without time"),
    Attack("i10_posted_has_number", post(1002, 2).replace("snapshot = '", "group_value = '"), label="posted without snapshot"),
    Attack("i10_sequence_sane", _set(SEQUENCE, "digits = 16")),
    Attack("i10_sequence_sane", _set(SEQUENCE, "first_number = 9"), label="first after next"),
    Attack("i10_sequence_forward_only", _set(SEQUENCE, "next_number = 1")),
    Attack("sequence_purpose_known", _set(SEQUENCE, "purpose = 'Gifts'")),
]  # fmt: skip

DISCOUNTS = [
    Attack("i4_discount_names_its_line", _item(1002, kind="Discount"), backed_by=("i4_discount_within_line",)),
    Attack("i4_discount_names_its_line", _set(ITEM, "reduces_id = 1002", 1004), label="a charge that reduces"),
    Attack("i4_discount_within_line", discount(1002, "-100.01"), label="more than the line"),
    Attack("i4_discount_within_line", discount(1002, "-60") + discount(1002, "-60", row=1903), label="more than the line together"),
    Attack("i4_discount_within_line", discount(1002, "0.01"), label="giving back what was not taken off"),
    Attack(
        "i4_discount_within_line",
        _deferred(_credit(1002, "[2026-02-15,2026-03-01)", amount="-50"), _shorten(1002, "2026-02-15"), discount(1901, "-60")),
        label="more than credits leave",
    ),
    Attack("i4_discount_within_line", discount(1002, "-10") + discount(1902, "-1", row=1903), label="of a discount"),
    Attack("i4_discount_within_line", discount(1003, "-1"), label="of a canceled line"),
    Attack("i4_discount_within_line", _set(INVOICE, "account_id = 1002", 1004) + ";" + discount(1002, "-1"), label="of another account"),
    Attack("i4_discount_taken_back", discount(1002, "-10") + cancel(1002, 1002, 1004), label="of a line that another invoice reduces"),
    Attack(
        "i4_discount_taken_back",
        discount(1001, "-10", invoice=1002) + discount(1001, "3", row=1903) + cancel(1002, 1002, 1004),
        label="before a later change",
    ),
]  # fmt: skip

LEGAL_STATES = [
    Attack("i11_invoice_starts_open", _invoice("Posted", "'W0099'"), label="posted at once"),
    Attack("i11_invoice_starts_open", _invoice("Canceled"), label="canceled at once"),
    Attack("i11_invoice_legal_states", _set(INVOICE, "status = 'Generating'", 1002), label="back"),
    Attack("i11_invoice_legal_states", _set(INVOICE, "status = 'Draft', number = NULL, sequence_value = NULL, posted_at = NULL"), backed_by=("i3_invoice_frozen",), label="unposted"),
    Attack("i11_invoice_legal_states", _set(INVOICE, "status = 'Draft'", 1003), backed_by=("i3_invoice_frozen",), label="revived"),
    Attack("i11_invoice_status_known", _set(INVOICE, "status = 'Lost'", 1002), backed_by=("i11_invoice_legal_states",)),
    Attack("i11_run_starts_pending", f"INSERT INTO {RUN} SELECT (jsonb_populate_record(NULL::{RUN}, to_jsonb(r) || '{{\"id\": 1900, \"number\": \"X\", \"status\": \"Posted\"}}')).* FROM {RUN} r WHERE id = 1002"),
    Attack("i11_run_legal_states", _set(RUN, "status = 'Posted'"), label="posted without posting"),
    Attack("i11_run_legal_states", _set(RUN, "status = 'Completed'", 1002), label="completed without work"),
    Attack("bill_run_words_known", _set(RUN, "status = 'Lost'", 1002), backed_by=("i11_run_legal_states",)),
    Attack("bill_run_words_known", _set(RUN, "scope = 'Some'", 1002), label="scope"),
    Attack("bill_run_email_after_post", _set(RUN, "auto_email = true")),
]  # fmt: skip

RUNS = [
    Attack("i6_account_once_a_run", "INSERT INTO invoicing_billrunaccount (run_id, account_id, outcome, invoices, items, code, message, hint) VALUES (1001, 1001, 'Pending', 0, 0, '', '', '')", UNIQUE),
    Attack("i7_chunk_state_known", _set("invoicing_billrunchunk", "state = 'Lost'")),
    Attack("i13_outcome_known", _set("invoicing_billrunaccount", "outcome = 'Lost'")),
    Attack("i13_failure_has_reason", _set("invoicing_billrunaccount", "outcome = 'Failed'")),
    Attack("i16_one_run_per_slot", _set(RUN, "schedule_id = 1001, slot = '2026-01-01 02:00Z'", 1002), UNIQUE),
    Attack("i16_slot_with_schedule", _set(RUN, "slot = NULL"), label="schedule without slot"),
    Attack("i16_slot_with_schedule", _set(RUN, "slot = now()", 1002), label="slot without schedule"),
    Attack("i16_schedule_sane", _set("invoicing_billrunschedule", "hour = 24")),
    Attack("i16_schedule_sane", _set("invoicing_billrunschedule", "frequency = 'Often'"), label="frequency"),
    Attack("i16_schedule_email_after_post", _set("invoicing_billrunschedule", "auto_email = true")),
]  # fmt: skip

DOCUMENTS_AND_MAIL = [
    Attack("i17_state_known", _set(DELIVERY, "state = 'Lost'"), backed_by=("i17_delivery_states",)),
    Attack("i17_has_recipient", _delivery(1001, recipients="{}")),
    Attack("i17_sent_has_time", _set(DELIVERY, "state = 'Sending'") + ";" + _set(DELIVERY, "state = 'Sent'")),
    Attack("i17_delivery_states", _set(DELIVERY, "state = 'Sent', sent_at = now()"), label="sent without sending"),
    Attack("i17_delivery_states", ";".join(_set(DELIVERY, f"state = '{state}'") for state in ("Sending", "Unknown", "Queued")), label="unknown, again"),
    Attack("i17_delivery_states", _set(DELIVERY, "state = 'Sending'") + ";" + _set(DELIVERY, "state = 'Sent', sent_at = now()") + ";" + _set(DELIVERY, "state = 'Queued'"), label="sent, again"),
    Attack("i17_delivery_of_posted", _delivery(1002), label="of a draft"),
    Attack("i17_delivery_of_posted", _delivery(1001, state="Unknown"), label="not queued"),
    Attack("i17_delivery_kept", "DELETE FROM invoicing_invoicedelivery WHERE id = 1001"),
    Attack("i18_hash_matches", _set(DOCUMENT, "content = 'other'"), backed_by=("i18_document_frozen",)),
    Attack("i18_document_frozen", _set(DOCUMENT, "content = 'other', sha256 = encode(sha256('other'), 'hex')"), label="other bytes"),
    Attack("i18_document_frozen", "DELETE FROM invoicing_invoicedocument WHERE id = 1001", label="removed"),
    Attack("i18_document_of_posted", "INSERT INTO invoicing_invoicedocument (invoice_id, content, sha256, pages) VALUES (1002, 'x', encode(sha256('x'), 'hex'), 1)"),
    Attack("i18_template_version_once", "INSERT INTO accounts_invoicetemplateversion (template_id, version, content, created_at) VALUES (1001, 1, '{}', now())", UNIQUE),
    Attack("i18_template_version_frozen", "UPDATE accounts_invoicetemplateversion SET content = '{}' WHERE template_id = 1001", label="changed"),
    Attack("i18_template_version_frozen", "DELETE FROM accounts_invoicetemplateversion WHERE template_id = 1001", label="removed"),
    Attack("i1_credit_names_its_item", _set(ITEM, "kind = 'Credit'", 1002), label="credit of nothing"),
    Attack("i1_credit_names_its_item", _set(ITEM, "credits_id = 1001", 1002), label="a charge that credits"),
    Attack("i4_invoiced_totals", post(1002, 2), None, harm="SELECT (SELECT sum(total) FROM invoicing_invoicedtotal) IS DISTINCT FROM (SELECT sum(total) FROM invoicing_invoice WHERE status = 'Posted')"),
    Attack("i4_invoiced_total_kept", "UPDATE invoicing_invoicedtotal SET total = total + 1"),
    Attack("i4_invoiced_total_kept", "DELETE FROM invoicing_invoicedtotal", label="removed"),
    Attack("i4_invoiced_total_sane", "INSERT INTO invoicing_invoicedtotal (month, currency, invoices, total) VALUES ('2026-02-02', 'EUR', 1, 1)", label="not a month"),
    Attack("i4_invoiced_total_sane", "INSERT INTO invoicing_invoicedtotal (month, currency, invoices, total) VALUES ('2026-02-01', 'EUR', 1, 'NaN')", label="not a number"),
    Attack("i18_template_next_version", _set("accounts_invoicetemplate", "footer = 'New', version = 7"), None, harm="SELECT version <> 2 FROM accounts_invoicetemplate WHERE id = 1001"),
    Attack("i18_template_keep_version", _set("accounts_invoicetemplate", "footer = 'New'"), None, harm="SELECT NOT EXISTS (SELECT FROM accounts_invoicetemplateversion WHERE template_id = 1001 AND version = 2 AND content->>'footer' = 'New')"),
]  # fmt: skip

CUSTOMERS_AND_SALES = [
    Attack("account_bill_cycle_day", _set("accounts_account", "bill_cycle_day = 32")),
    Attack("account_bill_cycle_day_stays", _set("accounts_account", "bill_cycle_day = 0")),
    Attack("account_currency_code", _set("accounts_account", "currency = 'eur'")),
    Attack("account_status_known", _set("accounts_account", "status = 'Lost'")),
    Attack("account_parent_acyclic", _set("accounts_account", "parent_id = 1001"), label="its own parent"),
    Attack("account_parent_acyclic", _set("accounts_account", "parent_id = 1002"), label="a loop of two"),
    Attack("account_parent_acyclic", "UPDATE accounts_account SET parent_id = NULL WHERE id = 1002; UPDATE accounts_account SET parent_id = 2003 - id WHERE id IN (1001, 1002)", label="a loop in one statement"),
    Attack("batch_code_known", _set("accounts_billingbatch", "code = 'Batch51'", 1050)),
    Attack("batch_alias_once", "INSERT INTO accounts_billingbatch (code, alias) VALUES ('Batch49', 'Attacked')", UNIQUE),
    Attack("payment_term_kind_known", _set("accounts_paymentterm", "kind = 'Late'")),
    Attack("payment_term_days_sane", _set("accounts_paymentterm", "net_days = 400")),
    Attack("template_one_default", _set("accounts_invoicetemplate", "is_default = true"), UNIQUE),
    Attack("custom_field_once", "INSERT INTO accounts_customfield (entity, name, label, kind, choices, required) VALUES ('Account', 'Region', '', 'Text', '{}', false)", UNIQUE),
    Attack("billing_rules_one_row", "INSERT INTO billing_billingrules (id, prorate_partial_periods, days_in_month, proration_unit, allow_auto_post) VALUES (2, true, 'UseActualDays', 'ProrateByMonthFirst', true)"),
    Attack("product_dates_in_order", _set("billing_product", "effective_end = effective_start")),
    Attack("rate_plan_name_once", "INSERT INTO billing_productrateplan (product_id, name, description) VALUES (1001, 'Plan', '')", UNIQUE),
    Attack("product_charge_terms_known", _set("billing_productrateplancharge", "charge_model = 'Guess'")),
    Attack("product_charge_terms_complete", _set("billing_productrateplancharge", "end_condition = 'FixedPeriod'")),
    Attack("product_charge_numbers", _set("billing_productrateplancharge", "default_quantity = 'NaN'")),
    Attack("charge_price_once", "INSERT INTO billing_productrateplanchargeprice (charge_id, currency, price) VALUES (1001, 'EUR', 2)", UNIQUE),
    Attack("charge_price_numbers", _set("billing_productrateplanchargeprice", "price = 'NaN'")),
    Attack("catalog_tier_once", "INSERT INTO billing_productrateplanchargetier (price_row_id, number, price, price_format) VALUES (1001, 1, 2, 'PerUnit')", UNIQUE),
    Attack("catalog_tier_numbers", _set("billing_productrateplanchargetier", "price = 'NaN'")),
    Attack("order_status_known", _set("billing_order", "status = 'Lost'")),
    Attack("order_action_position_once", "INSERT INTO billing_orderaction (order_id, position, kind, effective_date, delta_mrr) VALUES (1001, 1, 'CreateSubscription', '2026-01-01', 0)", UNIQUE),
    Attack("order_action_known", _set("billing_orderaction", "kind = 'Vanish'")),
    Attack("order_action_known", _set("billing_orderaction", "delta_mrr = 'NaN'"), label="NaN"),
    Attack("subscription_status_known", _set("billing_subscription", "status = 'Lost'")),
    Attack("subscription_term", _set("billing_subscription", "term_end = '2026-06-01'"), label="evergreen with end"),
    Attack("subscription_term", _set("billing_subscription", "term_type = 'Termed'"), label="termed without end"),
    Attack("subscription_term", _set("billing_subscription", "term_type = 'Termed', term_end = term_start"), label="term of no day"),
    Attack("charge_terms_known", _set("billing_rateplancharge", "billing_timing = 'Sometimes'")),
    Attack("charge_terms_complete", _set("billing_rateplancharge", "billing_period = 'SpecificMonths'")),
    Attack("charge_terms_complete", _set("billing_rateplancharge", "billing_day = 3"), label="day without its type"),
    Attack("charge_terms_complete", _set("billing_rateplancharge", "charge_model = 'DiscountPercentage'"), label="discount of nothing"),
    Attack("subscription_term_dates_in_order", "INSERT INTO billing_subscriptionterm (subscription_id, number, start, \"end\") VALUES (1001, 9, '2026-01-01', '2026-01-01')"),
    Attack("subscription_term_number_once", "INSERT INTO billing_subscriptionterm (subscription_id, number, start) VALUES (1001, 9, '2026-01-01'), (1001, 9, '2027-01-01')", UNIQUE),
    Attack("charge_terms_known", _set("billing_rateplancharge", "trigger_event = 'FullMoon'"), label="trigger"),
    Attack("segment_number_once", "INSERT INTO billing_chargesegment (charge_id, number, effective_start, quantity, price, mrr) VALUES (1001, 1, '2027-01-01', 1, 5, 0)", UNIQUE),
    Attack("segment_dates_in_order", _set("billing_chargesegment", "effective_end = effective_start - 1")),
    Attack("segment_numbers", _set("billing_chargesegment", "price = 'NaN'")),
    Attack("segment_tier_once", "INSERT INTO billing_chargesegmenttier (segment_id, number, price, price_format) VALUES (1001, 1, 2, 'PerUnit')", UNIQUE),
    Attack("segment_tier_numbers", _set("billing_chargesegmenttier", "up_to = 'Infinity'")),
]  # fmt: skip

TOKENS = [
    Attack("token_hash_once", _token(key="repeat('a', 64)"), UNIQUE),
    Attack("token_hash_is_sha256", _token(key="repeat('c', 63)"), label="too short"),
    Attack("token_hash_is_sha256", _token(key="'tally_' || repeat('c', 43)"), label="the token itself"),
    Attack("token_scopes_known", _token(scopes="{}"), label="none"),
    Attack("token_scopes_known", _token(scopes="{usage:write,everything}"), label="an unknown one"),
    Attack("token_stays_as_issued", _set(TOKEN, "scopes = '{usage:write,invoices:read}'"), label="more scopes"),
    Attack("token_stays_as_issued", _set(TOKEN, "key_hash = repeat('d', 64)"), label="another secret"),
    Attack("token_stays_as_issued", _set(TOKEN, "expires_at = now() + '1 year'"), label="a later end"),
    Attack("token_stays_as_issued", _set(TOKEN, "revoked_at = NULL", 1002), label="revived"),
]
_BOXES = "INSERT INTO billing_unitofmeasure (id, name, decimals, rounding) VALUES (1801, 'Box', 2, 'Up'), (1802, 'Bag', 2, 'Up');"


def _counts_in_box(table: str, row: int) -> str:
    return f"{_BOXES} UPDATE {table} SET charge_type = 'Usage', billing_timing = 'InArrears', unit = 'Box' WHERE id = {row};"


UNITS = [
    Attack("unit_known", f"{_BOXES} UPDATE billing_unitofmeasure SET decimals = 10 WHERE id = 1801", label="too many decimals"),
    Attack("unit_known", f"{_BOXES} UPDATE billing_unitofmeasure SET rounding = 'Half' WHERE id = 1801", label="another rounding"),
    Attack("unit_named_stays", _counts_in_box("billing_rateplancharge", 1003) + " DELETE FROM billing_unitofmeasure WHERE id = 1801", label="deleted"),
    Attack("unit_named_stays", _counts_in_box("billing_productrateplancharge", 1001) + " UPDATE billing_unitofmeasure SET name = 'Crate' WHERE id = 1801", label="renamed"),
    Attack("charge_unit_exists", _set("billing_rateplancharge", "charge_type = 'Usage', unit = 'Nothing'", 1003)),
    Attack("charge_unit_exists", _counts_in_box("billing_rateplancharge", 1003) + _set("billing_rateplancharge", "unit = ''", 1003), label="taken away"),
    Attack("product_charge_unit_exists", _set("billing_productrateplancharge", "charge_type = 'Usage', unit = 'Nothing'")),
]  # fmt: skip

ATTACKS = [
    *DAYS_BILLED_ONCE,
    *POSTED_IS_FROZEN,
    *SUMS_AND_NUMBERS,
    *DISCOUNTS,
    *LEGAL_STATES,
    *RUNS,
    *DOCUMENTS_AND_MAIL,
    *CUSTOMERS_AND_SALES,
    *TOKENS,
    *UNITS,
    *USAGE_ATTACKS,
]
