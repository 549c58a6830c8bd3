# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Name resolution in the truth table: the cluster's whole chain of DNS servers, with real queries.

pod -> service address -> the cluster's server -> dnsmasq on the node -> dnsmasq on the host; and
who may not ask. Nothing but the default presets is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.lab.table import (
    DENIED_WAIT,
    PATIENCE,
    VXLAN,
    Counters,
    Governed,
    Row,
    each_row,
    govern,
)

from udp_security.lab.addresses import (
    CLUSTER_NAME,
    DNS,
    FAMILIES,
    NODE_NAME,
    NODES,
    OUTSIDER,
    PODS,
    REMOTE,
    UPSTREAM_NAME,
    Family,
    Pair,
)
from udp_security.lab.topology import Lab

FORWARD: Final = {"r.preset.dns.forward": 2}
INGRESS: Final = {"r.preset.dns.ingress": 2}
EGRESS: Final = {"r.preset.dns.egress": 2}
ANSWERS: Final = {
    CLUSTER_NAME: PODS["pod-b"][1],
    NODE_NAME: NODES["node"].address,
    UPSTREAM_NAME: OUTSIDER,
}


@dataclass(frozen=True)
class Query:
    """Who asks which server for which name, whether it is answered, and the counters that move."""

    name: str
    source: str
    server: Pair
    host: str
    answered: bool
    node: Counters = field(default_factory=dict)
    node2: Counters = field(default_factory=dict)
    source_port: int = 0
    families: Sequence[Family] = FAMILIES


LOCALHOST: Final = Pair("127.0.0.1", "::1")
NODE: Final = NODES["node"].address
BRIDGE: Final = NODES["node"].bridge
SERVER_POD: Final = PODS["dns"][1]

QUERIES = [
    Query("dns-{v}-pod-asks-for-a-service", "pod-a", DNS.address, CLUSTER_NAME, True, FORWARD),
    Query("dns-{v}-pod-asks-for-a-node", "pod-a", DNS.address, NODE_NAME, True,
          {**FORWARD, **INGRESS}),
    Query("dns-{v}-pod-asks-for-the-world", "pod-a", DNS.address, UPSTREAM_NAME, True,
          {**FORWARD, **INGRESS, **EGRESS}),
    Query("dns-{v}-pod-of-node2-asks-for-a-service", "pod-c", DNS.address, CLUSTER_NAME, True,
          {**FORWARD, **VXLAN}, {**FORWARD, **VXLAN}),
    Query("dns-{v}-pod-of-node2-asks-for-a-node", "pod-c", DNS.address, NODE_NAME, True,
          {**FORWARD, **INGRESS, **VXLAN}, {**FORWARD, **VXLAN}),
    Query("dns-{v}-pod-of-node2-asks-for-the-world", "pod-c", DNS.address, UPSTREAM_NAME, True,
          {**FORWARD, **INGRESS, **EGRESS, **VXLAN}, {**FORWARD, **VXLAN}),
    Query("dns-{v}-pod-asks-the-servers-pod", "pod-a", SERVER_POD, CLUSTER_NAME, True, FORWARD),
    Query("dns-{v}-pod-asks-its-node", "pod-a", BRIDGE, NODE_NAME, True, INGRESS),
    Query("dns-{v}-pod-asks-the-host", "pod-a", REMOTE, UPSTREAM_NAME, True, FORWARD),
    Query("dns-{v}-node-asks-the-cluster", "node", DNS.address, CLUSTER_NAME, True, EGRESS),
    Query("dns-{v}-node2-asks-the-cluster", "node2", DNS.address, CLUSTER_NAME, True,
          {**FORWARD, **VXLAN}, {**EGRESS, **VXLAN}),
    Query("dns-{v}-node-asks-the-host", "node", REMOTE, UPSTREAM_NAME, True, EGRESS),
    Query("dns-{v}-node-asks-itself-on-localhost", "node", LOCALHOST, NODE_NAME, True),
    Query("dns-{v}-node-asks-itself-on-its-address", "node", NODE, NODE_NAME, True),
    Query("dns-{v}-node-asks-itself-on-the-pod-bridge", "node", BRIDGE, NODE_NAME, True),
    Query("dns-{v}-node-asks-itself-for-the-world", "node", LOCALHOST, UPSTREAM_NAME, True, EGRESS),
    Query("dns-{v}-host-asks-the-node", "remote", NODE, NODE_NAME, True, INGRESS),
    Query("dns-{v}-host-asks-the-cluster", "remote", DNS.address, CLUSTER_NAME, True, FORWARD),
    Query("dns-{v}-outsider-asks-the-node", "outsider", NODE, NODE_NAME, False,
          {"denied.ingress": 1}),
    Query("dns-{v}-outsider-asks-the-node-from-port-53", "outsider", NODE, NODE_NAME, False,
          {"denied.ingress": 1}, source_port=53),
    Query("dns-{v}-outsider-asks-the-pod-bridge", "outsider", BRIDGE, NODE_NAME, False,
          {"denied.ingress": 1}),
    Query("dns-{v}-outsider-asks-the-servers-pod", "outsider", SERVER_POD, CLUSTER_NAME, False,
          {"denied.forward": 1}),
    Query("dns-{v}-outsider-asks-the-cluster", "outsider", DNS.address, CLUSTER_NAME, False,
          {"denied.forward": 1}),
]  # fmt: skip

ROWS = [
    Row("dns-{v}-node-asks-anybody", "node", "outsider", 53, "answered", EGRESS),
    Row("dns-{v}-pod-asks-anybody", "pod-a", "outsider", 53, "answered", FORWARD),
    Row("dns-{v}-pod-asks-a-pod", "pod-a", "pod-b", 53, "answered", FORWARD),
    Row("dns-{v}-outsider-asks-any-pod", "outsider", "pod-a", 53, "denied", {"denied.forward": 1}),
    Row("dns-{v}-outsider-asks-node2", "outsider", "node2", 53, "denied",
        node2={"denied.ingress": 1}),
    Row("dns-{v}-another-port-from-port-53", "pod-a", "pod-b", 54, "denied", {"denied.forward": 1},
        source_port=53),
    # Only when asked, a server of a pod answers from port 53.
    Row("dns-{v}-an-answer-nobody-asked-for", "outsider", "pod-a", 40123, "denied",
        {"denied.forward": 1}, source_port=53),
]  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The chart's defaults on both nodes."""
    with govern(lab, {}, "node", "node2") as both_nodes:
        yield both_nodes


@pytest.mark.parametrize(
    ("query", "family"),
    [
        pytest.param(query, family, id=query.name.format(v=f"v{family}"))
        for query in QUERIES
        for family in query.families
    ],
)
def test_query(governed: Governed, query: Query, family: Family) -> None:
    expected = [ANSWERS[query.host].of(family)] if query.answered else None
    with governed.moves(node=query.node, node2=query.node2):
        answer = governed.lab.dns_query(
            query.source,
            query.server.of(family),
            query.host,
            family=family,
            src_port=query.source_port,
            timeout=PATIENCE if query.answered else DENIED_WAIT,
        )
    assert answer == expected


@each_row(ROWS)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)
