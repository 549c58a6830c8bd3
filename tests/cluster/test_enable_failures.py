# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security enable` that fails brings the state before back, or has changed nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cluster.cluster import NAMESPACE, Cluster
from tests.cluster.conftest import Run
from tests.cluster.test_enable import values_file

from udp_security.cluster import release


def test_an_agent_refuses(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].refuses = "the pod bridge is not in cluster.podCIDRs"
    done = run("enable", "--timeout", "1")
    assert done.exit_code == 1
    assert "node linux-b: not in force: the pod bridge is not in" in done.stderr
    assert "Everything was taken back" in done.stderr
    assert cluster.is_empty()


def test_the_rollout_is_stuck(cluster: Cluster, run: Run) -> None:
    cluster.nodes["windows-a"].takes = 100
    done = run("enable", "--timeout", "1")
    assert done.exit_code == 1
    assert "node windows-a: not in force" in done.stderr
    assert cluster.is_empty()


def test_a_node_is_ready_but_cannot_be_reached(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-a"].gone = True
    done = run("enable", "--timeout", "1")
    assert done.exit_code == 1
    assert "node linux-a: the API server answers HTTP 500" in done.stderr
    assert cluster.is_empty()


def test_dns_is_cut(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].cut = True
    done = run("enable")
    assert done.exit_code == 1
    assert "cluster DNS (10.96.0.10) does not answer" in done.stderr
    assert "node linux-b" in done.stderr
    assert "linux-a" not in done.stderr.partition("does not answer")[2]
    assert cluster.is_empty()


def test_without_nslookup_dns_is_unknown(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].no_nslookup = True
    done = run("enable")
    assert done.exit_code == 0
    assert "whether DNS answers linux-b is not known" in done.stderr


def test_without_a_dns_service_it_is_unknown(cluster: Cluster, run: Run) -> None:
    cluster.store.remove("services", "kube-system", "kube-dns")
    done = run("enable")
    assert done.exit_code == 0
    assert "There is no service kube-system/kube-dns" in done.stderr


@pytest.mark.parametrize("what", ["secrets", "daemonsets"])
def test_helm_fails(cluster: Cluster, run: Run, what: str) -> None:
    cluster.server.fails = {("POST", what), ("PATCH", what)}
    done = run("enable")
    assert done.exit_code == 1
    assert "helm upgrade failed" in done.stderr
    assert "Everything was taken back" in done.stderr
    assert cluster.is_empty()


def test_a_change_that_fails_goes_back(cluster: Cluster, run: Run) -> None:
    """The earlier policy is in the store again, and in force, not just another revision."""
    run("enable", "--mode", "audit")
    before = cluster.objects("configmaps")
    sets = {name: item["spec"] for name, item in cluster.objects("daemonsets").items()}
    cluster.nodes["linux-b"].cut = True
    done = run("enable", "--mode", "enforce", "--set", "presets.ntp=false")
    assert done.exit_code == 1
    assert "The policy that was in force before is in force again" in done.stderr
    after = cluster.objects("configmaps")
    assert {n: item["data"] for n, item in after.items()} == {
        n: item["data"] for n, item in before.items()
    }
    assert {name: item["spec"] for name, item in cluster.objects("daemonsets").items()} == sets
    assert set(cluster.modes().values()) == {"audit"}
    assert len(cluster.modes()) == 3
    # In force everywhere, in audit.
    assert run("status").exit_code == 3


def test_a_change_that_stalls_goes_back(cluster: Cluster, run: Run) -> None:
    run("enable", "--mode", "audit")
    cluster.nodes["windows-a"].refuses = "it would cut the node off"
    done = run("enable", "--mode", "enforce", "--timeout", "1")
    assert done.exit_code == 1
    assert "windows-a: not in force: it would cut the node off" in done.stderr
    assert "is in force again" in done.stderr
    assert set(cluster.modes().values()) == {"audit"}


def test_going_back_fails_as_well(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].cut = True
    cluster.server.fails = {("DELETE", "daemonsets")}
    done = run("enable")
    assert done.exit_code == 1
    assert "Going back failed as well" in done.stderr
    assert "Run 'udp-security disable'" in done.stderr


def test_a_namespace_of_others_stays(cluster: Cluster, run: Run) -> None:
    cluster.store.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
    cluster.nodes["linux-b"].cut = True
    assert run("enable").exit_code == 1
    assert cluster.store.get("namespaces", "", NAMESPACE)
    assert cluster.objects("daemonsets") == {}
    assert cluster.modes() == {}


def test_values_that_leave_the_cluster_out(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """Refused with what to write; that is then taken."""
    own = {"podCIDRs": ["10.244.0.0/23"], "nodeCIDRs": ["10.9.0.0/16"]}
    done = run("enable", "-f", values_file(tmp_path, cluster=own))
    assert done.exit_code == 1
    assert "cluster.podCIDRs does not cover 10.244.2.0/23" in done.stderr
    line = next(line for line in done.stderr.splitlines() if "podCIDRs: [" in line)
    assert line == '    podCIDRs: ["10.244.0.0/23", "10.244.2.0/23"]'
    assert "nodeCIDRs:" not in done.stderr
    assert cluster.is_empty()
    own["podCIDRs"] = json.loads(line.partition(": ")[2])
    assert run("enable", "-f", values_file(tmp_path, cluster=own)).exit_code == 0


def test_in_audit_that_is_noted(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    own = {"podCIDRs": ["10.250.0.0/16"]}
    done = run("enable", "--mode", "audit", "-f", values_file(tmp_path, cluster=own))
    assert done.exit_code == 0
    assert "Mode enforce would be refused: cluster.podCIDRs does not cover" in done.stderr


def test_invalid_values(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """With the words of `validate`; the cluster is not even asked."""
    name = values_file(tmp_path, mode="enforced")
    told = run("validate", "-f", name)
    cluster.server.fails = {("*", "*")}
    done = run("enable", "-f", name)
    assert done.exit_code == 1
    assert done.stderr == told.stdout


def test_values_that_this_cluster_makes_invalid(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """On Linux a rule is for pods, not for services."""
    rule = {"name": "a", "direction": "egress", "ports": [53], "to": ["10.96.0.10"]}
    name = values_file(tmp_path, rules=[rule])
    assert run("validate", "-f", name).exit_code == 0
    done = run("enable", "-f", name, "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["errors"][0]["path"] == "rules[0].to[0]"
    assert cluster.is_empty()


def test_a_failure_as_json(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-b"].cut = True
    done = run("enable", "-o", "json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["enabled"]) == (1, False)
    assert "cluster DNS" in answer["error"]


def test_helm_that_never_ends(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "_TIMEOUT", 1.5)
    cluster.server.hangs = {("POST", "configmaps"), ("PATCH", "configmaps")}
    done = run("enable")
    assert done.exit_code == 1
    assert "helm upgrade did not end" in done.stderr
    assert cluster.is_empty()
