"""Who is billed: accounts with contacts, batches, payment terms, number sequences and invoice templates."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from accounts import api_tokens  # noqa: F401 - Django finds an app's tables through this module
from accounts.currencies import is_currency
from accounts.guards import immutable, refusal

COUNTRY_CODE = RegexValidator(r"^[A-Z]{2}\Z", "Use the two-letter ISO country code, for example DE.")
COLOUR = RegexValidator(r"^#[0-9a-fA-F]{6}\Z", "Write the colour as # and six hexadecimal digits, for example #4338ca.")
LOGO = RegexValidator(
    r"^data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+\Z", "The logo must be a PNG or JPEG as a data URI."
)
SINGLE_LINE = RegexValidator(r"^[^\x00-\x1f\x7f]*\Z", "Line breaks and control characters are not allowed here.")


def validate_currency(code: str) -> None:
    """Raise ValidationError unless `code` is an ISO currency."""
    if not is_currency(code):
        raise ValidationError("“%(code)s” is not an ISO currency code such as USD or EUR.", params={"code": code})


class BillingBatch(models.Model):
    """A named set of accounts that are billed together."""

    code = models.CharField(
        max_length=7, unique=True, validators=[RegexValidator(r"^Batch([1-9]|[1-4]\d|50)\Z", "Use Batch1 to Batch50.")]
    )
    alias = models.CharField(
        max_length=50,
        blank=True,
        validators=[SINGLE_LINE],
        help_text="What operators call this batch, for example Resellers.",
    )

    class Meta:
        ordering = ["id"]
        verbose_name = "billing batch"
        verbose_name_plural = "billing batches"
        constraints = [
            models.CheckConstraint(name="batch_code_known", condition=Q(code__regex=r"^Batch([1-9]|[1-4][0-9]|50)$")),
            models.UniqueConstraint(
                fields=["alias"],
                condition=~Q(alias=""),
                name="batch_alias_once",
                violation_error_message="Another batch already has this alias.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} · {self.alias}" if self.alias else self.code


class PaymentTermKind(models.TextChoices):
    NET = "Net", "Net: days after the invoice date"
    PROX = "Prox", "Prox: a day of a following month"


class PaymentTerm(models.Model):
    """When an invoice falls due: a number of days later, or a fixed day of a following month (domain.md 1)."""

    name = models.CharField(max_length=50, unique=True, validators=[SINGLE_LINE])
    kind = models.CharField(max_length=4, choices=PaymentTermKind, default=PaymentTermKind.NET)
    net_days = models.PositiveSmallIntegerField(default=0, help_text="Net: days from invoice date to due date.")
    cutoff_day = models.PositiveSmallIntegerField(
        default=31, help_text="Prox: an invoice after this day counts for the next month."
    )
    months = models.PositiveSmallIntegerField(default=1, help_text="Prox: months to add.")
    due_day = models.PositiveSmallIntegerField(default=1, help_text="Prox: day of the month; 31 is the month's end.")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(name="payment_term_kind_known", condition=Q(kind__in=PaymentTermKind.values)),
            models.CheckConstraint(
                name="payment_term_days_sane",
                condition=Q(net_days__lte=366, cutoff_day__range=(1, 31), months__lte=12, due_day__range=(1, 31)),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class NumberPurpose(models.TextChoices):
    INVOICE = "Invoice", "Invoices"
    ACCOUNT = "Account", "Accounts"
    ORDER = "Order", "Orders"
    SUBSCRIPTION = "Subscription", "Subscriptions"
    CHARGE = "Charge", "Charges"
    BILL_RUN = "BillRun", "Bill runs"


class NumberSequence(models.Model):
    """A counter row that hands out document numbers: prefix plus zero-padded number (I10).

    Taking numbers updates the row, so a rolled-back transaction gives its numbers back and no gap remains.
    """

    name = models.CharField(max_length=50, unique=True, validators=[SINGLE_LINE])
    purpose = models.CharField(max_length=12, choices=NumberPurpose)
    prefix = models.CharField(
        max_length=20,
        blank=True,
        validators=[RegexValidator(r"^[A-Za-z0-9/_.-]*\Z", "Use letters, digits and / _ . - only.")],
    )
    digits = models.PositiveSmallIntegerField(default=8, validators=[MinValueValidator(1), MaxValueValidator(15)])
    first_number = models.PositiveBigIntegerField(default=1)
    next_number = models.PositiveBigIntegerField(default=1)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="i10_sequence_sane", condition=Q(digits__range=(1, 15), next_number__gte=F("first_number"))
            ),
            models.CheckConstraint(name="sequence_purpose_known", condition=Q(purpose__in=NumberPurpose.values)),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="i10_sequence_forward_only",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.next_number < OLD.next_number"),
                func=refusal(
                    "Number sequence % cannot go back: numbers already given out would be given out again", "OLD.name"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.format(self.next_number)} next)"

    def format(self, value: int) -> str:
        """Return the document number for `value`, for example INV00000001."""
        return f"{self.prefix}{value:0{self.digits}d}"


class PageSize(models.TextChoices):
    A4 = "A4", "A4"
    LETTER = "Letter", "US Letter"


class InvoiceTemplate(models.Model):
    """The seller's brand and texts on invoices; every change is kept as an InvoiceTemplateVersion (I18)."""

    name = models.CharField(max_length=50, unique=True, validators=[SINGLE_LINE])
    version = models.PositiveIntegerField(default=1, editable=False)
    is_default = models.BooleanField(default=False, help_text="Used by accounts that name no template of their own.")
    legal_name = models.CharField(max_length=120, validators=[SINGLE_LINE])
    address = models.TextField(help_text="One line per address line.")
    country = models.CharField(max_length=2, validators=[COUNTRY_CODE])
    vat_id = models.CharField("VAT id", max_length=30, blank=True, validators=[SINGLE_LINE])
    register = models.CharField(
        max_length=80,
        blank=True,
        validators=[SINGLE_LINE],
        help_text="Commercial register, for example HRB 12345 Berlin.",
    )
    email = models.EmailField()
    website = models.CharField(max_length=80, blank=True, validators=[SINGLE_LINE])
    phone = models.CharField(max_length=40, blank=True, validators=[SINGLE_LINE])
    bank_name = models.CharField(max_length=80, blank=True, validators=[SINGLE_LINE])
    iban = models.CharField(
        "IBAN",
        max_length=34,
        blank=True,
        validators=[RegexValidator(r"^([A-Z]{2}[0-9A-Z]{13,32})?\Z", "Write the IBAN without spaces.")],
    )
    bic = models.CharField(
        "BIC",
        max_length=11,
        blank=True,
        validators=[RegexValidator(r"^([A-Z0-9]{8}([A-Z0-9]{3})?)?\Z", "A BIC has 8 or 11 characters.")],
    )
    colour = models.CharField(max_length=7, default="#4338ca", validators=[COLOUR])
    logo = models.TextField(blank=True, validators=[LOGO], help_text="PNG or JPEG as a data URI.")
    page_size = models.CharField(max_length=6, choices=PageSize, default=PageSize.A4)
    footer = models.CharField(max_length=200, blank=True, validators=[SINGLE_LINE])
    late_payment_note = models.CharField(max_length=300, blank=True, validators=[SINGLE_LINE])
    explain_amounts = models.BooleanField(
        "explain every amount in an appendix",
        default=False,
        db_default=False,
        help_text="“How each amount was calculated” on pages of its own after the invoice; up to 200 calculations.",
    )
    email_subject = models.CharField(max_length=150, default="Invoice {number} from {seller}", validators=[SINGLE_LINE])
    email_text = models.TextField(
        default="Dear {customer},\n\nplease find attached invoice {number} of {invoice_date} for {total}, due on {due_date}.\n\nKind regards\n{seller}\n",
        help_text="{customer}, {number}, {invoice_date}, {due_date}, {total} and {seller} are filled in.",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="template_one_default",
                violation_error_message="Another template is already the default.",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="i18_template_next_version",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                func="NEW.version = OLD.version + 1; RETURN NEW;",
            ),
            pgtrigger.Trigger(
                name="i18_template_keep_version",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func="INSERT INTO accounts_invoicetemplateversion (template_id, version, content, created_at) VALUES (NEW.id, NEW.version, to_jsonb(NEW), now()); RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"


class InvoiceTemplateVersion(models.Model):
    """What a template said at one time; posted invoices point here and never change (I3, I18)."""

    template = models.ForeignKey(InvoiceTemplate, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    content = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["template", "-version"]
        constraints = [models.UniqueConstraint(fields=["template", "version"], name="i18_template_version_once")]
        triggers = [
            immutable(
                "i18_template_version_frozen",
                "Versions of an invoice template are kept as they were; change the template itself",
            )
        ]

    def __str__(self) -> str:
        return f"{self.template.name} version {self.version}"


class AccountStatus(models.TextChoices):
    DRAFT = "Draft", "Draft"
    ACTIVE = "Active", "Active"
    CANCELED = "Canceled", "Canceled"


class Account(models.Model):
    """A customer who is billed, in one currency."""

    number = models.CharField(max_length=50, unique=True, validators=[SINGLE_LINE])
    name = models.CharField(max_length=120, validators=[SINGLE_LINE])
    status = models.CharField(max_length=8, choices=AccountStatus, default=AccountStatus.ACTIVE)
    currency = models.CharField(max_length=3, validators=[validate_currency])
    batch = models.ForeignKey(BillingBatch, on_delete=models.PROTECT, related_name="accounts")
    bill_cycle_day = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(31)],
        help_text="1 to 31; 31 is the month's end; 0 sets it from the first recurring charge.",
    )
    payment_term = models.ForeignKey(PaymentTerm, null=True, blank=True, on_delete=models.PROTECT)
    bill_to = models.ForeignKey(
        "Contact",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who receives the invoices.",
    )
    sold_to = models.ForeignKey("Contact", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    invoice_template = models.ForeignKey(
        InvoiceTemplate, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: the default template."
    )
    number_sequence = models.ForeignKey(
        NumberSequence,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        limit_choices_to={"purpose": NumberPurpose.INVOICE},
        help_text="Empty: the default sequence.",
    )
    language = models.CharField(
        max_length=5, default="en", choices=[("en", "English"), ("de", "German"), ("fr", "French"), ("ja", "Japanese")]
    )
    vat_id = models.CharField("VAT id", max_length=30, blank=True, validators=[SINGLE_LINE])
    purchase_order = models.CharField(max_length=50, blank=True, validators=[SINGLE_LINE])
    email_invoices = models.BooleanField(default=True, help_text="Send posted invoices by e-mail.")
    print_invoices = models.BooleanField(default=False)
    additional_emails = ArrayField(
        models.EmailField(),
        default=list,
        blank=True,
        size=10,
        help_text="Up to ten further addresses, separated by commas.",
    )
    custom_fields = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        indexes = [
            models.Index(fields=["batch", "id"], name="account_batch"),
            models.Index(fields=["name"], name="account_name_prefix", opclasses=["varchar_pattern_ops"]),
        ]
        constraints = [
            models.CheckConstraint(name="account_bill_cycle_day", condition=Q(bill_cycle_day__range=(0, 31))),
            models.CheckConstraint(name="account_currency_code", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(name="account_status_known", condition=Q(status__in=AccountStatus.values)),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="account_bill_cycle_day_stays",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.bill_cycle_day = 0 AND OLD.bill_cycle_day <> 0"),
                func=refusal("The bill cycle day of account % is set and cannot return to automatic", "OLD.number"),
            ),
            pgtrigger.Trigger(
                name="account_parent_acyclic",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.parent_id IS NOT NULL"),
                # One hierarchy change at a time: two at once could close a loop that neither sees.
                func=f"""
                PERFORM pg_advisory_xact_lock(hashtext('account_parent'));
                IF EXISTS (
                    WITH RECURSIVE ancestors(id) AS (
                        SELECT NEW.parent_id
                        UNION SELECT a.parent_id FROM accounts_account a JOIN ancestors ON a.id = ancestors.id WHERE a.parent_id IS NOT NULL
                    ) SELECT 1 FROM ancestors WHERE id = NEW.id
                ) THEN {refusal("Account % cannot be its own ancestor", "NEW.number")} END IF;
                RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    def get_absolute_url(self) -> str:
        return reverse("admin:accounts_account_object", args=[self.pk])


class Contact(models.Model):
    """A person or department of an account: bill-to or sold-to."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="contacts")
    name = models.CharField(max_length=100, validators=[SINGLE_LINE])
    email = models.EmailField(blank=True)
    street = models.CharField(max_length=120, blank=True, validators=[SINGLE_LINE])
    street_2 = models.CharField(max_length=120, blank=True, validators=[SINGLE_LINE])
    postal_code = models.CharField(max_length=20, blank=True, validators=[SINGLE_LINE])
    city = models.CharField(max_length=80, blank=True, validators=[SINGLE_LINE])
    region = models.CharField(max_length=80, blank=True, validators=[SINGLE_LINE])
    country = models.CharField(max_length=2, validators=[COUNTRY_CODE])

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.email else self.name


class CustomFieldType(models.TextChoices):
    TEXT = "Text", "Text"
    NUMBER = "Number", "Number"
    DATE = "Date", "Date"
    PICKLIST = "Picklist", "One of a list"


class CustomFieldEntity(models.TextChoices):
    ACCOUNT = "Account", "Account"
    SUBSCRIPTION = "Subscription", "Subscription"
    RATE_PLAN_CHARGE = "RatePlanCharge", "Rate plan charge"


class CustomField(models.Model):
    """An operator-defined field; its values live in the entity's `custom_fields`."""

    entity = models.CharField(max_length=20, choices=CustomFieldEntity)
    name = models.CharField(
        max_length=40,
        validators=[
            RegexValidator(r"^[A-Za-z][A-Za-z0-9_]*\Z", "Begin with a letter; then letters, digits and _ only.")
        ],
    )
    label = models.CharField(max_length=80, validators=[SINGLE_LINE])
    kind = models.CharField(max_length=10, choices=CustomFieldType, default=CustomFieldType.TEXT)
    choices = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    required = models.BooleanField(default=False)

    class Meta:
        ordering = ["entity", "name"]
        constraints = [models.UniqueConstraint(fields=["entity", "name"], name="custom_field_once")]

    def __str__(self) -> str:
        return f"{self.get_entity_display()} · {self.label}"


class IdempotencyKey(models.Model):
    """What a request with this key did, so that a repeated one has the same single effect (I9)."""

    key = models.UUIDField(primary_key=True)
    user_id = models.BigIntegerField()
    request_hash = models.CharField(max_length=64)
    location = models.CharField(max_length=500, blank=True, help_text="Pages: where the first answer led.")
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="API: the first answer's status.")
    body = models.TextField(blank=True, default="", db_default="", help_text="API: the first answer's JSON.")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return str(self.key)
