# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`Status` is valid by its schema, which Pod checks, and right, in every state of the agent."""

from __future__ import annotations

import pytest
from tests.windows.agents import ANOTHER_POLICY, AUDIT, REFUSED, Node, policy


def test_applied(node: Node) -> None:
    pod = node.start(policy(denyAction="reject"))
    told = pod.status()
    assert told["healthy"] and told["reason"] is None
    assert told["owner"] == told["self"] == pod.uid
    # Windows Firewall can only drop, whatever the policy asks for.
    assert (told["mode"], told["denyAction"], told["scope"]) == ("enforce", "drop", "cluster")
    assert (told["node"], told["heals"]) == ("winnode", 0)
    assert (told["os"], told["backend"]) == ("windows", "windows-firewall")
    assert told["version"] == "0.0.0"
    assert told["generation"] == pod.environment["UDP_SECURITY_POLICY_SHA256"][:12]
    assert told["appliedAt"].endswith("Z")
    assert 0 < told["applySeconds"] < 60
    assert told["counters"] == {"rules": [], "denied": {}}
    for key in ("backendReason", "cache", "deniedFlows", "deniedPorts"):
        assert told[key] is None
    assert told["services"] == [
        {"name": "mpssvc", "status": "Running"},
        {"name": "BFE", "status": "Running"},
    ]
    assert [profile["name"] for profile in told["profiles"]] == ["Domain", "Private", "Public"]
    assert any(text.startswith("pods: ") for text in told["notGoverned"])
    # Where nobody wants metrics, there are none.
    assert not (pod.state / "metrics.prom").exists()


def test_before_the_first_look(node: Node) -> None:
    told = node.pod().status()
    assert (told["healthy"], told["reason"]) == (False, "no policy was applied yet")
    assert told["owner"] is told["appliedAt"] is told["applySeconds"] is None


def test_refused(node: Node) -> None:
    pod = node.pod(REFUSED)
    pod.start()
    (reason,) = pod.wait_said("refused")
    told = pod.status()
    assert (told["healthy"], told["reason"]) == (False, reason)
    assert told["owner"] is told["appliedAt"] is None


def test_superseded_and_owner(node: Node) -> None:
    old = node.start(metrics_port=9797)
    old.wait_for((old.state / "metrics.prom").exists, "metrics")
    new = node.start(ANOTHER_POLICY)
    old.wait_said("superseded")
    # Of two pods one speaks for the node.
    old.wait_for(lambda: not (old.state / "metrics.prom").exists(), "no metrics")
    told = old.status()
    assert (told["healthy"], told["owner"], told["self"]) == (False, new.uid, old.uid)
    assert told["reason"] == f"superseded: pod {new.uid} owns this node now"
    assert new.status()["scope"] == "host"


def test_released(node: Node) -> None:
    pod = node.start(AUDIT)
    assert pod.status()["mode"] == "audit"
    assert pod.command("Remove").returncode == 0
    told = pod.status()
    assert (told["healthy"], told["owner"]) == (False, None)
    assert "removed on request" in told["reason"]


def test_what_windows_does_not_enforce(node: Node) -> None:
    pod = node.start()
    pod.kill()
    windows = node.windows
    windows.set_profile("Private", Enabled="False", DefaultOutboundAction="Block")
    windows.set_group_policy("Public", AllowLocalFirewallRules="False")
    windows.set_profile("Domain", DefaultInboundAction="Allow")
    told = pod.status()
    assert not told["healthy"]
    assert "Private is off" in told["reason"] and "Public ignore local rules" in told["reason"]
    keys = ("enabled", "defaultInboundAction", "defaultOutboundAction", "allowLocalFirewallRules")
    assert [tuple(profile[key] for key in keys) for profile in told["profiles"]] == [
        (True, "Allow", "Allow", True),
        (False, "Block", "Block", True),
        (True, "Block", "Allow", False),
    ]


@pytest.mark.parametrize("services", [("mpssvc",), ("BFE", "mpssvc")])
def test_services_stopped(node: Node, services: tuple[str, ...]) -> None:
    pod = node.start()
    pod.kill()
    node.windows.stop(*services)
    told = pod.status()
    assert not told["healthy"]
    assert {s["name"] for s in told["services"] if s["status"] == "Stopped"} == set(services)
    assert all(f"service {name} is Stopped" in told["reason"] for name in services)
    # What needs no firewall is told all the same.
    assert (told["mode"], told["self"], told["profiles"]) == ("enforce", pod.uid, [])
    assert told["appliedAt"]


def test_what_is_not_governed(node: Node) -> None:
    pod = node.start(node_ip="172.19.1.100")
    assert sum("multicast" in text for text in pod.status()["notGoverned"]) == 3
    node.windows.set_profile(AllowUnicastResponseToMulticast="False")
    node.windows.set_profile("Public", DisabledInterfaceAliases=["Wi-Fi"])
    told = pod.status()
    assert told["healthy"]
    assert not [text for text in told["notGoverned"] if "multicast" in text]
    assert [text for text in told["notGoverned"] if text.startswith("interface Wi-Fi (")]


WEIRD = "a\"b\\ \t%s $(id) {0} `n ' < & ü \x07 ]"


def test_any_node_name_and_reason(node: Node) -> None:
    """Both come from outside: nothing in them breaks the one JSON object or the log's one line."""
    node.windows.set_faults(
        *(
            {"cmdlet": "Get-NetFirewallRule", "call": n, "message": f"first\nsecond {WEIRD}"}
            for n in range(1, 99)
        )
    )
    pod = node.pod()
    pod.environment["UDP_SECURITY_NODE_NAME"] = WEIRD
    pod.start()
    (reason,) = pod.wait_said("not-applied")
    assert "first second a'b\\" in reason
    told = pod.status()
    assert told["node"] == WEIRD
    assert f"first\nsecond {WEIRD}" in told["reason"]
    assert not told["healthy"]
    assert pod.check()[0] is False


def test_no_node_name(node: Node) -> None:
    pod = node.pod()
    del pod.environment["UDP_SECURITY_NODE_NAME"]
    assert pod.status()["node"] is None
