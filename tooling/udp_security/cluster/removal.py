# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Taking everything away, so that no rule stays on the nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from udp_security.cluster.agents import DAEMON_SETS, OURS, PODS, AgentPod, AgentSet, agents_of
from udp_security.cluster.client import Client
from udp_security.cluster.execution import execute
from udp_security.cluster.namespace import delete_namespace
from udp_security.cluster.nodes import nodes_of
from udp_security.cluster.release import Release
from udp_security.cluster.rollout import Say, few

# Whatever of the tools a node has: both tables, and the chains of both variants of iptables.
# iptables-restore gets nothing but our jumps and chains, to delete them: others' rules stay.
COMMANDS: Final = {
    "linux": (
        "sudo nft list tables | sed -nE 's/^table (inet|bridge) udp_security$/delete &/p' | "
        "sudo nft -f -; for t in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do "
        "if sudo $t-save 2>/dev/null | grep -q ^:UDPSEC-; then sudo $t-save | "
        r"sed -nE '/^\*filter/,/^COMMIT/{/^\*/p;/^:UDPSEC-/{s/.([^ ]*).*/-X \1/;H;s/X/F/p};"
        r"s/^-A ([A-Z]+)( -p udp -j UDPSEC-\1)$/-D \1\2/p;/^COMMIT/{H;x;p}}' | "
        "sudo $t-restore --noflush -w 9; fi; done"
    ),
    "windows": "Remove-NetFirewallRule -Group udp-security",
}
# Seconds.
_POLL = 1.0
_ANSWER = 60.0


@dataclass(frozen=True)
class Leftover:
    """A node whose agent could not clean up, and what to run there if its rules are still there."""

    node: str
    os: str
    command: str


def by_command(left: Sequence[Leftover]) -> dict[str, str]:
    """What to run: the nodes' names, joined by commas, by command."""
    nodes: dict[str, list[str]] = {}
    for each in left:
        nodes.setdefault(each.command, []).append(each.node)
    return {command: ", ".join(names) for command, names in nodes.items()}


async def remove_everything(
    client: Client, release: Release, timeout: float, say: Say, *, namespace: bool
) -> list[Leftover]:
    """Uninstalls the release, and waits until the agents have removed their rules and ended.

    Pods that don't end in `timeout` seconds, and those of nodes that are not ready, are dropped:
    their nodes are what is returned. Raises ClusterError.
    """
    agents = await agents_of(client)
    dirty = await _free(client, agents.sets, agents.pods)
    await release.uninstall()
    # Also those that were applied without Helm.
    await client.delete(DAEMON_SETS, labelSelector=OURS)
    left = {pod.node: pod.os for pod in dirty}
    left |= {pod.node: pod.os for pod in await _wait_for_end(client, timeout, say)}
    if namespace:
        await delete_namespace(client, timeout)
    return [Leftover(node, os, COMMANDS[os]) for node, os in sorted(left.items())]


async def _free(
    client: Client, sets: Sequence[AgentSet], pods: Sequence[AgentPod]
) -> list[AgentPod]:
    """Has agents that would leave their rules in force (onStop: keep) remove them.

    Returns the pods that did not.
    """
    keeping = {s.os: s for s in sets if s.keeps_rules}
    asked = [pod for pod in pods if pod.os in keeping]
    answers = await asyncio.gather(
        *(execute(client, p.name, keeping[p.os].command("remove"), _ANSWER) for p in asked)
    )
    return [pod for pod, answer in zip(asked, answers, strict=True) if not answer.good]


async def _wait_for_end(client: Client, timeout: float, say: Say) -> Sequence[AgentPod]:
    """Waits for the pods on nodes that are ready, then drops the rest, and returns it."""
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        pods = (await agents_of(client)).pods
        ready = {node.name for node in await nodes_of(client) if node.ready}
        waiting = sorted({pod.node for pod in pods if pod.node in ready})
        if not waiting or time.monotonic() >= deadline:
            break
        progress = f"Waiting for the agents on {few(waiting)} to remove their rules"
        if progress != said:
            say(said := progress)
        await asyncio.sleep(_POLL)
    for pod in pods:
        await client.delete(f"{PODS}/{pod.name}", grace=0)
    return pods
