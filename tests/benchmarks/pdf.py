"""PDF: `times_naive` is processor time of WeasyPrint used plainly on the same look divided by ours; `two_processes` is speed-up.

Plainly: a fresh HTML string with its style sheet inside, no shared fonts or parsed styles, garbage collection as usual,
and the look laid out with flex and grid, as one writes pages for browsers. `times_same_layout` has our layout instead.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import weasyprint
from django.template.loader import get_template

from invoicing import rendering
from invoicing.rendering import prepare_worker, render_pdf
from tests.benchmarks.child import prepare_django
from tests.benchmarks.measure import emit, median, say, scaled
from tests.invoicing.test_rendering import long_snapshot, sample_snapshot

ROUNDS = scaled(10, least=3)
EACH = 4
TOGETHER = scaled(60, least=8)
TARGETS = {
    "times_naive": (">=", 1.5),
    "two_processes": (">=", 1.8),
    "ms_one_page": ("<=", 200.0),
    "ms_500_lines": ("<=", 4000.0),
}


# The same look by the means of a browser page: boxes side by side are flex or grid, tables measure their contents.
BROWSER_LAYOUT = """
table { table-layout: auto }
.header { display: flex; justify-content: space-between }
.masthead, .title, .payment .code { float: none }
.parties { display: grid; grid-template-columns: 57% 43% }
.party, .facts { display: block; width: auto }
.facts table, .facts tbody, .totals, .totals tbody { display: block; width: auto }
.facts tr, .totals tr { display: flex; justify-content: space-between }
.facts th, .totals th { width: auto }
.payment { display: flex }
.payment .code-beside { margin-left: 0; flex: 1 }
"""


def naively(snapshot: dict[str, Any]) -> bytes:
    """Render plainly, laid out with flex and grid."""
    return plainly(snapshot, BROWSER_LAYOUT)


def plainly(snapshot: dict[str, Any], layout: str = "") -> bytes:
    """Render as the manual's first example does, with the same HTML, styles and fonts."""
    style = get_template("pdf/invoice.css").render() + layout
    page = rendering._html(rendering._clean(snapshot), draft=False)
    html = page.replace("</head>", f"<style>{style} @page {{ size: {snapshot['page_size']} }}</style></head>", 1)
    with rendering._own_fonts():
        content: bytes = weasyprint.HTML(string=html).write_pdf()
    return content


def ours(snapshot: dict[str, Any]) -> bytes:
    """Render as the product does."""
    return render_pdf(snapshot, draft=False).content


def milliseconds(render: Callable[[dict[str, Any]], bytes], snapshot: dict[str, Any], *, times: int) -> float:
    """Return the processor time of one rendering, in milliseconds."""
    started = time.process_time()
    for _ in range(times):
        if not render(snapshot).startswith(b"%PDF-"):
            raise RuntimeError("That is not a PDF.")
    return (time.process_time() - started) * 1000 / times


def ready() -> None:
    """Make a pool process as ready as a worker is."""
    prepare_django()
    prepare_worker()


def together(processes: int) -> float:
    """Return how many documents a second so many processes make, once they are warm."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=ready) as pool:
        snapshot = sample_snapshot()
        list(pool.map(_render_many, [snapshot] * processes))
        started = time.perf_counter()
        list(pool.map(_render_many, [snapshot] * (TOGETHER // EACH)))
        return TOGETHER // EACH * EACH / (time.perf_counter() - started)


def _render_many(snapshot: dict[str, Any]) -> None:
    for _ in range(EACH):
        ours(snapshot)


def main() -> None:
    """Measure in alternating rounds and print."""
    prepare_worker()
    one_page, long = sample_snapshot(), long_snapshot(groups=10, lines=50)
    milliseconds(ours, one_page, times=1)
    milliseconds(naively, one_page, times=1)
    fast, naive, plain, many, speed_ups = [], [], [], [], []
    for number in range(1, ROUNDS + 1):
        say(f"pdf: round {number} of {ROUNDS}")
        fast.append(milliseconds(ours, one_page, times=EACH))
        naive.append(milliseconds(naively, one_page, times=EACH))
        plain.append(milliseconds(plainly, one_page, times=EACH))
    for _ in range(3):
        many.append(milliseconds(ours, long, times=1))
        one, two = together(1), together(2)
        speed_ups.append(two / one)
    emit(
        "pdf",
        {
            "times_naive": median(theirs / mine for theirs, mine in zip(naive, fast, strict=True)),
            "times_same_layout": median(theirs / mine for theirs, mine in zip(plain, fast, strict=True)),
            "two_processes": median(speed_ups),
            "ms_one_page": median(fast),
            "ms_500_lines": median(many),
            "pdfs_per_s": 1000 / median(fast),
        },
        TARGETS,
    )
