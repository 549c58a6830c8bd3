# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The demo's policy on a Windows node: its firewall rules, and what a model makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from udp_security.demo.probes import family, flow
from udp_security.demo.rows import Row
from udp_security.lab import addresses
from udp_security.lab.manifest import config_maps
from udp_security.policy import Flow, Policy, decide
from udp_security.windows import reference
from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import Firewall, FirewallRule

HOST = "172.19.1.1"
_NODE = addresses.NODES["node"].address.v4
_POD = addresses.PODS["pod-a"][1].v4
_POD_V6 = addresses.PODS["pod-c"][1].v6


FLOWS = {
    "host asks the cluster DNS": flow("egress", HOST, addresses.DNS.address.v4, 53),
    "pod asks the host's DNS": flow("ingress", _POD, HOST, 53),
    "node sends syslog to host": flow("ingress", _NODE, HOST, 514),
    "pod sends syslog to host": flow("ingress", _POD, HOST, 514),
    "host calls a pod's port 5000": flow("egress", HOST, _POD, 5000),
    "the same over IPv6": flow("egress", "fd00:172:19:1::1", _POD_V6, 5000),
    "host calls a pod's port 5001": flow("egress", HOST, _POD, 5001),
    "pod to host's closed port": flow("ingress", _POD, HOST, 9999),
    "host asks for a DHCP lease": flow("egress", "0.0.0.0", "255.255.255.255", 67),
    "host's user browses (QUIC)": flow("egress", "192.0.2.10", "198.51.100.7", 443),
    "host to itself, 127.0.0.1": flow("egress", "127.0.0.1", "127.0.0.1", 9999),
}


@dataclass(frozen=True)
class WindowsStory:
    """The rules of the demo's policy, and their verdicts."""

    rules: list[FirewallRule]
    rows: list[Row]

    @property
    def good(self) -> bool:
        """Whether our rules do what the policy means, everywhere."""
        return all(row.ours == row.allowed for row in self.rows)


def tell(values: Mapping[str, Any], documents: Iterable[Mapping[str, Any]]) -> WindowsStory:
    """Compiles what the chart rendered for Windows nodes, and judges the flows.

    ``values`` are merged ones. Raises PwshMissingError, PwshFailedError.
    """
    policy = Policy.from_values(values, os="windows")
    files = config_maps(documents)["udp-security-windows"]
    with Compiler() as compile_policy:
        rules = compile_policy(json.loads(files["policy.json"]))
    theirs, ours = Firewall(reference.RULES), Firewall(rules)
    rows = []
    for title, asked in FLOWS.items():
        allowed, why = _meaning(policy, asked)
        verdicts = [
            firewall.admits(
                "ingress" if asked.direction == "ingress" else "egress",
                asked.source,
                asked.destination,
                asked.port,
            ).allowed
            for firewall in (theirs, ours)
        ]
        rows.append(Row(title, allowed, why, *verdicts))
    return WindowsStory(rules, rows)


def _meaning(policy: Policy, asked: Flow) -> tuple[bool, str]:
    decision = decide(policy, asked)
    if not decision.judged:
        return True, "loopback" if asked.source.is_loopback else "not the cluster's"
    if decision.verdict == "deny":
        return False, f"no {asked.direction} rule"
    return True, ", ".join(dict.fromkeys(family(rule.name) for rule in decision.rules))
