# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent with a large policy: loading, looking and healing stay short, its memory in bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from tests.lab.agents import Node, agent_container, check, documents, heals, said, until
from tests.lab.usage import cpu, memory, monitor

from udp_security.lab import sandbox
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

# The benchmark takes more. In a plain user's namespace the kernel takes no large transaction.
CIDRS = 1000 if os.geteuid() or sandbox.rootless() else 3000


@pytest.fixture(scope="module")
def large(lab: Lab) -> Iterator[tuple[Node, AgentPod]]:
    """A node and the pod that keeps it, with one rule of many CIDRs."""
    rule = {
        "name": "large",
        "direction": "ingress",
        "ports": [7000],
        "from": [f"{20 + n // 64000}.{n // 250 % 256}.{n % 250}.0/25" for n in range(CIDRS)],
    }
    with Node(lab) as node:
        pod = node.pod(documents({"rules": [rule]}, poll=3600))
        began = time.monotonic()
        pod.start()
        until(lambda: said(pod, "applied"))
        print(f"applied after {time.monotonic() - began:.2f} s, {cpu(pod):.2f} s of processor time")
        pod.wait_ready()
        yield node, pod


def test_it_looks_and_heals_in_short_time(large: tuple[Node, AgentPod]) -> None:
    node, pod = large
    policy = node.policy()
    until(lambda: monitor(pod))
    for number, damage in enumerate(
        ("flush chain inet udp_security input", "delete table inet udp_security"), 1
    ):
        used, began = cpu(pod), time.monotonic()
        node.load(damage)
        until(lambda number=number: heals(pod, node.lab) == number)  # type: ignore[misc]
        print(f"{damage}: {time.monotonic() - began:.2f} s, {cpu(pod) - used:.2f} s of processor")
        assert cpu(pod) - used < 3
        assert node.policy() == policy
    began = time.monotonic()
    assert check(pod)[0] == 0
    print(f"check: {time.monotonic() - began:.2f} s")
    # The probe's timeout is 10.
    assert time.monotonic() - began < 5


def test_its_memory_is_a_part_of_the_limit(large: tuple[Node, AgentPod]) -> None:
    """What is left is for nft, when it loads a policy."""
    _, pod = large
    limit = agent_container(documents())["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    print(f"{memory(pod) / 2**20:.1f} MiB of {limit}")
    assert memory(pod) < int(limit[:-2]) * 2**20 / 4
