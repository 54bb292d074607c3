"""Orders: what a customer agreed to, as a sequence of actions."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from accounts.models import Account
from billing.fields import NumericField, within_limits


class OrderStatus(models.TextChoices):
    DRAFT = "Draft", "Draft"
    PENDING = "Pending", "Pending"
    COMPLETED = "Completed", "Completed"
    CANCELED = "Canceled", "Canceled"


class OrderActionType(models.TextChoices):
    CREATE_SUBSCRIPTION = "CreateSubscription", "Create subscription"
    TERMS_AND_CONDITIONS = "TermsAndConditions", "Change terms and conditions"
    ADD_PRODUCT = "AddProduct", "Add product"
    UPDATE_PRODUCT = "UpdateProduct", "Update product"
    REMOVE_PRODUCT = "RemoveProduct", "Remove product"
    RENEW_SUBSCRIPTION = "RenewSubscription", "Renew subscription"
    CANCEL_SUBSCRIPTION = "CancelSubscription", "Cancel subscription"
    SUSPEND = "Suspend", "Suspend"
    RESUME = "Resume", "Resume"
    SET_TRIGGER_DATES = "SetTriggerDates", "Set trigger dates"


class Order(models.Model):
    """An agreement with one account on one date."""

    number = models.CharField(max_length=50, unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="orders")
    order_date = models.DateField()
    status = models.CharField(max_length=9, choices=OrderStatus, default=OrderStatus.DRAFT)
    description = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["order_date"], name="order_date")]
        constraints = [models.CheckConstraint(name="order_status_known", condition=Q(status__in=OrderStatus.values))]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("admin:billing_order_object", args=[self.pk])


class OrderAction(models.Model):
    """One step of an order, with the recurring revenue a month that it adds or takes away."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="actions")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=24, choices=OrderActionType)
    subscription = models.ForeignKey(
        "billing.Subscription", null=True, blank=True, on_delete=models.PROTECT, related_name="order_actions"
    )
    effective_date = models.DateField()
    details = models.JSONField(default=dict, db_default={}, blank=True, help_text="What was changed, from and to.")
    delta_mrr = NumericField(default=0, help_text="Change of monthly recurring revenue in the account's currency.")

    class Meta:
        ordering = ["order", "position"]
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="order_action_position_once"),
            models.CheckConstraint(
                name="order_action_known", condition=Q(kind__in=OrderActionType.values) & within_limits("delta_mrr")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.order.number} {self.get_kind_display()}"
