# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Audit mode in the truth table: everything passes, and the counters say what enforce would deny.

A denied flow's answers count as denied too. `denyAction: reject` must not make a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.table import VXLAN, Governed, Row, both, each_row, govern

from udp_security.lab.addresses import ECHO, OUTSIDER, Family
from udp_security.lab.topology import Lab

POLICY: Final = {
    "mode": "audit",
    "denyAction": "reject",
    "rules": [
        {"name": "syslog", "direction": "ingress", "ports": [514], "from": both(OUTSIDER)},
        {"name": "trap", "direction": "egress", "ports": [514], "to": both(OUTSIDER)},
        {"name": "pods", "direction": "forward", "ports": [6000]},
    ],
}
INGRESS: Final = {"denied.ingress": 2}
EGRESS: Final = {"denied.egress": 2}
FORWARD: Final = {"denied.forward": 2}

ROWS = [
    Row("audit-{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
    Row("audit-{v}-egress-allowed", "node", "outsider", 514, "answered", {"r.trap": 2}),
    Row("audit-{v}-forward-allowed", "pod-a", "pod-b", 6000, "answered", {"r.pods": 2}),
    Row("audit-{v}-ingress", "outsider", "node", 515, "answered", INGRESS),
    Row("audit-{v}-ingress-on-node2", "outsider", "node2", 515, "answered", node2=INGRESS),
    Row("audit-{v}-ingress-source", "remote", "node", 514, "answered", INGRESS),
    Row("audit-{v}-ingress-source-port-53", "outsider", "node", 515, "answered", INGRESS,
        source_port=53),
    Row("audit-{v}-egress", "node", "outsider", 515, "answered", EGRESS),
    Row("audit-{v}-forward-out", "pod-a", "outsider", 5000, "answered", FORWARD),
    Row("audit-{v}-forward-in", "outsider", "pod-b", 5000, "answered", FORWARD),
    Row("audit-{v}-pods-of-one-node", "pod-a", "pod-b", 5000, "answered", FORWARD),
    Row("audit-{v}-pods-of-two-nodes", "pod-a", "pod-c", 5000, "answered", {**FORWARD, **VXLAN},
        {**FORWARD, **VXLAN}),
    Row("audit-{v}-between-nodes", "node", "node2", 515, "answered", EGRESS, INGRESS),
    Row("audit-{v}-service", "pod-a", ECHO.address, 5000, "answered", FORWARD),
    Row("audit-{v}-nodeport", "outsider", "node", 30053, "answered", FORWARD),
    Row("audit-{v}-nodeport-on-both-nodes", "outsider", "node", 30054, "answered",
        {**FORWARD, **VXLAN}, {**FORWARD, **VXLAN}),
    Row("audit-{v}-nodeport-of-the-node-itself", "node", "node", 30054, "answered",
        {**EGRESS, **VXLAN}, {**FORWARD, **VXLAN}),
    Row("audit-{v}-loopback", "node", "node", 515, "answered"),
    Row("audit-{v}-fragments", "outsider", "node", 515, "answered", INGRESS, size=4000),
]  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The audited policy on both nodes."""
    with govern(lab, POLICY, "node", "node2") as both_nodes:
        yield both_nodes


@each_row(ROWS)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


def test_agent_says_audit(governed: Governed) -> None:
    """Nobody can take an audited node for an enforced one."""
    agent = governed.pods["node"]
    assert agent.exec("check").stdout.endswith("mode audit\n")
    status = json.loads(agent.exec("status").stdout)
    assert (status["mode"], status["healthy"]) == ("audit", True)
