"""Synthetic accounts for load, made by the database itself: the mix of a subscription business, the same every time.

Two or three recurring charges an account; monthly (70 %), quarterly (20 %), annual (10 %); in advance (70 %) or in
arrears; billing days 1 to 31; one charge in ten begins with a stub period, one in twenty has two periods due. Nothing
is billed yet, and every charge has something due at the target date.
"""

from datetime import date
from typing import Any, NamedTuple

from django.db import connection, transaction
from tqdm import tqdm

from accounts.models import BillingBatch

LOAD_ALIAS = "Load"
CHUNK = 10_000  # accounts in one transaction; keeps the queue of foreign-key checks small

_PLAN = """
WITH product AS (
    INSERT INTO billing_product (sku, name, description, effective_start) VALUES ('LOAD', 'Load', '', '2020-01-01')
    ON CONFLICT (sku) DO UPDATE SET name = excluded.name RETURNING id
)
INSERT INTO billing_productrateplan (product_id, name, description) SELECT id, 'Load', '' FROM product
ON CONFLICT (product_id, name) DO UPDATE SET description = '' RETURNING id
"""

_LAST = "SELECT coalesce(max(substring(number FROM 2)::bigint), 0) FROM accounts_account WHERE number ~ '^L[0-9]{8}$'"

# `chance` spreads consecutive numbers evenly over 0 … 65535 (Knuth's multiplicative hash), without any real chance.
_NEW_ACCOUNTS = """
CREATE TEMPORARY TABLE load_account AS
SELECT n, nextval('accounts_account_id_seq') AS id, nextval('accounts_contact_id_seq') AS contact_id,
    nextval('billing_subscription_id_seq') AS subscription_id, nextval('billing_rateplan_id_seq') AS plan_id,
    (n * 2654435761 & 4294967295) >> 16 AS chance
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""

_ACCOUNTS = """
INSERT INTO accounts_account (id, number, name, status, currency, bill_cycle_day, language, vat_id, purchase_order,
    email_invoices, print_invoices, additional_emails, custom_fields, created_at, batch_id, bill_to_id, sold_to_id,
    payment_term_id)
SELECT l.id, 'L' || lpad(l.n::text, 8, '0'), 'Load customer ' || l.n, 'Active',
    CASE WHEN l.chance %% 10 < 6 THEN 'USD' WHEN l.chance %% 10 < 9 THEN 'EUR' ELSE 'JPY' END, 1 + l.chance %% 31, 'en', '', '',
    true, false, '{}', '{}', now(), %(batch)s, l.contact_id, l.contact_id, t.id
FROM load_account l JOIN accounts_paymentterm t ON t.name = CASE l.chance %% 3 WHEN 0 THEN 'Net 15' ELSE 'Net 30' END
"""

_CONTACTS = """
INSERT INTO accounts_contact (id, account_id, name, email, street, street_2, postal_code, city, region, country)
SELECT contact_id, id, 'Accounts Payable ' || n, 'ap' || n || '@load.customer.example', n %% 180 + 1 || ' Market Street', '',
    '10115', 'Berlin', '', 'DE' FROM load_account
"""

_SUBSCRIPTIONS = """
INSERT INTO billing_subscription (id, number, account_id, invoice_owner_id, name, status, term_type, contract_effective,
    term_start, auto_renew, invoice_separately, custom_fields, created_at)
SELECT subscription_id, 'L-S' || lpad(n::text, 8, '0'), id, id, '', 'Active', 'Evergreen', %(contract)s, %(contract)s, false,
    false, '{}', now() FROM load_account
"""

_PLANS = """
INSERT INTO billing_rateplan (id, subscription_id, product_rate_plan_id, name)
SELECT plan_id, subscription_id, %(plan)s, 'Load' FROM load_account
"""

# A period begins on the billing day of its month, 31 being the month's last. The one that is due began on the latest
# such day up to the target date (in advance) or ended on it (in arrears, one period earlier); a second period due
# began one more earlier, and a stub ten days before the first.
_NEW_CHARGES = """
CREATE TEMPORARY TABLE load_charge AS
WITH drawn AS (
    SELECT l.*, k, 1 + l.chance %% 31 AS day, ((l.n * 3 + k) * 2654435761 & 4294967295) >> 16 AS draw
    FROM load_account l CROSS JOIN LATERAL generate_series(1, 2 + (l.chance / 31 %% 2)::int) k
), terms AS (
    SELECT *, CASE WHEN draw %% 100 < 70 THEN 1 WHEN draw %% 100 < 90 THEN 3 ELSE 12 END AS months,
        draw / 100 %% 10 >= 7 AS arrears, draw / 1000 %% 20 = 7 AS two_due, draw / 1000 %% 10 = 3 AS stub FROM drawn
), latest AS (
    SELECT *, (date_trunc('month', %(target)s::date) - make_interval(months => months * (arrears::int + two_due::int)
        + (least(day, extract(day FROM date_trunc('month', %(target)s::date) + interval '1 month - 1 day'))
           > extract(day FROM %(target)s::date))::int))::date AS month
    FROM terms
)
SELECT nextval('billing_rateplancharge_id_seq') AS id, n, k, subscription_id, plan_id, draw, months, arrears,
    month + (least(day, extract(day FROM month + interval '1 month - 1 day')) - 1)::int - CASE WHEN stub THEN 10 ELSE 0 END
        AS trigger_date
