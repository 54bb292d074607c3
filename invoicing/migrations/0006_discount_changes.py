"""Discounts of billed lines may change: found by an index, kept true by guards."""

import django.db.models.fields.json
import django.db.models.functions.comparison
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('invoicing', '0005_look_credits_up'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='invoiceitem',
            index=models.Index(models.F('charge'), django.db.models.functions.comparison.Cast(django.db.models.fields.json.KeyTextTransform('s', 'derivation'), models.IntegerField()), models.Func(models.F('period'), function='upper'), condition=models.Q(('kind', 'Discount')), name='item_discounts'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='invoice',
            trigger=pgtrigger.compiler.Trigger(name='i4_discount_taken_back', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (OLD.status <> 'Canceled' AND NEW.status = 'Canceled')", constraint='CONSTRAINT', func="\n        IF EXISTS (\n            SELECT 1 FROM invoicing_invoiceitem i JOIN invoicing_invoiceitem x ON x.reduces_id = i.id JOIN invoicing_invoice w ON w.id = x.invoice_id\n            WHERE i.invoice_id = NEW.id AND w.status IN ('Draft', 'Posted', 'Generating')\n        ) THEN RAISE EXCEPTION 'Lines of invoice % are reduced by another invoice; cancel that one first', NEW.reference USING ERRCODE = '23514'; END IF;\n        IF EXISTS (\n            SELECT 1 FROM invoicing_invoiceitem d JOIN invoicing_invoiceitem r ON r.id = d.reduces_id\n            CROSS JOIN LATERAL (SELECT x.* FROM invoicing_invoiceitem x JOIN invoicing_invoice xv ON xv.id = x.invoice_id\n        WHERE xv.status IN ('Draft', 'Posted', 'Generating') AND x.kind = 'Discount' AND x.reduces_id IN (\n            SELECT coalesce(r.credits_id, r.id) UNION ALL SELECT k.id FROM invoicing_invoiceitem k WHERE k.credits_id = coalesce(r.credits_id, r.id)\n        )) later\n            WHERE d.invoice_id = NEW.id AND d.kind = 'Discount' AND later.charge_id = d.charge_id AND later.id > d.id\n        ) THEN RAISE EXCEPTION 'Invoice % changed a discount that another invoice has changed since; cancel that one first', NEW.reference USING ERRCODE = '23514'; END IF;\n        RETURN NULL;\n        ", hash='26a169bb9bfd4f5adab86ea1e63954815113d0c7', operation='UPDATE', pgid='pgtrigger_i4_discount_taken_back_ed900', table='invoicing_invoice', timing='DEFERRABLE INITIALLY DEFERRED', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='invoiceitem',
            trigger=pgtrigger.compiler.Trigger(name='i4_discount_within_line', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (NEW.kind = 'Discount')", constraint='CONSTRAINT', declare='DECLARE reduced invoicing_invoiceitem; item bigint; worth numeric; taken numeric;', func="\n        SELECT r.* INTO reduced FROM invoicing_invoiceitem r\n        JOIN invoicing_invoice v ON v.id = r.invoice_id AND v.status IN ('Draft', 'Posted', 'Generating')\n        JOIN invoicing_invoice w ON w.id = NEW.invoice_id AND w.account_id = v.account_id WHERE r.id = NEW.reduces_id AND r.kind <> 'Discount';\n        IF NOT FOUND THEN RAISE EXCEPTION 'A discount must reduce a line of its account that is billed (charge %)', NEW.charge_id USING ERRCODE = '23514'; END IF;\n        item := coalesce(reduced.credits_id, reduced.id);\n        SELECT i.amount + coalesce((\n            SELECT sum(k.amount) FROM invoicing_invoiceitem k JOIN invoicing_invoice w ON w.id = k.invoice_id\n            WHERE k.credits_id = i.id AND w.status IN ('Draft', 'Posted', 'Generating')), 0)\n        INTO worth FROM invoicing_invoiceitem i WHERE i.id = item;\n        SELECT sum(d.amount) INTO taken FROM (SELECT x.* FROM invoicing_invoiceitem x JOIN invoicing_invoice xv ON xv.id = x.invoice_id\n        WHERE xv.status IN ('Draft', 'Posted', 'Generating') AND x.kind = 'Discount' AND x.reduces_id IN (\n            SELECT item UNION ALL SELECT k.id FROM invoicing_invoiceitem k WHERE k.credits_id = item\n        )) d;\n        IF taken > 0 OR taken < -worth THEN\n            RAISE EXCEPTION 'The discounts of a line must lie between nothing and what it bills (charge %)', NEW.charge_id USING ERRCODE = '23514';\n        END IF;\n        RETURN NULL;\n        ", hash='92c307b136a7332f967c3eaf68a208fd41a75a02', operation='INSERT', pgid='pgtrigger_i4_discount_within_line_0f713', table='invoicing_invoiceitem', timing='DEFERRABLE INITIALLY DEFERRED', when='AFTER')),
        ),
        migrations.AddConstraint(
            model_name='invoiceitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'Discount'), ('reduces__isnull', False)), models.Q(models.Q(('kind', 'Discount'), _negated=True), ('reduces__isnull', True)), _connector='OR'), name='i4_discount_names_its_line'),
        ),
    ]
