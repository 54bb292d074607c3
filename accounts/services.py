"""The verbs of accounts: create one with its contacts, move it between batches, place it in a hierarchy."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.api_tokens import PREFIX_LENGTH, ApiToken, hash_of, new_secret
from accounts.models import (
    Account,
    AccountStatus,
    BillingBatch,
    Contact,
    CustomField,
    CustomFieldEntity,
    CustomFieldType,
    InvoiceTemplate,
    NumberPurpose,
    NumberSequence,
    PaymentTerm,
    PaymentTermKind,
)
from accounts.numbering import take_numbers


class NewContact(NamedTuple):
    """A person or department to be added to an account; `country` is the two-letter ISO code."""

    name: str
    country: str
    email: str = ""
    street: str = ""
    street_2: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""


def create_account(
    *,
    name: str,
    currency: str,
    batch: BillingBatch,
    bill_to: NewContact,
    sold_to: NewContact | None = None,
    bill_cycle_day: int = 0,
    payment_term: PaymentTerm | None = None,
    parent: Account | None = None,
    number: str | None = None,
    status: AccountStatus = AccountStatus.ACTIVE,
    invoice_template: InvoiceTemplate | None = None,
    number_sequence: NumberSequence | None = None,
    language: str = "en",
    vat_id: str = "",
    purchase_order: str = "",
    email_invoices: bool = True,
    print_invoices: bool = False,
    additional_emails: Iterable[str] = (),
    custom_fields: Mapping[str, Any] | None = None,
) -> Account:
    """Create an account with its bill-to contact, who is also the sold-to contact unless another is given.

    Without `number` the next one is taken; without `payment_term` invoices are due upon receipt. Raises
    ValidationError naming the field; then nothing was created.
    """
    account = Account(
        number=number or "",
        name=name.strip(),
        status=status,
        currency=currency,
        batch=batch,
        bill_cycle_day=bill_cycle_day,
        payment_term=payment_term or _due_upon_receipt(),
        parent=parent,
        invoice_template=invoice_template,
        number_sequence=number_sequence,
        language=language,
        vat_id=vat_id,
        purchase_order=purchase_order,
        email_invoices=email_invoices,
        print_invoices=print_invoices,
        additional_emails=list(additional_emails),
        custom_fields=dict(custom_fields or {}),
    )
    bill_to_row = Contact(**bill_to._asdict())
    sold_to_row = Contact(**sold_to._asdict()) if sold_to else bill_to_row
    contacts = {"bill_to": bill_to_row} | ({"sold_to": sold_to_row} if sold_to else {})
    _refuse_flaws(account, contacts)
    with transaction.atomic():
        account.number = number or take_numbers(NumberPurpose.ACCOUNT)[0]
        account.save(force_insert=True)
        for contact in contacts.values():
            contact.account = account
            contact.save(force_insert=True)
        account.bill_to, account.sold_to = bill_to_row, sold_to_row
        account.save(update_fields=["bill_to", "sold_to"])
    return account


def _due_upon_receipt() -> PaymentTerm | None:
    return PaymentTerm.objects.filter(kind=PaymentTermKind.NET, net_days=0).order_by("pk").first()


def _refuse_flaws(account: Account, contacts: Mapping[str, Contact]) -> None:
    """Raise one ValidationError with everything that is wrong with a new account and its contacts."""
    problems: dict[str, list[str]] = {}
    # Rows that are handed over as objects exist; asking the database again would cost a query each.
    known = {field.name for field in Account._meta.concrete_fields if field.is_relation}
    try:
        account.clean_fields(exclude=known | (set() if account.number else {"number"}))
    except ValidationError as error:
        problems |= error.message_dict
    if account.number and Account.objects.filter(number=account.number).exists():
        problems["number"] = [f"Another account already has the number {account.number}."]
    for role, contact in contacts.items():
        problems |= _contact_flaws(contact, role=role)
    try:
        check_custom_fields(entity=CustomFieldEntity.ACCOUNT, values=account.custom_fields)
    except ValidationError as error:
        problems |= error.message_dict
    if problems:
        raise ValidationError(problems)


def _contact_flaws(contact: Contact, *, role: str) -> dict[str, list[str]]:
    try:
        contact.clean_fields(exclude={"account"})
    except ValidationError as error:
        lines = [
            f"{field.replace('_', ' ').capitalize()}: {message}"
            for field, messages in error.message_dict.items()
            for message in messages
        ]
        return {role: lines}
    return {}


def check_custom_fields(*, entity: CustomFieldEntity, values: Mapping[str, Any]) -> None:
    """Raise ValidationError unless `values` fit the custom fields that are defined for the entity."""
    defined = {field.name: field for field in CustomField.objects.filter(entity=entity)}
    problems = [f"There is no custom field “{name}” here." for name in values if name not in defined]
    for name, field in defined.items():
        value = values.get(name)
        if value in (None, ""):
            if field.required:
                problems.append(f"“{field.label}” is required.")
        elif not _fits(field, value):
            choices = f": {', '.join(field.choices)}" if field.kind == CustomFieldType.PICKLIST else ""
            problems.append(f"“{field.label}” must be {_KINDS[CustomFieldType(field.kind)]}{choices}.")
    if problems:
        raise ValidationError({"custom_fields": problems})


_KINDS = {
    CustomFieldType.TEXT: "text",
    CustomFieldType.NUMBER: "a number",
    CustomFieldType.DATE: "a date such as 2026-01-31",
    CustomFieldType.PICKLIST: "one of",
}


def _fits(field: CustomField, value: Any) -> bool:
    if field.kind == CustomFieldType.PICKLIST:
        return value in field.choices
    if field.kind == CustomFieldType.TEXT:
        return isinstance(value, str)
    try:
        if field.kind == CustomFieldType.DATE:
            date.fromisoformat(value)
            return True
        return not isinstance(value, bool) and Decimal(str(value)).is_finite()
    except (InvalidOperation, TypeError, ValueError):
        return False


def add_contact(*, account: Account, contact: NewContact) -> Contact:
    """Add a contact to an account. Raises ValidationError naming what is wrong with it."""
    row = Contact(account=account, **contact._asdict())
    row.clean_fields(exclude={"account"})
    row.save(force_insert=True)
    return row


def choose_contacts(*, account: Account, bill_to: Contact | None = None, sold_to: Contact | None = None) -> None:
    """Make contacts of the account its bill-to or sold-to; what is None stays. Raises ValidationError for a stranger."""
    chosen = {role: contact for role, contact in (("bill_to", bill_to), ("sold_to", sold_to)) if contact is not None}
    for role, contact in chosen.items():
        if contact.account_id != account.pk:
            raise ValidationError({role: f"{contact.name} is not a contact of account {account.number}."})
        setattr(account, role, contact)
    account.save(update_fields=[*chosen])


def move_to_batch(*, accounts: Iterable[Account], batch: BillingBatch) -> int:
    """Put accounts into a billing batch; return how many were in another one before."""
    chosen = [account.pk for account in accounts]
    return Account.objects.filter(pk__in=chosen).exclude(batch=batch).update(batch=batch)


def set_parent(*, account: Account, parent: Account | None) -> None:
    """Place an account below another, or at the top with None. Raises ValidationError if that would close a loop."""
    above = parent
    while above is not None:
        if above.pk == account.pk:
            raise ValidationError({"parent": _loop(account, parent)})
        above = above.parent
    account.parent = parent
    account.save(update_fields=["parent"])


def _loop(account: Account, parent: Account | None) -> str:
    if parent is None or parent.pk == account.pk:
        return f"Account {account.number} cannot be its own parent."
    return f"Account {parent.number} is below {account.number} already, so it cannot be its parent as well."


class IssuedToken(NamedTuple):
    """A new token with its secret, which is nowhere else and must be handed over now."""

    token: ApiToken
    secret: str


def issue_token(
    *, name: str, scopes: Iterable[str], expires_at: datetime | None = None, user_id: int | None = None
) -> IssuedToken:
    """Make an API token with the given scopes (words of `Scope`). Raises ValidationError for an empty or unknown scope."""
    secret = new_secret()
    token = ApiToken(
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        key_hash=hash_of(secret),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        created_by_id=user_id,
    )
    token.full_clean()
    token.save()
    return IssuedToken(token, secret)


def revoke_token(token: ApiToken) -> bool:
    """Make a token worthless from the next request on; return False when it was revoked before."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=timezone.now()))
