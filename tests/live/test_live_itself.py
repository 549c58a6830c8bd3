# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The live node is one: what the command line says of it is what the lab's kernel does."""

from __future__ import annotations

import json

from tests.lab.agents import ANOTHER_POLICY, OPEN, OTHER, POLICY
from tests.live.conftest import Live


def test_status_is_the_real_agents(live: Live) -> None:
    live.enforce(POLICY)
    address = live.topology.address("node")
    assert live.topology.probe("outsider", address, OPEN).delivered
    assert not live.topology.probe("outsider", address, OTHER, timeout=0.05).delivered
    done = live.run("status", "-o", "json")
    assert done.exit_code == 0, done.output
    governed, other = json.loads(done.stdout)["nodes"]
    assert (governed["node"], governed["inForce"]) == ("node", True)
    assert governed["status"]["self"] == live.agent.uid
    assert governed["status"]["counters"]["denied"]["ingress"]["packets"] == 1
    assert (other["node"], other["governed"]) == ("node2", False)


def test_a_rollout(live: Live) -> None:
    live.enforce(POLICY)
    before = live.agent
    live.enforce({**ANOTHER_POLICY, "mode": "audit"})
    assert live.agent.uid != before.uid and not before.running
    answer = json.loads(live.run("status", "-o", "json").stdout)["nodes"][0]
    assert (answer["inForce"], answer["status"]["mode"]) == (True, "audit")
    assert live.topology.probe("outsider", live.topology.address("node"), OTHER).delivered
