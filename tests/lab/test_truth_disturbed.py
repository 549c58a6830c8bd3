# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The truth table after others changed the node's firewall: nothing changes for the policy.

K2s's network reset runs `iptables -F`; a restarted flannel appends its chains again, behind what is
there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from tests.lab.table import PATIENCE, Governed, Row, each_family, each_row_under, govern, pods

from udp_security.lab.addresses import CLUSTER_NAME, DNS, ECHO, PODS, Family
from udp_security.lab.topology import Lab

POLICY: Final = {
    "rules": [
        {"name": "syslog", "direction": "ingress", "ports": [514]},
        {"name": "trap", "direction": "egress", "ports": [514]},
        {"name": "pods", "direction": "forward", "ports": [5000], "from": pods("pod-a")},
    ]
}
ROWS: Final = [
    Row("{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
    Row("{v}-ingress-denied", "outsider", "node", 515, "denied", {"denied.ingress": 1}),
    Row("{v}-ingress-denied-source-port-53", "outsider", "node", 515, "denied",
        {"denied.ingress": 1}, source_port=53),
    Row("{v}-egress-allowed", "node", "outsider", 514, "answered", {"r.trap": 2}),
    Row("{v}-egress-denied", "node", "outsider", 515, "denied", {"denied.egress": 1}),
    Row("{v}-forward-allowed", "pod-a", "pod-b", 5000, "answered", {"r.pods": 2}),
    Row("{v}-forward-denied", "pod-a", "pod-b", 5001, "denied", {"denied.forward": 1}),
    Row("{v}-forward-out-allowed", "pod-a", "outsider", 5000, "answered", {"r.pods": 2}),
    Row("{v}-forward-out-denied", "pod-a", "outsider", 5001, "denied", {"denied.forward": 1}),
    Row("{v}-service-allowed", "pod-a", ECHO.address, 5000, "answered", {"r.pods": 2}),
    Row("{v}-nodeport-denied", "outsider", "node", 30053, "denied", {"denied.forward": 1}),
]  # fmt: skip


def flush_everything(lab: Lab) -> None:
    """`iptables -F` in every table, as a reset does it: services are gone, too."""
    for tool in ("iptables-nft", "ip6tables-nft"):
        for table in ("filter", "nat", "mangle"):
            lab.run("node", [tool, "-t", table, "-F"])


DISTURBANCES: Final[dict[str, Callable[[Lab], None]]] = {
    "iptables-flushed": Lab.iptables_flush,
    "all-iptables-flushed": flush_everything,
    "flannel-restarted": Lab.flannel_restart,
}
SERVICES_GONE: Final = ("{v}-service-allowed", "{v}-nodeport-denied")
TABLES: Final = {
    **dict.fromkeys(DISTURBANCES, ROWS),
    "all-iptables-flushed": [row for row in ROWS if row.name not in SERVICES_GONE],
}


@pytest.fixture(scope="module")
def governed(sandboxed: None, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """The policy on the node, and then one of the disturbances."""
    with Lab() as lab, govern(lab, POLICY) as governed:
        DISTURBANCES[request.param](lab)
        yield governed


@each_row_under(TABLES)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


@pytest.mark.parametrize("governed", DISTURBANCES, indirect=True)
def test_agent_has_nothing_to_do(governed: Governed) -> None:
    """Our rules were not touched, so nothing had to be healed."""
    status = json.loads(governed.pods["node"].exec("status").stdout)
    assert (status["healthy"], status["heals"], status["notGoverned"]) == (True, 0, [])


@pytest.mark.parametrize("governed", ["iptables-flushed", "flannel-restarted"], indirect=True)
@each_family
def test_cluster_dns(governed: Governed, family: Family) -> None:
    """The reference's rules cut the pods' DNS after flannel's restart."""
    with governed.moves(node={"r.preset.dns.forward": 2}):
        answer = governed.lab.dns_query(
            "pod-a", DNS.address.of(family), CLUSTER_NAME, family=family, timeout=PATIENCE
        )
    assert answer == [PODS["pod-b"][1].of(family)]
