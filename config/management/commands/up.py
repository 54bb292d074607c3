"""`manage.py up`: start everything on this machine, keep it running, and stop all of it together."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from accounts.clock import business_today
from accounts.models import Account
from config import local_services
from config.database_roles import as_owner
from config.seed_data.history import REVIEW
from invoicing.models import BillRun

DEMO_RUN = "Demonstration run"
HOST = "127.0.0.1"
BOOT_SECONDS = 90.0
# Everyone is asked at once and then killed: whatever is lost is taken up again from the database.
CHILD_STOP_SECONDS = 2.5
PR_SET_PDEATHSIG = 1

WELCOME = """
  Tallyrun is running at  {url}
  Sign in with            {login}

  Three things to try
    1. Bill runs → New bill run: choose a batch, watch it work, review the drafts, post them.
    2. Invoices: open one and ask any line “how was this calculated?”.
    3. {mails}

  Ctrl-C stops everything; the data stays in {var}.
"""


@dataclass
class Child:
    """A process of ours: the word its lines begin with, and how it likes to be stopped."""

    name: str
    command: list[str]
    stop_signal: signal.Signals = signal.SIGTERM
    # The signal it gets if we are killed; the default takes no time and needs no cooperation.
    orphan_signal: str = "KILL"
    process: subprocess.Popen[str] | None = None
    pump: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C reaches only us."""
        self.process = subprocess.Popen(
            [*local_services.die_with_parent(self.orphan_signal), *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            cwd=settings.BASE_DIR,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "TALLYRUN_PROCESS": self.name},
        )
        self.pump = threading.Thread(target=self._pump_lines, daemon=True)
        self.pump.start()

    def _pump_lines(self) -> None:
        if self.process and self.process.stdout:
            for line in self.process.stdout:
                print(f"{self.name:>6} | {line.rstrip()}", flush=True)

    def ended(self) -> bool:
        """Return whether the process is over."""
        return self.process is not None and self.process.poll() is not None

    def ask_to_stop(self) -> None:
        """Send the process the signal it stops by."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def make_sure(self, deadline: float) -> None:
        """Wait until the deadline, then kill the process with everything it started."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        # The group may outlive its leader: pool processes are killed with it in any case.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.pump:
            self.pump.join(1)


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


def _long_running(port: int) -> tuple[Child, list[Child]]:
    """Return the web server, and beside it the worker and the clock."""
    web = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"{HOST}:{port}"]
    # Preloading imports the product once instead of once a process; threads because live pages keep requests open.
    web += ["--preload", "--workers", "2", "--threads", "4"]
    web += ["--no-control-socket", "--graceful-timeout", "2", "--log-level", "warning"]
    # Celery warns of root at length, but here it only serves this machine.
    quiet = ["-W", "ignore:You're running the worker with superuser privileges"]
    celery = [sys.executable, *quiet, "-m", "celery", "-A", "config.celery", "-q"]
    worker = [*celery, "worker", "-Q", "billing,pdf,mail,usage", "--pool", "prefork", "-c", "2"]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
    return Child("web", web, stop_signal=signal.SIGQUIT, orphan_signal="QUIT"), [
        Child("worker", worker),
        Child("beat", [*celery, "beat", "--pidfile=", "-l", "WARNING"]),
    ]


