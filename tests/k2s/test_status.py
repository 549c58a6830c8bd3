# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`k2s addons status udp-security`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.k2s.cli import Cli
from tests.k2s.cluster import Cluster, Node, Policy
from tests.k2s.host import Host
from tests.k2s.tree import K2s

REMEDY = "Try restarting the cluster with 'k2s start' or disable and re-enable the addon with"


@pytest.fixture(autouse=True)
def enabled(k2s: K2s) -> None:
    k2s.be_enabled()


def shown(cli: Cli) -> dict[str, dict[str, Any]]:
    """The properties by name."""
    outcome = cli.status()
    assert (outcome.error, outcome.code) == ("", 0)
    assert outcome.console == []
    assert outcome.properties
    names = [found["Name"] for found in outcome.properties]
    assert len(set(names)) == len(names)
    return {found["Name"]: found for found in outcome.properties}


def troubled(properties: dict[str, dict[str, Any]]) -> set[str]:
    """The names of the properties that are not okay; each of them says what to try."""
    found = {name for name, prop in properties.items() if prop["Okay"] is False}
    for name in found:
        assert REMEDY in properties[name]["Message"]
    return found


def test_all_is_well(cli: Cli) -> None:
    properties = shown(cli)
    assert troubled(properties) == set()
    for name in ("IsLinuxDaemonsetRunning", "IsWindowsDaemonsetRunning"):
        assert properties[name]["Okay"] is True
        assert "1 of 1" in properties[name]["Message"]
    assert properties["Mode"]["Value"] == "enforce"
    assert properties["IsPolicyTheSame"]["Okay"] is True
    assert properties["IsPolicyInForce"]["Okay"] is True
    assert properties["DeniedPackets"]["Value"] == 0
    assert properties["LastChange"]["Value"] == "2026-01-02T03:04:05Z"
    # No good, no bad.
    assert [properties[n]["Okay"] for n in ("Mode", "DeniedPackets", "LastChange")] == [None] * 3


def test_what_was_denied_is_added_up(cluster: Cluster, cli: Cli) -> None:
    cluster.nodes.append(Node("worker", "linux", "172.19.1.101", "172.20.2.0/24", denied=40))
    cluster.node("kubemaster").denied = 5_000_000_000
    cluster.settle()
    assert shown(cli)["DeniedPackets"]["Value"] == 5_000_000_040


def test_audit(k2s: K2s, cli: Cli) -> None:
    k2s.be_enabled({"mode": "audit"})
    properties = shown(cli)
    assert properties["Mode"]["Value"] == "audit"
    assert "audit" in properties["Mode"]["Message"]
    assert troubled(properties) == set()


def test_a_policy_that_is_not_in_force(cluster: Cluster, cli: Cli) -> None:
    cluster.node("winhost").put_in_force(None)
    cluster.node("winhost").refuses = "service mpssvc is Stopped"
    cluster.settle()
    properties = shown(cli)
    assert troubled(properties) == {"IsWindowsDaemonsetRunning", "IsPolicyInForce"}
    assert "0 of 1" in properties["IsWindowsDaemonsetRunning"]["Message"]
    assert "winhost: service mpssvc is Stopped" in properties["IsPolicyInForce"]["Message"]


def test_an_agent_that_does_not_answer(cluster: Cluster, cli: Cli) -> None:
    cluster.node("kubemaster").silent = True
    properties = shown(cli)
    assert {"IsPolicyTheSame", "IsPolicyInForce"} <= troubled(properties)
    assert "kubemaster" in properties["IsPolicyInForce"]["Message"]
    # Nobody knows that it has another.
    assert "did not answer: kubemaster" in properties["IsPolicyTheSame"]["Message"]
    assert "another policy" not in properties["IsPolicyTheSame"]["Message"]


def test_an_older_policy_on_a_node(host: Host, cluster: Cluster, cli: Cli) -> None:
    """A rollout that stopped: the new agent there does not come up."""
    node = cluster.node("kubemaster")
    node.refuses = "no"
    chart = str(host.helm.revisions()[-1].chart)
    place = ["-n", "udp-security", "--set", "mode=audit", "--server-side=true"]
    host.helm.run(["upgrade", "udp-security", chart, *place])
    assert node.rules
    assert node.rules.mode == "enforce"
    properties = shown(cli)
    assert {"IsPolicyTheSame", "IsPolicyInForce"} <= troubled(properties)
    message = properties["IsPolicyTheSame"]["Message"]
    assert "another policy on kubemaster" in message
    assert "answer" not in message
    assert "not asked" not in message


