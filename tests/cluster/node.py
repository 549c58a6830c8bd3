# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The nodes of a fake cluster: what they are, what their agents do, what they answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.store import now

WINDOWS_AGENT = "Agent.ps1"


@dataclass(frozen=True)
class Rules:
    """What a node's firewall has of ours: the owner is a pod's uid."""

    owner: str
    mode: str
    generation: str


@dataclass(frozen=True)
class Reply:
    """What a command in a pod came to."""

    code: int
    output: str = ""
    error: str = ""


@dataclass
class FakeNode:
    """A node. The rest says what it will do.

    `takes`: seconds until a new pod's agent has applied its policy. `refuses`: why an agent will
    not enforce. `silent`: commands get no answer. `gone`: the API server cannot reach it, though it
    counts as ready; `lost`: it goes on trying. `slow`: seconds until a command is answered. `deaf`:
    agents cannot remove rules on request. `sticky`: pods do not end. `cut`: cluster DNS does not
    answer while a policy is enforced; `no_nslookup`: the image has no such program. `released` are
    the uids of pods whose agents were told to remove the rules. `flows` and `ports` are the items
    of deniedFlows and deniedPorts, `applied` is what appliedAt says. `prints`: what commands of the
    agent (by name) come to whatever else is here; `frames`: all that is said instead, of any one.
    """

    name: str
    address: str
    pod_cidr: str
    os: str = "linux"
    ready: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    takes: float = 0.0
    refuses: str = ""
    silent: bool = False
    gone: bool = False
    lost: bool = False
    slow: float = 0.0
    deaf: bool = False
    sticky: bool = False
    cut: bool = False
    no_nslookup: bool = False
    denied: dict[str, int] = field(default_factory=dict)
    flows: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    not_governed: list[str] = field(default_factory=list)
    heals: int = 0
    applied: str = ""
    prints: dict[str, Reply] = field(default_factory=dict)
    frames: list[bytes] | None = None
    rules: Rules | None = None
    released: set[str] = field(default_factory=set)

    def object(self) -> dict[str, Any]:
        """The node as the API server has it."""
        condition = {"type": "Ready", "status": "True" if self.ready else "Unknown"}
        return {
            "metadata": {
                "name": self.name,
                "labels": {"kubernetes.io/os": self.os, **self.labels},
            },
            "spec": {"podCIDRs": [self.pod_cidr]} if self.pod_cidr else {},
            "status": {
                "conditions": [condition],
                "addresses": [
                    {"type": "InternalIP", "address": self.address},
                    {"type": "Hostname", "address": self.name},
                ],
            },
        }

    async def reply(self, pod: dict[str, Any], generation: str, command: Sequence[str]) -> Reply:
        """`answer`, for nodes that take their time for it."""
        return self.answer(pod, generation, command)

    def answer(self, pod: dict[str, Any], generation: str, command: Sequence[str]) -> Reply:
        """What a command in an agent's pod says; `generation` is that of the pod's policy."""
        if command[0] == "nslookup":
            return self._nslookup(command[-1])
        uid = pod["metadata"]["uid"]
        is_agent = any(word.endswith(("agent.sh", WINDOWS_AGENT)) for word in command)
        if not is_agent:
            return Reply(127, error=f"{command[0]}: not found")
        name = command[-1].lower()
        if name in self.prints:
            return self.prints[name]
        mine = self.rules if self.rules and self.rules.owner == uid else None
        reason = self.refuses or "no policy was applied yet"
        if name == "check":
            if mine is None:
                return Reply(1, f"not in force: {reason}")
            return Reply(0, f"in force: policy {mine.generation}, mode {mine.mode}\n")
        if name == "status":
            return Reply(0, json.dumps(self._status(uid, generation, mine, reason)))
        if name == "denials":
            return Reply(0, json.dumps(self._denials(mine)))
        if name == "remove" and not self.deaf:
            self.rules = None
            self.released.add(uid)
            return Reply(0)
        return Reply(1, error="cannot remove the rules")

    def _nslookup(self, server: str) -> Reply:
        if self.no_nslookup:
            return Reply(126, error='exec: "nslookup": executable file not found in $PATH')
        if self.cut and self.rules and self.rules.mode == "enforce":
            return Reply(1, ";; connection timed out; no servers could be reached\n")
        return Reply(1, f"Server: {server}\n\n** server can't find it: NXDOMAIN\n")

    def _status(self, uid: str, generation: str, mine: Rules | None, reason: str) -> dict[str, Any]:
        linux = self.os == "linux"
        return {
            "schemaVersion": 1,
            "os": self.os,
            "backend": "nftables" if linux else "windows-firewall",
            "backendReason": None,
            "node": self.name,
            "version": "0.1.0",
            "generation": generation,
            "owner": self.rules.owner if self.rules else None,
            "self": uid,
            "mode": mine.mode if mine else None,
            "denyAction": "drop",
            "scope": "host" if linux else "cluster",
            "healthy": mine is not None,
            "reason": None if mine else reason,
            "appliedAt": (self.applied or now()) if mine else None,
            "applySeconds": 0.2 if mine else None,
            "heals": self.heals,
            "notGoverned": self.not_governed,
            "cache": {"trusted": True} if linux and mine else None,
            "counters": {
                "rules": [],
                "denied": {
                    name: {"packets": self.denied.get(name, 0), "bytes": 0}
                    for name in ("ingress", "egress", "forward")
                }
                if linux and mine
                else {},
            },
            "deniedFlows": self.flows[:20] if linux and mine else None,
            "deniedPorts": self.ports[:20] if linux and mine else None,
        }

    def _denials(self, mine: Rules | None) -> dict[str, Any]:
        linux = self.os == "linux"
        return {
            "schemaVersion": 1,
            "os": self.os,
            "node": self.name,
            "mode": mine.mode if mine else None,
            "deniedFlows": self.flows if linux and mine else None,
            "deniedPorts": self.ports if linux and mine else None,
        }
