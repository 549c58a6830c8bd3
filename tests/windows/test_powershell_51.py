# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What runs on Windows is valid Windows PowerShell 5.1, by PSScriptAnalyzer's profiles of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

from udp_security.chart import chart_dir
from udp_security.windows import pwsh as powershell

_ADDON: Final = chart_dir().parent
SCRIPTS: Final = sorted(path for path in _ADDON.rglob("*.ps*1") if path.is_file())
# Windows Server 2016, Server 2019 and Windows 10, as the analyzer names them.
PROFILES: Final = (
    "win-8_x64_10.0.14393.0_5.1.14393.2791_x64_4.0.30319.42000_framework",
    "win-8_x64_10.0.17763.0_5.1.17763.316_x64_4.0.30319.42000_framework",
    "win-48_x64_10.0.17763.0_5.1.17763.316_x64_4.0.30319.42000_framework",
)
_ANALYZE: Final = """
$ErrorActionPreference = 'Stop'
$profiles = $args[0] -split ','
$settings = @{ Rules = @{
    PSUseCompatibleSyntax   = @{ Enable = $true; TargetVersions = @('5.1') }
    PSUseCompatibleCommands = @{ Enable = $true; TargetProfiles = $profiles }
    PSUseCompatibleTypes    = @{ Enable = $true; TargetProfiles = $profiles }
} }
$found = foreach ($path in ($args[1] -split '\\|')) {
    foreach ($record in Invoke-ScriptAnalyzer -Path $path -Settings $settings) {
        $at = "$($record.ScriptName):$($record.Line)"
        @{ rule = $record.RuleName; at = $at; says = $record.Message }
    }
}
ConvertTo-Json -InputObject @($found) -Compress
"""


@pytest.fixture(scope="module", autouse=True)
def analyzer(pwsh: str) -> None:
    """Skips where PSScriptAnalyzer is missing, but not on CI."""
    done = powershell.run(
        ["-Command", "if (-not (Get-Module -ListAvailable PSScriptAnalyzer)) { exit 1 }"]
    )
    if done.returncode:
        reason = "no PSScriptAnalyzer (Install-Module PSScriptAnalyzer)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def analyze(paths: list[Path], directory: Path) -> list[dict[str, Any]]:
    """What the analyzer finds, each a ``rule``, a place ``at`` and what it ``says``."""
    script = directory / "analyze.ps1"
    script.write_text(_ANALYZE, encoding="utf-8")
    done = powershell.run(
        ["-File", str(script), ",".join(PROFILES), "|".join(map(str, paths))], timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_nothing_is_found(tmp_path: Path) -> None:
    assert SCRIPTS
    assert analyze(SCRIPTS, tmp_path) == []


def test_the_analyzer_would_find_it(tmp_path: Path) -> None:
    """Each of the three rules, and one of the others, bites."""
    newer = tmp_path / "newer.ps1"
    newer.write_text(
        "$a = $null ?? 1\nGet-Uptime\n[System.Text.Json.JsonSerializer]::new()\ngci\n",
        encoding="utf-8",
    )
    assert {record["rule"] for record in analyze([newer], tmp_path)} >= {
        "PSUseCompatibleSyntax",
        "PSUseCompatibleCommands",
        "PSUseCompatibleTypes",
        "PSAvoidUsingCmdletAliases",
    }


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_plain_text(path: Path) -> None:
    """ASCII: without a byte order mark, Windows PowerShell reads others by the code page."""
    raw = path.read_bytes()
    assert raw.isascii()
    assert b"\r" not in raw
    assert max(map(len, raw.splitlines())) <= 130
