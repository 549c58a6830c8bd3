# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The published reference's rules in the same lab: what ours are measured against.

Each cell is one of the reference's faults; the truth table's other files hold the same for ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.table import DENIED_WAIT, PATIENCE, Row, each_row

from udp_security.lab import reference
from udp_security.lab.addresses import CLUSTER_NAME, DNS, NODE_NAME, NODES, Family
from udp_security.lab.topology import Lab

ROWS = [
    Row("reference-{v}-ingress-denied", "outsider", "node", 515, "denied", families=(4,)),
    Row("reference-{v}-source-port-53-opens-every-port", "outsider", "node", 515, "answered",
        source_port=53, families=(4,)),
    Row("reference-{v}-not-governed", "outsider", "node", 515, "answered", families=(6,)),
    Row("reference-{v}-pods-not-governed", "pod-a", "pod-b", 5001, "answered"),
    Row("reference-{v}-outside-to-pod-not-governed", "outsider", "pod-b", 5001, "answered"),
    Row("reference-{v}-loopback-denied", "node", "node", 515, "denied", families=(4,)),
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(sandboxed: None) -> Iterator[Lab]:
    """A lab with the reference's rules on the node."""
    with Lab() as lab:
        reference.apply(lab)
        yield lab


@each_row(ROWS)
def test_flow(lab: Lab, row: Row, family: Family) -> None:
    assert row.send(lab, family) == row.outcome


def test_reference_cuts_the_nodes_dns(lab: Lab) -> None:
    """The pods' names from outside the cluster go through it."""
    server = NODES["node"].bridge.v4
    assert lab.dns_query("pod-a", server, NODE_NAME, timeout=DENIED_WAIT) is None


def test_reference_after_flannel_restart(sandboxed: None) -> None:
    """Its order flips: pods lose the cluster's DNS."""
    with Lab() as lab:
        reference.apply(lab)
        asked = "pod-a", DNS.address.v4, CLUSTER_NAME
        assert lab.dns_query(*asked, timeout=PATIENCE)
        lab.flannel_restart()
        assert lab.dns_query(*asked, timeout=DENIED_WAIT) is None


def test_reference_after_iptables_flush(sandboxed: None) -> None:
    """All protection is gone."""
    with Lab() as lab:
        reference.apply(lab)
        lab.iptables_flush()
        assert lab.probe("outsider", lab.address("node"), 515, timeout=PATIENCE).replied
