"""Pages of accounts: the account with its contacts, and the lists an installation is configured by."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import display, register
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from accounts import token_views, views
from accounts.api_tokens import ApiToken
from accounts.data_fixes import fix_details
from accounts.forms import ContactForm
from accounts.idempotency import new_request_key
from accounts.list_filters import Chip
from accounts.models import (
    Account,
    BillingBatch,
    Contact,
    CustomField,
    InvoiceTemplate,
    InvoiceTemplateVersion,
    NumberSequence,
    PaymentTerm,
)
from accounts.operator_admin import OperatorAdmin, site
from accounts.templatetags.ui import facts_of

SUBSCRIPTIONS_SHOWN = 25
CONTACT_FIELDS = ("bill_to", "sold_to")


def batch_choices(_request: HttpRequest) -> list[tuple[int, str]]:
    """Return the batches for filter chips."""
    return [(batch.pk, str(batch)) for batch in BillingBatch.objects.all()]


class ChoosesAccounts(OperatorAdmin):
    """Forms that refer to accounts and contacts: chosen, never added on the side, for an account needs a page."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Leave out the "add" button beside accounts and contacts."""
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.related_model in (Account, Contact) and hasattr(formfield.widget, "can_add_related"):
            formfield.widget.can_add_related = False
        return formfield


@register(Account, site=site)
class AccountAdmin(ChoosesAccounts):
    """Accounts: searched by number and name; the object page shows what was sold and billed."""

    object_page = True
    object_template = "accounts/account.html"
    object_tabs = (
        ("", "Overview"),
        ("subscriptions", "Subscriptions"),
        ("usage", "Usage"),
        ("invoices", "Invoices"),
        ("activity", "Activity"),
    )
    list_display = ("number", "name", "status", "batch", "currency", "bill_cycle_day", "payment_term", "bill_to")
    list_select_related = ("batch", "payment_term", "bill_to")
    search_fields = ("number__startswith", "name__startswith")
    search_placeholder = "Number or name begins with"
    chip_filters = (
        Chip("batch__id__exact", "Batch", choices=batch_choices),
        "status",
        Chip("currency__exact", "Currency", kind="text"),
    )
    export_fields = (
        "number",
        "name",
        "status",
        "currency",
        ("batch", "batch__code"),
        "bill_cycle_day",
        ("payment_term", "payment_term__name"),
        ("bill_to", "bill_to__email"),
    )
    empty_text = "No accounts yet. An account is a customer you bill."
    add_label = "New account"
    add_url_name = "admin:accounts_account_new"
    autocomplete_fields = ("parent",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "number",
                    "name",
                    "status",
                    "currency",
                    "batch",
                    "parent",
                    "language",
                    "vat_id",
                    "purchase_order",
                )
            },
        ),
        (
            "Billing",
            {"fields": ("bill_cycle_day", "payment_term", "bill_to", "sold_to", "invoice_template", "number_sequence")},
        ),
        ("Delivery", {"fields": ("email_invoices", "additional_emails", "print_invoices")}),
        ("Further", {"fields": ("custom_fields", "created_at"), "classes": ("collapse",)}),
    )

    def object_context(self, request: HttpRequest, obj: Account, tab: str) -> dict[str, Any]:
        """Return what the tab shows; each tab asks only for its own rows."""
        context: dict[str, Any] = {"account": obj}
        if tab == "subscriptions":
            found = obj.invoiced_subscriptions.prefetch_related("charges").order_by("-id")
            context["subscriptions"] = found[:SUBSCRIPTIONS_SHOWN]
            context["subscription_count"] = obj.invoiced_subscriptions.count()
        elif tab == "invoices":
            context["invoices"] = obj.invoices.order_by("-id")[:25]
        elif tab == "activity":
            entries = LogEntry.objects.filter(content_type__app_label="accounts", content_type__model="account")
            context["entries"] = entries.filter(object_id=str(obj.pk)).select_related("user")[:50]
        elif tab != "usage":  # that one is a piece of its own, which the page asks for
            context |= _overview(obj)
            if self.has_change_permission(request, obj):
                context["request_key"] = new_request_key()
        return context

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Account | None:
        """Return the account with everything its page names."""
        related = ("batch", "payment_term", "parent", "invoice_template", "number_sequence", "bill_to")
        return Account.objects.select_related(*related).filter(pk=object_id).first() if object_id.isdigit() else None

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where an account is created together with its contact."""
        return HttpResponseRedirect(reverse(self.add_url_name))

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> tuple[str, ...]:
        """Keep the currency once something was sold in it: prices and invoices do not follow."""
        if obj is None:
            return ("created_at",)
        if not hasattr(obj, "is_sold"):  # Django asks several times a page
            is_sold = obj.subscriptions.exists() or obj.invoiced_subscriptions.exists()
            setattr(obj, "is_sold", is_sold)  # noqa: B010 - a note on this object, not a field of it
        return ("currency", "created_at") if getattr(obj, "is_sold", False) else ("created_at",)

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Leave out the contacts: of all there are, only the account's own may be chosen."""
        return [name for name in super().get_autocomplete_fields(request) if name not in CONTACT_FIELDS]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the account's own contacts as bill-to and sold-to."""
        if db_field.name in CONTACT_FIELDS:
            match = request.resolver_match
            account = (match.kwargs.get("object_id", "") if match else "").partition("/")[0]
            kwargs["queryset"] = Contact.objects.filter(account_id=int(account) if account.isdigit() else 0)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


