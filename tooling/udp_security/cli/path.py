# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The way of a flow's packet through a Linux node: every hook in order, and where it ends.

docs/ruleset.md and docs/iptables.md say why the hooks are as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from udp_security.policy import Decision, Flow, Policy
from udp_security.policy.facts import Facts
from udp_security.policy.oracle import contains
from udp_security.policy.segments import segments

NODE_PORTS = range(30000, 32768)

Outcome = Literal["passes", "accepts", "denies", "would deny", "not reached"]
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Step:
    """One thing that looks at the packet. `hook`: where that happens."""

    hook: str
    says: str
    outcome: Outcome = "passes"


@dataclass(frozen=True)
class Plane:
    """What stands on a Linux node's way besides the policy. None of it with iptables."""

    backend: Literal["nftables", "iptables"]
    cached: bool = False
    anti_spoofing: bool = False
    prefilter: bool = False

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Plane:
        """`backend: auto` counts as nftables, which it takes wherever that works."""
        linux = values["linux"]
        if linux["backend"] == "iptables":
            return cls("iptables")
        return cls(
            "nftables",
            linux["verdictCache"]["enabled"],
            linux["antiSpoofing"],
            linux["prefilter"] and values["mode"] == "enforce",
        )

    @classmethod
    def from_facts(cls, facts: Facts, backend: str | None) -> Plane:
        """`backend`: what the node's agent took, if that is known."""
        if (backend or facts.backend) == "iptables":
            return cls("iptables")
        return cls("nftables", facts.cache is not None, facts.anti_spoofing, facts.prefilter)


@dataclass(frozen=True)
class Packet:
    """A packet of a flow and what the policy says. `by_mark`: its flow's verdict is cached."""

    policy: Policy
    flow: Flow
    decision: Decision
    by_mark: bool = False


def linux_path(packet: Packet, plane: Plane) -> list[Step]:
    """The steps of a packet that a node judges."""
    middle = {"ingress": _ingress, "egress": _egress, "forward": _forward}[packet.flow.direction]
    return ended(middle(packet, plane))


def local_path(system: str) -> list[Step]:
    """The steps of a packet that never leaves its node."""
    if system == "windows":
        steps = [Step("firewall", "loopback is in no rule: not judged", "accepts")]
    else:
        steps = [
            Step("output", "out by lo, to an address of the node: not judged", "accepts"),
            Step("input", "in by lo: not judged", "accepts"),
        ]
    return [Step("process", "sends"), *steps, Step("process", "receives")]


def ungoverned_path(direction: str) -> list[Step]:
    """The steps where no agent runs."""
    ends = {
        "ingress": ("wire", "process"),
        "egress": ("process", "wire"),
        "forward": ("wire", "wire"),
    }[direction]
    middle = Step("node", "no agent runs there: nothing of udp-security judges it")
    return [Step(ends[0], "comes in"), middle, Step(ends[1], "goes on")]


def ended(steps: Iterator[Step]) -> list[Step]:
    """Marks what is behind a denial as not reached."""
    found: list[Step] = []
    for step in steps:
        stopped = found and found[-1].outcome in ("denies", "not reached")
        found.append(replace(step, outcome="not reached") if stopped else step)
    return found


def _ingress(packet: Packet, plane: Plane) -> Iterator[Step]:
    yield Step("wire", f"comes in from {packet.flow.source}")
    yield from _arrival(packet, plane)
    yield Step("routing", "to the node itself")
    yield from _judgement(packet, plane, "input")
    yield Step("process", f"the node's process on port {packet.flow.port}")


def _egress(packet: Packet, plane: Plane) -> Iterator[Step]:
    yield Step("process", f"a process of the node sends to {packet.flow.destination}")
    yield from _tracking("output", plane)
    yield from _judgement(packet, plane, "output")
    yield from _departure(packet)


def _forward(packet: Packet, plane: Plane) -> Iterator[Step]:
    yield Step("wire", f"comes in from {packet.flow.source}")
    yield from _arrival(packet, plane)
    yield Step("routing", "through the node")
    ends = (packet.flow.source, packet.flow.destination)
    if plane.anti_spoofing and all(contains(packet.policy.cluster.pods, end) for end in ends):
        yield Step("bridge", "between pods of one node: no UDP in VLAN-tagged frames")
    yield from _judgement(packet, plane, "forward")
    yield from _departure(packet)


