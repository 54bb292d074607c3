"""Currencies: which codes exist, and how many decimal digits their amounts carry, in Python and in SQL alike."""

import pytest
from babel.numbers import get_currency_precision
from django.db import connection

from accounts.currencies import DIGITS_BY_CURRENCY, currency_digits, currency_digits_sql, is_currency

# Babel follows CLDR, which leaves out coins that nobody pays with; invoices follow ISO 4217.
OTHERWISE_IN_CLDR = {"IQD"}


@pytest.mark.parametrize(("code", "digits"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("ISK", 0), ("HUF", 2)])
def test_digits(code, digits):
    assert currency_digits(code) == digits


@pytest.mark.parametrize("code", ["usd", "US", "USDD", "ABC", "", "XX1", "$"])
def test_what_is_no_currency(code):
    assert not is_currency(code)


def test_the_table_agrees_with_babel_where_both_mean_the_same():
    differing = {code for code in DIGITS_BY_CURRENCY if get_currency_precision(code) != currency_digits(code)}
    assert differing == OTHERWISE_IN_CLDR
    assert all(is_currency(code) for code in DIGITS_BY_CURRENCY)


@pytest.mark.django_db
def test_sql_counts_the_same_digits():
    codes = ["USD", "EUR", *DIGITS_BY_CURRENCY]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT c, {currency_digits_sql('c')} FROM unnest(%s::text[]) AS c", [codes])
        assert dict(cursor.fetchall()) == {code: currency_digits(code) for code in codes}
