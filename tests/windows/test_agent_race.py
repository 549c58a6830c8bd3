# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Somebody changes rules between the agent's look at them and what it does about it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.windows.agents import POLICY
from tests.windows.pod import FILES
from tests.windows.windows import FakeWindows

# A stale rule has the name of a wanted one, as after an edit by hand. It is deleted after the look.
_SCRIPT = """
$ErrorActionPreference = 'Stop'
foreach ($module in 'Firewall', 'Node', 'Compile') {
    Import-Module (Join-Path $env:AGENT "$module.psm1")
}
$owner = @{ Uid = 'pod'; Release = 'a/b'; Generation = 'g'; Interruption = {} }
$wanted = ConvertTo-FirewallRule -Policy (ConvertFrom-Json -InputObject $env:POLICY)
Sync-Firewall -Wanted $wanted -Seen (Get-FirewallState) @owner
$name = $wanted[0].Name
Set-NetFirewallRule -Name $name -Profile Domain
$seen = Get-FirewallState
Remove-NetFirewallRule -Name $name
Sync-Firewall -Wanted $wanted -Seen $seen @owner
ConvertTo-Json -InputObject "$(Get-Difference -Wanted $wanted -Seen (Get-FirewallState))"
"""


def test_a_new_rule_with_the_name_of_a_stale_one_stays(
    windows: FakeWindows, tmp_path: Path
) -> None:
    done = windows.pwsh(_SCRIPT, env={"AGENT": str(FILES), "POLICY": json.dumps(POLICY)})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ""
