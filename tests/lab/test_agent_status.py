# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`status` is valid by its schema, and right, in every state an agent can be in."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from typing import Any

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

from udp_security.lab.pod import AgentPod
from udp_security.lab.sandbox import rootless


def denials(pod: AgentPod) -> dict[str, Any]:
    """What `denials` prints."""
    done = pod.exec("denials")
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_applied(node: Node) -> None:
    pod = node.start(documents({**ANOTHER_POLICY, "mode": "audit", "denyAction": "reject"}))
    told = status(pod)
    assert told["healthy"] and told["reason"] is None
    assert told["owner"] == told["self"] == pod.uid
    assert (told["mode"], told["denyAction"], told["scope"]) == ("audit", "reject", "host")
    assert (told["node"], told["heals"], told["backend"]) == ("node", 0, "nftables")
    assert len(told["generation"]) == 12 and told["appliedAt"].endswith("Z")
    assert 0 < told["applySeconds"] < 60
    pod.restart_container()
    pod.wait_ready()
    assert status(pod)["applySeconds"] == told["applySeconds"]


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


def denied(direction: str, kind: str, elements: Iterable[str]) -> str:
    """What puts elements into a set of denials."""
    return f"add element inet udp_security denied.{direction}.{kind} {{ {', '.join(elements)} }}\n"


def test_denials(node: Node) -> None:
    pod = node.start(documents(poll=3600))
    address, outside = node.lab.address("node"), node.lab.address("outsider")
    for _ in range(2):
        assert not node.lab.probe("outsider", address, OTHER, size=72, timeout=0.05).delivered
    counted = "counter packets {0} bytes {0}00 timeout 1h expires".format
    node.load(
        denied("egress", "ip6", [f"fd00::1 . fd00::2 . 53 {counted(1)} 59m58s30ms"])
        + denied("forward", "ports", [f"99 {counted(3)} 50m", f"98 {counted(1)} 5m4s"])
    )
    told = denials(pod)
    assert told | {"deniedFlows": [], "deniedPorts": []} == {
        "schemaVersion": 1,
        "os": "linux",
        "node": "node",
        "mode": "enforce",
        "deniedFlows": [],
        "deniedPorts": [],
    }
    ago = [item.pop("ago") for key in ("deniedFlows", "deniedPorts") for item in told[key]]
    one, two, three = ({"packets": number, "bytes": 100 * number} for number in (1, 2, 3))
    assert told["deniedFlows"] == [
        {"direction": "ingress", "source": outside, "destination": address, "port": OTHER, **two},
        {"direction": "egress", "source": "fd00::1", "destination": "fd00::2", "port": 53, **one},
    ]
    assert told["deniedPorts"] == [
        {"direction": "forward", "port": 99, **three},
        {"direction": "ingress", "port": OTHER, **two},
        {"direction": "forward", "port": 98, **one},
    ]
    expected = [0, 1, 600, 0, 3296]
    assert all(0 <= seen - least < 30 for seen, least in zip(ago, expected, strict=True))


def test_denials_in_full_sets(node: Node) -> None:
    pod = node.start(documents(poll=3600))
    # In a plain user's namespace the kernel takes no large transaction.
    flows, ports = (100, 100) if rootless() else (1024, 4096)
    for direction in ("ingress", "egress", "forward"):
        counted = [f"counter packets {number + 1} bytes 28" for number in range(ports)]
        node.load(
            denied(
                direction,
                "ip",
                (
                    f"10.0.{i % 250}.{i // 250} . 10.1.1.1 . {i + 1} {counted[i]}"
                    for i in range(flows)
                ),
            )
            + denied(
                direction,
                "ip6",
                (f"fd00::{i:x} . fd01::{i:x} . {i + 1} {counted[i]}" for i in range(flows)),
            )
            + denied(direction, "ports", (f"{i + 1} {counted[i]}" for i in range(ports)))
        )
    told = denials(pod)
    assert len(told["deniedFlows"]) == 6 * flows
    assert len(told["deniedPorts"]) == 3 * ports
    packets = [flow["packets"] for flow in told["deniedFlows"]]
    assert packets == sorted(packets, reverse=True)
    shown = status(pod)
    for key in ("deniedFlows", "deniedPorts"):
        assert [{**item, "ago": 0} for item in shown[key]] == [
            {**item, "ago": 0} for item in told[key][:20]
        ]


def test_iptables_cannot_tell_what_was_denied(node: Node) -> None:
    refused = {"linux": {"backend": "iptables"}, "cluster": {"nodeCIDRs": ["192.0.2.0/24"]}}
    pod = node.pod(documents(refused))
    pod.start()
    until(lambda: said(pod, "refused"))
    told = denials(pod)
    assert told["deniedFlows"] is told["deniedPorts"] is None


def test_pending(node: Node) -> None:
    """Before its first look the agent knows nothing but its environment."""
    pod = node.pod()
    pod.start()
    pod.signal(signal.SIGSTOP)
    told = status(pod)
    assert (told["healthy"], told["reason"]) == (False, "no policy was applied yet")
    assert told["mode"] is told["version"] is told["owner"] is told["applySeconds"] is None


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
