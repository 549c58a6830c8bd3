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


def test_what_cannot_be_asked_is_no_difference(cluster: Cluster, run: Run) -> None:
    """1 would mean that there is one."""
    done = run("diff", "--live", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not enabled in this cluster" in done.stderr
    done = run("diff", "--live", "--context", "stranger", "-", stdin=VALUES)
    assert (done.exit_code, done.stdout) == (2, "")
