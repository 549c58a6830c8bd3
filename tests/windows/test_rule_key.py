# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What distinguishes a rule: every property by which somebody could take its effect away."""

from __future__ import annotations

import pytest
from tests.windows.pod import FILES
from tests.windows.windows import FakeWindows

_SCRIPT = """
$ErrorActionPreference = 'Stop'
Import-Module (Join-Path $env:AGENT 'Firewall.psm1')
$rule = @{
    Direction = 'Inbound'; Action = 'Block'; Protocol = 'UDP'
    LocalPort = '1-52', '54'; RemotePort = 'Any'
    LocalAddress = 'Any'; RemoteAddress = '10.0.0.0-10.0.0.9', 'fd00::1-fd00::a'
}
$changes = [ordered] @{
    Enabled = 'False'; Profile = 'Domain'; EdgeTraversalPolicy = 'Allow'
    LooseSourceMapping = 'True'
    LocalOnlyMapping = 'True'; Owner = 'S-1-5-18'; Platform = '6.1+GTEQ'
    RemoteDynamicKeywordAddresses = '{1}'; Protocol = 'TCP'; DynamicTarget = 'WifiDirect'
    Program = 'x.exe'; Package = 'S-1-15-2'; Service = 'x'; InterfaceAlias = 'x'
    InterfaceType = 'Wireless'; Authentication = 'Required'; Encryption = 'Required'
    OverrideBlockRules = 'True'; LocalUser = 'x'; RemoteUser = 'x'; RemoteMachine = 'x'
    Direction = 'Outbound'; Action = 'Allow'; LocalPort = '1-52'; RemotePort = '1'
    LocalAddress = '10.0.0.1'; RemoteAddress = '10.0.0.0-10.0.0.9'
}
$key = Get-RuleKey -Values $rule
$keys = @(foreach ($name in $changes.Keys) {
    $changed = $rule.Clone()
    $changed[$name] = $changes[$name]
    Get-RuleKey -Values $changed
})
$same = $rule.Clone()
$same.LocalPort = '54', '1-52'
$same.RemoteAddress = 'FD00:0::1-fd00::A', '10.0.0.0-10.0.0.9'
$same.Enabled = 'True'
$same.Package = $null
@{
    Count = $changes.Count
    Different = @($keys + $key | Select-Object -Unique).Count
    Same = (Get-RuleKey -Values $same) -ceq $key
} | ConvertTo-Json
"""


def test_each_property_counts(windows: FakeWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT", str(FILES))
    found = windows.json(_SCRIPT)
    # Each change makes another rule; another order, spelling or nothing for a default does not.
    assert found == {"Count": 27, "Different": 28, "Same": True}
