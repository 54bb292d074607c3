"""REST endpoints of accounts: the list and one account by its number."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from accounts.api_tokens import Scope
from accounts.cursors import DEFAULT_LIMIT, Cursor, Limit, Page, page_of
from accounts.models import Account
from accounts.problems import FieldError, Problem
from accounts.rest import Number, requires

router = Router(tags=["Accounts"])
SUMMARIZED = ("batch", "payment_term", "parent")


class ContactDetails(Schema):
    """A person or department of an account."""

    name: str
    email: str
    street: str
    street_2: str
    postal_code: str
    city: str
    region: str
    country: str


class AccountSummary(Schema):
    """A customer who is billed, as lists show it; `bill_cycle_day` 0 is not yet set, 31 the month's end."""

    number: str
    name: str
    status: str
    currency: str
    batch: str
    bill_cycle_day: int
    payment_term: str | None
    parent: str | None
    created_at: datetime

    @staticmethod
    def resolve_batch(account: Account) -> str:
        return account.batch.code

    @staticmethod
    def resolve_payment_term(account: Account) -> str | None:
        return account.payment_term.name if account.payment_term else None

    @staticmethod
    def resolve_parent(account: Account) -> str | None:
        return account.parent.number if account.parent else None


class AccountDetails(AccountSummary):
    """A customer with everything that an invoice says about it."""

    language: str
    vat_id: str
    purchase_order: str
    email_invoices: bool
    print_invoices: bool
    additional_emails: list[str]
    custom_fields: dict[str, Any]
    bill_to: ContactDetails | None
    sold_to: ContactDetails | None


def account_filter(number: str | None) -> dict[str, int]:
    """Return the filter for rows of the account with this number. Raises Problem 404 when there is none."""
    if number is None:
        return {}
    found = Account.objects.filter(number=number).values_list("pk", flat=True).first()
    if found is None:
        message = f"There is no account with the number {number}."
        raise Problem(404, f"{message} Nothing was changed.", errors=[FieldError("account", message)])
    return {"account_id": found}


def not_found(what: str, number: str) -> Problem:
    """Return the answer that there is no such record."""
    return Problem(404, f"There is no {what} with the number {number}. Nothing was changed.")


@router.get("/accounts", auth=requires(Scope.ACCOUNTS_READ), response=Page[AccountSummary])
def list_accounts(request: HttpRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> dict[str, Any]:
    """List all accounts, oldest first."""
    return page_of(Account.objects.select_related(*SUMMARIZED), cursor=cursor, limit=limit)


@router.get("/accounts/{path:number}", auth=requires(Scope.ACCOUNTS_READ), response=AccountDetails)
def get_account(request: HttpRequest, number: Number) -> Account:
    """Return one account with its bill-to and sold-to contacts."""
    account = Account.objects.select_related(*SUMMARIZED, "bill_to", "sold_to").filter(number=number).first()
    if account is None:
        raise not_found("account", number)
    return account
