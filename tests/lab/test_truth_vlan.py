# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""VLAN-tagged frames within a bridge in the truth table.

No hook for IP sees them, and a receiver takes tags with id 0 off: without the table for bridged
frames a pod reaches every port of its node's other pods.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pytest
from tests.lab import frames
from tests.lab.frames import DESTINATION, HOP_BY_HOP, ROUTING, TAG_AD, TAG_Q, Tag
from tests.lab.table import DENIED_WAIT, PATIENCE, Counters, Governed, each_family, govern

from udp_security.lab.addresses import NODES, Family
from udp_security.lab.topology import Lab

OPEN: Final = 5000
DENIED: Final = 5001
RULES: Final = [
    {"name": "pods", "direction": "forward", "ports": [OPEN]},
    {"name": "node", "direction": "ingress", "ports": [OPEN]},
]
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "closed": {"rules": RULES},
    "audit": {"rules": RULES, "mode": "audit"},
    "off": {"rules": RULES, "linux": {"antiSpoofing": False}},
}
PASSED_ON: Final = ("audit", "off")
ZERO: Final = (TAG_Q, 0)
TAGS: Final[Mapping[str, Sequence[Tag]]] = {
    "tag-0": [ZERO],
    "with-priority": [(TAG_Q, 7 << 13)],
    "drop-eligible": [(TAG_Q, 1 << 12)],
    "802.1ad": [(TAG_AD, 0)],
    "tag-0-in-tag-0": [ZERO, ZERO],
    "three": [ZERO, ZERO, ZERO],
    "tag-0-in-802.1ad": [(TAG_AD, 0), ZERO],
    "802.1ad-in-tag-0": [ZERO, (TAG_AD, 0)],
}


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on the node."""
    with govern(lab, POLICIES[request.param]) as governed:
        yield governed


def under(*policies: str) -> pytest.MarkDecorator:
    """The test runs under these policies."""
    return pytest.mark.parametrize("governed", policies, indirect=True, scope="module")


def tagged(lab: Lab) -> int:
    """Frames that the node's table for bridged frames has counted; none where there is no table."""
    command = ["nft", "-j", "list", "counters", "table", "bridge", "udp_security"]
    listing = lab.run("node", command, check=False)
    if listing.returncode:
        return 0
    objects = json.loads(listing.stdout)["nftables"]
    (count,) = (each["counter"]["packets"] for each in objects if "counter" in each)
    return int(count)


@contextlib.contextmanager
def counted(governed: Governed, number: int, **expected: Counters) -> Iterator[None]:
    """So many tagged frames are counted in the block; and these other counters move."""
    before = tagged(governed.lab)
    with governed.moves(**expected):
        yield
    assert tagged(governed.lab) - before == number


def packet(lab: Lab, family: Family, port: int, payload: bytes, target: str = "pod-b") -> bytes:
    """From pod-a, as it may."""
    return frames.udp(lab.address("pod-a", family), lab.address(target, family), port, payload)


@under(*POLICIES)
@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@each_family
def test_udp(
    governed: Governed, request: pytest.FixtureRequest, tags: Sequence[Tag], family: Family
) -> None:
    """Denied whatever its port: the policy never sees it. Audit only counts."""
    policy = request.node.callspec.params["governed"]
    passed_on = policy in PASSED_ON
    lab = governed.lab
    to = frames.hardware(lab, "pod-b")
    with counted(governed, 0 if policy == "off" else 2):
        for port in (DENIED, OPEN):
            payload = f"{policy} {port}".encode()
            with frames.receiver(lab, "pod-b", family, port) as receiver:
                frames.send(lab, "pod-a", to, packet(lab, family, port, payload), tags=tags)
                wait = PATIENCE if passed_on else DENIED_WAIT
                assert receiver.got(payload, wait) == passed_on


@under("closed", "off")
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
def test_packets_in_disguise(
    governed: Governed,
    request: pytest.FixtureRequest,
    family: Family,
    kinds: Sequence[int],
    size: int,
) -> None:
    """UDP is found behind IPv6's extension headers and in every fragment."""
    open_ = request.node.callspec.params["governed"] == "off"
    lab = governed.lab
    payload = f"{kinds} {size}".encode() + bytes(1100)
    whole = packet(lab, family, DENIED, payload)
    if kinds:
        whole = frames.extended(whole, *kinds)
    pieces = frames.fragments(whole, size) if size else [whole]
    with (
        frames.receiver(lab, "pod-b", family, DENIED) as receiver,
        counted(governed, 0 if open_ else len(pieces)),
    ):
        frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), *pieces, tags=[ZERO])
        assert receiver.got(payload, PATIENCE if open_ else DENIED_WAIT) == open_


@under("closed")
def test_headers_that_cannot_be_followed(governed: Governed) -> None:
    """What may be UDP's first fragment is taken for it: here its header comes with the second."""
    lab = governed.lab
    whole = frames.extended(packet(lab, 6, DENIED, b"late"), DESTINATION, DESTINATION)
    with counted(governed, 2), frames.sniffer(lab, "pod-b") as device:
        pieces = frames.fragments(whole, 8)[:2]
        frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), *pieces, tags=[ZERO])
        assert not device.got(pieces[0], DENIED_WAIT)


