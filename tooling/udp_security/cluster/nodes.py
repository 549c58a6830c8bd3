# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The cluster's nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from udp_security.cluster.client import Client


@dataclass(frozen=True)
class Node:
    """A node: its operating system ("linux", "windows"), and the addresses that are its own.

    `pod_cidrs` are the pods' on this node, empty where Kubernetes does not give them out.
    """

    name: str
    os: str
    ready: bool
    labels: Mapping[str, str]
    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]


async def nodes_of(client: Client) -> list[Node]:
    """All nodes, by name. Raises ClusterError."""
    found = []
    for item in await client.items("/api/v1/nodes"):
        status = item.get("status", {})
        labels = item["metadata"].get("labels", {})
        found.append(
            Node(
                name=item["metadata"]["name"],
                os=labels.get("kubernetes.io/os", "linux"),
                ready=any(
                    condition["type"] == "Ready" and condition["status"] == "True"
                    for condition in status.get("conditions") or ()
                ),
                labels=labels,
                pod_cidrs=tuple(item.get("spec", {}).get("podCIDRs") or ()),
                addresses=tuple(
                    address["address"]
                    for address in status.get("addresses") or ()
                    if address["type"] == "InternalIP"
                ),
            )
        )
    return sorted(found, key=lambda node: node.name)
