# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What K2s runs on the Windows host after it was uninstalled."""

from __future__ import annotations

import pytest
from tests.k2s.tree import HOOK, K2s


@pytest.fixture(autouse=True)
def enabled(k2s: K2s) -> None:
    k2s.be_enabled()
    assert k2s.firewall_rules()


def test_our_rules_are_removed(k2s: K2s) -> None:
    k2s.uninstall()
    assert [r["Name"] for r in k2s.windows.records()] == ["CoreNet-DHCP"]


def test_no_rules(k2s: K2s) -> None:
    done = [k2s.pwsh("-File", str(k2s.hooks / HOOK)) for _ in range(2)]
    assert [(d.returncode, d.stdout, d.stderr) for d in done] == [(0, "", "")] * 2


def test_it_needs_nothing_of_k2s(k2s: K2s) -> None:
    """When it runs, the cluster and setup.json are gone."""
    k2s.host.calls.clear()
    k2s.uninstall()
    assert k2s.host.calls == []


def test_it_never_throws(k2s: K2s) -> None:
    k2s.windows.set_faults({"cmdlet": "Remove-NetFirewallRule", "call": 1, "message": "Denied."})
    script = f"try {{ & '{k2s.hooks / HOOK}' }} catch {{ 'THROWN' }}"
    done = k2s.pwsh("-Command", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "THROWN" not in done.stdout
    assert "Remove-NetFirewallRule -Group udp-security" in done.stdout


def test_a_host_without_the_cmdlet(k2s: K2s) -> None:
    """That is no proof that there are no rules."""
    script = f"$env:PSModulePath = ''; & '{k2s.hooks / HOOK}'"
    done = k2s.pwsh("-Command", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "may still be on this host" in done.stdout
