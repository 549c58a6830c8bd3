# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What rules are added to: the policies that there are, and what of them is taken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from udp_security.policy import data
from udp_security.policy.model import (
    DIRECTIONS,
    SYSTEMS,
    Direction,
    Flow,
    Network,
    OperatingSystem,
    Policy,
    Rule,
    all_rules,
    networks,
)
from udp_security.policy.oracle import decide
from udp_security.policy.segments import Segment, segments

_PRESET = "preset:"


@dataclass(frozen=True)
class Ground:
    """The policies by operating system (none: no agent, nothing is denied there).

    `names` are the rules' that are taken; `off` the presets that are off, with the rules that they
    would bring; `pods` and `services` the cluster's networks.
    """

    policies: Mapping[OperatingSystem, Policy]
    names: frozenset[str]
    off: Mapping[str, tuple[Rule, ...]]
    pods: tuple[Network, ...]
    services: tuple[Network, ...]

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Ground:
        """That of valid, merged values."""
        policies = {os: Policy.from_values(values, os) for os in SYSTEMS if values[os]["enabled"]}
        on = {name for name, switch in values["presets"].items() if switch}
        names = frozenset(rule["name"] for rule in values["rules"])
        return cls._made(policies, names, on, values["cluster"])

    @classmethod
    def of_policies(
        cls, policies: Mapping[OperatingSystem, Policy], cluster: Mapping[str, Sequence[str]]
    ) -> Ground:
        """That of policies without their values; `cluster` is like `cluster` of the values."""
        rules = [rule.name for policy in policies.values() for rule in policy.rules]
        on = {name.split(":")[1] for name in rules if name.startswith(_PRESET)}
        return cls._made(policies, frozenset(rules), on, cluster)

    @classmethod
    def _made(
        cls,
        policies: Mapping[OperatingSystem, Policy],
        names: frozenset[str],
        on: set[str],
        cluster: Mapping[str, Sequence[str]],
    ) -> Ground:
        presets = [bundle["preset"] for bundle in data.presets()]
        off = {
            name: tuple(all_rules({"presets": {name: True}, "rules": [], "cluster": cluster}))
            for name in presets
            if name not in on
        }
        pods, services = networks(cluster["podCIDRs"]), networks(cluster["serviceCIDRs"])
        return cls(policies, names, off, pods, services)

    def allows(self, os: OperatingSystem, flow: Flow) -> bool:
        """Whether the flow passes: allowed, or not judged."""
        if os not in self.policies:
            return True
        # The oracle's word on the few rules that name the port.
        policy = replace(self.policies[os], rules=self._rules(os, flow.direction, flow.port))
        return decide(policy, flow).verdict == "allow"

    def added(self, rules: Sequence[Rule]) -> dict[OperatingSystem, Policy]:
        """The policies with these rules besides."""
        return {
            os: replace(policy, rules=(*policy.rules, *(rule for rule in rules if os in rule.os)))
            for os, policy in self.policies.items()
        }

    def _rules(self, os: OperatingSystem, direction: Direction, port: int) -> tuple[Rule, ...]:
        found = self._segments[os, direction]
        index = bisect_right(found, port, key=lambda segment: segment.low) - 1
        return found[index].rules if index >= 0 and port <= found[index].high else ()

    @cached_property
    def _segments(self) -> dict[tuple[OperatingSystem, Direction], list[Segment]]:
        return {
            (os, direction): segments([r for r in policy.rules if r.direction == direction])
            for os, policy in self.policies.items()
            for direction in DIRECTIONS
        }
