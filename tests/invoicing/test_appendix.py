"""The appendix “How each amount was calculated”: what is in it, what it looks like on paper, and that it never changes."""

import re
import time
from decimal import Decimal
from typing import Any

import pytest
from pypdf import PageObject

from accounts.models import InvoiceTemplate
from billing.core.types import ChargeModel, ChargeType, DiscountLevel, PriceFormat, Tier
from billing.models import ChargeSegment
from invoicing import appendix as appendix_module
from invoicing import documents
from invoicing.documents import document_values, draft_document, drawing_weight, invoice_lines, stored_document
from invoicing.explained import explained
from invoicing.models import Invoice, InvoiceDocument
from invoicing.rendering import RenderedDocument, render_pdf
from invoicing.services import post_invoice
from tests.factories import acme, bill, by_tiers, day, globex, monthly, once, plan, sakura, seats, subscribe, user
from tests.invoicing.test_rendering import (
    HOSTILE,
    in_every_text,
    long_snapshot,
    pages_of,
    reader,
    sample_snapshot,
    with_total,
)

TITLE = "How each amount was calculated"
HEAD = "Step Calculation Result"


# --- On paper --------------------------------------------------------------------------------------------------------


def calculation(description: str, *results: str) -> dict[str, Any]:
    """Return a line of an appendix with a step for each result."""
    steps = [{"name": f"Step {n}", "working": f"working {n}", "result": text} for n, text in enumerate(results, 1)]
    return {
        "description": description,
        "facts": [{"name": "Service period", "words": "1 Jul – 31 Jul 2026, 31 days"}, {"name": "Price", "words": "new"}],
        "steps": steps,
    }  # fmt: skip


def appendix_of(*lines: dict[str, Any], title: str = "Subscription S1", left_out: int = 0) -> dict[str, Any]:
    return {"groups": [{"title": title, "lines": list(lines)}], "calculations": len(lines), "left_out": left_out}


