# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The truth table's body: one policy in force on both nodes, and the fate of every kind of flow."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Final

import pytest
from tests.lab.table import (
    DENIED_WAIT,
    PATIENCE,
    VXLAN,
    VXLAN_SOME,
    Counters,
    Fate,
    Governed,
    Row,
    both,
    each_family,
    each_row,
    govern,
    pods,
)

from udp_security.lab.addresses import (
    ECHO,
    ECHO_FAR,
    NODE_NET,
    NODES,
    OUTSIDER,
    POD_NET,
    REMOTE,
    Family,
    Pair,
)
from udp_security.lab.topology import Lab

# A small network beside the outsider's own address, with its neighbours on either side.
EDGE: Final = ["10.77.0.8/29", "fd00:10:77::8/125"]
BELOW: Final = Pair("10.77.0.7", "fd00:10:77::7")
FIRST: Final = Pair("10.77.0.8", "fd00:10:77::8")
LAST: Final = Pair("10.77.0.15", "fd00:10:77::f")
ABOVE: Final = Pair("10.77.0.16", "fd00:10:77::10")
NEIGHBOURS: Final = (BELOW, FIRST, LAST, ABOVE)


POLICY: Final = {
    "rules": [
        {"name": "syslog", "direction": "ingress", "ports": [514], "from": both(OUTSIDER)},
        {"name": "trap", "direction": "egress", "ports": [514], "to": both(OUTSIDER)},
        {"name": "range", "direction": "ingress", "ports": ["5000-5100"]},
        {"name": "overlap", "direction": "ingress", "ports": ["5050-5150"], "from": both(REMOTE)},
        {"name": "edge-in", "direction": "ingress", "ports": [700], "from": EDGE},
        {"name": "edge-out", "direction": "egress", "ports": [700], "to": EDGE},
        {"name": "edge-through", "direction": "forward", "ports": [700], "to": EDGE},
        {"name": "edge-to-pods", "direction": "forward", "ports": [701], "from": EDGE},
        {"name": "nodes", "direction": "egress", "ports": [5001, 5200], "to": both(NODE_NET)},
        {"name": "node-to-pods", "direction": "egress", "ports": [5000],
         "from": both(NODES["node"].address), "to": both(POD_NET)},
        {"name": "pods", "direction": "forward", "ports": [5000],
         "from": pods("pod-a", "pod-b", "pod-c"), "to": pods("pod-a", "pod-b", "pod-c")},
        {"name": "pods-out", "direction": "forward", "ports": ["6000-6010"],
         "from": both(POD_NET), "to": both(OUTSIDER)},
        {"name": "door", "direction": "forward", "ports": [5000],
         "from": both(OUTSIDER), "to": pods("pod-b", "pod-c")},
        # What arrives on the second node after the first one's masquerading.
        {"name": "hop", "direction": "forward", "ports": [5000],
         "from": both(NODES["node"].flannel), "to": pods("pod-c")},
    ]
}  # fmt: skip

