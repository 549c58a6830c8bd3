# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Forged source addresses in the truth table: a pod with NET_RAW writes whatever it likes.

A packet from the pods' bridge whose source is not behind that bridge is denied before anything else
is asked. Whatever a rule or a cached verdict allows that address does not help.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.lab import frames
from tests.lab.agents import config_data, documents
from tests.lab.frames import DESTINATION, HOP_BY_HOP, ROUTING
from tests.lab.table import (
    DENIED_WAIT,
    PATIENCE,
    Counters,
    Governed,
    counters,
    each_family,
    govern,
)

from udp_security.lab.addresses import DNS, NODES, OUTSIDER, PODS, REMOTE, Family, Pair
from udp_security.lab.topology import Lab

OPEN: Final = 5000
DENIED: Final = 5001
# Anybody may, so that only where a packet really comes from is left to deny it.
RULES: Final = [
    {"name": "pods", "direction": "forward", "ports": [OPEN]},
    {"name": "node", "direction": "ingress", "ports": [OPEN]},
]
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "closed": {"rules": RULES},
    "reject": {"rules": RULES, "denyAction": "reject"},
    "audit": {"rules": RULES, "mode": "audit"},
    "off": {"rules": RULES, "linux": {"antiSpoofing": False}},
}
SPOOFED: Final[Counters] = {"denied.spoofed": 1}
FORGED: Final[Mapping[str, Pair]] = {
    "node": NODES["node"].address,
    "bridge": NODES["node"].bridge,
    "another-node": NODES["node2"].address,
    "pod-of-another-node": PODS["pod-c"][1],
    "host": REMOTE,
    "outsider": OUTSIDER,
    "service": DNS.address,
    "loopback": Pair("127.0.0.1", "::1"),
}


@dataclass(frozen=True)
class Way:
    """Where a packet from pod-a goes to, whose hardware address it bears, what counts it there."""

    target: str
    through: tuple[str, str]
    rule: str


WAYS: Final[Mapping[str, Way]] = {
    "to-a-pod-beside": Way("pod-b", ("pod-b", "eth0"), "r.pods"),
    "to-a-pod-beside-through-the-node": Way("pod-b", ("node", "cni0"), "r.pods"),
    "to-a-pod-elsewhere": Way("pod-c", ("node", "cni0"), "r.pods"),
    "to-the-node": Way("node", ("node", "cni0"), "r.node"),
    "out": Way("outsider", ("node", "cni0"), "r.pods"),
}


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on both nodes."""
    with govern(lab, POLICIES[request.param], "node", "node2") as governed:
        yield governed


def under(*policies: str) -> pytest.MarkDecorator:
    """The test runs under these policies."""
    return pytest.mark.parametrize("governed", policies, indirect=True, scope="module")


def forge(lab: Lab, way: Way, source: str, family: Family, port: int, payload: bytes) -> bytes:
    """A packet with this source on its way."""
    return frames.udp(source, lab.address(way.target, family), port, payload)


@pytest.fixture
def trusting(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A policy's rules as rendered, without an agent: cached verdicts are trusted at once."""
    ruleset = config_data(documents(POLICIES[request.param]))["policy.nft"]
    lab.run("node", ["nft", "-f", "-"], stdin=ruleset)
    yield request.param
    lab.run("node", ["nft", "delete", "table", "inet", "udp_security"])


@pytest.mark.parametrize("trusting", ["closed", "audit", "off"], indirect=True)
@pytest.mark.parametrize("answer", [False, True], ids=("request", "answer"))
@each_family
def test_a_cached_flow_cannot_be_ridden_on(
    lab: Lab, trusting: str, answer: bool, family: Family
) -> None:
    """pod-c and pod-b have an allowed flow, and pod-a knows its addresses and ports."""
    far, near = lab.address("pod-c", family), lab.address("pod-b", family)
    client, server = ("pod-b", far) if answer else ("pod-c", near)
    with (
        lab.stream(client, server, OPEN) as stream,
        frames.sniffer(lab, "pod-b") as device,
    ):
        assert stream.send(timeout=PATIENCE).replied
        before = counters(lab, "node")
        port = stream.source_port
        ports = (
            {"port": port, "source_port": OPEN} if answer else {"port": OPEN, "source_port": port}
        )
        for number in range(2):
            whole = frames.udp(far, near, payload=f"ridden on {number}".encode(), **ports)
            frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), whole)
            wait = DENIED_WAIT if trusting == "closed" else PATIENCE
            assert device.got(whole, wait) == (trusting != "closed")
        after = counters(lab, "node")
        moved = {name: n - before[name] for name, n in after.items() if n != before[name]}
        # Audit tells each, and what the rule makes of it. Without antiSpoofing nothing is even
        # asked: the cache lets it pass.
        forged = {"denied.spoofed": 2}
        told = {"closed": forged, "audit": {**forged, "r.pods": 2}, "off": {}}
        assert moved == told[trusting]
        assert stream.send(timeout=PATIENCE).replied


