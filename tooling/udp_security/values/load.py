# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Reads one values file: what it says, and where each key and item stands.

PyYAML's C parser builds the node tree with positions; the nodes are kept, and the meaning of
scalars and merge keys is Helm's (see scalars.py). Stricter than Helm in what Helm passes over in
silence: duplicate keys, several documents (Helm 3 reads the first, Helm 4 merges them), unknown
tags.
"""

import codecs
import gc
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from yaml import (
    CBaseLoader,
    MappingNode,
    MarkedYAMLError,
    Node,
    ScalarNode,
    SequenceNode,
    YAMLError,
)
from yaml.reader import ReaderError

from udp_security.values.problem import Path, Position, ValuesError, ValuesProblem
from udp_security.values.scalars import resolve

STDIN = "-"
_IMPLICIT = "?"
_STRING = "tag:yaml.org,2002:str"
_KNOWN_TAGS = frozenset((_IMPLICIT, _STRING, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!"))
_MAX_DEPTH = 100
_MAX_VALUES = 1_000_000


class _Refused(Exception):
    """Something in the file is not allowed; the caller adds the file's name."""

    def __init__(self, message: str, line: int, column: int, path: Path = ()) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.path = message, line, column, path


class _Composer(CBaseLoader):
    """LibYAML's composer with the resolving left to us, which also makes it fast."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        # A scalar comes with (untagged and plain, untagged and quoted), a collection with a bool.
        if kind is ScalarNode and not implicit[0]:
            return _STRING
        return _IMPLICIT

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        self._depth += 1
        # The C code recurses without a bound of its own and would overflow the stack.
        if self._depth > _MAX_DEPTH and parent is not None:
            mark = parent.start_mark
            message = f"nested more than {_MAX_DEPTH} levels deep (no value needs that)"
            raise _Refused(message, mark.line, mark.column)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class ValuesFile:
    """One values file. `name` is how messages call it, `values` what it says, as plain Python."""

    def __init__(self, name: str, text: str) -> None:
        """Raises ValuesError with everything that keeps the file from being read."""
        self.name = name
        self._problems: list[ValuesProblem] = []
        # Hundreds of thousands of small objects that all stay: collecting would triple the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._root = self._compose(text)
            self._count = 0
            self.values: dict[str, Any] = self._build_root()
        except _Refused as refused:
            self._refuse(refused.message, refused.line, refused.column, refused.path)
        finally:
            if collecting:
                gc.enable()
        if self._problems:
            raise ValuesError(self._problems)

    def find(self, path: Path) -> tuple[Position, int, bool]:
        """Looks for `path`: the position of its longest part that stands here, that part's length,
        and whether the rest could not stand in an earlier file (a list or scalar replaces all).
        """
        node = self._root
        position = Position(self.name, 1, 1)
        owned = False
        for depth, step in enumerate(path):
            if node is None:
                return position, depth, owned
            if isinstance(node, MappingNode) and isinstance(step, str):
                entry = {key: nodes for key, *nodes in _entries(node)}.get(step)
                if entry is None:
                    return position, depth, owned
                key, node = entry
                # A block of lines begins under its key; people look for the key.
                place = node if node.start_mark.line == key.start_mark.line else key
            elif isinstance(node, SequenceNode) and isinstance(step, int):
                owned = True
                if step >= len(node.value):
                    return position, depth, owned
                place = node = node.value[step]
            else:
                return position, depth, True
            position = self._position(place)
        return position, len(path), owned

    def find_key(self, path: Path) -> Position | None:
        """The position of the key that ends `path` itself, None when it is not here."""
        node: Node | None = self._root
        for step in path[:-1]:
            if isinstance(node, MappingNode):
                node = next((value for key, _, value in _entries(node) if key == step), None)
            elif isinstance(node, SequenceNode) and isinstance(step, int):
                node = node.value[step] if step < len(node.value) else None
        if isinstance(node, MappingNode):
            for key, key_node, _ in _entries(node):
                if key == path[-1]:
                    return self._position(key_node)
        return None

    def _position(self, node: Node) -> Position:
        return Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _refuse(self, message: str, line: int, column: int, path: Path = ()) -> None:
        position = Position(self.name, line + 1, column + 1)
        self._problems.append(ValuesProblem(position, path, message))

    def _compose(self, text: str) -> Node | None:
        try:
            root: Node | None = _Composer(text).get_single_node()
        except MarkedYAMLError as error:
            raise _marked(error) from None
        except ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
            raise _Refused(f"not YAML: {error.reason} (remove it)", line, column) from None
        except YAMLError as error:
            raise _Refused(f"not YAML: {error}", 0, 0) from None
        return root

    def _build_root(self) -> dict[str, Any]:
        value = None if self._root is None else self._build(self._root, ())
        if value is None:
            return {}
        if not isinstance(value, dict):
            mark = self._root.start_mark if self._root else None
            raise _Refused(
                "values must be a map (begin with a key, such as `mode: audit`)",
                mark.line if mark else 0,
                mark.column if mark else 0,
            )
        return value

    def _build(self, node: Node, path: Path) -> Any:
        if node.tag not in _KNOWN_TAGS:
            mark = node.start_mark
            self._refuse(f"unknown tag {node.tag} (remove it)", mark.line, mark.column, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._count += len(node.value)
        if self._count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            mark = node.start_mark
            raise _Refused(
                f"more than {_MAX_VALUES} values or an alias inside itself (write it out)",
                mark.line,
                mark.column,
            )
        if isinstance(node, SequenceNode):
            return [self._build(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        self._check_keys(node, path)
        return {key: self._build(value, (*path, key)) for key, _, value in _entries(node)}

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag != _IMPLICIT:
            return node.value
        try:
            return resolve(node.value)
        except ValueError as error:
            self._refuse(str(error), node.start_mark.line, node.start_mark.column, path)
            return None

    def _check_keys(self, node: MappingNode, path: Path) -> None:
        seen: dict[str, Node] = {}
        for key, value in node.value:
            mark = key.start_mark
            if _is_merge(key):
                if not all(isinstance(source, MappingNode) for source in _merged(value)):
                    self._refuse(
                        "<< must be followed by a map or an alias of one", mark.line, mark.column
                    )
                continue
            name = _key(key)
            if name is None:
                self._refuse("a key must be text (put it in quotes)", mark.line, mark.column, path)
            elif name in seen:
                self._refuse(
                    f"this key is here twice, first in line {seen[name].start_mark.line + 1} "
                    "(remove one)",
                    mark.line,
                    mark.column,
                    (*path, name),
                )
            else:
                seen[name] = key


def read(name: str) -> ValuesFile:
    """Reads the file `name`, or standard input for "-".

    Raises ValuesError: `unreadable` when it cannot be opened, else with what is wrong where.
    """
    shown = "<stdin>" if name == STDIN else name
    try:
        data = sys.stdin.buffer.read() if name == STDIN else FilePath(name).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = ValuesProblem(
            Position(shown, 1, 1), (), f"cannot be read: {reason} (check the path after -f)"
        )
        raise ValuesError([problem], unreadable=True) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        position = Position(shown, before.count("\n") + 1, len(before) - before.rfind("\n"))
        # What Windows PowerShell writes; Helm 4 cannot read it.
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        message = f"is {'UTF-16' if utf16 else 'not UTF-8'} text (save the file as UTF-8)"
        raise ValuesError([ValuesProblem(position, (), message)]) from None
    return ValuesFile(shown, text)


def _entries(node: MappingNode) -> Iterator[tuple[str, Node, Node]]:
    """(key, its node, value) in the order in which Helm's reader sets them: later ones win."""
    for key, value in node.value:
        if _is_merge(key):
            for source in reversed(_merged(value)):
                if isinstance(source, MappingNode):
                    yield from _entries(source)
        elif (name := _key(key)) is not None:
            yield name, key, value


def _is_merge(key: Node) -> bool:
    return key.tag == _IMPLICIT and key.value == "<<"


def _merged(value: Node) -> list[Node]:
    return value.value if isinstance(value, SequenceNode) else [value]


def _key(node: Node) -> str | None:
    """A key as Helm's JSON has it: `1` is "1", `on` is "true"; None for what cannot be a key."""
    if not isinstance(node, ScalarNode):
        return None
    if node.tag != _IMPLICIT:
        return str(node.value)
    try:
        value = resolve(node.value)
    except ValueError:
        return None
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _marked(error: MarkedYAMLError) -> _Refused:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if error.context and "single document" in error.context:
        return _Refused(
            "a second document begins here; Helm 3 ignores it, Helm 4 merges it "
            "(use one document a file)",
            line,
            column,
        )
    reason = ", ".join(filter(None, (error.context, error.problem)))
    return _Refused(f"not YAML: {reason} (check the indentation and quotes)", line, column)
