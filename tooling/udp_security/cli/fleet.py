# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The fleet's status as people read it: a table, and below it in words what is not as it should be.

Whoever owns a node can make its agent say anything, but nothing that a terminal would obey: see
`cluster.status`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from udp_security.cli import tables
from udp_security.policy.model import DIRECTIONS

if TYPE_CHECKING:
    from udp_security.cluster.status import NodeStatus

_HEAD = ("NODE", "OS", "MODE", "GENERATION", "IN FORCE", "HEALS", "DENIED", "AGE")
_WIDE = ("BACKEND", "CACHE", "OWNER", "VERSION", "LAST APPLIED", "NOT GOVERNED", "WHY NOT")
# What a terminal goes without that has not the room for all columns, the first ones first.
_SPARED = (
    *("VERSION", "LAST APPLIED", "OWNER", "CACHE", "BACKEND", "NOT GOVERNED", "WHY NOT"),
    *("AGE", "GENERATION", "HEALS", "OS", "DENIED", "MODE"),
)
# The table shows the beginning of a reason; the words below it have all of it.
_REASON = 48
# The least of it that is worth a column.
_FEW = 12
_UNITS = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "m"), (0, 1, "s"))


def table(nodes: Sequence[NodeStatus], *, wide: bool, now: datetime | None = None) -> list[Text]:
    """One line a node, as wide as it must be. `now` is in UTC; None leaves the ages out."""
    lines = tables.table(_rows(nodes, wide, now))
    styles = ["bold", *map(_style, nodes)]
    return [Text(line, style) for line, style in zip(lines, styles, strict=True)]


