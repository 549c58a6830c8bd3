# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`status` is valid by its schema, and right, in every state an agent can be in."""

from __future__ import annotations

import signal

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    OPEN,
    OTHER,
    Node,
    documents,
    said,
    status,
    until,
    with_ruleset,
)


def test_applied(node: Node) -> None:
    pod = node.start(documents({**ANOTHER_POLICY, "mode": "audit", "denyAction": "reject"}))
    told = status(pod)
    assert told["healthy"] and told["reason"] is None
    assert told["owner"] == told["self"] == pod.uid
    assert (told["mode"], told["denyAction"], told["scope"]) == ("audit", "reject", "host")
    assert (told["node"], told["heals"], told["backend"]) == ("node", 0, "nftables")
    assert len(told["generation"]) == 12 and told["appliedAt"].endswith("Z")


def test_counters_are_the_kernels(node: Node) -> None:
    pod = node.start()
    address = node.lab.address("node")
    for _ in range(3):
        assert node.lab.probe("outsider", address, OPEN, reply=False, size=72).delivered
    for _ in range(2):
        assert not node.lab.probe("outsider", address, OTHER, size=72, timeout=0.05).delivered
    counters = status(pod)["counters"]
    rules = {rule.pop("name"): rule for rule in counters["rules"]}
    assert rules["open"] == {"packets": 3, "bytes": 300}
    assert rules["preset:dhcp:ingress-v4"] == {"packets": 0, "bytes": 0}
    assert counters["denied"]["ingress"] == {"packets": 2, "bytes": 200}
    assert counters["denied"]["forward"] == {"packets": 0, "bytes": 0}


def test_pending(node: Node) -> None:
    """Before its first look the agent knows nothing but its environment."""
    pod = node.pod()
    pod.start()
    pod.signal(signal.SIGSTOP)
    told = status(pod)
    assert (told["healthy"], told["reason"]) == (False, "no policy was applied yet")
    assert told["mode"] is told["version"] is told["owner"] is None


def test_refused(node: Node) -> None:
    pod = node.pod(documents({"cluster": {"nodeCIDRs": ["192.0.2.0/24"]}}))
    pod.start()
    until(lambda: said(pod, "refused"))
    told = status(pod)
    assert not told["healthy"] and "192.0.2.0/24" in told["reason"]
    assert (told["owner"], told["appliedAt"]) == (None, None)
    assert told["counters"] == {"rules": [], "denied": {}}


def test_bad_ruleset(node: Node) -> None:
    pod = node.pod(with_ruleset({}, lambda text: text + 'nonsense "quoted" \\ here\n'))
    pod.start()
    until(lambda: said(pod, "bad-ruleset"))
    assert "nonsense" in status(pod)["reason"] or "rror" in status(pod)["reason"]


def test_superseded_released_and_missing(node: Node) -> None:
    old = node.start(documents(poll=3600))
    new = node.start(documents(ANOTHER_POLICY))
    until(lambda: said(old, "superseded"))
    told = status(old)
    assert (told["healthy"], told["owner"], told["self"]) == (False, new.uid, old.uid)
    assert told["reason"] == f"superseded: pod {new.uid} owns this node now"

    new.signal(signal.SIGSTOP)
    node.nft("delete", "table", "inet", "udp_security")
    told = status(new)
    assert (told["healthy"], told["owner"]) == (False, None)
    assert told["reason"] == "the rules are gone from the kernel"
    assert told["counters"] == {"rules": [], "denied": {}}


def test_released(node: Node) -> None:
    pod = node.start()
    assert pod.exec("remove").returncode == 0
    told = status(pod)
    assert (told["healthy"], told["owner"]) == (False, None)
    assert "removed on request" in told["reason"]


@pytest.mark.parametrize(
    "name",
    ['a"b', "a\\b", "a\\", "tab\there", "line\nbreak", "ü", "bell\a", "%s", "'", "$(id)", "", " "],
)
def test_any_node_name(node: Node, name: str) -> None:
    pod = node.pod(documents(environment={"UDP_SECURITY_NODE_NAME": name}))
    pod.start()
    until(lambda: said(pod, "started"))
    told = status(pod)["node"]
    assert told == (name.translate({7: " ", 9: " ", 10: " "}).rstrip(" ") or None)
