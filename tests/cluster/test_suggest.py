# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security suggest` asks a cluster of which not all answer."""

from __future__ import annotations

import json

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Run
from tests.cluster.node import Reply


def test_agents_that_do_not_answer(cluster: Cluster, run: Run) -> None:
    """What the others tell is suggested all the same, and the exit status says that it is part."""
    assert run("enable", "--mode", "audit").exit_code == 0
    flow = {"direction": "ingress", "source": "10.0.0.7", "destination": "10.9.0.1", "port": 69}
    flow |= {"packets": 50, "bytes": 3000, "ago": 5}
    said = {"schemaVersion": 1, "os": "linux", "node": "linux-a", "mode": "audit"}
    text = json.dumps({**said, "deniedFlows": [flow], "deniedPorts": []})
    cluster.nodes["linux-a"].prints = {"denials": Reply(0, text)}
    cluster.nodes["linux-b"].prints = {"denials": Reply(1, error="no table")}
    done = run("suggest", "-o", "json")
    assert done.exit_code == 1
    assert "Note: linux-b: the agent does not answer" in done.stderr
    found = json.loads(done.stdout)
    assert [each["rule"]["from"] for each in found["rules"]] == [["10.0.0.7"]]
    reasons = {each["node"]: each["reason"] for each in found["silentNodes"]}
    assert "no table" in reasons["linux-b"] and "linux-a" not in reasons
    cluster.nodes["linux-b"].prints = {"denials": Reply(0, text)}
    assert run("suggest").exit_code == 0
