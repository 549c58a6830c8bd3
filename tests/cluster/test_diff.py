# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security diff --live`: what the cluster is told to enforce, and values."""

from __future__ import annotations

import json

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Run

# What enable would find out by itself is said, so that diff reads the same.
VALUES = """\
cluster: {podCIDRs: [10.244.0.0/16], serviceCIDRs: [10.96.0.0/12], nodeCIDRs: [10.9.0.0/16]}
rules:
  - {name: syslog, direction: ingress, ports: [514], from: [10.1.0.0/16, 10.244.3.0/24]}
  - {name: logs, direction: forward, ports: ["600-609"], to: [10.244.0.0/16]}
"""


def test_what_the_cluster_has(cluster: Cluster, run: Run) -> None:
    assert run("enable", "-f", "-", stdin=VALUES).exit_code == 0
    done = run("diff", "--live", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (0, "No difference in meaning.\n")
    done = run("diff", "--live", "-", "-o", "json", stdin=VALUES.replace("514", "515"))
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    for kind, port in (("allowed", 515), ("denied", 514)):
        boxes = [(box["os"], box["from"], box["ports"]) for box in found[kind]]
        assert boxes == [
            # With scope cluster it is open all the time.
            (["linux"], ["10.1.0.0/16"], [port]),
            (["linux", "windows"], ["10.244.3.0/24"], [port]),
        ]
    done = run("diff", "--live", "-", stdin=VALUES + "windows: {enabled: false}\nmode: audit\n")
    assert [line.split()[:2] for line in done.stdout.partition("Settings:\n")[2].splitlines()] == [
        ["linux", "mode"],
        ["windows", "enabled"],
    ]


SETTINGS = """\
linux:
  nodeSelector: {zone: b}
  tolerations: [{key: a, operator: Equal, value: b}, {operator: Exists, effect: NoExecute}]
  affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [
    {weight: 1, preference: {matchExpressions: [{key: a, operator: In, values: ["1"]}]}}]}}
  onStop: keep
  antiSpoofing: false
  prefilter: true
  verdictCache: {mask: 0xf0}
  logDenials: true
  untrackedReplyAddresses: [169.254.20.10, "fd00::a"]
windows: {onStop: keep, tolerations: []}
"""


def test_the_settings_of_the_cluster(cluster: Cluster, run: Run) -> None:
    """The nodes have none of these labels and taints, so that no agent is waited for."""
    assert run("enable", "-f", "-", stdin=VALUES + SETTINGS).exit_code == 0
    done = run("diff", "--live", "-", stdin=VALUES + SETTINGS)
    assert (done.exit_code, done.stdout) == (0, "No difference in meaning.\n")
    done = run("diff", "--live", "-", "-o", "json", stdin=VALUES)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["notCompared"]) == (1, [])
    assert [(s["os"], s["name"]) for s in found["settings"]] == [
        *(("linux", name) for name in (
            "nodeSelector", "affinity", "tolerations", "onStop", "verdictCache", "antiSpoofing",
            "prefilter", "logDenials", "untrackedReplyAddresses",
        )),
        ("windows", "tolerations"),
        ("windows", "onStop"),
    ]  # fmt: skip


def test_settings_that_only_the_ruleset_tells(cluster: Cluster, run: Run) -> None:
    values = VALUES + "linux: {backend: nftables, %s}\n"
    extra = "logDenials: true, untrackedReplyAddresses: [169.254.20.10, 169.254.20.11, 'fd00::a']"
    assert run("enable", "-f", "-", stdin=values % extra).exit_code == 0
    assert run("diff", "--live", "-", stdin=values % extra).exit_code == 0
    done = run("diff", "--live", "-", "-o", "json", stdin=values % "")
    assert [(s["name"], s["old"], s["new"]) for s in json.loads(done.stdout)["settings"]] == [
        ("logDenials", "true", "false"),
        ("untrackedReplyAddresses", "169.254.20.10, 169.254.20.11, fd00::a", "none"),
    ]


def test_what_the_cluster_does_not_tell_is_named(cluster: Cluster, run: Run) -> None:
    assert run("enable", "-f", "-", stdin=VALUES).exit_code == 0
    cluster.store.remove("daemonsets", "udp-security", "udp-security-windows")
    done = run("diff", "--live", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (
        0,
        "No difference in meaning in what can be compared.\n"
        "Not compared, since the cluster does not tell: windows.nodeSelector, windows.affinity, "
        "windows.tolerations, windows.onStop\n",
    )
    done = run("diff", "--live", "-", "-o", "json", stdin=VALUES)
    assert json.loads(done.stdout)["notCompared"] == [
        f"windows.{name}" for name in ("nodeSelector", "affinity", "tolerations", "onStop")
    ]


def test_what_cannot_be_asked_is_no_difference(cluster: Cluster, run: Run) -> None:
    """1 would mean that there is one."""
    done = run("diff", "--live", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not enabled in this cluster" in done.stderr
    done = run("diff", "--live", "--context", "stranger", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (2, "")
