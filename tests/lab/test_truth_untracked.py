# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Untracked (NOTRACK) packets in the truth table.

Conntrack does not know them, so a request is judged by its own header, and so is what answers it:
an answer is just another packet, and denied. Only from linux.untrackedReplyAddresses, and only on
the way out of the node, an answer passes where its question would have.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from tests.lab.agents import until
from tests.lab.table import (
    PATIENCE,
    Governed,
    Row,
    both,
    each_family,
    each_row_under,
    govern,
    pods,
)

from udp_security.lab.addresses import NODES, OUTSIDER, Family, Pair
from udp_security.lab.topology import Lab

# Where NodeLocal DNSCache listens on a node.
LOCAL_DNS: Final = Pair("169.254.20.10", "fd00:254:20::10")
RULES: Final = [
    {"name": "syslog", "direction": "ingress", "ports": [514, "600-610"], "from": both(OUTSIDER)},
    {"name": "any", "direction": "ingress", "ports": [620]},
    {"name": "trap", "direction": "egress", "ports": [514], "to": both(OUTSIDER)},
    {"name": "pods", "direction": "forward", "ports": [514],
     "from": pods("pod-a", "pod-c"), "to": pods("pod-b", "pod-c")},
]  # fmt: skip
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "untracked": {"rules": RULES},
    "answering": {
        "rules": RULES,
        "linux": {"untrackedReplyAddresses": both(NODES["node"].address, LOCAL_DNS)},
    },
    "cluster-scope": {"rules": RULES, "linux": {"scope": "cluster"}},
}
NOTRACK: Final = """
table inet elsewhere {
    set untracked { type inet_service; elements = { 53, 514, 515, 605, 620 } }
    chain in {
        type filter hook prerouting priority raw
        udp dport @untracked notrack
        udp sport @untracked notrack
    }
    chain out {
        type filter hook output priority raw
        udp dport @untracked notrack
        udp sport @untracked notrack
    }
}
"""

