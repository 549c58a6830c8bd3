# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The namespace, with the labels that let the agents in."""

from __future__ import annotations

import asyncio
import time

import yaml

from udp_security.cluster.client import ApiError, Client, ClusterError
from udp_security.k2s.manifests import NAMESPACE, NAMESPACE_MANIFEST

_COLLECTION = "/api/v1/namespaces"
_PATH = f"{_COLLECTION}/{NAMESPACE}"
# Seconds.
_POLL = 0.5


async def has_namespace(client: Client) -> bool:
    """Whether it is there. Raises ClusterError."""
    return await client.find(_PATH) is not None


async def create_namespace(client: Client) -> None:
    """Creates it, or labels the one that is there. Raises ClusterError."""
    wanted = yaml.safe_load(NAMESPACE_MANIFEST)
    try:
        await client.create(_COLLECTION, wanted)
    except ApiError as error:
        if error.status != 409:
            raise
        await client.merge(_PATH, {"metadata": {"labels": wanted["metadata"]["labels"]}})


async def delete_namespace(client: Client, timeout: float) -> None:
    """Deletes it with all that is in it, if it is there, and waits until it is gone.

    Raises ClusterError, also after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    await client.delete(_PATH)
    while await has_namespace(client):
        if time.monotonic() >= deadline:
            raise ClusterError(
                f"namespace {NAMESPACE} is not gone after {timeout:.0f} s "
                f"(kubectl describe namespace {NAMESPACE} tells what holds it)"
            )
        await asyncio.sleep(_POLL)
