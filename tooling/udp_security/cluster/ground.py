# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a running cluster's policies are added to, where nobody has their values."""

from __future__ import annotations

import asyncio

from udp_security.cluster.client import Client
from udp_security.cluster.facts import NODE, POD, SERVICE, facts_of
from udp_security.cluster.live import live_policies
from udp_security.cluster.nodes import nodes_of
from udp_security.policy.ground import Ground
from udp_security.policy.model import canonical

_ANYWHERE = ("0.0.0.0/0", "::/0")


async def live_ground(client: Client) -> Ground:
    """The policies that the cluster is told to enforce, and its own addresses.

    Those are the policies' where they tell them, else the API server's. Raises ClusterError.
    """
    policies, nodes = await asyncio.gather(live_policies(client), nodes_of(client))
    facts = await facts_of(client, nodes)
    cluster = {
        POD: [net for policy in policies.values() for net in policy.cluster.pods],
        SERVICE: [net for policy in policies.values() for net in policy.cluster.services],
        NODE: [net for policy in policies.values() for net in policy.cluster.nodes],
    }
    # Policies only tell the services' where their rules need them.
    told = {
        key: [*map(canonical, nets), *(facts[key] if key == SERVICE or not nets else ())]
        for key, nets in cluster.items()
    }
    return Ground.of_policies(policies, {**told, "dnsServers": _ANYWHERE})
