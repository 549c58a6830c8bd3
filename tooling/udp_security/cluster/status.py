# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agents on all nodes say, asked at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from udp_security.cluster.agents import AgentPod, Agents, AgentSet, agents_of
from udp_security.cluster.client import Client
from udp_security.cluster.execution import execute
from udp_security.cluster.nodes import Node, nodes_of


@dataclass(frozen=True)
class NodeStatus:
    """A node: whether the policy governs it, is in force there, or why not.

    `said` is what its agent's `status` printed (status.schema.json), None when there is nothing.
    """

    node: str
    os: str
    ready: bool
    governed: bool
    in_force: bool
    reason: str
    said: dict[str, Any] | None

    @property
    def good(self) -> bool:
        """False where a node that is ready should enforce and doesn't."""
        return self.in_force or not (self.ready and self.governed)


async def status_of(client: Client, timeout: float) -> list[NodeStatus] | None:
    """All nodes by name; None where the addon is not installed.

    `timeout`: seconds for each agent's answer. Raises ClusterError.
    """
    nodes, agents = await asyncio.gather(nodes_of(client), agents_of(client))
    if not agents.sets:
        return None
    return list(await asyncio.gather(*(_ask(client, node, agents, timeout) for node in nodes)))


async def _ask(client: Client, node: Node, agents: Agents, timeout: float) -> NodeStatus:
    own = next((each for each in agents.sets if each.os == node.os), None)
    pod = _agent([pod for pod in agents.pods if pod.node == node.name])

    def status(
        reason: str, said: dict[str, Any] | None = None, *, governed: bool = True
    ) -> NodeStatus:
        return NodeStatus(node.name, node.os, node.ready, governed, not reason, reason, said)

    if own is None or not (pod or own.wants(node)):
        return status("not governed", governed=False)
    if not node.ready:
        return status("the node is not ready")
    if pod is None:
        return status("no agent runs here")
    return status(*await _said(client, own, pod, timeout))


async def _said(
    client: Client, own: AgentSet, pod: AgentPod, timeout: float
) -> tuple[str, dict[str, Any] | None]:
    """Why the policy is not in force, empty when it is, and what the agent says."""
    answer = await execute(client, pod.name, own.command("status"), timeout)
    if not answer.good:
        return f"the agent does not answer: {answer.words}", None
    try:
        said = json.loads(answer.text)
        reason = "" if said["healthy"] else said["reason"] or "the agent does not say why"
        if not reason and said["generation"] != own.generation:
            reason = f"an older policy is in force (the last one is {own.generation})"
        return reason, said
    except (ValueError, KeyError, TypeError):
        return f"the agent printed no status: {answer.text[:80]!r}", None


def _agent(pods: Sequence[AgentPod]) -> AgentPod | None:
    """The node's agent that counts: the newest that runs."""
    staying = [pod for pod in pods if not pod.leaving]
    return max(staying, key=lambda pod: (pod.running, pod.current), default=None)
