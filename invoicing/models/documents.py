"""The stored PDF of a posted invoice: rendered once, kept with its hash, never changed (I18)."""

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.guards import immutable, refusal, untruncatable
from invoicing.models.invoices import Invoice


class InvoiceDocument(models.Model):
    """The bytes that customers receive; `sha256` is checked by the database against `content`."""

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="document")
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    pages = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="i18_hash_matches",
                condition=Q(
                    sha256=models.Func(
                        models.F("content"), template="encode(sha256(content), 'hex')", output_field=models.CharField()
                    )
                ),
            ),
        ]
        triggers = [
            immutable("i18_document_frozen", "The PDF of a posted invoice is kept as it was first made"),
            pgtrigger.Trigger(
                name="i18_document_of_posted",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=f"""
                IF NOT EXISTS (SELECT 1 FROM invoicing_invoice v WHERE v.id = NEW.invoice_id AND v.status = 'Posted')
                THEN {refusal("Only a posted invoice has a stored PDF")} END IF;
                RETURN NEW;
                """,
            ),
            untruncatable("i18_document_no_truncate"),
        ]

    def __str__(self) -> str:
        return f"{self.invoice} PDF"
