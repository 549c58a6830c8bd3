# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The table of a chart's values as Markdown: key, default, and the prose that stands above the key.

A mapping gets one line for each of its keys, `linux.scope`, when at least one of them has prose;
otherwise it is one value. Indented lines of prose are a list: `#   name   what it is`.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml


class Row(NamedTuple):
    """One line of the table. `default` is JSON; empty for a mapping whose keys have own lines."""

    key: str
    default: str
    prose: str


def render(text: str) -> str:
    """The table for the text of a values.yaml.

    Raises ValueError, with the line, for a key that has no prose.
    """
    lines = ["| Key | Default | What it is |", "| --- | --- | --- |"]
    for row in rows(text):
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.key}` | {_cell(default)} | {_cell(row.prose)} |")
    return "\n".join(lines) + "\n"


def rows(text: str) -> list[Row]:
    """All lines of the table, in the order of the file. Raises ValueError."""
    try:
        root = yaml.compose(text)
    except yaml.YAMLError as error:
        raise ValueError(f"values.yaml: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml is no mapping")
    return list(_rows(root, "", text.splitlines()))


def _rows(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        prose = _prose(key, lines)
        if not prose:
            raise ValueError(f"values.yaml:{key.start_mark.line + 1}: no prose above '{path}'")
        if isinstance(value, yaml.MappingNode) and any(_prose(k, lines) for k, _ in value.value):
            yield Row(path, "", prose)
            yield from _rows(value, f"{path}.", lines)
        else:
            yield Row(path, json.dumps(_construct(value), ensure_ascii=False), prose)


def _construct(node: yaml.Node) -> object:
    return yaml.SafeLoader("").construct_object(node, deep=True)


def _prose(key: yaml.Node, lines: list[str]) -> str:
    """The comment lines right above a key, as Markdown for a table's cell."""
    first = key.start_mark.line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    comment = [line.lstrip()[1:] for line in lines[first : key.start_mark.line]]
    paragraphs: list[str] = []
    item_indent: int | None = None
    fresh = True
    for line in comment:
        content = line.strip()
        indent = len(line) - len(line.lstrip())
        if not content:
            fresh, item_indent = True, None
            continue
        is_item = indent > 1 and (item_indent is None or indent <= item_indent)
        leaves_list = indent <= 1 and item_indent is not None
        if is_item:
            item_indent = indent
            name, gap, rest = re.split(r"(\s{2,}|$)", content, maxsplit=1)
            paragraphs.append(f"`{name}`: {rest}" if gap else content)
        elif fresh or leaves_list:
            item_indent = None
            paragraphs.append(content)
        else:
            paragraphs[-1] += f" {content}"
        fresh = False
    return "<br>".join(paragraphs)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
