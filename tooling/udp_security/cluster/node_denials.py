# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What one node denied, as its agent tells. The answer may be anything: nodes get taken over."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, TypeVar

from udp_security.cluster.agents import AgentPod, Agents, AgentSet, agents_of
from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.execution import Answer, execute
from udp_security.cluster.nodes import Node, nodes_of
from udp_security.cluster.words import one_line
from udp_security.policy.denied import DeniedFlow, DeniedPort, from_agent, port_from_agent
from udp_security.policy.facts import MODES
from udp_security.policy.fields import Fields
from udp_security.policy.model import DIRECTIONS

# Flows of a direction and address family that a node has room for (docs/ruleset.md).
_ROOM: Final = 1024
# How an agent that does not know the command says so.
_UNKNOWN: Final = "usage: agent.sh"

_Denied = TypeVar("_Denied", DeniedFlow, DeniedPort)


@dataclass(frozen=True)
class NodeDenials:
    """A node's denials, or the reason why there are none, or why some are missing.

    `available`: it tells them. `failed`: it should have and did not. The flows have no names.
    """

    node: str
    os: str
    mode: str | None = None
    available: bool = False
    reason: str | None = None
    failed: bool = False
    flows: tuple[DeniedFlow, ...] = ()
    ports: tuple[DeniedPort, ...] = ()


@dataclass(frozen=True)
class Source:
    """A node, with the agent to ask there, or the reason why none is. `failed`: as above."""

    node: Node
    agents: AgentSet | None = None
    pod: AgentPod | None = None
    reason: str | None = None
    failed: bool = False


async def sources_of(client: Client) -> list[Source]:
    """All nodes by name. Raises ClusterError, also where the addon is not installed."""
    nodes, agents = await asyncio.gather(nodes_of(client), agents_of(client))
    if not agents.sets:
        raise ClusterError(
            "udp-security is not enabled in this cluster ('udp-security enable' does it)"
        )
    return [_source(node, agents) for node in nodes]


async def ask(client: Client, source: Source, timeout: float) -> Answer | None:
    """What the agent prints within `timeout` seconds; None where none is asked."""
    if source.agents is None or source.pod is None:
        return None
    answer = await execute(client, source.pod.name, source.agents.command("denials"), timeout)
    if not answer.good and _UNKNOWN in answer.said:
        return await execute(client, source.pod.name, source.agents.command("status"), timeout)
    return answer


def read(source: Source, answer: Answer | None, since: timedelta | None) -> NodeDenials:
    """What the answer tells. `since`: only what was denied that recently."""
    node = source.node
    if answer is None:
        return NodeDenials(node.name, node.os, reason=source.reason, failed=source.failed)
    if not answer.good:
        reason = f"the agent does not answer: {answer.words}"
        return NodeDenials(node.name, node.os, reason=reason, failed=True)
    try:
        return _read(node, Fields(json.loads(answer.text)), since)
    # The second is for brackets in brackets in brackets.
    except (ValueError, RecursionError) as error:
        reason = f"the agent's answer is not what it should be: {one_line(str(error))}"
        return NodeDenials(node.name, node.os, reason=reason, failed=True)


def _source(node: Node, agents: Agents) -> Source:
    own, pod = agents.on(node)
    if own is None:
        return Source(node, reason="not governed")
    if node.os == "windows":
        # To hear it from an agent would take a PowerShell's start.
        return Source(node, reason="not available on Windows")
    if not node.ready:
        return Source(node, reason="the node is not ready")
    if pod is None:
        return Source(node, reason="no agent runs here", failed=True)
    return Source(node, own, pod)


def _read(node: Node, said: Fields, since: timedelta | None) -> NodeDenials:
    mode = said.optional(lambda name: said.one_of(name, MODES), "mode")
    flows = said.optional(said.objects, "deniedFlows")
    ports = said.optional(said.objects, "deniedPorts")
    if flows is None or ports is None:
        reason = "not available with the backend iptables"
        return NodeDenials(node.name, node.os, mode, reason=reason)
    now = datetime.now(timezone.utc)
    known = _each(flows, lambda item: from_agent(item, node.name, now), "deniedFlows")
    named = _each(ports, lambda item: port_from_agent(item, node.name, now), "deniedPorts")
    return NodeDenials(
        node.name,
        node.os,
        mode,
        available=True,
        reason=_top(since) if said.has("counters") else _full(known),
        flows=_recent(known, since, now),
        ports=_recent(named, since, now),
    )


def _each(items: Iterable[object], read: Callable[[object], _Denied], place: str) -> list[_Denied]:
    found = []
    for number, item in enumerate(items):
        try:
            found.append(read(item))
        except ValueError as error:
            raise ValueError(f"{place}[{number}].{error}") from error
    return found


def _recent(
    denied: Iterable[_Denied], since: timedelta | None, now: datetime
) -> tuple[_Denied, ...]:
    if since is None:
        return tuple(denied)
    return tuple(each for each in denied if each.last_seen and each.last_seen >= now - since)


def _top(since: timedelta | None) -> str:
    """Of an answer that is a status."""
    when = ", and not when they were last seen (so none with --since)" if since else ""
    return f"an older agent, which tells only the twenty flows with the most packets{when}"


def _full(flows: Iterable[DeniedFlow]) -> str | None:
    """Where flows are missing since there is no room for them."""
    count = Counter((flow.direction, flow.source.version) for flow in flows)
    full = [
        f"{direction} (IPv{version})"
        for direction in DIRECTIONS
        for version in (4, 6)
        if count[direction, version] >= _ROOM
    ]
    if not full:
        return None
    return f"the list of flows is full ({_ROOM}), some may be missing: {', '.join(full)}"
