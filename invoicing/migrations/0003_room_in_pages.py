"""Room in the pages of the work list: each row is updated once, with its outcome, and then stays where it is."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("invoicing", "0002_roles")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE invoicing_billrunaccount SET (fillfactor = 45)",
            "ALTER TABLE invoicing_billrunaccount RESET (fillfactor)",
        )
    ]
