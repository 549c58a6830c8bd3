# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Adds rules and presets to the text of a values file; nothing else in it changes.

ruamel.yaml tells where what stands. What is there is not written again, for even its round trip
joins lines, and evens out indentation and spaces.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from udp_security.values.load import ValuesFile
from udp_security.values.places import Place, places
from udp_security.values.problem import ValuesError
from udp_security.values.scalars import resolve

_WIDTH: Final = 100
# What needs no quotes in any place, also between brackets, if it means text. Ranges of ports get
# them as everywhere in this project.
_PLAIN: Final = re.compile(r"(?!\d+-\d+$)[A-Za-z0-9][A-Za-z0-9./_-]*")
_NEWLINE: Final = r"(?:\r\n|\n|\r)"


class EditError(Exception):
    """The file is written in a way that cannot be added to; the message says how to change it."""


@dataclass(frozen=True)
class Addition:
    """Rules as in the values, names of presets to switch on, and comments for each."""

    rules: Sequence[tuple[Mapping[str, Any], Sequence[str]]] = ()
    presets: Sequence[tuple[str, Sequence[str]]] = ()

    def __bool__(self) -> bool:
        return bool(self.rules or self.presets)


def fragment(addition: Addition) -> str:
    """The addition as a values file of its own, with the comments."""
    text = ""
    if addition.presets:
        text += f"presets:\n{_switches(addition, 2)}"
    if addition.rules:
        text += f"rules:\n{_items(addition, 2)}"
    return text


def add(name: str, text: str, addition: Addition) -> str:
    """The text of the file `name` with the addition; it keeps its newlines and their kind.

    JSON stays JSON. A block scalar that ends the file without a newline gets it if more follows.

    Raises ValuesError where the file cannot be read, EditError.
    """
    before = [ValuesFile(name, text).values]
    newline = "\r\n" if "\r\n" in text else "\n"
    try:
        changed = text
        for key in ("presets", "rules"):
            if getattr(addition, key):
                changed = _added(changed, key, addition, newline)
        after = ValuesFile(name, changed).values
        if not text.endswith(("\n", "\r")):
            before.append(ValuesFile(name, text + newline).values)
    except ValueError as error:
        raise EditError(f"{name}: {error}") from error
    except ValuesError as error:
        raise EditError(f"{name}: cannot be added to ({_BY_HAND})") from error
    # Whatever the places were: this is what counts.
    if after not in [_expected(values, addition) for values in before]:
        raise EditError(f"{name}: cannot be added to ({_BY_HAND})")
    return changed


_BY_HAND: Final = (
    "write rules: and presets: as plain block lists and maps that no alias uses, or paste the YAML"
)


def _expected(values: Mapping[str, Any], addition: Addition) -> dict[str, Any]:
    expected = dict(values)
    if addition.rules:
        expected["rules"] = [*(values.get("rules") or ()), *(rule for rule, _ in addition.rules)]
    if addition.presets:
        expected["presets"] = {
            **(values.get("presets") or {}),
            **{name: True for name, _ in addition.presets},
        }
    return expected


def _added(text: str, key: str, addition: Addition, newline: str) -> str:
    root, limit = places(text)
    if root is not None and root.kind == "scalar" and root.end > root.start:
        # A null, which makes room.
        text = text[: root.start] + text[root.end :]
        root, limit = places(text)
    if root is None or root.kind == "scalar":
        # Nothing but comments.
        root = Place("map", 0, 0, column=0)
    if root.kind != "map":
        raise ValueError(f"is not a map ({_BY_HAND})")
    place = root.entries.get(key)
    if place is None:
        return _with_key(text, root, limit, key, addition, newline)
    if place.kind != _KINDS[key]:
        raise ValueError(f"{key} is not written as a {_KINDS[key]} (write it out)")
    # Between brackets on several lines there may be comments.
    on_one_line = len(text[place.start : place.end].splitlines()) == 1
    if place.last is None and on_one_line and not root.flow:
        # [] or {}: the block begins below.
        column = root.column + 2
        head = text[: place.start].rstrip(" ")
        cut = head + text[place.end :]
        return _spliced(cut, _after(cut, len(head), column), _block(key, addition, column), newline)
    if key == "rules":
        if place.flow:
            return _into_flow(text, place, [rule for rule, _ in addition.rules])
        at = _after(text, place.end, place.column)
        return _spliced(text, at, _items(addition, place.column), newline)
    for name, _ in addition.presets:
        if name in place.entries:
            switch = place.entries[name]
            value = "true" if switch.end > switch.start else " true"
            text = text[: switch.start] + value + text[switch.end :]
            place = places(text)[0].entries[key]  # type: ignore[union-attr]
    missing = Addition(presets=[each for each in addition.presets if each[0] not in place.entries])
    if not missing:
        return text
    if place.flow:
        return _into_flow(text, place, {name: True for name, _ in missing.presets})
    at = _after(text, place.end, place.column)
    return _spliced(text, at, _switches(missing, place.column), newline)


