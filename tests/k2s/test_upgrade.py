# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The addon through an upgrade of K2s: Enable.ps1 of the new folder over what was re-applied."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.k2s.cli import Cli
from tests.k2s.cluster import Cluster
from tests.k2s.helm import computed
from tests.k2s.host import Host
from tests.k2s.tree import HOOK, K2s
from tests.k2s.upgrade import newer_addon, upgrade

RULE = {"name": "syslog", "direction": "ingress", "ports": [514], "from": ["10.1.0.0/16"]}
RE_ENABLED = "Addon 'udp-security' re-enabled."


@pytest.fixture(autouse=True)
def enabled(k2s: K2s) -> None:
    k2s.be_enabled({"rules": [RULE], "mode": "audit"})


@pytest.mark.parametrize("orphans", [True, False])
def test_the_values_survive(k2s: K2s, host: Host, orphans: bool) -> None:
    before = [node.rules for node in k2s.cluster.nodes]
    done = upgrade(k2s, orphans=orphans)
    assert RE_ENABLED in done.stdout
    assert done.stderr == ""
    assert host.helm.revisions()[-1].values == {"rules": [RULE], "mode": "audit"}
    assert [node.rules for node in k2s.cluster.nodes] == before
    assert k2s.enabled()
    assert (k2s.hooks / HOOK).exists()
    # The fields that kubectl wrote are Helm's again.
    assert {applied.manager for applied in k2s.cluster.objects.values()} == {"helm"}


def test_the_new_chart_is_installed(k2s: K2s, host: Host) -> None:
    done = upgrade(k2s, newer_addon)
    assert RE_ENABLED in done.stdout
    revision = host.helm.revisions()[-1]
    assert revision.chart.name == "udp-security-0.2.0.tgz"
    # Its own defaults, beneath what the user gave.
    values = computed(revision.chart, revision.values)
    assert values["presets"]["vpn"] is True
    assert values["rules"] == [RULE]
    assert values["mode"] == "audit"


def test_a_lost_release(k2s: K2s, host: Host) -> None:
    """The objects come back, Helm's Secret does not: they are taken over."""
    host.helm.releases.clear()
    for applied in k2s.cluster.objects.values():
        applied.helms = False
    assert RE_ENABLED in upgrade(k2s).stdout
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}


def test_a_failure_is_no_success(k2s: K2s, host: Host) -> None:
    host.fail("helm upgrade", "Error: no")
    done = upgrade(k2s)
    assert RE_ENABLED not in done.stdout
    assert "Error: no" in done.stdout
    assert k2s.enabled() is None


def test_an_agent_refuses_afterwards(k2s: K2s, cluster: Cluster) -> None:
    cluster.node("winhost").refuses = "service mpssvc is Stopped"
    done = upgrade(k2s)
    assert RE_ENABLED not in done.stdout
    assert "service mpssvc is Stopped" in done.stdout


def test_a_new_folder_without_the_addon(k2s: K2s) -> None:
    """It has to be imported there, too: K2s skips it with a warning."""
    done = upgrade(k2s, lambda target: target.mkdir())
    assert "seems to be gone" in done.stdout
    assert k2s.enabled() is None
    # Imported and enabled later, it has its values still.


def test_imported_and_enabled_later(k2s: K2s, host: Host, tmp_path: Path) -> None:
    upgrade(k2s, lambda target: target.mkdir())
    k2s.addon.rmdir()
    newer_addon(k2s.addon)
    assert Cli(k2s).enable().error == ""
    assert host.helm.revisions()[-1].values == {"rules": [RULE], "mode": "audit"}
