"""Usage of child accounts: rated in the charge of the nearest account above that counts its unit (domain.md 6.5).

Meridian (parent, pays for GB)
├── Boston          uses GB: billed to Meridian
│   └── Harbor      uses GB: billed to Meridian
└── Denver          has a charge for GB of its own: billed to Denver
"""

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from accounts.models import Account
from billing.models import BillingRules
from invoicing.bill_run.verify import audit
from invoicing.models import InvoiceItem
from tests import factories as make
from tests.factories import bill
from tests.usage.consumption import metered, sold
from usage.models import UsageImport, UsageSlice
from usage.services import import_file

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def family() -> dict[str, Account]:
    """Make the four accounts, two of which pay for gigabytes."""
    parent = make.acme()
    found: dict[str, Any] = {"meridian": parent}
    for name, above in (("boston", "meridian"), ("denver", "meridian"), ("harbor", "boston")):
        found[name] = make.AccountFactory(parent=found[above], number=name.upper())
    sold(metered(price="0.10"), account=parent)
    sold(metered(price="0.20"), account=found["denver"])
    return found


def include(*, hierarchy: bool, children: bool) -> None:
    """Set the two billing rules."""
    BillingRules.objects.update(customer_hierarchy=hierarchy, include_child_usage=children)


def upload(family: dict[str, Account], *used: tuple[str, str]) -> UsageImport:
    """Upload usage of January 5, as (account, gigabytes)."""
    lines = [f"{family[name].number},GB,{quantity},2026-01-05" for name, quantity in used]
    text = "\n".join(["ACCOUNT_ID,UOM,QTY,STARTDATE", *lines])
    return import_file(chunks=[text.encode()], file_name="usage.csv", leave_bad_rows_out=False, dry_run=False)


def test_children_are_billed_to_the_nearest_account_above_with_such_a_charge(family):
    include(hierarchy=True, children=True)
    assert upload(family, ("meridian", "100"), ("boston", "20"), ("harbor", "3"), ("denver", "50")).good_rows == 4
    bill("2026-02-01")
    lines = {item.invoice.account.number: (item.quantity, item.amount) for item in InvoiceItem.objects.all()}
    assert lines == {
        family["meridian"].number: (Decimal(123), Decimal("12.30")),
        "DENVER": (Decimal(50), Decimal("10.00")),
    }
    assert audit() == []


def test_who_used_it_is_kept(family):
    include(hierarchy=True, children=True)
    upload(family, ("boston", "20"), ("harbor", "3"))
    used = UsageSlice.objects.order_by("pk").values_list(
        "account__number", "charge__subscription__account__number", "quantity"
    )
    assert sorted(used) == [
        ("BOSTON", family["meridian"].number, Decimal(20)),
        ("HARBOR", family["meridian"].number, Decimal(3)),
    ]


@pytest.mark.parametrize("hierarchy", [False, True])
def test_without_the_rule_a_childs_usage_is_a_bad_row(family, hierarchy):
    include(hierarchy=hierarchy, children=False)
    found = upload(family, ("boston", "20"))
    assert (found.status, found.good_rows, found.bad_rows) == ("Discarded", 0, 1)
    assert [error.message for error in found.errors.all()] == ["The account has no usage charge that counts GB."]


def test_two_charges_of_the_parent_are_a_question(family):
    include(hierarchy=True, children=True)
    sold(metered("Traffic abroad", price="0.30"), account=family["meridian"])
    found = upload(family, ("boston", "20"))
    assert found.bad_rows == 1
    assert "2 charges count GB on 2026-01-05" in found.errors.get().message


def test_a_child_may_name_the_charge_of_an_account_above(family):
    include(hierarchy=True, children=True)
    charge = sold(metered("Traffic abroad", price="0.30"), account=family["meridian"])
    text = f"ACCOUNT_ID,UOM,QTY,STARTDATE,CHARGE_ID\nBOSTON,GB,20,2026-01-05,{charge.number}\n"
    found = import_file(chunks=[text.encode()], file_name="usage.csv", leave_bad_rows_out=False, dry_run=False)
    assert (found.status, found.good_rows) == ("Imported", 1)
    bill("2026-02-01")
    assert InvoiceItem.objects.get(charge=charge).amount == Decimal("6.00")


def test_a_chain_of_accounts_cannot_close(family):
    """The database keeps accounts from being above themselves, so looking upwards always ends."""
    with pytest.raises(IntegrityError):
        Account.objects.filter(pk=family["meridian"].pk).update(parent=family["harbor"])
