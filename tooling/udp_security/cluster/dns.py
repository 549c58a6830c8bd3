# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Whether cluster DNS still answers the nodes."""

from __future__ import annotations

import asyncio

from udp_security.cluster.agents import AgentPod, agents_of
from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.execution import execute
from udp_security.cluster.rollout import Say, few

_SERVICE = "/api/v1/namespaces/kube-system/services/kube-dns"
# Any answer will do, also that there is no such name in this cluster.
_ASKED = "kubernetes.default.svc.cluster.local."
_ANSWERS = ("NXDOMAIN", "No answer")
_ATTEMPTS = 3
# Seconds: nslookup itself gives up earlier.
_TIMEOUT = 20.0


class DnsCutError(ClusterError):
    """Cluster DNS does not answer; the message says whom."""


async def assert_dns(client: Client, nodes: tuple[str, ...], say: Say) -> None:
    """Raises DnsCutError unless cluster DNS answers the Linux nodes of those named."""
    service = await client.find(_SERVICE)
    if service is None:
        say("There is no service kube-system/kube-dns: whether DNS still answers is not known")
        return
    server = service["spec"]["clusterIP"]
    pods = [
        pod
        for pod in (await agents_of(client)).pods
        if pod.os == "linux" and pod.current and not pod.leaving and pod.node in nodes
    ]
    answers = await asyncio.gather(*(_ask(client, pod, server) for pod in pods))
    unknown = [pod.node for pod, answer in zip(pods, answers, strict=True) if answer is None]
    if unknown:
        say(f"linux.image has no nslookup: whether DNS answers {few(unknown)} is not known")
    cut = [f"node {pod.node} ({a})" for pod, a in zip(pods, answers, strict=True) if a]
    if cut:
        raise DnsCutError(f"cluster DNS ({server}) does not answer under this policy: {few(cut)}")


async def _ask(client: Client, pod: AgentPod, server: str) -> str | None:
    """Why there was no answer; empty when there was one, None when it can't be asked."""
    said = ""
    for _ in range(_ATTEMPTS):
        command = ["nslookup", "-type=a", _ASKED, server]
        answer = await execute(client, pod.name, command, _TIMEOUT)
        said = f"{answer.text} {answer.said}".strip()
        if answer.good or any(words in said for words in _ANSWERS):
            return ""
        if "executable file not found" in said:
            return None
    return " ".join(said.split())
