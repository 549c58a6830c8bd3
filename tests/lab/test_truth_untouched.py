# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The truth table's other protocols: a policy that denies all UDP leaves TCP and ICMP alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.table import (
    ALL_LIFELINES,
    NO_PRESETS,
    PATIENCE,
    Governed,
    Row,
    address,
    each_family,
    each_row,
    govern,
)

from udp_security.lab.addresses import DNS, ECHO, NODES, Family, Pair
from udp_security.lab.topology import Lab

POLICY: Final = {"presets": NO_PRESETS, "dangerouslyCutOff": ALL_LIFELINES}

UDP = [
    Row("udp-{v}-ingress", "outsider", "node", 5000, "denied", {"denied.ingress": 1}),
    Row("udp-{v}-ingress-port-53", "remote", "node", 53, "denied", {"denied.ingress": 1},
        target_in="outsider"),
    Row("udp-{v}-ingress-overlay", "remote", "node", 8472, "denied", {"denied.ingress": 1}),
    Row("udp-{v}-egress", "node", "outsider", 5000, "denied", {"denied.egress": 1}),
    Row("udp-{v}-egress-port-53", "node", "outsider", 53, "denied", {"denied.egress": 1}),
    Row("udp-{v}-egress-overlay", "node", "node2", 8472, "denied", {"denied.egress": 1}),
    Row("udp-{v}-forward-out", "pod-a", "outsider", 5000, "denied", {"denied.forward": 1}),
    Row("udp-{v}-forward-in", "outsider", "pod-a", 5000, "denied", {"denied.forward": 1}),
    Row("udp-{v}-pods-of-one-node", "pod-a", "pod-b", 5000, "denied", {"denied.forward": 1}),
    Row("udp-{v}-service", "pod-a", ECHO.address, 5000, "denied", {"denied.forward": 1}),
    Row("udp-{v}-cluster-dns", "pod-a", DNS.address, 53, "denied", {"denied.forward": 1},
        target_in="outsider"),
    Row("udp-{v}-nodeport", "outsider", "node", 30053, "denied", {"denied.forward": 1}),
    Row("udp-{v}-nodeport-of-the-node-itself", "node", "node", 30053, "denied",
        {"denied.egress": 1}),
    Row("udp-{v}-loopback", "node", Pair("127.0.0.1", "::1"), 5000, "answered", target_in="node"),
]  # fmt: skip

# Who connects to whom.
TCP: Final[dict[str, tuple[str, str | Pair, int]]] = {
    "ingress": ("outsider", "node", 5000),
    "egress": ("node", "outsider", 5000),
    "egress-port-53": ("node", "outsider", 53),
    "forward-out": ("pod-a", "outsider", 5000),
    "forward-in": ("outsider", "pod-a", 5000),
    "pods-of-one-node": ("pod-a", "pod-b", 5000),
    "service": ("pod-a", ECHO.address, 5000),
    "nodeport": ("outsider", "node", 30053),
    "nodeport-of-the-node-itself": ("node", "node", 30053),
}
PINGS: Final = {
    "ingress": ("outsider", "node"),
    "egress": ("node", "outsider"),
    "forward-out": ("pod-a", "outsider"),
    "forward-in": ("outsider", "pod-a"),
    "pods-of-one-node": ("pod-a", "pod-b"),
}


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """Nothing allowed on the node, whose overlay is gone: enforcing would be refused beside it."""
    for node in NODES:
        lab.ns(node).ip("link delete flannel.1", "link delete flannel-v6.1")
    with govern(lab, POLICY) as governed:
        yield governed


@each_row(UDP)
def test_udp(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


@pytest.mark.parametrize(("source", "target", "port"), TCP.values(), ids=[f"tcp-{k}" for k in TCP])
@each_family
def test_tcp(
    governed: Governed, source: str, target: str | Pair, port: int, family: Family
) -> None:
    lab = governed.lab
    with governed.moves():
        fate = lab.tcp(source, address(lab, target, family), port, timeout=PATIENCE)
    assert fate.delivered and fate.replied


@pytest.mark.parametrize("size", [32, 4000])
@pytest.mark.parametrize(("source", "target"), PINGS.values(), ids=[f"icmp-{k}" for k in PINGS])
@each_family
def test_icmp(governed: Governed, source: str, target: str, size: int, family: Family) -> None:
    lab = governed.lab
    with governed.moves():
        assert lab.ping(source, lab.address(target, family), size=size, timeout=PATIENCE)
