# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Update.ps1, which other addons run in the middle of their own scripts."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from tests.k2s.cli import quoted
from tests.k2s.cluster import Cluster, Node
from tests.k2s.decoding import decode
from tests.k2s.helm import computed
from tests.k2s.host import Host
from tests.k2s.scripts import run
from tests.k2s.tree import K2s
from tests.k2s.upgrade import newer_addon

RULE = {"name": "syslog", "direction": "ingress", "ports": [514], "from": ["10.1.0.0/16"]}


@pytest.fixture(autouse=True)
def enabled(k2s: K2s) -> None:
    k2s.be_enabled({"rules": [RULE], "mode": "audit"})


def enable_another(k2s: K2s) -> None:
    """Another addon is enabled: it must neither fail nor show or send anything of ours."""
    options = "-EncodeStructuredOutput -MessageType CmdResult"
    call = f"& {quoted(str(k2s.root / 'addons' / 'other' / 'Enable.ps1'))} {options}"
    done = k2s.pwsh("-Command", call)
    assert (done.returncode, done.stderr) == (0, "")
    assert decode(done.stdout.splitlines(), "CmdResult") == {"Error": None}
    assert len(done.stdout.splitlines()) == 1
    assert {"Name": "other"} in k2s.setup()["EnabledAddons"]


def add_node(cluster: Cluster) -> None:
    """A node whose addresses the policy does not know."""
    cluster.nodes.append(Node("worker", "linux", "192.168.178.5", "10.244.5.0/24"))
    cluster.settle()


def cidrs(host: Host) -> dict[str, Any]:
    revision = host.helm.revisions()[-1]
    found: dict[str, Any] = computed(revision.chart, revision.values)["cluster"]
    return found


def upgrades(host: Host) -> int:
    return sum(call.startswith("helm upgrade") for call in host.said("helm"))


def test_nothing_has_changed(k2s: K2s, host: Host) -> None:
    enable_another(k2s)
    assert upgrades(host) == 0
    assert host.said("helm", "kubectl")
    assert host.logged(console=True) == []


def test_new_addresses(k2s: K2s, cluster: Cluster, host: Host) -> None:
    add_node(cluster)
    enable_another(k2s)
    found = cidrs(host)
    assert "192.168.178.5/32" in found["nodeCIDRs"]
    assert "10.244.5.0/24" in found["podCIDRs"]
    # Those that were there stay: a user may have written them.
    assert "172.19.1.0/24" in found["nodeCIDRs"]
    assert "172.20.0.0/16" in found["podCIDRs"]
    assert host.logged(console=True) == []


def test_the_rest_of_the_values_stays(k2s: K2s, cluster: Cluster, host: Host) -> None:
    add_node(cluster)
    enable_another(k2s)
    values = host.helm.revisions()[-1].values
    assert values["rules"] == [RULE]
    assert values["mode"] == "audit"
    assert set(k2s.in_force().values()) == {"audit"}
    assert k2s.enabled()


def test_twice(k2s: K2s, cluster: Cluster, host: Host) -> None:
    add_node(cluster)
    for _ in range(2):
        done = run(k2s, "Update.ps1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert upgrades(host) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_newer_addon_is_there(k2s: K2s, cluster: Cluster, host: Host, kept: bool) -> None:
    """Nobody asked for another version: that deployed gets the addresses, or nothing is changed."""
    shutil.rmtree(k2s.addon)
    newer_addon(k2s.addon)
    old = k2s.addon / "manifests" / "chart" / "udp-security-0.1.0.tgz"
    if not kept:
        old.unlink()
    before = [node.rules for node in cluster.nodes]
    add_node(cluster)
    enable_another(k2s)
    revision = host.helm.revisions()[-1]
    assert revision.chart.name == old.name
    assert ("192.168.178.5/32" in cidrs(host)["nodeCIDRs"]) if kept else (revision.number == 1)
    if not kept:
        assert [node.rules for node in cluster.nodes[: len(before)]] == before
        assert any("udp-security-0.1.0.tgz" in line for line in host.logged())


@pytest.mark.parametrize(
    "words", ["kubectl get nodes", "helm get values", "helm upgrade", "Test-IsAddonEnabled"]
)
def test_it_never_fails(k2s: K2s, cluster: Cluster, host: Host, words: str) -> None:
    add_node(cluster)
    host.fail(words, "Unable to connect to the server: EOF")
    done = run(k2s, "Update.ps1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert host.logged(console=True) == []
    assert any("EOF" in line for line in host.logged())


def test_it_breaks_no_other_addon(k2s: K2s, cluster: Cluster, host: Host) -> None:
    add_node(cluster)
    host.fail("helm upgrade", "Unable to connect to the server: EOF")
    enable_another(k2s)


def test_a_policy_that_an_agent_refuses(k2s: K2s, cluster: Cluster, host: Host) -> None:
    cluster.node("kubemaster").refuses = "no"
    add_node(cluster)
    enable_another(k2s)
    assert k2s.in_force()["kubemaster"] == "audit"


def test_disabled(k2s: K2s, cluster: Cluster, host: Host) -> None:
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    add_node(cluster)
    done = run(k2s, "Update.ps1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert host.said("helm", "kubectl") == []
