"""Usage in the attacked world: a month that is billed, one without usage, and usage that is Pending.

charge 1004, by use      |--- Jan: 1001, on draft 1005 ---|--- Feb: 1002, nothing used ---|    Mar: slice 1002, Pending
                            slice 1003, Pending: late
charge 1005, by use      nothing rated yet
"""

CHARGES = """
INSERT INTO billing_unitofmeasure (id, name, decimals, rounding) VALUES (1001, 'World', 3, 'Up');
INSERT INTO billing_rateplancharge (id, number, subscription_id, rate_plan_id, product_charge_id, name, trigger_date, custom_fields, charge_type, charge_model, billing_timing,
    billing_period, list_price_base, billing_day_type, alignment, trigger_event, unit)
SELECT id, 'C-' || id, 1001, 1001, 1001, 'Traffic', '2026-01-01', '{}', 'Usage', 'PerUnit', 'InArrears', 'Month', 'PerBillingPeriod', 'DefaultFromCustomer', 'AlignToCharge', 'ContractEffective', 'World'
FROM (VALUES (1004), (1005)) AS c(id);
INSERT INTO billing_chargesegment (id, charge_id, number, effective_start, effective_end, quantity, price, mrr)
VALUES (1004, 1004, 1, '2026-01-01', NULL, NULL, 1, 0), (1005, 1005, 1, '2026-01-01', NULL, NULL, 1, 0);
"""

USAGE = """
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO usage_usageimport (id, source, status, file_name, size, sha256, leave_bad_rows_out, rows, good_rows, bad_rows, bytes_done, quantities, error, attempts)
VALUES (1001, 'File', 'Imported', 'usage.csv', 1, 'abc', false, 3, 3, 0, 1, '{}', '', 0);
INSERT INTO usage_usagefilepart (id, usage_import_id, number, content) VALUES (1001, 1001, 0, 'QTY');
INSERT INTO usage_usagerecord (id, slice_id, line, quantity, start_date, description, unique_key)
VALUES (1001, 1001, 2, 10, '2026-01-05', '', 'first'), (1002, 1002, 3, 20, '2026-03-05', '', NULL), (1003, 1003, 4, 3, '2026-01-06', '', NULL);
INSERT INTO usage_usageslice (id, usage_import_id, account_id, charge_id, first_day, last_day, quantity, records)
VALUES (1001, 1001, 1001, 1004, '2026-01-05', '2026-01-05', 10, 1), (1002, 1001, 1001, 1004, '2026-03-05', '2026-03-05', 20, 1), (1003, 1001, 1001, 1004, '2026-01-06', '2026-01-06', 3, 1);
INSERT INTO usage_ratedusage (id, charge_id, kind, period, counted_from, quantity, amount, state, run)
VALUES (1001, 1004, 'Period', '[2026-01-01,2026-02-01)', '2026-01-01', 10, 10, '', 1001), (1002, 1004, 'Period', '[2026-02-01,2026-03-01)', '2026-02-01', 0, 0, '', 1001);
UPDATE usage_usageslice SET rated_id = 1001 WHERE id = 1001;
INSERT INTO invoicing_invoice (id, reference, account_id, bill_run_id, currency, status, invoice_date, due_date, bill_to_id, payment_term_id, template_id, number_sequence_id,
    group_value, net, tax, total, balance)
VALUES (1005, 'DRAFT-1005', 1001, 1001, 'EUR', 'Draft', '2026-02-01', '2026-02-11', 1001, 1001, 1001, 1001, '', 10, 0, 10, 10);
INSERT INTO invoicing_invoiceitem (id, invoice_id, charge_id, kind, description, period, quantity, unit_price, amount, rated_usage_id, derivation)
VALUES (1005, 1005, 1004, 'Usage', 'Traffic', '[2026-01-01,2026-02-01)', 10, 1, 10, 1001, '{}');
SET CONSTRAINTS ALL IMMEDIATE
"""
