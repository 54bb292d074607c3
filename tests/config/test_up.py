"""`manage.py up`: everything answers after the start, and nothing is left however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import psutil
import pytest
from django.conf import settings

BOOT_SECONDS = 120


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _processes_of(folder) -> list[str]:
    """Return the command lines of all processes that were started with this VAR_DIR."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VAR_DIR") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def start(tmp_path):
    """Return a function that starts everything with data of its own and returns process and port when pages answer."""
    started = []

    def run() -> tuple[subprocess.Popen, int]:
        ours = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "MAKELEVEL"))}
        ours |= {"VAR_DIR": str(tmp_path), "TALLYRUN_TEST": "0", "TALLYRUN_DEMO": "1"}
        port = _free_port()
        command = [sys.executable, "manage.py", "up", "--no-seed", "--port", str(port)]
        log = (tmp_path / "up.log").open("a+")
        process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=ours, stdout=log, stderr=log, start_new_session=True
        )
        started.append(process)
        deadline = time.monotonic() + BOOT_SECONDS
        while "is running at" not in (tmp_path / "up.log").read_text():
            assert process.poll() is None, (tmp_path / "up.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process, port

    yield run
    for process in started:
        process.kill()
        process.wait()


def _seconds_until_gone(folder, limit: float) -> float:
    began = time.monotonic()
    while _processes_of(folder):
        assert time.monotonic() - began < limit, _processes_of(folder)
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_nothing_is_left_after_ctrl_c_or_kill(start, tmp_path):
    for ending in (signal.SIGKILL, signal.SIGINT):
        process, port = start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as response:
            assert response.status == 200
        (tmp_path / "up.log").write_text("")
        process.send_signal(ending)
        process.wait(10)
        _seconds_until_gone(tmp_path, limit=10)


def test_a_port_in_use_is_said_at_once():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "manage.py", "up", "--port", str(port)]
        done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"Port {port} is not free" in done.stderr
