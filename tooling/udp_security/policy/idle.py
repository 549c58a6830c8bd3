# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules that are right and do nothing on some nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from udp_security.policy.model import SYSTEMS, Network, Policy, Rule


def notes(values: Mapping[str, Any]) -> Iterator[str]:
    """One text for each reason for which some of the user's rules do nothing on governed nodes.

    The values are merged, and the schema and ``check`` accept them.
    """
    for system in SYSTEMS:
        if not values[system]["enabled"]:
            continue
        nodes = system.capitalize()
        policy = Policy.from_values(values, os=system)
        rules = [rule for rule in policy.rules if not rule.name.startswith("preset:")]
        if system == "windows":
            forward = [rule for rule in rules if rule.direction == "forward"]
            rules = [rule for rule in rules if rule.direction != "forward"]
            if forward:
                yield (
                    f"{len(forward)} rule(s) of direction forward do not apply to Windows hosts: "
                    f"{_names(forward)} (os: [linux] says so)"
                )
        outside = [rule for rule in rules if not judged(policy, rule)]
        if outside:
            yield (
                f"{len(outside)} rule(s) name no address of the cluster, and {system}.scope "
                f"cluster judges no other: they do nothing on {nodes} nodes: {_names(outside)}"
            )


def judged(policy: Policy, rule: Rule) -> bool:
    """Whether the policy's scope has any flow that the rule allows."""
    ends = {
        "ingress": (rule.sources,),
        "egress": (rule.destinations,),
        "forward": (rule.sources, rule.destinations),
    }[rule.direction]
    return policy.scope == "host" or any(
        end is None or _overlap(end, policy.cluster.networks) for end in ends
    )


def _overlap(ours: Sequence[Network], theirs: Sequence[Network]) -> bool:
    return any(
        a.version == b.version and (a.network_address in b or b.network_address in a)
        for a in ours
        for b in theirs
    )


def _names(rules: Sequence[Rule]) -> str:
    return ", ".join(rule.name for rule in rules)
