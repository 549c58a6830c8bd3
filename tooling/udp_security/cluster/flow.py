# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What one node knows of one flow: the policy in force, its denials, and conntrack's entries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from udp_security.cluster.agents import AgentPod, AgentSet, agents_of
from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.conntrack import Entry, entries_of
from udp_security.cluster.execution import assert_reached, execute
from udp_security.cluster.live import Files, facts_of, live_files, node_files, policy_of
from udp_security.cluster.nodes import nodes_of
from udp_security.cluster.told import Told, told_by
from udp_security.policy import Flow, Policy
from udp_security.policy.facts import Facts
from udp_security.policy.fields import Fields
from udp_security.policy.model import DIRECTIONS, Direction, OperatingSystem

_COUNT: Final = (1 << 64) - 1
# So many flows an agent's status has at most.
_IN_STATUS: Final = 20


class NoSuchNodeError(ClusterError):
    """The cluster has no node of this name."""


@dataclass(frozen=True)
class Denied:
    """Packets of the flow that the node denied in the last hour, and how long ago the last was.

    `ago` is in seconds, None where the agent is too old to tell.
    """

    packets: int
    bytes: int
    ago: int | None


@dataclass(frozen=True)
class LiveFlow:
    """What a node says of a flow.

    `told` is None when its agent doesn't answer. `reason`: why `policy` is not in force there, or
    not known to be; empty when it is. `latest`: the generation that the cluster is told to run.
    `policy` is the node's `own`, else the cluster's, for the node tells none; None where no agent
    belongs there. `facts` go with it on Linux. `denied` is the flow among those denied, if it is
    there; `denied_known`: whether the node tells. `number` is the kernel's of the generation in
    force, None where it is not known. `entries` are those of conntrack, one more than MOST where
    there are more; None where it cannot be read.
    """

    node: str
    os: OperatingSystem
    reason: str
    told: Told | None = None
    latest: str = ""
    policy: Policy | None = None
    facts: Facts | None = None
    own: bool = False
    denied_known: bool = False
    denied: Denied | None = None
    number: int | None = None
    entries: tuple[Entry, ...] | None = None

    @property
    def in_force(self) -> bool:
        """Whether `policy` is."""
        return not self.reason

    @property
    def cached_as(self) -> frozenset[Direction]:
        """As what the policy in force accepts the flow's next packet by its cached verdict."""
        if not (self.in_force and self.told and self.told.trusted):
            return frozenset()
        return frozenset(entry.cached_as for entry in self.entries or () if entry.cached_as)


async def flow_on(client: Client, node: str, flow: Flow, timeout: float) -> LiveFlow:
    """Asks one node about a flow. Raises ClusterError, NoSuchNodeError among them.

    `timeout`: seconds for each of its agent's answers, of which there are three in a row.
    """
    nodes, agents = await asyncio.gather(nodes_of(client), agents_of(client))
    found = next((each for each in nodes if each.name == node), None)
    if found is None:
        raise NoSuchNodeError(
            f"the cluster has no node {node!r} (it has {', '.join(each.name for each in nodes)})"
        )
    if not agents.sets:
        raise ClusterError(
            "udp-security is not enabled in this cluster ('udp-security enable' does it)"
        )
    system: OperatingSystem = "windows" if found.os == "windows" else "linux"
    own, newest = agents.on(found)
    if own is None:
        return LiveFlow(node, system, "not governed")
    if newest is None or not found.ready:
        reason = "no agent runs there" if found.ready else "the node is not ready"
        return await _meant(client, LiveFlow(node, system, reason, latest=own.generation))
    # In a rollout there are two, and the older one's policy may be the one in force.
    pods = [newest, *(pod for pod in agents.pods if pod.node == node and pod != newest)]
    command = own.command("status")
    answers = await asyncio.gather(*(execute(client, pod.name, command, timeout) for pod in pods))
    await assert_reached(client, answers)
    told = [(pod, *told_by(answer)) for pod, answer in zip(pods, answers, strict=True)]
    pod, reason, said = next((each for each in told if not each[1]), told[0])
    live = LiveFlow(node, system, reason, said, own.generation)
    if said is None:
        return await _meant(client, live)
    try:
        live = _with(live, await node_files(client, own, pod.name, timeout), f"pod {pod.name}")
    except ClusterError as error:
        return await _meant(client, replace(live, reason=reason or str(error)))
    live = replace(live, own=True)
    return live if system == "windows" else await _remembered(client, own, pod, flow, live, timeout)


async def _meant(client: Client, live: LiveFlow) -> LiveFlow:
    """With what the cluster is told to enforce on such nodes, for want of the node's own."""
    files = (await live_files(client)).get(live.os)
    return _with(live, files, f"the ConfigMap for {live.os}") if files else live


def _with(live: LiveFlow, files: Files, where: str) -> LiveFlow:
    """Raises ClusterError where the files are not what the chart makes."""
    facts = facts_of(files, where) if live.os == "linux" else None
    return replace(live, policy=policy_of(files, where), facts=facts)


async def _remembered(
    client: Client, own: AgentSet, pod: AgentPod, flow: Flow, live: LiveFlow, timeout: float
) -> LiveFlow:
    """With what a Linux node remembers of the flow: denials, and conntrack's entries."""
    cache = live.facts.cache if live.facts else None
    command = own.command("denials")
    answer, (number, entries) = await asyncio.gather(
        execute(client, pod.name, command, timeout),
        entries_of(client, pod.name, flow, cache, timeout),
    )
    live = replace(live, number=number, entries=entries)
    told = live.told.flows if live.told else None
    if told is None:
        return live
    try:
        flows = Fields(json.loads(answer.text)).objects("deniedFlows") if answer.good else None
        # An agent that does not know the command has told the flows denied most.
        denied = _among(told if flows is None else flows, flow)
    except (ValueError, RecursionError):
        return live
    complete = flows is not None or len(told) < _IN_STATUS
    return replace(live, denied_known=complete or denied is not None, denied=denied)


def _among(items: Iterable[object], flow: Flow) -> Denied | None:
    for item in items:
        fields = Fields(item)
        if (
            fields.one_of("direction", DIRECTIONS) == flow.direction
            and fields.port("port") == flow.port
            and fields.address("source") == flow.source
            and fields.address("destination") == flow.destination
        ):
            return Denied(
                packets=fields.whole("packets", 0, _COUNT),
                bytes=fields.whole("bytes", 0, _COUNT),
                ago=fields.whole("ago", 0, _COUNT) if fields.has("ago") else None,
            )
    return None