def screen(
    nodes: Sequence[NodeStatus], *, wide: bool, now: datetime, width: int, height: int
) -> list[Text]:
    """Words and table for a terminal of that size: what is not as it should be comes first.

    What finds no room is counted; of the columns those go that say the least.
    """
    said = words(nodes, wide=wide)[: max(1, height // 2 - 1)]
    order = sorted(nodes, key=_rank)
    room = max(1, height - len(said) - 1)
    if len(order) > room:
        order, rest = order[: room - 1], order[room - 1 :]
    else:
        rest = []
    lines = tables.table(_fitted(_rows(order, wide, now), width))
    styles = ["bold", *map(_style, order)]
    shown = [*said, *(Text(line, style) for line, style in zip(lines, styles, strict=True))]
    if rest:
        shown.append(Text(_counted(rest), _style(rest[0])))
    return [Text(tables.cut(line.plain, width), line.style) for line in shown]


def words(nodes: Sequence[NodeStatus], *, wide: bool) -> list[Text]:
    """What the table means: how many nodes enforce, and which don't, with all their reasons."""
    # Slow, and few commands need it.
    from udp_security.cluster.rollout import few  # noqa: PLC0415

    counted = [node for node in nodes if node.counts]
    enforcing = sum(node.enforces for node in counted)
    good = bool(counted) and enforcing == len(counted)
    summary = f"{enforcing} of {len(counted)} nodes enforce" if counted else "No node is governed"
    faults = list(_grouped((n.reason, n.node) for n in counted if not n.in_force))
    if len(faults) == 1:
        reason, names = faults.pop()
        summary += f"; {few(names)}: {reason}"
    lines = [Text(summary, "green" if good else "red")]
    lines += [Text(f"{few(names)}: {reason}", "red") for reason, names in faults]
    if audit := [node.node for node in counted if node.in_force and not node.enforces]:
        lines.append(Text(f"In mode audit, which denies nothing: {few(audit)}", "yellow"))
    if down := [node.node for node in nodes if node.governed and not node.ready]:
        lines.append(Text(f"Not ready, and so not counted: {few(down)}"))
    lines += _generations(nodes)
    if wide:
        holes = ((text, n.node) for n in nodes if n.said for text in n.said.not_governed)
        lines += [Text(f"Not governed on {few(names)}: {text}") for text, names in _grouped(holes)]
    return lines


def age(since: datetime, now: datetime) -> str:
    """A time span as kubectl writes it; never less than nothing, whatever a node's clock says."""
    seconds = max(0, int((now - since).total_seconds()))
    return next(f"{seconds // size}{unit}" for least, size, unit in _UNITS if seconds >= least)


def _generations(nodes: Sequence[NodeStatus]) -> Iterator[Text]:
    """Where nodes of an operating system have different policies, which have which."""
    from udp_security.cluster.rollout import few  # noqa: PLC0415

    by_os: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for node in nodes:
        if node.said and node.said.generation:
            by_os[node.os].append((node.said.generation, node.node))
    for system, found in by_os.items():
        generations = list(_grouped(found))
        if len(generations) > 1:
            texts = "; ".join(f"{generation} on {few(names)}" for generation, names in generations)
            yield Text(f"Generations differ between the {system} nodes: {texts}", "yellow")


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """The second ones of each first one, the most first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        found[key].append(name)
    return iter(sorted(found.items(), key=lambda each: -len(each[1])))


def _rank(node: NodeStatus) -> int:
    if not node.counts:
        return 2
    return 0 if not node.in_force else 1 if not node.enforces else 3


def _counted(nodes: Sequence[NodeStatus]) -> str:
    if all(node.in_force for node in nodes):
        return f"and {len(nodes)} more, all in force"
    counts = (
        (sum(not node.good for node in nodes), "not in force"),
        (sum(not node.counts for node in nodes), "not counted"),
        (sum(node.in_force for node in nodes), "in force"),
    )
    return f"and {len(nodes)} more: {', '.join(f'{n} {what}' for n, what in counts if n)}"


def _rows(nodes: Sequence[NodeStatus], wide: bool, now: datetime | None) -> list[tuple[str, ...]]:
    """With the head, all columns."""
    # A column of its own has the reason then.
    shown = 0 if wide else _REASON
    rows = [_cells(node, now, shown) + (_wide_cells(node) if wide else ()) for node in nodes]
    return [_HEAD + _WIDE if wide else _HEAD, *rows]


def _fitted(rows: Sequence[Sequence[str]], width: int) -> Sequence[Sequence[str]]:
    """With as many columns as fit, and names that leave room for whether it is in force."""
    for spared in _SPARED:
        if all(cell_len(line) <= width for line in tables.table(rows)):
            return rows
        at = [column for column, name in enumerate(rows[0]) if name != spared]
        rows = [[row[column] for column in at] for row in rows]
    return [[tables.cut(row[0], max(1, width - _FEW - 2)), *row[1:]] for row in rows]


def _style(node: NodeStatus) -> str:
    if not node.counts:
        return "dim"
    if not node.in_force:
        return "red"
    return "" if node.enforces else "yellow"


def _cells(node: NodeStatus, now: datetime | None, shown: int) -> tuple[str, ...]:
    said = node.said
    if not said:
        return (node.node, node.os, "-", "-", _in_force(node, shown), "-", "-", "-")
    counted = (said.denied.get(name) for name in DIRECTIONS)
    denied = "/".join(str(traffic.packets) if traffic else "-" for traffic in counted)
    return (
        node.node,
        node.os,
        said.mode or "-",
        said.generation or "-",
        _in_force(node, shown),
        str(said.heals),
        denied,
        age(said.applied, now) if said.applied and now else "-",
    )


def _in_force(node: NodeStatus, shown: int) -> str:
    if node.in_force:
        return "yes"
    if not node.governed:
        return node.reason
    if not shown:
        return "no"
    return f"no: {tables.cut(node.reason, shown)}"


def _wide_cells(node: NodeStatus) -> tuple[str, ...]:
    said = node.said
    if not said:
        return ("-", "-", "-", "-", "-", "-", node.reason or "-")
    return (
        said.backend,
        "-" if said.trusted is None else "trusted" if said.trusted else "not yet trusted",
        node.owner or "-",
        said.version or "-",
        said.applied.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if said.applied
        else "-",
        str(len(said.not_governed)),
        node.reason or "-",
    )
