"""Runs the attacks one after the other on servers of our own; each prints one JSON object and fails if anything was lost."""

import argparse
import os
import subprocess
import sys

from config import local_services
from tests.benchmarks import servers

ATTACKS = ("recovery", "storm", "crash", "usage_storm")


def main() -> int:
    """Run the named attacks, or all; return 1 if one of them did harm."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ATTACKS, []], metavar="|".join(ATTACKS), help="default: all")
    parser.add_argument("--short", action="store_true", help="small sizes, each done in less than 90 seconds")
    options = parser.parse_args()
    harmed = 0
    for name in options.names or ATTACKS:
        # A folder each, so that attacks may run at the same time.
        folder = local_services.VAR_DIR / "chaos" / (f"{name}-short" if options.short else name)
        command = [sys.executable, "-m", "tests.benchmarks.child", f"tests.chaos.{name}"]
        environment = {**os.environ, **servers.environment(folder), "CHAOS_SHORT": str(int(options.short))}
        done = subprocess.run(command, cwd=local_services.BASE_DIR, env=environment, check=False)
        harmed += done.returncode != 0
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
