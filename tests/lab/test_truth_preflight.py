# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The preflight: a policy made for another cluster is not enforced here, and says what to change.

Audit mode loads it all the same and only warns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from tests.lab.table import Row, both, each_family, govern, render

from udp_security.lab.addresses import NODE_NET, Family, cluster_values
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

ELSEWHERE: Final = ["10.244.0.0/16", "fd00:10:244::/48"]


@dataclass(frozen=True)
class Misfit:
    """Values that do not fit the node, devices that make them so, and words of the reason."""

    values: dict[str, Any]
    reason: tuple[str, ...]
    devices: dict[str, str] = field(default_factory=dict)


MISFITS: Final = {
    "node-network-of-another-cluster": Misfit(
        {"cluster": {**cluster_values(), "nodeCIDRs": ELSEWHERE}},
        ("this node's address 172.19.1.100 is not in cluster.nodeCIDRs 10.244.0.0/16",
         "(set cluster.nodeCIDRs, podCIDRs and serviceCIDRs to this cluster's)"),
    ),
    "pod-network-of-another-cluster": Misfit(
        {"cluster": {**cluster_values(), "podCIDRs": ELSEWHERE}},
        ("the pod bridge cni0 has 172.20.0.1", "not in cluster.podCIDRs 10.244.0.0/16",
         "(set cluster.podCIDRs to this cluster's)"),
    ),
    "vxlan-on-another-port": Misfit(
        {},
        ("no rule allows egress on port 4789 of the vxlan device overlay",
         "(allow it in both directions among 172.19.1.0/24)"),
        {"overlay": "type vxlan id 9 dev eth0 dstport 4789"},
    ),
    "vxlan-allowed-one-way": Misfit(
        {"rules": [{"name": "vxlan", "direction": "egress", "ports": [4789]}]},
        ("no rule allows ingress on port 4789 of the vxlan device overlay",),
        {"overlay": "type vxlan id 9 dev eth0 dstport 4789"},
    ),
    "vxlan-allowed-for-some-nodes": Misfit(
        {"rules": [
            {"name": "out", "direction": "egress", "ports": [4789], "to": ["172.19.1.0/25"]},
            {"name": "in", "direction": "ingress", "ports": [4789], "from": ["172.19.1.0/25"]},
        ]},
        ("no rule allows egress on port 4789 of the vxlan device overlay",),
        {"overlay": "type vxlan id 9 dev eth0 dstport 4789"},
    ),
    "cluster-without-ipv6-on-a-dual-stack-node": Misfit(
        {"cluster": {**cluster_values(), "nodeCIDRs": [NODE_NET.v4]}},
        ("the vxlan device flannel-v6.1 uses this node's address fd00:172:19:1::100, which is",),
    ),
    "flannel-without-its-preset": Misfit(
        {"presets": {"flannelVxlan": False}, "dangerouslyCutOff": ["flannelVxlan"]},
        ("no rule allows egress on port 8472 of the vxlan device flannel.1",),
    ),
}  # fmt: skip


@pytest.fixture
def misfit(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Misfit]:
    """One of the misfits, with its devices on the node."""
    case = MISFITS[request.param]
    node = lab.ns("node")
    node.ip(*(f"link add {name} {kind}" for name, kind in case.devices.items()))
    yield case
    node.ip(*(f"link delete {name}" for name in case.devices))


def refusal(pod: AgentPod) -> str:
    """Waits for the log line that says why the pod does not enforce."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in pod.logs().splitlines():
            if "event=refused" in line:
                return line
        time.sleep(0.02)
    raise AssertionError(f"not refused: {pod.logs()}")


@pytest.mark.parametrize("misfit", MISFITS, indirect=True)
def test_refused(lab: Lab, misfit: Misfit) -> None:
    """The check fails, the reason stands wherever one looks, the kernel and packets are as ever."""
    tables = lab.run("node", ["nft", "list", "tables"]).stdout
    with AgentPod(lab, "node", render(misfit.values)) as pod:
        line = refusal(pod)
        check = pod.exec("check")
        status = json.loads(pod.exec("status").stdout)
        for words in misfit.reason:
            assert words in line
            assert words in check.stdout
            assert words in status["reason"]
        assert check.returncode == 1
        assert not status["healthy"]
        assert lab.run("node", ["nft", "list", "tables"]).stdout == tables
        assert lab.probe("outsider", lab.address("node"), 515).replied
        assert pod.stop() == 0
        assert pod.logs().count("event=refused") == 1


@pytest.mark.parametrize("misfit", MISFITS, indirect=True)
def test_audited(lab: Lab, misfit: Misfit) -> None:
    """Audit warns in its log, and counts."""
    with govern(lab, {**misfit.values, "mode": "audit"}) as governed:
        log = governed.pods["node"].logs()
        for words in misfit.reason:
            assert words in log
        assert log.count("event=misfit") == 1
        passing = Row("", "outsider", "node", 515, "answered", {"denied.ingress": 2})
        passing.check(governed, 4)


@each_family
def test_overlay_that_the_policy_allows(lab: Lab, family: Family) -> None:
    """The remedy helps: with a rule for its port both ways the node is governed."""
    node = lab.ns("node")
    node.ip("link add overlay type vxlan id 9 dev eth0 dstport 4789")
    nodes = both(NODE_NET)
    rules = [
        {"name": "vxlan-out", "direction": "egress", "ports": ["4780-4790"], "to": nodes},
        {"name": "vxlan-in", "direction": "ingress", "ports": ["4780-4790"], "from": nodes},
    ]
    try:
        with govern(lab, {"rules": rules}) as governed:
            denied = Row("", "outsider", "node", 515, "denied", {"denied.ingress": 1})
            denied.check(governed, family)
    finally:
        node.ip("link delete overlay")
