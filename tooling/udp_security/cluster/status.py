# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agents on all nodes say, asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from udp_security.cluster.agents import Agents, agents_of
from udp_security.cluster.client import Client
from udp_security.cluster.execution import Answer, assert_reached, execute
from udp_security.cluster.nodes import Node, nodes_of
from udp_security.cluster.told import Told, told_by

_NOBODYS = "not governed"


@dataclass(frozen=True)
class NodeStatus:
    """A node: whether the policy governs it, is in force there, or why not.

    `owner` is the pod whose policy is in force. `said` is None where no agent said anything.
    """

    node: str
    os: str
    ready: bool
    governed: bool
    reason: str
    said: Told | None
    owner: str | None = None

    @property
    def in_force(self) -> bool:
        """Whether the newest policy is."""
        return not self.reason

    @property
    def counts(self) -> bool:
        """Whether it should enforce: nodes that are off, or nobody's, need not."""
        return self.ready and self.governed

    @property
    def enforces(self) -> bool:
        """In force, and not in mode audit, which lets everything pass."""
        return self.in_force and self.said is not None and self.said.mode == "enforce"

    @property
    def good(self) -> bool:
        """False where a node that is ready should have the policy in force and hasn't."""
        return self.in_force or not self.counts


async def status_of(
    client: Client,
    timeout: float,
    heard: Callable[[int, int], None] = lambda answered, asked: None,
) -> list[NodeStatus] | None:
    """All nodes by name; None where the addon is not installed.

    `timeout`: seconds for each agent's answer. `heard` is told how many of how many agents have
    answered. Raises ClusterError.
    """
    nodes, agents = await asyncio.gather(nodes_of(client), agents_of(client))
    if not agents.sets:
        return None
    answered, asked = 0, sum(_silence(node, agents) is None for node in nodes)

    async def ask(node: Node) -> Answer | None:
        nonlocal answered
        own, pod = agents.on(node)
        if own is None or pod is None or not node.ready:
            return None
        answer = await execute(client, pod.name, own.command("status"), timeout)
        answered += 1
        heard(answered, asked)
        return answer

    heard(0, asked)
    answers = await asyncio.gather(*map(ask, nodes))
    await assert_reached(client, [answer for answer in answers if answer])
    return [_status(node, agents, answer) for node, answer in zip(nodes, answers, strict=True)]


def _silence(node: Node, agents: Agents) -> str | None:
    """Why a node is not asked."""
    own, pod = agents.on(node)
    if own is None:
        return _NOBODYS
    if not node.ready:
        return "the node is not ready"
    return None if pod else "no agent runs here"


def _status(node: Node, agents: Agents, answer: Answer | None) -> NodeStatus:
    own, _ = agents.on(node)
    if own is None or answer is None:
        reason = _silence(node, agents) or ""
        return NodeStatus(node.name, node.os, node.ready, own is not None, reason, None)
    reason, said = told_by(answer)
    if not reason and said and said.generation != own.generation:
        reason = f"an older policy is in force (the last one is {own.generation})"
    return NodeStatus(
        node=node.name,
        os=node.os,
        ready=node.ready,
        governed=True,
        reason=reason,
        said=said,
        owner=next((pod.name for pod in agents.pods if said and pod.uid == said.owner), None),
    )
