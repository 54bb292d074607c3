"""Turns the frozen snapshot of an invoice into a PDF, byte for byte the same each time.

The snapshot is a plain dictionary (format version 1) stored when the invoice is posted; nothing here reads the
database, the clock or the network. The walk: *snapshot → cleaned → words (`_document`) → HTML → PDF*.
"""

import base64
import binascii
import gc
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import copy
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval
from babel.numbers import NumberPattern
from django.template.loader import get_template
from django.utils import translation
from PIL import Image

from invoicing.payment_code import is_iban, payment_code

# WeasyPrint loads Pango when it is imported. A machine without Pango must still bill, post and show pages, so the
# failure is kept and told when a PDF is asked for. WeasyPrint also prints advice, which would spoil `--json` output.
try:
    with redirect_stdout(io.StringIO()):
        import weasyprint
        from weasyprint.text.fonts import FontConfiguration
        from weasyprint.urls import URLFetcher, URLFetcherResponse
except OSError as error:
    MISSING_LIBRARIES = str(error)
    URLFetcher = URLFetcherResponse = FontConfiguration = object
else:
    MISSING_LIBRARIES = ""

SNAPSHOT_VERSION = 1
PAGE_SIZES = ("A4", "Letter")
UNIT_PRICE_DIGITS = 6  # at most; at least those of the currency
# Longer texts are cut, so that one field can never fill pages; in characters.
TEXT_LENGTH = 160
LONGER_TEXTS = {"description": 2_000, "note": 2_000, "text_notes": 2_000, "late_payment_note": 2_000, "footer": 400}
LONGER_TEXTS |= {"words": 1_000, "working": 1_000, "what": 200}
LOGO_BYTES = 1_000_000
LOGO_PIXELS = 4_000_000
MINUS = "\N{MINUS SIGN}"
DEFAULT_COLOUR = "#4338ca"

_FONTS = Path(__file__).parent / "fonts" / "fonts.conf"
_TOO_LARGE = Decimal(10) ** 15
_FIRST_UNDRAWN = "\u0530"  # the fonts hold Latin, Greek and Cyrillic letters
_LETTER_BEFORE_FIGURE = re.compile(r"(?<=[^\W\d_])(?=\d)")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_RASTER = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,", re.ASCII)
# Control characters, halves of surrogate pairs and switches of the writing direction: they have no shape on paper,
# but break the encoder or turn the amounts beside them around.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

_rendering = Lock()  # Pango's font map may be used by one thread at a time


class RenderingUnavailable(Exception):  # noqa: N818 – a state of the machine, not a mistake
    """PDFs cannot be made on this machine; the message says what to install."""


class SnapshotError(ValueError):
    """The snapshot is not one this module can read; the message names the field."""


class RenderedDocument(NamedTuple):
    """A finished PDF: its bytes, their SHA-256 in hexadecimal and the number of pages."""

    content: bytes
    sha256: str
    pages: int


def render_pdf(snapshot: Mapping[str, Any], *, draft: bool) -> RenderedDocument:
    """Render a snapshot of format version 1; a draft bears a watermark and no payment code without a number."""
    require_libraries()
    cleaned = _clean(snapshot)
    html = _html(cleaned, draft=draft)
    return _write(html, page_size=cleaned["page_size"])


def prepare_worker() -> None:
    """Load fonts, styles and templates once, then exempt them from garbage collection; for a pool's initializer."""
    require_libraries()
    _machinery()
    get_template("pdf/invoice.html")
    gc.collect()
    gc.freeze()


def require_libraries() -> None:
    """Raise RenderingUnavailable when the system libraries that draw text are missing."""
    if MISSING_LIBRARIES:
        raise RenderingUnavailable(
            "PDF rendering needs the system libraries Pango, HarfBuzz and Fontconfig, and one of them could not be "
            "loaded. On Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 libfontconfig1. "
            f"The loader said: {MISSING_LIBRARIES}"
        )


# --- from HTML to PDF ------------------------------------------------------------------------------------------------


