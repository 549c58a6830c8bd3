# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Writes the repository's generated parts, or with --check says which of them are stale.

There is one: the table of values in the chart's README, from the prose above each key in the
chart's values.yaml.
"""

import argparse
import difflib
import sys
from pathlib import Path

import values_table

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "addons" / "udp-security" / "chart"
BEGIN = "<!-- values: written by 'make generate' from values.yaml -->"
END = "<!-- end of values -->"


def main() -> int:
    """Run; the exit code is 1 when something is stale or cannot be generated."""
    parser = argparse.ArgumentParser(description="Write all generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if one is stale")
    check = parser.parse_args().check
    readme = CHART / "README.md"
    values = CHART / "values.yaml"
    try:
        old = readme.read_text()
        new = _replace_block(old, values_table.render(values.read_text()))
    except (OSError, ValueError) as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    if new == old:
        return 0
    name = str(readme.relative_to(ROOT))
    if not check:
        readme.write_text(new)
        print(f"generate: wrote {name}")
        return 0
    sys.stderr.writelines(
        difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            name,
            f"{name} (as values.yaml has it)",
        )
    )
    print(f"generate: {name} is stale; run 'make generate'", file=sys.stderr)
    return 1


def _replace_block(text: str, block: str) -> str:
    """Put the block between the two marks. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n\n{block}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
