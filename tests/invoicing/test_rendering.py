"""The invoice PDF: what stands on the paper, that it is the same each time, and that nothing leaks into it."""

import base64
import gc
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import weasyprint
from PIL import Image
from pypdf import PdfReader

from invoicing import rendering
from invoicing.payment_code import is_iban, payment_code, payment_text
from invoicing.rendering import RenderedDocument, RenderingUnavailable, SnapshotError, render_pdf, usable_logo

ROOT = Path(__file__).resolve().parents[2]
IBAN = "DE89370400440532013000"


# --- Snapshots -------------------------------------------------------------------------------------------------------


def invoice_line(description: str, amount: str, **changes: Any) -> dict[str, Any]:
    """Return one line of a snapshot: a month of one unit unless told otherwise."""
    period = ["2026-10-01", "2026-11-01"]
    line = {
        "description": description,
        "period": period,
        "quantity": "1",
        "unit": "",
        "unit_price": amount,
        "amount": amount,
    }
    return {**line, "note": "", **changes}


def sample_snapshot() -> dict[str, Any]:
    """Return a posted invoice of eight lines in two subscriptions that fills one page (format version 1)."""
    platform = [
        invoice_line("Platform · Enterprise plan", "2400.00"),
        invoice_line(
            "Support · Premium", "192.67", unit_price="340", note="17 of 30 days", period=["2026-10-15", "2026-11-01"]
        ),
        invoice_line("Additional seats", "343.00", quantity="14", unit="seat", unit_price="24.5"),
        invoice_line("Volume discount 10 %", "-34.30", quantity=None, unit_price=None),
    ]
    september = ["2026-09-01", "2026-10-01"]
    calls = [
        invoice_line(
            "API calls · tier 1", "40.00", quantity="100000", unit="call", unit_price="0.0004", period=september
        ),
        invoice_line(
            "API calls · tier 2", "27.37", quantity="84210", unit="call", unit_price="0.000325", period=september
        ),
        invoice_line("Data transfer", "108.43", quantity="1204.75", unit="GB", unit_price="0.09", period=september),
        invoice_line("Onboarding workshop", "500.00", period=None),
    ]
    seller = {
        "name": "Northbill GmbH",
        "address": ["Torstr. 1", "10119 Berlin"],
        "country": "DE",
        "vat_id": "DE123456789",
        "register": "Amtsgericht Charlottenburg HRB 123456 B",
        "email": "billing@northbill.example",
        "website": "northbill.example",
        "phone": "+49 30 1234567",
        "bank": {"name": "Musterbank Berlin", "holder": "Northbill GmbH", "iban": IBAN, "bic": "COBADEFFXXX"},
        "colour": "#4338ca",
        "logo": "",
        "footer": "Managing directors: Ada Lovelace, Grace Hopper",
        "late_payment_note": "Amounts unpaid after the due date bear interest at the statutory rate.",
    }
    bill_to = {
        "name": "Accounts payable",
        "company": "Initech Health BV",
        "address": ["Hafenweg 22", "48155 Münster"],
        "country": "DE",
        "vat_id": "DE987654321",
        "email": "ap@initech.example",
    }
    return {
        "version": 1,
        "number": "INV00000001",
        "reference": "DRAFT-12",
        "language": "en",
        "page_size": "A4",
        "currency": "EUR",
        "digits": 2,
        "invoice_date": "2026-11-21",
        "due_date": "2026-12-21",
        "payment_term": "Net 30",
        "purchase_order": "PO-4711",
        "account": {"number": "A00000001", "name": "Initech Health BV", "vat_id": "DE987654321"},
        "seller": seller,
        "bill_to": bill_to,
        "sold_to": None,
        "groups": [
            {"title": "Subscription A-S00000001 · Platform", "lines": platform, "subtotal": "2901.37"},
            {"title": "Subscription A-S00000002 · API", "lines": calls, "subtotal": "675.80"},
        ],
        "totals": {
            "net": "3577.17",
            "taxes": [{"label": "VAT 19%", "base": "3577.17", "amount": "679.66"}],
            "total": "4256.83",
            "amount_due": "4256.83",
        },
        "text_notes": [],
    }


