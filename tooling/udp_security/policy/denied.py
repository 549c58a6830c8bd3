# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What was denied: as one node's agent tells it, and as `denials -o json` does of all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from udp_security.policy.fields import Fields
from udp_security.policy.model import (
    DIRECTIONS,
    SYSTEMS,
    Address,
    Direction,
    OperatingSystem,
    address_text,
)

# What a kernel's counter holds, and more than those of all nodes together.
_COUNT = (1 << 64) - 1
_SUM = (1 << 80) - 1
# Seconds: far more than a node remembers.
_LONG = 1 << 31


@dataclass(frozen=True)
class DeniedFlow:
    """A flow, by the names that a rule would have, and what of it was denied.

    `nodes` are those that denied it, by name. `last_seen` is the time (UTC) of the last denied
    packet; None where an agent doesn't tell. The names say what the cluster has at an address:
    "pod ward/gateway-0", "service kube-system/kube-dns", "node linux-a".
    """

    direction: Direction
    source: Address
    destination: Address
    port: int
    packets: int
    bytes: int
    os: OperatingSystem
    nodes: tuple[str, ...]
    last_seen: datetime | None
    source_name: str | None
    destination_name: str | None


@dataclass(frozen=True)
class DeniedPort:
    """All denied flows to a port together, also those that a node had no room to remember."""

    direction: Direction
    port: int
    packets: int
    bytes: int
    os: OperatingSystem
    nodes: tuple[str, ...]
    last_seen: datetime | None


def as_json(flow: DeniedFlow) -> dict[str, Any]:
    """An item of `flows` in what `denials -o json` prints."""
    return {
        "direction": flow.direction,
        "source": address_text(flow.source),
        "destination": address_text(flow.destination),
        "port": flow.port,
        **_traffic(flow),
        "sourceName": flow.source_name,
        "destinationName": flow.destination_name,
    }


def port_as_json(port: DeniedPort) -> dict[str, Any]:
    """An item of `ports` there."""
    return {"direction": port.direction, "port": port.port, **_traffic(port)}


def from_json(item: object) -> DeniedFlow:
    """What `as_json` made. ValueError ("port: 70000 is not ...") where it could not have."""
    fields = Fields(item)
    return _flow(
        fields,
        most=_SUM,
        os=fields.one_of("os", SYSTEMS),
        nodes=fields.texts("nodes"),
        last_seen=fields.optional(fields.time, "lastSeen"),
        source_name=fields.optional(fields.text, "sourceName"),
        destination_name=fields.optional(fields.text, "destinationName"),
    )


def from_agent(item: object, node: str, now: datetime) -> DeniedFlow:
    """An item of a Linux agent's `deniedFlows`. ValueError where it is none."""
    fields = Fields(item)
    return _flow(fields, most=_COUNT, os="linux", nodes=(node,), last_seen=_last_seen(fields, now))


def port_from_agent(item: object, node: str, now: datetime) -> DeniedPort:
    """An item of its `deniedPorts`. ValueError where it is none."""
    fields = Fields(item)
    return DeniedPort(
        direction=fields.one_of("direction", DIRECTIONS),
        port=fields.port("port"),
        packets=fields.whole("packets", 0, _COUNT),
        bytes=fields.whole("bytes", 0, _COUNT),
        os="linux",
        nodes=(node,),
        last_seen=_last_seen(fields, now),
    )


def time_text(time: datetime) -> str:
    """A time in UTC as RFC 3339 writes it, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _flow(
    fields: Fields,
    *,
    most: int,
    os: OperatingSystem,
    nodes: tuple[str, ...],
    last_seen: datetime | None,
    source_name: str | None = None,
    destination_name: str | None = None,
) -> DeniedFlow:
    source, destination = fields.address("source"), fields.address("destination")
    if source.version != destination.version:
        raise ValueError(f"destination: {destination} is of another address family than {source}")
    return DeniedFlow(
        direction=fields.one_of("direction", DIRECTIONS),
        source=source,
        destination=destination,
        port=fields.port("port"),
        packets=fields.whole("packets", 0, most),
        bytes=fields.whole("bytes", 0, most),
        os=os,
        nodes=nodes,
        last_seen=last_seen,
        source_name=source_name,
        destination_name=destination_name,
    )


def _last_seen(fields: Fields, now: datetime) -> datetime | None:
    """None: agents that lack `ago` are older."""
    return now - timedelta(seconds=fields.whole("ago", 0, _LONG)) if fields.has("ago") else None


def _traffic(denied: DeniedFlow | DeniedPort) -> dict[str, Any]:
    return {
        "packets": denied.packets,
        "bytes": denied.bytes,
        "os": denied.os,
        "nodes": list(denied.nodes),
        "lastSeen": time_text(denied.last_seen) if denied.last_seen else None,
    }
