"""The rows every installation starts with: number sequences, payment terms, a batch and a default invoice template."""

from django.db import migrations

SEQUENCES = [
    ("DEFAULT", "Invoice", "INV", 8),
    ("Accounts", "Account", "A", 8),
    ("Orders", "Order", "O-", 8),
    ("Subscriptions", "Subscription", "A-S", 8),
    ("Charges", "Charge", "C-", 8),
    ("Bill runs", "BillRun", "BR-", 8),
]
NET_TERMS = [("Due Upon Receipt", 0), ("Net 15", 15), ("Net 30", 30), ("Net 60", 60)]


def add_reference_data(apps, schema_editor):
    sequence, term = apps.get_model("accounts", "NumberSequence"), apps.get_model("accounts", "PaymentTerm")
    batch, template = apps.get_model("accounts", "BillingBatch"), apps.get_model("accounts", "InvoiceTemplate")
    for name, purpose, prefix, digits in SEQUENCES:
        sequence.objects.create(name=name, purpose=purpose, prefix=prefix, digits=digits)
    for name, days in NET_TERMS:
        term.objects.create(name=name, kind="Net", net_days=days)
    batch.objects.create(code="Batch1")
    template.objects.create(
        name="Standard",
        is_default=True,
        legal_name="Your Company Ltd",
        address="1 Example Street\n10115 Berlin",
        country="DE",
        email="billing@example.com",
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(add_reference_data, migrations.RunPython.noop)]
