"""How values look on pages: money, prices, days, periods, durations, badges and charts."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import translation

from accounts import wording
from accounts.templatetags import ui


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234.5", "USD", "$1,234.50"),
        ("-1234.5", "EUR", "−€1,234.50"),
        ("1200", "JPY", "¥1,200"),
        ("0.5", "KWD", "KWD\xa00.500"),
        ("-0.00", "USD", "$0.00"),
    ],
)
def test_money_carries_symbol_digits_and_a_real_minus(amount, currency, shown):
    assert wording.money(Decimal(amount), currency) == shown


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [("0.0004", "USD", "$0.0004"), ("2400", "USD", "$2,400.00"), ("1.5", "JPY", "¥1.5"), ("-2.125", "EUR", "−€2.125")],
)
def test_a_price_keeps_the_digits_it_has(amount, currency, shown):
    assert wording.unit_price(Decimal(amount), currency) == shown


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (date(2026, 10, 1), date(2026, 11, 1), "1 Oct – 31 Oct 2026"),
        (date(2025, 12, 15), date(2026, 1, 15), "15 Dec 2025 – 14 Jan 2026"),
        (date(2026, 10, 1), date(2026, 10, 2), "1 Oct 2026"),
        (date(2026, 10, 1), None, "from 1 Oct 2026"),
        (None, None, "–"),
    ],
)
def test_a_service_period_is_shown_with_its_last_day(start, end, shown):
    assert wording.service_period(start, end) == shown


@pytest.mark.parametrize(
    ("language", "shown", "period"),
    [
        ("de", "21. Nov. 2026", "1.–31. Okt. 2026"),
        ("fr", "21 nov. 2026", "1–31 oct. 2026"),
        ("ja", "2026年11月21日", "2026年10月1日～31日"),
        ("en-us", "21 Nov 2026", "1 Oct – 31 Oct 2026"),
    ],
)
def test_other_languages_write_dates_in_their_own_order(language, shown, period):
    with translation.override(language):
        assert wording.day(date(2026, 11, 21)) == shown
        assert wording.service_period(date(2026, 10, 1), date(2026, 11, 1)) == period


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (Decimal("0.44"), "0.4 s"),
        (12, "12 s"),
        (147, "2 min 27 s"),
        (3723, "1 h 02 min"),
        (timedelta(minutes=1), "1 min 00 s"),
        (None, "–"),
    ],
)
def test_durations_are_read_at_a_glance(value, shown):
    assert wording.duration(value) == shown


@pytest.mark.parametrize(
    ("status", "css"),
    [
        ("Processing", "badge badge-blue"),
        ("Draft", "badge badge-amber"),
        ("Posted", "badge badge-green"),
        ("Error", "badge badge-red"),
        ("Canceled", "badge"),
        ("nothing we know", "badge"),
    ],
)
def test_a_badge_has_the_colour_of_its_status(status, css):
    assert f'class="{css}"' in ui.badge(status)


def test_a_badge_escapes_its_text():
    assert "<script>" not in ui.badge("<script>")


def test_bars_are_drawn_without_style_or_script():
    drawn = ui.bars([("<b>May</b>", Decimal("50")), ("June", Decimal("100"), Decimal("25"))], "EUR", "Invoiced")
    assert drawn.count("<rect") == 3
    assert 'role="img"' in drawn
    assert "<title>June: €100.00</title>" in drawn
    assert "<title>June: €25.00 in drafts</title>" in drawn
    assert "<b>" not in drawn
    assert "style" not in drawn.replace('class="soft"', "")


def test_bars_of_nothing_say_so():
    assert "nothing yet" in ui.bars([], "USD")
    assert "<rect" not in ui.bars([("May", Decimal(0))], "USD")


def test_filters_can_be_used_in_templates():
    page = Template("{% load ui %}{{ amount|money:currency }} {{ when|day }} {{ amount|num }} {% service_period a b %}")
    shown = page.render(
        Context(
            {
                "amount": Decimal("12000"),
                "currency": "USD",
                "when": date(2026, 11, 21),
                "a": date(2026, 1, 1),
                "b": date(2026, 2, 1),
            }
        )
    )
    assert shown == "$12,000.00 21 Nov 2026 12,000 1 Jan – 31 Jan 2026"
