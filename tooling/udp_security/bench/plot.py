# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Cost per packet against the number of entries, as SVG: two logarithmic axes, a line a variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from udp_security.bench.results import PacketCost

_LICENSE: Final = Path(__file__).read_text(encoding="utf-8").splitlines()[:2]
_WIDTH, _HEIGHT = 900, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 610, 40, 420
# Told apart by those who see no colours as well: Okabe and Ito's palette, and dashes.
_COLOURS: Final = (
    "#000000",
    "#666666",
    "#999999",
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#e69f00",
    "#d55e00",
)
_DASHES: Final = ("", "1 3", "4 3", "", "8 3", "2 3", "", "8 3 2 3")


def costs(measured: Sequence[PacketCost]) -> str:
    """The plot for the first route; empty when fewer than two sizes were measured."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for one in measured:
        if one.route == measured[0].route and one.entries is not None:
            lines.setdefault(one.cost.variant, []).append((one.entries, one.cost.ns))
    sizes = sorted({size for points in lines.values() for size, _ in points})
    if len(sizes) < 2:
        return ""
    highest = max(ns for points in lines.values() for _, ns in points)
    lowest = min(ns for points in lines.values() for _, ns in points)
    bottom, top = 10 ** math.floor(math.log10(lowest)), 10 ** math.ceil(math.log10(highest))

    def x(size: int) -> float:
        return _between(_LEFT, _RIGHT, sizes[0], sizes[-1], size)

    def y(ns: float) -> float:
        return _between(_BOTTOM, _TOP, bottom, top, ns)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        *(f"<!-- {line.removeprefix('# ')} -->" for line in _LICENSE),
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, _TOP - 15, f"ns per allowed packet, route {measured[0].route}"),
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 45, "entries of the policy", "middle"),
    ]
    for size in sizes:
        parts.append(_grid(x(size), _TOP, x(size), _BOTTOM))
        parts.append(_text(x(size), _BOTTOM + 20, f"{size:,}", "middle"))
    for power in range(round(math.log10(bottom)), round(math.log10(top)) + 1):
        parts.append(_grid(_LEFT, y(10**power), _RIGHT, y(10**power)))
        parts.append(_text(_LEFT - 8, y(10**power) + 4, f"{10**power:,}", "end"))
    for i, (name, points) in enumerate(lines.items()):
        colour, dash = _COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)]
        path = " ".join(f"{x(size):.1f},{y(ns):.1f}" for size, ns in sorted(points))
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        legend = _TOP + 20 + 22 * i
        parts.append(f'<polyline points="{path}" {style}/>')
        parts.append(f'<path d="M {_RIGHT + 20} {legend} h 30" {style}/>')
        parts.append(_text(_RIGHT + 58, legend + 4, name))
    return "\n".join([*parts, "</svg>", ""])


def _between(low: float, high: float, first: float, last: float, value: float) -> float:
    return low + (high - low) * math.log(value / first) / math.log(last / first)


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M {x1:.1f} {y1:.1f} L {x2:.1f} {y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
