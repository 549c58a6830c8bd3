# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules are swapped under load: no allowed packet is lost, no denied one passes."""

from __future__ import annotations

from tests.lab.agents import LARGE_POLICY, POLICY, Node, documents, heals, said, until
from tests.lab.flood import Flood


def test_healing_loses_and_leaks_nothing(node: Node) -> None:
    """Each heal is a swap; the damage itself, a chain that nothing refers to, does no harm."""
    pod = node.start(documents(poll=0.05))
    with Flood(node.lab) as flood:
        for number in range(20):
            node.nft("add", "chain", "inet", "udp_security", "theirs")
            until(lambda number=number: heals(pod, node.lab) > number)  # type: ignore[misc]
    assert flood.sent > 1000
    assert (flood.lost, flood.leaked) == (0, 0)
    assert len(said(pod, "healed")) == 20


def test_rollouts_lose_and_leak_nothing(node: Node) -> None:
    """From pod to pod, between a small policy and a large one."""
    large = {"rules": [*POLICY["rules"], *LARGE_POLICY["rules"]]}
    pods = [node.start()]
    with Flood(node.lab, rest=0.001) as flood:
        for number in range(3):
            pods.append(node.start(documents(POLICY if number % 2 else large)))
            assert pods[-2].stop() == 0
    assert flood.sent > 1000
    assert (flood.lost, flood.leaked) == (0, 0)
