# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A Grafana dashboard's panels as SVG: stat, state-timeline, timeseries and table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

_LICENSE: Final = Path(__file__).read_text(encoding="utf-8").splitlines()[:2]
_WIDTH: Final = 1200
_COLUMN: Final = _WIDTH / 24
_ROW: Final = 32
_GAP: Final = 4
_HEAD: Final = 30
# Okabe and Ito's, told apart by those who see few colours, too.
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
_NAMED: Final = {"green": "#299c46", "red": "#d44a3a", "text": "#24292e"}
_UNITS: Final = {"pps": " p/s", "cps": " c/s", "s": " s"}
# Between two times on an axis, at least so far apart.
_TICK_SECONDS: Final = 30 * 60
_TICK_WIDTH: Final = 60
_CHARACTER: Final = 6.6


class Panel(NamedTuple):
    """A panel of the dashboard's JSON, and the `result` that Prometheus answered for it."""

    json: dict[str, Any]
    result: list[dict[str, Any]]

    @property
    def unit(self) -> str:
        """What stands behind a value."""
        return _UNITS.get(self.json["fieldConfig"]["defaults"].get("unit", ""), "")

    def color(self, value: float) -> str:
        """By the panel's thresholds."""
        found = "text"
        for step in self.json["fieldConfig"]["defaults"]["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                found = step["color"]
        return _NAMED[found]

    def legend(self, series: dict[str, Any]) -> str:
        """A series' name, as the panel's legendFormat has it."""
        labels = series["metric"]
        text: str = self.json["targets"][0]["legendFormat"]
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), text)

    @property
    def sorted(self) -> list[dict[str, Any]]:
        """The series in the order of their names."""
        return sorted(self.result, key=self.legend)


class Area(NamedTuple):
    """Where something is drawn, and the times at its left and right."""

    left: float
    top: float
    right: float
    bottom: float
    start: int
    end: int

    def x(self, at: float) -> float:
        """Where a time is."""
        return self.left + (self.right - self.left) * (at - self.start) / (self.end - self.start)


def draw(panels: Sequence[Panel], span: tuple[int, int], digest: str) -> str:
    """The picture of the panels over this span of Unix times."""
    drawers: dict[str, Callable[[Panel, Area], Iterator[str]]] = {
        "stat": _stat,
        "state-timeline": _timeline,
        "timeseries": _lines,
        "table": _table,
    }
    height = max(p.json["gridPos"]["y"] + p.json["gridPos"]["h"] for p in panels) * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12" fill="#24292e">',
        *(f"<!-- {line.removeprefix('# ')} -->" for line in _LICENSE),
        f"<!-- made of {digest} -->",
        f'<rect width="{_WIDTH}" height="{height}" fill="#f4f5f5"/>',
    ]
    for panel in panels:
        grid = panel.json["gridPos"]
        left, top = grid["x"] * _COLUMN + _GAP, grid["y"] * _ROW + _GAP
        right = (grid["x"] + grid["w"]) * _COLUMN - _GAP
        bottom = (grid["y"] + grid["h"]) * _ROW - _GAP
        parts.append(_box(left, top, right, bottom, "white", 'stroke="#dddddd" rx="2"'))
        parts.append(_text(left + 10, top + 20, panel.json["title"], 'font-weight="bold"'))
        area = Area(left + 10, top + _HEAD, right - 20, bottom - 8, *span)
        parts.extend(drawers[panel.json["type"]](panel, area))
    return "\n".join([*parts, "</svg>", ""])


def _stat(panel: Panel, area: Area) -> Iterator[str]:
    (series,) = panel.result
    value = float(series["value"][1])
    decimals = panel.json["fieldConfig"]["defaults"]["decimals"]
    style = f'text-anchor="middle" font-size="36" fill="{panel.color(value)}"'
    text = f"{value:.{decimals}f}{panel.unit}"
    yield _text((area.left + area.right) / 2, (area.top + area.bottom) / 2 + 12, text, style)


def _timeline(panel: Panel, area: Area) -> Iterator[str]:
    """One bar a series, a part of it for each value that stays."""
    names = panel.sorted
    area = area._replace(
        left=area.left + 8 + _CHARACTER * max(len(panel.legend(one)) for one in names),
        bottom=area.bottom - 42,
    )
    height = (area.bottom - area.top) / len(names)
    yield from _times(area)
    for number, series in enumerate(names):
        top = area.top + number * height
        yield _text(area.left - 8, top + height / 2 + 4, panel.legend(series), _END)
        for value, first, last in _stays(series["values"]):
            edges = (area.x(first), top + 3, min(area.x(last), area.right), top + height - 3)
            yield _box(*edges, panel.color(value), 'fill-opacity="0.8"')
    mappings = panel.json["fieldConfig"]["defaults"]["mappings"][0]["options"].values()
    yield from _legend(
        [(_NAMED[one["color"]], one["text"]) for one in mappings], area.left, area.bottom + 36
    )