def long_snapshot(*, groups: int, lines: int) -> dict[str, Any]:
    """Return an invoice with so many groups of so many lines each."""
    snapshot = sample_snapshot()
    snapshot["groups"] = [
        {
            "title": f"Subscription S{group}",
            "lines": [invoice_line(f"Service {group}.{line}", "361.50") for line in range(lines)],
            "subtotal": f"{Decimal('361.50') * lines:.2f}",
        }
        for group in range(groups)
    ]
    return snapshot


def with_total(amount: str, **changes: Any) -> dict[str, Any]:
    """Return an invoice of one line, untaxed, over the amount."""
    snapshot = {**sample_snapshot(), **changes}
    snapshot["groups"] = [{"title": "", "lines": [invoice_line("Platform", amount)], "subtotal": amount}]
    snapshot["totals"] = {"net": amount, "taxes": [], "total": amount, "amount_due": amount}
    return snapshot


def picture(kind: str = "png", size: tuple[int, int] = (60, 20)) -> str:
    """Return a plain picture as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", size, "#0f766e").save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def reader(document: RenderedDocument) -> PdfReader:
    return PdfReader(io.BytesIO(document.content))


def pages_of(document: RenderedDocument) -> list[str]:
    """Return the text of each page with runs of blanks made one."""
    return [re.sub(r"\s+", " ", page.extract_text()) for page in reader(document).pages]


def text_of(snapshot: dict[str, Any], *, draft: bool = False) -> str:
    return " ".join(pages_of(render_pdf(snapshot, draft=draft)))


# --- What stands on the paper ----------------------------------------------------------------------------------------


def test_an_invoice_of_eight_lines_fits_one_page_and_says_everything():
    document = render_pdf(sample_snapshot(), draft=False)
    assert document.pages == 1
    assert len(document.sha256) == 64
    (text,) = pages_of(document)
    expected = """
        Northbill GmbH | Torstr. 1 · 10119 Berlin · Germany | INV00000001 | Initech Health BV | Accounts payable
        Hafenweg 22 | VAT ID DE987654321 | 21 November 2026 | 21 December 2026 | Net 30 | A00000001 | PO-4711 | EUR
        Subscription A-S00000001 · Platform | 1–31 Oct 2026 | 15–31 Oct 2026 | · 17 of 30 days | 14 seat | €24.50
        −€34.30 | 100,000 call | €0.0004 | €0.000325 | 1,204.75 GB | €2,901.37 | VAT 19% on €3,577.17 | €679.66
        Amount due by 21 December 2026 | €4,256.83 | DE89 3704 0044 0532 0130 00 | COBADEFFXXX · Musterbank Berlin
        Amtsgericht Charlottenburg HRB 123456 B · VAT ID DE123456789 | Page 1 of 1 | statutory rate
    """
    for part in re.split(r"\s*[|\n]\s*", expected.strip()):
        assert part in text
    assert "DRAFT" not in text


def test_a_long_invoice_repeats_head_and_foot_and_keeps_the_totals_together():
    document = render_pdf(long_snapshot(groups=6, lines=10), draft=False)
    pages = pages_of(document)
    assert document.pages == len(pages) == 3
    for number, text in enumerate(pages, start=1):
        assert "Unit price" in text
        assert f"INV00000001 Page {number} of 3" in text
        assert "HRB 123456 B · VAT ID DE123456789" in text
    assert ["Amount due" in text and "VAT 19%" in text and "Net " in text for text in pages] == [False, False, True]
    # Every line is there once, whole.
    everything = " ".join(pages)
    for group in range(6):
        for line in range(10):
            assert everything.count(f"Service {group}.{line} 1–31 Oct 2026 1 €361.50 €361.50") == 1


def test_a_draft_bears_a_watermark_and_no_payment_code():
    snapshot = {**sample_snapshot(), "number": None}
    document = render_pdf(snapshot, draft=True)
    (text,) = pages_of(document)
    assert "DRAFT" in text
    assert "DRAFT-12" in text
    assert "given with the final invoice" in text
    assert not reader(document).pages[0].images


def test_a_final_invoice_needs_its_number():
    with pytest.raises(SnapshotError, match="number"):
        render_pdf({**sample_snapshot(), "number": None}, draft=False)


@pytest.mark.parametrize(
    ("changes", "iban", "amount", "expected"),
    [
        ({}, IBAN, "12.00", True),
        ({"currency": "USD"}, IBAN, "12.00", False),
        ({}, "", "12.00", False),
        ({}, "DE88370400440532013000", "12.00", False),
        ({}, IBAN, "0.00", False),
        ({}, IBAN, "-12.00", False),
        ({}, IBAN, "1000000000.00", False),
    ],
    ids=["euro", "dollar", "no IBAN", "wrong check digits", "nothing due", "credit", "beyond the standard"],
)
def test_a_payment_code_is_printed_only_where_a_transfer_can_use_it(changes, iban, amount, expected):
    snapshot = with_total(amount, **changes)
    snapshot["seller"]["bank"]["iban"] = iban
    assert bool(reader(render_pdf(snapshot, draft=False)).pages[0].images) is expected


def test_the_payment_code_says_what_the_standard_asks():
    transfer = {
        "name": "Northbill GmbH",
        "iban": "DE89 3704 0044 0532 0130 00",
        "bic": "cobadeffxxx",
        "reference": "INV00000001",
    }
    assert payment_text(**transfer, amount=Decimal("4256.8")) == (
        "BCD\n002\n1\nSCT\nCOBADEFFXXX\nNorthbill GmbH\nDE89370400440532013000\nEUR4256.80\n\n\nINV00000001"
    )
    assert payment_text(**{**transfer, "bic": "nonsense!"}, amount=Decimal(1)).split("\n")[4] == ""
    assert payment_text(**{**transfer, "name": "x" * 99}, amount=Decimal(1)).split("\n")[5] == "x" * 70
    assert payment_text(**{**transfer, "reference": "x" * 141}, amount=Decimal(1)) == ""
    assert payment_text(**{**transfer, "name": "a\nb"}, amount=Decimal(1)).split("\n")[5] == "a b"
    assert payment_code(**transfer, amount=Decimal(0)) == ""


@pytest.mark.parametrize(
    "text", ["", "DE", "DE00370400440532013000", "DE8937040044053201300", "<b>", "١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧"]
)
def test_what_is_no_iban_is_told_apart(text):
    assert is_iban("GB29 NWBK 6016 1331 9268 19")
    assert not is_iban(text)


@pytest.mark.parametrize(
    ("changes", "amount", "expected"),
    [
        ({"currency": "JPY", "digits": 0}, "148975", "¥148,975"),
        ({"currency": "BHD", "digits": 3}, "1.500", "BHD 1.500"),
        ({"language": "de"}, "1234.50", "1.234,50 €"),
        ({"language": "fr"}, "1234.50", "1 234,50 €"),
        ({"currency": "USD", "page_size": "Letter"}, "1234.50", "$1,234.50"),
        ({}, "12345678901.12", "€12,345,678,901.12"),
    ],
)
def test_money_is_written_as_the_customer_reads_it(changes, amount, expected):
    assert expected in text_of(with_total(amount, **changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["21 November 2026", "1–31 Oct 2026"]),
        ({"page_size": "Letter"}, ["November 21, 2026", "Oct 1 – 31, 2026"]),
        ({"language": "de"}, ["21. November 2026", "1.–31. Okt. 2026"]),
        ({"language": "../../etc"}, ["21 November 2026"]),
    ],
)
def test_dates_are_written_as_the_customer_reads_them(changes, expected):
    text = text_of(with_total("10.00", **changes))
    for part in expected:
        assert part in text


@pytest.mark.parametrize("language", ["ja", "zh-hans", "ko", "ar", "he", "th"])
def test_a_language_whose_letters_the_fonts_lack_is_written_as_english(language):
    """A currency sign or a date without a shape would be printed over the figures beside it."""
    document = render_pdf(with_total("148975", currency="JPY", digits=0, language=language), draft=False)
    (text,) = pages_of(document)
    assert "¥148,975" in text
    assert "21 November 2026" in text
    root: Any = reader(document).trailer["/Root"]
    assert root["/Lang"] == "en"


def test_a_negative_invoice_asks_for_no_payment():
    text = text_of(with_total("-1428.00"))
    assert "−€1,428.00" in text
    assert "No payment is needed." in text
    assert "Pay by bank transfer".upper() not in text.upper()
    assert "statutory" not in text


def test_a_second_address_stands_beside_the_first():
    snapshot = sample_snapshot()
    snapshot["sold_to"] = {**snapshot["bill_to"], "company": "Initech Clinics GmbH", "vat_id": ""}
    document = render_pdf(snapshot, draft=False)
    assert "Initech Clinics GmbH" in pages_of(document)[0]
    assert document.pages == 1


def test_the_document_can_be_read_aloud_and_found():
    pdf = reader(render_pdf(sample_snapshot(), draft=False))
    assert pdf.metadata is not None
    assert pdf.metadata.title == "Invoice INV00000001 · Northbill GmbH"
    assert pdf.metadata.author == "Northbill GmbH"
    root: Any = pdf.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert [entry.title for entry in pdf.outline if not isinstance(entry, list)] == ["Invoice"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_a_raster_logo_is_shown(kind):
    snapshot = with_total("-1.00")
    snapshot["seller"]["logo"] = picture(kind)
    assert len(reader(render_pdf(snapshot, draft=False)).pages[0].images) == 1


# --- The same each time ----------------------------------------------------------------------------------------------

ELSEWHERE = """
import json, sys
from django.conf import settings
settings.configure(
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"]}], USE_I18N=True
)
import django
django.setup()
from invoicing.rendering import render_pdf
snapshot = json.load(sys.stdin)
print(*(render_pdf(snapshot, draft=draft).sha256 for draft in (False, True)))
"""


def test_the_same_snapshot_gives_the_same_bytes_here_and_in_another_process():
    snapshot = sample_snapshot()
    snapshot["seller"]["logo"] = picture()
    untouched = deepcopy(snapshot)
    first = [render_pdf(snapshot, draft=draft) for draft in (False, True)]
    render_pdf(long_snapshot(groups=2, lines=3), draft=False)
    again = [render_pdf(json.loads(json.dumps(snapshot)), draft=draft) for draft in (False, True)]
    assert first == again
    assert snapshot == untouched
    environment = {**os.environ, "PYTHONHASHSEED": "7", "FONTCONFIG_FILE": "/nonexistent/fonts.conf", "LANG": "C"}
    there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE],
        input=json.dumps(snapshot), capture_output=True, text=True, check=True, cwd=ROOT, env=environment, timeout=120,
    )  # fmt: skip
    assert there.stdout.split() == [document.sha256 for document in first]


def test_a_pool_of_processes_renders_the_same():
    jobs = [sample_snapshot(), long_snapshot(groups=1, lines=5)]
    draw = partial(render_pdf, draft=False)
    with ProcessPoolExecutor(2, mp_context=get_context("fork"), initializer=rendering.prepare_worker) as pool:
        assert list(pool.map(draw, jobs)) == [draw(job) for job in jobs]


def test_only_the_fonts_of_the_product_are_used():
    fonts = set()
    for page in reader(render_pdf(sample_snapshot(), draft=True)).pages:
        resources: Any = page["/Resources"]
        fonts |= {font.get_object()["/BaseFont"].split("+")[-1] for font in resources["/Font"].values()}
    assert fonts
    assert all(font.startswith("Inter") for font in fonts)


def test_rendering_leaves_the_process_as_it_was(monkeypatch):
    monkeypatch.setenv("FONTCONFIG_FILE", "somewhere/else")
    rendering._machinery.cache_clear()
    render_pdf(sample_snapshot(), draft=False)
    assert os.environ["FONTCONFIG_FILE"] == "somewhere/else"
    assert gc.isenabled()


# --- Odd text --------------------------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script><b>bold</b> {{7*7}} {% load nothing %} & \N{RIGHT-TO-LEFT OVERRIDE}gnp\N{POP DIRECTIONAL FORMATTING}"
    " \x00\x07\ud800 مرحبا بالعالم שלום 株式会社 😀🎉 e" + "\N{COMBINING ACUTE ACCENT}" * 40 + " " + "W" * 200
)


def in_every_text(snapshot: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the snapshot with every text that people type replaced."""
    kept = {
        "number",
        "reference",
        "currency",
        "page_size",
        "language",
        "invoice_date",
        "due_date",
        "period",
        "quantity",
    }
    kept |= {"unit_price", "amount", "subtotal", "net", "base", "total", "amount_due", "version", "digits"}

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: inner if key in kept else replaced(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner) for inner in value]
        return text if isinstance(value, str) else value

    return replaced(snapshot)


