# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Waiting until the policy is in force on the nodes that are ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from udp_security.cluster.agents import PODS, AgentPod, Agents, AgentSet, agents_of
from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.execution import execute
from udp_security.cluster.nodes import Node, nodes_of

Say = Callable[[str], None]

# Seconds: between two looks, and for an agent's answer. Windows nodes start a PowerShell for one.
_POLL = 1.0
_ANSWER = 30.0
# Seconds from the end of a rollout: for a change of rules in progress.
_SETTLING = 6.0
_SHOWN = 5


class NotInForceError(ClusterError):
    """The policy did not come into force in time; the message says where and why."""


@dataclass(frozen=True)
class InForce:
    """Where the policy is in force, and the nodes that were left out since they are not ready."""

    nodes: tuple[str, ...]
    not_ready: tuple[str, ...]


@dataclass(frozen=True)
class _Look:
    nodes: Sequence[Node]
    agents: Agents

    def ready(self, pod: AgentPod) -> bool:
        """Whether the pod's node is."""
        return any(node.name == pod.node and node.ready for node in self.nodes)

    def down(self) -> list[str]:
        """The nodes that should have an agent and are not ready."""
        return [
            node.name
            for node in self.nodes
            if not node.ready and any(s.os == node.os and s.wants(node) for s in self.agents.sets)
        ]

    def counted(self) -> dict[str, tuple[AgentSet, AgentPod | None]]:
        """By ready node that has agents: their DaemonSet, and the pod made from its last change."""
        of_os = {s.os: s for s in self.agents.sets}
        found: dict[str, tuple[AgentSet, AgentPod | None]] = {}
        for pod in self.agents.pods:
            if pod.leaving or not self.ready(pod) or pod.os not in of_os:
                continue
            if pod.current or pod.node not in found:
                found[pod.node] = of_os[pod.os], pod if pod.current else None
        return found

    def waiting(self) -> list[str]:
        """The nodes whose new agent is not ready."""
        return sorted(n for n, (_, pod) in self.counted().items() if pod is None or not pod.ready)

    def unfinished(self) -> list[str]:
        """What is not rolled out, a text each."""
        texts = []
        for each in self.agents.sets:
            if not each.observed:
                texts.append(f"{each.name}: Kubernetes has not begun to roll it out")
            elif not each.complete:
                texts.append(f"{each.name}: {each.current} of {each.desired} pods exist")
        return texts


async def wait_in_force(client: Client, timeout: float, say: Say) -> InForce:
    """Waits, tells on the way what is waited for, and then has each agent's own check confirm it.

    Nodes that are not ready are left out: their agents apply the policy when they are back.
    Raises NotInForceError after `timeout` seconds, and ClusterError.
    """
    deadline = time.monotonic() + timeout
    said = ""
    doubts: list[str] = []
    settled: float | None = None
    while True:
        look = _Look(await nodes_of(client), await agents_of(client))
        await _unblock(client, look)
        unfinished, waiting = look.unfinished(), look.waiting()
        counted = look.counted()
        if unfinished or waiting:
            doubts, settled = unfinished, None
            progress = f"{len(counted) - len(waiting)} of {len(counted)} nodes are ready"
            if waiting:
                progress += f", waiting for {few(waiting)}"
            if progress != said:
                say(said := progress)
        else:
            settled = settled or time.monotonic() + _SETTLING
            doubts = await _check(client, look)
            if not doubts:
                down = look.down()
                if down:
                    say(
                        f"Not ready, so left out: {few(down)}. The agents there apply the policy "
                        "as soon as these nodes are back"
                    )
                return InForce(tuple(sorted(counted)), tuple(down))
            deadline = min(deadline, settled)
        if time.monotonic() >= deadline:
            doubts = [*unfinished, *await _check(client, look)]
            raise NotInForceError(f"the policy is not in force: {'; '.join(doubts)}")
        await asyncio.sleep(_POLL)


def few(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


async def _unblock(client: Client, look: _Look) -> None:
    """Drops older pods on nodes that are not ready where the new one waits already.

    Kubernetes counts that new pod as the one that may exceed the number of nodes (maxSurge), so
    that one node that is off would keep all others from getting theirs.
    """
    on_down = [pod for pod in look.agents.pods if not look.ready(pod)]
    renewed = {(pod.node, pod.os) for pod in on_down if pod.current}
    for pod in on_down:
        if not pod.current and (pod.node, pod.os) in renewed:
            await client.delete(f"{PODS}/{pod.name}", grace=0)


async def _check(client: Client, look: _Look) -> list[str]:
    """Why the policy is not in force on nodes that are ready, one text each."""
    counted = look.counted()
    doubts = await asyncio.gather(
        *(_doubt(client, node, *counted[node]) for node in sorted(counted))
    )
    return [doubt for doubt in doubts if doubt]


async def _doubt(client: Client, node: str, agents: AgentSet, pod: AgentPod | None) -> str:
    if pod is None:
        return f"node {node}: its new agent was not started"
    answer = await execute(client, pod.name, agents.check, _ANSWER)
    if not answer.good:
        return f"node {node}: {answer.words}"
    if agents.generation not in answer.text:
        return f"node {node}: an older policy is in force still ({answer.text})"
    return "" if pod.ready else f"node {node}: its agent is not ready"
