# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The policies of a running cluster: as it is meant to run them, and as one node's agent has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from udp_security.cluster.agents import OURS, AgentSet
from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.execution import execute
from udp_security.k2s.manifests import NAMESPACE
from udp_security.policy import Policy
from udp_security.policy.facts import Facts
from udp_security.policy.model import OperatingSystem
from udp_security.policy.rendered import linux_policy, nftables_policy, windows_policy

#: An agent's policy: the texts of its files, by name.
Files = Mapping[str, str]

_CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
# What an agent of an operating system always gets, and nothing else of ours has.
_SIGNS: Final[Mapping[OperatingSystem, str]] = {"linux": "policy.facts", "windows": "policy.json"}
# Between the files, where one command prints two. No file has such a line.
_NEXT = "--- policy.rules"
_OR = "--- policy.nft"
# The pod's own copies, which no later change of the ConfigMap reaches. The ruleset is long and says
# the same as the rules.
_LINUX = (
    "/bin/sh",
    "-c",
    "cd /run/udp-security/policy && cat policy.facts && "
    f"if [ -e policy.rules ]; then echo '{_NEXT}' && cat policy.rules; "
    f"else echo '{_OR}' && cat policy.nft; fi",
)
# cmd replaces the variable by the container's folder itself.
_WINDOWS = (
    "cmd.exe",
    "/d",
    "/c",
    "type",
    r"%CONTAINER_SANDBOX_MOUNT_POINT%\udp-security\state\adopted\policy.json",
)


async def live_policies(client: Client) -> dict[OperatingSystem, Policy]:
    """What the cluster is told to enforce, by operating system; governed ones only.

    Nodes may be behind it, in a rollout or where one refuses it. Raises ClusterError, too where the
    addon is not installed.
    """
    files = await live_files(client)
    return {os: policy_of(texts, f"the ConfigMap for {os}") for os, texts in files.items()}


async def live_files(client: Client) -> dict[OperatingSystem, Files]:
    """The files of `live_policies`. Raises ClusterError."""
    found: dict[OperatingSystem, Files] = {}
    for item in await client.items(_CONFIG_MAPS, labelSelector=OURS):
        for system, file in _SIGNS.items():
            if file in (item.get("data") or {}):
                found[system] = item["data"]
    if not found:
        raise ClusterError(
            "udp-security is not enabled in this cluster ('udp-security enable' does it)"
        )
    return found


async def node_files(client: Client, agent_set: AgentSet, pod: str, timeout: float) -> Files:
    """The files of the policy that one pod has. Raises ClusterError where its agent tells none."""
    windows = agent_set.os == "windows"
    answer = await execute(client, pod, _WINDOWS if windows else _LINUX, timeout)
    if not answer.good:
        raise ClusterError(f"pod {pod} does not tell its policy: {answer.words}")
    if windows:
        return {"policy.json": answer.text}
    for mark in (_NEXT, _OR):
        facts, found, rules = answer.text.partition(f"\n{mark}\n")
        if found:
            return {"policy.facts": facts, mark.removeprefix("--- "): rules}
    raise ClusterError(f"pod {pod} printed no policy: {answer.words}")


def policy_of(files: Files, where: str) -> Policy:
    """Reads an agent's files. Raises ClusterError; `where` they are from stands in it."""
    try:
        if "policy.json" in files:
            return windows_policy(files["policy.json"])
        if "policy.rules" in files:
            return linux_policy(files["policy.rules"], files["policy.facts"])
        return nftables_policy(files["policy.nft"], files["policy.facts"])
    except KeyError as error:
        raise ClusterError(f"{where} has no {error.args[0]}") from error
    except ValueError as error:
        raise ClusterError(f"{where}: {error}") from error
    except RecursionError as error:
        raise ClusterError(f"{where}: it is nested too deeply") from error


def facts_of(files: Files, where: str) -> Facts:
    """What a Linux agent's files say beside the rules. Raises ClusterError likewise."""
    try:
        return Facts.read(files["policy.facts"])
    except (LookupError, ValueError) as error:
        raise ClusterError(
            f"{where}: this policy.facts is not what the chart makes (an agent of another version? "
            "use its version of this program)"
        ) from error