def test_hostile_text_is_printed_as_text():
    snapshot = in_every_text(sample_snapshot(), HOSTILE)
    snapshot["groups"][0]["lines"][0]["description"] = HOSTILE * 5
    document = render_pdf(snapshot, draft=False)
    assert document.pages <= 20
    metadata = reader(document).metadata
    assert metadata is not None
    assert "<script>alert(1)</script><b>bold</b> {{7*7}} {% load nothing %} &" in (metadata.author or "")


def test_markup_and_template_code_are_printed_not_obeyed():
    code = "<script>alert(1)</script> <b>x</b> {{7*7}} {% now 'Y' %} &amp;"
    text = text_of(in_every_text(sample_snapshot(), code))
    assert text.count(code) > 5
    assert not re.search(r"\b49\b", text)


def test_a_word_longer_than_a_page_and_a_text_without_end_are_cut():
    snapshot = with_total("1.00")
    snapshot["groups"][0]["lines"][0]["description"] = "endless" * 100_000
    assert render_pdf(snapshot, draft=False).pages <= 3


def test_letters_no_font_has_do_not_stop_an_invoice():
    snapshot = sample_snapshot()
    snapshot["bill_to"]["company"] = "株式会社サンプル"
    assert render_pdf(snapshot, draft=False).pages == 1


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("version",), 2, "version"),
        (("page_size",), "A3; } @import url(x)", "page_size"),
        (("totals", "amount_due"), "NaN", "NaN"),
        (("totals", "net"), 12.5, "12.5"),
        (("totals", "total"), "1e999", "1e999"),
        (("totals", "total"), "1.005", "more decimal places than EUR"),
        (("totals", "net"), "", "decimal"),
    ],
)
def test_a_snapshot_that_cannot_be_right_is_refused_in_words(path, value, words):
    snapshot: Any = sample_snapshot()
    *parents, last = path
    inner = snapshot
    for key in parents:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(SnapshotError, match=re.escape(words)):
        render_pdf(snapshot, draft=False)


