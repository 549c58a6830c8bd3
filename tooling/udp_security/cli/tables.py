# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Plain tables, as wide as they must be."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows' lines, with columns as wide as they must be. The rows are equally long."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_padded, row, widths)).rstrip() for row in rows]


def cut(text: str, width: int) -> str:
    """At most so many of a terminal's cells of a text."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 3)) + "..."[:width]


def _padded(cell: str, width: int) -> str:
    # Some characters are as wide as two.
    return cell + " " * (width - cell_len(cell))