def explained_snapshot(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an invoice of one page with an appendix of these lines."""
    return {
        **sample_snapshot(),
        "appendix": appendix_of(*lines or [calculation("Seats", "€10.00", "−€5.00")], **changes),
    }


def test_the_appendix_begins_a_page_of_its_own_with_the_same_foot():
    snapshot = {**with_total("5.00"), "appendix": explained_snapshot()["appendix"]}
    document = render_pdf(snapshot, draft=False)
    invoice, appendix = pages_of(document)
    assert TITLE not in invoice
    assert appendix.startswith(TITLE)
    for part in (HEAD, "Subscription S1", "Seats", "Service period: 1 Jul – 31 Jul 2026, 31 days · Price: new"):
        assert part in appendix
    assert "Step 1 working 1 €10.00 Step 2 working 2 −€5.00" in appendix
    assert "INV00000001 Page 2 of 2" in appendix
    assert "Managing directors" in appendix
    assert "left out" not in appendix


def test_the_appendix_has_a_bookmark_beside_the_invoice():
    outline: Any = reader(render_pdf(explained_snapshot(), draft=False)).outline
    top = [entry.title for entry in outline if not isinstance(entry, list)]
    assert top == ["Invoice", TITLE]
    assert [entry.title for entry in outline[-1]] == ["Subscription S1"]


def test_a_draft_bears_its_watermark_on_the_appendix_too():
    document = render_pdf({**explained_snapshot(), "number": None}, draft=True)
    assert ["DRAFT" in text.replace("DRAFT-12", "") for text in pages_of(document)] == [True, True]
    final = render_pdf(explained_snapshot(), draft=False)
    assert not any("DRAFT" in text for text in pages_of(final))


@pytest.mark.parametrize("nothing", [None, {"groups": [], "calculations": 0, "left_out": 0}])
@pytest.mark.parametrize("draft", [False, True])
def test_a_snapshot_that_knows_no_appendix_is_printed_as_ever(nothing, draft):
    old = sample_snapshot()
    assert "appendix" not in old
    assert render_pdf({**old, "appendix": nothing}, draft=draft) == render_pdf(old, draft=draft)


def test_the_same_appendix_gives_the_same_bytes():
    first = render_pdf(explained_snapshot(), draft=False)
    render_pdf(explained_snapshot(calculation("Other", "€1.00")), draft=False)
    assert render_pdf(explained_snapshot(), draft=False) == first


def test_what_is_left_out_is_said_with_whom_to_ask():
    text = " ".join(pages_of(render_pdf(explained_snapshot(left_out=1300), draft=False)))
    assert "These are the first 1 different calculations; those of 1,300 further lines are left out here" in text
    assert "available from Northbill GmbH, billing@northbill.example." in text
    preview = " ".join(pages_of(render_pdf(explained_snapshot(left_out=1300), draft=True)))
    assert (
        "This preview has the first 1 different calculations; 1,300 further lines are not explained in it." in preview
    )
    assert "available from" not in preview


def test_the_head_repeats_and_no_calculation_is_torn():
    # Of different lengths, so that some would be torn wherever a page ends.
    lines = [calculation(f"Service {n:02d}.", *["€1.00"] * (n % 7), f"€4.{n:02d}") for n in range(40)]
    invoice, *pages = pages_of(render_pdf(explained_snapshot(*lines), draft=False))
    assert len(pages) > 3
    assert HEAD not in invoice
    assert all(text.count(HEAD) == 1 for text in pages)
    for n in range(40):
        (page,) = [text for text in pages if f"Service {n:02d}." in text]
        assert f"€4.{n:02d}" in page


def where(page: PageObject, wanted: list[str]) -> list[float]:
    """Return where the pieces of text begin, from the left edge of the page."""
    found: dict[str, float] = {}

    def look(text: str, _user: Any, matrix: Any, _font: Any, _size: Any) -> None:
        if text.strip() in wanted:
            found[text.strip()] = float(matrix[4])

    page.extract_text(visitor_text=look)
    return [found[text] for text in wanted]


def test_results_stand_to_the_right_digit_below_digit():
    # The digit one is narrow unless all digits are of one width.
    results = ["€1.00", "€11.00", "€111.00"]
    page = reader(render_pdf(explained_snapshot(calculation("Sum", *results, "€8.88")), draft=False)).pages[1]
    first, second, third = where(page, results)
    assert first - second == pytest.approx(second - third, abs=0.01)
    assert 6 < first - second < 8


def test_hostile_and_endless_text_stays_text_of_some_length():
    line = calculation("x", "€1.00")
    line["facts"][0]["words"] = line["steps"][0]["working"] = "endless" * 10_000
    assert render_pdf(explained_snapshot(line), draft=False).pages <= 3
    code = "<script>alert(1)</script> <b>x</b> {{7*7}} {% now 'Y' %} &amp;"
    text = printed(render_pdf(in_every_text(explained_snapshot(calculation("x", "€1.00")), code), draft=False))
    assert text.count(code) > 5
    hostile = in_every_text(explained_snapshot(calculation("x", "€1.00")), HOSTILE)
    assert render_pdf(hostile, draft=False).pages <= 20


@pytest.mark.slow
def test_a_long_appendix_takes_as_long_as_it_has_lines():
    def seconds(count: int) -> float:
        snapshot = {**long_snapshot(groups=1, lines=5)}
        snapshot["appendix"] = appendix_of(*(calculation(f"S{n}", "€1.00", "€2.00", "€3.00") for n in range(count)))
        began = time.process_time()
        render_pdf(snapshot, draft=False)
        return time.process_time() - began

    seconds(10)
    few, many = seconds(50), seconds(200)
    assert many < 8 * few, f"four times the lines took {many / few:.1f} times as long"


# --- From invoices ---------------------------------------------------------------------------------------------------

database = pytest.mark.django_db
LADDER = (
    Tier(Decimal(10), Decimal("5"), PriceFormat.PER_UNIT),
    Tier(Decimal(20), Decimal("4.5"), PriceFormat.PER_UNIT),
    Tier(None, Decimal("30"), PriceFormat.FLAT_FEE),
)


def percent(name: str, value: str) -> dict[str, Any]:
    """Return a percentage off everything that recurs in its subscription."""
    return monthly(
        name,
        price=value,
        charge_model=ChargeModel.DISCOUNT_PERCENTAGE,
        discount_level=DiscountLevel.SUBSCRIPTION,
        discount_applies_to=[ChargeType.RECURRING],
    )


@pytest.fixture
def explaining(db):
    """Let the default template explain every amount."""
    template = InvoiceTemplate.objects.get(is_default=True)
    template.explain_amounts = True
    template.save()
    return template


def drafted(account=None, *charges, start="2026-07-15", **changes):
    """Return the draft of an account over charges, else over tiers, a part month, a one-time fee and two discounts."""
    account = account or acme()
    sold = charges or (
        by_tiers("Calls", ChargeModel.TIERED, LADDER, quantity="25"), seats(quantity="7"), once(),
        percent("Spring", "10"), percent("Partner", "20"),
    )  # fmt: skip
    subscribe(account, plan(f"Sold to {account.number}", *sold), start, name="Head office", **changes)
    bill(start, accounts=[account])
    return Invoice.objects.get(account=account)


def posted(invoice):
    post_invoice(invoice, user_id=user("approver").pk)
    return Invoice.objects.get(pk=invoice.pk)


def printed(document: RenderedDocument) -> str:
    """Return the text of the appendix."""
    text = " ".join(pages_of(document))
    return text[text.index(TITLE) :]


def words_in(values):
    """Return the explained lines of the values by description."""
    return {line["description"]: line for group in values["appendix"]["groups"] for line in group["lines"]}


@database
def test_without_the_choice_there_is_no_appendix():
    invoice = drafted()
    assert document_values(invoice)["appendix"] is None
    assert TITLE not in " ".join(pages_of(draft_document(invoice)))
    after = posted(invoice)
    assert "price_versions" not in after.snapshot
    assert document_values(after)["appendix"] is None


def test_paper_and_page_draw_the_same_words(explaining):
    invoice = drafted()
    values = document_values(invoice)
    lines = list(invoice_lines(invoice))
    found = explained(lines, currency="USD")
    drawn = [line for group in values["appendix"]["groups"] for line in group["lines"]]
    assert [line["description"] for line in drawn] == [item.description for item in lines]
    for line, each in zip(drawn, found, strict=True):
        assert [(fact["name"], fact["words"]) for fact in line["facts"]] == each.facts
        assert [(step["name"], step["working"], step["result"]) for step in line["steps"]] == [
            step[:3] for step in each.steps
        ]
    assert [group["title"] for group in values["appendix"]["groups"]] == [values["groups"][0]["title"]]


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (
            acme,
            [
                "Tiered, tier 1 10 × $5.00 $50.00 Tiered, tier 2 10 × $4.50 $45.00 Tiered, tier 3 $30.00 flat, for 5 $30.00",
                "Proration $125.00 × 17/31: 17 of 31 days of 1 month $68.548387…",
                "Amount $68.548387… rounded half up to 2 digits, once, at the end $68.55",
                "Charged: once, on 15 Jul 2026 · Price version: segment 1, in force since 15 Jul 2026 Flat fee price of segment 1 $100.00",
                "Discount order: 2 of 2 on that line, of what is left after Spring ($3.84)",
                "Percentage 20 % of $34.55 $6.91 Taken off as a negative amount −$6.91 Amount nothing to round −$6.91",
            ],
        ),
        (
            globex,
            [
                "Per unit 7 × €12.00 (price of segment 1, for a month) €84.00",
                "Proration €84.00 × 17/31: 17 of 31 days of 1 month €46.064516…",
                "Amount €46.064516… rounded half up to 2 digits, once, at the end €46.06",
            ],
        ),
        (
            sakura,
            [
                "Proration ¥10,500 × 17/31: 17 of 31 days of 1 month ¥5,758.064516…",
                "Amount ¥5,758.064516… rounded half up to whole numbers, once, at the end ¥5,758",
                "Amount −¥575.8 rounded half up to whole numbers, once, at the end −¥576",
            ],
        ),
    ],
    ids=["USD", "EUR", "JPY"],
)  # fmt: skip
def test_the_appendix_is_read_back_from_the_pdf(explaining, account, expected):
    text = printed(stored_document_of(posted(drafted(account(bill_cycle_day=1)))))
    for part in expected:
        assert part in text


def stored_document_of(invoice: Invoice) -> RenderedDocument:
    document = stored_document(invoice)
    return RenderedDocument(bytes(document.content), document.sha256, document.pages)


def test_a_credit_is_read_back_from_the_pdf(explaining):
    charge = drafted(None, seats(), start="2026-07-01").items.get().charge
    first = charge.segments.get()
    ChargeSegment.objects.update(effective_end=day("2026-07-11"))
    charge.segments.create(number=2, effective_start=day("2026-07-11"), quantity=7, price=first.price)
    bill("2026-07-12")
    text = printed(stored_document_of(posted(Invoice.objects.latest("pk"))))
    assert "Credited line: Seats, 1 Jul – 31 Jul 2026, $50.00" in text
    assert "Billed so far by the line that this one credits $50.00" in text
    assert "Kept days: amount $16.129032… rounded half up to 2 digits, once, at the end $16.13" in text
    assert "Credit $16.13 − $50.00 −$33.87" in text
    assert "segment 2, in force since 11 Jul 2026" in text


def test_numbers_are_written_as_the_customer_reads_them(explaining):
    account = globex(bill_cycle_day=1)
    account.language = "de"
    account.save()
    text = printed(draft_document(drafted(account))).replace("\xa0", " ")
    assert "Service period: 15.–31. Juli 2026, 17 days · Price version: segment 1, in force since 15. Juli 2026" in text
    assert "Proration 84,00 € × 17/31: 17 of 31 days of 1 month 46,064516… €" in text


def test_what_was_posted_is_explained_the_same_forever(explaining):
    invoice = posted(drafted())
    assert invoice.snapshot["price_versions"] == {
        str(segment.charge_id): {"1": "2026-07-15"} for segment in ChargeSegment.objects.all()
    }
    before = document_values(invoice)
    first = stored_document(invoice)
    explaining.explain_amounts = False
    explaining.save()
    ChargeSegment.objects.update(effective_start=day("2026-01-01"))
    again = Invoice.objects.get(pk=invoice.pk)
    assert document_values(again) == before
    assert render_pdf(document_values(again), draft=False).content == bytes(first.content)
    assert InvoiceDocument.objects.get().sha256 == first.sha256


@database
def test_what_was_posted_without_the_choice_stays_without_it():
    invoice = posted(drafted())
    first = stored_document(invoice)
    InvoiceTemplate.objects.update(explain_amounts=True)
    again = Invoice.objects.get(pk=invoice.pk)
    assert render_pdf(document_values(again), draft=False).content == bytes(first.content)
    # Versions of templates that were kept before there was such a choice do not know it.
    assert again.template_version is not None
    again.template_version.content.pop("explain_amounts", None)
    assert render_pdf(document_values(again), draft=False).content == bytes(first.content)


def test_each_choice_is_a_version_of_the_template(explaining):
    contents = explaining.versions.order_by("version").values_list("content__explain_amounts", flat=True)
    assert [bool(chosen) for chosen in contents] == [False, True]


# --- Long invoices ---------------------------------------------------------------------------------------------------


def test_equal_calculations_are_printed_once(explaining):
    account, reseller = acme(), plan("Reseller", seats(quantity="3"))
    for name in ("One", "Two", "Three"):
        subscribe(account, reseller, "2026-07-01", name=name)
    subscribe(account, reseller, "2026-07-01", name="Late", charges=())
    bill("2026-07-01")
    values = document_values(Invoice.objects.get())
    assert sum(len(group["lines"]) for group in values["groups"]) == 4
    (group,) = values["appendix"]["groups"]
    (line,) = group["lines"]
    assert line["facts"][-1] == {
        "name": "Also for",
        "words": "3 further lines of the same description, service period and amount",
    }
    assert values["appendix"]["left_out"] == 0


def test_lines_of_other_price_versions_are_not_taken_for_equal(explaining):
    account, reseller = acme(), plan("Reseller", seats(quantity="3"))
    subscribe(account, reseller, "2026-06-01", name="One")
    second = subscribe(account, reseller, "2026-06-01", name="Two")
    ChargeSegment.objects.filter(charge__subscription=second).update(effective_start=day("2026-05-01"))
    bill("2026-06-01")
    values = document_values(Invoice.objects.get())
    versions = [line["facts"][-1]["words"] for group in values["appendix"]["groups"] for line in group["lines"]]
    assert "segment 1, in force since 1 Jun 2026" in versions
    assert "segment 1, in force since 1 May 2026" in versions


def test_beyond_the_bound_lines_are_counted(explaining, monkeypatch):
    monkeypatch.setattr(documents, "DRAFT_CALCULATIONS", 2)
    monkeypatch.setattr(documents, "CALCULATIONS", 3)
    fees = [monthly(f"Fee {n}", price=str(n)) for n in range(1, 6)]
    invoice = drafted(None, *fees, start="2026-07-01")
    values = document_values(invoice)
    assert list(words_in(values)) == ["Fee 1", "Fee 2"]
    assert (values["appendix"]["calculations"], values["appendix"]["left_out"]) == (2, 3)
    values = document_values(posted(invoice))
    assert list(words_in(values)) == ["Fee 1", "Fee 2", "Fee 3"]
    assert (values["appendix"]["calculations"], values["appendix"]["left_out"]) == (3, 2)


def test_an_explained_line_weighs_as_much_as_four(explaining):
    invoice = drafted(None, monthly())
    assert drawing_weight(invoice, 50) == 50
    invoice = posted(invoice)
    assert drawing_weight(invoice, 50) == 200
    assert drawing_weight(invoice, 500) == 500 + 3 * appendix_module.CALCULATIONS


def test_the_appendix_costs_two_queries_however_many_lines_there_are(explaining, django_assert_num_queries):
    counts = []
    for number in (1, 9):
        account = acme() if number == 1 else globex(bill_cycle_day=1)
        fees = [monthly(f"Fee {n}", price="100") for n in range(number)]
        drafted(account, *fees, percent("Spring", "10"), start="2026-07-01")
        invoice = Invoice.objects.select_related("account__sold_to", "bill_to", "payment_term", "template").get(
            account=account
        )
        with django_assert_num_queries(3):
            counts.append(len(words_in(document_values(invoice))))
    assert counts == [2, 18]


@pytest.mark.slow
def test_of_five_hundred_lines_two_hundred_are_explained(explaining):
    fees = [monthly(f"Fee {n:03d}.", price=str(n)) for n in range(1, 501)]
    document = stored_document_of(posted(drafted(None, *fees, start="2026-07-01")))
    invoice, explained_part = " ".join(pages_of(document)).split(TITLE, 1)
    assert all(f"Fee {n:03d}." in invoice for n in range(1, 501))
    assert re.findall(r"Fee (\d{3})\.", explained_part) == [f"{n:03d}" for n in range(1, 201)]
    assert "first 200 different calculations; those of 300 further lines are left out here" in explained_part
    assert f"Page {document.pages} of {document.pages}" in explained_part
