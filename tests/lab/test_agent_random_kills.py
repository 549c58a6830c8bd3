# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Agents, or what they run, are killed at random while packets flow."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from tests.lab.agents import ANOTHER_POLICY, POLICY, Node, check, documents, until
from tests.lab.flood import Flood

from udp_security.lab.pod import AgentPod

KILLS = 100


def tools_of(pod: AgentPod) -> list[int]:
    """The processes of nft below the pod's first process: loads, listings, the monitor."""
    found, todo = [], [pod.pid]
    while todo:
        pid = todo.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
            if Path(f"/proc/{pid}/comm").read_text("ascii") == "nft\n":
                found.append(pid)
    return found


def test_random_kills(node: Node) -> None:
    """Two pods of two policies: each that comes back takes the node, heals it or stands by.

    Others change the rules meanwhile, so that there is always something to do.
    """
    seed = random.Random(3)
    pods = [node.start(documents(POLICY)), node.start(documents(ANOTHER_POLICY))]
    kills = {"agent": 0, "nft": 0}
    with Flood(node.lab, rest=0.002) as flood:
        while sum(kills.values()) < KILLS:
            node.nft("add", "chain", "inet", "udp_security", "theirs", check=False)
            time.sleep(seed.random() * 0.15)
            pod = seed.choice(pods)
            tools = tools_of(pod)
            if tools and seed.random() < 0.7:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(seed.choice(tools), signal.SIGKILL)
                    kills["nft"] += 1
            else:
                pod.restart_container()
                kills["agent"] += 1
            assert len(node.owners()) == 1
        until(lambda: any(check(pod)[0] == 0 for pod in pods), timeout=60)
        assert len(node.generations()) == 1
    assert (flood.lost, flood.leaked) == (0, 0)
    assert min(kills.values()) > 5, kills
    for pod in pods:
        assert pod.stop() == 0
    assert node.table() == ""
