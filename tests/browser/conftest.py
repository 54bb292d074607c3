"""A headless browser with an operator in it who notices everything: errors, foreign hosts, inaccessible or too wide pages."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings as django_settings
from django.db import close_old_connections, connections
from playwright.sync_api import Browser, Page, Response, sync_playwright

from invoicing.bill_run import run as engine
from invoicing.delivery import send_due
from invoicing.models import BillRun
from invoicing.run_figures import ACTIVE
from tests.factories import PASSWORD
from usage import importing
from usage.importing import waiting_imports

DESKTOP = {"width": 1440, "height": 900}
NARROW = {"width": 360, "height": 740}
# Says what the policy forbade, also where the browser does not write it to its console.
POLICY_REPORTS = """
addEventListener("securitypolicyviolation", (e) => (window.policyReports ??= []).push(e.violatedDirective + " " + e.blockedURI));
"""
TOO_WIDE = """
() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .tabs"))
    .slice(0, 5).map((e) => e.tagName + "." + e.className)
"""


def browser_path() -> str | None:
    """Return where this machine has a browser."""
    return os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the machine's browser, once for all journeys."""
    path = browser_path()
    if path is None:
        pytest.skip("no browser on this machine: install chromium or set BROWSER_PATH")
    # Playwright keeps an event loop in this thread, which Django takes for a reason not to speak to the database.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


class Operator:
    """Somebody at a screen; `check` looks at the page that is shown with every eye we have."""

    def __init__(self, browser: Browser, address: str, *, scripts: bool = True) -> None:
        self.address = address
        self.scripts = scripts
        self.context = browser.new_context(viewport=DESKTOP, java_script_enabled=scripts, accept_downloads=True)  # type: ignore[arg-type]
        self.context.add_init_script(POLICY_REPORTS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: self._complain(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        self.context.on("request", lambda request: self._note_host(request.url))

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _note_host(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", "about:", "chrome:", "chrome-extension:")):
            self.foreign.append(url)

    def log_in(self, name: str) -> None:
        """Log in through the form."""
        self.open("/login/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.address}/")

    def open(self, path: str) -> Response:
        """Open a page of the product."""
        answer = self.page.goto(f"{self.address}{path}")
        assert answer is not None
        return answer

    def check(self, name: str) -> None:
        """Assert that the page shown is flawless: console, policy, hosts, contrast and names, and a narrow screen."""
        self.page.wait_for_load_state("networkidle")
        # First the console: axe adds styles of its own, which the policy forbids.
        reports = self.page.evaluate("window.policyReports || []")
        assert (self.complaints, reports, self.foreign) == ([], [], []), name
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self._keep_picture(f"{name}-{scheme}")
            found = Axe().run(self.page).response["violations"]
            assert not found, f"{name} in {scheme}: " + "; ".join(
                f"{flaw['id']} {[node['html'][:120] for node in flaw['nodes'][:3]]}" for flaw in found
            )
        self.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert self.page.evaluate(TOO_WIDE) == [], f"{name} is wider than a telephone"
        self._keep_picture(f"{name}-narrow")
        self.page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
        self.page.emulate_media(color_scheme="light")
        self.page.evaluate("window.policyReports = []")
        self.complaints.clear()

    def _keep_picture(self, name: str) -> None:
        folder = Path(django_settings.VAR_DIR) / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


@pytest.fixture
def operator(browser: Browser, live_server) -> Iterator[Callable[..., Operator]]:
    """Return a function that seats somebody at a screen of their own, logged in if a role is given."""
    seated: list[Operator] = []

    def seat(role: str = "", *, scripts: bool = True) -> Operator:
        person = Operator(browser, live_server.url, scripts=scripts)
        seated.append(person)
        if role:
            person.log_in(role)
        return person

    yield seat
    for person in seated:
        person.context.close()


class Worker(threading.Thread):
    """A worker beside the web server: takes runs and imports as far as they go and sends mail, as the real one does when rung."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ending = threading.Event()

    def run(self) -> None:
        """Look for work until told to end."""
        try:
            while not self.ending.wait(0.1):
                close_old_connections()
                for run_id in BillRun.objects.filter(status__in=ACTIVE).values_list("pk", flat=True):
                    engine.advance(run_id, seconds=5)
                for import_id in waiting_imports():
                    importing.advance(import_id)
                send_due(limit=20)
        finally:
            connections.close_all()

    def end(self) -> None:
        """Let it finish what it is doing."""
        self.ending.set()
        self.join(30)


@pytest.fixture
def worker(live_server, settings, tmp_path: Path) -> Iterator[Worker]:
    """Run a worker in a thread of its own, writing mails to `settings.EMAIL_FILE_PATH`."""
    settings.EMAIL_BACKEND = "config.mail_files.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    thread = Worker()
    thread.start()
    yield thread
    thread.end()


@pytest.fixture
def slow_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch, settings) -> Worker:
    """Make the worker take one account at a time and more than a second for each, so that progress can be watched."""
    settings.BILL_RUN_CHUNK_ACCOUNTS = 1
    bill_chunk = engine.bill_chunk

    def slowly(*args) -> None:
        time.sleep(1.2)
        bill_chunk(*args)

    monkeypatch.setattr(engine, "bill_chunk", slowly)
    return worker
