"""Money, numbers, dates and durations as people read them; the only place that formats values for pages."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from babel.core import Locale
from babel.dates import format_date, format_interval, format_skeleton
from babel.numbers import format_currency, format_decimal, get_currency_precision
from django.utils import timezone
from django.utils.translation import get_language, to_locale

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
DAY_PATTERN = "d MMM y"
# Other languages than English have their own order of day, month and year.
DAY_PARTS = "yMMMd"
CODE_BEFORE_FIGURE = re.compile(r"[A-Za-z](?=\d)")
# Prices may be finer than the currency; amounts never are.
PRICE_DIGITS = 6


def locale() -> str:
    """Return the Babel name of the reader's locale."""
    return to_locale(get_language() or "en")


def money(amount: Decimal | int | None, currency: str) -> str:
    """Return an amount with its currency's symbol and digits: $1,200.00, ¥1,200, −€5.00."""
    if amount is None or amount == "":
        return NOTHING
    return _typeset(format_currency(amount or 0, currency, locale=locale()))


def unit_price(amount: Decimal | None, currency: str) -> str:
    """Return a price with as many digits as it has, at least the currency's: $0.0004."""
    if amount is None or amount == "":
        return NOTHING
    least = get_currency_precision(currency)
    pattern = Locale.parse(locale()).currency_formats["standard"].pattern
    longer = pattern.replace(".00", "." + "0" * least + "#" * PRICE_DIGITS)
    text = format_currency(amount, currency, longer, locale=locale(), currency_digits=False)
    return _typeset(text)


def _typeset(text: str) -> str:
    """Use a real minus, and keep a currency that is written in letters off its figures: CHF 5.00."""
    return CODE_BEFORE_FIGURE.sub("\\g<0>\N{NO-BREAK SPACE}", text).replace("-", MINUS)


def number(value: Decimal | int | None) -> str:
    """Return a count or quantity with separators and without trailing zeros: 12,000 or 1.5."""
    if value is None or value == "":
        return NOTHING
    return format_decimal(value, format="#,##0.##########", locale=locale()).replace("-", MINUS)


def day(value: date | None) -> str:
    """Return a date as 21 Nov 2026, in other languages than English as they write it."""
    if value is None or value == "":
        return NOTHING
    if _is_english():
        return format_date(value, DAY_PATTERN, locale=locale())
    return format_skeleton(DAY_PARTS, value, locale=locale())


def _is_english() -> bool:
    return locale().partition("_")[0] == "en"


def moment(value: datetime | None) -> str:
    """Return a point in time as 21 Nov 2026, 14:02 in the current time zone."""
    if value is None or value == "":
        return NOTHING
    here = timezone.localtime(value) if timezone.is_aware(value) else value
    return f"{day(here.date())}, {here:%H:%M}"


def service_period(start: date | None, end: date | None) -> str:
    """Return the half-open period [start, end) as people read it, last day included: 1 Oct – 31 Oct 2026."""
    if start is None:
        return NOTHING
    if end is None:
        return f"from {day(start)}"
    last = end - timedelta(days=1)
    if last <= start:
        return day(start)
    if not _is_english():
        return format_interval(start, last, DAY_PARTS, locale=locale())
    first = format_date(start, "d MMM", locale=locale()) if start.year == last.year else day(start)
    return f"{first} {NOTHING} {day(last)}"


def duration(value: timedelta | Decimal | int | None) -> str:
    """Return seconds or a timedelta as 2 min 27 s, 1 h 02 min or 0.4 s."""
    if value is None or value == "":
        return NOTHING
    span = value if isinstance(value, timedelta) else timedelta(microseconds=int(value * 1_000_000))
    tenths = round(span / timedelta(milliseconds=100))
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10} s" if tenths % 10 else f"{tenths // 10} s"
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def plain(value: Any) -> str:
    """Return any value as text, an en dash for nothing."""
    return NOTHING if value is None or value == "" else str(value)
