"""A small business in plain SQL with fixed ids, for attacks: one row at least in every table that is guarded.

run 1001 (Completed)                    charge 1001, monthly      |--- Jan: W0001 ---|--- Feb: draft ---|
  1001  W0001, Posted, 100.00           charge 1002, one-time                        | draft |
  1002  DRAFT-1002, Draft, 150.00       charge 1003, monthly      nothing billed yet
  1003  DRAFT-1003, Canceled
  1004  DRAFT-1004, Draft, without lines
  1005  DRAFT-1005, Draft, 10.00         usage: see `usage_world.py`
"""

import psycopg

from tests.integrity.usage_world import CHARGES, USAGE

_CUSTOMERS = """
INSERT INTO accounts_billingbatch (id, code, alias) VALUES (1050, 'Batch50', 'Attacked');
INSERT INTO accounts_paymentterm (id, name, kind, net_days, cutoff_day, months, due_day) VALUES (1001, 'Net 10', 'Net', 10, 31, 1, 1);
INSERT INTO accounts_numbersequence (id, name, purpose, prefix, digits, first_number, next_number) VALUES (1001, 'World', 'Invoice', 'W', 4, 1, 1);
INSERT INTO accounts_invoicetemplate (id, name, version, is_default, legal_name, address, country, vat_id, register, email, website, phone,
    bank_name, iban, bic, colour, logo, page_size, footer, late_payment_note, email_subject, email_text)
VALUES (1001, 'World', 1, false, 'Seller Ltd', 'Road 1', 'DE', '', '', 'billing@seller.example', '', '', '', '', '', '#000000', '', 'A4', '', '', 'Invoice {number}', 'Dear {customer}');
INSERT INTO accounts_account (id, number, name, status, currency, batch_id, bill_cycle_day, payment_term_id, invoice_template_id, number_sequence_id, parent_id,
    language, vat_id, purchase_order, email_invoices, print_invoices, additional_emails, custom_fields, created_at)
VALUES (1001, 'ADA', 'Ada Ltd', 'Active', 'EUR', 1050, 1, 1001, 1001, 1001, NULL, 'en', '', '', true, false, '{}', '{}', now()),
       (1002, 'BOB', 'Bob Ltd', 'Active', 'EUR', 1050, 1, 1001, 1001, 1001, 1001, 'en', '', '', true, false, '{}', '{}', now());
INSERT INTO accounts_contact (id, account_id, name, email, street, street_2, postal_code, city, region, country)
VALUES (1001, 1001, 'Ada', 'ada@ada.example', '', '', '', '', '', 'DE');
UPDATE accounts_account SET bill_to_id = 1001 WHERE id = 1001;
INSERT INTO accounts_customfield (id, entity, name, label, kind, choices, required) VALUES (1001, 'Account', 'Region', 'Region', 'Text', '{}', false);
INSERT INTO accounts_apitoken (id, name, prefix, key_hash, scopes, created_at, revoked_at)
VALUES (1001, 'Gateway', 'tally_gateway1', repeat('a', 64), '{usage:write}', now(), NULL), (1002, 'Old', 'tally_gateway0', repeat('b', 64), '{usage:write}', now(), now());
"""

_SALES = """
INSERT INTO billing_product (id, sku, name, description, effective_start, effective_end) VALUES (1001, 'P', 'Product', '', '2020-01-01', NULL);
INSERT INTO billing_productrateplan (id, product_id, name, description) VALUES (1001, 1001, 'Plan', '');
INSERT INTO billing_productrateplancharge (id, rate_plan_id, name, default_quantity, charge_type, charge_model, billing_timing, billing_period, list_price_base,
    billing_day_type, alignment, trigger_event, unit)
VALUES (1001, 1001, 'Fee', 1, 'Recurring', 'FlatFee', 'InAdvance', 'Month', 'PerBillingPeriod', 'DefaultFromCustomer', 'AlignToCharge', 'ContractEffective', '');
INSERT INTO billing_productrateplanchargeprice (id, charge_id, currency, price) VALUES (1001, 1001, 'EUR', 100);
INSERT INTO billing_productrateplanchargetier (id, price_row_id, number, up_to, price, price_format) VALUES (1001, 1001, 1, 10, 5, 'PerUnit');
INSERT INTO billing_subscription (id, number, account_id, invoice_owner_id, name, status, term_type, contract_effective, term_start, auto_renew, invoice_separately, custom_fields, created_at)
VALUES (1001, 'S-1001', 1001, 1001, '', 'Active', 'Evergreen', '2026-01-01', '2026-01-01', false, false, '{}', now());
INSERT INTO billing_order (id, number, account_id, order_date, status, description, created_at) VALUES (1001, 'O-1001', 1001, '2026-01-01', 'Completed', '', now());
INSERT INTO billing_orderaction (id, order_id, position, kind, subscription_id, effective_date, delta_mrr) VALUES (1001, 1001, 1, 'CreateSubscription', 1001, '2026-01-01', 100);
INSERT INTO billing_rateplan (id, subscription_id, product_rate_plan_id, name) VALUES (1001, 1001, 1001, 'Plan');
INSERT INTO billing_rateplancharge (id, number, subscription_id, rate_plan_id, product_charge_id, name, trigger_date, custom_fields, charge_type, charge_model, billing_timing,
    billing_period, list_price_base, billing_day_type, alignment, trigger_event, unit)
SELECT id, number, 1001, 1001, 1001, 'Fee', '2026-01-01', '{}', kind, 'FlatFee', 'InAdvance', period, 'PerBillingPeriod', 'DefaultFromCustomer', 'AlignToCharge', 'ContractEffective', ''
FROM (VALUES (1001, 'C-1001', 'Recurring', 'Month'), (1002, 'C-1002', 'OneTime', ''), (1003, 'C-1003', 'Recurring', 'Month')) AS c(id, number, kind, period);
INSERT INTO billing_chargesegment (id, charge_id, number, effective_start, effective_end, quantity, price, mrr)
VALUES (1001, 1001, 1, '2026-01-01', '2027-01-01', 1, 100, 100), (1002, 1002, 1, '2026-01-01', NULL, 1, 50, 0), (1003, 1003, 1, '2026-01-01', NULL, 1, 7, 7);
INSERT INTO billing_chargesegmenttier (id, segment_id, number, up_to, price, price_format) VALUES (1001, 1001, 1, 10, 5, 'PerUnit');
"""

