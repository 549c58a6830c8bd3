# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Of a running cluster, what values can be compared with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from udp_security.cluster.agents import DAEMON_SETS, OURS
from udp_security.cluster.client import Client
from udp_security.cluster.ground import cluster_of
from udp_security.cluster.live import Files, facts_of, live_files, policy_of
from udp_security.policy.model import OperatingSystem
from udp_security.policy.settings import Side, linux, placement, replies, switch

_COMPONENT = "app.kubernetes.io/component"
_ON_STOP = "UDP_SECURITY_ON_STOP"
# In policy.nft, all that there is with backend nftables or a large policy.
_LOGS: Final = re.compile(r"^\t\tlimit rate [\w/ ]+ log prefix ", re.MULTILINE)
_REPLIES: Final = re.compile(
    r"^\t\tip6? saddr \{ ([\w.:, ]+) \} udp sport vmap @g0\.mirror\.ports$", re.MULTILINE
)


async def running(client: Client) -> Side:
    """What the cluster is told to enforce; of the settings, those that it tells.

    Raises ClusterError, too where the addon is not installed.
    """
    files, sets = await asyncio.gather(
        live_files(client), client.items(DAEMON_SETS, labelSelector=OURS)
    )
    policies = {os: policy_of(texts, _place(os)) for os, texts in files.items()}
    settings = {os: _told(os, texts) for os, texts in files.items()}
    for item in sets:
        for os in settings:
            if item["metadata"]["labels"].get(_COMPONENT) == os:
                settings[os] |= _set(os, item["spec"]["template"]["spec"])
    return Side(policies, await cluster_of(client, policies), settings)


def _place(os: OperatingSystem) -> str:
    return f"the ConfigMap for {os}"


def _told(os: OperatingSystem, files: Files) -> dict[str, str]:
    """What the agent's own files say."""
    if os != "linux":
        return {}
    facts = facts_of(files, _place(os))
    found = linux(
        facts.backend,
        facts.cache.mask if facts.cache else None,
        anti_spoofing=facts.anti_spoofing,
        prefilter=facts.prefilter,
    )
    if "policy.rules" in files:
        lines = (line.split() for line in files["policy.rules"].splitlines())
        given = {words[0]: words[1] for words in lines if len(words) == 2}
        logs = given.get("logDenials") == "yes"
        lists = [given.get(f"untrackedReply{family}", "none") for family in "46"]
    else:
        logs = bool(_LOGS.search(files["policy.nft"]))
        lists = _REPLIES.findall(files["policy.nft"])
    texts = [text for list_ in lists if list_ != "none" for text in list_.split(",")]
    found["logDenials"] = switch(logs)
    found["untrackedReplyAddresses"] = replies(text.strip() for text in texts)
    return found


def _set(os: OperatingSystem, spec: Mapping[str, Any]) -> dict[str, str]:
    """What its DaemonSet says."""
    environment = {each["name"]: each.get("value") for each in spec["containers"][0].get("env", ())}
    on_stop = environment.get(_ON_STOP)
    return {**placement(os, spec), **({"onStop": on_stop} if on_stop else {})}
