"""What usage files in tests are about: two customers with usage charges, one who left, and usage that is billed already.

ACME     traffic in GB from 2026-01-01 (C-00000001), calls from 2026-01-01 to the end of March (C-00000002)
TWICE    GB counted by two charges (C-00000003, C-00000004); nothing tells which is meant
CLOSED   an account that is no longer active, with a charge for GB (C-00000005)

ACME's January is billed, and the record with the key `stored-1` lies in it.
"""

from accounts.models import Account, AccountStatus
from billing.core.types import BillingTiming, ChargeModel, ChargeType
from billing.models import Subscription, UnitOfMeasure
from billing.services.orders import CancelSubscription, place_order
from tests.factories import acme, bill, day, globex, monthly, plan, sakura, subscribe
from usage.intake import Intake
from usage.models import UsageImport


def usage_charge(name: str = "Traffic", unit: str = "GB"):
    """Return a usage charge a month, in arrears, at 2 a unit."""
    return monthly(
        name,
        "2",
        charge_type=ChargeType.USAGE,
        charge_model=ChargeModel.PER_UNIT,
        billing_timing=BillingTiming.IN_ARREARS,
        unit=unit,
    )


def units() -> None:
    """Make the units of measure that usage is counted in."""
    for unit in ("GB", "API call"):
        UnitOfMeasure.objects.get_or_create(name=unit, defaults={"decimals": 3})


def build() -> None:
    """Make the customers above and bill January."""
    units()
    traffic, calls = plan("Traffic", usage_charge()), plan("Calls", usage_charge("Calls", "API call"))
    first = acme(number="ACME")
    subscribe(first, traffic, "2026-01-01")
    ended = subscribe(first, calls, "2026-01-01")
    cancel(ended, "2026-04-01")
    both = globex(number="TWICE")
    subscribe(both, traffic, "2026-01-01")
    subscribe(both, traffic, "2026-01-01")
    left = sakura(number="CLOSED")
    subscribe(left, traffic, "2026-01-01")
    Account.objects.filter(pk=left.pk).update(status=AccountStatus.CANCELED)
    import_rows(
        {"ACCOUNT_ID": 0, "UOM": 1, "QTY": 2, "STARTDATE": 3, "UNIQUE_KEY": 4},
        [(2, ("ACME", "GB", "7", "2026-01-10", "stored-1"))],
    )
    bill("2026-02-01", accounts=[first])


def cancel(subscription: Subscription, on: str) -> None:
    """End a subscription on a day."""
    place_order(
        account=subscription.account,
        order_date=day(on),
        actions=[CancelSubscription(subscription, day(on))],
    )


def new_import(**values) -> UsageImport:
    """Return an import that has just been uploaded."""
    return UsageImport.objects.create(**{"source": "File", "file_name": "usage.csv", **values})


def import_rows(columns, rows) -> Intake:
    """Import rows as they are."""
    intake = Intake(new_import().pk, columns=columns, write=True)
    intake.take(rows)
    assert intake.bad == 0
    return intake
