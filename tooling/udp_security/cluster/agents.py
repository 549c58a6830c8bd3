# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agents in the cluster: their DaemonSets and their pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from udp_security.cluster.client import Client
from udp_security.cluster.nodes import Node
from udp_security.k2s.manifests import NAMESPACE, RELEASE

#: Labels of everything that is ours, as the API server's labelSelector.
OURS = f"app.kubernetes.io/instance={RELEASE}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
DAEMON_SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
_REVISIONS = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions"
_COMPONENT = "app.kubernetes.io/component"
_REVISION = "controller-revision-hash"


@dataclass(frozen=True)
class AgentSet:
    """A DaemonSet of agents.

    `observed` says whether its controller knows its last change, `complete` whether a pod exists
    for each node that shall have one. `generation` is the policy's, as agents print it; `check`
    the agent's command line that tells whether it is in force.
    """

    name: str
    os: str
    observed: bool
    complete: bool
    desired: int
    current: int
    generation: str
    check: tuple[str, ...]
    keeps_rules: bool
    selector: Mapping[str, str]

    def command(self, name: str) -> list[str]:
        """The agent's command line for another of its commands, in lower case.

        Windows PowerShell takes it in any case.
        """
        return [*self.check[:-1], name]

    def wants(self, node: Node) -> bool:
        """Whether its nodeSelector takes the node."""
        return self.selector.items() <= node.labels.items()


@dataclass(frozen=True)
class AgentPod:
    """A pod that has a node. `current`: made from what its DaemonSet is now."""

    name: str
    uid: str
    os: str
    node: str
    current: bool
    running: bool
    ready: bool
    leaving: bool


@dataclass(frozen=True)
class Agents:
    """All of them at one moment."""

    sets: tuple[AgentSet, ...]
    pods: tuple[AgentPod, ...]

    def on(self, node: Node) -> tuple[AgentSet | None, AgentPod | None]:
        """The DaemonSet that governs a node, and its pod there that counts: the newest that runs.

        None for the first: nobody's node. None for the second: the pod is missing.
        """
        own = next((each for each in self.sets if each.os == node.os), None)
        pods = [pod for pod in self.pods if pod.node == node.name and not pod.leaving]
        pod = max(pods, key=lambda pod: (pod.running, pod.current), default=None)
        return own if own and (pod or own.wants(node)) else None, pod


async def agents_of(client: Client) -> Agents:
    """Nothing where the addon is not installed. Raises ClusterError."""
    sets, revisions, pods = await asyncio.gather(
        client.items(DAEMON_SETS, labelSelector=OURS),
        client.items(_REVISIONS, labelSelector=OURS),
        client.items(PODS, labelSelector=OURS),
    )
    current = _current(revisions)
    return Agents(
        sets=tuple(_set(item) for item in sets),
        pods=tuple(_pod(item, current) for item in pods if item["spec"].get("nodeName")),
    )


def _set(item: dict[str, Any]) -> AgentSet:
    metadata, status = item["metadata"], item.get("status", {})
    template = item["spec"]["template"]["spec"]
    agent = template["containers"][0]
    environment = {entry["name"]: entry.get("value", "") for entry in agent.get("env") or ()}
    desired = status.get("desiredNumberScheduled", 0)
    current = status.get("currentNumberScheduled", 0)
    return AgentSet(
        name=metadata["name"],
        os=metadata["labels"][_COMPONENT],
        observed=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        complete=current >= desired,
        desired=desired,
        current=current,
        generation=environment.get("UDP_SECURITY_POLICY_SHA256", "")[:12],
        check=tuple(agent["readinessProbe"]["exec"]["command"]),
        keeps_rules=environment.get("UDP_SECURITY_ON_STOP") == "keep",
        selector=template.get("nodeSelector") or {},
    )


def _pod(item: dict[str, Any], current: set[str]) -> AgentPod:
    metadata, status = item["metadata"], item.get("status", {})
    return AgentPod(
        name=metadata["name"],
        uid=metadata["uid"],
        os=metadata["labels"][_COMPONENT],
        node=item["spec"]["nodeName"],
        current=metadata["labels"].get(_REVISION) in current,
        running=status.get("phase") == "Running",
        ready=any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in status.get("conditions") or ()
        ),
        leaving="deletionTimestamp" in metadata,
    )


def _current(revisions: list[dict[str, Any]]) -> set[str]:
    """The hash of each DaemonSet's newest revision. Going back makes an old one the newest."""
    newest: dict[str, tuple[int, str]] = {}
    for item in revisions:
        metadata = item["metadata"]
        found = item["revision"], metadata["labels"][_REVISION]
        for owner in metadata.get("ownerReferences") or ():
            newest[owner["name"]] = max(newest.get(owner["name"], found), found)
    return {label for _, label in newest.values()}
