# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""How a difference of two policies is shown: as tables for people, as JSON for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Console

from udp_security.cli.tables import table
from udp_security.policy.boxes import Box, besides
from udp_security.policy.difference import Difference, Loss
from udp_security.policy.model import Network, PortRange, canonical

# More rows of a table, more entries of a list in it and a longer setting than people read.
_ROWS = 20
_ENTRIES = 4
_LONG = 60

_HEAD = ("DIRECTION", "NODES", "FROM", "TO", "PORTS")


def print_difference(difference: Difference, console: Console) -> None:
    """Prints lost lifelines, newly allowed and newly denied flows, then settings.

    Long lists end in "and N more"; difference_as_json has all.
    """
    for line in _losses(difference.lifelines):
        console.print(line, style="bold red")
    for title, boxes, style in (
        ("Newly allowed:", difference.allowed, "green"),
        ("Newly denied:", difference.denied, "yellow"),
    ):
        if boxes:
            rows = list(_rows(boxes))
            console.print(title, style=f"bold {style}")
            for line in table([_HEAD, *rows[:_ROWS]]):
                console.print(f"  {line}")
            if len(rows) > _ROWS:
                console.print(f"  and {len(rows) - _ROWS} more")
    if difference.settings:
        console.print("Settings:", style="bold")
        rows = [
            (s.os, s.name, f"{_cut(s.old)} -> {_cut(s.new)}", s.meaning)
            for s in difference.settings
        ]
        for line in table(rows):
            console.print(f"  {line}")
    if difference.empty:
        known = " in what can be compared" if difference.not_compared else ""
        console.print(f"No difference in meaning{known}.")
    if difference.not_compared:
        names = ", ".join(f"{each.os}.{each.name}" for each in difference.not_compared)
        console.print(f"Not compared, since the cluster does not tell: {names}", style="yellow")


def difference_as_json(difference: Difference) -> dict[str, Any]:
    """The whole difference; boxes look like rules of the values."""
    return {
        "schemaVersion": 1,
        "equivalent": difference.empty,
        "lifelines": [
            {
                "name": loss.name,
                "os": loss.os,
                "direction": loss.direction,
                "from": canonical(loss.source),
                "to": canonical(loss.destination),
                "port": loss.port,
            }
            for loss in difference.lifelines
        ],
        "allowed": [_as_json(box) for box in difference.allowed],
        "denied": [_as_json(box) for box in difference.denied],
        "settings": [
            {"os": s.os, "name": s.name, "old": s.old, "new": s.new, "meaning": s.meaning}
            for s in difference.settings
        ],
        "notCompared": [f"{each.os}.{each.name}" for each in difference.not_compared],
    }


def _as_json(box: Box) -> dict[str, Any]:
    return {
        "direction": box.direction,
        "os": list(box.systems),
        "from": [canonical(network) for network in box.sources],
        "to": [canonical(network) for network in box.destinations],
        "ports": [low if low == high else f"{low}-{high}" for low, high in box.ports],
    }


def _losses(losses: Iterable[Loss]) -> Iterator[str]:
    """One line for each lifeline and system."""
    grouped: defaultdict[tuple[str, str], list[Loss]] = defaultdict(list)
    for loss in losses:
        grouped[loss.name, loss.os].append(loss)
    for (name, os), (first, *more) in grouped.items():
        source, destination = _addresses([first.source]), _addresses([first.destination])
        yield (
            f"Lifeline {name} is cut on {os} nodes: {first.direction} from {source} to "
            f"{destination}, port {first.port}{f', and {len(more)} more' if more else ''}"
        )


def _rows(boxes: Iterable[Box]) -> Iterator[tuple[str, ...]]:
    """A row for each box, or for an IPv4 and an IPv6 box that one rule would say together."""
    grouped: defaultdict[tuple[object, ...], list[Box]] = defaultdict(list)
    for box in boxes:
        key = (box.direction, box.systems, box.ports, *map(_is_any, _ends(box)))
        grouped[key].append(box)
    for alike in grouped.values():
        families = ([b for b in alike if b.sources[0].version == version] for version in (4, 6))
        for pair in zip_longest(*families):
            yield _row([box for box in pair if box])


def _row(boxes: Sequence[Box]) -> tuple[str, ...]:
    box = boxes[0]
    if len(boxes) == 1 and all(map(_is_any, _ends(box))):
        # Otherwise another address tells the family.
        ends = [f"any IPv{box.sources[0].version}"] * 2
    else:
        ends = [
            ", ".join(dict.fromkeys(map(_addresses, end)))
            for end in zip(*map(_ends, boxes), strict=True)
        ]
    nodes = "both" if len(box.systems) > 1 else box.systems[0]
    return box.direction, nodes, *ends, _list(map(_port_text, box.ports))


def _ends(box: Box) -> tuple[tuple[Network, ...], tuple[Network, ...]]:
    return box.sources, box.destinations


def _is_any(networks: Sequence[Network]) -> bool:
    return networks[0].prefixlen == 0


def _addresses(networks: Sequence[Network]) -> str:
    if _is_any(networks):
        return "any"
    if len(networks) > _ENTRIES and len(others := besides(networks)) < len(networks):
        return f"any but {_list(map(canonical, others))}"
    return _list(map(canonical, networks))


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def _port_text(ends: PortRange) -> str:
    low, high = ends
    return str(low) if low == high else f"{low}-{high}"


def _list(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = len(shown) - _ENTRIES
    # What says that there is one more is as long as that one.
    return ", ".join(shown) if more <= 1 else f"{', '.join(shown[:_ENTRIES])} and {more} more"