@under("closed")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@each_family
def test_forged(governed: Governed, way: Way, family: Family) -> None:
    lab = governed.lab
    to = frames.hardware(lab, *way.through)
    with frames.receiver(lab, way.target, family, OPEN) as receiver:
        # The kernel itself refuses to route some of them.
        some = None if way.through[0] == "node" else len(FORGED)
        with governed.moves(node={"denied.spoofed": some}):
            for name, source in FORGED.items():
                payload = f"{name} {way}".encode()
                frames.send(
                    lab, "pod-a", to, forge(lab, way, source.of(family), family, OPEN, payload)
                )
        assert not receiver.got_anything()


@under("off")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@each_family
def test_they_would_arrive(governed: Governed, way: Way, family: Family) -> None:
    """Without antiSpoofing the policy takes them for whose address they bear."""
    lab = governed.lab
    payload = f"{way}".encode()
    source = NODES["node2"].address.of(family)
    whole = forge(lab, way, source, family, OPEN, payload)
    with frames.receiver(lab, way.target, family, OPEN) as receiver:
        frames.send(lab, "pod-a", frames.hardware(lab, *way.through), whole)
        assert receiver.got(payload, PATIENCE)


@under("audit")
@each_family
def test_audit(governed: Governed, family: Family) -> None:
    """Counted as forged, then judged as any packet."""
    lab = governed.lab
    way = WAYS["to-the-node"]
    for port, moved in ((OPEN, {"r.node": 1}), (DENIED, {"denied.ingress": 1})):
        payload = f"audit {port}".encode()
        whole = forge(lab, way, OUTSIDER.of(family), family, port, payload)
        with frames.receiver(lab, way.target, family, port) as receiver:
            with governed.moves(node={**SPOOFED, **moved}):
                frames.send(lab, "pod-a", frames.hardware(lab, *way.through), whole)
            assert receiver.got(payload, PATIENCE)


@under("reject")
def test_whom_it_pretends_to_be_hears_nothing(governed: Governed) -> None:
    """A reject would let a pod send ICMP errors to anybody; others get theirs."""
    lab = governed.lab
    way = WAYS["to-the-node"]
    kind, protocol = socket.SOCK_RAW, socket.IPPROTO_ICMP
    with lab.ns("outsider").socket(socket.AF_INET, kind, protocol) as errors:
        errors.settimeout(DENIED_WAIT)
        whole = forge(lab, way, OUTSIDER.v4, 4, DENIED, b"pretended")
        with governed.moves(node=SPOOFED):
            frames.send(lab, "pod-a", frames.hardware(lab, *way.through), whole)
        with pytest.raises(TimeoutError):
            errors.recv(1500)
        assert lab.probe("outsider", lab.address("node"), DENIED).unreachable


@under("closed")
@each_family
def test_on_two_nodes(governed: Governed, family: Family) -> None:
    """It is denied where it is forged: the other node could not tell."""
    lab = governed.lab
    payload = b"from node2"
    pod_a, pod_b = lab.address("pod-a", family), lab.address("pod-b", family)
    with frames.receiver(lab, "pod-b", family, OPEN) as receiver:
        with governed.moves(node2=SPOOFED):
            whole = frames.udp(pod_a, pod_b, OPEN, payload)
            frames.send(lab, "pod-c", frames.hardware(lab, "node2", "cni0"), whole)
        assert not receiver.got_anything()