def _departure(packet: Packet) -> Iterator[Step]:
    yield Step("postrouting", "masquerading may change the source; it was judged before")
    yield Step("wire", f"goes out to {packet.flow.destination}")


def _arrival(packet: Packet, plane: Plane) -> Iterator[Step]:
    if plane.prefilter:
        yield Step("prerouting", f"prefilter: {_prefiltered(packet.policy, packet.flow)}")
    yield from _tracking("prerouting", plane)


def _prefiltered(policy: Policy, flow: Flow) -> str:
    if any(low <= flow.port <= high for rule in policy.rules for low, high in rule.ports):
        return f"port {flow.port} is a rule's"
    if flow.port in NODE_PORTS:
        return f"port {flow.port} may be a NodePort"
    if policy.scope == "cluster" and not contains(policy.cluster.networks, flow.source):
        return "the source is outside the cluster"
    return (
        f"port {flow.port} is no rule's: dropped here already, unless it comes from a rule's port "
        "or NAT may translate it"
    )


def _tracking(hook: str, plane: Plane) -> Iterator[Step]:
    yield Step(hook, "conntrack finds the flow's entry, or begins one")
    if plane.cached:
        yield Step(hook, "purge, minutes after a change only: old verdicts leave the mark")
    yield Step(hook, "kube-proxy may translate the destination (DNAT)")


def _judgement(packet: Packet, plane: Plane, hook: str) -> Iterator[Step]:
    if plane.backend == "iptables":
        yield Step(hook, f"UDPSEC-{hook.upper()}, the first rule of {hook.upper()}")
    elif packet.by_mark:
        yield Step(hook, "verdict cache: the entry's mark is this policy's", "accepts")
    elif plane.cached:
        denied = packet.decision.verdict == "deny"
        why = "a denied flow is never in it" if denied else "nothing yet at a flow's first packet"
        yield Step(hook, f"verdict cache: {why}")
    if not packet.by_mark:
        if plane.anti_spoofing and hook != "output":
            yield Step(hook, "anti-spoofing: from cni0, its source must be behind cni0")
        if hook != "forward":
            yield Step(hook, "loopback: no")
        yield from policy_steps(packet, hook, "ACCEPT" if plane.backend == "nftables" else "RETURN")
    yield Step(hook, "others' rules (Flannel, kube-proxy) judge it as well")


def policy_steps(packet: Packet, hook: str, word: str) -> Iterator[Step]:
    """Scope, port, rule: the policy itself. `word`: how the backend lets a packet go."""
    policy, flow, decision = packet.policy, packet.flow, packet.decision
    if not decision.judged:
        yield Step(hook, f"scope {policy.scope}: no remote end in the cluster: {word}", "accepts")
        return
    every = "every flow is judged" if policy.scope == "host" else "an end is in the cluster: judged"
    yield Step(hook, f"scope {policy.scope}: {every}")
    yield Step(hook, _segment(policy, flow))
    if decision.rules:
        yield Step(hook, f"rule {decision.rules[0].name}: {word}", "accepts")
        return
    counted = f"counted in denied.{flow.direction}"
    if policy.mode == "audit":
        yield Step(hook, f"audit: no rule allows it, {counted}", "would deny")
    else:
        yield Step(hook, f"no rule allows it: {policy.deny_action}, {counted}", "denies")


def _segment(policy: Policy, flow: Flow) -> str:
    """The port's segment and the rules that it leads to, in the order in which they are tried."""
    rules = [rule for rule in policy.rules if rule.direction == flow.direction]
    for segment in segments(rules):
        if segment.low <= flow.port <= segment.high:
            ports = f"{segment.low}-{segment.high}"
            ports = str(flow.port) if segment.low == segment.high else f"{flow.port} of {ports}"
            names = [rule.name for rule in segment.rules]
            more = len(names) - _NAMES_SHOWN
            shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
            return f"port {ports}: leads to {shown}"
    return f"port {flow.port}: no {flow.direction} rule has it"
