"""Style and types, checked by the tools that `make lint` runs."""

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["ruff", "check", "."], id="ruff"),
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["mypy", "."], id="types", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_found(arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
