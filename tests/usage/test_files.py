"""Reading usage files: their interface, its words, and that no bytes at all lead to anything but rows or a reason."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.generated import GENERATED, workbook
from tests.factories import acme, plan, subscribe
from tests.usage import world
from usage.cells import COLUMNS
from usage.file_bytes import CHUNK, Upload, gunzipped
from usage.files import FileError, open_usage_file, template_csv
from usage.intake import Intake, Row
from usage.models import UsageImportError

CSV = b'ACCOUNT_ID,UOM,QTY,STARTDATE,DESCRIPTION\r\nACME,GB,1,2026-05-01,"a ""b"", c"\r\nACME,GB,2,2026-05-02,\xc3\xa4\r\n'


def read(content: bytes, name: str = "usage.csv") -> list[Row]:
    with open_usage_file(io.BytesIO(content), name=name) as file:
        return [(line, list(cells)) for line, cells in file.rows]


def refusal(content: bytes) -> FileError:
    with pytest.raises(FileError) as caught:
        read(content)
    return caught.value


def rows_of(count: int) -> bytes:
    lines = b"".join(b"A%08d,GB,%d,2026-05-01,some text\n" % (n * 7919 % 10**8, n) for n in range(count))
    return b"ACCOUNT_ID,UOM,QTY,STARTDATE,DESCRIPTION\n" + lines


def test_rows_stand_on_the_lines_they_begin_on():
    content = b'\n\nUOM,account_id ,Qty,STARTDATE\r\n"G\nB",A,1,x\r\r,,,\nGB,"B",2,y\n'
    with open_usage_file(io.BytesIO(content), name="usage.csv") as file:
        assert file.columns == {"UOM": 0, "ACCOUNT_ID": 1, "QTY": 2, "STARTDATE": 3}
        assert list(file.rows) == [(4, ["G\nB", "A", "1", "x"]), (8, ["GB", "B", "2", "y"])]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_position_is_that_in_the_uploaded_file(pack):
    content = pack(rows_of(20_000))
    stream, seen = io.BytesIO(content), []
    with open_usage_file(stream, name="usage.csv") as file:
        for line, _ in file.rows:
            if line % 1_000 == 0:
                seen.append(file.position())
        assert file.position() == len(content)
    assert seen == sorted(seen) and len(set(seen)) > 1
    assert seen[0] < len(content) / 2
    assert not stream.closed


def test_position_in_a_workbook_grows_to_about_its_size():
    content = workbook(*(("A", "GB", number, f"text {number * 7919}") for number in range(3_000)))
    with open_usage_file(io.BytesIO(content), name="usage.xlsx") as file:
        for _ in file.rows:
            assert 0 <= file.position() <= len(content)
        assert file.position() > 0


@pytest.mark.parametrize("name", ["header-only.xlsx", "truncated.xlsx"])
def test_what_cannot_be_read_is_refused_when_it_is_opened(name):
    with pytest.raises(FileError), open_usage_file(io.BytesIO(GENERATED[name]()), name=name):
        raise AssertionError("It was opened.")


def test_what_is_found_later_is_refused_while_rows_are_read():
    found: list[Row] = []
    with (
        pytest.raises(FileError, match=r"row on line 50002 is never closed"),
        open_usage_file(io.BytesIO(rows_of(50_000) + b'A,GB,1,2026-05-01,"open\n'), name="usage.csv") as file,
    ):
        found.extend(file.rows)
    assert len(found) == 50_000


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_line_of_a_byte_far_down_is_found_whatever_ends_lines(ending):
    header = b"ACCOUNT_ID,UOM,QTY,STARTDATE" + ending
    content = header + (b"A,GB,1,2026-05-01" + ending) * 30_000
    assert "Line 30002 " in refusal(content + b"A,G\xfcter,1,2026-05-01").message
    assert "Line 30002 " in refusal(content + b"A,G\0ter,1,2026-05-01").message


def test_a_larger_file_than_allowed_is_refused_before_it_is_read(settings):
    settings.USAGE_FILE_MAX_BYTES = 1024**2
    assert refusal(b"x" * (2 * 1024**2)).message == "A file may have 1 MiB; this one has 2 MiB. Split it."


def test_a_larger_workbook_than_allowed_is_refused(settings):
    settings.USAGE_SHEET_MAX_BYTES = 1024
    assert refusal(GENERATED["plain.xlsx"]()).code == "too_large"


def test_unpacked_size_is_limited_whatever_the_ratio(settings):
    settings.USAGE_FILE_MAX_EXPANDED_BYTES = 100_000
    assert refusal(gzip.compress(rows_of(20_000))).code == "too_large_unpacked"
    assert refusal(workbook(*(("A", "GB", n, "2026-05-01") for n in range(2_000)))).code == "too_large_unpacked"


def test_a_bomb_is_never_unpacked_further_than_its_limit():
    pieces: list[int] = []
    with pytest.raises(FileError, match="200 times"):
        pieces.extend(map(len, gunzipped(Upload(io.BytesIO(gzip.compress(b"\n" * 50_000_000))))))
    assert max(pieces) <= CHUNK
    assert sum(pieces) < 11 * 1024**2


class Interrupted(io.BytesIO):
    """A stream that fails once it has been read for a while, as a database does that is shut down."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 4:
            raise ConnectionError("The server is gone.")
        return super().read(size)


