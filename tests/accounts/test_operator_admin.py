"""The operators' site: sidebar, palette, lists, object pages, and data fixes that the database may refuse."""

import re
from datetime import date

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import URLPattern

from accounts import paging
from accounts.data_fixes import fix_details
from accounts.list_filters import Chip, address, chip_view, tab_links
from accounts.models import Account, PaymentTerm
from accounts.operator_admin import OperatorAdmin, site
from accounts.operator_site import OperatorSite
from accounts.paging import CappedPaginator, keyset_page
from tests.factories import acme, globex

pytestmark = pytest.mark.django_db

# What the content security policy would block.
INLINE = re.compile(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=\"")


def admin_of(model: type[Model]) -> OperatorAdmin:
    """Return the admin that serves a model."""
    found = site.get_model_admin(model)
    assert isinstance(found, OperatorAdmin)
    return found


@pytest.fixture
def maria(client):
    """Maria may do everything; `maria` is her browser."""
    client.force_login(User.objects.create_superuser("maria", "maria@seller.example", "secret"))
    return client


@pytest.fixture
def vera(client):
    """Vera may only look; `vera` is her browser."""
    user = User.objects.create_user("vera", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


@pytest.fixture(autouse=True)
def _today(fixed_today):
    return fixed_today


def page_of(response):
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def list_url():
    return admin_of(Account).url_to("changelist")


def change_url(account):
    return admin_of(Account).url_to("change", account.pk)


def form_data(browser, url, **changes):
    """Return what the form at `url` would send if nothing but `changes` was typed in."""
    form = browser.get(url).context["adminform"].form
    sent = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    sent = {name: getattr(value, "pk", value) for name, value in sent.items()}
    sent = {name: ",".join(value) if isinstance(value, list) else value for name, value in sent.items()}
    text = {name: "{}" if value == {} else value for name, value in sent.items() if value not in (None, False)}
    text |= {
        f"initial-{name}": text[name]
        for name, field in form.fields.items()
        if field.show_hidden_initial and name in text
    }
    return {**text, **changes}


# The frame -----------------------------------------------------------------------------------------------------------


def request_of(user, path="/"):
    request = RequestFactory().get(path)
    request.user = user
    return request


def test_the_sidebar_shows_what_the_user_may_open_and_where_they_are():
    own = OperatorSite(name="admin")
    own.add_navigation("", "Dashboard", "admin:index", "dashboard")
    own.add_navigation("Customers", "Accounts", "admin:accounts_account_changelist", "account", "accounts.view_account")
    own.add_navigation("Administration", "Roles", "admin:auth_group_changelist", "role", "auth.view_group")
    user = User.objects.create_user("vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_account"))
    groups = own.navigation(request_of(user, f"{list_url()}17/change/"))
    assert [(group.label, [link.label for link in group.links]) for group in groups] == [
        ("", ["Dashboard"]),
        ("Customers", ["Accounts"]),
    ]
    assert [link.is_current for group in groups for link in group.links] == [False, True]


def test_an_unknown_sidebar_group_is_refused():
    with pytest.raises(ValueError, match="Unknown navigation group"):
        OperatorSite().add_navigation("Billling", "Accounts", "admin:index", "account")


def test_pages_carry_no_inline_style_or_script(maria):
    account = acme()
    for url in ("/", list_url(), change_url(account), admin_of(Account).url_to("add"), "/records/"):
        page = page_of(maria.get(url, follow=True))
        assert not INLINE.search(page), url
        assert "http://" not in page.replace("http://www.w3.org", ""), url


def test_a_page_without_permission_is_refused_in_words(vera):
    own = OperatorSite(name="admin")
    own.register_page("secret/", lambda request: HttpResponse("secret"), "secret", permission="accounts.add_account")
    view = next(found.callback for found in own.get_urls() if isinstance(found, URLPattern) and found.name == "secret")
    assert view is not None
    request = request_of(User.objects.get(username="vera"))
    with pytest.raises(PermissionDenied, match=r"accounts\.add_account"):
        view(request)


def test_the_palette_finds_records_by_prefix_and_pages_by_name(maria):
    account = acme()
    found = page_of(maria.get("/palette/", {"q": account.number[:4]}, headers={"HX-Request": "true"}))
    assert account.name in found
    assert "<html" not in found
    assert "Payment terms" in page_of(maria.get("/palette/", {"q": "payment"}))


def test_status_bar_speaks_once_and_then_only_when_something_changed(maria, monkeypatch):
    monkeypatch.setattr(site, "_alarms", [lambda: "Background workers are not running"])
    first = page_of(maria.get("/status/"))
    assert "Background workers are not running" in first
    seen = re.search(r"seen=(\w+)", first)
    assert seen is not None
    assert maria.get("/status/", {"seen": seen[1]}).status_code == 204


