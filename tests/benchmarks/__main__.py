"""Runs the measurements, each in a process of its own against a fresh database on servers of our own."""

import argparse
import os
import subprocess
import sys

from config import local_services
from tests.benchmarks import servers

BENCHES = ("core", "bill_run", "posting", "pdf", "pages", "usage")


def main() -> int:
    """Run the named measurements, or all; return 1 if one of them broke."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="|".join(BENCHES), help="default: all")
    chosen = parser.parse_args().names or BENCHES
    folder = local_services.VAR_DIR / "bench"
    broken = 0
    with servers.database_server(folder):
        for position, name in enumerate(chosen):
            if position:
                servers.fresh_database(folder)
            command = [sys.executable, "-m", "tests.benchmarks.child", f"tests.benchmarks.{name}"]
            broken += subprocess.run(command, cwd=local_services.BASE_DIR, env=os.environ, check=False).returncode != 0
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