REQUESTS = [
    Row("{v}-ingress-denied-port", "outsider", "node", 515, "denied", {"denied.ingress": 1}),
    Row("{v}-ingress-denied-source", "remote", "node", 514, "denied", {"denied.ingress": 1}),
    Row("{v}-egress-denied-port", "node", "outsider", 515, "denied", {"denied.egress": 1}),
    Row("{v}-egress-denied-destination", "node", "remote", 514, "denied", {"denied.egress": 1}),
    Row("{v}-forward-denied-port", "pod-a", "pod-b", 515, "denied", {"denied.forward": 1}),
    Row("{v}-forward-denied-source", "dns", "pod-b", 514, "denied", {"denied.forward": 1}),
    Row("{v}-ingress-denied-source-port-53", "outsider", "node", 7000, "denied",
        {"denied.ingress": 1}, source_port=53),
    Row("{v}-forward-denied-source-port-53", "outsider", "pod-a", 7000, "denied",
        {"denied.forward": 1}, source_port=53),
    Row("{v}-loopback", "node", Pair("127.0.0.1", "::1"), 515, "answered", target_in="node"),
    Row("{v}-own-address", "node", "node", 515, "answered"),
    # An answer is only let out of the node; one that comes in or passes through is a packet as any.
    Row("{v}-egress-allowed-answer-denied", "node", "outsider", 514, "unanswered",
        {"r.trap": 1, "denied.ingress": 1}),
    Row("{v}-forward-allowed-answer-denied", "pod-a", "pod-b", 514, "unanswered",
        {"r.pods": 1, "denied.forward": 1}),
    Row("{v}-tracked-flows-beside", "outsider", "node", 600, "answered", {"r.syslog": 2}),
]  # fmt: skip
TABLES: Final = {
    "untracked": [
        *REQUESTS,
        Row("{v}-ingress-allowed-answer-denied", "outsider", "node", 514, "unanswered",
            {"r.syslog": 1, "denied.egress": 1}),
        Row("{v}-ingress-from-any-allowed-answer-denied", "remote", "node", 620, "unanswered",
            {"r.any": 1, "denied.egress": 1}),
        Row("{v}-ingress-allowed-port-range-answer-denied", "outsider", "node", 605, "unanswered",
            {"r.syslog": 1, "denied.egress": 1}),
        Row("{v}-ingress-fragments-answer-denied", "outsider", "node", 514, "unanswered",
            {"r.syslog": 1, "denied.egress": 1}, size=4000),
    ],
    "answering": [
        *REQUESTS,
        Row("{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
        Row("{v}-ingress-from-any-allowed", "remote", "node", 620, "answered", {"r.any": 2}),
        Row("{v}-ingress-allowed-port-range", "outsider", "node", 605, "answered",
            {"r.syslog": 2}),
        Row("{v}-ingress-fragments", "outsider", "node", 514, "answered", {"r.syslog": 2},
            size=4000),
        Row("{v}-answer-from-an-unlisted-address", "outsider", NODES["node"].bridge, 514,
            "unanswered", {"r.syslog": 1, "denied.egress": 1}),
        # The price: whoever may ask can be sent to unasked, from the port it would ask.
        Row("{v}-answer-nobody-asked-for", "node", "outsider", 7000, "answered",
            {"r.syslog": 2}, source_port=514),
        Row("{v}-answer-nobody-asked-for-to-others", "node", "remote", 7000, "denied",
            {"denied.egress": 1}, source_port=514),
    ],
    "cluster-scope": [
        Row("{v}-ingress-from-outside", "outsider", "node", 515, "answered"),
        Row("{v}-egress-to-outside", "node", "outsider", 515, "answered"),
        Row("{v}-ingress-from-pod", "pod-a", "node", 515, "denied", {"denied.ingress": 1}),
        Row("{v}-egress-to-pod", "node", "pod-a", 515, "denied", {"denied.egress": 1}),
        Row("{v}-forward-out", "pod-a", "outsider", 515, "denied", {"denied.forward": 1}),
        Row("{v}-forward-in", "outsider", "pod-a", 515, "denied", {"denied.forward": 1}),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on the node, where another table takes packets out of conntrack."""
    lab.run("node", ["nft", "-f", "-"], stdin=NOTRACK)
    try:
        with govern(lab, POLICIES[request.param]) as governed:
            yield governed
    finally:
        lab.run("node", ["nft", "delete", "table", "inet", "elsewhere"])


@each_row_under(TABLES)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


@pytest.fixture
def local_dns(lab: Lab) -> Iterator[None]:
    """The cache's address is on the node."""
    lab.ns("node").ip(
        f"address add {LOCAL_DNS.v4} dev lo", f"address add {LOCAL_DNS.v6} dev lo nodad"
    )
    # The kernel makes its route a moment later.
    routes = ["ip", "-6", "route", "show", "table", "local", LOCAL_DNS.v6]
    until(lambda: lab.run("node", routes).stdout)
    yield
    lab.ns("node").ip(*(f"address delete {address} dev lo" for address in both(LOCAL_DNS)))


@pytest.mark.parametrize("governed", ["untracked", "answering"], indirect=True)
@each_family
def test_node_local_dns(
    governed: Governed, local_dns: None, request: pytest.FixtureRequest, family: Family
) -> None:
    """A pod asks the node's DNS cache; the cache's answers need its address in the list."""
    lab = governed.lab
    listed = request.node.callspec.params["governed"] == "answering"
    address = LOCAL_DNS.of(family)
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    asked = {"r.preset.dns.ingress": 1}
    with (
        lab.ns("node").socket(kind, socket.SOCK_DGRAM) as cache,
        lab.ns("pod-a").socket(kind, socket.SOCK_DGRAM) as pod,
    ):
        for end in (cache, pod):
            end.settimeout(PATIENCE)
        cache.bind((address, 53))
        pod.connect((address, 53))
        with governed.moves(node=asked):
            pod.send(b"question")
            question, asker = cache.recvfrom(64)
            assert question == b"question"
        if listed:
            with governed.moves(node=asked):
                cache.sendto(b"answer", asker)
                assert pod.recv(64) == b"answer"
        else:
            with governed.moves(node={"denied.egress": 1}), pytest.raises(PermissionError):
                cache.sendto(b"answer", asker)
