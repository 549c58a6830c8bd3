# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`--set key=value`: Helm's little language for single values, applied to the values of the files.

`a.b=c`, `a={x,y}`, `a[0].b=c`, `a=1,b=2`; a backslash takes the next character as it is. true,
false, null and decimal integers have their type, everything else is text. Stricter than Helm where
that drops a setting in silence: an empty key is an error.
"""

import re
from dataclasses import dataclass
from typing import Any

from udp_security.values.problem import SETTING, Path, Position, ValuesError, ValuesProblem

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = range(-(2**63), 2**63)
_WORDS = {"true": True, "false": False, "null": None}
# Helm's own limits.
_MAX_LEVELS = 30
_MAX_INDEX = 65536


@dataclass(frozen=True)
class Assignment:
    """One `key=value` of a --set: which path it set, and where it is written."""

    path: Path
    position: Position


def apply(expression: str, values: dict[str, Any], number: int) -> list[Assignment]:
    """Applies the `number`-th --set (from 1) to `values`, in place.

    Raises ValuesError with the column at which the expression goes wrong.
    """
    return _Parser(expression, number).run(values)


class _EndsEmpty(Exception):
    """The expression ended with `key=`: the text is empty and nothing follows."""


class _Parser:
    def __init__(self, text: str, number: int) -> None:
        self._text = text
        self._number = number
        self._at = 0
        self._start = 0
        self._done: list[Assignment] = []

    def run(self, values: dict[str, Any]) -> list[Assignment]:
        while self._at < len(self._text):
            self._start = self._at
            try:
                self._key(values, (), 0)
            except _EndsEmpty:
                break
        return self._done

    def _fail(self, message: str, path: Path = ()) -> ValuesError:
        position = Position(SETTING, self._number, min(self._at, len(self._text)) + 1)
        return ValuesError([ValuesProblem(position, path, message)])

    def _until(self, stops: str) -> tuple[str, str]:
        """The text up to one of `stops`, without backslashes, and that stop ("" at the end)."""
        taken = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char in stops:
                return taken, char
            if char == "\\":
                if self._at == len(self._text):
                    break
                char = self._text[self._at]
                self._at += 1
            taken += char
        return taken, ""

    def _key(self, container: dict[str, Any], path: Path, level: int) -> None:
        if level > _MAX_LEVELS:
            raise self._fail(f"nested more than {_MAX_LEVELS} levels deep (use a values file)")
        key, stop = self._until("=[,.")
        if stop in ("", ","):
            raise self._fail(
                f'"{key}" has no value (write {key or "key"}=value; a comma within a value '
                "needs a backslash before it)"
            )
        if not key:
            raise self._fail("a key is missing (write key=value)")
        here = (*path, key)
        if stop == "=":
            self._done.append(self._assignment(here))
            container[key], empty = self._value()
            if empty:
                raise _EndsEmpty
        elif stop == "[":
            items = container.get(key, [])
            if not isinstance(items, list):
                raise self._fail(f"{key} is not a list (set {key}={{...}} first)", here)
            container[key] = items
            self._item(items, here, level)
        else:
            inner = container.get(key, {})
            if not isinstance(inner, dict):
                raise self._fail(f"{key} is not a map, so it has no keys", here)
            container[key] = inner
            self._key(inner, here, level + 1)

    def _item(self, items: list[Any], path: Path, level: int) -> None:
        index = self._index(path)
        here = (*path, index)
        extra, stop = self._until("[.=")
        if extra or not stop:
            raise self._fail("after an index must come =, . or [ (write a[0]=value)", here)
        existing = items[index] if index < len(items) else None
        if stop == "=":
            self._done.append(self._assignment(here))
            self._put(items, index, self._value()[0])
        elif stop == "[":
            nested = [] if existing is None else existing
            if not isinstance(nested, list):
                raise self._fail("this item is not a list", here)
            self._item(nested, here, level)
            self._put(items, index, nested)
        else:
            inner = existing if isinstance(existing, dict) else {}
            if index < len(items):
                items[index] = inner
            # Ends by an exception after `a[0].b=`: then Helm forgets a new item, and so do we.
            self._key(inner, here, level + 1)
            self._put(items, index, inner)

    def _index(self, path: Path) -> int:
        text, stop = self._until("]")
        if not stop or not _INTEGER.fullmatch(text) or not 0 <= int(text) <= _MAX_INDEX:
            raise self._fail(
                f'"{text}" is not an index (write a number from 0 to {_MAX_INDEX}, '
                "as in a[0]=value)",
                path,
            )
        return int(text)

    @staticmethod
    def _put(items: list[Any], index: int, value: Any) -> None:
        items.extend([None] * (index + 1 - len(items)))
        items[index] = value

    def _value(self) -> tuple[Any, bool]:
        """The value after a `=`, and whether the expression ended right there."""
        if self._at == len(self._text):
            return "", True
        if self._text[self._at] != "{":
            return _typed(self._until(",")[0]), False
        self._at += 1
        items = []
        while True:
            text, stop = self._until(",}")
            if not stop:
                raise self._fail("the list does not end (close it with })")
            items.append(_typed(text))
            if stop == "}":
                break
        if self._text[self._at : self._at + 1] == ",":
            self._at += 1
        return items, False

    def _assignment(self, path: Path) -> Assignment:
        return Assignment(path, Position(SETTING, self._number, self._start + 1))


def _typed(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text == "0" or (text[:1] != "0" and _INTEGER.fullmatch(text) and int(text) in _INT64):
        return int(text)
    return text
