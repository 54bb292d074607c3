"""Who may do what with usage: viewers see it, operators import and correct it, admins keep its units."""

from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

OPERATOR = {"import_usage", "add_usagerecord", "change_usagerecord", "delete_usagerecord"}
APPROVER = {"add_unitofmeasure", "change_unitofmeasure"}


def grant(apps, schema_editor):
    for label in ("billing", "usage"):
        # Permissions are otherwise made after all migrations have run, which is too late to grant them here.
        create_permissions(installed_apps.get_app_config(label), verbosity=0, using=schema_editor.connection.alias)
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    usage = permission.objects.filter(content_type__app_label="usage")
    units = permission.objects.filter(content_type__app_label="billing", content_type__model="unitofmeasure")
    found = list(usage) + list(units)
    seen = {p for p in found if p.codename.startswith("view_")}
    granted = {
        "viewer": seen,
        "operator": seen | {p for p in found if p.codename in OPERATOR},
        "approver": seen | {p for p in found if p.codename in OPERATOR | APPROVER},
        "admin": set(found),
    }
    for name, permissions in granted.items():
        group.objects.get(name=name).permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0008_usage"), ("usage", "0001_initial"), ("billing", "0004_usage_terms")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