class RasterOnlyFetcher(URLFetcher):
    """Hands out pictures written into the document itself, and nothing from disk or network."""

    def __init__(self) -> None:
        super().__init__(allowed_protocols={"data"}, allow_redirects=False)

    def fetch(self, url: str, headers: Mapping[str, str] | None = None) -> "URLFetcherResponse":
        """Decode a data URI of a raster picture; anything else is refused before it is opened."""
        match = _RASTER.match(url)
        if not match:
            raise ValueError("only pictures within the document may be shown")
        media_type = match[0].removeprefix("data:").removesuffix(";base64,")
        return URLFetcherResponse(url, base64.b64decode(url[match.end() :]), {"Content-Type": media_type})


class _Machinery(NamedTuple):
    fetcher: RasterOnlyFetcher
    fonts: Any
    styles: Mapping[str, list[Any]]  # page size → parsed style sheets


@cache
def _machinery() -> _Machinery:
    # What costs time and does not depend on the document: made once a process.
    fetcher = RasterOnlyFetcher()
    with _own_fonts():
        fonts = FontConfiguration()

    def parse(css: str) -> Any:
        return weasyprint.CSS(string=css, font_config=fonts, url_fetcher=fetcher)

    look = parse(get_template("pdf/invoice.css").render())
    styles = {size: [look, parse("@page { size: %s }" % size)] for size in PAGE_SIZES}  # noqa: UP031 – CSS has braces
    return _Machinery(fetcher, fonts, styles)


@contextmanager
def _own_fonts() -> Iterator[None]:
    # Fontconfig reads the variable when a configuration is made. It is put back at once: a browser or another
    # library started from this process must not inherit it.
    before = os.environ.get("FONTCONFIG_FILE")
    os.environ["FONTCONFIG_FILE"] = str(_FONTS)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FONTCONFIG_FILE"]
        else:
            os.environ["FONTCONFIG_FILE"] = before


@contextmanager
def _garbage_collected_once() -> Iterator[None]:
    # Layout makes a hundred thousand objects that all live until the end: looking through them for garbage on the
    # way is wasted. Afterwards one collection of the young generations frees the cyclic trees of this document; a
    # full one, even every few documents, costs more than it brings back.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(1)
        if was_enabled:
            gc.enable()


def _write(html: str, *, page_size: str) -> RenderedDocument:
    with _rendering, _garbage_collected_once():
        machinery = _machinery()
        source = weasyprint.HTML(string=html, url_fetcher=machinery.fetcher)
        document = source.render(font_config=machinery.fonts, stylesheets=machinery.styles[page_size], pdf_tags=True)
        content = document.write_pdf(pdf_tags=True)
        pages = len(document.pages)
        del document, source
    return RenderedDocument(content, hashlib.sha256(content).hexdigest(), pages)


# --- from snapshot to HTML -------------------------------------------------------------------------------------------


