# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A small cluster: nodes, what is applied to it, the pods of DaemonSets, and what agents do.

Time passes only when somebody waits for something. DaemonSets roll out as the real controller
does it with maxUnavailable 0: nodes whose new pods aren't ready use up maxSurge for the others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.windows.windows import FakeWindows

NAMESPACE: Final = "udp-security"
#: Seconds that a pod takes to end.
ENDING: Final = 2.0

Document = dict[str, Any]
Key = tuple[str, str, str]  # kind, namespace ("" for none), name


@dataclass(frozen=True)
class Policy:
    """What a node has in force."""

    generation: str
    mode: str


@dataclass
class Node:
    """A node, and how its agent fares."""

    name: str
    os: Literal["linux", "windows"]
    address: str
    pod_cidr: str
    ready: bool = True
    #: why its agent does not put a policy in force; empty: it does
    refuses: str = ""
    #: seconds that it takes to do so
    takes: float = 0
    #: its agent ends without removing its rules
    stubborn: bool = False
    #: the agent's commands don't answer
    silent: bool = False
    rules: Policy | None = None
    denied: int = 0
    firewall: FakeWindows | None = None

    def put_in_force(self, policy: Policy | None) -> None:
        """Change the node's rules, in its fake Windows Firewall, too."""
        self.rules = policy
        if self.firewall is None:
            return
        for record in self.firewall.records():
            if record["Group"] == NAMESPACE:
                self.firewall.delete(record["Name"])
        if policy:
            self.firewall.add(f"{NAMESPACE}-mark", Group=NAMESPACE, Enabled="False")
            if policy.mode == "enforce":
                self.firewall.add(
                    f"{NAMESPACE}-block", Group=NAMESPACE, Protocol="UDP", Action="Block"
                )


@dataclass
class Pod:
    """A DaemonSet's pod."""

    name: str
    owner: str
    template: str
    node: Node
    labels: dict[str, str]
    policy: Policy
    probe: list[str]
    started: float
    #: it leaves its rules in force when it ends
    keeps: bool = False
    #: it was told to remove them
    released: bool = False
    ready: bool = False
    #: when it was told to end
    deleted: float | None = None


@dataclass
class Applied:
    """An object, who wrote its fields, and whether it has Helm's marks of ownership."""

    document: Document
    manager: str
    helms: bool