def _stays(values: list[list[Any]]) -> Iterator[tuple[float, float, float]]:
    """Each value with the times from when till when it is the same."""
    step = values[1][0] - values[0][0]
    begin = 0
    for number, (at, value) in enumerate(values):
        following = values[number + 1] if number + 1 < len(values) else [at + step, None]
        if following[1] != value or following[0] > at + step:
            yield float(value), values[begin][0], min(following[0], at + step)
            begin = number + 1


def _lines(panel: Panel, area: Area) -> Iterator[str]:
    series = panel.sorted
    highest = max(float(value) for one in series for _, value in one["values"])
    step = _nice(highest / 4)
    ticks = [step * number for number in range(math.ceil(highest / step) + 1)]
    entries = [(_PALETTE[i % len(_PALETTE)], panel.legend(one)) for i, one in enumerate(series)]
    rows = _rows(entries, area.right - area.left)
    top, bottom = area.top + 4, area.bottom - 24 - 16 * len(rows)
    labels = [f"{tick:g}{panel.unit}" for tick in ticks]
    area = area._replace(
        left=area.left + 8 + _CHARACTER * max(map(len, labels)), top=top, bottom=bottom
    )

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / ticks[-1]

    for tick, label in zip(ticks, labels, strict=True):
        yield _rule(area.left, y(tick), area.right, y(tick))
        yield _text(area.left - 6, y(tick) + 4, label, _END)
    yield from _times(area)
    for (color, _), one in zip(entries, series, strict=True):
        points = [(area.x(at), y(float(value))) for at, value in one["values"]]
        path = " ".join(f"{x:.1f},{at:.1f}" for x, at in points)
        yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>'
    for number, row in enumerate(rows):
        yield from _legend(row, area.left, bottom + 36 + 16 * number)


def _rows(entries: list[tuple[str, str]], width: float) -> list[list[tuple[str, str]]]:
    """The entries of a legend, broken into lines."""
    rows: list[list[tuple[str, str]]] = [[]]
    for entry in entries:
        if sum(_legend_width(name) for _, name in [*rows[-1], entry]) > width - 60:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten; something where all is zero."""
    if value <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)


def _times(area: Area) -> Iterator[str]:
    seconds = _TICK_SECONDS
    while area.x(area.start + seconds) - area.left < _TICK_WIDTH:
        seconds *= 2
    for at in range(-(-area.start // seconds) * seconds, area.end + 1, seconds):
        yield _rule(area.x(at), area.top, area.x(at), area.bottom)
        label = datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M")
        yield _text(area.x(at), area.bottom + 17, label, 'text-anchor="middle" fill="#666666"')


def _table(panel: Panel, area: Area) -> Iterator[str]:
    (organize,) = panel.json["transformations"]
    places = organize["options"]["indexByName"]
    columns = sorted(places, key=lambda name: int(places[name]))
    width = (area.right - area.left) / len(columns)
    rows = sorted(panel.result, key=lambda one: str(one["metric"]["node"]))
    head = dict(zip(columns, columns, strict=True))
    for row, values in enumerate([head, *(one["metric"] for one in rows)]):
        y = area.top + 20 + row * 28
        style = 'fill="#1f60c4"' if row == 0 else ""
        for number, column in enumerate(columns):
            yield _text(area.left + number * width, y, values.get(column, ""), style)
        yield _rule(area.left, y + 10, area.right, y + 10)


def _legend(entries: Sequence[tuple[str, str]], x: float, y: float) -> Iterator[str]:
    for color, name in entries:
        yield _box(x, y - 6, x + 14, y - 2, color, "")
        yield _text(x + 19, y, name)
        x += _legend_width(name)


def _legend_width(name: str) -> float:
    return 36 + _CHARACTER * len(name)


_END: Final = 'text-anchor="end" fill="#666666"'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M {x1:.1f} {y1:.1f} L {x2:.1f} {y2:.1f}" stroke="#e4e4e4"/>'


def _box(left: float, top: float, right: float, bottom: float, fill: str, style: str) -> str:
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{fill}" {style}/>'
