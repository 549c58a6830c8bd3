# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Puts the layers of values together as Helm does: chart defaults, files in order, then --set.

Maps merge deep, everything else replaces. A null removes the chart's default; where there is no
default it stays a null.
"""

from collections.abc import Sequence
from typing import Any

from udp_security.values.load import ValuesFile
from udp_security.values.problem import Path, Position
from udp_security.values.setting import Assignment, apply


class Values:
    """The values that a set of files and --set options give.

    `overrides` is what the user wrote, in the form to hand to Helm, with its nulls; `merged` is
    what the templates will see.
    """

    def __init__(
        self, defaults: ValuesFile, files: Sequence[ValuesFile], settings: Sequence[str]
    ) -> None:
        """Raises ValuesError for a --set that cannot be applied."""
        self._defaults = defaults
        self._files = list(files)
        self._assignments: list[Assignment] = []
        self.overrides: dict[str, Any] = {}
        for file in self._files:
            self.overrides = _overlay(self.overrides, file.values)
        for number, expression in enumerate(settings, start=1):
            self._assignments += apply(expression, self.overrides, number)
        self.merged = merge(defaults.values, self.overrides)

    @property
    def names(self) -> list[str]:
        """The files' names, in order."""
        return [file.name for file in self._files]

    def locate(self, path: Path) -> Position:
        """Where the value at `path` was written; if it is nowhere, where it would belong."""
        for assignment in reversed(self._assignments):
            if path[: len(assignment.path)] == assignment.path:
                return assignment.position
        best: tuple[int, Position] | None = None
        for file in reversed(self._files):
            position, length, owned = file.find(path)
            if length == len(path) or owned:
                return position
            if best is None or length > best[0]:
                best = length, position
        for assignment in reversed(self._assignments):
            if path and assignment.path[: len(path)] == path:
                return assignment.position
        position, length, _ = self._defaults.find(path)
        if best is None or (path and length == len(path)):
            return position
        return best[1]

    def locate_key(self, path: Path) -> Position:
        """Where the key that ends `path` is written, for what is wrong with the key itself."""
        for assignment in reversed(self._assignments):
            if assignment.path[: len(path)] == path:
                return assignment.position
        for file in reversed(self._files):
            if position := file.find_key(path):
                return position
        return self.locate(path)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it; nulls stay, since they speak to the chart's defaults."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(below := result.get(key), dict):
            result[key] = _overlay(below, value)
        else:
            result[key] = value
    return result


def merge(defaults: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """What the templates see when a user's values meet the chart's defaults; changes neither."""
    result = dict(overrides)
    for key, default in defaults.items():
        if key not in result:
            result[key] = default
        elif result[key] is None:
            del result[key]
        elif isinstance(default, dict) and isinstance(value := result[key], dict):
            result[key] = merge(default, value)
    return result
