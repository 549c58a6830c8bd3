# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`linux.scope: cluster` in the truth table: only flows with the cluster are judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.table import VXLAN, Governed, Row, each_row, govern

from udp_security.lab.addresses import ECHO, FAMILIES, NODES, PODS, Family, Pair
from udp_security.lab.topology import Lab

POLICY: Final = {
    "linux": {"scope": "cluster"},
    "rules": [
        {"name": "in", "direction": "ingress", "ports": [514]},
        {"name": "out", "direction": "egress", "ports": [514]},
        {"name": "through", "direction": "forward", "ports": [514]},
    ],
}
# A pod's second address, which is not the cluster's: what the node forwards there has no end in it.
FOREIGN: Final = Pair("10.99.0.1", "fd00:10:99::1")

ROWS = [
    Row("scope-{v}-ingress-from-outside", "outsider", "node", 515, "answered"),
    Row("scope-{v}-ingress-from-outside-source-port-53", "outsider", "node", 515, "answered",
        source_port=53),
    Row("scope-{v}-egress-to-outside", "node", "outsider", 515, "answered"),
    Row("scope-{v}-egress-to-outside-from-a-pods-network", "node", "outsider", 515, "answered",
        source_address=NODES["node"].bridge),
    Row("scope-{v}-forward-between-outsiders", "outsider", FOREIGN, 515, "answered",
        target_in="pod-a"),
    Row("scope-{v}-ingress-from-pod-allowed", "pod-a", "node", 514, "answered", {"r.in": 2}),
    Row("scope-{v}-ingress-from-pod", "pod-a", "node", 515, "denied", {"denied.ingress": 1}),
    Row("scope-{v}-ingress-from-a-node", "remote", "node", 515, "denied", {"denied.ingress": 1}),
    Row("scope-{v}-egress-to-pod-allowed", "node", "pod-a", 514, "answered", {"r.out": 2}),
    Row("scope-{v}-egress-to-pod", "node", "pod-a", 515, "denied", {"denied.egress": 1}),
    Row("scope-{v}-egress-to-a-node", "node", "remote", 515, "denied", {"denied.egress": 1}),
    Row("scope-{v}-egress-to-service", "node", ECHO.address, 5000, "denied",
        {"denied.egress": 1}),
    Row("scope-{v}-forward-within-allowed", "pod-a", "pod-b", 514, "answered", {"r.through": 2}),
    Row("scope-{v}-forward-within", "pod-a", "pod-b", 515, "denied", {"denied.forward": 1}),
    Row("scope-{v}-forward-out", "pod-a", "outsider", 515, "denied", {"denied.forward": 1}),
    Row("scope-{v}-forward-in", "outsider", "pod-b", 515, "denied", {"denied.forward": 1}),
    Row("scope-{v}-nodeport", "outsider", "node", 30053, "denied", {"denied.forward": 1}),
    Row("scope-{v}-pods-of-two-nodes", "pod-a", "pod-c", 514, "answered",
        {"r.through": 2, **VXLAN}),
]  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The policy on the node, through which the way to the foreign address goes."""
    lab.ns("pod-a").ip(f"address add {FOREIGN.v4} dev lo", f"address add {FOREIGN.v6} dev lo nodad")
    for family in FAMILIES:
        pod, node = PODS["pod-a"][1].of(family), NODES["node"].address.of(family)
        lab.ns("node").ip(f"route add {FOREIGN.of(family)} via {pod}")
        lab.ns("remote").ip(f"route add {FOREIGN.of(family)} via {node}")
    with govern(lab, POLICY) as governed:
        yield governed


@each_row(ROWS)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)
