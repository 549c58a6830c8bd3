# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A running cluster's own addresses and policies, as what is new is judged against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from udp_security.cluster.client import Client
from udp_security.cluster.facts import NODE, POD, SERVICE, Facts, facts_of
from udp_security.cluster.live import live_policies
from udp_security.cluster.nodes import nodes_of
from udp_security.cluster.plan import Plan, completed, own_cluster
from udp_security.policy import Policy
from udp_security.policy.ground import Ground
from udp_security.policy.model import Network, OperatingSystem, canonical
from udp_security.values.merge import Values

_ANYWHERE = ("0.0.0.0/0", "::/0")


async def live_ground(client: Client) -> Ground:
    """The policies that the cluster is told to enforce, and its own addresses.

    Those are `live_addresses`. Raises ClusterError.
    """
    policies = await live_policies(client)
    return Ground.of_policies(policies, await cluster_of(client, policies))


async def cluster_of(
    client: Client, policies: Mapping[OperatingSystem, Policy]
) -> dict[str, Sequence[str]]:
    """The cluster as under `cluster` in the values: `live_addresses` with these live policies.

    Nobody in it knows which DNS servers are meant: they may be anywhere. Raises ClusterError.
    """
    return {**await _addresses(client, policies), "dnsServers": _ANYWHERE}


async def live_addresses(client: Client) -> dict[str, list[str]]:
    """The cluster's own addresses as CIDRs, by key of the values under `cluster`.

    They are the policies' where those tell them, else the API server's; a list is empty where
    neither does. Raises ClusterError.
    """
    return await _addresses(client, await live_policies(client))


async def as_installed(client: Client, values: Values) -> Plan:
    """Valid values as `udp-security enable` would install them, refused or not.

    The cluster is asked for nothing that the values set. Raises ClusterError.
    """
    if own_cluster(values).keys() >= {POD, SERVICE, NODE}:
        return Plan(values, {}, (), "")
    return completed(values, None, await _facts(client))


async def _facts(client: Client) -> Facts:
    return await facts_of(client, await nodes_of(client))


async def _addresses(
    client: Client, policies: Mapping[OperatingSystem, Policy]
) -> dict[str, list[str]]:
    # Windows' file tells only the nodes' apart, and Linux' the services' where its rules need them.
    linux = policies["linux"].cluster if "linux" in policies else None
    told: dict[str, Sequence[Network]] = {
        POD: linux.pods if linux else (),
        SERVICE: linux.services if linux else (),
        NODE: next((policy.cluster.nodes for policy in policies.values()), ()),
    }
    facts = {} if all(told.values()) else await _facts(client)
    return {key: [*map(canonical, nets)] or [*facts[key]] for key, nets in told.items()}