@pytest.mark.parametrize("content", [rows_of(50_000), GENERATED["plain.xlsx"]()], ids=["csv", "xlsx"])
def test_a_failing_stream_is_not_taken_for_a_damaged_file(content):
    with pytest.raises(ConnectionError), open_usage_file(Interrupted(content), name="usage") as file:
        list(file.rows)


def test_the_template_has_all_columns_and_two_rows():
    with open_usage_file(io.BytesIO(template_csv().encode()), name="template.csv") as file:
        assert tuple(file.columns) == COLUMNS
        assert len(list(file.rows)) == 2


@pytest.mark.django_db
def test_the_template_is_accepted_where_its_account_and_charge_exist():
    world.units()
    account = acme()
    subscribe(account, plan("Traffic", world.usage_charge()), "2026-01-01")
    number = world.new_import().pk
    with open_usage_file(io.BytesIO(template_csv().encode()), name="template.csv") as file:
        intake = Intake(number, columns=file.columns, write=True)
        intake.take(file.rows)
    assert [error.message for error in UsageImportError.objects.filter(usage_import=number)] == []
    assert (intake.good, intake.bad) == (2, 0)


# --- No bytes lead to anything but rows or a reason ------------------------------------------------------------------


def survives(content: bytes) -> None:
    """Read a file, which either has rows of texts or is refused in words."""
    reason = "A sentence."
    rows: list[Row] = [(1, ["cell"])]
    try:
        rows = read(content)
    except FileError as error:
        reason = error.message
    assert reason[-1] == "."
    assert rows and all(isinstance(cell, str) for _, cells in rows for cell in cells)


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a valid file with a few bytes replaced, removed, doubled or cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(found) - 1, 0)))
        length = draw(st.integers(0, 12))
        kind = draw(st.sampled_from(["replace", "remove", "insert", "cut"]))
        if kind == "cut":
            del found[place:]
        else:
            some = draw(st.binary(max_size=12)) if kind != "remove" else b""
            found[place : place + (0 if kind == "insert" else length)] = some
    return bytes(found)


PLAIN, SHEET = CSV, GENERATED["plain.xlsx"]()
PACKED = gzip.compress(CSV * 3, mtime=0)


@given(st.binary(max_size=400))
def test_random_bytes(content: bytes):
    survives(content)


@given(st.binary(max_size=400))
def test_random_bytes_below_a_header(content: bytes):
    survives(CSV + content)


@given(st.sampled_from([b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\0", b"\x1f\x8b"]), st.binary(max_size=400))
def test_random_bytes_behind_a_mark(mark: bytes, content: bytes):
    survives(mark + content)


@given(mutations(PLAIN))
def test_mutated_csv(content: bytes):
    survives(content)


@given(mutations(PACKED))
def test_mutated_gzip(content: bytes):
    survives(content)


@given(mutations(CSV).map(lambda text: gzip.compress(text, mtime=0)))
def test_gzip_of_a_mutated_csv(content: bytes):
    survives(content)


@settings(max_examples=150)
@given(mutations(SHEET))
def test_mutated_workbook(content: bytes):
    survives(content)


@st.composite
def mutated_parts(draw: st.DrawFn) -> bytes:
    """Return a workbook of which one part is mutated, and the archive around it is sound."""
    with zipfile.ZipFile(io.BytesIO(SHEET)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(parts)))
    parts[name] = draw(mutations(parts[name]))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)
    return content.getvalue()


@settings(max_examples=300)
@given(mutated_parts())
def test_workbook_with_a_mutated_part(content: bytes):
    survives(content)
