# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What reaches the scripts of a command line, as K2s's own puts it together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.k2s.cli import Cli, UsageError, option
from tests.k2s.tree import K2s

PROBE = """
{parameters}
Import-Module "$PSScriptRoot/../../lib/modules/k2s/k2s.infra.module/k2s.infra.module.psm1"
Import-Module "$PSScriptRoot/../addons.module.psm1"
[System.IO.File]::WriteAllText("$PSScriptRoot/bound.json", (ConvertTo-Json $PSBoundParameters))
Send-ToCli -MessageType $MessageType -Message @{{ Error = $null }}
"""
_PARAMETERS = """
$ast = [System.Management.Automation.Language.Parser]::ParseFile($args[0], [ref] $null, [ref] $null)
$ast.ParamBlock.Extent.Text
"""


@pytest.fixture
def probed(k2s: K2s) -> K2s:
    """Enable.ps1 keeps its parameters, and only writes down what it was given."""
    script, reader = k2s.addon / "Enable.ps1", k2s.program_data / "parameters.ps1"
    reader.write_text(_PARAMETERS)
    done = k2s.pwsh("-File", str(reader), str(script))
    assert done.stdout.startswith("Param("), done.stderr
    script.write_text(PROBE.format(parameters=done.stdout))
    return k2s


def bound(k2s: K2s) -> dict[str, Any]:
    """The parameters that the script got, without those that it always gets."""
    found: dict[str, Any] = json.loads((k2s.addon / "bound.json").read_text(encoding="utf-8"))
    assert found.pop("EncodeStructuredOutput")["IsPresent"] is True
    assert found.pop("MessageType") == "CmdResult"
    return found


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"mode": "audit"},
        {"timeout": 3600},
        {"values": "C:\\Program Files\\it's ''my'' policy.yaml"},
        {"values": "/tmp/ä;(b)|c & {d} [e] #f @g %h -Mode enforce"},
        {"timeout": 10, "values": "", "mode": "enforce"},
    ],
    ids=["none", "enum", "number", "quotes", "signs", "all"],
)
def test_each_flag(probed: K2s, cli: Cli, flags: dict[str, object]) -> None:
    assert cli.enable(flags).error == ""
    assert bound(probed) == {name.capitalize(): value for name, value in flags.items()}


def test_output(probed: K2s, cli: Cli) -> None:
    assert cli.enable({"mode": "audit"}, output=True).error == ""
    found = bound(probed)
    assert found.pop("ShowLogs")["IsPresent"] is True
    assert found == {"Mode": "audit"}


@pytest.mark.parametrize("value", ["a$HOME.yaml", 'a"b.yaml', "a`nb.yaml"])
def test_what_no_addon_can_help(probed: K2s, cli: Cli, value: str) -> None:
    """In K2s's double quotes these arrive as something else."""
    outcome = cli.enable({"values": value})
    assert outcome.code or bound(probed)["Values"] != value


@pytest.mark.parametrize(
    "flags",
    [
        {"mode": "Audit"},
        {"mode": ""},
        {"timeout": 9},
        {"timeout": 3601},
        {"timeout": 30.5},
        {"timeout": "30"},
        {"other": 1},
    ],
    ids=str,
)
def test_refused_before_any_script(cli: Cli, flags: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        cli.enable(flags)


@pytest.mark.parametrize("mode", ["warn", "''"])
def test_a_script_refuses_what_the_command_line_would(k2s: K2s, mode: str) -> None:
    for options in (f"-Mode {mode}", "-Timeout 1", "-Timeout 4000", "-Unknown 1"):
        done = k2s.pwsh("-Command", f"& '{k2s.addon}/Enable.ps1' {options}")
        assert done.returncode == 1
    assert k2s.host.calls == []


def test_why_no_flag_is_a_switch_that_is_on(k2s: K2s) -> None:
    """`-P:$false` arrives as -P:False, which no [switch] takes."""
    assert option("P", False) == "-P:$false"
    done = k2s.pwsh("-Command", 'function f { param([switch] $P) }; iex "f -P:$false"')
    assert "SwitchParameter" in done.stderr
