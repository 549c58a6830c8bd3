# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The demo's policy on a Windows node: its firewall rules, and what a model makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from udp_security.demo.probes import family
from udp_security.lab import addresses
from udp_security.policy import Flow, Policy, decide
from udp_security.windows import reference
from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import Firewall, FirewallRule

HOST = "172.19.1.1"
_NODE = addresses.NODES["node"].address.v4
_POD = addresses.PODS["pod-a"][1].v4
_POD_V6 = addresses.PODS["pod-c"][1].v6


def _flow(direction: str, source: str, destination: str, port: int) -> Flow:
    return Flow(direction, ip_address(source), ip_address(destination), port)  # type: ignore[arg-type]


FLOWS = {
    "host asks the cluster DNS": _flow("egress", HOST, addresses.DNS.address.v4, 53),
    "pod asks the host's DNS": _flow("ingress", _POD, HOST, 53),
    "node sends syslog to host": _flow("ingress", _NODE, HOST, 514),
    "pod sends syslog to host": _flow("ingress", _POD, HOST, 514),
    "host calls a pod's port 5000": _flow("egress", HOST, _POD, 5000),
    "the same over IPv6": _flow("egress", "fd00:172:19:1::1", _POD_V6, 5000),
    "host calls a pod's port 5001": _flow("egress", HOST, _POD, 5001),
    "pod to host's closed port": _flow("ingress", _POD, HOST, 9999),
    "host asks for a DHCP lease": _flow("egress", "0.0.0.0", "255.255.255.255", 67),
    "host's user browses (QUIC)": _flow("egress", "192.0.2.10", "198.51.100.7", 443),
    "host to itself, 127.0.0.1": _flow("egress", "127.0.0.1", "127.0.0.1", 9999),
}


@dataclass(frozen=True)
class WindowsRow:
    """One flow: what the policy means for it, why, and what either rule set makes of it."""

    title: str
    allowed: bool
    why: str
    reference: bool
    ours: bool


@dataclass(frozen=True)
class WindowsStory:
    """The rules of the demo's policy, and their verdicts."""

    rules: list[FirewallRule]
    rows: list[WindowsRow]

    @property
    def good(self) -> bool:
        """Whether our rules do what the policy means, everywhere."""
        return all(row.ours == row.allowed for row in self.rows)


def tell(values: Mapping[str, Any], documents: Iterable[Mapping[str, Any]]) -> WindowsStory:
    """Compiles what the chart rendered for Windows nodes, and judges the flows.

    ``values`` are merged ones. Raises PwshMissingError, PwshFailedError.
    """
    policy = Policy.from_values(values, os="windows")
    with Compiler() as compile_policy:
        rules = compile_policy(json.loads(_policy_json(documents)))
    theirs, ours = Firewall(reference.RULES), Firewall(rules)
    rows = []
    for title, flow in FLOWS.items():
        allowed, why = _meaning(policy, flow)
        verdicts = [
            firewall.admits(
                "ingress" if flow.direction == "ingress" else "egress",
                flow.source,
                flow.destination,
                flow.port,
            ).allowed
            for firewall in (theirs, ours)
        ]
        rows.append(WindowsRow(title, allowed, why, *verdicts))
    return WindowsStory(rules, rows)


def _meaning(policy: Policy, flow: Flow) -> tuple[bool, str]:
    decision = decide(policy, flow)
    if not decision.judged:
        return True, "loopback" if flow.source.is_loopback else "not the cluster's"
    if decision.verdict == "deny":
        return False, f"no {flow.direction} rule"
    return True, ", ".join(dict.fromkeys(family(rule.name) for rule in decision.rules))


def _policy_json(documents: Iterable[Mapping[str, Any]]) -> str:
    return next(
        str(document["data"]["policy.json"])
        for document in documents
        if document["kind"] == "ConfigMap" and "policy.json" in document["data"]
    )
