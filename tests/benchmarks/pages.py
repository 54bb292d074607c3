"""Pages: `p95_ms` is what an operator waits for each page at a million invoices, database warm, without the network.

Measured through Django's whole stack in one process; `queries` and `kib` (HTML, uncompressed) are of one request.
"""

import time

import psycopg
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account
from accounts.operator_admin import site
from invoicing.models import BillRun, Invoice
from tests.benchmarks import load
from tests.benchmarks.measure import emit, percentile, say, scaled
from tests.benchmarks.servers import superuser

INVOICES = scaled(1_000_000, least=10_000)
ACCOUNTS = scaled(20_000, least=500)
RUNS = scaled(120, least=12)
REQUESTS = 40
TARGETS = {
    "dashboard_p95_ms": ("<=", 100.0),
    "lists_p95_ms": ("<=", 150.0),
    "object_pages_p95_ms": ("<=", 60.0),
    "most_queries": ("<=", 12),
    "most_kib": ("<=", 40.0),
}

# Three years of monthly runs, the last one still a draft.
_RUNS = """
INSERT INTO invoicing_billrun (id, number, name, status, has_errors, scope, target_date, invoice_date, excluded_charge_types, auto_post, auto_email,
    email_zero_totals, created_at, started_at, finished_at, posted_at, accounts_total, accounts_billed, accounts_failed, invoice_count, totals, audit, error)
SELECT n, 'BR-' || lpad(n::text, 8, '0'), '', CASE WHEN n = %(runs)s THEN 'Completed' ELSE 'Posted' END, false, 'All', day, day, '{}', false, false, true,
    day, day, day, CASE WHEN n < %(runs)s THEN day END, %(each)s, %(each)s, 0, %(each)s, '{"USD": "1234567.89"}', '[]', ''
FROM (SELECT n, %(today)s::date - (%(runs)s - n) * 1080 / %(runs)s AS day FROM generate_series(1, %(runs)s) n) r
"""
_INVOICES = """
INSERT INTO invoicing_invoice (id, reference, number, number_sequence_id, sequence_value, account_id, bill_run_id, currency, status, invoice_date, due_date,
    bill_to_id, payment_term_id, template_id, group_value, net, tax, total, balance, created_at, posted_at, snapshot, template_version_id)
SELECT n, 'DRAFT-' || n, CASE WHEN posted THEN 'INV' || lpad(n::text, 8, '0') END, 1, CASE WHEN posted THEN n END, a.id, r.id, a.currency,
    CASE WHEN posted THEN 'Posted' WHEN n %% 50 = 0 THEN 'Canceled' ELSE 'Draft' END, r.invoice_date, r.invoice_date + 30, a.bill_to_id, a.payment_term_id,
    1, '', amount, 0, amount, amount, r.created_at, CASE WHEN posted THEN r.posted_at END,
    CASE WHEN posted THEN jsonb_build_object('account', jsonb_build_object('number', a.number, 'name', a.name), 'bill_to', jsonb_build_object('name', 'AP')) END,
    CASE WHEN posted THEN 1 END
FROM (SELECT n, 1 + (n - 1) / %(each)s AS run, (1 + n %% 997)::numeric AS amount FROM generate_series(1, %(invoices)s) n) i
JOIN invoicing_billrun r ON r.id = i.run CROSS JOIN LATERAL (SELECT r.status = 'Posted' AND n %% 50 <> 0 AS posted) p
JOIN (SELECT row_number() OVER (ORDER BY id) AS place, * FROM accounts_account) a ON a.place = 1 + (n - 1) %% %(accounts)s ORDER BY n
"""
_ITEMS = """
INSERT INTO invoicing_invoiceitem (invoice_id, charge_id, kind, description, period, quantity, unit_price, amount, derivation)
SELECT v.id, c.id, 'Recurring', c.name, daterange(v.invoice_date, v.invoice_date + 30), 1, v.net, v.net / 2,
    '{"v": 1, "s": 1, "m": "FlatFee", "p": "10", "f": [1, 1], "r": 2}'
FROM invoicing_invoice v JOIN billing_subscription s ON s.invoice_owner_id = v.account_id JOIN billing_rateplancharge c ON c.subscription_id = s.id
ORDER BY v.id, c.id
"""
_OUTCOMES = """
INSERT INTO invoicing_billrunaccount (run_id, account_id, outcome, invoices, items, code, message, hint)
SELECT %(runs)s, account_id, 'Billed', 1, 3, '', 'Billed 3 items on 1 invoice.', '' FROM invoicing_invoice WHERE bill_run_id = %(runs)s
ON CONFLICT DO NOTHING
"""
_TOTALS = """
INSERT INTO invoicing_invoicedtotal (month, currency, invoices, total)
SELECT date_trunc('month', invoice_date)::date, currency, count(*), sum(total) FROM invoicing_invoice WHERE status = 'Posted' GROUP BY bill_run_id, 1, 2
"""
_SERIAL = ("invoicing_billrun", "invoicing_invoice", "invoicing_invoiceitem")


