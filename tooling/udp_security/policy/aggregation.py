# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What several nodes denied, put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final

from udp_security.policy.denied import DeniedFlow, DeniedPort
from udp_security.policy.model import DIRECTIONS, Address

_NEVER: Final = datetime.min.replace(tzinfo=timezone.utc)


def merged(flows: Iterable[DeniedFlow], names: Mapping[Address, str]) -> tuple[DeniedFlow, ...]:
    """The same flow of several nodes as one, with names; the most packets first."""
    found = [
        replace(
            parts[0],
            **_sum(parts),
            source_name=names.get(parts[0].source),
            destination_name=names.get(parts[0].destination),
        )
        for parts in _same(flows)
    ]
    return tuple(sorted(found, key=_order))


def counted_once(flows: Iterable[DeniedFlow]) -> tuple[DeniedFlow, ...]:
    """The same flow as it was told at several times as one; the most packets first.

    A node counts a flow on from its first denied packet, until there was none for an hour: what it
    tells later has in it what it told before. So of counts that have a node in common only the
    largest counts, and those of different nodes add up. What a node forgot in between may be
    missing in the sum, and no packet is in it twice. The names are the latest.
    """
    found = []
    for parts in _same(flows):
        apart: list[DeniedFlow] = []
        seen: set[str] = set()
        for part in sorted(parts, key=lambda part: (-part.packets, part.nodes)):
            # Those of no named node are taken for the same one's.
            nodes = set(part.nodes) or {""}
            if not nodes & seen:
                seen |= nodes
                apart.append(part)
        latest = sorted(parts, key=lambda part: part.last_seen or _NEVER)
        found.append(
            replace(
                parts[0],
                **{**_sum(parts), "packets": _sum(apart)["packets"], "bytes": _sum(apart)["bytes"]},
                source_name=_last(part.source_name for part in latest),
                destination_name=_last(part.destination_name for part in latest),
            )
        )
    return tuple(sorted(found, key=_order))


def merged_ports(ports: Iterable[DeniedPort]) -> tuple[DeniedPort, ...]:
    """The same port of several nodes as one; the most packets first."""
    same: defaultdict[Any, list[DeniedPort]] = defaultdict(list)
    for port in ports:
        same[port.os, port.direction, port.port].append(port)
    found = [replace(parts[0], **_sum(parts)) for parts in same.values()]
    return tuple(sorted(found, key=lambda p: (-p.packets, DIRECTIONS.index(p.direction), p.port)))


def _same(flows: Iterable[DeniedFlow]) -> Iterable[list[DeniedFlow]]:
    """What is one flow, whoever told it."""
    same: defaultdict[Any, list[DeniedFlow]] = defaultdict(list)
    for flow in flows:
        same[flow.os, flow.direction, flow.source, flow.destination, flow.port].append(flow)
    return same.values()


def _order(flow: DeniedFlow) -> Any:
    ends = flow.source.version, flow.source, flow.destination
    return -flow.packets, DIRECTIONS.index(flow.direction), ends, flow.port


def _last(names: Iterable[str | None]) -> str | None:
    """The last name that there is."""
    return next(reversed(list(filter(None, names))), None)


def _sum(parts: list[DeniedFlow] | list[DeniedPort]) -> dict[str, Any]:
    """What becomes of the fields that differ between nodes."""
    return {
        "packets": sum(part.packets for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "nodes": tuple(sorted({node for part in parts for node in part.nodes})),
        "last_seen": max((part.last_seen for part in parts if part.last_seen), default=None),
    }
