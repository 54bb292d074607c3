"""The four roles: viewer sees, operator prepares, approver posts, admin does everything."""

from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

APPS = ["accounts", "billing", "usage", "invoicing"]
OPERATOR_CHANGES = {
    "account", "contact", "order", "orderaction", "subscription", "rateplan", "rateplancharge", "chargesegment",
    "chargesegmenttier", "product", "productrateplan", "productrateplancharge", "productrateplanchargeprice",
    "productrateplanchargetier", "billingbatch",
}  # fmt: skip
OPERATOR_VERBS = {"add_billrun", "change_billrun", "cancel_billrun", "cancel_invoice", "email_invoice", "add_invoicedelivery"}
APPROVER_VERBS = {"post_billrun", "post_invoice", "add_billrunschedule", "change_billrunschedule"}


def add_roles(apps, schema_editor):
    for label in [*APPS, "auth"]:
        # Permissions are otherwise made after all migrations have run, which is too late to grant them here.
        create_permissions(installed_apps.get_app_config(label), verbosity=0, using=schema_editor.connection.alias)
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ours = list(permission.objects.filter(content_type__app_label__in=APPS))
    people = list(permission.objects.filter(content_type__app_label="auth"))
    viewer = [p for p in ours if p.codename.startswith("view_")]
    operator = viewer + [
        p for p in ours if p.codename in OPERATOR_VERBS or p.codename.partition("_")[2] in OPERATOR_CHANGES and p.codename.startswith(("add_", "change_"))
    ]
    approver = operator + [p for p in ours if p.codename in APPROVER_VERBS]
    for name, granted in [("viewer", viewer), ("operator", operator), ("approver", approver), ("admin", ours + people)]:
        group.objects.create(name=name).permissions.set(granted)


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0001_initial"), ("accounts", "0002_reference_data"), ("billing", "0002_billing_rules"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(add_roles, migrations.RunPython.noop)]