@under("closed")
@pytest.mark.parametrize("tag", [TAG_Q, TAG_AD], ids=("802.1Q", "802.1ad"))
@each_family
def test_tcp_and_arp_pass(governed: Governed, tag: int, family: Family) -> None:
    lab = governed.lab
    to = frames.hardware(lab, "pod-b")
    first = frames.syn(lab.address("pod-a", family), lab.address("pod-b", family), OPEN)
    asked = frames.arp_request(
        frames.hardware(lab, "pod-a"), lab.address("pod-a"), lab.address("pod-b")
    )
    with counted(governed, 0), frames.sniffer(lab, "pod-b") as device:
        frames.send(lab, "pod-a", to, first, tags=[(tag, 0)])
        assert device.got(first, PATIENCE)
        frames.send(lab, "pod-a", frames.BROADCAST, asked, kind=frames.ARP, tags=[(tag, 0)])
        assert device.got(asked, PATIENCE)


@under("closed")
@each_family
def test_tcp_below_two_tags_does_not(governed: Governed, family: Family) -> None:
    """Nobody looks through the second tag."""
    lab = governed.lab
    first = frames.syn(lab.address("pod-a", family), lab.address("pod-b", family), OPEN)
    with counted(governed, 1), frames.sniffer(lab, "pod-b") as device:
        frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), first, tags=[ZERO, ZERO])
        assert not device.got(first, DENIED_WAIT)


@under("closed")
@each_family
def test_another_vlan(governed: Governed, family: Family) -> None:
    """Its frames are nobody's who has no device for it: they pass, and no socket gets them."""
    lab = governed.lab
    payload = b"another VLAN"
    whole = packet(lab, family, OPEN, payload)
    with (
        counted(governed, 0),
        frames.sniffer(lab, "pod-b") as device,
        frames.receiver(lab, "pod-b", family, OPEN) as receiver,
    ):
        frames.send(lab, "pod-a", frames.hardware(lab, "pod-b"), whole, tags=[(TAG_Q, 5)])
        assert device.got(whole, PATIENCE)
        assert not receiver.got(payload, DENIED_WAIT)


@under("closed")
@each_family
def test_to_the_node(governed: Governed, family: Family) -> None:
    """The node's own stack takes the tag off before the hooks: the policy decides."""
    lab = governed.lab
    bridge = frames.hardware(lab, "node", "cni0")
    address = NODES["node"].bridge.of(family)
    for port, moved in ((OPEN, {"r.node": 1}), (DENIED, {"denied.ingress": 1})):
        payload = f"to the node {port}".encode()
        whole = frames.udp(lab.address("pod-a", family), address, port, payload)
        with (
            frames.receiver(lab, "node", family, port) as receiver,
            counted(governed, 0, node=moved),
        ):
            frames.send(lab, "pod-a", bridge, whole, tags=[ZERO])
            wait = PATIENCE if port == OPEN else DENIED_WAIT
            assert receiver.got(payload, wait) == (port == OPEN)


@pytest.fixture
def trunk(lab: Lab) -> Iterator[None]:
    """pod-a's device in the node has a name as a bridge's own network card has."""
    node = lab.ns("node")
    names = ("veth-pod-a", "lan0")
    for old, new in (names, names[::-1]):
        node.ip(f"link set {old} down", f"link set {old} name {new}", f"link set {new} up")
        if new == "lan0":
            yield


@under("closed")
def test_frames_that_no_container_sends(governed: Governed, trunk: None) -> None:
    """A bridge to the outside carries others' priority tags."""
    lab = governed.lab
    payload = b"from a trunk"
    with counted(governed, 0), frames.receiver(lab, "pod-b", 4, DENIED) as receiver:
        to = frames.hardware(lab, "pod-b")
        frames.send(lab, "pod-a", to, packet(lab, 4, DENIED, payload), tags=[ZERO])
        assert receiver.got(payload, PATIENCE)


@under("off")
@each_family
def test_the_sysctl_is_no_remedy(governed: Governed, family: Family) -> None:
    """bridge-nf-filter-vlan-tagged looks through one tag only."""
    lab = governed.lab
    node = lab.ns("node")
    to = frames.hardware(lab, "pod-b")
    node.sysctl({"net/bridge/bridge-nf-filter-vlan-tagged": 1})
    try:
        with frames.receiver(lab, "pod-b", family, DENIED) as receiver:
            whole = packet(lab, family, DENIED, b"once")
            with governed.moves(node={"denied.forward": 1}):
                frames.send(lab, "pod-a", to, whole, tags=[ZERO])
                assert not receiver.got(b"once", DENIED_WAIT)
            whole = packet(lab, family, DENIED, b"twice")
            frames.send(lab, "pod-a", to, whole, tags=[ZERO, ZERO])
            assert receiver.got(b"twice", PATIENCE)
    finally:
        node.sysctl({"net/bridge/bridge-nf-filter-vlan-tagged": 0})