class Command(BaseCommand):
    """Start the servers, prepare the database, then run web server, worker and clock until stopped."""

    help = "Start everything on this machine: servers, database, pages, worker and clock. Ctrl-C stops it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--port", type=int, default=8000, help="port of the web server (default 8000)")
        parser.add_argument("--no-seed", action="store_true", help="leave an empty database empty")
        parser.add_argument("--with-demo-run", action="store_true", help="after seeding, bill, post and mail once")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start, watch, stop."""
        self._take_signals()
        _require_free(options["port"])
        try:
            with self._servers(), contextlib.ExitStack() as children:
                self._prepare_database()
                self._collect_static_files()
                seeds = settings.DEMO and not options["no_seed"]
                if seeds and _lacks_run(REVIEW):
                    self._run_to_end(children, "seed", _manage("seed"))
                web, others = _long_running(options["port"])
                running = [web, *others]
                children.callback(_stop_all, running)
                # The pages first: all at once would have to share the processors, and people wait for the pages.
                web.start()
                self._wait_for_pages([web], options["port"])
                for child in others:
                    child.start()
                if options["with_demo_run"] and seeds and _lacks_run(DEMO_RUN):
                    self._run_to_end(children, "run", self._demo_run(), beside=running)
                self._welcome(options["port"])
                self._watch(running)
        except local_services.ServiceError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _take_signals(self) -> None:
        # A process put into the background by a script inherits SIGINT as ignored; ask for it explicitly.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        if "MAKELEVEL" in os.environ and sys.platform == "linux":
            # Killing `make` must not leave us running without anyone to stop us.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    @contextlib.contextmanager
    def _servers(self) -> Iterator[None]:
        """Run those servers for which no address is set; stop them last."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(local_services.exclusive(settings.VAR_DIR))
            if settings.EMBEDDED_DATABASE:
                stack.enter_context(local_services.postgres(settings.VAR_DIR))
            if settings.EMBEDDED_BROKER:
                stack.enter_context(local_services.valkey(settings.VAR_DIR))
            yield

    def _prepare_database(self) -> None:
        """Bring the tables up to date."""
        with as_owner(connection):
            executor = MigrationExecutor(connection)
            behind = bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if behind:
            self.stdout.write("Bringing the database up to date …")
            call_command("migrate", interactive=False, verbosity=0)

    def _collect_static_files(self) -> None:
        """Collect the static files if any of ours changed since the last time."""
        if not settings.HASHED_STATIC_FILES:
            return
        manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
        sources = [path for folder in settings.STATICFILES_DIRS for path in Path(folder).rglob("*")]
        # Packages bring files, too: their versions change with the lock file.
        sources.append(settings.BASE_DIR / "requirements.lock")
        collected = manifest.stat().st_mtime if manifest.exists() else 0.0
        if any(path.stat().st_mtime > collected for path in sources if path.exists()):
            call_command("collectstatic", interactive=False, verbosity=0, clear=True)

    def _run_to_end(
        self, children: contextlib.ExitStack, name: str, command: list[str], beside: list[Child] | None = None
    ) -> None:
        """Run one command and wait for its end; raise CommandError if it fails or another child dies meanwhile."""
        child = Child(name, command)
        children.callback(_stop_all, [child])
        child.start()
        while not child.ended():
            self._complain_about_dead(beside or [])
            time.sleep(0.1)
        if child.process and child.process.returncode != 0:
            raise CommandError(f"`{' '.join(command[1:])}` failed, see the lines marked “{name}” above.")

    def _demo_run(self) -> list[str]:
        # In the background: the worker that was just started does it, as it will every other run.
        # The reseller's two thousand subscriptions show its speed, a small partner gets an e-mail.
        partners = Account.objects.filter(batch__code="Batch3").order_by("pk").values_list("number", flat=True)[:2]
        scope = [part for number in partners for part in ("--account", number)]
        connections.close_all()
        day = business_today().isoformat()
        return _manage(
            "bill_run", "--name", DEMO_RUN, *scope, "--target-date", day, "--post", "--email", "--background"
        )

    def _wait_for_pages(self, running: list[Child], port: int) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not _answers(port):
            self._complain_about_dead(running)
            if time.monotonic() > deadline:
                raise CommandError(f"The web server did not answer in {BOOT_SECONDS:.0f} s.")
            time.sleep(0.05)

    def _complain_about_dead(self, running: list[Child]) -> None:
        for child in running:
            if child.ended() and child.process:
                child.make_sure(0)
                raise CommandError(
                    f"The {child.name} process ended (code {child.process.returncode}), so everything was stopped. "
                    f"Its last lines are marked “{child.name}” above."
                )

    def _watch(self, running: list[Child]) -> None:
        while True:
            self._complain_about_dead(running)
            time.sleep(0.2)

    def _welcome(self, port: int) -> None:
        mails = "Mails: with no mail server set, each one is a file in {}.".format(
            settings.EMAIL_FILE_PATH or "var/mail"
        )
        if not settings.EMAIL_BACKEND.endswith("mail_files.EmailBackend"):
            mails = "Mails go out over the server of EMAIL_URL: open an invoice and send it."
        login = "your account (manage.py createsuperuser makes one)"
        if settings.DEMO:
            login = f"{settings.DEMO_USERNAME} / {settings.DEMO_PASSWORD}"
        self.stdout.write(WELCOME.format(url=f"http://{HOST}:{port}/", login=login, mails=mails, var=settings.VAR_DIR))
        self.stdout.flush()


def _lacks_run(name: str) -> bool:
    """Return whether no bill run has this name, and keep no connection open that servers would have to wait for."""
    lacks = not BillRun.objects.filter(name=name).exists()
    connections.close_all()
    return lacks


def _require_free(port: int) -> None:
    """Raise CommandError if something listens there already; its answers would be taken for ours."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is not free ({error.strerror}). Choose another: manage.py up --port 8001"
            ) from error


def _stop_all(children: list[Child]) -> None:
    """Ask all at once, then make sure of each; a second Ctrl-C does not interrupt this."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + CHILD_STOP_SECONDS
    for child in children:
        child.make_sure(deadline)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
