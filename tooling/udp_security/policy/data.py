# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart's data files, which its templates and this package share."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from udp_security.chart import chart_dir


@cache
def _read(name: str) -> Any:
    text = (chart_dir() / "files" / "policy" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.CSafeLoader)


def presets() -> list[dict[str, Any]]:
    """Each preset in order: ``{"preset": name, "rules": [rule as in the values, ...]}``."""
    data: list[dict[str, Any]] = _read("presets")
    return data


def lifelines() -> dict[str, list[dict[str, Any]]]:
    """Each lifeline's boxes: ``{"direction", "port", "from"?, "to"?, "os"?}``."""
    data: dict[str, list[dict[str, Any]]] = _read("lifelines")
    return data


def limit(name: str) -> int:
    """A bound on the size of a policy."""
    return int(_read("limits")[name])


def message(key: str, *arguments: object) -> str:
    """The words that the chart's templates fail with, for the same mistake."""
    return str(_read("messages")[key]) % arguments
