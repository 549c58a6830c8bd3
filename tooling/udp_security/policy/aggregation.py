# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What several nodes denied, put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from udp_security.policy.denied import DeniedFlow, DeniedPort
from udp_security.policy.model import DIRECTIONS, Address


def merged(flows: Iterable[DeniedFlow], names: Mapping[Address, str]) -> tuple[DeniedFlow, ...]:
    """The same flow of several nodes as one, with names; the most packets first."""
    same: defaultdict[Any, list[DeniedFlow]] = defaultdict(list)
    for flow in flows:
        same[flow.os, flow.direction, flow.source, flow.destination, flow.port].append(flow)
    found = [
        replace(
            parts[0],
            **_sum(parts),
            source_name=names.get(parts[0].source),
            destination_name=names.get(parts[0].destination),
        )
        for parts in same.values()
    ]

    def order(flow: DeniedFlow) -> Any:
        ends = flow.source.version, flow.source, flow.destination
        return -flow.packets, DIRECTIONS.index(flow.direction), ends, flow.port

    return tuple(sorted(found, key=order))


def merged_ports(ports: Iterable[DeniedPort]) -> tuple[DeniedPort, ...]:
    """The same port of several nodes as one; the most packets first."""
    same: defaultdict[Any, list[DeniedPort]] = defaultdict(list)
    for port in ports:
        same[port.os, port.direction, port.port].append(port)
    found = [replace(parts[0], **_sum(parts)) for parts in same.values()]
    return tuple(sorted(found, key=lambda p: (-p.packets, DIRECTIONS.index(p.direction), p.port)))


def _sum(parts: list[DeniedFlow] | list[DeniedPort]) -> dict[str, Any]:
    """What becomes of the fields that differ between nodes."""
    return {
        "packets": sum(part.packets for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "nodes": tuple(sorted({node for part in parts for node in part.nodes})),
        "last_seen": max((part.last_seen for part in parts if part.last_seen), default=None),
    }