@under("closed")
@pytest.mark.parametrize(
    ("family", "kinds", "size"),
    [
        pytest.param(4, (), 1024, id="v4-fragments"),
        pytest.param(6, (), 1024, id="v6-fragments"),
        pytest.param(6, (HOP_BY_HOP, DESTINATION), 0, id="v6-options"),
        pytest.param(6, (ROUTING, DESTINATION), 0, id="v6-routing"),
        pytest.param(6, (DESTINATION,), 1024, id="v6-fragmented-options"),
    ],
)
@pytest.mark.parametrize("way", ["to-a-pod-beside", "to-the-node"])
def test_packets_in_disguise(
    governed: Governed, way: str, family: Family, kinds: Sequence[int], size: int
) -> None:
    """Conntrack puts fragments together before anybody looks."""
    lab = governed.lab
    payload = f"{way} {kinds} {size}".encode() + bytes(1100)
    whole = forge(lab, WAYS[way], OUTSIDER.of(family), family, OPEN, payload)
    if kinds:
        whole = frames.extended(whole, *kinds)
    pieces = frames.fragments(whole, size) if size else [whole]
    with frames.receiver(lab, WAYS[way].target, family, OPEN) as receiver:
        with governed.moves(node=SPOOFED):
            frames.send(lab, "pod-a", frames.hardware(lab, *WAYS[way].through), *pieces)
        assert not receiver.got_anything()


@under("closed")
@each_family
def test_what_is_not_forged(governed: Governed, family: Family) -> None:
    """A source without a route of its own: what a link has by itself."""
    lab = governed.lab
    payload = b"honest"
    if family == 4:
        source, target, to = "0.0.0.0", "255.255.255.255", frames.BROADCAST
    else:
        source, target = link_local(lab, "pod-a"), link_local(lab, "pod-b")
        to = frames.hardware(lab, "pod-b")
    with frames.receiver(lab, "pod-b", family, OPEN) as receiver:
        frames.send(lab, "pod-a", to, frames.udp(source, target, OPEN, payload))
        assert receiver.got(payload, PATIENCE)


def link_local(lab: Lab, namespace: str) -> str:
    """A pod's link-local address."""
    command = ["ip", "-6", "-br", "address", "show", "dev", "eth0", "scope", "link"]
    return lab.run(namespace, command).stdout.split()[2].partition("/")[0]


@under("closed")
@each_family
def test_a_pod_that_routes_for_others(governed: Governed, family: Family) -> None:
    """The node needs a route to them; it is what answers need as well."""
    lab = governed.lab
    network, source = Pair("10.99.0.0/24", "fd00:99::/64"), Pair("10.99.0.5", "fd00:99::5")
    whole = forge(lab, WAYS["out"], source.of(family), family, OPEN, b"routed")
    to = frames.hardware(lab, "node", "cni0")
    with frames.receiver(lab, "outsider", family, OPEN) as receiver:
        with governed.moves(node=SPOOFED):
            frames.send(lab, "pod-a", to, whole)
        route = f"{network.of(family)} via {lab.address('pod-a', family)} dev cni0"
        lab.ns("node").ip(f"route add {route}")
        try:
            with governed.moves(node={"r.pods": 1}):
                frames.send(lab, "pod-a", to, whole)
            assert receiver.got(b"routed", PATIENCE)
        finally:
            lab.ns("node").ip(f"route delete {route}")


@under("closed")
@each_family
def test_a_neighbour_on_the_same_bridge_can_be_imitated(governed: Governed, family: Family) -> None:
    """What is not closed: the kernel knows which bridge an address is behind, not which pod."""
    lab = governed.lab
    payload = b"imitated"
    whole = frames.udp(lab.address("dns", family), lab.address("pod-b", family), OPEN, payload)
    with frames.receiver(lab, "pod-b", family, OPEN) as receiver:
        frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), whole)
        assert receiver.got(payload, PATIENCE)


@under("closed")
@each_family
def test_frames_of_a_pod_in_the_nodes_network_are_not_seen(
    governed: Governed, family: Family
) -> None:
    """What is not closed either: they are put on the wire behind the output hook."""
    lab = governed.lab
    payload = b"from the node's network"
    node, outsider = lab.address("node", family), lab.address("outsider", family)
    denied = frames.udp(node, outsider, DENIED, payload)
    with frames.receiver(lab, "outsider", family, DENIED) as receiver, governed.moves():
        frames.send(lab, "node", frames.hardware(lab, "remote", "lan"), denied)
        assert receiver.got(payload, PATIENCE)
