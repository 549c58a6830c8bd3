# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the cluster has at an address now: a node, a pod or a service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.nodes import Node
from udp_security.policy.model import Address

# Objects in one answer: thousands of pods in one would take the API server too long.
_PAGE = "500"
# Such pods have left their addresses, which may be others' by now.
_ENDED = ("Succeeded", "Failed")
# The number, in a node's pod network, of Flannel's VXLAN device and of the pods' bridge.
_NODES_OWN = (0, 1)


@dataclass(frozen=True)
class Names:
    """Names by address ("pod ward/gateway-0"). `notes` say which ones are not known, and why."""

    known: Mapping[Address, str]
    notes: tuple[str, ...]


async def names_of(client: Client, nodes: Iterable[Node]) -> Names:
    """All names. Kinds that may not be listed are left out: nothing is raised for it.

    Where an address is several things', a node's name comes before a pod's and a pod's before a
    service's: pods with hostNetwork have their node's address, and some load balancers give it to
    services.
    """
    names: dict[Address, str] = {}
    notes: list[str] = []
    for node in nodes:
        names |= {ip_address(address): f"node {node.name}" for address in node.addresses}
    kinds = (("pod", _of_pod), ("service", _of_service))
    lists = await asyncio.gather(*(_list(client, f"{kind}s") for kind, _ in kinds))
    for (kind, addresses), (items, trouble) in zip(kinds, lists, strict=True):
        if trouble:
            notes.append(f"addresses of {kind}s are without names: {trouble}")
        for item in items:
            metadata = item["metadata"]
            for address in addresses(item):
                name = f"{kind} {metadata['namespace']}/{metadata['name']}"
                names.setdefault(ip_address(address), name)
    for node in nodes:
        for cidr in map(ip_network, node.pod_cidrs):
            for number in _NODES_OWN:
                names.setdefault(cidr.network_address + number, f"node {node.name}")
    return Names(names, tuple(notes))


async def _list(client: Client, resource: str) -> tuple[list[dict[str, Any]], str]:
    """The objects of all namespaces as far as they came, and why not all did."""
    items: list[dict[str, Any]] = []
    query = {"limit": _PAGE}
    try:
        while True:
            page, token = await client.page(f"/api/v1/{resource}", **query)
            items += page
            if not token:
                return items, ""
            query["continue"] = token
    except ClusterError as error:
        return items, str(error)


def _of_pod(pod: Mapping[str, Any]) -> list[str]:
    status = pod.get("status", {})
    if pod["spec"].get("hostNetwork") or status.get("phase") in _ENDED:
        return []
    return [entry["ip"] for entry in status.get("podIPs") or ()]


def _of_service(service: Mapping[str, Any]) -> list[str]:
    spec = service["spec"]
    balancer = service.get("status", {}).get("loadBalancer", {})
    # "None": a headless service has pods only.
    own = [address for address in spec.get("clusterIPs") or () if address != "None"]
    given = [entry["ip"] for entry in balancer.get("ingress") or () if "ip" in entry]
    return [*own, *(spec.get("externalIPs") or ()), *given]
