# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Writes the repository's generated parts, or with --check says which of them are stale.

The table of values in the chart's README, from the prose above each key in the chart's
values.yaml; and the addon's manifests/, which K2s applies or installs: the rendered chart and the
packaged chart.
"""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import values_table
from udp_security.helm import HelmMissingError, HelmRefusedError
from udp_security.k2s import chart_archive, manifests

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "addons" / "udp-security" / "chart"
MANIFESTS = ROOT / "addons" / "udp-security" / "manifests"
BEGIN = "<!-- values: written by 'make generate' from values.yaml -->"
END = "<!-- end of values -->"


def main() -> int:
    """Run; the exit code is 1 when something is stale or cannot be generated."""
    parser = argparse.ArgumentParser(description="Write all generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if one is stale")
    check = parser.parse_args().check
    stale = False
    try:
        for path, new in generated():
            old = path.read_bytes() if path.is_file() else None
            if new == old:
                continue
            stale = True
            name = str(path.relative_to(ROOT))
            if check:
                sys.stderr.writelines(_difference(name, old, new))
                print(f"generate: {name} is stale; run 'make generate'", file=sys.stderr)
            elif new is None:
                path.unlink()
                print(f"generate: removed {name}")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(new)
                print(f"generate: wrote {name}")
    except (OSError, ValueError, HelmMissingError, HelmRefusedError) as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    return 1 if check and stale else 0


def generated() -> Iterator[tuple[Path, bytes | None]]:
    """Each generated file with what it must hold; None: it must not be there.

    The README is the first, as it is part of the packaged chart. Raises OSError, ValueError,
    HelmMissingError and HelmRefusedError.
    """
    readme = CHART / "README.md"
    table = values_table.render((CHART / "values.yaml").read_text(encoding="utf-8"))
    yield readme, _replace_block(readme.read_text(encoding="utf-8"), table).encode()
    wanted = {MANIFESTS / name: text.encode() for name, text in manifests.render(CHART).items()}
    wanted[MANIFESTS / "chart" / chart_archive.file_name(CHART)] = chart_archive.build(CHART)
    yield from wanted.items()
    for path in sorted(MANIFESTS.rglob("*")):
        if path.is_file() and path not in wanted:
            yield path, None


def _difference(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    """The difference as text; nothing for files that are binary or not there."""
    if old and new and b"\0" not in old + new:
        yield from difflib.unified_diff(
            old.decode().splitlines(keepends=True),
            new.decode().splitlines(keepends=True),
            name,
            f"{name} (as it would be generated)",
        )


def _replace_block(text: str, block: str) -> str:
    """Put the block between the two marks. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n\n{block}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
