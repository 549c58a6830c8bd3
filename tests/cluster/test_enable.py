# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security enable` where nothing goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.cluster.cluster import NAMESPACE, Cluster
from tests.cluster.conftest import Run

RULE = {"name": "syslog", "direction": "ingress", "ports": [514]}


def values_file(folder: Path, **values: object) -> str:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_the_policy_is_in_force(cluster: Cluster, run: Run) -> None:
    done = run("enable")
    assert done.exit_code == 0, done.output
    assert cluster.modes() == dict.fromkeys(cluster.nodes, "enforce")
    assert "in force on 3 nodes (revision 1, mode enforce)" in done.stdout
    for words in ("Denied now", "presets dns", "TCP", "udp-security status", "disable"):
        assert words in done.stdout
    # Progress is for people who watch, the result for whoever reads it.
    assert "..." not in done.stdout
    assert "... Installing the agents" in done.stderr


def test_the_namespace_lets_the_agents_in(cluster: Cluster, run: Run) -> None:
    run("enable")
    labels = cluster.store.get("namespaces", "", NAMESPACE)["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "privileged"


def test_a_namespace_that_is_there_is_labelled(cluster: Cluster, run: Run) -> None:
    metadata = {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    cluster.store.create("namespaces", "", {"metadata": {**metadata, "annotations": {"a": "b"}}})
    assert run("enable").exit_code == 0
    found = cluster.store.get("namespaces", "", NAMESPACE)["metadata"]
    assert found["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert found["annotations"] == {"a": "b"}


def test_each_agent_is_asked_and_dns(cluster: Cluster, run: Run) -> None:
    run("enable")
    checked = {node for node, words in cluster.server.commands if words[-1].lower() == "check"}
    assert checked == set(cluster.nodes)
    asked = {node: words[-1] for node, words in cluster.server.commands if words[0] == "nslookup"}
    assert asked == {"linux-a": "10.96.0.10", "linux-b": "10.96.0.10"}


def test_audit_denies_nothing_and_needs_no_dns(cluster: Cluster, run: Run) -> None:
    done = run("enable", "--mode", "audit")
    assert done.exit_code == 0
    assert set(cluster.modes().values()) == {"audit"}
    assert "nothing is denied" in done.stdout
    assert not any(words[0] == "nslookup" for _, words in cluster.server.commands)


def test_as_json(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].ready = False
    done = run("enable", "-o", "json")
    assert json.loads(done.stdout) == {
        "enabled": True,
        "mode": "enforce",
        "revision": 1,
        "replaced": None,
        "inForce": ["linux-a", "windows-a"],
        "notReady": ["linux-b"],
    }


def test_the_clusters_addresses_are_taken(cluster: Cluster, run: Run) -> None:
    done = run("enable")
    for words in ("podCIDRs is now 10.244.1.0/24", "serviceCIDRs is now 10.96.0.0/12"):
        assert words in done.stderr
    policy = cluster.policy()
    # K2s's hold nothing of this cluster's.
    assert "10.244.1.0/24" in policy
    assert "172.2" not in policy


def test_addresses_that_nobody_tells_are_named(cluster: Cluster, run: Run) -> None:
    """Not every network plugin uses the nodes' pod ranges."""
    for node in cluster.nodes.values():
        node.pod_cidr = ""
    cluster.wait_until(lambda: not any(n["spec"] for n in cluster.store.list("nodes")))
    done = run("enable")
    assert done.exit_code == 0
    assert "cluster.podCIDRs stays 172.20.0.0/16 (set it if that is wrong)" in done.stderr


def test_kubernetes_without_service_cidrs(cluster: Cluster, run: Run) -> None:
    cluster.store.remove("servicecidrs", "", "kubernetes")
    done = run("enable")
    assert done.exit_code == 0
    assert "does not tell its services' addresses" in done.stderr


def test_a_node_that_is_off_is_named_and_left_out(cluster: Cluster, run: Run) -> None:
    off = cluster.nodes["linux-b"]
    off.ready = False
    done = run("enable")
    assert done.exit_code == 0
    assert "Not ready, so left out: linux-b" in done.stderr
    off.ready = True
    cluster.wait_until(lambda: cluster.modes().get("linux-b") == "enforce")


def test_a_node_that_is_off_stops_no_change(cluster: Cluster, run: Run) -> None:
    """Its new pod would use up maxSurge, and no other node would get its own."""
    run("enable")
    cluster.nodes["linux-a"].ready = False
    done = run("enable", "--mode", "audit")
    assert done.exit_code == 0, done.output
    assert cluster.modes() == {"linux-a": "enforce", "linux-b": "audit", "windows-a": "audit"}
    cluster.nodes["linux-a"].ready = True
    cluster.wait_until(lambda: cluster.modes()["linux-a"] == "audit")


def test_a_slow_node_is_waited_for(cluster: Cluster, run: Run) -> None:
    cluster.nodes["windows-a"].takes = 0.5
    done = run("enable")
    assert done.exit_code == 0
    assert "waiting for windows-a" in done.stderr


def test_a_second_time_keeps_the_values(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    run("enable", "-f", values_file(tmp_path, rules=[RULE]))
    assert "r.syslog" in cluster.policy()
    done = run("enable", "--mode", "audit")
    assert "revision 2, mode audit" in done.stdout
    assert "helm rollback udp-security 1" in done.stdout
    assert "r.syslog" in cluster.policy()
    # And a mode once given is one of them.
    assert "mode audit" in run("enable").stdout


def test_other_values_replace_those_before(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    run("enable", "--mode", "audit", "-f", values_file(tmp_path, rules=[RULE]))
    done = run("enable", "--set", "presets.ntp=false")
    assert "mode enforce" in done.stdout
    assert "r.syslog" not in cluster.policy()
    assert "r.preset.ntp" not in cluster.policy()


def test_a_node_that_came_later_is_covered(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.add("linux-c", 200)
    cluster.wait_until(lambda: "linux-c" in cluster.modes())
    done = run("enable")
    assert "cluster.nodeCIDRs is now" in done.stderr
    for address in ("10.9.0.1", "10.9.0.200"):
        assert address in cluster.policy()


def test_values_from_standard_input(cluster: Cluster, run: Run) -> None:
    done = run("enable", "-f", "-", stdin="mode: audit\n")
    assert done.exit_code == 0
    assert set(cluster.modes().values()) == {"audit"}


@pytest.mark.parametrize("command", ["enable", "disable", "status"])
def test_the_help_fits_a_terminal(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert all(len(line) <= 80 for line in done.output.splitlines())
    assert f"udp-security {command}" in done.output.partition("Examples:")[2]
