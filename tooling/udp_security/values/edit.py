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

    Raises ValuesError where the file cannot be read, EditError.
    """
    before = ValuesFile(name, text)
    newline = "\r\n" if "\r\n" in text else "\n"
    try:
        changed = text
        for key in ("presets", "rules"):
            if getattr(addition, key):
                changed = _added(changed, key, addition, newline)
        after = ValuesFile(name, changed).values
    except ValueError as error:
        raise EditError(f"{name}: {error}") from error
    except ValuesError as error:
        raise EditError(f"{name}: cannot be added to ({_BY_HAND})") from error
    # Whatever the places were: this is what counts.
    if after != _expected(before.values, addition):
        raise EditError(f"{name}: cannot be added to ({_BY_HAND})")
    return changed


_BY_HAND: Final = "write rules: and presets: as plain block lists and maps, or paste the YAML"


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
    if place.last is None and not root.flow and "\n" not in text[place.start : place.end]:
        # [] or {}: the block begins below.
        column = root.column + 2
        cut = text[: place.start].rstrip(" ") + text[place.end :]
        at = _line_end(cut, len(text[: place.start].rstrip(" ")))
        return _spliced(cut, at, _block(key, addition, column), newline)
    if key == "rules":
        if place.flow:
            return _into_flow(text, place, [_flow(rule) for rule, _ in addition.rules])
        return _spliced(text, _after(text, place), _items(addition, place.column), newline)
    for name, _ in addition.presets:
        if name in place.entries:
            switch = place.entries[name]
            text = text[: switch.start] + "true" + text[switch.end :]
            place = places(text)[0].entries[key]  # type: ignore[union-attr]
    missing = Addition(presets=[each for each in addition.presets if each[0] not in place.entries])
    if not missing:
        return text
    if place.flow:
        return _into_flow(text, place, [f"{name}: true" for name, _ in missing.presets])
    return _spliced(text, _after(text, place), _switches(missing, place.column), newline)


_KINDS: Final = {"rules": "list", "presets": "map"}


def _with_key(
    text: str, root: Place, limit: int, key: str, addition: Addition, newline: str
) -> str:
    """The text with the key, which was not there."""
    if root.flow:
        value = (
            f"[{', '.join(_flow(rule) for rule, _ in addition.rules)}]"
            if key == "rules"
            else f"{{{', '.join(f'{name}: true' for name, _ in addition.presets)}}}"
        )
        return _into_flow(text, root, [f"{key}: {value}"])
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


def _flow(rule: Mapping[str, Any]) -> str:
    """A rule on one line."""
    return f"{{{', '.join(f'{key}: {_written(value)}' for key, value in rule.items())}}}"


def _written(value: Any) -> str:
    """A value on one line. In quotes, as in JSON, what some reader of YAML may misunderstand."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and resolve(value) == value):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _into_flow(text: str, place: Place, entries: Sequence[str]) -> str:
    """Before the closing bracket; a comma that is there already stays the last one."""
    if place.last is None:
        at, joined = place.end - 1, ", ".join(entries)
    else:
        at, joined = place.last, "".join(f", {entry}" for entry in entries)
    return text[:at] + joined + text[at:]


def _after(text: str, place: Place) -> int:
    """Where the line after a block's content begins."""
    assert place.last is not None
    at = place.last
    # A block scalar ends there already.
    return at if text[at - 1 : at] in ("\n", "\r") else _line_end(text, at)


def _line_end(text: str, index: int) -> int:
    """Where the next line begins."""
    found = re.compile(r"\r\n|\n|\r").search(text, index)
    return found.end() if found else len(text)


def _spliced(text: str, index: int, lines: str, newline: str) -> str:
    """The text with whole lines in it; a text without a newline at its end stays without."""
    lines = lines.replace("\n", newline)
    before, after = text[:index], text[index:]
    if before and not before.endswith(("\n", "\r")):
        before, lines = before + newline, lines.removesuffix(newline)
    return before + lines + after
