"""The outbox of e-mailed invoices: each request ends as sent, failed or unknown, and is sent at most once (I17)."""

import uuid

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.guards import refusal
from invoicing.models.invoices import Invoice


class DeliveryState(models.TextChoices):
    QUEUED = "Queued", "Queued"
    SENDING = "Sending", "Sending"
    SENT = "Sent", "Sent"
    FAILED = "Failed", "Failed"
    UNKNOWN = "Unknown", "Unknown"


class InvoiceDelivery(models.Model):
    """One request to e-mail one posted invoice; sending again is another request with another key."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="deliveries")
    request_key = models.UUIDField(default=uuid.uuid4, unique=True)
    recipients = ArrayField(models.EmailField())
    state = models.CharField(max_length=7, choices=DeliveryState, default=DeliveryState.QUEUED)
    message_id = models.CharField(max_length=120, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(db_default=Now())
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "invoice deliveries"
        indexes = [
            models.Index(fields=["not_before"], name="delivery_open", condition=Q(state__in=["Queued", "Sending"]))
        ]
        constraints = [
            models.CheckConstraint(name="i17_state_known", condition=Q(state__in=DeliveryState.values)),
            models.CheckConstraint(name="i17_has_recipient", condition=Q(recipients__len__gt=0)),
            models.CheckConstraint(name="i17_sent_has_time", condition=~Q(state="Sent") | Q(sent_at__isnull=False)),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="i17_delivery_states",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN"
                    " (('Queued', 'Sending'), ('Queued', 'Failed'), ('Sending', 'Sent'), ('Sending', 'Failed'), ('Sending', 'Unknown'), ('Sending', 'Queued'))"
                ),
                func=refusal("A delivery cannot go from % to %", "OLD.state", "NEW.state"),
            ),
            pgtrigger.Trigger(
                name="i17_delivery_of_posted",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=f"""
                IF NEW.state <> 'Queued' OR NOT EXISTS (SELECT 1 FROM invoicing_invoice v WHERE v.id = NEW.invoice_id AND v.status = 'Posted')
                THEN {refusal("Only a posted invoice can be queued for e-mail")} END IF;
                RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="i17_delivery_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                func=refusal("Deliveries are kept as the record of what was sent"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice} to {', '.join(self.recipients)}"