INGRESS = [
    Row("ingress-{v}-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
    Row("ingress-{v}-allowed-on-node2", "outsider", "node2", 514, "answered",
        node2={"r.syslog": 2}),
    Row("ingress-{v}-denied-port", "outsider", "node", 515, "denied", {"denied.ingress": 1}),
    Row("ingress-{v}-denied-source", "remote", "node", 514, "denied", {"denied.ingress": 1}),
    Row("ingress-{v}-denied-on-node2", "outsider", "node2", 515, "denied",
        node2={"denied.ingress": 1}),
    Row("ingress-{v}-denied-source-port-53", "outsider", "node", 515, "denied",
        {"denied.ingress": 1}, source_port=53),
    Row("ingress-{v}-denied-source-port-of-a-rule", "outsider", "node", 40000, "denied",
        {"denied.ingress": 1}, source_port=514),
    Row("ingress-{v}-allowed-source-port-53", "outsider", "node", 514, "answered", {"r.syslog": 2},
        source_port=53),
    Row("ingress-{v}-allowed-from-pod", "pod-a", "node", 5000, "answered", {"r.range": 2}),
    Row("ingress-{v}-denied-from-pod", "pod-a", "node", 514, "denied", {"denied.ingress": 1}),
    Row("ingress-{v}-denied-overlay-port-from-outside", "outsider", "node", 8472, "denied",
        {"denied.ingress": 1}, target_in="remote"),
]  # fmt: skip

EGRESS = [
    Row("egress-{v}-allowed", "node", "outsider", 514, "answered", {"r.trap": 2}),
    Row("egress-{v}-allowed-on-node2", "node2", "outsider", 514, "answered", node2={"r.trap": 2}),
    Row("egress-{v}-denied-port", "node", "outsider", 515, "denied", {"denied.egress": 1}),
    Row("egress-{v}-denied-destination", "node", "remote", 514, "denied", {"denied.egress": 1}),
    Row("egress-{v}-denied-on-node2", "node2", "outsider", 515, "denied",
        node2={"denied.egress": 1}),
    Row("egress-{v}-denied-source-port-of-a-served-port", "node", "outsider", 40000, "denied",
        {"denied.egress": 1}, source_port=514),
    Row("egress-{v}-allowed-ntp", "node", "outsider", 123, "answered", {"r.preset.ntp.egress": 2}),
    Row("egress-{v}-denied-overlay-port-to-outside", "node", "outsider", 8472, "denied",
        {"denied.egress": 1}),
    Row("egress-{v}-allowed-to-pod-here", "node", "pod-a", 5000, "answered",
        {"r.node-to-pods": 2}, source_address=NODES["node"].address),
    Row("egress-{v}-denied-to-pod-from-other-address", "node", "pod-a", 5000, "denied",
        {"denied.egress": 1}, source_address=NODES["node"].bridge),
    Row("egress-{v}-and-ingress-allowed-between-nodes", "node", "node2", 5001, "answered",
        {"r.nodes": 2}, {"r.range": 2}),
    Row("egress-{v}-allowed-and-ingress-denied-between-nodes", "node", "node2", 5200, "denied",
        {"r.nodes": 1}, {"denied.ingress": 1}),
    Row("egress-{v}-denied-between-nodes", "node", "node2", 5002, "denied", {"denied.egress": 1}),
]  # fmt: skip

FORWARD = [
    Row("forward-{v}-allowed-pod-to-outside", "pod-a", "outsider", 6000, "answered",
        {"r.pods-out": 2}),
    Row("forward-{v}-denied-pod-to-outside", "pod-a", "outsider", 5999, "denied",
        {"denied.forward": 1}),
    Row("forward-{v}-allowed-outside-to-pod", "outsider", "pod-b", 5000, "answered",
        {"r.door": 2}),
    Row("forward-{v}-allowed-outside-to-pod-on-node2", "outsider", "pod-c", 5000, "answered",
        node2={"r.door": 2}),
    Row("forward-{v}-denied-outside-to-pod", "outsider", "pod-a", 5000, "denied",
        {"denied.forward": 1}),
    Row("forward-{v}-denied-outside-to-pod-on-node2", "outsider", "pod-c", 5001, "denied",
        node2={"denied.forward": 1}),
    Row("forward-{v}-denied-source-port-53", "outsider", "pod-b", 5001, "denied",
        {"denied.forward": 1}, source_port=53),
    Row("forward-{v}-denied-pod-to-other-port-from-53", "pod-a", "pod-b", 5001, "denied",
        {"denied.forward": 1}, source_port=53),
    Row("forward-{v}-allowed-pods-of-one-node", "pod-a", "pod-b", 5000, "answered", {"r.pods": 2}),
    Row("forward-{v}-denied-pods-of-one-node", "pod-a", "pod-b", 5001, "denied",
        {"denied.forward": 1}),
    Row("forward-{v}-allowed-pods-of-two-nodes", "pod-a", "pod-c", 5000, "answered",
        {"r.pods": 2, **VXLAN}, {"r.pods": 2, **VXLAN}),
    Row("forward-{v}-denied-pods-of-two-nodes-at-the-first", "pod-a", "pod-c", 5001, "denied",
        {"denied.forward": 1}),
    Row("forward-{v}-denied-pods-of-two-nodes-at-the-first-back", "pod-c", "pod-a", 5001, "denied",
        node2={"denied.forward": 1}),
    Row("forward-{v}-denied-pod-to-node-of-another", "pod-a", "node2", 5001, "denied",
        {"denied.forward": 1}),
]  # fmt: skip

SERVICES = [
    Row("service-{v}-allowed-on-the-same-node", "pod-a", ECHO.address, 5000, "answered",
        {"r.pods": 2}),
    Row("service-{v}-allowed-on-another-node", "pod-a", ECHO_FAR.address, 5000, "answered",
        {"r.pods": 2, **VXLAN}, {"r.pods": 2, **VXLAN}),
    Row("service-{v}-allowed-from-a-pod-to-itself", "pod-b", ECHO.address, 5000, "answered",
        {"r.pods": 2}),
    Row("service-{v}-denied-by-the-pod-behind-it", "dns", ECHO.address, 5000, "denied",
        {"denied.forward": 1}),
    Row("service-{v}-allowed-from-the-node", "node", ECHO.address, 5000, "answered",
        {"r.node-to-pods": 2}, source_address=NODES["node"].address),
    Row("nodeport-{v}-allowed-from-outside", "outsider", "node", 30053, "answered",
        {"r.door": 2}),
    Row("nodeport-{v}-denied-from-outside", "remote", "node", 30053, "denied",
        {"denied.forward": 1}),
    Row("nodeport-{v}-denied-without-a-service", "outsider", "node", 30055, "denied",
        {"denied.ingress": 1}),
    Row("nodeport-{v}-allowed-from-a-pod", "pod-a", "node", 30053, "answered", {"r.pods": 2}),
    # The pod is elsewhere: the second node judges too, and sees the first one's address.
    Row("nodeport-{v}-allowed-on-both-nodes", "outsider", "node", 30054, "answered",
        {"r.door": 2, **VXLAN}, {"r.hop": 2, **VXLAN}),
    Row("nodeport-{v}-allowed-on-the-first-denied-on-the-second", "outsider", "node2", 30053,
        "denied", {"denied.forward": 1, "r.preset.flannelVxlan.ingress": 1},
        {"r.door": 1, "r.preset.flannelVxlan.egress": 1}),
    Row("nodeport-{v}-denied-on-the-first", "remote", "node2", 30053, "denied",
        node2={"denied.forward": 1}),
    Row("nodeport-{v}-allowed-from-the-node-itself", "node", "node", 30053, "answered",
        {"r.node-to-pods": 2}),
    Row("nodeport-{v}-allowed-from-the-node-itself-to-a-pod-elsewhere", "node", "node", 30054,
        "answered", {"r.node-to-pods": 2, **VXLAN}, {"r.hop": 2, **VXLAN}),
    # Such a packet still has lo as its device in the output hook.
    Row("nodeport-{v}-denied-from-the-node-itself-to-a-pod-elsewhere", "node2", "node2", 30053,
        "denied", node2={"denied.egress": 1}),
    Row("nodeport-{v}-denied-from-the-node-itself-to-a-pod-here", "node2", "node2", 30054,
        "denied", node2={"denied.egress": 1}),
    Row("nodeport-{v}-of-another-node-is-an-egress-port", "node", "node2", 30054, "denied",
        {"denied.egress": 1}),
]  # fmt: skip

LOOPBACK = [
    Row("loopback-{v}", "node", Pair("127.0.0.1", "::1"), 9999, "answered", target_in="node"),
    Row("loopback-{v}-own-address", "node", "node", 9999, "answered"),
    Row("loopback-{v}-own-address-of-pod-bridge", "node", NODES["node"].bridge, 9999, "answered"),
]

SIDES: Final[tuple[tuple[str, Pair, Fate], ...]] = (
    ("below", BELOW, "denied"),
    ("first", FIRST, "answered"),
    ("last", LAST, "answered"),
    ("above", ABOVE, "denied"),
)


def moved(fate: Fate, rule: str, direction: str) -> Counters:
    """What a request moves that the rule lets through, or nothing does."""
    return {f"r.{rule}": 2} if fate == "answered" else {f"denied.{direction}": 1}


def ports(
    name: str, source: str, target: str, fates: Mapping[int, str], direction: str
) -> list[Row]:
    """Rows for ports, each with the rule that lets it through; empty: none does."""
    return [
        Row(f"edge-{{v}}-{name}-{port}", source, target, port, "answered" if rule else "denied",
            moved("answered" if rule else "denied", rule, direction))
        for port, rule in fates.items()
    ]  # fmt: skip


EDGES = [
    *(Row(f"edge-{{v}}-source-{side}", "outsider", "node", 700, fate,
          moved(fate, "edge-in", "ingress"), source_address=address)
      for side, address, fate in SIDES),
    *(Row(f"edge-{{v}}-destination-{side}", "node", address, 700, fate,
          moved(fate, "edge-out", "egress"), target_in="outsider")
      for side, address, fate in SIDES),
    *(Row(f"edge-{{v}}-forwarded-destination-{side}", "pod-a", address, 700, fate,
          moved(fate, "edge-through", "forward"), target_in="outsider")
      for side, address, fate in SIDES),
    *(Row(f"edge-{{v}}-forwarded-source-{side}", "outsider", "pod-a", 701, fate,
          moved(fate, "edge-to-pods", "forward"), source_address=address)
      for side, address, fate in SIDES),
    *ports("port", "outsider", "node",
           {4999: "", 5000: "range", 5100: "range", 5101: ""}, "ingress"),
    *ports("overlapping-range-port", "remote", "node",
           {5049: "range", 5050: "range", 5101: "overlap", 5150: "overlap", 5151: ""}, "ingress"),
    *ports("forwarded-port", "pod-a", "outsider",
           {5999: "", 6000: "pods-out", 6010: "pods-out", 6011: ""}, "forward"),
]  # fmt: skip

# Conntrack puts fragments together before the hooks; without ports no fragment could be judged.
FRAGMENTS = [
    Row("fragments-{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2},
        size=4000),
    Row("fragments-{v}-ingress-denied", "outsider", "node", 515, "denied", {"denied.ingress": 1},
        size=4000),
    Row("fragments-{v}-ingress-allowed-largest", "outsider", "node", 514, "answered",
        {"r.syslog": 2}, size=60000),
    Row("fragments-{v}-egress-allowed", "node", "outsider", 514, "answered", {"r.trap": 2},
        size=4000),
    Row("fragments-{v}-egress-denied", "node", "outsider", 515, "denied", {"denied.egress": 1},
        size=4000),
    Row("fragments-{v}-forward-allowed", "pod-a", "outsider", 6000, "answered", {"r.pods-out": 2},
        size=4000),
    Row("fragments-{v}-forward-denied", "pod-a", "outsider", 5999, "denied", {"denied.forward": 1},
        size=4000),
    Row("fragments-{v}-pods-of-one-node-allowed", "pod-a", "pod-b", 5000, "answered",
        {"r.pods": 2}, size=4000),
    Row("fragments-{v}-pods-of-one-node-denied", "pod-a", "pod-b", 5001, "denied",
        {"denied.forward": 1}, size=4000),
    Row("fragments-{v}-pods-of-two-nodes-allowed", "pod-a", "pod-c", 5000, "answered",
        {"r.pods": 2, **VXLAN_SOME}, {"r.pods": 2, **VXLAN_SOME}, size=4000),
    Row("fragments-{v}-service-allowed", "pod-a", ECHO.address, 5000, "answered", {"r.pods": 2},
        size=4000),
]  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The policy on both nodes, and the outsider at the edges."""
    lab.ns("outsider").ip(
        *(f"address add {pair.v4}/24 dev eth0" for pair in NEIGHBOURS),
        # Deprecated addresses are not taken unless asked for.
        *(f"address add {pair.v6}/64 dev eth0 nodad preferred_lft 0" for pair in NEIGHBOURS),
    )
    with govern(lab, POLICY, "node", "node2") as both_nodes:
        yield both_nodes


@each_row([*INGRESS, *EGRESS, *FORWARD, *SERVICES, *LOOPBACK, *EDGES, *FRAGMENTS])
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


REPLIES = [
    ("ingress", "outsider", "node", 514, "r.syslog"),
    ("egress", "node", "outsider", 514, "r.trap"),
    ("forward-out", "pod-a", "outsider", 6000, "r.pods-out"),
    ("forward-in", "outsider", "pod-b", 5000, "r.door"),
]


@pytest.mark.parametrize(
    ("source", "target", "port", "rule"),
    [row[1:] for row in REPLIES],
    ids=[row[0] for row in REPLIES],
)
@each_family
def test_reply(
    governed: Governed, source: str, target: str, port: int, rule: str, family: Family
) -> None:
    """A flow's answers need no rule of their own, and are counted by the flow's; one request may
    have several, and later ones."""
    with governed.lab.stream(source, governed.lab.address(target, family), port) as stream:
        with governed.moves(node={rule: 1}):
            assert stream.send(reply=False, timeout=PATIENCE).delivered
        with governed.moves(node={rule: 2}):
            assert stream.answer(timeout=PATIENCE) and stream.answer(timeout=PATIENCE)


@each_family
def test_reply_of_nothing(governed: Governed, family: Family) -> None:
    """What looks like an answer, from the port that would give it, is denied when nobody asked."""
    lab = governed.lab
    with governed.moves(node={"denied.ingress": 1}):
        fate = lab.probe(
            "outsider", lab.address("node", family), 40123, src_port=514, timeout=DENIED_WAIT
        )
    assert not fate.delivered


@pytest.mark.parametrize(
    ("source", "target", "moved"),
    [
        pytest.param("outsider", "node", {}, id="ingress"),
        pytest.param("node", "outsider", {}, id="egress"),
        pytest.param("pod-a", "outsider", {}, id="forward-out"),
        pytest.param("outsider", "pod-a", {}, id="forward-in"),
        pytest.param("pod-a", "pod-b", {}, id="pods-of-one-node"),
        pytest.param("pod-a", "pod-c", VXLAN_SOME, id="pods-of-two-nodes"),
    ],
)
@each_family
def test_tcp_and_icmp(
    governed: Governed, source: str, target: str, moved: dict[str, None], family: Family
) -> None:
    """A port that is denied for UDP is open for TCP, ICMP echoes pass; only the overlay counts."""
    lab = governed.lab
    address = lab.address(target, family)
    with governed.moves(node=moved, node2=moved):
        fate = lab.tcp(source, address, 515)
        assert fate.delivered and fate.replied
        assert lab.ping(source, address, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("source", "target", "port", "rule"),
    [
        pytest.param("outsider", "node", 514, "r.syslog", id="ingress"),
        pytest.param("node", "outsider", 514, "r.trap", id="egress"),
        pytest.param("pod-a", "outsider", 6000, "r.pods-out", id="forward"),
    ],
)
@each_family
def test_icmp_error(
    governed: Governed, source: str, target: str, port: int, rule: str, family: Family
) -> None:
    """Nobody listens on an allowed port: the kernel's own "port unreachable" finds its way back."""
    lab = governed.lab
    address = lab.address(target, family)
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with governed.moves(node={rule: 1}), lab.ns(source).socket(kind, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.connect((address, port))
        sender.send(b"anybody there?")
        with pytest.raises(ConnectionRefusedError):
            sender.recv(1)


@each_family
def test_status_tells_the_kernels_counters(governed: Governed, family: Family) -> None:
    """`status` prints each rule and direction with what the kernel counted."""
    lab = governed.lab
    lab.probe("outsider", lab.address("node", family), 514)
    lab.probe("outsider", lab.address("node", family), 515, timeout=DENIED_WAIT)
    status = json.loads(governed.pods["node"].exec("status").stdout)["counters"]
    told = {f"r.{rule['name'].replace(':', '.')}": rule["packets"] for rule in status["rules"]}
    told |= {f"denied.{way}": traffic["packets"] for way, traffic in status["denied"].items()}
    kernels = governed.counters()["node"]
    # The bridges' table, if the kernel has one.
    told.pop("denied.tagged", None)
    assert told == kernels
    assert kernels["r.syslog"] >= 2 and kernels["denied.ingress"] >= 1