def test_nobody_logs_in_to_a_piece_of_a_page(client):
    assert client.get("/login/", {"next": "/status/?seen=1"}).url == "/login/"
    assert client.get("/login/", {"next": "/accounts/account/"}).status_code == 200


# Lists ---------------------------------------------------------------------------------------------------------------


def test_counting_stops_at_the_limit(monkeypatch):
    monkeypatch.setattr(paging, "COUNT_LIMIT", 3)
    PaymentTerm.objects.bulk_create([PaymentTerm(name=f"Term {i}") for i in range(5)])
    paginator = CappedPaginator(PaymentTerm.objects.order_by("pk"), 2)
    assert paginator.count == 4
    assert paginator.count_text == "3+"
    assert paginator.is_capped


def test_pages_by_key_follow_each_other_without_gap():
    PaymentTerm.objects.all().delete()
    PaymentTerm.objects.bulk_create([PaymentTerm(name=f"Term {i}") for i in range(5)])
    first = keyset_page(PaymentTerm.objects.all(), size=3, key="name")
    second = keyset_page(PaymentTerm.objects.all(), size=3, key="name", after=first.next_key)
    assert [term.name for term in [*first.rows, *second.rows]] == [f"Term {i}" for i in range(5)]
    assert (first.is_first, second.is_first, second.next_key) == (True, False, None)


def test_rows_lead_to_the_object_page(maria):
    account = acme()
    assert f'href="{account.get_absolute_url()}"' in page_of(maria.get(list_url()))


def test_a_list_costs_few_queries_whatever_its_length(maria, django_assert_max_num_queries):
    acme()
    globex()
    with django_assert_max_num_queries(8):
        maria.get(list_url())


def test_the_first_visit_says_how_to_begin(maria):
    page = page_of(maria.get(list_url()))
    assert "An account is a customer you bill." in page
    assert "New account" in page


def test_nothing_matching_names_the_filters(maria):
    acme()
    page = page_of(maria.get(list_url(), {"q": "zzz", "status": "Active"}))
    assert "No accounts match Status: Active, “zzz”." in page
    assert "Clear filters" in page


def test_empty_filters_are_ignored_and_bad_ones_explained(maria):
    acme()
    assert "Acme" in page_of(maria.get(list_url(), {"currency__exact": " ", "status": ""}))
    assert "could not be understood" in page_of(maria.get(list_url(), {"nonsense": "1"}, follow=True))


def test_a_page_number_beyond_the_end_shows_the_last_page(maria):
    acme()
    assert "Acme" in page_of(maria.get(list_url(), {"p": "999"}))


def test_the_current_tab_is_the_most_specific_one(rf):
    tabs: list[tuple[str, dict[str, object]]] = [
        ("All", {}),
        ("Draft", {"status": "Draft"}),
        ("Due", {"status": "Posted", "due__lt": lambda: date(2026, 7, 15)}),
    ]
    links = list(tab_links(rf.get("/", {"status": "Posted", "due__lt": "2026-07-15", "q": "a"}).GET, tabs))
    assert [link.label for link in links if link.is_current] == ["Due"]
    assert links[1].url == "?q=a&status=Draft"


def test_a_link_starts_again_at_the_first_page(rf):
    assert address(rf.get("/", {"p": "7", "e": "1", "q": "a"}).GET, add={"status": "Draft"}) == "?q=a&status=Draft"


def test_a_chip_never_asks_the_table_which_values_occur(rf):
    with pytest.raises(ValueError, match="needs choices"):
        chip_view(rf.get("/"), Account, Chip("name"))


def test_csv_holds_the_filtered_rows_with_raw_values(maria):
    wanted, other = acme(), globex()
    response = maria.get(admin_of(Account).url_to("export"), {"currency__exact": wanted.currency})
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[0].startswith("number,name,status,currency")
    assert [line.split(",")[0] for line in lines[1:]] == [wanted.number]
    assert other.number not in "".join(lines)
    assert 'filename="accounts-2026-07-15.csv"' in response["Content-Disposition"]


# What a role may see -------------------------------------------------------------------------------------------------


def test_a_viewer_sees_no_buttons_that_change_anything(vera):
    account = acme()
    assert "New account" not in page_of(vera.get(list_url()))
    form = page_of(vera.get(change_url(account)))
    assert 'name="_save"' not in form
    assert "Data fix" not in form
    assert "Edit record" not in page_of(vera.get(account.get_absolute_url()))
    assert vera.post(change_url(account), {"name": "Other"}).status_code == 403


