# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The rules of the published reference DaemonSet, to be seen beside ours in the same lab.

They are what K2s's networking page appends with iptables on every start of its pod; nothing takes
them away, there is no IPv6 half, and a second start appends them again.
"""

from __future__ import annotations

from typing import Final

from udp_security.lab.topology import Lab

RULES: Final = (
    "INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "OUTPUT -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "OUTPUT -p udp --dport 53 -j ACCEPT",
    "INPUT -p udp --sport 53 -j ACCEPT",
    "FORWARD -p udp -j DROP",
    "INPUT -p udp -j DROP",
    "OUTPUT -p udp -j DROP",
)


def apply(lab: Lab, node: str = "node") -> None:
    """Start the reference once on a node: append its rules to the node's filter table."""
    for rule in RULES:
        lab.run(node, ["iptables-nft", "-A", *rule.split()])
