# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What is remembered of denied packets: whose flows they were, and that this never decides a fate.

Whether a denied packet reaches the kernel's log cannot be seen here: only the machine's first
network namespace may write to it. tests/chart holds the rule for it, and its limit, to the text.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeVar

import pytest
from tests.lab.agents import config_data, documents, until
from tests.lab.counting import Counters
from tests.lab.differential import render
from tests.lab.table import DENIED_WAIT, PATIENCE, each_family

from udp_security.lab import packets
from udp_security.lab.addresses import ECHO, Family, Pair
from udp_security.lab.netns import Namespace
from udp_security.lab.topology import Lab
from udp_security.lab.wire import Wire
from udp_security.policy import Flow
from udp_security.policy.model import DIRECTIONS, Address, Direction

PORT: Final = 7001
FLOWS: Final = 1024  # what a set of denied flows holds
PORTS: Final = 4096  # and one of ports
NODE_PORT: Final = 30053

Key = tuple[str, str, int]
Values = Mapping[str, Any]
K = TypeVar("K")


def denied(node: Namespace, direction: Direction, kind: str) -> dict[Any, int]:
    """How many packets each element of a set has counted; flows are (source, destination, port)."""
    name = f"denied.{direction}.{kind}"
    listing = node.run(["nft", "-j", "list", "set", "inet", "udp_security", name]).stdout
    (found,) = (one["set"] for one in json.loads(listing)["nftables"] if "set" in one)
    elements = [one["elem"] for one in found.get("elem", ())]
    assert all(0 < one["expires"] <= 3600 for one in elements)
    return {
        key if isinstance(key, int) else tuple(key["concat"]): one["counter"]["packets"]
        for one in elements
        for key in (one["val"],)
    }


def flows(node: Namespace, direction: Direction, family: Family) -> dict[Key, int]:
    """Packets of denied flows."""
    return denied(node, direction, "ip" if family == 4 else "ip6")


@contextlib.contextmanager
def loaded(node: Namespace, ruleset: str) -> Iterator[None]:
    """Rules in force; at the end they are gone."""
    try:
        node.run(["nft", "-f", "-"], stdin=ruleset)
        yield
    finally:
        node.run(["nft", "delete", "table", "inet", "udp_security"])


@contextlib.contextmanager
def remembers(
    node: Namespace, direction: Direction, family: Family, expected: Mapping[Key, int]
) -> Iterator[None]:
    """Exactly these flows are counted so often in the block, and so are their ports and denials."""

    def look() -> tuple[dict[str, int], dict[Key, int], dict[int, int]]:
        return (
            counters.packets(), flows(node, direction, family), denied(node, direction, "ports")
        )  # fmt: skip

    with Counters(node, "udp_security") as counters:
        before = look()
        yield
        after = look()
    by_port: Counter[int] = Counter()
    for (_, _, port), count in expected.items():
        by_port[port] += count
    assert increase(before[1], after[1]) == expected
    assert increase(before[2], after[2]) == by_port
    denials = increase(before[0], after[0]).get(f"denied.{direction}", 0)
    assert denials == sum(expected.values())


def increase(before: Mapping[K, int], after: Mapping[K, int]) -> dict[K, int]:
    """By how much each count has grown that has."""
    grown = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: count for key, count in grown.items() if count}


# --- The right flow, whatever NAT makes of it -----------------------------------------------------

WAYS: Final[Mapping[str, tuple[Direction, str, str | Pair, int, str, int]]] = {
    # direction, who, to whom, port, and the destination and its port behind the services
    "ingress": ("ingress", "outsider", "node", PORT, "node", PORT),
    "egress": ("egress", "node", "outsider", PORT, "outsider", PORT),
    "out": ("forward", "pod-a", "outsider", PORT, "outsider", PORT),
    "in": ("forward", "outsider", "pod-a", PORT, "pod-a", PORT),
    "beside": ("forward", "pod-a", "pod-b", PORT, "pod-b", PORT),
    "service": ("forward", "pod-a", ECHO.address, ECHO.port, ECHO.pod, ECHO.target_port),
    "nodeport": ("forward", "outsider", "node", NODE_PORT, ECHO.pod, ECHO.target_port),
    "service-of-the-node": ("egress", "node", ECHO.address, ECHO.port, ECHO.pod, ECHO.target_port),
}
MODES: Final[Mapping[str, Values]] = {
    "drop": {}, "reject": {"denyAction": "reject"}, "audit": {"mode": "audit"}
}  # fmt: skip


