# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security status`: what each node says, in one table."""

from __future__ import annotations

import json
import time

import jsonschema_rs
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Run
from tests.k2s.artifact_places import CHART


def test_all_is_well(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-a"].denied = {"ingress": 7, "forward": 9}
    run("enable")
    done = run("status")
    assert done.exit_code == 0
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert head[:3] == ["NODE", "OS", "MODE"]
    assert [row[0] for row in rows] == ["linux-a", "linux-b", "windows-a"]
    assert {row[4] for row in rows} == {"yes"}
    assert [row[6] for row in rows] == ["7/0/9", "0/0/0", "-/-/-"]


def test_as_json_with_what_the_agents_say(cluster: Cluster, run: Run) -> None:
    run("enable")
    answer = json.loads(run("status", "-o", "json").stdout)
    assert (answer["enabled"], answer["inForce"]) == (True, True)
    schema = json.loads((CHART / "files" / "status.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    for node in answer["nodes"]:
        validator.validate(node["status"])
        assert node["inForce"] and node["reason"] is None


def test_not_enabled(cluster: Cluster, run: Run) -> None:
    done = run("status")
    assert done.exit_code == 1
    assert "not enabled" in done.stdout
    assert json.loads(run("status", "-o", "json").stdout)["enabled"] is False


def test_a_node_that_does_not_enforce(cluster: Cluster, run: Run) -> None:
    run("enable")
    node = cluster.nodes["linux-b"]
    node.refuses = "the rules are gone from the kernel"
    node.rules = None
    done = run("status")
    assert done.exit_code == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith("linux-b"))
    assert "no: the rules are gone from the kernel" in row


def test_a_node_that_is_off_is_no_fault(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-b"].ready = False
    cluster.wait_until(lambda: run("status").exit_code == 0)
    assert "no: the node is not ready" in run("status").stdout


def test_nodes_that_are_not_governed(cluster: Cluster, run: Run) -> None:
    run("enable", "--set", "windows.enabled=false")
    done = run("status")
    assert done.exit_code == 0
    assert "not governed" in done.stdout
    assert "no: " not in done.stdout


def test_nodes_that_the_selector_leaves_out(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-a"].labels["edge"] = "yes"
    run("enable", "--set", "linux.nodeSelector.edge=yes")
    answer = json.loads(run("status", "-o", "json").stdout)
    governed = {node["node"]: node["governed"] for node in answer["nodes"]}
    assert governed == {"linux-a": True, "linux-b": False, "windows-a": True}


def test_an_older_policy(cluster: Cluster, run: Run) -> None:
    """A rollout that stands still: the agent is healthy, with what it has."""
    run("enable")
    cluster.nodes["windows-a"].takes = 100
    spec = cluster.objects("daemonsets")["udp-security-windows"]["spec"]
    spec["template"]["spec"]["containers"][0]["env"][0]["value"] = "f" * 64
    cluster.store.change(
        "daemonsets", "udp-security", "udp-security-windows", lambda old: {**old, "spec": spec}
    )
    cluster.wait_until(lambda: len(cluster.objects("pods")) == 4)
    done = run("status")
    assert done.exit_code == 1


def test_slow_silent_and_dead_nodes_hold_nobody_up(cluster: Cluster, run: Run) -> None:
    for number in range(10, 50):
        cluster.add(f"linux-{number}", number)
    run("enable", "--mode", "audit")
    for node in cluster.nodes.values():
        node.slow = 0.4
    cluster.nodes["linux-10"].silent = True
    cluster.nodes["linux-11"].gone = True
    began = time.monotonic()
    done = run("status", "--timeout", "2", "-o", "json")
    took = time.monotonic() - began
    assert done.exit_code == 1
    reasons = {n["node"]: n["reason"] for n in json.loads(done.stdout)["nodes"] if n["reason"]}
    assert set(reasons) == {"linux-10", "linux-11"}
    assert "no answer within 2 s" in reasons["linux-10"]
    assert "HTTP 500" in reasons["linux-11"]
    # One after another, the others alone would take 16 s.
    assert took < 6
