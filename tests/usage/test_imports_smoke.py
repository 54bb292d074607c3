"""tmp"""

from decimal import Decimal as N

import pytest

from billing.core.types import *
from billing.models import UnitOfMeasure
from tests import factories as make
from tests.factories import bill
from usage.importing import advance
from usage.models import *
from usage.services import *

pytestmark = pytest.mark.django_db(transaction=True)


def test_it(client):
    UnitOfMeasure.objects.create(name="GB", decimals=2)
    plan = make.plan(
        "Data",
        {
            "name": "Data",
            "charge_type": ChargeType.USAGE,
            "charge_model": ChargeModel.PER_UNIT,
            "billing_period": BillingPeriod.MONTH,
            "unit": "GB",
            "prices": {"USD": N("0.5")},
        },
    )
    a = make.acme()
    charge = make.subscribe(a, plan, "2026-01-01").charges.get()
    text = f"ACCOUNT_ID,UOM,QTY,STARTDATE,DESCRIPTION\n{a.number},GB,10,2026-01-05,hello\n{a.number},GB,abc,2026-01-05,\nA999,GB,1,2026-01-05,\n{a.number},GB,2.5,2026-02-01,\\x\n"
    client.force_login(make.user("approver"))
    from django.core.files.uploadedfile import SimpleUploadedFile

    from accounts.idempotency import new_request_key

    r = client.get("/usage/usageimport/new/")
    assert r.status_code == 200
    r = client.post(
        "/usage/usageimport/new/",
        {"file": SimpleUploadedFile("u.csv", text.encode()), "request_key": new_request_key()},
    )
    assert r.status_code == 302, r.content.decode()[:3000]
    imp = UsageImport.objects.get()
    print(imp.status)
    r = client.get(imp.get_absolute_url())
    assert r.status_code == 200
    advance(imp.pk)
    imp.refresh_from_db()
    print(imp.status, imp.rows, imp.good_rows, imp.bad_rows, imp.error)
    r = client.get(imp.get_absolute_url())
    assert r.status_code == 200
    print([(e.line, e.column, e.message) for e in imp.errors.all()])
    r = client.get(f"/usage/usageimport/{imp.pk}/import/")
    assert r.status_code == 200
    r = client.post(f"/usage/usageimport/{imp.pk}/import/", {"request_key": new_request_key()})
    assert r.status_code == 302
    advance(imp.pk)
    imp.refresh_from_db()
    print(imp.status, imp.error, list(UsageRecord.objects.values_list("quantity", "description", "slice__first_day")))
    for u in (
        "/usage/usagerecord/",
        "/usage/usagerecord/?status=pending",
        "/usage/usagerecord/?status=late",
        "/usage/usageimport/",
        f"/usage/usagerecord/{UsageRecord.objects.first().pk}/",
        f"/usage/usagerecord/{UsageRecord.objects.first().pk}/edit/",
        "/usage/usagerecord/export/",
        f"/usage/usageimport/{imp.pk}/errors/",
        "/usage/usageslice/",
        "/usage/ratedusage/",
        "/usage/usageimporterror/",
    ):
        r = client.get(u)
        assert r.status_code == 200, u
    rec = UsageRecord.objects.order_by("id").first()
    change_record(rec.pk, RecordChange(qty="11"))
    print(list(UsageSlice.objects.values_list("quantity", "records", "first_day")))
    run = bill("2026-02-01")
    print(run.totals)
    with pytest.raises(ValidationError):
        undo_import(imp)
    with pytest.raises(ValidationError):
        delete_record(rec.pk)
    from invoicing.models import Invoice
    from invoicing.posting import cancel_drafts

    cancel_drafts([Invoice.objects.get().pk])
    undo_import(imp)
    advance(imp.pk)
    imp.refresh_from_db()
    print(imp.status, UsageRecord.objects.count(), UsageSlice.objects.count())
    b = create_records(
        [
            NewRecord(a.number, "GB", "3", "2026-01-07", unique_key="k1"),
            NewRecord(a.number, "GB", "4", "2026-02-07", unique_key="k2"),
        ],
        user_id=None,
    )
    print(b.good_rows)
    with pytest.raises(BadRowsError) as e:
        create_records(
            [
                NewRecord(a.number, "GB", "3", "2026-01-07", unique_key="k1"),
                NewRecord("x", "GB", "4", "2026-13-07", unique_key="k3"),
            ],
            user_id=None,
        )
    print(e.value.rows)