# --- Nothing from disk, nothing over the network ----------------------------------------------------------------------

_heard: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is not None and (event.startswith(("socket.", "urllib.", "ftplib.")) or event == "open"):
        _heard.append(f"{event} {arguments[:2]!r}")


sys.addaudithook(_listen)


@contextmanager
def overhearing() -> Iterator[list[str]]:
    """Collect every file opened and every step towards the network, also those made in C."""
    global _heard
    heard: list[str] = []
    _heard = heard
    try:
        yield heard
    finally:
        _heard = None


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("body { } /* the-secret */")
    return file


def attack_page(secret: Path) -> str:
    """Return a page that tries every way to a file or a server (port 9 of this machine, where nothing listens)."""
    svg = "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'>{}</svg>"
    attempts = []
    for target in (
        secret.as_uri(),
        "http://127.0.0.1:9/x",
        "https://127.0.0.1:9/x",
        "ftp://127.0.0.1:9/x",
        str(secret),
    ):
        image = f"<image xlink:href='{target}' width='9' height='9'/>"
        encoded = base64.b64encode(svg.format(image).encode()).decode()
        attempts.append(
            f"<link rel=attachment href='{target}'><a rel=attachment href='{target}'>a</a><link rel=stylesheet href='{target}'>"
            f"<style>@import url({target}); @font-face {{ font-family: f; src: url({target}) }} p {{ font-family: f }}</style>"
            f"<img src='{target}'><img src='data:image/svg+xml;base64,{encoded}'>{svg.format(image)}<embed src='{target}'>"
            f"<object data='{target}'></object><iframe src='{target}'></iframe><p style='background: url({target})'>p</p>"
            f"<link rel=stylesheet href=\"data:text/css,@import url('{target}')\">"
            f"<link rel=attachment href='data:text/plain;base64,dGhlLXNlY3JldA=='><p style='content: url({target})'>p</p>"
        )
    return f"<!doctype html><base href='{secret.parent.as_uri()}/'><title>t</title>{''.join(attempts)}"