_RUNS = """
INSERT INTO invoicing_billrunschedule (id, name, frequency, hour, starts_on, active, next_slot, auto_post, auto_email)
VALUES (1001, 'Nightly', 'Daily', 2, '2026-01-01', true, '2026-01-02 02:00Z', false, false);
INSERT INTO invoicing_billrun (id, number, name, status, has_errors, scope, target_date, invoice_date, excluded_charge_types, auto_post, auto_email, email_zero_totals,
    accounts_total, accounts_billed, accounts_failed, invoice_count, totals, audit, error, schedule_id, slot)
SELECT id, number, '', 'Pending', false, 'All', '2026-02-01', '2026-02-01', '{}', false, false, true, 0, 0, 0, 0, '{}', '[]', '', schedule, slot::timestamptz
FROM (VALUES (1001, 'BR-1001', 1001, '2026-01-01 02:00Z'), (1002, 'BR-1002', NULL, NULL)) AS r(id, number, schedule, slot);
UPDATE invoicing_billrun SET status = 'Processing' WHERE id = 1001;
UPDATE invoicing_billrun SET status = 'Completed' WHERE id = 1001;
INSERT INTO invoicing_billrunchunk (id, run_id, state, accounts, attempts, invoices, failed, billed, totals, error) VALUES (1001, 1001, 'Done', 1, 1, 3, 0, 1, '{}', '');
INSERT INTO invoicing_billrunaccount (id, run_id, account_id, chunk_id, outcome, invoices, items, code, message, hint) VALUES (1001, 1001, 1001, 1001, 'Billed', 3, 3, '', '', '');
"""

_INVOICES = """
INSERT INTO invoicing_invoice (id, reference, account_id, bill_run_id, currency, status, invoice_date, due_date, bill_to_id, payment_term_id, template_id, number_sequence_id,
    group_value, net, tax, total, balance)
SELECT id, 'DRAFT-' || id, 1001, 1001, 'EUR', 'Draft', '2026-02-01', '2026-02-11', 1001, 1001, 1001, 1001, '', net, 0, net, net
FROM (VALUES (1001, 100.00), (1002, 150.00), (1003, 7), (1004, 0)) AS v(id, net);
INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, quantity, unit_price, amount, derivation)
VALUES (1001, 1001, 1001, 'Recurring', 'Fee', '[2026-01-01,2026-02-01)', 1, 100, 100.00, '{}'), (1002, 1002, 1001, 'Recurring', 'Fee', '[2026-02-01,2026-03-01)', 1, 100, 100.00, '{}'),
       (1003, 1003, 1003, 'Recurring', 'Fee', '[2026-01-01,2026-02-01)', 1, 7, 7, '{}'), (1004, 1002, 1002, 'OneTime', 'Setup', '[2026-01-01,2026-01-02)', 1, 50, 50.00, '{}');
INSERT INTO invoicing_coverage (id, charge_id, item_id, kind, period)
VALUES (1001, 1001, 1001, 'Period', '[2026-01-01,2026-02-01)'), (1002, 1001, 1002, 'Period', '[2026-02-01,2026-03-01)'), (1004, 1002, 1004, 'Once', '[2026-01-01,2026-01-02)');
UPDATE invoicing_invoice SET status = 'Canceled', canceled_at = now() WHERE id = 1003;
"""

SNAPSHOT = '{"account": {"number": "ADA", "name": "Ada Ltd", "language": "en"}, "bill_to": {"name": "Ada", "email": "ada@ada.example"}}'


def post(invoice_id: int, value: int, *, number: str = "", also: str = "", next_number: int = 0) -> str:
    """Return the SQL that posts an invoice under `W000<value>`, with `also` among the assignments."""
    return f"""
    UPDATE accounts_numbersequence SET next_number = {next_number or value + 1} WHERE id = 1001;
    UPDATE invoicing_invoice SET status = 'Posted', posted_at = now(), sequence_value = {value}, number = '{number or f"W{value:04d}"}', snapshot = '{SNAPSHOT}',
        template_version_id = (SELECT id FROM accounts_invoicetemplateversion WHERE template_id = 1001 ORDER BY version DESC LIMIT 1) {also and f", {also}"}
    WHERE id = {invoice_id};
    """


_DOCUMENTS = """
INSERT INTO invoicing_invoicedocument (id, invoice_id, content, sha256, pages) VALUES (1001, 1001, 'pdf', encode(sha256('pdf'), 'hex'), 1);
INSERT INTO invoicing_invoicedelivery (id, invoice_id, request_key, recipients, state, message_id, attempts, error)
VALUES (1001, 1001, '00000000-0000-4000-8000-000000001001', '{ada@ada.example}', 'Queued', '', 0, '');
"""


def build(connection: psycopg.Connection) -> None:
    """Write the world in the connection's transaction; foreign keys are checked at once from here on."""
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for part in (_CUSTOMERS, _SALES, CHARGES, _RUNS, _INVOICES, post(1001, 1), _DOCUMENTS, USAGE):
        connection.execute(part)
