# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Who has which address in the lab: K2s's networks, and IPv6 twins of them, as constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)


@dataclass(frozen=True)
class Pair:
    """One thing's IPv4 and IPv6 address (or network) as text."""

    v4: str
    v6: str

    def of(self, family: Family) -> str:
        """The one of this family."""
        return self.v4 if family == 4 else self.v6


@dataclass(frozen=True)
class NodeAddresses:
    """A cluster node: its own address, its pods' network, cni0's and flannel's address in it."""

    address: Pair
    pods: Pair
    bridge: Pair
    flannel: Pair
    flannel_mac: str
    flannel6_mac: str


@dataclass(frozen=True)
class Service:
    """A cluster service for UDP and TCP with one endpoint, in a pod, and maybe a port on every
    node."""

    name: str
    address: Pair
    port: int
    pod: str
    target_port: int
    node_port: int | None = None


NODE_NET: Final = Pair("172.19.1.0/24", "fd00:172:19:1::/64")
POD_NET: Final = Pair("172.20.0.0/16", "fd00:172:20::/48")
SERVICE_NET: Final = Pair("172.21.0.0/16", "fd00:172:21::/108")
OUTSIDE_NET: Final = Pair("10.77.0.0/24", "fd00:10:77::/64")

NODES: Final = {
    "node": NodeAddresses(
        address=Pair("172.19.1.100", "fd00:172:19:1::100"),
        pods=Pair("172.20.0.0/24", "fd00:172:20::/64"),
        bridge=Pair("172.20.0.1", "fd00:172:20::1"),
        flannel=Pair("172.20.0.0", "fd00:172:20::"),
        flannel_mac="02:19:01:00:01:00",
        flannel6_mac="02:19:01:00:01:06",
    ),
    "node2": NodeAddresses(
        address=Pair("172.19.1.101", "fd00:172:19:1::101"),
        pods=Pair("172.20.2.0/24", "fd00:172:20:2::/64"),
        bridge=Pair("172.20.2.1", "fd00:172:20:2::1"),
        flannel=Pair("172.20.2.0", "fd00:172:20:2::"),
        flannel_mac="02:19:01:01:01:00",
        flannel6_mac="02:19:01:01:01:06",
    ),
}
PODS: Final = {  # pod: (its node, its address); 'dns' is the cluster's DNS server
    "dns": ("node", Pair("172.20.0.10", "fd00:172:20::10")),
    "pod-a": ("node", Pair("172.20.0.11", "fd00:172:20::11")),
    "pod-b": ("node", Pair("172.20.0.12", "fd00:172:20::12")),
    "pod-c": ("node2", Pair("172.20.2.11", "fd00:172:20:2::11")),
}
REMOTE: Final = Pair("172.19.1.1", "fd00:172:19:1::1")  # the host the nodes hang on; also routes
REMOTE_OUTSIDE: Final = Pair("10.77.0.1", "fd00:10:77::1")
OUTSIDER: Final = Pair("10.77.0.2", "fd00:10:77::2")

DNS: Final = Service("dns", Pair("172.21.0.10", "fd00:172:21::10"), 53, "dns", 53)
ECHO: Final = Service("echo", Pair("172.21.0.20", "fd00:172:21::20"), 5000, "pod-b", 5000, 30053)
ECHO_FAR: Final = Service("far", Pair("172.21.0.21", "fd00:172:21::21"), 5000, "pod-c", 5000, 30054)
SERVICES: Final = (DNS, ECHO, ECHO_FAR)

# The cluster's DNS answers the first itself, the second through the node and its upstream.
CLUSTER_NAME: Final = "echo.cluster.local"
UPSTREAM_NAME: Final = "outsider.example"
NODE_NAME: Final = "node.example"

ADDRESSES: Final[dict[str, tuple[Pair, ...]]] = {
    **{name: (node.address, node.bridge, node.flannel) for name, node in NODES.items()},
    **{name: (pair,) for name, (_, pair) in PODS.items()},
    "remote": (REMOTE, REMOTE_OUTSIDE),
    "outsider": (OUTSIDER,),
}
"""Every namespace's addresses, its main one first."""


def cluster_values() -> dict[str, Any]:
    """The chart's `cluster` values that fit the lab: K2s's defaults and their IPv6 twins."""
    return {
        "podCIDRs": [POD_NET.v4, POD_NET.v6],
        "serviceCIDRs": [SERVICE_NET.v4, SERVICE_NET.v6],
        "nodeCIDRs": [NODE_NET.v4, NODE_NET.v6],
    }