def test_a_foreign_policy_in_the_kernel(cluster: Cluster, cli: Cli) -> None:
    cluster.node("kubemaster").put_in_force(Policy("0123456789ab", "enforce"))
    cluster.node("kubemaster").refuses = "another release owns this node"
    cluster.settle()
    properties = shown(cli)
    assert "another release owns this node" in properties["IsPolicyInForce"]["Message"]


def test_a_node_that_is_off(cluster: Cluster, cli: Cli) -> None:
    cluster.node("winhost").ready = False
    cluster.settle()
    properties = shown(cli)
    assert {"IsWindowsDaemonsetRunning", "IsPolicyTheSame"} <= troubled(properties)
    assert properties["IsLinuxDaemonsetRunning"]["Okay"] is True
    assert "not asked: winhost" in properties["IsPolicyTheSame"]["Message"]
    assert "kubemaster" not in properties["IsPolicyTheSame"]["Message"]


def test_a_node_that_is_off_and_not_governed(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    k2s.be_enabled({"windows": {"enabled": False}})
    cluster.node("winhost").ready = False
    cluster.settle()
    assert troubled(shown(cli)) == set()


def test_a_node_without_an_agent(cluster: Cluster, cli: Cli) -> None:
    cluster.late = {"udp-security-linux": 2}
    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24"))
    properties = shown(cli)
    assert {"IsPolicyTheSame", "IsPolicyInForce"} <= troubled(properties)
    assert "not asked: worker" in properties["IsPolicyTheSame"]["Message"]
    assert "node worker: no agent runs there" in properties["IsPolicyInForce"]["Message"]
    assert "kubemaster" not in properties["IsPolicyInForce"]["Message"]


def test_no_answer_at_all(cluster: Cluster, cli: Cli) -> None:
    """That nobody has another policy does not mean that all have the same."""
    for node in cluster.nodes:
        node.ready = False
    cluster.settle()
    properties = shown(cli)
    assert {"IsPolicyTheSame", "IsPolicyInForce"} <= troubled(properties)


def test_no_windows_node(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    k2s.write_setup({**k2s.setup(), "LinuxOnly": True})
    cluster.nodes = [node for node in cluster.nodes if node.os == "linux"]
    cluster.pods = [pod for pod in cluster.pods if pod.node.os == "linux"]
    properties = shown(cli)
    assert troubled(properties) == set()
    assert not any("Windows" in name for name in properties)


def test_windows_nodes_that_are_not_governed(k2s: K2s, cli: Cli) -> None:
    k2s.be_enabled({"windows": {"enabled": False}})
    properties = shown(cli)
    assert troubled(properties) == set()
    assert "IsWindowsDaemonsetRunning" not in properties


@pytest.mark.parametrize("words", ["kubectl get daemonsets", "kubectl get pods", "helm get values"])
def test_a_cluster_that_does_not_answer(host: Host, cli: Cli, words: str) -> None:
    """It says so, and does not fail the whole command."""
    host.fail(words, "Unable to connect to the server: EOF")
    properties = shown(cli)
    (name,) = troubled(properties)
    assert "EOF" in properties[name]["Message"]


def test_nothing_in_the_cluster(host: Host, cli: Cli) -> None:
    host.helm.run(["uninstall", "udp-security", "-n", "udp-security"])
    host.cluster.pass_time(5)
    assert troubled(shown(cli))


def test_many_nodes_with_much_to_say(cluster: Cluster, cli: Cli) -> None:
    """K2s takes messages of 8191 characters at most."""
    for number in range(40):
        reason = f"chain {number:x} of {number * 7919:x} is altered: {hash(str(number)):x} " * 3
        node = Node(f"worker-{number}", "linux", f"172.19.1.{number + 2}", "172.20.9.0/24")
        node.refuses = reason
        cluster.nodes.append(node)
    cluster.settle()
    assert troubled(shown(cli))


def test_disabled(k2s: K2s, cli: Cli) -> None:
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    outcome = cli.status()
    assert (outcome.error, outcome.properties) == ("", None)


def test_a_system_that_is_not_running(host: Host, cli: Cli) -> None:
    host.running = False
    assert cli.status().id == "system-not-running"
    assert host.said("kubectl", "helm") == []


def test_it_changes_nothing(host: Host, cli: Cli) -> None:
    shown(cli)
    reading = ("kubectl get", "kubectl exec", "helm get", "helm history")
    assert all(call.startswith(reading) for call in host.said("kubectl", "helm", "ssh"))
    execs = [call for call in host.said("kubectl") if call.startswith("kubectl exec")]
    assert all(call.lower().endswith("status") for call in execs)
