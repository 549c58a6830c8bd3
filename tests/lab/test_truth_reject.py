# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`denyAction: reject` in the truth table: the sender gets "port unreachable" at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.table import Governed, Row, both, each_row, govern

from udp_security.lab.addresses import ECHO, OUTSIDER, Family
from udp_security.lab.topology import Lab

POLICY: Final = {
    "denyAction": "reject",
    "rules": [{"name": "syslog", "direction": "ingress", "ports": [514], "from": both(OUTSIDER)}],
}

ROWS = [
    Row("reject-{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
    Row("reject-{v}-ingress", "outsider", "node", 515, "rejected", {"denied.ingress": 1}),
    Row("reject-{v}-ingress-on-node2", "outsider", "node2", 515, "rejected",
        node2={"denied.ingress": 1}),
    Row("reject-{v}-ingress-from-pod", "pod-a", "node", 515, "rejected", {"denied.ingress": 1}),
    Row("reject-{v}-ingress-fragments", "outsider", "node", 515, "rejected",
        {"denied.ingress": 1}, size=4000),
    Row("reject-{v}-egress", "node", "outsider", 515, "rejected", {"denied.egress": 1}),
    Row("reject-{v}-forward-out", "pod-a", "outsider", 5000, "rejected", {"denied.forward": 1}),
    Row("reject-{v}-forward-in", "outsider", "pod-a", 5000, "rejected", {"denied.forward": 1}),
    Row("reject-{v}-pods-of-one-node", "pod-a", "pod-b", 5000, "rejected", {"denied.forward": 1}),
    Row("reject-{v}-pods-of-two-nodes", "pod-a", "pod-c", 5000, "rejected",
        {"denied.forward": 1}),
    Row("reject-{v}-service", "pod-a", ECHO.address, 5000, "rejected", {"denied.forward": 1}),
    Row("reject-{v}-nodeport", "outsider", "node", 30053, "rejected", {"denied.forward": 1}),
    Row("reject-{v}-nodeport-of-the-node-itself", "node", "node", 30053, "rejected",
        {"denied.egress": 1}),
]  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The rejecting policy on both nodes."""
    with govern(lab, POLICY, "node", "node2") as both_nodes:
        yield both_nodes


@each_row(ROWS)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)
