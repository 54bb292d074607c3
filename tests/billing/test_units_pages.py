"""Units of measure in the operators' site: kept by approvers, explained, and never taken from charges that name them."""

import re
from html import unescape

import pytest
from django.db import IntegrityError, transaction

from billing.models import ProductRatePlanCharge, RatePlanCharge, UnitOfMeasure
from tests.factories import acme, plan, seats, subscribe, unit, used, user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed_today")]
LIST = "/billing/unitofmeasure/"


@pytest.fixture
def aiko(client):
    """Aiko approves; `aiko` is her browser."""
    client.force_login(user("approver"))
    return client


@pytest.fixture
def adele(client):
    """Adele is an administrator; `adele` is her browser."""
    client.force_login(user("admin"))
    return client


@pytest.fixture
def gigabyte():
    """GB, named by one charge of the catalogue and two of subscriptions; seats are counted in GB, too, but not used."""
    metered = plan("Metered", used(), seats("Backup", unit="GB"))
    customer = acme()
    subscribe(customer, metered, "2026-07-01")
    subscribe(customer, metered, "2026-07-01")
    return UnitOfMeasure.objects.get(name="GB")


def words(response, status=200):
    assert response.status_code == status, response.content[:2000]
    return " ".join(unescape(re.sub("<[^>]+>", " ", response.content.decode())).split())


def page_of(found, name="change"):
    return f"{LIST}{found.pk}/{name}/"


def test_a_unit_is_added_and_says_how_it_rounds(aiko):
    assert "No units of measure yet." in words(aiko.get(LIST))
    response = aiko.post(f"{LIST}add/", {"name": "API call", "decimals": "0", "rounding": "Down"})
    made = UnitOfMeasure.objects.get()
    assert response.url == made.get_absolute_url()
    page = words(aiko.get(made.get_absolute_url()))
    assert "12.3456789012 API call used in a period are billed as 12 API call." in page
    assert "whole numbers, rounded down" in page
    assert "No charge counts in it yet." in page


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"decimals": "10"}, "less than or equal to 9"),
        ({"decimals": "-1"}, "greater than or equal to 0"),
        ({"rounding": "HalfUp"}, "is not one of the available choices"),
        ({"name": "GB"}, "already exists"),
        ({"name": "G\nB\x00"}, "Null characters are not allowed."),
    ],
)
def test_what_is_no_unit_is_refused(aiko, sent, said):
    unit("GB")
    form = {"name": "Hour", "decimals": "2", "rounding": "Up", **sent}
    assert said in words(aiko.post(f"{LIST}add/", form))
    assert UnitOfMeasure.objects.count() == 1


def test_the_list_counts_the_charges_of_each_unit(aiko, gigabyte, django_assert_max_num_queries):
    unit("Hour")
    with django_assert_max_num_queries(12):
        page = words(aiko.get(LIST))
    assert re.search(r"GB 2 Up 1 2 ", page)
    assert re.search(r"Hour 2 Up 0 0 ", page)
    assert "Storage" in words(aiko.get(gigabyte.get_absolute_url()))


def test_changing_a_unit_in_use_explains_what_changes(aiko, gigabyte):
    who = "1 charge of the catalogue and 2 charges of subscriptions count"
    page = words(aiko.get(page_of(gigabyte)))
    assert f"{who} usage in GB, so its name stays." in page
    assert "What was billed and rated stays as it is." in page
    assert 'name="name"' not in aiko.get(page_of(gigabyte)).content.decode()
    response = aiko.post(page_of(gigabyte), {"name": "Gigabyte", "decimals": "3", "rounding": "Up"}, follow=True)
    assert f"{who} in GB. What was billed and rated stays as it is." in words(response)
    gigabyte.refresh_from_db()
    assert (gigabyte.name, gigabyte.decimals) == ("GB", 3)


def test_a_unit_that_nothing_counts_in_can_be_renamed_and_deleted(adele):
    hour = unit("Hour")
    adele.post(page_of(hour), {"name": "Minute", "decimals": "0", "rounding": "Up"})
    hour.refresh_from_db()
    assert hour.name == "Minute"
    adele.post(page_of(hour, "delete"), {"post": "yes", "reason": "Not used"})
    assert not UnitOfMeasure.objects.exists()


def test_a_unit_that_charges_name_is_not_deleted_and_the_page_says_why(adele, gigabyte):
    page = words(adele.get(page_of(gigabyte, "delete")))
    assert "Catalogue charge: Platform · Metered · Storage" in page
    adele.post(page_of(gigabyte, "delete"), {"post": "yes", "reason": "Tidying up"})
    assert UnitOfMeasure.objects.filter(name="GB").exists()


@pytest.mark.parametrize("model", [ProductRatePlanCharge, RatePlanCharge])
def test_the_database_keeps_the_unit_of_either_kind_of_charge(gigabyte, model):
    other = unit("TB")
    (RatePlanCharge if model is ProductRatePlanCharge else ProductRatePlanCharge).objects.filter(unit="GB").update(
        unit="TB"
    )
    for change in (
        lambda: UnitOfMeasure.objects.filter(name="GB").delete(),
        lambda: UnitOfMeasure.objects.filter(name="GB").update(name="Gigabyte"),
        lambda: model.objects.filter(charge_type="Usage").update(unit="Nothing"),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    model.objects.filter(unit="GB").update(unit=other.name)
    UnitOfMeasure.objects.filter(name="GB").delete()


def test_an_operator_looks_but_does_not_change(client, gigabyte):
    client.force_login(user("operator"))
    assert "Edit record" not in words(client.get(gigabyte.get_absolute_url()))
    assert client.post(page_of(gigabyte), {"decimals": "1", "rounding": "Up"}).status_code == 403
    assert client.get(f"{LIST}add/").status_code == 403