def closed(lab: Lab, values: Values | None = None) -> contextlib.AbstractContextManager[None]:
    """A policy without rules of its own is in force on the lab's node."""
    return loaded(lab.ns("node"), config_data(documents(values or {}))["policy.nft"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
@each_family
def test_flow(lab: Lab, way: str, mode: str, family: Family) -> None:
    direction, source, target, port, real, real_port = WAYS[way]
    address = target.of(family) if isinstance(target, Pair) else lab.address(target, family)
    key = lab.address(source, family), lab.address(real, family), real_port
    with closed(lab, MODES[mode]), lab.stream(source, address, port) as stream:
        # Both sides' packets are the flow's, and in audit mode there are answers.
        sent = 4 if mode == "audit" else 2
        with remembers(lab.ns("node"), direction, family, {key: sent}):
            for _ in range(2):
                fate = stream.send(timeout=PATIENCE if mode == "audit" else DENIED_WAIT)
                assert fate.replied is (mode == "audit")


@pytest.mark.parametrize("way", WAYS)
@each_family
def test_answer_of_a_flow_that_was_allowed(lab: Lab, way: str, family: Family) -> None:
    """What the other side sends is counted under the flow's own names."""
    direction, source, target, port, real, real_port = WAYS[way]
    address = target.of(family) if isinstance(target, Pair) else lab.address(target, family)
    key = lab.address(source, family), lab.address(real, family), real_port
    with lab.stream(source, address, port) as stream:
        assert stream.send(timeout=PATIENCE).replied
        with closed(lab), remembers(lab.ns("node"), direction, family, {key: 1}):
            assert not stream.answer(timeout=DENIED_WAIT)


@each_family
def test_what_conntrack_calls_invalid(lab: Lab, family: Family) -> None:
    """Denied and counted, but it is of no flow."""
    source, target = (ip_address(lab.address(name, family)) for name in ("outsider", "node"))
    packet = bytearray(packets.udp(source, 40000, target, PORT, b"checksum"))
    packet[-1] ^= 1
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    node = lab.ns("node")
    with (
        closed(lab),
        Counters(node, "udp_security") as counters,
        lab.ns("outsider").socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender,
    ):
        sender.sendto(packet, (str(target), 0))
        assert until(lambda: counters.packets()["denied.ingress"]) == 1
        assert flows(node, "ingress", family) == denied(node, "ingress", "ports") == {}


# --- Bounds ---------------------------------------------------------------------------------------

NOTRACK: Final = """
table inet elsewhere {
    chain prerouting { type filter hook prerouting priority raw; meta l4proto udp notrack; }
    chain output { type filter hook output priority raw; meta l4proto udp notrack; }
}
"""
ENDS: Final[Mapping[Family, tuple[Address, Address]]] = {
    4: (IPv4Address("198.18.128.0"), IPv4Address("198.19.0.1")),
    6: (IPv6Address("2001:db8:1::"), IPv6Address("2001:db8:2::1")),
}


def ruleset(*rules: Mapping[str, Any]) -> str:
    """A policy with these rules."""
    return render({"rules": list(rules)})["policy.nft"]


@pytest.mark.parametrize("direction", DIRECTIONS)
@each_family
def test_untracked(wire: Wire, direction: Direction, family: Family) -> None:
    """By its own header: a packet is all there is of such a flow."""
    source, destination = ENDS[family]
    key = str(source), str(destination), PORT
    with (
        loaded(wire.node, ruleset()),
        notrack(wire, on=True),
        remembers(wire.node, direction, family, {key: 2}),
    ):
        for _ in range(2):
            assert not wire.send([Flow(direction, source, destination, PORT)])[0].delivered


@pytest.mark.parametrize("tracked", [True, False], ids=("tracked", "untracked"))
@each_family
def test_random_sources(wire: Wire, tracked: bool, family: Family) -> None:
    """They fill the set of flows, which changes nothing for any packet, and the port counts on."""
    source, destination = ENDS[family]
    flood = [Flow("ingress", source + n, destination, PORT) for n in range(FLOWS + 200)]
    allowed = Flow("ingress", source, destination, PORT + 1)
    rule = {"name": "allowed", "direction": "ingress", "ports": [allowed.port]}
    with (
        loaded(wire.node, ruleset(rule)),
        notrack(wire, on=not tracked),
        Counters(wire.node, "udp_security") as counters,
    ):
        assert not any(fate.delivered for fate in wire.send(flood))
        assert counters.packets()["denied.ingress"] == len(flood)
        known = flows(wire.node, "ingress", family)
        assert len(known) == FLOWS
        assert set(known.values()) == {1}
        assert denied(wire.node, "ingress", "ports") == {PORT: len(flood)}
        # Those that are known count on; those that are not are denied all the same.
        assert not any(fate.delivered for fate in wire.send(flood))
        assert flows(wire.node, "ingress", family) == dict.fromkeys(known, 2)
        assert denied(wire.node, "ingress", "ports") == {PORT: 2 * len(flood)}
        assert counters.packets()["denied.ingress"] == 2 * len(flood)
        assert wire.send([allowed])[0].delivered


def test_random_ports(wire: Wire) -> None:
    """They fill both sets."""
    source, destination = ENDS[4]
    flood = [Flow("forward", source, destination, 10_000 + n) for n in range(PORTS + 200)]
    with loaded(wire.node, ruleset()), Counters(wire.node, "udp_security") as counters:
        assert not any(fate.delivered for fate in wire.send(flood))
        assert counters.packets()["denied.forward"] == len(flood)
        assert len(denied(wire.node, "forward", "ports")) == PORTS
        assert len(flows(wire.node, "forward", 4)) == FLOWS


def test_the_next_generation_remembers_them(wire: Wire) -> None:
    """The sets are no policy's."""
    source, destination = ENDS[4]
    one = Flow("egress", source, destination, PORT)
    text = ruleset()
    with loaded(wire.node, text):
        wire.send([one])
        wire.run(["nft", "-f", "-"], stdin=text.replace(" g0.", " g1.").replace("@g0.", "@g1."))
        wire.send([one])
        assert flows(wire.node, "egress", 4) == {(str(source), str(destination), PORT): 2}


@contextlib.contextmanager
def notrack(wire: Wire, *, on: bool) -> Iterator[None]:
    """Nothing is tracked on the wire's node."""
    if not on:
        yield
        return
    wire.run(["nft", "-f", "-"], stdin=NOTRACK)
    try:
        yield
    finally:
        wire.run(["nft", "delete", "table", "inet", "elsewhere"])