def _clean(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    if snapshot.get("version") != SNAPSHOT_VERSION:
        raise SnapshotError(f"version: {snapshot.get('version')!r} is not {SNAPSHOT_VERSION}")
    if snapshot.get("page_size") not in PAGE_SIZES:
        raise SnapshotError(f"page_size: {snapshot.get('page_size')!r} is none of {', '.join(PAGE_SIZES)}")
    seller = snapshot["seller"]
    cleaned: dict[str, Any] = _printable({**snapshot, "seller": {**seller, "logo": ""}})
    cleaned["seller"]["logo"] = usable_logo(seller["logo"])
    return cleaned


def _printable(value: Any, limit: int = TEXT_LENGTH) -> Any:
    if isinstance(value, str):
        text = _UNPRINTABLE.sub("", value)
        return text if len(text) <= limit else text[: limit - 1] + "…"
    if isinstance(value, Mapping):
        return {key: _printable(inner, LONGER_TEXTS.get(key, TEXT_LENGTH)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(inner, limit) for inner in value]
    return value


def usable_logo(uri: str) -> str:
    """Return the data URI if it holds a raster picture of sane size, else "" (the seller's name is printed then)."""
    match = _RASTER.match(uri)
    if not match or len(uri) > LOGO_BYTES * 4 // 3:
        return ""
    try:
        with Image.open(io.BytesIO(base64.b64decode(uri[match.end() :], validate=True))) as picture:
            width, height = picture.size
            if width * height > LOGO_PIXELS:
                return ""
            picture.load()
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        return ""
    return uri


def _html(snapshot: Mapping[str, Any], *, draft: bool) -> str:
    if not (draft or snapshot["number"]):
        raise SnapshotError("number: only a draft may be printed without one")
    writing = _Writing.of(snapshot)
    language = str(writing.numbers).replace("_", "-")
    with translation.override(language_tag(language)):
        return get_template("pdf/invoice.html").render(_document(snapshot, writing, language=language, draft=draft))


class _Writing(NamedTuple):
    # How numbers and dates of one document are written.
    numbers: Locale
    dates: Locale
    currency: str
    amount: NumberPattern
    unit_price: NumberPattern
    quantity: NumberPattern
    digits: int

    @classmethod
    def of(cls, snapshot: Mapping[str, Any]) -> "_Writing":
        locale = _locale(snapshot["language"])
        # Plain English on A4 is read outside North America, where the day comes first.
        day_first = str(locale) == "en" and snapshot["page_size"] == "A4"
        digits = int(snapshot["digits"])
        money = locale.currency_formats["standard"]
        return cls(
            numbers=locale,
            dates=Locale("en", "GB") if day_first else locale,
            currency=snapshot["currency"],
            amount=_with_digits(money, digits, digits),
            unit_price=_with_digits(money, digits, max(digits, UNIT_PRICE_DIGITS)),
            quantity=_with_digits(locale.decimal_formats[None], 0, 9),
            digits=digits,
        )

    def money(self, text: str) -> str:
        value = _decimal(text)
        if value != round(value, self.digits):
            raise SnapshotError(f"amount: {text} has more decimal places than {self.currency} ({self.digits})")
        return self._currency(self.amount, value)

    def price(self, text: str | None) -> str:
        return "" if text is None else self._currency(self.unit_price, _decimal(text))

    def number(self, text: str | None) -> str:
        return "" if text is None else self.quantity.apply(_decimal(text), self.numbers).replace("-", MINUS)

    def _currency(self, pattern: NumberPattern, value: Decimal) -> str:
        text = pattern.apply(value, self.numbers, currency=self.currency, currency_digits=False)
        # A symbol made of letters ("BHD") stands apart from the figures.
        return _LETTER_BEFORE_FIGURE.sub("\N{NO-BREAK SPACE}", text).replace("-", MINUS)

    def day(self, iso: str | None) -> str:
        return format_date(date.fromisoformat(iso), "long", self.dates) if iso else ""

    def period(self, bounds: Iterable[str] | None) -> str:
        return _inclusive_period(*bounds, self.dates) if bounds else ""

    def country(self, code: str) -> str:
        return self.numbers.territories.get(code.upper(), code)


def language_tag(language: str) -> str:
    """Return the tag of the language a document is written in: that of the account, or English where it is unknown."""
    return str(_locale(language)).replace("_", "-").lower()


@lru_cache(maxsize=64)
def _locale(language: str) -> Locale:
    # Dates and currencies in letters that our fonts do not have would be unreadable. English can always be drawn.
    try:
        locale = Locale.parse(language.replace("_", "-"), sep="-")
        return locale if max(format_date(date.min, "long", locale)) < _FIRST_UNDRAWN else Locale("en")
    except (ValueError, UnknownLocaleError, TypeError):
        return Locale("en")


def _with_digits(pattern: NumberPattern, least: int, most: int) -> NumberPattern:
    changed = copy(pattern)
    changed.frac_prec = (least, most)
    return changed


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text) if isinstance(text, str) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) >= _TOO_LARGE:
        raise SnapshotError(f"amount: {text!r} is not a decimal number below 10^15 written as text")
    return value


@lru_cache(maxsize=1024)
def _inclusive_period(start: str, end: str, locale: Locale) -> str:
    # Stored half-open, read by people inclusive: [1 Oct, 1 Nov) is 1–31 Oct.
    first = date.fromisoformat(start)
    last = max(first, date.fromisoformat(end) - timedelta(days=1))
    return format_interval(first, last, "yMMMd", locale=locale)