def leaks(content: bytes, heard: list[str], secret: Path) -> list[str]:
    """Say what of the attacks got through."""
    pdf = PdfReader(io.BytesIO(content))
    found = [f"attached {name}" for name in pdf.attachments]
    if b"/EmbeddedFile" in content:
        found.append("embedded file")
    found += [event for event in heard if not event.startswith("open") or str(secret) in event]
    if any("the-secret" in page.extract_text() for page in pdf.pages):
        found.append("text of the secret")
    return found


def plainly(page: str) -> RenderedDocument:
    """Render the page as WeasyPrint does by itself."""
    return RenderedDocument(weasyprint.HTML(string=page).write_pdf(), "", 0)


def rendered_under_watch(render: Callable[[], RenderedDocument], secret: Path) -> list[str]:
    """Render while listening and return what leaked."""
    render_pdf(sample_snapshot(), draft=False)  # what is loaded once is loaded before we listen
    with overhearing() as heard:
        document = render()
    return leaks(document.content, heard, secret)


def test_even_a_page_full_of_attacks_reaches_no_file_and_no_server(secret):
    page = attack_page(secret)
    assert rendered_under_watch(partial(rendering._write, page, page_size="A4"), secret) == []


def test_without_our_fetcher_the_same_page_would_leak(secret):
    found = rendered_under_watch(partial(plainly, attack_page(secret)), secret)
    assert "embedded file" in found
    assert any("127.0.0.1" in event and "socket.connect" in event for event in found)


