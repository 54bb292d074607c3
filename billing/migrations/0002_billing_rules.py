"""The one row of billing rules, with the defaults."""

from django.db import migrations


def add_rules(apps, schema_editor):
    apps.get_model("billing", "BillingRules").objects.create(id=1)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(add_rules, migrations.RunPython.noop)]