def _document(snapshot: Mapping[str, Any], writing: _Writing, *, language: str, draft: bool) -> dict[str, Any]:
    # Everything the template shows, as finished text; the template holds the words of the document and its order.
    seller, totals, number = snapshot["seller"], snapshot["totals"], snapshot["number"]
    due = _decimal(totals["amount_due"])
    periods = [line["period"] for group in snapshot["groups"] for line in group["lines"] if line["period"]]
    return {
        "language": language,
        "draft": draft,
        "number": number or "",
        "reference": number or snapshot["reference"],
        "seller": seller,
        "colour": seller["colour"] if _COLOUR.fullmatch(seller["colour"]) else DEFAULT_COLOUR,
        "seller_address": _joined(*seller["address"], writing.country(seller["country"])),
        "seller_contact": _joined(seller["email"], seller["website"], seller["phone"]),
        "bill_to": _party(snapshot["bill_to"], snapshot["account"], writing),
        "sold_to": _party(snapshot["sold_to"], snapshot["account"], writing) if snapshot["sold_to"] else None,
        "account": snapshot["account"],
        "issued": snapshot["invoice_date"] or "",
        "invoice_date": writing.day(snapshot["invoice_date"]),
        "due_date": writing.day(snapshot["due_date"]),
        "payment_term": snapshot["payment_term"],
        "purchase_order": snapshot["purchase_order"],
        "currency": writing.currency,
        "service_period": writing.period((min(p[0] for p in periods), max(p[1] for p in periods))) if periods else "",
        "groups": [_group(group, writing) for group in snapshot["groups"]],
        "net": writing.money(totals["net"]),
        "taxes": [
            {**tax, "base": writing.money(tax["base"]), "amount": writing.money(tax["amount"])}
            for tax in totals["taxes"]
        ],
        "total": writing.money(totals["total"]),
        "amount_due": writing.money(totals["amount_due"]),
        "payable": due > 0,
        "payment": _payment(snapshot, due) if due > 0 else None,
        "text_notes": snapshot["text_notes"],
        "appendix": _appendix(snapshot.get("appendix"), writing),
    }


def _appendix(appendix: Mapping[str, Any] | None, writing: _Writing) -> dict[str, Any] | None:
    # Snapshots of templates that do not explain amounts, and older ones, have none.
    if not appendix or not appendix["groups"]:
        return None
    counts = {name: writing.number(str(appendix[name])) for name in ("calculations", "left_out")}
    return {**appendix, **counts, "has_left_out": bool(appendix["left_out"])}


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _party(party: Mapping[str, Any], account: Mapping[str, Any], writing: _Writing) -> dict[str, Any]:
    # A company comes first and the person below it; a private customer has the name alone.
    names = [party.get("company"), party.get("name")]
    first, *others = [name for name in names if name] or [account["name"]]
    lines = [*others, *party["address"], writing.country(party["country"])]
    return {
        "name": first,
        "lines": [line for line in lines if line],
        "vat_id": party.get("vat_id", ""),
        "email": party.get("email", ""),
    }


def _group(group: Mapping[str, Any], writing: _Writing) -> dict[str, Any]:
    return {
        "title": group["title"],
        "subtotal": writing.money(group["subtotal"]),
        "lines": [
            {
                **line,
                "period": writing.period(line["period"]),
                "quantity": writing.number(line["quantity"]),
                "unit_price": writing.price(line["unit_price"]),
                "amount": writing.money(line["amount"]),
            }
            for line in group["lines"]
        ],
    }


def _payment(snapshot: Mapping[str, Any], due: Decimal) -> dict[str, Any] | None:
    # The bank details, with a code to scan once the number that tells what was paid is final.
    bank = snapshot["seller"]["bank"]
    iban = bank["iban"].replace(" ", "")
    if not iban:
        return None
    holder = bank["holder"] or snapshot["seller"]["name"]
    code = ""
    if snapshot["currency"] == "EUR" and snapshot["number"]:
        code = payment_code(name=holder, iban=iban, bic=bank["bic"], amount=due, reference=snapshot["number"])
    grouped = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)) if is_iban(iban) else iban
    return {"bank": bank["name"], "holder": holder, "iban": grouped, "bic": bank["bic"], "code": code}
