# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The meaning of a policy, as plainly as it can be said.

Every ruleset that the project emits, for any firewall, is tested against :func:`decide`. There is
no cleverness here on purpose, and nothing but this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from udp_security.policy.model import Address, Flow, Network, Policy, Rule, networks

_LOOPBACK = networks(["127.0.0.0/8", "::1"])


@dataclass(frozen=True)
class Decision:
    """What becomes of a flow.

    ``verdict`` is the policy's; in audit mode a denied flow passes all the same. ``judged`` is
    False for a flow that the scope leaves alone or that stays on loopback. ``rules`` are all rules
    that allow the flow.
    """

    verdict: Literal["allow", "deny"]
    judged: bool
    rules: tuple[Rule, ...]


def decide(policy: Policy, flow: Flow) -> Decision:
    """Judges a flow, which stands for its packets in both directions."""
    if is_loopback(flow) or not in_scope(policy, flow):
        return Decision("allow", judged=False, rules=())
    allowing = tuple(rule for rule in policy.rules if allows(rule, flow))
    return Decision("allow" if allowing else "deny", judged=True, rules=allowing)


def is_loopback(flow: Flow) -> bool:
    """Whether a node talks to itself by loopback addresses, which no policy has a say in."""
    ends = (flow.source, flow.destination)
    return flow.direction != "forward" and all(contains(_LOOPBACK, end) for end in ends)


def in_scope(policy: Policy, flow: Flow) -> bool:
    """Whether the policy has a say: in scope ``cluster`` only if a remote end is in the cluster."""
    if policy.scope == "host":
        return True
    remote = {
        "ingress": [flow.source],
        "egress": [flow.destination],
        "forward": [flow.source, flow.destination],
    }[flow.direction]
    return any(contains(policy.cluster.networks, address) for address in remote)


def allows(rule: Rule, flow: Flow) -> bool:
    """Whether one rule allows the flow."""
    return (
        rule.direction == flow.direction
        and any(low <= flow.port <= high for low, high in rule.ports)
        and (rule.sources is None or contains(rule.sources, flow.source))
        and (rule.destinations is None or contains(rule.destinations, flow.destination))
    )


def contains(networks: Iterable[Network], address: Address) -> bool:
    """Whether one of the networks holds the address; a network of the other family never does."""
    return any(address in network for network in networks)
