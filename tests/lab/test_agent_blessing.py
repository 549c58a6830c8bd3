# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent never takes a foreign change for its own policy, however soon after its own it comes.

Damage is done at many moments after the base chains point to a new generation: while the agent
removes the older one, remembers what it made, and looks at it for the first time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import pytest
from tests.lab.agents import OTHER, POLICY, TABLE, Node, check, documents, said, until
from tests.lab.caching import quarantined, set_free, trusting

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

# Two generations of it differ in nothing but their number.
MADE: Final = documents({**POLICY, "linux": {"verdictCache": {"enabled": False}}}, poll=1)
# Each takes the new generation's prefix.
CHANGES: Final[dict[str, Callable[[str], str]]] = {
    "table-deleted": lambda _: "delete table inet udp_security",
    "accept-inserted": lambda _: "insert rule inet udp_security input accept",
    "chain-flushed": lambda g: f"flush chain inet udp_security {g}denied.ingress",
    "rule-replaced": lambda g: (
        f"flush chain inet udp_security {g}denied.ingress\n"
        f"add rule inet udp_security {g}denied.ingress accept"
    ),
    "port-added": lambda g: (
        f"add element inet udp_security {g}ingress.ports {{ {OTHER} : jump {g}r.open }}"
    ),
    "hook-added": lambda _: (
        "add chain inet udp_security theirs { type filter hook input priority 5; }"
    ),
}
# Seconds after the generation's hooks were seen, for each change others.
DELAYS: Final = {
    "table-deleted": (0, 0.13, 0.25),
    "accept-inserted": (0, 0.15, 0.3),
    "chain-flushed": (0, 0.06, 0.2),
    "rule-replaced": (0, 0.05, 0.1),
    "port-added": (0, 0.03, 0.08),
    "hook-added": (0, 0.1, 0.22),
}
AFTER_TRUST: Final = (0, 0.05, 0.2)
PATIENCE: Final = 30


@pytest.fixture(scope="module")
def policy(lab: Lab) -> list[str]:
    """What the kernel holds of the policy when nobody interferes."""
    with Node(lab) as node:
        node.start(MADE)
        return node.policy()


def pointed(node: Node) -> str:
    """The prefix of the generation that the kernel uses; empty without one."""
    hook = node.nft("list", "chain", *TABLE, "input", check=False)
    found = re.search(r"jump (g\d+\.)", hook)
    return found[1] if found else ""


def damage(node: Node, change: str, delay: float) -> None:
    """Do it that long after the next hooks are seen."""

    def done() -> bool:
        text = CHANGES[change](pointed(node))
        return node.lab.run("node", ["nft", "-f", "-"], stdin=text, check=False).returncode == 0

    until(lambda: pointed(node), PATIENCE)
    time.sleep(delay)
    # At the first try, unless the agent has just replaced that generation too.
    until(done)


def recovers(node: Node, pod: AgentPod, policy: list[str], what: str) -> None:
    """The policy is in force again, the pod says so, and a denied packet is denied."""
    deadline = time.monotonic() + PATIENCE
    while (now := node.policy()) != policy or check(pod)[0]:
        differs = f"missing: {set(policy) - set(now)}, there: {set(now) - set(policy)}"[:999]
        assert time.monotonic() < deadline, f"{what}: {check(pod)}, {differs}"
        time.sleep(0.1)
    denied(node)


def denied(node: Node) -> None:
    """A packet that the policy denies does not arrive."""
    target = node.lab.address("node")
    assert not node.lab.probe("outsider", target, OTHER, reply=False, timeout=0.1).delivered


@pytest.mark.parametrize("change", CHANGES)
def test_right_after_a_start(node: Node, policy: list[str], change: str) -> None:
    for delay in DELAYS[change][::2]:
        pod = node.pod(MADE)
        pod.start()
        if change == "rule-replaced":
            # Sooner, this alone has the shape of what was loaded, and nothing to be compared with.
            until(lambda pod=pod: said(pod, "applied"))  # type: ignore[misc]
        damage(node, change, delay)
        recovers(node, pod, policy, f"{delay} s after the start")
        # The next one starts on a node without rules again.
        assert pod.stop() == 0


@pytest.mark.parametrize("change", CHANGES)
def test_right_after_a_heal(node: Node, policy: list[str], change: str) -> None:
    pod = node.start(MADE)
    for delay in DELAYS[change]:
        node.nft("flush", "chain", *TABLE, "input")
        damage(node, change, delay)
        recovers(node, pod, policy, f"{delay} s after the heal")


def trusts(node: Node, pod: AgentPod) -> bool:
    """Whether it trusts what is cached, as it will as soon as nothing is doubtful."""
    if trusting(node):
        return True
    if quarantined(node):
        set_free(node, pod)
    return False


def test_right_after_trust_came(node: Node) -> None:
    """The agent changes its own rules then, and may not take others' changes along."""
    pod = node.start(documents(poll=1))
    for delay in AFTER_TRUST:
        until(lambda: trusts(node, pod), PATIENCE)
        time.sleep(delay)
        # The number of all slots: the generation that heals has to wait for trust again.
        node.load(
            "add element inet udp_security cache.ff000000 { 21 timeout 60s }\n"
            "insert rule inet udp_security input accept"
        )
        until(lambda: not trusting(node), PATIENCE)
        until(lambda: check(pod)[0] == 0, PATIENCE)
        denied(node)
