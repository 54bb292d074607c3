"""The short attacks as tests: `pytest -m chaos`. Each runs in processes and on servers of its own."""

import json
import os
import subprocess
import sys

import pytest

from config import local_services

pytestmark = pytest.mark.chaos

# Twice what an attack takes on a slow machine; every loop inside has a bound of its own.
MOST_SECONDS = 180


@pytest.mark.parametrize("attack", ["recovery", "storm", "crash", "usage_storm"])
def test_nothing_is_billed_twice_or_missed(attack: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", attack],
        cwd=local_services.BASE_DIR,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    assert done.stdout, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, figures
    assert figures["passed"], figures
