# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Draws docs/dashboard.svg: the chart's Grafana dashboard with a real Prometheus' answers.

    build/env python build/dashboard.py

Prometheus gets the invented hours of dashboard_day.yaml and is asked what Grafana would ask.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import yaml

import dashboard_svg
import recorded

_HERE: Final = Path(__file__).parent
DASHBOARD: Final = (
    _HERE.parent / "addons" / "udp-security" / "chart" / "files" / "monitoring" / "dashboard.json"
)
DAY: Final = _HERE / "dashboard_day.yaml"
PICTURE: Final = _HERE.parent / "docs" / "dashboard.svg"
#: What Prometheus adds to what it scrapes with the chart's ServiceMonitor.
_SCRAPED: Final = {"namespace": "udp-security", "job": "udp-security-metrics"}
#: What Grafana puts in the place of variables: all nodes, four scrapes.
_VARIABLES: Final = {"$node": ".*", "$__rate_interval": "2m"}
_STEP: Final = 60


class Day(NamedTuple):
    """Recorded samples: OpenMetrics text, and the times of the first and the last, Unix seconds."""

    text: str
    start: int
    end: int


def day() -> Day:
    """The samples of dashboard_day.yaml."""
    given = yaml.safe_load(DAY.read_text(encoding="utf-8"))
    start = int(given["start"].timestamp())
    seconds: int = given["seconds"]
    lines = []
    end = start
    for metric, all_series in given["series"].items():
        for series in all_series:
            values = series.pop("values")
            labels = ",".join(f'{k}="{v}"' for k, v in {**_SCRAPED, **series}.items())
            total = 0.0
            for number, value in enumerate(_expanded(values)):
                now = start + number * seconds
                end = max(end, now)
                if value is None:
                    continue
                total += value
                if metric.endswith("_total"):
                    sample = total
                elif metric.endswith("_timestamp_seconds"):
                    sample = value + now
                else:
                    sample = value
                lines.append(f"{metric}{{{labels}}} {sample} {now}\n")
    return Day("".join(lines), start, end)


def _expanded(values: str) -> Iterator[float | None]:
    for item in values.split():
        value, count = item.split("x")
        yield from [None if value == "_" else float(value)] * int(count)


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, each with one query."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def question(panel: dict[str, Any], day: Day) -> str:
    """The path of what Grafana asks Prometheus for this panel, over the whole of the day."""
    (target,) = panel["targets"]
    expression: str = target["expr"]
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    if target.get("instant") or panel["type"] == "stat":
        return f"/api/v1/query?{urlencode({'query': expression, 'time': day.end})}"
    span = {"start": day.start, "end": day.end, "step": _STEP}
    return f"/api/v1/query_range?{urlencode({'query': expression, **span})}"


def answers() -> list[Any]:
    """Prometheus' result for each panel. Raises recorded.RecordedError."""
    samples = day()
    asked = [question(panel, samples) for panel in panels()]
    return [answer["result"] for answer in recorded.ask(asked, samples=samples.text)]


def made_of() -> str:
    """What the picture stands for: a digest of the dashboard, the samples and how it is drawn."""
    digest = hashlib.sha256()
    for path in (DASHBOARD, DAY, Path(__file__), Path(str(dashboard_svg.__file__))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Draw; the exit code is 1 where Prometheus cannot be asked."""
    try:
        found = answers()
    except recorded.RecordedError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    of_day = day()
    drawn = dashboard_svg.draw(
        [dashboard_svg.Panel(panel, result) for panel, result in zip(panels(), found, strict=True)],
        (of_day.start, of_day.end),
        made_of(),
    )
    PICTURE.write_text(drawn, encoding="utf-8")
    print(f"dashboard: wrote {PICTURE.relative_to(_HERE.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