def fill(admin: psycopg.Connection) -> None:
    """Make the invoices, as if three years of runs had been posted."""
    load.fill(admin, accounts=ACCOUNTS)
    values = {
        "runs": RUNS,
        "each": -(-INVOICES // RUNS),
        "invoices": INVOICES,
        "accounts": ACCOUNTS,
        "today": load.INVOICE_DATE,
    }
    for statement in (_RUNS, _INVOICES, _OUTCOMES):
        admin.execute(psycopg.ClientCursor(admin).mogrify(statement, values))
    for statement in (_ITEMS, _TOTALS):
        admin.execute(statement)
    for table in _SERIAL:
        admin.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
    admin.execute("VACUUM (ANALYZE)")


def addresses() -> dict[str, list[str]]:
    """Return the addresses to measure by kind: the dashboard, every list, some narrowed lists, some objects."""
    lists = [reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in site._registry]
    invoices, accounts, runs = (
        reverse(f"admin:{name}_changelist") for name in ("invoicing_invoice", "accounts_account", "invoicing_billrun")
    )
    narrowed = [
        f"{invoices}?q=INV000012",
        f"{invoices}?q=customer+12",
        f"{invoices}?status__exact=Draft",
        f"{invoices}?currency=EUR&p=20",
        f"{accounts}?q=customer+12",
        f"{runs}?status__exact=Completed",
    ]
    posted = Invoice.objects.filter(status="Posted").order_by("-pk").first()
    objects = [
        found.get_absolute_url()
        for found in (posted, Account.objects.order_by("pk").first(), BillRun.objects.order_by("-pk").first())
        if found is not None
    ]
    return {"dashboard": [reverse("admin:index")], "lists": [*lists, *narrowed], "object_pages": objects}


def measure(client: Client, address: str) -> tuple[float, int, float] | None:
    """Return the 95th percentile in milliseconds, the queries and the size in KiB of one page; None if it only leads on."""
    for _ in range(3):
        response = client.get(address)
        if response.status_code == 302:
            return None
        if response.status_code != 200:
            raise RuntimeError(f"{address} answers {response.status_code}.")
    with CaptureQueriesContext(connection) as captured:
        size = len(client.get(address).content)
    queries = len(captured)  # the next request forgets them
    times = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.get(address)
        times.append((time.perf_counter() - started) * 1000)
    return percentile(times, 95), queries, size / 1024


def main() -> None:
    """Fill, ask for every page, print."""
    settings.BUSINESS_DATE = load.INVOICE_DATE
    with superuser() as admin:
        say(f"pages: filling {INVOICES:,} invoices")
        fill(admin)
    operator = User.objects.create_user("bench", is_staff=True)
    operator.groups.set(Group.objects.all())
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    p95, queries, kib = {}, {}, {}
    worst: dict[str, float] = {}
    for kind, found in addresses().items():
        say(f"pages: {kind}")
        for address in found:
            figures = measure(client, address)
            if figures is None:
                continue
            p95[address], queries[address], kib[address] = figures
            worst[f"{kind}_p95_ms"] = max(worst.get(f"{kind}_p95_ms", 0), p95[address])
    emit(
        "pages",
        {
            **worst,
            "most_queries": max(queries.values()),
            "most_kib": max(kib.values()),
            "invoices": INVOICES,
            "p95_ms": {address: round(value, 1) for address, value in p95.items()},
            "queries": queries,
            "kib": {address: round(value, 1) for address, value in kib.items()},
        },
        TARGETS,
    )
