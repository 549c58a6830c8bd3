# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Puts the layers of values together as Helm does: chart defaults, files in order, then --set.

Maps merge deep, everything else replaces. A null removes the chart's default; where there is no
default it stays a null.
"""

from collections.abc import Sequence
from typing import Any

from udp_security.values.load import ValuesFile
from udp_security.values.problem import SETTING, Path, Position
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
        self._settings = list(settings)
        self._assignments: list[Assignment] = []
        self.overrides: dict[str, Any] = {}
        for file in self._files:
            self.overrides = _overlay(self.overrides, file.values)
        # A --set changes what is inside; what it has changed is asked later.
        self._before_settings = self.overrides
        if settings:
            self.overrides = _copy(self.overrides)
        for number, expression in enumerate(settings, start=1):
            self._assignments += apply(expression, self.overrides, number)
        self.merged = merge(defaults.values, self.overrides)

    def over(self, file: ValuesFile) -> "Values":
        """The same on top of one more file."""
        return Values(self._defaults, [file, *self._files], self._settings)

    def replacing(self, file: ValuesFile) -> "Values":
        """The same with another text of the file of that name."""
        files = [file if each.name == file.name else each for each in self._files]
        return Values(self._defaults, files, self._settings)

    @property
    def names(self) -> list[str]:
        """The files' names, in order."""
        return [file.name for file in self._files]

    def removed(self, path: Path) -> bool:
        """Whether the user wrote a null there, to take the chart's default away."""
        return _get(self.overrides, path) is None

    def is_set(self, path: Path) -> bool:
        """Whether the value at `path` comes from a --set."""
        return self.locate(path).file == SETTING

    def locate(self, path: Path) -> Position:
        """Where the value at `path` was written; if it is nowhere, where it would belong."""
        if assignment := self._setting(path):
            return assignment.position
        best: tuple[int, Position] | None = None
        for file in reversed(self._files):
            position, length, owned = file.find(path)
            if length == len(path) or owned:
                return position
            if best is None or length > best[0]:
                best = length, position
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

    def _setting(self, path: Path) -> Assignment | None:
        """The assignment that gave the value at `path` the form that it has."""
        for assignment in reversed(self._assignments):
            if path[: len(assignment.path)] == assignment.path:
                return assignment
        if not self._assignments:
            return None
        now = _get(self.overrides, path)
        if now is _NOTHING or not _differs(_get(self._before_settings, path), now):
            return None
        # It was made on the way to what was assigned: a map around it, or an item of a list before
        # it. The nearest will have made it, and of several the first that goes as far.
        shared = [_shared(path, assignment.path) for assignment in self._assignments]
        most = max(shared)
        for assignment, length in zip(self._assignments, shared, strict=True):
            if 0 < length == most and (
                length == len(path) or _beyond(assignment.path[length], path[length])
            ):
                return assignment
        return None


# There is no value at a path, not even a null.
_NOTHING = object()


def _get(values: Any, path: Path) -> Any:
    """The value at a path, else _NOTHING."""
    step: Any
    for step in path:
        if not isinstance(values, (dict, list)):
            return _NOTHING
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return values


def _copy(value: Any) -> Any:
    """A copy of maps and lists; copy.deepcopy would take too long for thousands of rules."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


def _differs(before: Any, now: Any) -> bool:
    """Whether one is not the other, apart from what is inside of maps."""
    if isinstance(before, dict) and isinstance(now, dict):
        return False
    if isinstance(before, list) and isinstance(now, list):
        return len(before) != len(now) or any(map(_differs, before, now))
    return type(before) is not type(now) or bool(before != now)


def _shared(path: Path, other: Path) -> int:
    """How many first steps two paths share."""
    pairs = zip(path, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(path), len(other)))


def _beyond(step: str | int, wanted: str | int) -> bool:
    """Whether setting the item `step` of a list makes the item `wanted` too."""
    return isinstance(step, int) and isinstance(wanted, int) and step > wanted


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