@dataclass
class Cluster:
    """The cluster's state. Change it at will, then call `settle`."""

    nodes: list[Node] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    terminating: set[str] = field(default_factory=set)
    objects: dict[Key, Applied] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    service_cidrs: list[str] = field(default_factory=lambda: ["172.21.0.0/16"])
    #: whether cluster DNS answers a pod on this node
    dns_answers: Callable[[Node], bool] = lambda node: True
    #: how often a DaemonSet is read before its controller does anything about it
    late: dict[str, int] = field(default_factory=dict)
    now: float = 0
    serial: int = 0

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    # Objects

    def apply(self, documents: Iterable[Document], manager: str) -> None:
        """Create or replace objects."""
        for document in documents:
            metadata = document["metadata"]
            if document["kind"] == "Namespace":
                known = self.namespaces.setdefault(metadata["name"], {})
                known.update(metadata.get("labels", {}))
                continue
            key = (document["kind"], metadata["namespace"], metadata["name"])
            before = self.objects.get(key)
            helms = manager == "helm" or (before is not None and before.helms)
            self.objects[key] = Applied(copy.deepcopy(document), manager, helms)
        self.settle()

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete objects; a DaemonSet's pods begin to end."""
        for key in keys:
            if self.objects.pop(key, None) and key[0] == "DaemonSet":
                self.end(pod for pod in self.pods if pod.owner == key[2])
        self.settle()

    def delete_namespace(self, name: str) -> bool:
        """Whether it is gone; otherwise a pod on a node that is not ready holds it."""
        self.delete([key for key in self.objects if key[1] == name])
        self.terminating.add(name)
        return self.wait(lambda: name not in self.terminating, 30)

    def sets(self) -> list[Document]:
        """The DaemonSets."""
        return [a.document for (kind, _, _), a in self.objects.items() if kind == "DaemonSet"]

    # Time

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something is so. Whether it came to be in time."""
        end = self.now + seconds
        while not done():
            if self.now >= end:
                return False
            self.pass_time(0.5)
        return True

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.settle()

    # Pods

    def end(self, pods: Iterable[Pod]) -> None:
        """Tell pods to end."""
        for pod in pods:
            if pod.deleted is None:
                pod.deleted = self.now

    def drop(self, names: Iterable[str]) -> None:
        """Forget pods by force, whatever runs on their nodes."""
        gone = set(names)
        self.pods = [pod for pod in self.pods if pod.name not in gone]
        self.settle()

    def settle(self) -> None:
        """Do what controllers and agents do by now."""
        for pod in list(self.pods):
            self._run(pod)
        for document in self.sets():
            if not self.late.get(document["metadata"]["name"]):
                self._roll_out(document)
        if not self.pods:
            for name in self.terminating:
                self.namespaces.pop(name, None)
            self.terminating.clear()

    def rolled_out(self, document: Document) -> bool:
        """Whether all nodes of a DaemonSet have a ready pod of its present template."""
        name, template = document["metadata"]["name"], _hash(document["spec"]["template"])
        done = {
            p.node.name for p in self.pods if p.owner == name and p.template == template and p.ready
        }
        return done == {node.name for node in self._nodes_of(document)}

    def is_late(self, name: str) -> bool:
        """Whether a DaemonSet that is read now is as its controller has not seen it yet."""
        if not self.late.get(name):
            return False
        self.late[name] -= 1
        self.settle()
        return True

    def _run(self, pod: Pod) -> None:
        node = pod.node
        if not node.ready:
            pod.ready = False
            return
        if pod.deleted is not None:
            if self.now >= pod.deleted + ENDING:
                self.pods.remove(pod)
                stands_by = any(other.node is node and other.ready for other in self.pods)
                keeps = pod.keeps or node.stubborn or stands_by
                if node.rules == pod.policy and not keeps:
                    node.put_in_force(None)
            return
        if pod.released:
            pod.ready = False
        elif node.refuses:
            # One that was in force before stays so.
            pod.ready = pod.ready and node.rules == pod.policy
        elif not pod.ready and self.now >= pod.started + node.takes:
            node.put_in_force(pod.policy)
            pod.ready = True
        else:
            pod.ready = pod.ready and node.rules == pod.policy

    def _roll_out(self, document: Document) -> None:
        name, template = document["metadata"]["name"], _hash(document["spec"]["template"])
        surged = 0
        allowed: list[Node] = []
        candidates: list[Node] = []
        for node in self._nodes_of(document):
            mine = [
                p for p in self.pods if p.owner == name and p.node is node and p.deleted is None
            ]
            new = [pod for pod in mine if pod.template == template]
            old = [pod for pod in mine if pod.template != template]
            if not mine:
                self._start(document, node)
            elif new and old:
                surged += not new[0].ready
                if new[0].ready:
                    self.pods = [pod for pod in self.pods if pod not in old]
                    if node.rules != new[0].policy:
                        # After a rollback, the ending pod hands the node back.
                        node.put_in_force(new[0].policy)
            elif old:
                (candidates if old[0].ready else allowed).append(node)
        for node in allowed + candidates[: max(self._surge(document) - surged, 0)]:
            self._start(document, node)

    def _start(self, document: Document, node: Node) -> None:
        self.serial += 1
        template = document["spec"]["template"]
        (agent,) = template["spec"]["containers"]
        env = {variable["name"]: variable.get("value", "") for variable in agent["env"]}
        pod = Pod(
            name=f"{document['metadata']['name']}-{self.serial:05}",
            owner=document["metadata"]["name"],
            template=_hash(template),
            node=node,
            labels=template["metadata"]["labels"],
            policy=Policy(env["UDP_SECURITY_POLICY_SHA256"][:12], self._mode(document)),
            probe=agent["readinessProbe"]["exec"]["command"],
            started=self.now,
            keeps=env["UDP_SECURITY_ON_STOP"] == "keep",
        )
        self.pods.append(pod)
        self._run(pod)
        if pod.ready:
            self._roll_out(document)

    def _mode(self, document: Document) -> str:
        """The mode in the ConfigMap beside a DaemonSet."""
        metadata = document["metadata"]
        data = self.objects["ConfigMap", metadata["namespace"], metadata["name"]].document["data"]
        if "policy.json" in data:
            return str(json.loads(data["policy.json"])["mode"])
        facts = dict(
            line.split(" ", 1) for line in data["policy.facts"].splitlines() if " " in line
        )
        return str(facts["mode"])

    def _surge(self, document: Document) -> int:
        """How many nodes may have two pods."""
        surge = document["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"]
        if isinstance(surge, int):
            return surge
        nodes = len(self._nodes_of(document))
        return math.ceil(nodes * int(surge.removesuffix("%")) / 100)

    def _nodes_of(self, document: Document) -> list[Node]:
        selector = document["spec"]["template"]["spec"]["nodeSelector"]
        return [node for node in self.nodes if node.os == selector["kubernetes.io/os"]]


def _hash(template: Document) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
