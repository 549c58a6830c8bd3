# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The flows the demo sends, and what the policy means for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from udp_security.lab import addresses
from udp_security.lab.topology import Lab
from udp_security.policy import Flow, Policy, decide

NODE = addresses.NODES["node"].address
POD_A = addresses.PODS["pod-a"][1]
POD_B = addresses.PODS["pod-b"][1]
POD_C = addresses.PODS["pod-c"][1]
DNS_POD = addresses.DNS.pod
OUTSIDER = addresses.OUTSIDER
REMOTE = addresses.REMOTE
_UNUSED_PORT = 9999


@dataclass(frozen=True)
class Probe:
    """One question to the lab.

    ``flows`` are what the node's policy judges on the packet's way; none means that a packet never
    meets the policy, for the reason in ``exempt``. ``send`` tells whether the packet arrived and
    its answer came back.
    """

    title: str
    send: Callable[[Lab], bool]
    flows: tuple[Flow, ...] = ()
    exempt: str = ""


def meaning(policy: Policy, probe: Probe) -> tuple[bool, str]:
    """Whether the policy lets the probe pass, and why in a few words, by the oracle."""
    allowing: list[str] = []
    for flow in probe.flows:
        decision = decide(policy, flow)
        if decision.verdict == "deny":
            return False, f"no {flow.direction} rule"
        allowing += [family(rule.name) for rule in decision.rules]
    return True, probe.exempt or ", ".join(dict.fromkeys(allowing))


def family(rule: str) -> str:
    """A rule's name; for a preset's rule, the preset."""
    return rule.rpartition(":")[0] if rule.startswith("preset:") else rule


def flow(direction: str, source: str, destination: str, port: int) -> Flow:
    """A flow of addresses written as text."""
    return Flow(direction, ip_address(source), ip_address(destination), port)  # type: ignore[arg-type]


def _udp(source: str, destination: str, port: int, **options: object) -> Callable[[Lab], bool]:
    return lambda lab: lab.probe(source, destination, port, **options).replied  # type: ignore[arg-type]


def _dns(source: str, server: str, name: str) -> Callable[[Lab], bool]:
    return lambda lab: bool(lab.dns_query(source, server, name))


_DNS_ADDRESS = addresses.PODS[DNS_POD][1].v4
_BRIDGE = addresses.NODES["node"].bridge.v4

SYSLOG_FROM_OUTSIDE = Probe(
    "stranger sends syslog to node",
    _udp("outsider", NODE.v4, 514),
    (flow("ingress", OUTSIDER.v4, NODE.v4, 514),),
)

PROBES: tuple[Probe, ...] = (
    Probe(
        "pod asks the cluster DNS",
        _dns("pod-a", addresses.DNS.address.v4, addresses.CLUSTER_NAME),
        (flow("forward", POD_A.v4, _DNS_ADDRESS, 53),),
    ),
    Probe(
        "pod asks it for an outside name",
        _dns("pod-a", addresses.DNS.address.v4, addresses.UPSTREAM_NAME),
        (
            flow("forward", POD_A.v4, _DNS_ADDRESS, 53),
            flow("ingress", _DNS_ADDRESS, _BRIDGE, 53),
            flow("egress", NODE.v4, REMOTE.v4, 53),
        ),
    ),
    Probe(
        "node asks its own dnsmasq", _dns("node", NODE.v4, addresses.NODE_NAME), exempt="loopback"
    ),
    Probe(
        "node to itself, 127.0.0.1",
        _udp("node", "127.0.0.1", _UNUSED_PORT, dst_ns="node"),
        exempt="loopback",
    ),
    Probe(
        "ward gateway sends syslog to node",
        _udp("remote", NODE.v4, 514),
        (flow("ingress", REMOTE.v4, NODE.v4, 514),),
    ),
    SYSLOG_FROM_OUTSIDE,
    Probe(
        "pod to pod on the other node",
        _udp("pod-a", POD_C.v4, 5000),
        (flow("forward", POD_A.v4, POD_C.v4, 5000),),
    ),
    Probe(
        "the same over IPv6",
        _udp("pod-a", POD_C.v6, 5000),
        (flow("forward", POD_A.v6, POD_C.v6, 5000),),
    ),
    Probe(
        "node to NodePort, pod elsewhere",
        _udp("node", NODE.v4, 30054),
        (flow("egress", NODE.v4, POD_C.v4, 5000),),
    ),
    Probe(
        "pod to a neighbour's closed port",
        _udp("pod-a", POD_B.v4, 5001),
        (flow("forward", POD_A.v4, POD_B.v4, 5001),),
    ),
    Probe(
        "stranger to a service's NodePort",
        _udp("outsider", NODE.v4, 30053),
        (flow("forward", OUTSIDER.v4, POD_B.v4, 5000),),
    ),
    Probe(
        "stranger from port 53 to node",
        _udp("outsider", NODE.v4, _UNUSED_PORT, src_port=53),
        (flow("ingress", OUTSIDER.v4, NODE.v4, _UNUSED_PORT),),
    ),
    Probe(
        "stranger to the node over IPv6",
        _udp("outsider", NODE.v6, _UNUSED_PORT),
        (flow("ingress", OUTSIDER.v6, NODE.v6, _UNUSED_PORT),),
    ),
    Probe(
        "pod sends data out of the cluster",
        _udp("pod-a", OUTSIDER.v4, 443),
        (flow("forward", POD_A.v4, OUTSIDER.v4, 443),),
    ),
    Probe(
        "TCP from a stranger to the node",
        lambda lab: lab.tcp("outsider", NODE.v4, _UNUSED_PORT).replied,
        exempt="not UDP",
    ),
    Probe(
        "ping from a stranger to a pod",
        lambda lab: lab.ping("outsider", POD_A.v4),
        exempt="not UDP",
    ),
)