def _overview(account: Account) -> dict[str, Any]:
    posted = account.invoices.filter(status="Posted").order_by("currency")
    drafts = account.invoices.filter(status="Draft").order_by("currency")
    return {
        "contacts": account.contacts.all()[:20],
        "children": account.children.order_by("number")[:25],
        "recent_invoices": account.invoices.order_by("-id")[:5],
        "subscription_count": account.invoiced_subscriptions.count(),
        "balances": list(posted.values("currency").annotate(amount=Sum("balance"))),
        "drafts": list(drafts.values("currency").annotate(amount=Sum("total"), count=Count("id"))),
    }


@register(Contact, site=site)
class ContactAdmin(ChoosesAccounts):
    """Contacts: bill-to and sold-to people of accounts."""

    form = ContactForm
    list_display = ("name", "email", "account", "city", "country")
    list_select_related = ("account",)
    search_fields = ("name__startswith", "email__startswith")
    search_placeholder = "Name or e-mail begins with"
    autocomplete_fields = ("account",)
    data_fix = False
    fields = ("account", ("name", "email"), ("street", "street_2"), ("postal_code", "city"), ("region", "country"))

    def get_readonly_fields(self, request: HttpRequest, obj: Contact | None = None) -> tuple[str, ...]:
        """Leave a contact with its account: the account may name it as the one who gets the invoices."""
        return ("account",) if obj is not None else ()

    def response_post_save_add(self, request: HttpRequest, obj: Contact) -> HttpResponseRedirect:
        """Return to the account whose contact it is."""
        return HttpResponseRedirect(obj.account.get_absolute_url())

    def response_post_save_change(self, request: HttpRequest, obj: Contact) -> HttpResponseRedirect:
        """Return to the account whose contact it is."""
        return HttpResponseRedirect(obj.account.get_absolute_url())


@register(BillingBatch, site=site)
class BillingBatchAdmin(OperatorAdmin):
    """Billing batches: groups of accounts that are billed together."""

    list_display = ("code", "alias")
    data_fix = False


@register(PaymentTerm, site=site)
class PaymentTermAdmin(OperatorAdmin):
    """Payment terms: when an invoice falls due."""

    list_display = ("name", "kind", "net_days", "cutoff_day", "months", "due_day")
    data_fix = False


@register(NumberSequence, site=site)
class NumberSequenceAdmin(OperatorAdmin):
    """Number sequences: prefix, digits and the next number of each document type."""

    list_display = ("name", "purpose", "next_document")
    data_fix = False

    @display(description="Next number")
    def next_document(self, sequence: NumberSequence) -> str:
        return sequence.format(sequence.next_number)

    def get_readonly_fields(self, request: HttpRequest, obj: NumberSequence | None = None) -> tuple[str, ...]:
        """Keep the counter out of reach once it has given out a number."""
        if obj is not None and obj.next_number != obj.first_number:
            return ("purpose", "first_number", "next_number")
        return ()


@register(InvoiceTemplate, site=site)
class InvoiceTemplateAdmin(OperatorAdmin):
    """Invoice templates: the seller's brand, bank and texts; every change makes a new version."""

    list_display = ("name", "version", "is_default", "legal_name")
    data_fix = False
    readonly_fields = ("version",)
    fieldsets = (
        (None, {"fields": ("name", "is_default", "version", "page_size", "colour", "logo", "explain_amounts")}),
        ("Seller", {"fields": ("legal_name", "address", "country", "vat_id", "register", "email", "website", "phone")}),
        ("Bank", {"fields": ("bank_name", "iban", "bic")}),
        ("Texts", {"fields": ("footer", "late_payment_note", "email_subject", "email_text")}),
    )


