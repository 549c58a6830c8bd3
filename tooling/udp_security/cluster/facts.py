# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The cluster's own addresses, and what of them a policy's cluster.* values do not cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from udp_security.cluster.client import ApiError, Client
from udp_security.cluster.nodes import Node
from udp_security.policy.model import CLUSTER_KEYS

#: The values under `cluster` that hold what is asked here.
POD, SERVICE, NODE = CLUSTER_KEYS

Facts = Mapping[str, Sequence[str]]


async def facts_of(client: Client, nodes: Iterable[Node]) -> Facts:
    """The running cluster's addresses as CIDRs, by key of the values. Raises ClusterError.

    Pods: the nodes' pod ranges. Services: the ServiceCIDR objects (Kubernetes 1.33 and newer; none
    before). Nodes: their internal addresses, each alone. A list is empty where nothing is told.
    """
    found: dict[str, list[str]] = {POD: [], SERVICE: [], NODE: []}
    for node in nodes:
        found[POD] += node.pod_cidrs
        found[NODE] += [str(ip_network(address)) for address in node.addresses]
    try:
        services = await client.items("/apis/networking.k8s.io/v1/servicecidrs")
    except ApiError as error:
        if error.status != 404:
            raise
        services = []
    for service in services:
        found[SERVICE] += service["spec"]["cidrs"]
    return found


def missing(known: Mapping[str, Any], facts: Facts) -> dict[str, list[str]]:
    """What of the facts the values under `cluster` don't cover, by key; no key where all is.

    In as few CIDRs as hold exactly that.
    """
    lacking = {
        key: [ip_network(cidr) for cidr in cidrs if not _covered(cidr, known.get(key) or ())]
        for key, cidrs in facts.items()
    }
    return {
        key: [
            *map(str, collapse_addresses(n for n in networks if isinstance(n, IPv4Network))),
            *map(str, collapse_addresses(n for n in networks if isinstance(n, IPv6Network))),
        ]
        for key, networks in lacking.items()
        if networks
    }


def addition(
    known: Mapping[str, Any], facts: Facts, *, keep_all: bool = False
) -> dict[str, list[str]]:
    """The lists under `cluster` that must change for all facts to be covered, each complete.

    Known CIDRs that hold nothing of this cluster's go, unless `keep_all`: a user may have written
    them.
    """
    return {
        key: [
            old
            for old in known.get(key) or ()
            if keep_all or any(_covered(cidr, [old]) for cidr in facts[key])
        ]
        + lacking
        for key, lacking in missing(known, facts).items()
    }


def _covered(cidr: str, by: Iterable[str]) -> bool:
    """Whether one of the CIDRs holds all of the first."""
    inner = ip_network(cidr)
    # Both versions have subnet_of, but not for each other.
    return any(
        inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
        for outer in map(ip_network, by)
    )
