# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values that do not set cluster.*: every command takes the addresses that `enable` would take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Run
from tests.cluster.node import Reply

from udp_security.policy.ground import Ground

VALUES = """\
rules:
  - {name: syslog, direction: ingress, ports: [514], from: [10.1.0.0/16]}
"""
CLUSTER = {
    "podCIDRs": ["10.244.1.0/24", "10.244.2.0/23"],
    "serviceCIDRs": ["10.96.0.0/12"],
    "nodeCIDRs": ["10.9.0.1", "10.9.0.2/31"],
}
# The second could be no rule on Linux, in this cluster.
FLOWS = (("ingress", "10.0.0.7", "10.9.0.1", 69), ("forward", "10.244.1.7", "10.96.0.77", 5600))


def ok(done: Result, exit_code: int = 0) -> Result:
    assert done.exit_code == exit_code, done.output
    return done


def denied(cluster: Cluster) -> None:
    """One agent tells FLOWS."""
    names = ("direction", "source", "destination", "port")
    traffic = {"packets": 50, "bytes": 3000, "ago": 5}
    flows = [{**dict(zip(names, flow, strict=True)), **traffic} for flow in FLOWS]
    said = {"schemaVersion": 1, "os": "linux", "node": "linux-a", "mode": "enforce"}
    text = json.dumps({**said, "deniedFlows": flows, "deniedPorts": []})
    cluster.nodes["linux-a"].prints = {"denials": Reply(0, text)}


def suggested(answer: str) -> list[tuple[list[str], list[str]]]:
    rules = [item["rule"] for item in json.loads(answer)["rules"]]
    return [(rule["from"], rule["to"]) for rule in rules]


def test_what_enable_installs(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """Also with what was suggested since, live or later from a file."""
    file, saved = tmp_path / "ward.yaml", tmp_path / "denials.json"
    file.write_text(VALUES)
    ok(run("enable", "-f", "ward.yaml"))
    done = ok(run("diff", "--live", "ward.yaml"))
    assert done.stdout == "No difference in meaning.\n"
    said = "cluster.podCIDRs, cluster.serviceCIDRs, cluster.nodeCIDRs: the cluster's own"
    assert done.stderr.count(said) == 1
    # As a node more would be in the policy.
    cluster.add("linux-c", 200)
    cluster.wait_until(lambda: "linux-c" in cluster.modes())
    assert "10.9.0.200" in ok(run("diff", "--live", "ward.yaml"), 1).stdout

    denied(cluster)
    saved.write_text(ok(run("denials", "-o", "json")).stdout)
    assert json.loads(saved.read_text())["cluster"] == CLUSTER
    cluster.store.remove("nodes", "", "linux-c")
    rules = [(["10.0.0.7"], ["10.9.0.1"])]
    for arguments in ((), ("-f", "ward.yaml"), ("--denials", "denials.json", "-f", "ward.yaml")):
        assert suggested(ok(run("suggest", *arguments, "-o", "json")).stdout) == rules
    ok(run("suggest", "--write", "ward.yaml", "--yes"))
    assert len(yaml.safe_load(file.read_text())["rules"]) == 2
    ok(run("enable", "-f", "ward.yaml"))
    assert ok(run("diff", "--live", "ward.yaml")).stdout == "No difference in meaning.\n"


def test_what_enable_refuses(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """The values may be valid elsewhere."""
    ok(run("enable"))
    denied(cluster)
    (tmp_path / "denials.json").write_text(ok(run("denials", "-o", "json")).stdout)
    bad = VALUES + "  - {name: alarms, direction: forward, ports: [69], to: [10.96.0.77]}\n"
    offline = "suggest --denials denials.json -f -"
    for command, code in (("diff --live -", 2), ("suggest -f -", 1), (offline, 1)):
        done = ok(run(*command.split(), stdin=bad), code)
        assert done.stdout == "" and "10.96.0.0/12" in done.stderr, command
    # The user's own lists stay, and what is wrong with them is told.
    done = ok(run("diff", "--live", "-", stdin="cluster: {nodeCIDRs: [10.9.0.1]}\n"), 1)
    assert "cluster.nodeCIDRs does not cover 10.9.0.2/31" in done.stderr
    assert "cluster.podCIDRs, cluster.serviceCIDRs: the cluster's own" in done.stderr


def test_what_a_cluster_does_not_tell(cluster: Cluster, run: Run) -> None:
    """It is the chart's, as for `enable`."""
    cluster.store.remove("servicecidrs", "", "kubernetes")
    ok(run("enable", "-f", "-", stdin=VALUES))
    done = ok(run("diff", "--live", "-", stdin=VALUES))
    assert "does not tell its services' addresses: cluster.serviceCIDRs stays" in done.stderr


def test_values_that_set_all_need_no_more_rights(cluster: Cluster, run: Run) -> None:
    values = VALUES + yaml.safe_dump({"cluster": CLUSTER})
    ok(run("enable", "-f", "-", stdin=values))
    cluster.server.forbidden = {("GET", "nodes")}
    done = ok(run("diff", "--live", "-", stdin=values))
    assert "the cluster's own" not in done.stderr
    assert "is forbidden" in ok(run("diff", "--live", "-", stdin=VALUES), 2).stderr


def test_saved_denials_go_on_without_the_addresses(
    cluster: Cluster, run: Run, tmp_path: Path
) -> None:
    """Null, and a note why; then the chart's are taken, and that is said."""
    ok(run("enable", "-f", "-", stdin=VALUES))
    denied(cluster)
    cluster.server.forbidden = {("GET", "configmaps")}
    done = ok(run("denials", "-o", "json"))
    assert json.loads(done.stdout)["cluster"] is None
    assert "the cluster's own CIDRs are not known: " in done.stderr
    (tmp_path / "denials.json").write_text(done.stdout)
    offline = "suggest", "--denials", "denials.json", "-f", "-"
    done = ok(run(*offline, stdin=VALUES))
    assert "cluster.nodeCIDRs: the chart's defaults, which are K2s's" in done.stderr
    assert "defaults" not in ok(run(*offline, stdin=yaml.safe_dump({"cluster": CLUSTER}))).stderr


def test_windows_alone_does_not_tell_pods_from_services(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Mapping[str, Any]] = []
    made = Ground.of_policies

    def keep(policies: Any, own: Mapping[str, Any]) -> Ground:
        seen.append(own)
        return made(policies, own)

    monkeypatch.setattr(Ground, "of_policies", keep)
    ok(run("enable", "-f", "-", stdin="linux: {enabled: false}\n"))
    ok(run("suggest"))
    (own,) = seen
    assert [own[key] for key in ("podCIDRs", "serviceCIDRs")] == [
        ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"],
        ["10.96.0.0/12"],
    ]
