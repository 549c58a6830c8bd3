# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Where things stand in the text of a YAML file, to the character."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

_ENDS = (MappingEndEvent, SequenceEndEvent)
_PASTE = "or paste the YAML by hand"
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s*(?:#.*\s*)*)+")
_COLON: Final = re.compile(r"\s*:")


@dataclass
class Place:
    """A value of the file: `text[start:end]`, without the comments behind it.

    The anchor and the tag of a scalar or of a flow collection stand before that. `flow`
    collections stand in brackets. A block's `column` is that of its keys or dashes. `entries` are
    a map's values by key, `last` is where the content of the last entry ends.
    """

    kind: str
    start: int
    end: int
    flow: bool = False
    column: int = 0
    entries: dict[str, Place] = field(default_factory=dict)
    last: int | None = None


def places(text: str) -> tuple[Place | None, int]:
    """The document's root, None if there is none; and where the document may grow no further.

    ValueError: not YAML that ruamel.yaml reads, which is stricter than Helm and PyYAML; it says
    where, and what to do.
    """
    try:
        events = iter(list(YAML().parse(text)))
    except MarkedYAMLError as error:
        raise ValueError(_refusal(error, text)) from error
    except YAMLError as error:
        raise ValueError(f"cannot be read well enough to be added to ({_PASTE})") from error
    root, limit = None, len(text)
    for event in events:
        if isinstance(event, (AliasEvent, ScalarEvent, MappingStartEvent, SequenceStartEvent)):
            root = _place(event, events, text)
        elif isinstance(event, DocumentEndEvent) and event.explicit:
            limit = event.start_mark.index
    return root, limit


def _refusal(error: MarkedYAMLError, text: str) -> str:
    """Where the text stops to be YAML for ruamel.yaml, and the remedy."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
    if mark and text[mark.index : mark.index + 1] == "\t":
        return f"has a tab in {where} (use spaces, {_PASTE})"
    return f"{where} is written in a way that cannot be added to (write it plainly, {_PASTE})"


def _place(event: Event, events: Iterator[Event], text: str) -> Place:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, ScalarEvent):
        return Place("scalar", _behind(_PROPERTIES, text, start, end), end)
    if isinstance(event, AliasEvent):
        return Place("alias", start, end)
    is_map = isinstance(event, MappingStartEvent)
    flow = bool(event.flow_style)  # type: ignore[attr-defined]
    place = Place("map" if is_map else "list", end - 1 if flow else start, end, flow)
    # Without properties, a block begins with its first dash; with them, that is where they end.
    place.column = 0 if is_map else _column(text, end if text[end : end + 1] == "-" else end - 1)
    while not isinstance(event := next(events), _ENDS):
        if is_map:
            if not place.entries:
                place.column = event.start_mark.column
            key, key_end = _key(event, events, text)
            event = next(events)
        value = _place(event, events, text)
        if is_map:
            if event.start_mark.index == event.end_mark.index and value.kind == "scalar":
                # A value that is not there stands, for ruamel.yaml, where the next thing begins.
                value.start = value.end = _behind(_COLON, text, key_end, len(text))
            place.entries[key] = value
        place.last = value.end
    place.end = event.end_mark.index if flow or place.last is None else place.last
    return place


def _key(event: Event, events: Iterator[Event], text: str) -> tuple[str, int]:
    """A key and where it ends."""
    place = _place(event, events, text)
    if isinstance(event, ScalarEvent):
        value: Any = event.value
        return str(value), place.end
    return text[place.start : place.end], place.end


def _behind(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Where what is at `start` ends if the pattern matches it, else `start`."""
    found = pattern.match(text, start, end)
    return found.end() if found else start


def _column(text: str, index: int) -> int:
    return index - (max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1)