class KeptAsWritten(OperatorAdmin):
    """Records that are a history: shown, never added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@register(InvoiceTemplateVersion, site=site)
class InvoiceTemplateVersionAdmin(KeptAsWritten):
    """What invoice templates said over time."""

    list_display = ("template", "version", "created_at")
    list_select_related = ("template",)


@register(ApiToken, site=site)
class ApiTokenAdmin(KeptAsWritten):
    """API tokens: issued and revoked on pages of their own, never changed; their hash is shown nowhere."""

    object_page = True
    object_template = "accounts/token.html"
    list_display = ("name", "prefix", "scopes", "created_by", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("created_by",)
    search_fields = ("name__startswith", "prefix__startswith")
    search_placeholder = "Name or token begins with"
    export_fields = (
        "name",
        "prefix",
        "scopes",
        ("created_by", "created_by__username"),
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    fields = list_display
    readonly_fields = list_display
    empty_text = "No API tokens yet. A program that reads billing data or sends usage signs in with one."
    add_url_name = "admin:accounts_apitoken_new"

    def list_links(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Lead to what a token is good for."""
        return [("API documentation", reverse("api_docs"))]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let those issue tokens who were given the right."""
        return request.user.has_perm("accounts.add_apitoken")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Lead to the page where a token is issued."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(reverse(self.add_url_name))

    def object_context(self, request: HttpRequest, obj: ApiToken, tab: str) -> dict[str, Any]:
        """Return the facts of a token without its hash, and where it is revoked."""
        may_revoke = obj.revoked_at is None and request.user.has_perm("accounts.change_apitoken")
        return {
            "facts": facts_of(obj, *self.list_display),
            "revoke_url": reverse("admin:accounts_apitoken_revoke", args=[obj.pk]) if may_revoke else "",
        }


@register(LogEntry, site=site)
class ActivityAdmin(KeptAsWritten):
    """Who did what: data fixes with their reason, and the actions of operators."""

    noun, nouns = "entry", "activity"
    list_display = ("action_time", "user", "object_repr", "change_text")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr__startswith",)
    search_placeholder = "Record begins with"
    export_fields = ("action_time", ("user", "user__username"), "object_repr", "change_message")
    fields = ("action_time", "user", "content_type", "object_repr", "change_text", "reason")
    readonly_fields = ("change_text", "reason")
    empty_text = "Nobody has done anything by hand yet."

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let those read it who look after the users, besides those who were given the right."""
        return may_read_activity(request.user)

    @display(description="What")
    def change_text(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()

    @display(description="Reason")
    def reason(self, entry: LogEntry) -> str:
        return fix_details(entry).get("reason", "")


def may_read_activity(user: Any) -> bool:
    """Tell whether a user may read what everybody did."""
    return user.has_perm("admin.view_logentry") or user.has_perm("auth.view_user")


@register(CustomField, site=site)
class CustomFieldAdmin(OperatorAdmin):
    """Custom fields that operators define."""

    list_display = ("label", "entity", "name", "kind", "required")
    data_fix = False


@register(User, site=site)
class OperatorUserAdmin(OperatorAdmin, UserAdmin):
    """People who may log in."""

    data_fix = False
    list_filter = ()


@register(Group, site=site)
class RoleAdmin(OperatorAdmin, GroupAdmin):
    """Roles: viewer, operator, approver, admin and your own."""

    noun, nouns = "role", "roles"
    data_fix = False


def find_accounts(query: str, _user: Any) -> Iterable[tuple[str, str]]:
    """Yield the accounts whose number or name begins with the query, for the palette."""
    for account in views.matching_accounts(query)[:8]:
        yield str(account), account.get_absolute_url()


site.register_page(
    "accounts/account/new/", views.new_account, "accounts_account_new", permission="accounts.add_account"
)
site.register_page(
    "accounts/account/suggest/",
    views.suggest_accounts,
    "accounts_account_suggest",
    permission="accounts.view_account",
)
site.register_page(
    "accounts/contact/<int:pk>/choose/",
    views.choose_contact,
    "accounts_contact_choose",
    permission="accounts.change_account",
)
site.register_page(
    "accounts/apitoken/new/", token_views.new_token, "accounts_apitoken_new", permission="accounts.add_apitoken"
)
site.register_page(
    "accounts/apitoken/<int:pk>/revoke/",
    token_views.revoke,
    "accounts_apitoken_revoke",
    permission="accounts.change_apitoken",
)
site.add_command("New account", "admin:accounts_account_new", "accounts.add_account")
site.add_search("Accounts", find_accounts, "accounts.view_account")
site.add_navigation(
    "Customers", "Accounts", "admin:accounts_account_changelist", "account", "accounts.view_account", order=10
)
site.add_navigation(
    "Customers",
    "Billing batches",
    "admin:accounts_billingbatch_changelist",
    "batch",
    "accounts.view_billingbatch",
    order=40,
)
site.add_navigation(
    "Administration",
    "Payment terms",
    "admin:accounts_paymentterm_changelist",
    "term",
    "accounts.view_paymentterm",
    order=20,
)
site.add_navigation(
    "Administration",
    "Invoice templates",
    "admin:accounts_invoicetemplate_changelist",
    "template",
    "accounts.view_invoicetemplate",
    order=30,
)
site.add_navigation(
    "Administration",
    "Number sequences",
    "admin:accounts_numbersequence_changelist",
    "sequence",
    "accounts.view_numbersequence",
    order=40,
)
site.add_navigation(
    "Administration", "API tokens", "admin:accounts_apitoken_changelist", "token", "accounts.view_apitoken", order=45
)
site.add_navigation("Administration", "Users", "admin:auth_user_changelist", "user", "auth.view_user", order=50)
site.add_navigation("Administration", "Roles", "admin:auth_group_changelist", "role", "auth.view_group", order=60)
site.add_navigation(
    "Administration", "Activity", "admin:admin_logentry_changelist", "activity", may_read_activity, order=70
)
site.add_navigation("Administration", "All records", "admin:records", "records", None, order=80)
