"""Eight processes import usage, rate it, cancel drafts, run again and undo imports, all at once on fifty accounts.

At the end what was imported is billed or pending, to the last unit, and no record is on two lines. The same storm without
locks and guards must lose or repeat usage: otherwise it would prove nothing.
"""

import os
import subprocess
import sys
import time

from config import local_services
from invoicing.bill_run.verify import audit
from tests.benchmarks import metered, servers
from tests.chaos import world

ACCOUNTS = 50
WORKERS = 8
SECONDS = 10 if world.SHORT else 60

# Sums over slices and, where it matters, over the records themselves.
_IMPORTED = "SELECT coalesce(sum((quantities->>'GB')::numeric), 0) FROM usage_usageimport WHERE status = 'Imported'"
_RECORDS = "SELECT coalesce(sum(quantity), 0) FROM usage_usagerecord"
_PENDING = "SELECT coalesce(sum(quantity), 0) FROM usage_usageslice WHERE rated_id IS NULL"
_BILLED = """
SELECT coalesce(sum(i.quantity), 0) FROM invoicing_invoiceitem i JOIN invoicing_invoice v ON v.id = i.invoice_id
WHERE i.kind = 'Usage' AND v.status <> 'Canceled'
"""
_OF_LINES = """
SELECT coalesce(sum(s.quantity), 0) FROM usage_usageslice s JOIN invoicing_invoiceitem i ON i.rated_usage_id = s.rated_id
JOIN invoicing_invoice v ON v.id = i.invoice_id AND v.status <> 'Canceled'
"""
_TWICE = """
SELECT count(*) FROM (
    SELECT s.id FROM usage_usageslice s JOIN invoicing_invoiceitem i ON i.rated_usage_id = s.rated_id
    JOIN invoicing_invoice v ON v.id = i.invoice_id AND v.status <> 'Canceled' GROUP BY s.id HAVING count(*) > 1
) twice
"""
_OVERLAPS = """
SELECT count(*) FROM usage_ratedusage a JOIN usage_ratedusage b ON a.charge_id = b.charge_id AND a.id < b.id AND a.period && b.period
WHERE a.is_live AND b.is_live AND a.kind = 'Period' AND b.kind = 'Period'
"""
_UNGUARD = """
DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger
        WHERE NOT tgisinternal AND tgname ~ '^pgtrigger_i5_' AND tgrelid::regclass::text ~ '^(usage|invoicing)_'
    LOOP EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.relation); END LOOP;
END $$;
ALTER TABLE usage_ratedusage DROP CONSTRAINT i5_rated_once;
DROP INDEX i5_rated_through;
CREATE INDEX chaos_rated_through ON usage_ratedusage (charge_id, upper(period));
"""


def storm(*, guarded: bool, seconds: int) -> dict[str, object]:
    """Let all workers loose for a while and return what is left."""
    command = [sys.executable, "-m", "tests.benchmarks.child", "tests.chaos.usage_storm_worker"]
    workers = [
        subprocess.Popen(
            [*command, str(number), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CHAOS_WITHOUT_LOCKS": str(int(not guarded))},
            cwd=local_services.BASE_DIR,
        )
        for number in range(WORKERS)
    ]
    started = time.monotonic()
    done = [worker.communicate(timeout=seconds + 120)[0].split() for worker in workers]
    counts: dict[str, int] = {}
    for words in done:
        for word in words:
            name, _, amount = word.partition("=")
            counts[name] = counts.get(name, 0) + int(amount)
    sums = {name: world.query(sql)[0][0] for name, sql in _SUMS.items()}
    return {
        **counts,
        **{name: str(amount) for name, amount in sums.items()},
        "adds_up": sums["imported"] == sums["records"] == sums["billed"] + sums["pending"]
        and sums["billed"] == sums["on_lines"],
        "on_two_lines": sums["twice"],
        "violations": sorted(violation.check for violation in audit()),
        "seconds": round(time.monotonic() - started, 1),
    }


_SUMS = {
    "imported": _IMPORTED,
    "records": _RECORDS,
    "pending": _PENDING,
    "billed": _BILLED,
    "on_lines": _OF_LINES,
    "twice": _TWICE,
    "overlaps": _OVERLAPS,
}


def main() -> None:
    """Storm with all guards, then without any."""
    with world.World(workers=0, beat=False) as installation:
        with servers.superuser() as admin:
            metered.fill(admin, accounts=ACCOUNTS)
            guarded = storm(guarded=True, seconds=SECONDS)
            admin.execute(_FORGET)
            with servers.owner() as owner:
                owner.execute(_UNGUARD)
            unguarded = storm(guarded=False, seconds=min(SECONDS, 20))
        del installation
        holds = bool(guarded["adds_up"]) and guarded["on_two_lines"] == 0 and not guarded["violations"]
        busy = all(int(str(guarded.get(name, 0))) > 0 for name in ("imports", "runs", "cancels", "undone"))
        fails = not unguarded["adds_up"] or unguarded["overlaps"] != "0"
        world.report(
            "usage_storm",
            {"accounts": ACCOUNTS, "workers": WORKERS, "guarded": guarded, "without_guards": unguarded},
            passed=holds and busy and fails,
        )


_FORGET = """
TRUNCATE invoicing_invoice, invoicing_coverage, invoicing_billrunaccount, usage_usagerecord, usage_usageslice, usage_ratedusage, usage_usageimport CASCADE
"""
