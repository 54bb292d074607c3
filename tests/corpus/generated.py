"""Files of the corpus that are made when they are needed: workbooks, which carry the time of day, and bombs."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

from openpyxl import Workbook

HEADER = ("ACCOUNT_ID", "UOM", "QTY", "STARTDATE")
CSV = "ACCOUNT_ID,UOM,QTY,STARTDATE\nACME,GB,1,2026-05-01\n"

_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels"'
    ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml"'
    ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
_LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1"'
    f' Type="{_LINK}/{{kind}}" Target="{{target}}"/></Relationships>'
)
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_BOOK = f'<workbook xmlns="{_MAIN}" xmlns:r="{_LINK}"><sheets><sheet name="Usage" sheetId="1" r:id="rId1"/></sheets></workbook>'


def workbook(*rows: Sequence[Any], header: Sequence[Any] = HEADER) -> bytes:
    """Return a workbook whose first sheet has these rows."""
    book = Workbook()
    sheet = book.active
    for row in (header, *rows):
        sheet.append(list(row))
    other = book.create_sheet("Notes")
    other.append(["not", "usage"])
    return saved(book)


def saved(book: Workbook) -> bytes:
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def raw(sheet: str | bytes, **parts: str | bytes) -> bytes:
    """Return the smallest workbook around the XML of a sheet; `parts` replace or add others."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {
            "[Content_Types].xml": _TYPES,
            "_rels/.rels": _RELATIONS.format(kind="officeDocument", target="xl/workbook.xml"),
            "xl/workbook.xml": _BOOK,
            "xl/_rels/workbook.xml.rels": _RELATIONS.format(kind="worksheet", target="worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": sheet,
            **parts,
        }.items():
            archive.writestr(name, text)
    return content.getvalue()


def sheet_xml(*rows: str, before: str = "", after: str = "") -> str:
    """Return the XML of a sheet whose header is the usual one."""
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in HEADER)
    return f'<worksheet xmlns="{_MAIN}">{before}<sheetData><row r="1">{header}</row>{"".join(rows)}</sheetData>{after}</worksheet>'


def texts(*cells: str, number: int = 2) -> str:
    """Return a row of texts."""
    inner = "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in cells)
    return f'<row r="{number}">{inner}</row>'


GOOD = texts("ACME", "GB", "1", "2026-05-01")


def formula_cells() -> bytes:
    cached = '<row r="2"><c t="str"><f>A9</f><v>ACME</v></c><c t="str"><v>GB</v></c><c><f>1+1</f><v>2</v></c><c t="str"><v>2026-05-01</v></c></row>'
    fresh = '<row r="3"><c t="str"><v>ACME</v></c><c t="str"><v>GB</v></c><c><f>1+1</f></c><c t="str"><v>2026-05-01</v></c></row>'
    wrong = '<row r="4"><c t="str"><v>ACME</v></c><c t="str"><v>GB</v></c><c t="e"><f>1/0</f><v>#DIV/0!</v></c><c t="str"><v>2026-05-01</v></c></row>'
    return raw(sheet_xml(cached, fresh, wrong))


def wrong_dimension() -> bytes:
    return raw(sheet_xml(GOOD, texts("ACME", "GB", "x", "2026-05-01", number=3), before='<dimension ref="A1"/>'))


def missing_rows() -> bytes:
    return raw(sheet_xml(GOOD, texts("ACME", "GB", "x", "2026-05-01", number=7)))


def row_far_away() -> bytes:
    return raw(sheet_xml(GOOD, texts("ACME", "GB", "1", "2026-05-01", number=2_000_000_000)))


def entities() -> bytes:
    """A workbook in which a word stands for a billion others."""
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    declared = f'<!DOCTYPE worksheet [<!ENTITY e0 "ha">{lines}]>'
    return raw(declared + sheet_xml(texts("&e9;", "GB", "1", "2026-05-01")))


def entities_in_texts() -> bytes:
    return raw(sheet_xml(GOOD), **{"xl/sharedStrings.xml": f'<!DOCTYPE sst [<!ENTITY a "b">]><sst xmlns="{_MAIN}"/>'})


def outside_entity() -> bytes:
    declared = '<!DOCTYPE worksheet [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    return raw(declared + sheet_xml(texts("&a;", "GB", "1", "2026-05-01")))


def endless_row() -> bytes:
    return raw(sheet_xml('<row r="2">' + "<c/>" * 600_000 + "</row>"))


def hidden_rows() -> bytes:
    """Comments that look like rows, with far too many cells between them."""
    return raw(sheet_xml('<row r="2">' + ("<c/>" * 200_000 + "<!--<row >-->") * 3 + "</row>"))


def too_many_rows() -> bytes:
    return raw(sheet_xml("<row/>" * 1_050_000))


def zip_bomb() -> bytes:
    return raw(sheet_xml(GOOD, after=" " * 20_000_000))


def large_part() -> bytes:
    return raw(sheet_xml(GOOD), **{"xl/styles.xml": b"<a>" + bytes(range(32, 60)) * 330_000 + b"</a>"})


def countless_parts() -> bytes:
    return raw(sheet_xml(GOOD), **{f"xl/media/{n:060}.bin": b"" for n in range(10_000)})


