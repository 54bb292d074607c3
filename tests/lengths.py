"""Reports functions over 60 lines and files over 400: `python -m tests.lengths`. A report, not a rule."""

import ast
import subprocess
import sys
from pathlib import Path

LONGEST_FUNCTION = 60
LONGEST_FILE = 400


def long_parts(path: Path) -> list[str]:
    """Return one line for the file, if it is too long, and for each of its functions that is."""
    source = path.read_text(encoding="utf-8")
    lines = source.count("\n")
    found = [f"{path}: {lines} lines"] if lines > LONGEST_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                found.append(f"{path}:{node.lineno} {node.name}: {length} lines")
    return found


def main() -> None:
    """Print every long part of the product, or that there is none."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], capture_output=True, text=True, check=True
    )
    paths = [Path(name) for name in listed.stdout.split() if "/migrations/" not in name]
    found = [line for path in sorted(paths) if path.exists() for line in long_parts(path)]
    sys.stdout.write("\n".join(found or ["No function over 60 lines, no file over 400."]) + "\n")


if __name__ == "__main__":
    main()