FROM latest
"""

_CHARGES = """
INSERT INTO billing_rateplancharge (id, number, subscription_id, rate_plan_id, name, charge_type, charge_model, billing_timing,
    billing_period, list_price_base, billing_day_type, alignment, trigger_event, trigger_date, unit, custom_fields)
SELECT id, 'L-C' || lpad((n * 3 + k)::text, 9, '0'), subscription_id, plan_id,
    CASE k WHEN 1 THEN 'Platform fee' WHEN 2 THEN 'Seats' ELSE 'Support' END, 'Recurring',
    CASE k WHEN 2 THEN 'PerUnit' ELSE 'FlatFee' END, CASE WHEN arrears THEN 'InArrears' ELSE 'InAdvance' END,
    CASE months WHEN 1 THEN 'Month' WHEN 3 THEN 'Quarter' ELSE 'Annual' END, 'PerBillingPeriod', 'DefaultFromCustomer',
    'AlignToCharge', 'ContractEffective', trigger_date, CASE k WHEN 2 THEN 'seat' ELSE '' END, '{}'
FROM load_charge
"""

_SEGMENTS = """
INSERT INTO billing_chargesegment (charge_id, number, effective_start, effective_end, quantity, price, mrr)
SELECT id, 1, trigger_date, NULL, quantity, price, round(price * coalesce(quantity, 1) / months, 9)
FROM (SELECT *, CASE k WHEN 2 THEN (1 + draw %% 40)::numeric END AS quantity, (900 + draw %% 40000)::numeric / 100 AS price
      FROM load_charge) c
"""


class Added(NamedTuple):
    """How many rows were added."""

    accounts: int
    charges: int


def fill_load(*, accounts: int, target_date: date, progress: bool = False) -> Added:
    """Add `accounts` synthetic accounts in the batch “Load”, each with something due at `target_date`.

    Committed in parts of `CHUNK`; a later call adds others. With `progress` a bar is shown on a terminal.
    """
    batch = _load_batch()
    with connection.cursor() as cursor:
        cursor.execute(_PLAN)
        plan = cursor.fetchone()[0]
        cursor.execute(_LAST)
        last = cursor.fetchone()[0]
    # Earlier than any trigger date above, so that contracts precede what they bill.
    values: dict[str, Any] = {"batch": batch.pk, "plan": plan, "target": target_date, "contract": date(2020, 1, 1)}
    charges = 0
    with tqdm(total=accounts, unit=" accounts", disable=None if progress else True) as bar:
        for first in range(last + 1, last + accounts + 1, CHUNK):
            until = min(first + CHUNK - 1, last + accounts)
            charges += _fill_part({**values, "first": first, "last": until})
            bar.update(until - first + 1)
    return Added(accounts, charges)


def _fill_part(values: dict[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (_NEW_ACCOUNTS, _ACCOUNTS, _CONTACTS, _SUBSCRIPTIONS, _PLANS, _NEW_CHARGES, _CHARGES):
            cursor.execute(statement, values)
        charges: int = cursor.rowcount
        cursor.execute(_SEGMENTS, values)
        cursor.execute("DROP TABLE load_account, load_charge")
        return charges


def _load_batch() -> BillingBatch:
    found = BillingBatch.objects.filter(alias=LOAD_ALIAS).first()
    if found is not None:
        return found
    taken = set(BillingBatch.objects.values_list("code", flat=True))
    # From the far end: the first batches are those that people use.
    code = next(f"Batch{number}" for number in range(50, 0, -1) if f"Batch{number}" not in taken)
    return BillingBatch.objects.create(code=code, alias=LOAD_ALIAS)