def truncated_workbook() -> bytes:
    return workbook(("ACME", "GB", 1, date(2026, 5, 1)))[:-500]


def broken_xml() -> bytes:
    return raw(sheet_xml(GOOD)[:-40])


def without_sheet() -> bytes:
    return raw(sheet_xml(GOOD), **{"xl/workbook.xml": f'<workbook xmlns="{_MAIN}"><sheets/></workbook>'})


def damaged_bytes() -> bytes:
    content = bytearray(raw(sheet_xml(*[GOOD] * 50)))
    place = content.find(b"xl/worksheets/sheet1.xml") + 60
    content[place : place + 8] = b"\xff" * 8
    return bytes(content)


def pair_of_sheets() -> bytes:
    book = Workbook()
    book.active.title = "Chart of nothing"
    book.active.append(HEADER)
    book.create_sheet("Usage").append(HEADER)
    return saved(book)


def gzip_bomb() -> bytes:
    """Eleven megabytes of blanks in eleven kilobytes."""
    return gzip.compress(CSV.encode() + b"\n" * 12_000_000, mtime=0)


def gzip_bomb_of_members() -> bytes:
    """A file that looks harmless until its second member."""
    return gzip.compress(CSV.encode(), mtime=0) + gzip.compress(b"\n" * 40_000_000, mtime=0)


def gzip_of_one_row() -> bytes:
    """A row of random letters that goes on for five megabytes."""
    letters = bytearray()
    for number in range(0, 5_000_000, 4):
        letters += zlib.crc32(number.to_bytes(4, "big")).to_bytes(4, "big").hex().encode()[:4]
    return gzip.compress(CSV.encode() + letters, mtime=0)


def endless_quotes() -> bytes:
    """A row that is continued on the next line, forever."""
    return (CSV + '"' + '\n","' * 1_200_000).encode()


GENERATED: dict[str, Callable[[], bytes]] = {
    "plain.xlsx": lambda: workbook(
        ("ACME", "GB", 1, date(2026, 5, 1)),
        ("ACME", "GB", 2.5, datetime.fromisoformat("2026-05-02T00:00")),
        ("ACME", "GB", "3.25", "2026-05-03"),
    ),
    "workbook-called-csv.csv": lambda: workbook(("ACME", "GB", 1, date(2026, 5, 1))),
    "numbers.xlsx": lambda: workbook(
        *(
            ("ACME", "GB", number, date(2026, 5, 1))
            for number in (0, 1e-9, 0.1 + 0.2, 110.00000000000001, 1e11, 123456789.123, 1e12, 1e-10, -1, 1e300, True)
        )
    ),
    "numbers-as-accounts.xlsx": lambda: workbook(
        (1001, "GB", 1, date(2026, 5, 1)), (1002.0, "GB", 1, date(2026, 5, 1))
    ),
    "dates.xlsx": lambda: workbook(
        ("ACME", "GB", 1, datetime.fromisoformat("2026-05-01T13:30")),
        ("ACME", "GB", 1, time(13, 30)),
        ("ACME", "GB", 1, 46143),
        ("ACME", "GB", date(2026, 5, 1), date(2026, 5, 1)),
        ("ACME", "GB", 1, date(1969, 12, 31)),
    ),
    "formula-cells.xlsx": formula_cells,
    "wrong-dimension.xlsx": wrong_dimension,
    "missing-rows.xlsx": missing_rows,
    "row-far-away.xlsx": row_far_away,
    "empty-cells.xlsx": lambda: workbook(
        ("ACME", "GB", 1, date(2026, 5, 1), None, None),
        (None, None, None, None),
        ("ACME", "GB", 1),
        ("ACME", "GB", 1, date(2026, 5, 1), "more"),
        header=(*HEADER, None, None),
    ),
    "header-only.xlsx": lambda: workbook(),
    "empty.xlsx": lambda: saved(Workbook()),
    "unnamed-column.xlsx": lambda: workbook(
        ("ACME", "GB", None, 1, date(2026, 5, 1)), header=("ACCOUNT_ID", "UOM", None, "QTY", "STARTDATE")
    ),
    "without-sheet.xlsx": without_sheet,
    "first-sheet-is-another.xlsx": pair_of_sheets,
    "wide.xlsx": lambda: workbook(header=[f"C{n}" for n in range(1_100)]),
    "entities.xlsx": entities,
    "entities-in-texts.xlsx": entities_in_texts,
    "outside-entity.xlsx": outside_entity,
    "endless-row.xlsx": endless_row,
    "hidden-rows.xlsx": hidden_rows,
    "too-many-rows.xlsx": too_many_rows,
    "zip-bomb.xlsx": zip_bomb,
    "large-part.xlsx": large_part,
    "countless-parts.xlsx": countless_parts,
    "truncated.xlsx": truncated_workbook,
    "damaged.xlsx": damaged_bytes,
    "broken-xml.xlsx": broken_xml,
    "workbook-in-gzip.xlsx.gz": lambda: gzip.compress(workbook(("ACME", "GB", 1, date(2026, 5, 1))), mtime=0),
    "gzip-bomb.csv.gz": gzip_bomb,
    "gzip-bomb-of-members.csv.gz": gzip_bomb_of_members,
    "endless-row.csv.gz": gzip_of_one_row,
    "endless-quotes.csv": endless_quotes,
}