# Data fixes ----------------------------------------------------------------------------------------------------------


def test_a_data_fix_needs_a_reason(maria):
    account = acme()
    page = page_of(maria.post(change_url(account), form_data(maria, change_url(account), name="Other")))
    assert "Write down why this record is changed by hand." in page
    account.refresh_from_db()
    assert account.name != "Other"


def test_a_data_fix_is_logged_with_reason_and_values(maria):
    account = acme()
    before = account.name
    data = form_data(maria, change_url(account), name="Other Ltd", fix_reason="Renamed by court")
    response = maria.post(change_url(account), data)
    assert response.url == account.get_absolute_url()
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed Name."
    assert fix_details(entry) == {"reason": "Renamed by court", "values": {"name": [before, "Other Ltd"]}}
    history = page_of(maria.get(admin_of(Account).url_to("history", account.pk)))
    assert "Renamed by court" in history


def test_a_form_opened_on_an_older_state_is_refused(maria):
    account = acme()
    data = form_data(maria, change_url(account), name="Mine", fix_reason="why not")
    Account.objects.filter(pk=account.pk).update(vat_id="DE123")
    assert "Somebody changed this record" in page_of(maria.post(change_url(account), data))
    account.refresh_from_db()
    assert account.name != "Mine"


def test_what_a_trigger_refuses_becomes_an_error_on_the_form(maria):
    account = acme()
    data = form_data(maria, change_url(account), bill_cycle_day="0", fix_reason="try")
    page = page_of(maria.post(change_url(account), data))
    assert "cannot return to automatic. Nothing was changed." in page
    assert not LogEntry.objects.exists()
    account.refresh_from_db()
    assert account.bill_cycle_day == 1


def test_configuration_is_saved_without_a_reason(maria):
    term = PaymentTerm.objects.create(name="Net 77", net_days=77)
    url = admin_of(PaymentTerm).url_to("change", term.pk)
    data = form_data(maria, url, net_days="78")
    assert maria.post(url, data).status_code == 302
    term.refresh_from_db()
    assert term.net_days == 78


def test_a_locked_record_has_neither_form_nor_delete_button(maria, monkeypatch):
    account = acme()
    monkeypatch.setattr(type(admin_of(Account)), "is_locked", lambda self, obj: True)
    page = page_of(maria.get(change_url(account)))
    assert "is final and cannot be changed" in page
    assert 'name="_save"' not in page
    assert maria.post(change_url(account), {"name": "Other"}).status_code == 403
    assert maria.get(admin_of(Account).url_to("delete", account.pk)).status_code == 403


def test_deleting_needs_a_reason_and_is_logged(maria):
    term = PaymentTerm.objects.create(name="Net 77")
    url = admin_of(PaymentTerm).url_to("delete", term.pk)
    maria.post(url, {"post": "yes"})
    assert PaymentTerm.objects.filter(pk=term.pk).exists()
    maria.post(url, {"post": "yes", "reason": "never used"})
    assert not PaymentTerm.objects.filter(pk=term.pk).exists()
    assert fix_details(LogEntry.objects.get())["reason"] == "never used"


def test_deleting_names_what_still_needs_the_record(maria):
    account = acme()
    page = page_of(maria.get(admin_of(PaymentTerm).url_to("delete", account.payment_term_id)))
    assert "these records still need it" in page
    assert account.name in page


def test_a_user_can_be_added_with_a_password(maria):
    data = {
        "username": "otto",
        "usable_password": "true",
        "password1": "long-Enough-7-words",
        "password2": "long-Enough-7-words",
    }
    response = maria.post(admin_of(User).url_to("add"), data)
    assert response.status_code == 302
    assert User.objects.get(username="otto").check_password("long-Enough-7-words")


def test_delete_selected_is_not_offered(rf):
    request = request_of(User.objects.create_superuser("maria"))
    assert "delete_selected" not in admin_of(Group).get_actions(request)


def test_every_model_page_is_an_operator_page():
    assert [model for model, admin in site._registry.items() if not isinstance(admin, OperatorAdmin)] == []


@pytest.mark.parametrize("model", site._registry, ids=lambda model: model._meta.label_lower)
def test_every_list_and_form_opens_without_inline_style_or_script(maria, rf, model):
    admin = admin_of(model)
    may_add = admin.has_add_permission(request_of(User.objects.get(username="maria")))
    for url in [admin.url_to("changelist"), *([admin.url_to("add")] if may_add else [])]:
        response = maria.get(url, follow=True)
        assert not INLINE.search(page_of(response)), url