_KINDS: Final = {"rules": "list", "presets": "map"}


def _with_key(
    text: str, root: Place, limit: int, key: str, addition: Addition, newline: str
) -> str:
    """The text with the key, which was not there."""
    if root.flow:
        return _into_flow(text, root, {key: _expected({}, addition)[key]})
    block = f"{key}:\n{_block(key, addition, 2)}"
    return _spliced(text, limit, textwrap.indent(block, " " * root.column), newline)


def _block(key: str, addition: Addition, column: int) -> str:
    return (_items if key == "rules" else _switches)(addition, column)


def _items(addition: Addition, column: int) -> str:
    """The rules as items of a block list."""
    return "".join(
        _comments(notes, column) + textwrap.indent(_item(rule), " " * column)
        for rule, notes in addition.rules
    )


def _switches(addition: Addition, column: int) -> str:
    """The presets as entries of a block map."""
    return "".join(
        f"{_comments(notes, column)}{' ' * column}{name}: true\n"
        for name, notes in addition.presets
    )


def _comments(notes: Sequence[str], column: int) -> str:
    """Notes as comments, without what could end one or reach a terminal."""
    prefix = " " * column + "# "
    lines: list[str] = []
    for note in notes:
        text = "".join(filter(str.isprintable, " ".join(note.split())))
        lines += _wrapped(text, prefix, prefix + "  ")
    return "".join(f"{line}\n" for line in lines)


def _item(rule: Mapping[str, Any]) -> str:
    """A rule as this project's files write it: lists in brackets, each text on one line."""
    lines = []
    for key, value in rule.items():
        line = f"{key}: {_written(value)}"
        lines += (
            _wrapped(line, "", " " * (len(key) + 3)) if isinstance(value, (list, tuple)) else [line]
        )
    return "- " + "".join(f"  {line}\n" for line in lines).removeprefix("  ")


def _written(value: Any) -> str:
    """A value on one line. In quotes, as in JSON, what some reader of YAML may misunderstand."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_written(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value:
        return value
    return _as_json(value)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _into_flow(
    text: str, place: Place, entries: Sequence[Mapping[str, Any]] | Mapping[str, Any]
) -> str:
    """Before the closing bracket; a comma that is there already stays the last one."""
    joined = (_as_json if _is_json(text) else _written)(entries)[1:-1]
    at = place.end - 1
    if place.last is not None:
        at, joined = place.last, f", {joined}"
    return text[:at] + joined + text[at:]


def _after(text: str, end: int, column: int) -> int:
    """Where the line begins after content that ends at `end`, and after the comments on it.

    Those are indented deeper than the `column` at which the next rule or preset will begin.
    """
    # A block scalar ends there already.
    at = end if text[end - 1 : end] in ("\n", "\r") else _line_end(text, end)
    # Some editors comment a line out in its first column, and leave the indentation behind that.
    comment = re.compile(
        rf"(?:(?:[ \t]*{_NEWLINE})*[ ]{{{column + 1},}}#|#[ ]{{{max(column + 1, 2)},}}\S)"
    )
    while found := comment.match(text, at):
        at = _line_end(text, found.end())
    return at


def _line_end(text: str, index: int) -> int:
    """Where the next line begins."""
    found = re.compile(_NEWLINE).search(text, index)
    return found.end() if found else len(text)


def _spliced(text: str, index: int, lines: str, newline: str) -> str:
    """The text with whole lines in it; a text without a newline at its end stays without."""
    lines = lines.replace("\n", newline)
    before, after = text[:index], text[index:]
    if before and not before.endswith(("\n", "\r")):
        before, lines = before + newline, lines.removesuffix(newline)
    return before + lines + after