def test_attacks_typed_into_text_fields_stay_text(secret):
    for attempt in re.findall(r"<link[^>]*>|<img[^>]*>|<style>.*?</style>|<svg.*?</svg>", attack_page(secret))[:7]:
        snapshot = in_every_text(with_total("1.00"), f"'\"></td>{attempt}")
        assert rendered_under_watch(partial(render_pdf, snapshot, draft=False), secret) == []


def logo_attacks(secret: Path) -> list[str]:
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>").decode()
    return [
        secret.as_uri(), str(secret), "http://127.0.0.1:9/logo.png", "//127.0.0.1:9/logo.png", "javascript:alert(1)",
        f"data:image/svg+xml;base64,{svg}", f"data:image/png;base64,{svg}", "data:image/png;base64,%%%", "data:text/html,<b>",
        "data:image/png;base64,", picture() + "' onerror='x", picture(size=(2001, 2000)), "DATA:" + picture()[5:],
    ]  # fmt: skip


def test_a_logo_is_a_raster_picture_within_the_snapshot_or_nothing(secret):
    attacks = logo_attacks(secret)
    for logo in attacks:
        assert usable_logo(logo) == "", logo[:60]
    for logo in attacks[:7]:
        snapshot = with_total("-1.00")
        snapshot["seller"] = {**snapshot["seller"], "logo": logo, "colour": f"red; background: url({secret.as_uri()})"}
        assert rendered_under_watch(partial(render_pdf, snapshot, draft=False), secret) == []
        assert not reader(render_pdf(snapshot, draft=False)).pages[0].images


def test_the_floor_of_the_version_is_the_one_that_guards_style_sheets():
    assert int(weasyprint.__version__.split(".")[0]) >= 70


# --- A machine without the libraries ----------------------------------------------------------------------------------

WITHOUT_LIBRARIES = """
from invoicing.rendering import RenderingUnavailable, render_pdf
try:
    render_pdf({}, draft=True)
except RenderingUnavailable as error:
    print(error)
"""


def test_without_pango_only_pdfs_are_missing(tmp_path):
    package = tmp_path / "weasyprint"
    package.mkdir()
    (package / "__init__.py").write_text("print('advice')\nraise OSError('cannot load library libpango-1.0-0')\n")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert result.stdout.startswith("PDF rendering needs the system libraries Pango")
    assert "apt-get install libpango-1.0-0" in result.stdout
    assert "cannot load library" in result.stdout


def test_asking_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(rendering, "MISSING_LIBRARIES", "cannot load libpango")
    with pytest.raises(RenderingUnavailable, match="cannot load libpango"):
        render_pdf(sample_snapshot(), draft=True)


# --- Length ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_hundred_lines_are_all_printed():
    document = render_pdf(long_snapshot(groups=5, lines=100), draft=False)
    text = " ".join(pages_of(document))
    assert all(f"Service {group}.{line} " in text for group in range(5) for line in range(100))
    assert f"Page {document.pages} of {document.pages}" in text
    assert 10 < document.pages < 25
