"""Everybody sees which API tokens there are; only admins issue and revoke them."""

from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWERS = ("viewer", "operator", "approver", "admin")


def grant(apps, schema_editor):
    # Permissions are otherwise made after all migrations have run, which is too late to grant them here.
    create_permissions(installed_apps.get_app_config("accounts"), verbosity=0, using=schema_editor.connection.alias)
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    of_tokens = permission.objects.filter(content_type__app_label="accounts", content_type__model="apitoken")
    # An installation may have renamed or removed roles since.
    for role in group.objects.filter(name__in=VIEWERS):
        role.permissions.add(*of_tokens if role.name == "admin" else of_tokens.filter(codename="view_apitoken"))


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0006_discount_changes"), ("accounts", "0004_api_tokens")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
